"""From the event log into the queue of each endpoint, in the log's order: intake and the verbs write nothing for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database
from app.delivery.webhooks import payload
from app.wakeups import wake

TOPIC = "webhook-deliveries"
CHANGED = "webhook-endpoints"
QUEUED = Counter("roundtrip_outgoing_webhook_events_total", "Events queued for webhook endpoints")

PAGE = 500
_ENDPOINTS = 20
_MIN_GAP_S = 0.02
_BLOCKED_S = 0.02
_LOOK_AGAIN_S = 30.0
_READY = "v.pos < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"

_ANY = text("SELECT EXISTS (SELECT 1 FROM webhook_endpoint WHERE active)")
# A statement of its own: the next one sees all that was committed before the cursors were ours.
_HOLD = text(f"""
    SELECT s.endpoint_id FROM webhook_cursor s JOIN webhook_endpoint e ON e.id = s.endpoint_id
    WHERE e.active AND EXISTS (SELECT 1 FROM event v WHERE (v.pos, v.id) > (s.pos, s.event_id))
    ORDER BY s.endpoint_id LIMIT {_ENDPOINTS}
    FOR UPDATE OF s SKIP LOCKED FOR KEY SHARE OF e SKIP LOCKED
""")
# An event is read when no transaction that could still add one before it is running, as the tail does.
_FILL = text(f"""
    WITH page AS MATERIALIZED (
        SELECT s.endpoint_id, v.pos, v.id AS event_id, v.conversation_id, {payload.TYPE} AS type,
               {payload.CALL_ID} AS call_id, coalesce({payload.WANTED}, false) AS wanted
        FROM webhook_cursor s
        JOIN webhook_endpoint e ON e.id = s.endpoint_id
        CROSS JOIN LATERAL (
            SELECT v.* FROM event v WHERE (v.pos, v.id) > (s.pos, s.event_id) AND {_READY}
            ORDER BY v.pos, v.id LIMIT {PAGE}
        ) v
        WHERE s.endpoint_id = ANY(CAST(:ids AS uuid[])) AND e.active
    ), last AS (
        SELECT DISTINCT ON (endpoint_id) endpoint_id, pos, event_id FROM page
        ORDER BY endpoint_id, pos DESC, event_id DESC
    ), moved AS (
        UPDATE webhook_cursor s SET pos = last.pos, event_id = last.event_id FROM last
        WHERE s.endpoint_id = last.endpoint_id
    ), queued AS (
        INSERT INTO webhook_delivery(id, endpoint_id, lane_id, event_id, conversation_id, type, state, attempts)
        SELECT call_id, endpoint_id, conversation_id, event_id, conversation_id, type, 'waiting', 0
        FROM page WHERE wanted ORDER BY pos, event_id
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    ), lanes AS (
        INSERT INTO webhook_lane AS l (endpoint_id, lane_id, turn)
        SELECT DISTINCT endpoint_id, conversation_id, 0 FROM page WHERE wanted ORDER BY 1, 2
        ON CONFLICT (endpoint_id, lane_id) DO UPDATE SET turn = l.turn  -- waits for who is about to remove it
    )
    SELECT (SELECT count(*) FROM page) AS read, (SELECT count(*) FROM queued) AS queued,
           (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM page GROUP BY endpoint_id) AS pages) AS longest
""")
_START = text(f"""
    INSERT INTO webhook_cursor(endpoint_id, pos, event_id)
    SELECT :endpoint, coalesce(max(newest.pos), 0), coalesce(max(newest.id), 0)
    FROM (SELECT v.pos, v.id FROM event v WHERE {_READY} ORDER BY v.pos DESC, v.id DESC LIMIT 1) AS newest
""")


async def start(session: AsyncSession, endpoint_id: object) -> None:
    """A new endpoint is told what happens from now on; what is being committed at this moment is included."""
    await session.execute(_START, {"endpoint": endpoint_id})


@dataclass(frozen=True, slots=True)
class Filled:
    """Events that were read, and of these queued; none are read while a transaction before them is running."""

    read: int
    queued: int
    more: bool


async def fill(session: AsyncSession) -> Filled | None:
    """One page for each endpoint that is behind and that nobody else is filling; None: there is none."""
    ids = (await session.execute(_HOLD)).scalars().all()
    if not ids:
        return None
    row = (await session.execute(_FILL, {"ids": ids, "logged": list(payload.LOGGED)})).one()
    if row.queued:
        await wake(session, TOPIC)
    return Filled(row.read, row.queued, row.longest == PAGE or len(ids) == _ENDPOINTS)


class FanOut:
    """One per process, stepped on every wakeup of `events`; whichever process holds a cursor moves it.

    While there is no active endpoint it asks the database nothing. `changed` is set when endpoints are made or changed.
    """

    def __init__(self, database: Database, changed: asyncio.Event) -> None:
        self._database, self._changed = database, changed
        self._any = True
        self._looked = 0.0
        self._last = 0.0

    async def step(self) -> float | None:
        """Steps are a little apart, so that one carries many events."""
        if not await self._needed():
            return None
        if (early := self._last + _MIN_GAP_S - time.monotonic()) > 0:
            await asyncio.sleep(early)
        self._last = time.monotonic()
        async with self._database.begin() as session:
            filled = await fill(session)
        if filled is None:
            return None
        QUEUED.inc(filled.queued)
        if filled.more:
            return 0
        return None if filled.read else _BLOCKED_S

    async def _needed(self) -> bool:
        stale = time.monotonic() - self._looked > _LOOK_AGAIN_S
        if self._changed.is_set() or stale:
            self._changed.clear()
            self._looked = time.monotonic()
            async with self._database.begin() as session:
                self._any = (await session.execute(_ANY)).scalar_one()
        return self._any
