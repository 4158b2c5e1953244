"""Receipts in our own words: which words a customer gets, what is checked, and what operators do with them."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Invalid
from app.feedback import receipt_words
from app.feedback.understand import understand
from app.models import ReceiptTemplate
from tests.desk.conftest import admin, house, supervisor
from tests.desk.house import Caller

__all__ = ["admin", "house", "supervisor"]

VALUES = {
    "name": "Ana {link}",
    "subject": "Door",
    "problem": "It says {name} and {odd}.",
    "resolution": "Replaced.",
    "commitment": "We call.",
    "link": "https://desk.test/f/t",
}


def template(language: str, text: str = "{link}", **more: Any) -> ReceiptTemplate:
    return ReceiptTemplate(language=language, text=text, **more)


@pytest.mark.parametrize(
    ("contact", "problem", "expected"),
    [
        ("pt-BR", "quebrado", "pt-br"),
        ("pt_PT", "quebrado", "pt"),
        ("fr", "cassé", "en"),
        ("fr", "柜门坏了", "zh"),
        ("zh-TW", "broken", "zh"),
        ("en-GB", "柜门坏了", "en"),
        (None, "柜门坏了", "zh"),
        (None, "broken", "en"),
    ],
)
def test_the_language(contact: str | None, problem: str, expected: str) -> None:
    assert receipt_words.language_of(contact, problem, ours={"pt", "pt-br"}) == expected


def test_the_nearest_words() -> None:
    all_, on_sms, brazil = template("pt"), template("pt", channel_type="sms"), template("pt-br")
    ours = [all_, on_sms, brazil, template("en", kind="reminder")]

    def chosen(language: str, channel_type: str, *, reminder: bool = False) -> ReceiptTemplate | None:
        return receipt_words.choose(ours, language=language, channel_type=channel_type, reminder=reminder)

    assert chosen("pt", "email") is all_
    assert chosen("pt", "sms") is on_sms
    assert chosen("pt-br", "sms") is brazil
    assert chosen("pt", "email", reminder=True) is all_, "better than a reminder in English"
    assert chosen("en", "email") is None, "the shipped words"
    assert chosen("en", "email", reminder=True) is ours[-1]
    assert chosen("zh", "email", reminder=True) is None


def test_what_is_filled_in_is_not_read_again() -> None:
    own = template("pt", "{name}: {problem} {link}", subject="Resolvido? {subject}", yes="Sim", no="Não")
    written = receipt_words.write(own, VALUES, language="pt", channel_type="email")
    assert written.text == "Ana {link}: It says {name} and {odd}. https://desk.test/f/t"
    assert (written.subject, written.yes, written.no) == ("Resolvido? Door", "Sim", "Não")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_the_shipped_buttons_and_text_messages_ask_for_is_understood(language: str) -> None:
    written = receipt_words.write(None, VALUES, language=language, channel_type="sms")
    assert len(written.text) <= 160
    assert written.text.endswith(VALUES["link"])
    assert max(len(written.yes), len(written.no)) <= 20
    for said, rule in ((written.yes, "solved"), (written.no, "not_solved")):
        found = understand(said)
        assert found is not None
        assert found.rule == rule
    for said, rule in {"en": [("YES", "solved"), ("NO", "not_solved")], "zh": [("是", "solved"), ("否", "not_solved")]}[
        language
    ]:
        assert said in written.text
        found = understand(said)
        assert found is not None
        assert found.rule == rule


@pytest.mark.parametrize(
    ("subject", "text", "field"),
    [
        (None, "no link", "text"),
        (None, "{link} {who}", "text"),
        ("{link}", "{link}", "subject"),
        (None, "{}", "text"),
        (None, "{link} {", "text"),
        ("}", "{link}", "subject"),
    ],
)
def test_what_cannot_be_filled_in(subject: str | None, text: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        receipt_words.check(subject=subject, text=text)
    assert caught.value.extra["field"] == field


async def test_operators_keep_their_own_words(admin: Caller, supervisor: Caller) -> None:
    body = {"language": "pt_BR", "text": "Olá {name}: {link}", "yes": "Sim", "no": "Não"}
    made = await admin.post("/receipt-templates", body)
    assert (made["language"], made["kind"], made["channel_type"]) == ("pt-br", "receipt", None)
    again = await admin.post("/receipt-templates", {**body, "language": "pt-BR"}, expect=409)
    assert again["code"]
    await supervisor.post("/receipt-templates", body, expect=403)
    for wrong, field in (
        ({"text": "Olá"}, "text"),
        ({"text": "{link} {nome}"}, "text"),
        ({"channel_type": "pigeon"}, "channel_type"),
        ({"yes": "x" * 21}, "yes"),
        ({"language": "?"}, "language"),
    ):
        refused = await admin.post("/receipt-templates", {**body, **wrong}, expect=422)
        assert refused["field"] == field
    asked = {"language": "pt-BR", "channel_type": "whatsapp"}
    shown = await supervisor.post("/receipt-templates/preview", asked, expect=200)
    assert (shown["template_id"], shown["yes"], shown["text"]) == (
        made["id"],
        "Sim",
        "Olá Ada: https://example.org/f/sample",
    )
    tried = await supervisor.post("/receipt-templates/preview", {**asked, "text": "Oi {link}"}, expect=200)
    assert (tried["template_id"], tried["text"]) == (None, "Oi https://example.org/f/sample")
    changed = await admin.patch(f"/receipt-templates/{made['id']}", made["version"], {"text": "{link}!"})
    assert changed["text"] == "{link}!"
    refused = await admin.patch(f"/receipt-templates/{made['id']}", changed["version"], {"text": "!"}, expect=422)
    assert refused["field"] == "text"
    await admin.call("DELETE", f"/receipt-templates/{made['id']}", expect=204)
    assert await admin.all("/receipt-templates") == []
    shown = await supervisor.post("/receipt-templates/preview", asked, expect=200)
    assert (shown["template_id"], shown["language"]) == (None, "en")
