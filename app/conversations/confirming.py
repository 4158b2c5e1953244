"""Receipts that nobody answers: asked about again, and in the end closed; and those that did not arrive. Works on
any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import asking, closing, queries, remedying
from app.db import Database
from app.models import Conversation, Message, ResolutionCycle
from app.models.words import ConversationStatus, CycleState, DeliveryStatus

BATCH = 100
_DUE = text(
    "(SELECT conversation_id FROM resolution_cycle WHERE unreached IS NOT NULL LIMIT :batch) UNION "
    "(SELECT conversation_id FROM resolution_cycle WHERE next_at <= now() ORDER BY next_at LIMIT :batch)"
)
_NEXT = text(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM resolution_cycle WHERE unreached IS NOT NULL) THEN 0.0 ELSE ("
    "SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM resolution_cycle WHERE next_at IS NOT NULL) END"
)
_MOMENT = text("SELECT now()")
_BUSY_S = 0.05


class Confirmer:
    """`link` makes the address of a receipt's page."""

    def __init__(self, database: Database, *, link: Callable[[UUID], str]) -> None:
        self._database, self._link = database, link

    async def step(self) -> float | None:
        """Seconds until the next one is due."""
        async with self._database.begin() as session:
            due = (await session.execute(_DUE, {"batch": BATCH})).scalars().all()
            held = await queries.try_lock_many(session, due) if due else []
            for conversation in held:
                await self._settle(session, conversation)
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        if seconds is None:
            return None
        return max(seconds, 0 if held else _BUSY_S)

    async def _send_again(self, session: AsyncSession, conversation: Conversation) -> None:
        """What did not arrive, by another channel; of what is settled meanwhile nobody is asked any more."""
        found = await session.exec(
            select(ResolutionCycle)
            .where(col(ResolutionCycle.conversation_id) == conversation.id, col(ResolutionCycle.unreached).is_not(None))
            .execution_options(populate_existing=True)
        )
        for cycle in found.all():
            lost = await session.get(Message, cycle.unreached)
            cycle.unreached = None
            session.add(cycle)
            if lost is None or lost.status != DeliveryStatus.FAILED:
                continue
            if "recovery" in lost.content:
                await remedying.ask_again(session, conversation, cycle, lost=lost, url=self._link(cycle.id))
            elif cycle.state == CycleState.PENDING and conversation.status == ConversationStatus.RESOLVED:
                await asking.send_again(session, conversation, cycle, lost=lost, url=self._link(cycle.id))

    async def _settle(self, session: AsyncSession, conversation: Conversation) -> None:
        """What is due now that nobody else can answer meanwhile; the database's clock decides."""
        await self._send_again(session, conversation)
        moment = (await session.execute(_MOMENT)).scalar_one()
        found = await session.exec(
            select(ResolutionCycle)
            .where(col(ResolutionCycle.conversation_id) == conversation.id, col(ResolutionCycle.next_at) <= moment)
            .execution_options(populate_existing=True)
        )
        cycle = found.one_or_none()
        if cycle is None or conversation.status != ConversationStatus.RESOLVED:
            return
        if cycle.next_at == cycle.confirm_by:
            await closing.lapse(session, conversation, cycle)
        else:  # after a standstill of ours, too: nobody's silence is taken for a yes who was not asked as often as promised
            await closing.remind(session, conversation, cycle, at=moment, link=self._link)
