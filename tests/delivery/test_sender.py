"""What the sender promises: tried until it works, in order, visible when it does not, and no more than we know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from app.channels.base import Outgoing, SendError, SendFailure, Sent
from app.db import Database
from app.delivery import outbox
from app.delivery.backoff import Schedule
from app.delivery.claims import Limits
from app.errors import NotFound
from tests.delivery.house import ONCE, FakeAdapter, House, fails, idempotent, lock, message_of, step_and_settle


async def test_sent_with_all_that_the_channel_needs(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        return Sent(provider_message_id="p1", thread_key="<t1@here>")

    adapter = FakeAdapter(answer=answer)
    channel_id = await house.channel(adapter)
    conversation = await house.conversation(channel_id, subject="A wobbly table", external_ref="order-7")
    [message] = await house.write(
        conversation,
        kind="receipt",
        content={"receipt": {"problem": "wobbly"}},
        correlation_id="c1",
        client_message_id="m1",
        attachments=[{"id": "1", "name": "a.txt", "media_type": "text/plain", "size": 3, "sha256": "ab"}],
    )
    async with house.sending(store_read=lambda sha256: sha256.encode()) as running:
        await running.until_empty()

    [sent] = adapter.calls
    assert (sent.message_id, sent.seq, sent.kind, sent.text, sent.attempt) == (message.id, 1, "receipt", "reply 1", 1)
    assert (sent.address, sent.recipient_name, sent.author_name) == ({"to": "mei"}, "Mei", "Ada")
    assert (sent.subject, sent.external_ref, sent.receipt) == ("A wobbly table", "order-7", {"problem": "wobbly"})
    assert house.vault.read_reply_token(sent.reply_token) == conversation.id
    assert [(file.name, file.media_type, file.data) for file in sent.files] == [("a.txt", "text/plain", b"ab")]
    stored = await house.message(message.id)
    assert (stored.status, stored.error, stored.provider_message_id, stored.thread_key) == (
        "sent",
        None,
        "p1",
        "<t1@here>",
    )
    [attempt] = await house.attempts(message.id)
    assert (attempt.number, attempt.outcome, attempt.ended_at is not None) == (1, "sent", True)
    told = await house.events()
    assert [item.payload for item in told] == [
        {"message_id": str(message.id), "seq": 1, "status": status, "error": None, "client_message_id": "m1"}
        for status in ("sending", "sent")
    ]
    assert all(item.to_customer and item.correlation_id == "c1" for item in told)


async def test_mail_names_the_mails_before_it(house: House) -> None:
    adapter = FakeAdapter()
    adapter.type = "email"  # type: ignore[misc]
    conversation = await house.conversation(await house.channel(adapter))
    async with house.database.begin() as session:
        session.add_all(
            message_of(conversation, seq=n, direction="inbound", status=None, thread_key=f"<{n}@there>")
            for n in range(1, 24)
        )
        held = await lock(session, conversation)
        held.last_seq = 23
    await house.write(conversation)
    async with house.sending() as running:
        await running.until_empty()
    assert adapter.calls[0].references == [f"<{n}@there>" for n in range(4, 24)]


async def test_tried_again_until_it_works(house: House) -> None:
    adapter = FakeAdapter(answer=fails(SendFailure.RETRY, times=4))
    conversation = await house.conversation(await house.channel(adapter))
    [message] = await house.write(conversation)
    async with house.sending() as running:
        await running.until_empty()
    assert [call.attempt for call in adapter.calls] == [1, 2, 3, 4, 5]
    attempts = await house.attempts(message.id)
    assert [item.outcome for item in attempts] == ["retry"] * 4 + ["sent"]
    assert (await house.message(message.id)).error is None
    # Why it is still being sent is told once, not at each attempt.
    assert [(item.payload["status"], item.payload["error"]) for item in await house.events()] == [
        ("sending", None),
        ("sending", "not sent yet: HTTP 503"),
        ("sent", None),
    ]


async def test_waits_as_long_as_the_provider_asks(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        raise SendError(SendFailure.RETRY, "slow down", retry_after_s=1000)

    conversation = await house.conversation(await house.channel(FakeAdapter(answer=answer)))
    await house.write(conversation, 2)
    sender = house.sender()
    await step_and_settle(sender)
    delay = await sender.step()
    assert delay is not None
    assert 990 < delay < 1210
    # What stands behind it, or comes later, does not count as due meanwhile.
    await house.write(conversation)
    async with house.database.begin() as session:
        due = (
            await session.execute(text("SELECT count(*) FROM outbox WHERE due_at < now() + interval '900 s'"))
        ).scalar()
    assert due == 0


async def test_order_is_kept_under_retries(house: House) -> None:
    adapter = FakeAdapter()

    async def answer(outgoing: Outgoing) -> Sent:
        if (outgoing.seq + outgoing.attempt) % 3 == 0:
            raise SendError(SendFailure.RETRY, "HTTP 500")
        return Sent()

    adapter.answer = answer
    channel_id = await house.channel(adapter)
    conversations = [await house.conversation(channel_id) for _ in range(5)]
    for conversation in conversations:
        await house.write(conversation, 6)
    async with house.sending() as running:
        await running.until_empty()
    for conversation in conversations:
        calls = [call for call in adapter.calls if call.conversation_id == conversation.id]
        assert [call.seq for call in calls] == sorted(call.seq for call in calls)
        assert {call.seq for call in calls} == {1, 2, 3, 4, 5, 6}
    assert set((await house.statuses()).values()) == {"sent"}


async def test_a_slow_account_does_not_delay_the_others(house: House) -> None:
    stuck = asyncio.Event()

    async def never(outgoing: Outgoing) -> Sent:
        await stuck.wait()
        return Sent()

    slow, quick = FakeAdapter(answer=never), FakeAdapter()
    slow_id, quick_id = await house.channel(slow), await house.channel(quick)
    for _ in range(60):
        await house.write(await house.conversation(slow_id))
    for _ in range(60):
        await house.write(await house.conversation(quick_id))
    async with house.sending(limits=Limits(batch=50, total=64, per_channel=8)) as running:
        await running.until_called(quick, 60)
        assert len(slow.calls) == 8
        stuck.set()
        await running.until_empty()
    assert len(slow.calls) == 60
    assert set((await house.statuses()).values()) == {"sent"}


async def test_a_full_channel_is_not_looked_at_until_a_send_ends(house: House) -> None:
    go = asyncio.Event()

    async def answer(outgoing: Outgoing) -> Sent:
        await go.wait()
        return Sent()

    channel_id = await house.channel(FakeAdapter(answer=answer))
    for _ in range(3):
        await house.write(await house.conversation(channel_id))
    sender = house.sender(limits=Limits(per_channel=2))
    assert await sender.step() is None
    assert await sender.step() is None
    go.set()
    await sender.idle()
    assert await step_and_settle(sender) is not None
    assert await house.outbox() == []


async def test_a_live_channel_has_no_limit_of_its_own(house: House) -> None:
    live, other = FakeAdapter(replace(ONCE, live=True)), FakeAdapter()
    for adapter in (live, other):
        channel_id = await house.channel(adapter)
        for _ in range(5):
            await house.write(await house.conversation(channel_id))
    await step_and_settle(house.sender(limits=Limits(per_channel=2)))
    assert (len(live.calls), len(other.calls)) == (5, 2)


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (SendFailure.PERMANENT, "failed", "the channel refused the message: HTTP 400"),
        (SendFailure.RECIPIENT, "failed", "the recipient cannot be reached: HTTP 400"),
        (SendFailure.CONFIG, "failed", "the channel is not set up correctly: HTTP 400"),
        (
            SendFailure.WINDOW,
            "failed",
            "the time to answer on this channel is over until the customer writes again: HTTP 400",
        ),
        (SendFailure.QUOTA, "failed", "the channel takes no more messages until its quota is reset: HTTP 400"),
        (SendFailure.UNKNOWN, "unknown", "it may have been sent: HTTP 400"),
    ],
)
async def test_what_cannot_be_sent_is_visible_and_the_next_one_goes(
    house: House, failure: SendFailure, status: str, words: str
) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.seq == 1:
            raise SendError(failure, "HTTP 400")
        return Sent()

    conversation = await house.conversation(await house.channel(FakeAdapter(answer=answer)))
    first, second = await house.write(conversation, 2)
    async with house.sending() as running:
        await running.until_empty()
    stored = await house.message(first.id)
    assert (stored.status, stored.error) == (status, words)
    assert [(item.outcome, item.detail) for item in await house.attempts(first.id)] == [(failure.value, "HTTP 400")]
    assert (await house.events())[1].payload["error"] == words
    assert (await house.message(second.id)).status == "sent"


async def test_a_quota_that_is_reset_at_a_known_time_is_waited_for(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.attempt == 1:
            raise SendError(SendFailure.QUOTA, "45011", retry_after_s=0.05)
        return Sent()

    [message] = await house.write(await house.conversation(await house.channel(FakeAdapter(answer=answer))))
    async with house.sending() as running:
        await running.until_empty()
    assert [item.outcome for item in await house.attempts(message.id)] == ["quota", "sent"]
    assert (await house.message(message.id)).status == "sent"


async def test_given_up_in_the_end(house: House) -> None:
    adapter = FakeAdapter(answer=fails(SendFailure.RETRY))
    [message] = await house.write(await house.conversation(await house.channel(adapter)))
    async with house.sending(schedule=Schedule(steps_s=(0.05,), total_s=2)) as running:
        await running.until_empty()
    stored = await house.message(message.id)
    attempts = await house.attempts(message.id)
    assert (stored.status, stored.error) == ("failed", f"given up after {len(attempts)} attempts: HTTP 503")
    assert attempts[-1].outcome == "given_up"
    assert len(attempts) > 2


@pytest.mark.parametrize("harmless", [True, False])
async def test_no_answer_in_time(house: House, harmless: bool) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.attempt == 1:
            await asyncio.Event().wait()
        return Sent()

    adapter = idempotent(answer) if harmless else FakeAdapter(answer=answer)
    [message] = await house.write(await house.conversation(await house.channel(adapter)))
    impatient = house.settings.model_copy(update={"send_timeout_s": 0.05})
    async with house.sending(settings=impatient) as running:
        await running.until_empty()
    stored = await house.message(message.id)
    if harmless:
        assert (stored.status, len(adapter.calls)) == ("sent", 2)
    else:
        assert (stored.status, stored.error) == ("unknown", "it may have been sent: no answer within 0.05 s")


async def test_a_faulty_adapter_does_not_stop_the_sender(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.seq == 1:
            raise KeyError("chat")
        return Sent()

    adapter = FakeAdapter(answer=answer)
    conversation = await house.conversation(await house.channel(adapter))
    first, second = await house.write(conversation, 2)
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(first.id)).status == "unknown"
    assert (await house.message(second.id)).status == "sent"


async def test_a_missing_file_is_said_to_be_missing(house: House) -> None:
    def store_read(sha256: str) -> bytes:
        raise NotFound

    adapter = FakeAdapter()
    file = {"id": "1", "name": "a.txt", "media_type": "text/plain", "size": 3, "sha256": "ab"}
    [message] = await house.write(await house.conversation(await house.channel(adapter)), attachments=[file])
    async with house.sending(store_read=store_read) as running:
        await running.until_empty()
    assert (await house.message(message.id)).error == "the channel refused the message: the file 'a.txt' is missing"
    assert adapter.calls == []


async def test_a_file_is_never_left_out_silently(house: House) -> None:
    adapter = FakeAdapter(replace(ONCE, files=False))
    file = {"id": "1", "name": "a.txt", "media_type": "text/plain", "size": 3, "sha256": "ab"}
    [message] = await house.write(await house.conversation(await house.channel(adapter)), attachments=[file])
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(message.id)).error == "the channel refused the message: it carries no files"


async def test_waits_while_the_channel_is_switched_off(house: House) -> None:
    adapter = FakeAdapter()
    channel_id = await house.channel(adapter)
    [message] = await house.write(await house.conversation(channel_id))
    account = house.accounts.pop(channel_id)
    await step_and_settle(house.sender())
    stored = await house.message(message.id)
    assert (stored.status, stored.error) == ("sending", "not sent yet: the channel is switched off or cannot be read")
    house.accounts[channel_id] = account
    async with house.sending() as running:
        await running.until_empty()
    assert (await house.message(message.id)).status == "sent"


async def test_a_held_conversation_is_passed_over(house: House) -> None:
    adapter = FakeAdapter()
    channel_id = await house.channel(adapter)
    held, free = await house.conversation(channel_id), await house.conversation(channel_id)
    await house.write(held)
    await house.write(free)
    async with house.sending() as running:
        async with house.database.begin() as session:
            await lock(session, held)
            await running.until_called(adapter, 1)
            assert adapter.calls[0].conversation_id == free.id
        await running.until_empty()
    assert len(adapter.calls) == 2


async def test_a_conversation_held_at_the_end_of_a_send_delays_only_itself(house: House) -> None:
    adapter = FakeAdapter()
    go, started = asyncio.Event(), asyncio.Event()

    async def answer(outgoing: Outgoing) -> Sent:
        if len(adapter.calls) == 2:
            started.set()
        await go.wait()
        return Sent()

    adapter.answer = answer
    channel_id = await house.channel(adapter)
    held, free = await house.conversation(channel_id), await house.conversation(channel_id)
    [first], [second] = await house.write(held), await house.write(free)
    async with house.sending() as running:
        await started.wait()
        async with house.database.begin() as session:
            await lock(session, held)
            go.set()

            async def settled() -> bool:
                return await house.statuses() == {first.id: "sending", second.id: "sent"}

            await running.until(settled)
        await running.until_empty()
    assert await house.statuses() == {first.id: "sent", second.id: "sent"}


async def test_rolled_back_is_never_sent(house: House) -> None:
    adapter = FakeAdapter()
    conversation = await house.conversation(await house.channel(adapter))
    async with house.database.begin() as session:
        message = message_of(conversation, seq=1)
        session.add(message)
        await outbox.enqueue(session, message)
        await session.rollback()
    sender = house.sender()
    assert await step_and_settle(sender) is None
    assert adapter.calls == []


async def test_drain_waits_for_what_is_in_flight(house: House) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def answer(outgoing: Outgoing) -> Sent:
        started.set()
        await go.wait()
        return Sent()

    adapter = FakeAdapter(answer=answer)
    conversation = await house.conversation(await house.channel(adapter))
    first, second = await house.write(conversation, 2)
    sender = house.sender()
    await sender.step()
    await started.wait()
    draining = asyncio.create_task(sender.drain(10))
    await asyncio.sleep(0)
    go.set()
    await draining
    assert await sender.step() is None
    assert await house.statuses() == {first.id: "sent", second.id: "queued"}


async def test_the_step_says_when_the_next_is_due(house: House) -> None:
    channel_id = await house.channel(FakeAdapter())
    sender = house.sender()
    assert await sender.step() is None
    await house.write(await house.conversation(channel_id))
    async with house.database.begin() as session:
        await session.execute(text("UPDATE outbox SET due_at = now() + interval '100 s'"))
    assert await sender.step() == pytest.approx(100, abs=5)


@contextmanager
def counted(database: Database) -> Iterator[dict[str, int]]:
    counts = {"statements": 0, "commits": 0}

    def on_statement(*_: object) -> None:
        counts["statements"] += 1

    def on_commit(*_: object) -> None:
        counts["commits"] += 1

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", on_statement)
    event.listen(engine, "commit", on_commit)
    try:
        yield counts
    finally:
        event.remove(engine, "before_cursor_execute", on_statement)
        event.remove(engine, "commit", on_commit)


async def test_statements_are_shared_by_a_batch(house: House) -> None:
    adapter = FakeAdapter()
    channel_id = await house.channel(adapter)
    for _ in range(50):
        await house.write(await house.conversation(channel_id))
    sender = house.sender(limits=Limits(batch=50, total=64, per_channel=64))
    with counted(house.database) as counts:
        await step_and_settle(sender)
    assert await house.outbox() == []
    # Taking: candidates, locks, rows, leases with attempts, statuses. Settling: locks, attempts, rows, statuses, what was
    # said of them before; the first outcome may go alone before the other 49.
    assert counts["statements"] <= 5 + 2 * 5
    assert counts["commits"] <= 3
    await house.write(await house.conversation(channel_id))
    with counted(house.database) as counts:
        await step_and_settle(sender)
    assert counts["statements"] <= 6 + 5
    assert counts["commits"] == 2


@pytest.mark.parametrize("public", ["http://127.0.0.1:8000", "https://care.example"])
async def test_our_address_goes_along_where_it_can_be_reached(house: House, public: str) -> None:
    adapter = FakeAdapter()
    channel_id = await house.channel(adapter)
    await house.write(await house.conversation(channel_id))
    settings = house.settings.model_copy(update={"public_url": public})
    settings.__dict__.pop("base_url", None)  # worked out of the former address
    await step_and_settle(house.sender(settings=settings))
    [outgoing] = adapter.calls
    assert outgoing.webhook == (f"{public}/channels/{channel_id}/webhook" if "care" in public else None)
