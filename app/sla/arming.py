"""Stages that have to be worked out with a calendar: of clocks that SQL started, and of those whose calendar was edited."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database
from app.sla import sheet

TOPIC = "calendar"
BATCH = 200
RETRY_S = 0.05
_HOLD = text("SELECT id FROM conversation WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE SKIP LOCKED")
# What was counted under the former edition is folded into the elapsed time by sheet.arm.
_OUTDATED = text("""
    SELECT DISTINCT o.conversation_id
    FROM calendar c
    CROSS JOIN LATERAL (
        SELECT k.conversation_id FROM sla_clock k
        WHERE k.calendar_id = c.id AND k.calendar_version < c.version AND k.state = 'running'
        LIMIT :limit
    ) o
    LIMIT :limit
""")


async def arm(session: AsyncSession, conversation_ids: Collection[UUID]) -> int:
    """Those of the conversations that nobody else holds. Returns how many were held."""
    held = (await session.execute(_HOLD, {"ids": sorted(conversation_ids)})).scalars().all()
    if held:
        here = await sheet.read(session, held)
        await here.save(session, ())
    return len(held)


class CalendarEdits:
    """Clocks follow their calendars, in batches; works on any number of processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """0 when there is more."""
        async with self._database.begin() as session:
            found = (await session.execute(_OUTDATED, {"limit": BATCH})).scalars().all()
            done = await arm(session, found) if found else 0
        if not found:
            return None
        return 0 if done else RETRY_S
