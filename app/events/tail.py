"""Read the log in commit order: live for the whole process in one query per wakeup, and for replays by the same query."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
from prometheus_client import Counter

from app.db import STATEMENTS, Database, driver
from app.events.stream import START, Position, StreamEvent

READS = Counter("roundtrip_tail_reads_total", "Queries for new events")
EVENTS = Counter("roundtrip_tail_events_total", "Events handed to this process")

_PAGE = 500
_MIN_GAP_S = 0.002
_BLOCKED_S = 0.002
# An event is ready when no transaction that could still add one before it is running.
_READ = """
SELECT id, pos, type, conversation_id, contact_id, channel_id, seq, scope, queues, agents, to_customer, payload::text,
       pos < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS ready
FROM event WHERE (pos, id) > ($1, $2) ORDER BY pos, id LIMIT $3
"""
_NEWEST = """
SELECT pos, id FROM event WHERE pos < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY pos DESC, id DESC LIMIT 1
"""
_BEHIND = """
SELECT count(*) AS missed, coalesce(bool_or(created_at < now() - make_interval(secs => $4)), false) AS stale
FROM (SELECT created_at FROM event WHERE (pos, id) > ($1, $2) ORDER BY pos, id LIMIT $3) AS missed
"""


async def newest(connection: asyncpg.Connection) -> Position:
    """The last position below which nothing can appear any more."""
    row = await connection.fetchrow(_NEWEST)
    return Position(row["pos"], row["id"]) if row else START


async def end(connection: asyncpg.Connection) -> Position:
    """The last position that is written, ready or not."""
    row = await connection.fetchrow("SELECT pos, id FROM event ORDER BY pos DESC, id DESC LIMIT 1")
    return Position(row["pos"], row["id"]) if row else START


async def behind(
    connection: asyncpg.Connection, after: Position, *, limit: int, window_s: float = 1e9
) -> tuple[int, bool]:
    """How many events came after a position, counted up to `limit`; and whether one of these is older than the window."""
    row = await connection.fetchrow(_BEHIND, after.pos, after.id, limit, window_s)
    return row["missed"], row["stale"]


async def read(connection: asyncpg.Connection, after: Position, limit: int) -> tuple[list[StreamEvent], bool]:
    """The events that are ready, in order; and whether others stand behind a transaction that is still running."""
    STATEMENTS.inc()
    rows = await connection.fetch(_READ, after.pos, after.id, limit)
    ready: list[StreamEvent] = []
    for row in rows:
        if not row["ready"]:
            return ready, True
        ready.append(StreamEvent(row))
    return ready, False


async def replay(database: Database, after: Position, upto: Position) -> AsyncIterator[Sequence[StreamEvent]]:
    """Pages of what lies between two positions, `upto` included. No connection is held between two pages."""
    while after < upto:
        async with database.begin() as session:
            events, _ = await read(await driver(session), after, _PAGE)
        wanted = [event for event in events if event.position <= upto]
        if wanted:
            yield wanted
        if len(wanted) < len(events) or not events:
            return
        after = events[-1].position


class Tail:
    """The live reader of one process. Every wakeup is one query, however many sockets listen."""

    def __init__(self, database: Database, publish: Callable[[Sequence[StreamEvent]], None]) -> None:
        self._database, self._publish = database, publish
        self._connection: asyncpg.Connection | None = None
        self._last_read = 0.0
        self.position = START

    async def start(self) -> None:
        self._connection = await self._database.connect()
        self.position = await newest(self._connection)

    async def stop(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def step(self) -> float | None:
        """Hand on what is ready. Reads are a little apart, so that under load one query carries many events."""
        if (early := self._last_read + _MIN_GAP_S - time.monotonic()) > 0:
            await asyncio.sleep(early)
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
        events, blocked = await read(self._connection, self.position, _PAGE)
        self._last_read = time.monotonic()
        READS.inc()
        EVENTS.inc(len(events))
        if events:
            self.position = events[-1].position
            self._publish(events)
        if len(events) == _PAGE:
            return 0
        return _BLOCKED_S if blocked else None
