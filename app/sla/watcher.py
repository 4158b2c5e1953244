"""Notices what is due: warnings, breaches and escalations, exactly once on any number of processes, without a leader."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.db import Database
from app.sla import actions, arming, book, measures

BATCH = 500
RETRY_S = 0.01
YIELD_S = 0.02
_NEXT = text(
    "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM sla_clock WHERE next_at IS NOT NULL"
)
# The moment in a query of its own: compared with a volatile function itself, the index would be read to its end.
_DUE = text("""
    SELECT conversation_id, stage_at = '{}' AS unarmed
    FROM sla_clock WHERE next_at <= (SELECT clock_timestamp()) ORDER BY next_at LIMIT :limit
""")
_FIRE = text("SELECT * FROM fire_clocks_v2(CAST(:ids AS uuid[]))")
_logger = log.get("sla")


class Watcher:
    """One per process; `step` is its loop."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """Fire a batch of what is due, in one transaction and a fixed number of statements.

        Returns 0 when there is more, seconds until the next clock is due, or None when none is armed. What is due but
        in others' hands is tried again soon, by each watcher after a time of its own.
        """
        async with self._database.begin() as session:
            wait_s: float | None = (await session.execute(_NEXT)).scalar()
            if wait_s is None or wait_s > 0:
                return wait_s
            due = (await session.execute(_DUE, {"limit": BATCH})).all()
            if unarmed := {row.conversation_id for row in due if row.unarmed}:
                await arming.arm(session, unarmed)
            fired = (await session.execute(_FIRE, {"ids": list({row.conversation_id for row in due})})).all()
            await _ask(session, fired)
            more = bool(fired) and len(due) == BATCH
            if not more:
                wait_s = (await session.execute(_NEXT)).scalar()
        late = sum(row.o_kind == "breached" for row in fired)
        if late:
            _logger.info("deadlines missed", clocks=late)
        if more:
            return 0
        if wait_s is None:
            return None
        least_s = RETRY_S if fired else YIELD_S  # another watcher is at it: two would only be in each other's way
        return max(wait_s, least_s * (1 + random.random()))


async def _ask(session: AsyncSession, fired: Sequence[Row[Any]]) -> None:
    measures.count(session, [(row.o_metric, row.o_kind, row.o_lag_s) for row in fired])
    policies = await book.policies(session, {row.o_policy for row in fired})
    facts = {
        row.o_conversation: {
            "channel_type": row.o_channel_type,
            "category": row.o_category,
            "matter": row.o_matter,
            "severity": row.o_severity,
            "warranty": row.o_warranty,
        }
        for row in fired
    }
    stages = [
        actions.Fired(row.o_clock, row.o_conversation, row.o_policy, row.o_metric, row.o_target_s, row.o_stage)
        for row in fired
    ]
    await actions.ask(session, stages, facts, policies)
