"""News of a message after it was sent, in any order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from app.channels.base import Outgoing, RefusalReason, Sender, SendError, SendFailure, Sent, StatusUpdate
from app.clock import now
from app.delivery import reach, receipts
from app.models import Conversation, Message
from tests.delivery.house import FakeAdapter, House, lock, message_of


async def sent_messages(house: House, count: int) -> tuple[Conversation, list[Message]]:
    conversation = await house.conversation(await house.channel(FakeAdapter()))
    messages = await house.write(conversation, count)
    async with house.sending() as running:
        await running.until_empty()
    return conversation, messages


async def hear(house: House, channel_id: UUID, message: Message, status: str, detail: str | None = None) -> bool:
    async with house.database.begin() as session:
        return await receipts.apply(session, channel_id, StatusUpdate(f"p-{message.id}", status, detail=detail))


@pytest.mark.parametrize("seed", range(5))
async def test_shuffled_news_end_at_the_highest(house: House, seed: int) -> None:
    conversation, [message] = await sent_messages(house, 1)
    news = ["sent", "delivered", "read", "delivered", "failed", "sent", "unknown"]
    Random(seed).shuffle(news)
    for status in news:
        assert await hear(house, conversation.channel_id, message, status, "why")
    stored = await house.message(message.id)
    assert (stored.status, stored.error) == ("read", None)
    told = await house.told(message.id)
    order = ["sending", "sent", "failed", "delivered", "read"]
    assert [order.index(status) for status in told] == sorted({order.index(status) for status in told})


async def test_older_news_at_the_same_time_wait_and_change_nothing(house: House) -> None:
    conversation, [message] = await sent_messages(house, 1)
    async with house.database.begin() as session:
        await receipts.apply(session, conversation.channel_id, StatusUpdate(f"p-{message.id}", "read"))
        await session.flush()
        older = asyncio.create_task(hear(house, conversation.channel_id, message, "delivered"))
        await asyncio.wait({older}, timeout=0.2)
        assert not older.done()
    assert await older
    assert (await house.message(message.id)).status == "read"
    assert await house.told(message.id) == ["sending", "sent", "read"]


async def test_a_provider_that_accepts_may_refuse_later_but_not_what_arrived(house: House) -> None:
    conversation, [one, two] = await sent_messages(house, 2)
    assert await hear(house, conversation.channel_id, one, "failed", "131026 not on WhatsApp")
    assert await hear(house, conversation.channel_id, one, "sent")
    assert await hear(house, conversation.channel_id, two, "delivered")
    assert await hear(house, conversation.channel_id, two, "failed", "too late")
    stored = await house.message(one.id)
    assert (stored.status, stored.error) == ("failed", "131026 not on WhatsApp")
    assert (await house.message(two.id)).status == "delivered"


async def lost(outgoing: Outgoing) -> Sent:
    raise SendError(SendFailure.UNKNOWN, "hung up")


async def busy(outgoing: Outgoing) -> Sent:
    raise SendError(SendFailure.RETRY, "HTTP 503", retry_after_s=600)


async def word(house: House, channel_id: UUID, update: StatusUpdate) -> bool:
    async with house.database.begin() as session:
        return await receipts.apply(session, channel_id, update)


async def test_our_own_id_finds_what_has_no_id_of_the_provider(house: House) -> None:
    conversation = await house.conversation(await house.channel(FakeAdapter(answer=lost)))
    [message] = await house.write(conversation)
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(message.id)).status == "unknown"
    ours, elsewhere = str(message.id), await house.channel(FakeAdapter())
    assert not await word(house, elsewhere, StatusUpdate("wamid.1", "sent", our_id=ours))
    for odd in ("", f"{ours}:1/2", "x" * 500, "\x00"):
        assert not await word(house, conversation.channel_id, StatusUpdate("wamid.0", "sent", our_id=odd))
    assert await word(house, conversation.channel_id, StatusUpdate("wamid.1", "sent", our_id=ours))
    stored = await house.message(message.id)
    assert (stored.status, stored.error, stored.provider_message_id) == ("sent", None, "wamid.1")
    assert await word(house, conversation.channel_id, StatusUpdate("wamid.1", "delivered"))
    assert (await house.message(message.id)).status == "delivered"


async def test_what_the_provider_says_it_has_is_not_sent_again(house: House) -> None:
    """Its answer was an error, and yet it took the message."""
    adapter = FakeAdapter(answer=busy)
    conversation = await house.conversation(await house.channel(adapter))
    [message] = await house.write(conversation)
    async with house.sending() as running:
        await running.until_called(adapter, 1)
        await running.sender.idle()
    assert len(await house.outbox()) == 1
    update = StatusUpdate("wamid.1", "delivered", our_id=str(message.id))
    assert await word(house, conversation.channel_id, update)
    assert await house.outbox() == []
    assert (await house.message(message.id)).status == "delivered"


async def test_read_until_a_moment(house: House) -> None:
    conversation, messages = await sent_messages(house, 3)
    stranger, [theirs] = await sent_messages(house, 1)
    async with house.database.begin() as session:
        failed = await session.get_one(Message, messages[0].id)
        later = await session.get_one(Message, messages[2].id)
        failed.status, later.created_at = "unknown", now() + timedelta(minutes=1)
        session.add_all([failed, later])
    recipient = Sender("user", str(conversation.contact_id))
    update = StatusUpdate("", "read", upto=now(), recipient=recipient)
    assert not await word(house, stranger.channel_id, update)
    assert not await word(house, conversation.channel_id, replace(update, status="failed"))
    assert not await word(house, conversation.channel_id, replace(update, recipient=Sender("page", recipient.value)))
    assert await word(house, conversation.channel_id, update)
    assert not await word(house, conversation.channel_id, update)
    assert [(await house.message(message.id)).status for message in messages] == ["unknown", "read", "sent"]
    assert (await house.message(theirs.id)).status == "sent"


async def test_unknown_may_become_better(house: House) -> None:
    conversation, [message] = await sent_messages(house, 1)
    async with house.database.begin() as session:
        stored = await session.get_one(Message, message.id)
        stored.status, stored.error = "unknown", "it may have been sent"
        session.add(stored)
    assert await hear(house, conversation.channel_id, message, "delivered")
    stored = await house.message(message.id)
    assert (stored.status, stored.error) == ("delivered", None)


async def test_what_we_do_not_know(house: House) -> None:
    conversation, [message] = await sent_messages(house, 1)
    other = await house.channel(FakeAdapter())
    assert not await hear(house, other, message, "delivered")
    assert not await hear(house, conversation.channel_id, message, "queued-at-carrier")
    assert not await hear(house, conversation.channel_id, message_of(conversation, seq=9), "delivered")
    assert (await house.message(message.id)).status == "sent"


async def test_read_up_to(house: House) -> None:
    conversation, messages = await sent_messages(house, 4)
    async with house.database.begin() as session:
        session.add(message_of(conversation, seq=5, direction="note", kind="note", status=None))
        session.add(message_of(conversation, seq=6, direction="inbound", kind="message", status=None))
    before = len(await house.events())
    async with house.database.begin() as session:
        assert await receipts.mark_read(session, await lock(session, conversation), 2) == 2
    async with house.database.begin() as session:
        assert await receipts.mark_read(session, await lock(session, conversation), 6) == 2
    async with house.database.begin() as session:
        assert await receipts.mark_read(session, await lock(session, conversation), 6) == 0
    assert [(await house.message(message.id)).status for message in messages] == ["read"] * 4
    told = (await house.events())[before:]
    assert [(item.payload["seq"], item.payload["status"]) for item in told] == [(n, "read") for n in (1, 2, 3, 4)]
    assert all(item.actor_type == "contact" and item.to_customer for item in told)


async def test_read_before_we_knew_it_was_sent(house: House) -> None:
    """The widget shows a message as soon as it is in the stream, which may be before the sender has looked at it."""
    conversation = await house.conversation(await house.channel(FakeAdapter()))
    [message] = await house.write(conversation)
    async with house.database.begin() as session:
        await receipts.mark_read(session, await lock(session, conversation), 1)
    async with house.sending() as running:
        await running.until_empty()
    stored = await house.message(message.id)
    assert (stored.status, stored.provider_message_id) == ("read", f"p-{message.id}")
    assert await house.told(message.id) == ["read"]


@pytest.mark.parametrize("seen", ["delivered", "read"])
async def test_a_failure_that_comes_after_its_message_has_arrived_says_nothing_of_the_person(
    house: House, seen: str
) -> None:
    conversation, [message] = await sent_messages(house, 1)
    arrived = StatusUpdate(f"p-{message.id}", seen)
    failed = replace(arrived, status="failed", detail="131026", failure=SendFailure.RECIPIENT)
    failed = replace(failed, refusal=RefusalReason.UNREACHABLE)
    for update in (arrived, failed, failed):
        assert await receipts.take(house.database, conversation.channel_id, update)
    stored = await house.message(message.id)
    assert (stored.status, stored.error, stored.error_code) == (seen, None, None)
    async with house.database.begin() as session:
        assert not (await reach.of(session, await lock(session, conversation))).refusals


async def test_a_failure_that_counts_says_it_of_the_person_also_the_second_time(house: House) -> None:
    conversation, [message] = await sent_messages(house, 1)
    failed = StatusUpdate(f"p-{message.id}", "failed", detail="131026", failure=SendFailure.RECIPIENT)
    assert await receipts.take(house.database, conversation.channel_id, failed)
    again = replace(failed, refusal=RefusalReason.UNREACHABLE)
    assert await receipts.take(house.database, conversation.channel_id, again)
    async with house.database.begin() as session:
        [known] = (await reach.of(session, await lock(session, conversation))).refusals
    assert known.reason is RefusalReason.UNREACHABLE
