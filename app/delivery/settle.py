"""What became of a send, and how it is written down: many outcomes in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import RefusalReason, SendError, SendFailure, Sent
from app.db import Database
from app.delivery import accounts, backoff, orphans, reach
from app.delivery.accounts import Verdict
from app.delivery.backoff import Schedule
from app.delivery.claimed import Claimed
from app.delivery.outbox import Change, change_many
from app.models.words import DeliveryStatus

_BATCH = 64
_PATIENCE_S = (0.0, 0.1, 0.5, 2.0, 5.0, 10.0)
_WORDS = {
    SendFailure.PERMANENT: "the channel refused the message",
    SendFailure.RECIPIENT: "the recipient cannot be reached",
    SendFailure.CONFIG: "the channel is not set up correctly",
    SendFailure.REAUTH: "the channel's credentials were refused",
    SendFailure.WINDOW: "the time to answer on this channel is over until the customer writes again",
    SendFailure.QUOTA: "the channel takes no more messages until its quota is reset",
}
_logger = log.get("delivery")


def error_code(failure: SendFailure) -> str:
    """The stable word for why a message failed."""
    known = {SendFailure.WINDOW: reach.WINDOW_CLOSED, SendFailure.RECIPIENT: reach.RECIPIENT_REFUSED}
    return known.get(failure, failure.value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt and what it means for its message. `retry_in_s` is None when no other attempt follows.

    `waived`: it failed for the whole account, and does not count as an attempt of this message. `account` is there when
    the answer is news of its account; `refusal` when the person is not to be written to any more.
    """

    attempt_id: UUID
    message_id: UUID
    conversation_id: UUID
    attempt: int
    word: str
    status: DeliveryStatus
    detail: str | None = None
    error: str | None = None
    retry_in_s: float | None = None
    provider_message_id: str | None = None
    thread_key: str | None = None
    error_code: str | None = None
    waived: bool = False
    account: Verdict | None = None
    refusal: RefusalReason | None = None
    channel_id: UUID | None = None


def decide(item: Claimed, result: Sent | SendError, *, elapsed_s: float, schedule: Schedule, rng: Random) -> Outcome:
    """What an answer means. `elapsed_s` counts from the first attempt; the errors are for agents to read."""
    outgoing = item.outgoing
    known = (item.attempt_id, outgoing.message_id, outgoing.conversation_id, outgoing.attempt)
    if isinstance(result, Sent):
        return Outcome(
            *known,
            word="sent",
            status=DeliveryStatus.SENT,
            detail=result.detail,
            provider_message_id=result.provider_message_id,
            thread_key=result.thread_key,
            channel_id=item.channel_id,
        )
    failure, detail = result.failure, result.detail
    if failure is SendFailure.UNKNOWN:
        return Outcome(*known, failure.value, DeliveryStatus.UNKNOWN, detail, f"it may have been sent: {detail}")
    if _is_for_all(result):
        # The account waits, and so does everything that is to go out on it; this message is the first of them again.
        pause_s = accounts.pause_s(result)
        error = f"not sent yet: {_WORDS[failure]}: {detail}" if failure in _WORDS else f"not sent yet: {detail}"
        return Outcome(*known, failure.value, DeliveryStatus.SENDING, detail, error, pause_s, waived=True)
    again = failure is SendFailure.RETRY or (failure is SendFailure.QUOTA and result.retry_after_s is not None)
    if not again:
        error = f"{_WORDS[failure]}: {detail}"
        return Outcome(
            *known,
            failure.value,
            DeliveryStatus.FAILED,
            detail,
            error,
            error_code=error_code(failure),
            refusal=result.refusal,
        )
    counted = max(outgoing.attempt - item.waived, 1)
    wait_s = backoff.wait_s(schedule, counted, elapsed_s=elapsed_s, retry_after_s=result.retry_after_s, rng=rng)
    if wait_s is None:
        error = f"given up after {counted} attempts: {detail}"
        return Outcome(*known, "given_up", DeliveryStatus.FAILED, detail, error, error_code="given-up")
    return Outcome(*known, failure.value, DeliveryStatus.SENDING, detail, f"not sent yet: {detail}", wait_s)


def _is_for_all(result: SendError) -> bool:
    """It says nothing of this message: the account is limited, or its credentials are not good."""
    if result.failure is SendFailure.REAUTH:
        return True
    pauses = result.failure in (SendFailure.RETRY, SendFailure.QUOTA) and result.retry_after_s is not None
    return pauses and not result.only_this


