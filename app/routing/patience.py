"""Carries out what becomes of conversations as they wait (due.py decides), in batches, without a leader.

It sleeps until the next entry is due. Nothing is due while an agent is being asked: what was missed then is made up for
when the offer has ended.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, CatalogCache
from app.conversations import assignment, queries
from app.db import Database, after_commit, driver
from app.ids import new_id
from app.models import Conversation
from app.models.words import DecisionKind, WhenClosed
from app.routing import endings
from app.routing.due import Entry, Rules, Verdict, look
from app.sla import calendar
from app.wakeups import wake

TOPIC = "patience"
RETRY_S = 0.02
SWEEP_S = 30.0
_BATCH = 200

DONE = Counter("roundtrip_patience_total", "What was done with conversations that waited", ["kind"])

_DUE = text(
    "SELECT conversation_id FROM queue_entry WHERE next_at <= now() AND state = 'waiting' ORDER BY next_at LIMIT :limit"
)
_NEXT = text(
    "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM queue_entry "
    "WHERE next_at IS NOT NULL AND state = 'waiting'"
)
_ENTRIES = """
    SELECT e.conversation_id, e.queue_id, e.entered_at, e.ring, e.escalated, e.target_agent_id, e.target_until,
           e.excluded, e.round_at, c.assignee_id IS NOT NULL AS held, now() AS moment
    FROM queue_entry e JOIN conversation c ON c.id = e.conversation_id
    WHERE e.conversation_id = ANY($1::uuid[]) AND e.next_at <= now() AND e.state = 'waiting'
    ORDER BY e.conversation_id
"""
_QUEUES = """
    SELECT id, rings::text AS rings, overflow_queue_id, overflow_after_s, max_wait_s, calendar_id, when_closed FROM queue WHERE active
"""
# In parallel: conversation, queue, entered, ring, escalated, whether the excluded are asked again, round, next.
_SETTLE = """
    UPDATE queue_entry e
    SET queue_id = n.queue_id, entered_at = n.entered_at, ring = n.ring, escalated = n.escalated,
        excluded = CASE WHEN n.anew THEN '{}' ELSE e.excluded END, round_at = n.round_at,
        next_at = CASE WHEN e.state = 'waiting' THEN n.next_at END
    FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::int[], $5::bool[], $6::bool[], $7::timestamptz[],
                $8::timestamptz[]) AS n(conversation_id, queue_id, entered_at, ring, escalated, anew, round_at, next_at)
    WHERE e.conversation_id = n.conversation_id
"""
_RECORD = """
    INSERT INTO routing_decision(id, conversation_id, queue_id, kind, explanation)
    SELECT r.id, r.conversation_id, r.queue_id, r.kind, r.explanation::jsonb
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
         AS r(id, conversation_id, queue_id, kind, explanation)
"""
_RECONSIDER = text("""
    UPDATE queue_entry SET next_at = now()
    WHERE conversation_id IN (SELECT e.conversation_id FROM queue_entry e
                              WHERE e.queue_id = :queue AND e.state = 'waiting' FOR UPDATE SKIP LOCKED)
""")
# What was made while its queue was being changed may have been made by the old rules. Queues with opening hours are
# looked at when these change: only patience.py knows them.
_SWEEP = text("""
    UPDATE queue_entry SET next_at = now()
    WHERE conversation_id IN (
        SELECT e.conversation_id
        FROM queue_entry e JOIN queue q ON q.id = e.queue_id JOIN conversation c ON c.id = e.conversation_id
        WHERE e.state = 'waiting' AND (q.calendar_id IS NULL OR q.when_closed <> 'overflow')
          AND coalesce(e.next_at, 'infinity') > next_at_v1(
              q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id,
              e.entered_at, e.ring, e.escalated, c.assignee_id IS NOT NULL, e.target_agent_id, e.target_until, e.round_at)
        ORDER BY e.conversation_id
        FOR UPDATE OF e SKIP LOCKED)
