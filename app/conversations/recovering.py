"""Recovery in the matter itself: the customer is asked whether it helped, what they answer, and the loop that tells who is
late with it. Works on any number of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, queries, remedying
from app.db import Database
from app.errors import ConversationClosed
from app.events.log import Actor
from app.feedback import collect, policy, recovery
from app.feedback.recovery_states import TO_DO
from app.models import Conversation, RecoveryTask, ResolutionCycle
from app.models.words import ConversationStatus, RecoveryCause, RecoveryState

BATCH = 100
REASON = "recovery_failed"
_TO_TELL = "told_at IS NULL AND state IN ('open', 'in_progress')"
_DUE = text(
    f"SELECT conversation_id FROM recovery_task WHERE {_TO_TELL} AND due_at <= now() ORDER BY due_at LIMIT :batch"
)
_NEXT = text(f"SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM recovery_task WHERE {_TO_TELL}")
_MOMENT = text("SELECT now()")
_BUSY_S = 0.05


async def consider(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle) -> None:
    """After a rating: a low one is to be made good, unless the matter was taken up again since; one that is not low any more
    needs nothing."""
    response = await collect.response_of(session, cycle)
    if response is None:
        return
    if not policy.is_low(cycle.policy, csat=response.csat, nps=response.nps):
        await recovery.withdraw(session, conversation, cycle)
    elif cycle.number == conversation.cycle:
        await recovery.for_cycle(session, conversation, cycle, RecoveryCause.LOW_SCORE)


async def change(
    session: AsyncSession,
    conversation: Conversation,
    task: RecoveryTask,
    given: Mapping[str, Any],
    *,
    actor: Actor,
    link: Callable[[UUID], str],
) -> list[str]:
    """`recovery.change`; once it is done, the customer of a closed matter is asked whether that helped.

    While the matter goes on nobody is asked apart: the answer to its next receipt decides.
    """
    changed = await recovery.change(session, conversation, task, given, actor=actor)
    if "state" in changed and task.state == RecoveryState.DONE and conversation.status == ConversationStatus.CLOSED:
        await remedying.ask(session, conversation, task, link=link)
    return changed


async def asked(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle) -> Sequence[RecoveryTask]:
    """The questions that an answer to this receipt is about: only while the matter is closed, and by its newest one."""
    if conversation.status != ConversationStatus.CLOSED or cycle.number != conversation.cycle:
        return []
    return await recovery.asked(session, conversation.id)


async def answered(
    session: AsyncSession,
    conversation: Conversation,
    tasks: Sequence[RecoveryTask],
    *,
    outcome: Literal["confirmed", "rejected"],
    via: str,
    reason: str = REASON,
) -> None:
    """The customer of a closed matter said that it helped, or that it did not: then the matter goes on, as long as it can."""
    actor = Actor("contact", conversation.contact_id)
    helped = outcome == "confirmed"
    if not helped:
        await _reopen_if_possible(session, conversation, actor=actor, reason=reason)
    state = RecoveryState.CONFIRMED if helped else RecoveryState.FAILED
    for task in tasks:
        await recovery.decide(session, conversation, task, state, via=via, actor=actor)


async def _reopen_if_possible(session: AsyncSession, conversation: Conversation, *, actor: Actor, reason: str) -> None:
    """Not when its window is over, or the customer has another open matter by now: what they said is kept anyway."""
    with contextlib.suppress(ConversationClosed):
        await closing.reopen(session, conversation, actor=actor, reason=reason)


class Overdue:
    """Tells of each task once that its time is over; the database's clock decides."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """Seconds until the next one is due."""
        async with self._database.begin() as session:
            due = set((await session.execute(_DUE, {"batch": BATCH})).scalars())
            held = await queries.try_lock_many(session, due) if due else []
            at = (await session.execute(_MOMENT)).scalar_one()
            for conversation in held:
                for task in await _late(session, conversation, at):
                    await recovery.overdue(session, conversation, task, at=at)
            await session.flush()
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        if seconds is None:
            return None
        return max(seconds, 0 if len(held) == len(due) else _BUSY_S)


async def _late(session: AsyncSession, conversation: Conversation, at: datetime) -> Sequence[RecoveryTask]:
    """Now that nobody else can change them."""
    found = await session.exec(
        select(RecoveryTask)
        .where(
            col(RecoveryTask.conversation_id) == conversation.id,
            col(RecoveryTask.state).in_(TO_DO),
            col(RecoveryTask.told_at).is_(None),
            col(RecoveryTask.due_at) <= at,
        )
        .order_by(col(RecoveryTask.id))
        .execution_options(populate_existing=True)
    )
    return found.all()
