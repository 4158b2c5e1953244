"""News of a message after it was sent, in any order."""

from __future__ import annotations

import asyncio
from random import Random
from uuid import UUID

import pytest

from app.channels.base import StatusUpdate
from app.delivery import receipts
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
    order = ["sending", "sent", "delivered", "read"]
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
