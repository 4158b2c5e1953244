"""Notices what is due: warnings and breaches, exactly once on any number of processes, without a leader."""

from __future__ import annotations

from sqlalchemy import text

from app import log
from app.db import Database
from app.sla import escalation, measures

BATCH = 500
RETRY_S = 0.01
_NEXT = text(
    "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM sla_clock WHERE next_at IS NOT NULL"
)
_DUE = text("SELECT conversation_id FROM sla_clock WHERE next_at <= now() ORDER BY next_at LIMIT :limit")
_FIRE = text("SELECT * FROM fire_clocks_v1(CAST(:ids AS uuid[]))")
_logger = log.get("sla")


class Watcher:
    """One per process; `step` is its loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """Fire a batch of what is due, in one transaction and a fixed number of statements.

        Returns 0 when there is more, seconds until the next clock is due, or None when none is armed. What is due but
        in others' hands is tried again soon.
        """
        async with self._database.begin() as session:
            wait_s: float | None = (await session.execute(_NEXT)).scalar()
            if wait_s is None or wait_s > 0:
                return wait_s
            due = (await session.execute(_DUE, {"limit": BATCH})).scalars().all()
            fired = (await session.execute(_FIRE, {"ids": list(set(due))})).all()
            measures.count(session, [(row.o_metric, row.o_stage, row.o_lag_s) for row in fired])
            late = {row.o_conversation for row in fired if row.o_stage == "breached"}
            escalated = await escalation.escalate(session, late) if late else []
            more = bool(fired) and len(due) == BATCH
            if not more:
                wait_s = (await session.execute(_NEXT)).scalar()
        if late:
            _logger.info("deadlines missed", conversations=len(late), escalated=len(escalated))
        if more:
            return 0
        return None if wait_s is None else max(wait_s, RETRY_S)
