"""The loop of follow-ups: each is told once when it is due, and once when it was missed. Works on any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import follow_ups, queries
from app.db import Database
from app.models import Conversation, FollowUp
from app.models.words import FollowUpState

BATCH = 100
_DUE = text("SELECT conversation_id FROM follow_up WHERE next_at <= now() ORDER BY next_at LIMIT :batch")
_NEXT = text(
    "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM follow_up WHERE next_at IS NOT NULL"
)
_MOMENT = text("SELECT now()")
_BUSY_S = 0.05


class Returning:
    """The database's clock decides."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """Seconds until the next one is due or missed."""
        async with self._database.begin() as session:
            due = set((await session.execute(_DUE, {"batch": BATCH})).scalars())
            held = await queries.try_lock_many(session, due) if due else []
            at = (await session.execute(_MOMENT)).scalar_one()
            for conversation in held:
                for row in await _due_of(session, conversation, at):
                    tell = follow_ups.tell_due if row.due_told_at is None else follow_ups.tell_missed
                    await tell(session, conversation, row, at=at)
            await session.flush()
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        if seconds is None:
            return None
        return max(seconds, 0 if len(held) == len(due) else _BUSY_S)


async def _due_of(session: AsyncSession, conversation: Conversation, at: datetime) -> Sequence[FollowUp]:
    """Now that nobody else can change them."""
    found = await session.exec(
        select(FollowUp)
        .where(
            col(FollowUp.conversation_id) == conversation.id,
            col(FollowUp.state) == FollowUpState.PLANNED,
            col(FollowUp.next_at) <= at,
        )
        .order_by(col(FollowUp.next_at), col(FollowUp.id))
        .execution_options(populate_existing=True)
    )
    return found.all()
