"""A sender that dies with messages in flight, and two senders on one outbox."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from app.channels.base import Outgoing, SendError, SendFailure, Sent
from app.db import Database
from app.delivery.claims import LOST
from tests.delivery.house import FakeAdapter, House, fails, idempotent, step_and_settle


async def die_in_flight(house: House, adapter: FakeAdapter) -> None:
    """Lease what is due and send it, but never learn what became of it."""
    sender = house.sender()
    await sender.step()
    await adapter.called.wait()
    await sender.drain(0)


async def hang(outgoing: Outgoing) -> Sent:
    await asyncio.Event().wait()
    return Sent()


@pytest.mark.parametrize("harmless", [True, False])
async def test_crash_in_flight(house: House, harmless: bool) -> None:
    adapter = idempotent(hang) if harmless else FakeAdapter(answer=hang)
    conversation = await house.conversation(await house.channel(adapter))
    message, follower = await house.write(conversation, 2)
    await die_in_flight(house, adapter)
    assert [call.seq for call in adapter.calls] == [1]
    assert (await house.message(message.id)).status == "sending"

    adapter.answer = None
    delay = await step_and_settle(house.sender())
    assert len(adapter.calls) == 1, "the lease still holds"
    assert delay is not None
    assert 50 < delay <= 60, "and the loop looks again when it ends"

    await house.expire_leases()
    async with house.sending() as running:
        await running.until_empty()
    stored, attempts = await house.message(message.id), await house.attempts(message.id)
    assert (attempts[0].outcome, attempts[0].detail) == ("unknown", LOST)
    if harmless:
        assert [call.seq for call in adapter.calls] == [1, 1, 2]
        assert (stored.status, stored.error, [item.outcome for item in attempts]) == ("sent", None, ["unknown", "sent"])
    else:
        assert [call.seq for call in adapter.calls] == [1, 2]
        assert (stored.status, stored.error, len(attempts)) == ("unknown", LOST, 1)
        assert await house.told(message.id) == ["sending", "unknown"]
    assert (await house.message(follower.id)).status == "sent"


async def test_a_retry_that_waits_is_no_crash(house: House) -> None:
    adapter = FakeAdapter(answer=fails(SendFailure.RETRY, times=1))
    [message] = await house.write(await house.conversation(await house.channel(adapter)))
    await step_and_settle(house.sender())
    [row] = await house.outbox()
    assert (row.lease_until, row.attempts) == (None, 1)
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(message.id)).status == "sent"


async def test_an_overtaken_success_is_believed_and_an_overtaken_failure_is_not(house: House) -> None:
    """Two messages whose lease ran out while they were in flight; their answers come after all."""
    go = asyncio.Event()

    async def late(outgoing: Outgoing) -> Sent:
        await go.wait()
        if outgoing.text == "bad":
            raise SendError(SendFailure.PERMANENT, "HTTP 400")
        return Sent(provider_message_id="late")

    adapter = FakeAdapter(answer=late)
    channel_id = await house.channel(adapter)
    [good] = await house.write(await house.conversation(channel_id))
    [bad] = await house.write(await house.conversation(channel_id), text="bad")
    slow = house.sender()
    await slow.step()
    await house.expire_leases()
    await step_and_settle(house.sender())
    assert set((await house.statuses()).values()) == {"unknown"}
    go.set()
    await slow.drain(5)
    stored = await house.message(good.id)
    assert (stored.status, stored.provider_message_id, stored.error) == ("sent", "late", None)
    assert (await house.message(bad.id)).status == "unknown"
    assert [item.outcome for item in await house.attempts(bad.id)] == ["permanent"]


async def test_an_overtaken_failure_leaves_the_next_attempt_alone(house: House) -> None:
    go = {1: asyncio.Event(), 2: asyncio.Event()}

    async def answer(outgoing: Outgoing) -> Sent:
        await go[outgoing.attempt].wait()
        if outgoing.attempt == 1:
            raise SendError(SendFailure.PERMANENT, "HTTP 400")
        return Sent()

    [message] = await house.write(await house.conversation(await house.channel(idempotent(answer))))
    slow, other = house.sender(), house.sender()
    await slow.step()
    await house.expire_leases()
    await other.step()
    go[1].set()
    await slow.drain(5)
    [row] = await house.outbox()
    assert (row.attempts, (await house.message(message.id)).status) == (2, "sending")
    go[2].set()
    await other.drain(5)
    assert (await house.message(message.id)).status == "sent"
    assert [item.outcome for item in await house.attempts(message.id)] == ["permanent", "sent"]


async def test_two_senders_send_each_message_once(house: House) -> None:
    """300 messages in 60 conversations and two channels, taken by two processes' worth of senders."""
    adapters = FakeAdapter(), FakeAdapter()

    async def answer(outgoing: Outgoing) -> Sent:
        await asyncio.sleep(0.001)  # room for the other sender to take the same message
        if outgoing.seq == 3 and outgoing.attempt == 1:
            raise SendError(SendFailure.RETRY, "HTTP 500")
        return Sent(provider_message_id=str(outgoing.message_id))

    for adapter in adapters:
        adapter.answer = answer
        channel_id = await house.channel(adapter)
        for _ in range(30):
            await house.write(await house.conversation(channel_id), 5)
    other = Database(house.settings)
    async with house.sending() as one, house.sending(database=other) as two:
        await one.until_empty()
        assert one.sender is not two.sender
    await other.close()

    calls = [call for adapter in adapters for call in adapter.calls]
    sends = Counter((call.message_id, call.attempt) for call in calls)
    assert set(sends.values()) == {1}
    assert len({call.message_id for call in calls}) == 300
    assert len(calls) == 300 + 60
    assert set((await house.statuses()).values()) == {"sent"}
    by_conversation: dict[object, list[int]] = {}
    for adapter in adapters:
        for call in adapter.calls:
            by_conversation.setdefault(call.conversation_id, []).append(call.seq)
    assert all(seqs == [1, 2, 3, 3, 4, 5] for seqs in by_conversation.values())
