"""The language of a first message, by its script; and that a contact whose language is unknown gets it."""

from __future__ import annotations

import timeit

import pytest
from sqlmodel import select

from app.channels.base import InboundMessage, Sender
from app.db import Database
from app.intake.language import by_script
from app.models import Contact
from tests.intake.conftest import Door


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我的订单还没到", "zh"),
        ("我的訂單還沒到，iPhone 15 Pro Max", "zh"),
        ("坏", "zh"),
        ("約翰・史密斯 優の良品", "zh"),
        ("注文した商品がまだ届きません", "ja"),
        ("ありがとう", "ja"),
        ("ﾃｽﾄ", "ja"),
        ("주문한 상품이 아직 오지 않았어요", "ko"),
        ("네", "ko"),
        ("สินค้ายังไม่มาถึง", "th"),
        ("איפה ההזמנה שלי?", "he"),
        ("Πού είναι η παραγγελία μου;", "el"),
        ("ἐν ἀρχῇ", "el"),
        ("أين طلبي؟", "ar"),
        ("أَيْنَ", "ar"),
        ("سفارش من کجاست؟", None),
        ("میرا آرڈر کہاں ہے", None),
        ("Где мой заказ?", None),
        ("Where is my order?", None),
        ("Où est ma commande ? Größe 🙂", None),
        ("a 5 kΩ resistor, π and Δt", None),
        ("no idea ¯\\_(ツ)_/¯", None),
        ("(๑•̀ㅂ•́)و✧ ฅ^•ﻌ•^ฅ", None),
        ("ㅋㅋㅋ", None),
        ("你好 안녕하세요", None),
        ("こんにちは 안녕하세요", None),
        ("١٢٣٤", None),
        ("", None),
        ("x" * 5_000 + "中文", None),
    ],
)
def test_by_script(text: str, language: str | None) -> None:
    assert by_script(text) == language


def test_plain_texts_cost_nothing() -> None:
    text = "where is my parcel? " * 50
    assert min(timeit.repeat(lambda: by_script(text), number=1_000, repeat=5)) / 1_000 < 2e-6


def message(
    key: str, sender: str, text: str, *, language: str | None = None, subject: str | None = None
) -> InboundMessage:
    return InboundMessage(
        external_id=key, sender=Sender("partner", sender, language=language), text=text, subject=subject
    )


async def test_a_first_message_says_the_language(database: Database, door: Door) -> None:
    await door.come_in(
        message("1", "mei", "我的订单还没到"),
        message("2", "ada", "Where is my order?"),
        message("3", "ken", "我的订单还没到", language="ja"),
        message("4", "ming", "", subject="退货"),
    )
    await door.come_in(message("5", "ada", "我的订单还没到"))
    async with database.begin() as session:
        contacts = (await session.exec(select(Contact).order_by(Contact.id))).all()  # type: ignore[arg-type]
    assert sorted(str(contact.language) for contact in contacts) == ["None", "ja", "zh", "zh"]