_LOCK = "SELECT id FROM conversation WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE"
_END = text(
    "UPDATE delivery_attempt a SET ended_at = now(), outcome = w.outcome, detail = w.detail "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:outcomes AS text[]), CAST(:details AS text[])) AS w(id, outcome, detail) "
    "WHERE a.id = w.id"
)
# A number below zero matches every attempt: what was sent is done, whoever is trying again.
_DONE = text(
    "DELETE FROM outbox o USING unnest(CAST(:messages AS uuid[]), CAST(:attempts AS int[])) AS w(message, attempt) "
    "WHERE o.message_id = w.message AND (w.attempt < 0 OR o.attempts = w.attempt) RETURNING o.message_id"
)
# The messages behind it wait as long: they cannot go before it, and need not be looked at.
_AGAIN = text(
    "UPDATE outbox o SET due_at = greatest(o.due_at, now() + make_interval(secs => w.seconds)), "
    "lease_until = CASE WHEN o.id = head.id THEN NULL ELSE o.lease_until END, "
    "waived = o.waived + CASE WHEN o.id = head.id AND w.waived THEN 1 ELSE 0 END, "
    # Its time begins when it is tried for itself.
    "first_attempt_at = CASE WHEN o.id = head.id AND w.waived AND o.attempts = o.waived + 1 THEN NULL "
    "ELSE o.first_attempt_at END "
    "FROM unnest(CAST(:messages AS uuid[]), CAST(:attempts AS int[]), CAST(:seconds AS float8[]), "
    "CAST(:waived AS bool[])) AS w(message, attempt, seconds, waived) "
    "JOIN outbox head ON head.message_id = w.message AND head.attempts = w.attempt "
    "WHERE o.conversation_id = head.conversation_id RETURNING head.message_id"
)


async def settle(session: AsyncSession, outcomes: Sequence[Outcome], *, wait: bool) -> set[UUID]:
    """Write outcomes down; the ids of the messages that were. Without `wait`, those whose conversation is held by
    someone else are left out.

    The outcome of an attempt that was overtaken (its lease ran out, another sender took over) is noted at the attempt
    and changes the message only when it is good news.
    """
    ids = [outcome.conversation_id for outcome in outcomes]
    held = set((await session.execute(text(_LOCK + ("" if wait else " SKIP LOCKED")), {"ids": ids})).scalars())
    mine = [outcome for outcome in outcomes if outcome.conversation_id in held]
    if not mine:
        return set()
    await session.execute(
        _END,
        {
            "ids": [outcome.attempt_id for outcome in mine],
            "outcomes": [outcome.word for outcome in mine],
            "details": [outcome.detail for outcome in mine],
        },
    )
    current = await _end(session, [outcome for outcome in mine if outcome.retry_in_s is None])
    current |= await _again(session, [outcome for outcome in mine if outcome.retry_in_s is not None])
    await change_many(
        session,
        [
            Change(
                outcome.message_id,
                outcome.status,
                outcome.error,
                outcome.provider_message_id,
                outcome.thread_key,
                outcome.error_code,
            )
            for outcome in mine
            if outcome.status is DeliveryStatus.SENT or outcome.message_id in current
        ],
    )
    sent = [(o.channel_id, o.provider_message_id, o.message_id) for o in mine if o.channel_id and o.provider_message_id]
    await orphans.adopt(session, sent)
    await accounts.note(session, [outcome.account for outcome in mine if outcome.account is not None])
    return {outcome.message_id for outcome in mine}


async def _end(session: AsyncSession, outcomes: Sequence[Outcome]) -> set[UUID]:
    if not outcomes:
        return set()
    found = await session.execute(
        _DONE,
        {
            "messages": [outcome.message_id for outcome in outcomes],
            "attempts": [-1 if outcome.status is DeliveryStatus.SENT else outcome.attempt for outcome in outcomes],
        },
    )
    return set(found.scalars())


async def _again(session: AsyncSession, outcomes: Sequence[Outcome]) -> set[UUID]:
    if not outcomes:
        return set()
    found = await session.execute(
        _AGAIN,
        {
            "messages": [outcome.message_id for outcome in outcomes],
            "attempts": [outcome.attempt for outcome in outcomes],
            "seconds": [outcome.retry_in_s for outcome in outcomes],
            "waived": [outcome.waived for outcome in outcomes],
        },
    )
    return set(found.scalars())


class Settler:
    """Outcomes that come while a batch is being written form the next one; alone, an outcome is written at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: list[tuple[Outcome, asyncio.Future[bool]]] = []
        self._lane: asyncio.Task[None] | None = None
        self._patient = asyncio.Semaphore(2)

    async def settle(self, outcome: Outcome) -> None:
        """Returns when it is committed. Raises what the database raised when that does not succeed for a while."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append((outcome, written))
        if self._lane is None or self._lane.done():
            self._lane = asyncio.create_task(self._run(), name="settle")
        if not await written:
            await self._settle_alone(outcome)

    async def finish(self) -> None:
        """Wait for the batch in hand."""
        if self._lane is not None:
            await self._lane

    async def _run(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            try:
                async with self._database.begin() as session:
                    done = await settle(session, [outcome for outcome, _ in batch], wait=False)
            except Exception as error:
                _logger.warning("outcomes not written, one by one now", count=len(batch), error=repr(error))
                done = set()
            for outcome, written in batch:
                if not written.done():
                    written.set_result(outcome.message_id in done)

    async def _settle_alone(self, outcome: Outcome) -> None:
        """For a conversation that someone holds, and after an error. Few at a time: each may wait with a connection."""
        async with self._patient:
            for pause_s in _PATIENCE_S:
                await asyncio.sleep(pause_s)
                try:
                    async with self._database.begin() as session:
                        await settle(session, [outcome], wait=True)
                    return
                except Exception as error:
                    failed = error
                    _logger.warning("outcome not written", message_id=outcome.message_id, error=repr(error))
            raise failed
