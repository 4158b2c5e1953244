"""One address gets so many automatic mails in a day and no more, however many processes send them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import text

from app.channels.base import Capabilities, SendFailure
from app.channels.mail_config import MailConfig
from app.models import ContactIdentity, Conversation
from tests.delivery.house import FakeAdapter, House, fails

CONFIG = MailConfig(address="help@shop.example")
MAIL = Capabilities(text_limit=1000, idempotent_send=True)


def adapter(answer: object = None) -> FakeAdapter:
    return FakeAdapter(MAIL, answer)  # type: ignore[arg-type]


async def to(house: House, conversation: Conversation, address: str) -> None:
    """Where the answers of a conversation go."""
    async with house.database.begin() as session:
        identity = await session.get_one(ContactIdentity, conversation.identity_id)
        identity.address = {"email": address}
        session.add(identity)


async def test_the_fourth_notice_of_a_day_is_not_sent(house: House) -> None:
    mail = adapter()
    conversation = await house.conversation(await house.channel(mail, CONFIG))
    await to(house, conversation, "Loop@robot.example")
    notices = await house.write(conversation, 5, kind="notice")
    [reply] = await house.write(conversation)
    async with house.sending() as running:
        await running.until_empty()
    assert [outgoing.kind for outgoing in mail.calls] == ["notice"] * 3 + ["reply"]
    stored = [await house.message(message.id) for message in notices]
    assert [message.status for message in stored] == ["sent"] * 3 + ["failed"] * 2
    assert "3 automatic mails" in (stored[-1].error or "")
    assert (await house.message(reply.id)).status == "sent"


async def test_the_limit_is_per_address_and_data(house: House) -> None:
    mail = adapter()
    channel_id = await house.channel(mail, CONFIG.model_copy(update={"automatic_per_day": 1}))
    for name in ("ana@home.example", "bo@home.example"):
        conversation = await house.conversation(channel_id)
        await to(house, conversation, name)
        await house.write(conversation, 2, kind="notice")
    async with house.sending() as running:
        await running.until_empty()
    assert sorted(str(outgoing.address["email"]) for outgoing in mail.calls) == ["ana@home.example", "bo@home.example"]


async def test_trying_again_counts_once_and_a_day_later_it_goes_on(house: House) -> None:
    mail = adapter(fails(SendFailure.RETRY, times=2))
    conversation = await house.conversation(
        await house.channel(mail, CONFIG.model_copy(update={"automatic_per_day": 1}))
    )
    await to(house, conversation, "ana@home.example")
    await house.write(conversation, kind="notice")
    async with house.sending() as running:
        await running.until_empty()
    assert [outgoing.attempt for outgoing in mail.calls] == [1, 2, 3]
    async with house.database.begin() as session:
        await session.execute(text("UPDATE automatic_mail SET at = now() - interval '25 hours'"))
    [later] = await house.write(conversation, kind="notice")
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(later.id)).status == "sent"


async def test_two_processes_count_together(house: House) -> None:
    """Each of eight conversations goes to the same address; two senders take them at the same time."""
    mail = adapter()
    channel_id = await house.channel(mail, CONFIG)
    for _ in range(8):
        conversation = await house.conversation(channel_id)
        await to(house, conversation, "loop@robot.example")
        await house.write(conversation, kind="notice")
    async with house.sending() as one, house.sending() as other:
        await asyncio.gather(one.until_empty(), other.until_empty())
    assert len(mail.calls) == 3


async def test_channels_without_such_a_limit_have_none(house: House) -> None:
    plain = FakeAdapter(replace(MAIL))
    conversation = await house.conversation(await house.channel(plain))
    await to(house, conversation, "ana@home.example")
    await house.write(conversation, 6, kind="notice")
    async with house.sending() as running:
        await running.until_empty()
    assert len(plain.calls) == 6


async def test_each_time_a_person_says_it_is_done_the_customer_is_asked(house: House) -> None:
    mail = adapter()
    conversation = await house.conversation(await house.channel(mail, CONFIG))
    await to(house, conversation, "ana@home.example")
    await house.write(conversation, 3, kind="notice")
    receipts = await house.write(conversation, 4, kind="receipt")
    async with house.sending() as running:
        await running.until_empty()
    assert {(await house.message(message.id)).status for message in receipts} == {"sent"}