""")


_Done: TypeAlias = tuple[Conversation, Entry, Verdict]


async def reconsider(session: AsyncSession, queue_id: UUID) -> None:
    """The queue, or its opening hours, were changed: what waits in it is looked at when this transaction commits."""
    await session.flush()
    await session.execute(_RECONSIDER, {"queue": queue_id})
    await wake(session, TOPIC)


class Patience:
    """One per process; `step` is its loop."""

    def __init__(self, database: Database, catalog: CatalogCache, *, again_s: float = endings.AGAIN_S) -> None:
        self._database, self._catalog, self._again_s = database, catalog, again_s
        self._swept_at = -SWEEP_S

    async def step(self) -> float | None:
        """Do what is due. Returns seconds until the next is, 0 when there is more; None: when woken."""
        catalog = await self._catalog.current()
        async with self._database.begin() as session:
            await self._sweep(session)
            due = (await session.execute(_DUE, {"limit": _BATCH})).scalars().all()
            held = await queries.try_lock_many(session, due) if due else []
            if held:
                await self._settle(session, catalog, held)
            if len(held) == _BATCH:
                return 0
            wait_s: float | None = (await session.execute(_NEXT)).scalar()
        return None if wait_s is None else max(wait_s, RETRY_S)

    async def _sweep(self, session: AsyncSession) -> None:
        if time.monotonic() - self._swept_at >= SWEEP_S:
            self._swept_at = time.monotonic()
            await session.execute(_SWEEP)

    async def _settle(self, session: AsyncSession, catalog: Catalog, held: Collection[Conversation]) -> None:
        """Of the conversations, held by us, those for which something is due still."""
        connection = await driver(session)
        by_id = {conversation.id: conversation for conversation in held}
        rows = await connection.fetch(_ENTRIES, list(by_id))
        if not rows:
            return
        moment: datetime = rows[0]["moment"]
        queues = {row["id"]: _rules(row, catalog, moment) for row in await connection.fetch(_QUEUES)}
        entries = {row["conversation_id"]: _entry(row) for row in rows}
        done = [(by_id[key], entry, look(entry, queues, moment)) for key, entry in entries.items()]
        for conversation, before, verdict in done:
            await self._tell(session, conversation, before, verdict)
        await _write(session, done)
        await _record(session, done)
        if any(verdict.steps for _, _, verdict in done):
            await wake(session, "dispatch")

    async def _tell(self, session: AsyncSession, conversation: Conversation, before: Entry, verdict: Verdict) -> None:
        """What others have to know of: that it came into another queue, that a transfer failed."""
        for step in verdict.steps:
            after_commit(session, DONE.labels(step.kind.value).inc)
            if step.kind is DecisionKind.UNTARGETED:
                assert before.target_agent_id is not None, "it is untargeted now"
                await endings.transfer_failed(
                    session,
                    conversation,
                    before.target_agent_id,
                    "unavailable",
                    escalated=before.escalated,
                    again_s=self._again_s,
                )
            elif step.kind is DecisionKind.OVERFLOW and verdict.entry is not None:
                await assignment.move_to_queue(session, conversation, verdict.entry.queue_id)


async def _write(session: AsyncSession, done: Sequence[_Done]) -> None:
    """The entries as they are then, in one statement; those that leave have left."""
    await session.flush()
    found = [
        (
            conversation.id,
            entry.queue_id,
            entry.entered_at,
            entry.ring,
            entry.escalated,
            not entry.excluded,
            entry.round_at,
            at,
        )
        for conversation, _, verdict in done
        if (entry := verdict.entry) is not None
        for at in [verdict.next_at]
    ]
    if found:
        await (await driver(session)).execute(_SETTLE, *map(list, zip(*found, strict=True)))


async def _record(session: AsyncSession, done: Sequence[_Done]) -> None:
    """What was done is on the record, for GET .../routing."""
    found = [
        (new_id(), conversation.id, step.queue_id, step.kind.value, orjson.dumps(step.detail).decode())
        for conversation, _, verdict in done
        for step in verdict.steps
    ]
    if found:
        await (await driver(session)).execute(_RECORD, *map(list, zip(*found, strict=True)))


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        queue_id=row["queue_id"],
        entered_at=row["entered_at"],
        ring=row["ring"],
        escalated=row["escalated"],
        held=row["held"],
        target_agent_id=row["target_agent_id"],
        target_until=row["target_until"],
        excluded=tuple(row["excluded"]),
        round_at=row["round_at"],
    )


def _rules(row: Mapping[str, Any], catalog: Catalog, moment: datetime) -> Rules:
    """A queue's row as the decider sees it at a moment."""
    passes_on = row["calendar_id"] is not None and row["when_closed"] == WhenClosed.OVERFLOW
    hours = catalog.calendars.get(row["calendar_id"]) if passes_on else None
    return Rules(
        rings=orjson.loads(row["rings"]),
        overflow_queue_id=row["overflow_queue_id"],
        overflow_after_s=row["overflow_after_s"],
        max_wait_s=row["max_wait_s"],
        closed=hours is not None and not calendar.is_open(hours, moment),
        closes_at=calendar.next_closing(hours, moment) if hours is not None else None,
    )
