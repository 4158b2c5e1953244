"""A provider's word that is here before its own answer: kept, and applied when the answer is written down."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy import text

from app.channels.base import Outgoing, SendFailure, Sent, StatusUpdate
from app.delivery import orphans, receipts
from tests.delivery.house import FakeAdapter, House, step_and_settle


async def kept(house: House) -> int:
    async with house.database.begin() as session:
        return int((await session.execute(text("SELECT count(*) FROM orphan_status"))).scalar_one())


async def test_a_status_that_comes_before_the_answer_is_applied_with_it(house: House) -> None:
    channel_id: UUID

    async def answer(outgoing: Outgoing) -> Sent:
        # Twice, and out of order, as providers do; a failure that is not the last word.
        for status in ("delivered", "sent", "failed", "delivered"):
            update = StatusUpdate("early-1", status, detail="why", failure=SendFailure.PERMANENT)
            assert not await receipts.take(house.database, channel_id, update)
        return Sent(provider_message_id="early-1")

    channel_id = await house.channel(FakeAdapter(answer=answer))
    [message] = await house.write(await house.conversation(channel_id))
    await step_and_settle(house.sender())
    stored = await house.message(message.id)
    assert (stored.status, stored.provider_message_id, stored.error) == ("delivered", "early-1", None)
    assert await kept(house) == 0


async def test_a_failure_that_comes_early_is_told_with_its_code(house: House) -> None:
    channel_id: UUID

    async def answer(outgoing: Outgoing) -> Sent:
        update = StatusUpdate("p-1", "failed", detail="63016", failure=SendFailure.WINDOW)
        await receipts.take(house.database, channel_id, update)
        return Sent(provider_message_id="p-1")

    channel_id = await house.channel(FakeAdapter(answer=answer))
    [message] = await house.write(await house.conversation(channel_id))
    await step_and_settle(house.sender())
    stored = await house.message(message.id)
    assert (stored.status, stored.error, stored.error_code) == ("failed", "63016", "window-closed")


async def test_statuses_race_the_answer_a_hundred_times_and_none_is_lost(house: House) -> None:
    """The provider's call and the writing of its answer at the same moment, in every order that the database finds."""
    channel_id: UUID
    calls: list[asyncio.Task[bool]] = []

    async def answer(outgoing: Outgoing) -> Sent:
        update = StatusUpdate(f"p-{outgoing.message_id}", "delivered")
        calls.append(asyncio.create_task(receipts.take(house.database, channel_id, update)))
        for _ in range(outgoing.seq % 5):
            await asyncio.sleep(0)
        return Sent(provider_message_id=f"p-{outgoing.message_id}")

    channel_id = await house.channel(FakeAdapter(answer=answer))
    conversations = [await house.conversation(channel_id) for _ in range(10)]
    for conversation in conversations:
        await house.write(conversation, 10)
    async with house.sending() as running:
        await running.until_empty()
    await asyncio.gather(*calls)
    assert set((await house.statuses()).values()) == {"delivered"}
    assert await kept(house) == 0


async def test_what_nobody_sent_is_kept_a_while_and_no_more_than_so_much(house: House) -> None:
    channel_id = await house.channel(FakeAdapter())
    async with house.database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO orphan_status(id, channel_id, provider_message_id, status) "
                "SELECT gen_random_uuid(), :channel, 'x' || n, 'sent' FROM generate_series(1, :many) n"
            ),
            {"channel": channel_id, "many": orphans.KEPT_PER_CHANNEL - 1},
        )
    for number in range(3):
        assert not await receipts.take(house.database, channel_id, StatusUpdate(f"y{number}", "delivered"))
    assert await kept(house) == orphans.KEPT_PER_CHANNEL
    async with house.database.begin() as session:
        await orphans.expire(session, after_s=3_600)
    assert await kept(house) == orphans.KEPT_PER_CHANNEL
    async with house.database.begin() as session:
        await session.execute(text("UPDATE orphan_status SET created_at = now() - interval '2 h'"))
        await orphans.expire(session, after_s=3_600)
    assert await kept(house) == 0
