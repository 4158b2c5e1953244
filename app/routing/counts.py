"""How many wait in each queue: the differences that counts.sql leaves behind are added up, told, and forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database
from app.wakeups import tell

TOPIC = "counts"
GAP_S = 0.1
BATCH = 5_000
# Each difference is taken by one process. The rows of queue_count are locked in the order of their queues, and until
# the commit: so two processes never wait in a circle, and what they tell arrives in the order of what they counted.
_FOLD = text("""
WITH taken AS (
    DELETE FROM queue_delta
    WHERE id IN (SELECT id FROM queue_delta ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING queue_id, waiting, offered
), summed AS (
    SELECT t.queue_id, sum(t.waiting)::int AS waiting, sum(t.offered)::int AS offered
    FROM taken t JOIN queue q ON q.id = t.queue_id
    GROUP BY t.queue_id HAVING sum(t.waiting) <> 0 OR sum(t.offered) <> 0
), counted AS (
    INSERT INTO queue_count AS c (queue_id, waiting, offered)
    SELECT queue_id, waiting, offered FROM summed ORDER BY queue_id
    ON CONFLICT (queue_id) DO UPDATE SET waiting = c.waiting + excluded.waiting, offered = c.offered + excluded.offered
    RETURNING queue_id, waiting, offered
)
SELECT c.queue_id, c.waiting, c.offered, s.waiting AS waiting_change, s.offered AS offered_change,
       (SELECT count(*) FROM taken) = :limit AS more
FROM counted c JOIN summed s ON s.queue_id = c.queue_id ORDER BY c.queue_id
""")
_OF_QUEUES = text(
    "SELECT q.id, q.name, coalesce(c.waiting, 0) AS waiting, coalesce(c.offered, 0) AS offered "
    "FROM queue q LEFT JOIN queue_count c ON c.queue_id = q.id "
    "WHERE CASE WHEN :everything THEN q.active ELSE q.id = ANY(CAST(:ids AS uuid[])) END ORDER BY q.name, q.id"
)


class Folder:
    """The loop of one process; any number of them share the work."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = 0.0

    async def step(self) -> float | None:
        """Steps are a little apart, so that under load a queue is told of a few times a second, not at each change."""
        if (early := self._last + GAP_S - time.monotonic()) > 0:
            await asyncio.sleep(early)
        more = await fold(self._database)
        self._last = time.monotonic()
        return 0 if more else None


async def fold(database: Database) -> bool:
    """Add up what is there now, and tell of each queue that changed. Whether there may be more."""
    async with database.begin() as session:
        rows = (await session.execute(_FOLD, {"limit": BATCH})).all()
        for row in rows:
            await tell(session, _fact(row))
    return any(row.more for row in rows)


def _fact(row: Row[Any]) -> dict[str, Any]:
    """`queue.counts` for the members of the queue and for supervisors."""
    return {
        "queues": [str(row.queue_id)],
        "frame": {
            "type": "queue.counts",
            "queue_id": str(row.queue_id),
            "waiting": row.waiting,
            "offered": row.offered,
            "change": {"waiting": row.waiting_change, "offered": row.offered_change},
        },
    }


async def of_queues(session: AsyncSession, ids: Sequence[UUID], *, everything: bool = False) -> list[dict[str, Any]]:
    """[{id, name, waiting, offered}] of these queues, or of all that are active, by name."""
    found = await session.execute(_OF_QUEUES, {"ids": list(ids), "everything": everything})
    return [
        {"id": str(row.id), "name": row.name, "waiting": row.waiting, "offered": row.offered} for row in found.all()
    ]
