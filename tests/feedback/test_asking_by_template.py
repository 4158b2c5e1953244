"""A receipt outside its channel's window goes by the text that the provider approved, before any other channel is tried."""

from __future__ import annotations

from typing import Any

import pytest

from app.channels.base import SendFailure
from app.channels.receipts import payload_of
from app.conversations.confirming import Confirmer
from app.models import Channel, ClosingPolicy, Conversation, DeliveryAttempt, Message, MessageTemplate, ReceiptTemplate
from app.models.words import DeliveryStatus
from tests.feedback.test_asking import confirmer, fail, known_on, matter, open_window, receipts, waiting
from tests.web.matter import Matter

__all__ = ["confirmer", "matter"]

BODY = "Hello {{1}}, is it solved? {{2}}"


async def keep(matter: Matter, name: str = "solved", **more: Any) -> MessageTemplate:
    """A template of the WhatsApp channel, by which receipts in English go."""
    kind, variables = more.pop("kind", "receipt"), more.pop("variables", ["name", "link"])
    channel_id = (await matter.conversation()).channel_id
    async with matter.database.begin() as session:
        row = MessageTemplate(channel_id=channel_id, name=name, language="en_GB", **{"body": BODY, **more})
        named = {"name": name, "language": "en_GB", "variables": variables, "buttons": ["confirmed"]}
        own = ReceiptTemplate(
            language="en", channel_type="whatsapp", kind=kind, text="Free: {link}", provider_template=named
        )
        session.add_all([row, own])
        return row


def by_template(message: Message) -> str:
    return str(message.content.get("template", {}).get("name"))


async def test_it_goes_by_its_own_channel_and_says_what_the_customer_reads(matter: Matter) -> None:
    await keep(matter)
    await known_on(matter, "email", "mei@customer.test")
    cycle = await matter.resolve()
    [message] = await receipts(matter)
    whatsapp = (await matter.conversation()).channel_id
    assert (message.channel_id, message.status, "instead" in message.content) == (
        whatsapp,
        DeliveryStatus.QUEUED,
        False,
    )
    link = message.content["receipt"]["url"]
    parameters = ["Mei Customer", link]
    assert message.text == f"Hello Mei Customer, is it solved? {link}"
    assert message.content["template"] == {"name": "solved", "language": "en_GB", "parameters": parameters}
    assert message.content["buttons"] == [{"kind": "quick_reply", "value": payload_of(cycle.id, "confirmed")}]
    assert "choices" not in message.content
    [told] = await matter.events("message.created")
    assert told["message"]["template"]["parameters"] == parameters
    assert await waiting(matter) == [(whatsapp, None)]


async def test_within_the_window_it_goes_in_its_own_words(matter: Matter) -> None:
    await keep(matter)
    await open_window(matter)
    await matter.resolve()
    [message] = await receipts(matter)
    assert (message.text.startswith("Free: http"), "template" in message.content) == (True, False)


@pytest.mark.parametrize(
    "more", [{"status": "paused"}, {"body": "{{1}} {{2}} {{3}}"}, {"body": "x" * 990 + "{{1}} {{2}}"}]
)
async def test_one_that_cannot_go_leaves_it_to_the_next_channel(matter: Matter, more: dict[str, Any]) -> None:
    await keep(matter, **more)
    email = await known_on(matter, "email", "mei@customer.test")
    await matter.resolve()
    [message] = await receipts(matter)
    assert (message.channel_id, message.content["instead"]["why"]) == (email, "window-closed")


async def test_a_channel_without_templates_is_passed_over(matter: Matter) -> None:
    await keep(matter)
    channel_id = (await matter.conversation()).channel_id
    async with matter.database.begin() as session:
        (await session.get_one(Channel, channel_id)).limits = {"templates": False}
    await matter.resolve()
    [message] = await receipts(matter)
    assert (message.status, message.error_code) == (DeliveryStatus.FAILED, "window-closed")


async def test_a_whatsapp_sender_at_twilio_has_templates_and_a_number_none(matter: Matter) -> None:
    channel_id = (await matter.conversation()).channel_id
    kept = MessageTemplate(channel_id=channel_id, name="HX1", language="en", body="Solved? {{1}}")
    named = {"name": "HX1", "language": "en", "variables": ["link"]}
    async with matter.database.begin() as session:
        channel = await session.get_one(Channel, channel_id)
        channel.type, channel.config, channel.limits = "sms", {"number": "whatsapp:+4930"}, None
        (await session.get_one(Conversation, matter.conversation_id)).channel_type = "sms"
        session.add_all(
            [kept, ReceiptTemplate(language="en", channel_type="sms", text="{link}", provider_template=named)]
        )
    await matter.resolve()
    await matter.reopen()
    async with matter.database.begin() as session:
        (await session.get_one(Channel, channel_id)).config = {"number": "+4930"}
    await matter.resolve()
    outside, anytime = await receipts(matter)
    assert (by_template(outside), outside.content["buttons"]) == ("HX1", [])
    assert (by_template(anytime), anytime.status) == ("None", DeliveryStatus.QUEUED)


async def test_what_the_provider_refuses_goes_by_the_next_channel_and_is_asked_again_by_its_own_words(
    matter: Matter, confirmer: Confirmer
) -> None:
    await keep(matter)
    await keep(matter, "again", kind="reminder", variables=["link"], body="Was it solved? {{1}}")
    email = await known_on(matter, "email", "mei@customer.test")
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="mine", name="Mine", position=1, remind_after_s=[0.001]))
    await matter.resolve()
    await confirmer.step()
    first, reminder = await receipts(matter)
    assert [by_template(first), by_template(reminder)] == ["solved", "again"]
    assert reminder.text.startswith("Was it solved? http")
    await fail(matter, reminder, SendFailure.PERMANENT)
    await confirmer.step()
    await confirmer.step()
    newest = (await receipts(matter))[-1]
    assert len(await receipts(matter)) == 3
    assert newest.channel_id == email
    assert newest.content["instead"] == {"channel_type": "whatsapp", "by": "email", "why": "template-refused"}


async def test_when_the_provider_says_that_the_window_is_closed_the_template_follows_and_then_the_next_channel(
    matter: Matter, confirmer: Confirmer
) -> None:
    await keep(matter)
    await open_window(matter)
    email = await known_on(matter, "email", "mei@customer.test")
    await matter.resolve()
    whatsapp = (await matter.conversation()).channel_id
    for _ in range(3):
        newest = (await receipts(matter))[-1]
        await attempted(matter, newest)
        await fail(matter, newest, SendFailure.WINDOW)
        await confirmer.step()
        await confirmer.step()
    sent = await receipts(matter)
    assert [message.channel_id for message in sent] == [whatsapp, whatsapp, email]
    assert [by_template(message) for message in sent] == ["None", "solved", "None"]
    assert "instead" not in sent[1].content


async def attempted(matter: Matter, message: Message) -> None:
    async with matter.database.begin() as session:
        session.add(DeliveryAttempt(message_id=message.id, number=1))
