"""Return contacts that were promised: planned, made, put off or cancelled. The caller holds the conversation.

`app/conversations/returning.py` tells when one is due, and when it was missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import closing, participants, queries, recovering
from app.errors import Conflict, Invalid
from app.events import log as events
from app.events.log import SYSTEM, Actor
from app.events.shapes import moment
from app.feedback import recovery
from app.models import Agent, Conversation, FollowUp
from app.models.words import (
    SENIORS,
    ClockMetric,
    ConversationStatus,
    CycleState,
    FollowUpKind,
    FollowUpOutcome,
    FollowUpState,
)
from app.sla import clocks
from app.wakeups import wake

TOPIC = "follow-up"
VIA = "follow_up"
REASON = "not_solved"
_NOW = text("SELECT now()")
_CONTACTED = (FollowUpOutcome.REACHED, FollowUpOutcome.SOLVED, FollowUpOutcome.NOT_SOLVED)


async def plan(
    session: AsyncSession,
    conversation: Conversation,
    *,
    kind: FollowUpKind,
    due_at: datetime,
    assignee_id: UUID | None,
    note: str | None,
    actor: Actor,
    follows_id: UUID | None = None,
    time_field: str = "due_at",
) -> FollowUp:
    """Somebody is to contact the customer again: unless another is named, who sees the conversation from now on, the owner,
    or who else has it, or plans this, and still works here.

    Raises Invalid for a time that is over, naming it `time_field`, or when nobody is there to do it.
    """
    await require_future(session, due_at, field=time_field)
    chosen = assignee_id or await _at_hand(session, conversation, actor)
    if chosen is None:
        raise Invalid("nobody who works here has the conversation: say who is to do it", field="assignee_id")
    await _let_in(session, conversation, chosen, actor=actor)
    rules = await closing.policy_of(session, conversation)
    row = FollowUp(
        conversation_id=conversation.id,
        kind=kind,
        due_at=due_at,
        next_at=due_at,
        grace_s=rules["follow_up_grace_s"],
        assignee_id=chosen,
        note=note,
        follows_id=follows_id,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    await _tell(session, conversation, row, "planned", [], actor=actor)
    await wake(session, TOPIC)
    return row


async def change(
    session: AsyncSession, conversation: Conversation, row: FollowUp, given: Mapping[str, Any], *, actor: Actor
) -> list[str]:
    """Another time, assignee, kind or note, or `state: cancelled`. A new time is told and missed anew; a new assignee is
    told. Returns what changed. Raises Conflict when it is over, Invalid."""
    changed = [name for name, value in given.items() if getattr(row, name) != value]
    if not changed:
        return []
    _require_planned(row)
    if "due_at" in changed:
        await require_future(session, given["due_at"])
        row.missed_at = None
    if "assignee_id" in changed:
        await _let_in(session, conversation, given["assignee_id"], actor=actor)
    for name in changed:
        setattr(row, name, given[name])
    if {"due_at", "assignee_id"} & set(changed):
        row.due_told_at, row.next_at = None, row.due_at
        await wake(session, TOPIC)
    if row.state == FollowUpState.CANCELLED:
        row.next_at = None
    await _write(session, conversation, row, changed, actor=actor)
    return changed


async def finish(
    session: AsyncSession,
    conversation: Conversation,
    row: FollowUp,
    *,
    outcome: FollowUpOutcome,
    result: str | None,
    next_due_at: datetime | None,
    actor: Actor,
) -> FollowUp | None:
    """What it brought. Whoever was reached has been asked in time; `solved` confirms what waits for that, `not_solved`
    reopens what is resolved, or closed as long as that is possible. `rescheduled` returns the next one.

    Raises Conflict when it is over, Invalid for `next_due_at`.
    """
    _require_planned(row)
    if (outcome is FollowUpOutcome.RESCHEDULED) != (next_due_at is not None):
        raise Invalid("a time is needed for a rescheduled one, and for no other", field="next_due_at")
    row.state, row.outcome, row.result = FollowUpState.DONE, outcome, result
    row.done_at, row.next_at = now(), None
    await _write(session, conversation, row, ["state", "outcome"], actor=actor)
    if outcome in _CONTACTED:
        await clocks.meet(session, conversation, ClockMetric.FOLLOW_UP)
    if outcome in (FollowUpOutcome.SOLVED, FollowUpOutcome.NOT_SOLVED):
        await _take(session, conversation, solved=outcome is FollowUpOutcome.SOLVED)
    if next_due_at is None:
        return None
    return await plan(
        session,
        conversation,
        kind=FollowUpKind(row.kind),
        due_at=next_due_at,
        assignee_id=await _working(session, row.assignee_id),
        note=row.note,
        actor=actor,
        follows_id=row.id,
        time_field="next_due_at",
    )


async def of(session: AsyncSession, conversation_id: UUID) -> Sequence[FollowUp]:
    """In the order of their times."""
    found = await session.exec(
        select(FollowUp)
        .where(col(FollowUp.conversation_id) == conversation_id)
        .order_by(col(FollowUp.due_at), col(FollowUp.id))
    )
    return found.all()


async def require_future(session: AsyncSession, at: datetime, *, field: str = "due_at") -> None:
    """By the database's clock. Raises Invalid."""
    if at <= (await session.execute(_NOW)).scalar_one():
        raise Invalid("must be in the future", field=field)


async def tell_due(session: AsyncSession, conversation: Conversation, row: FollowUp, *, at: datetime) -> None:
    """It is time: its assignee is told, the supervisors where they left."""
    row.due_told_at = at
    row.next_at = None if row.missed_at else row.due_at + timedelta(seconds=row.grace_s)
    session.add(row)
    agent = await session.get(Agent, row.assignee_id)
    told = {row.assignee_id} if agent is not None and agent.active else await _seniors(session)
    await _tell_agents(session, conversation, row, "due", told)


async def tell_missed(session: AsyncSession, conversation: Conversation, row: FollowUp, *, at: datetime) -> None:
    """Nothing is known of it: its assignee and all supervisors are told."""
    row.missed_at, row.next_at = at, None
    session.add(row)
    await _tell_agents(session, conversation, row, "missed", {row.assignee_id, *await _seniors(session)})


def shape(row: FollowUp) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "conversation_id": str(row.conversation_id),
        "kind": row.kind,
        "due_at": moment(row.due_at),
        "assignee_id": str(row.assignee_id),
        "note": row.note,
        "state": row.state,
        "outcome": row.outcome,
    }


def _require_planned(row: FollowUp) -> None:
    if row.state != FollowUpState.PLANNED:
        raise Conflict(f"the follow-up is {row.state}", state=row.state)


async def _at_hand(session: AsyncSession, conversation: Conversation, actor: Actor) -> UUID | None:
    own = actor.id if actor.type == "agent" else None
    for agent_id in (conversation.owner_id, conversation.assignee_id, own):
        if await _working(session, agent_id) is not None:
            return agent_id
    return None


async def _working(session: AsyncSession, agent_id: UUID | None) -> UUID | None:
    """None for who was deactivated."""
    agent = await session.get(Agent, agent_id) if agent_id is not None else None
    return agent_id if agent is not None and agent.active else None


async def _let_in(session: AsyncSession, conversation: Conversation, agent_id: UUID, *, actor: Actor) -> None:
    """Who is to contact the customer sees what it is about. Raises Invalid."""
    await participants.require_active(session, [agent_id], field="assignee_id")
    if outside := await participants.outsiders(session, conversation, [agent_id]):
        await participants.collaborate(session, conversation, outside, actor=actor)


async def _take(session: AsyncSession, conversation: Conversation, *, solved: bool) -> None:
    """The customer's word, told to us instead of written."""
    cycle = await queries.newest_cycle(session, conversation)
    if conversation.status == ConversationStatus.CLOSED:
        done = await recovery.done(session, conversation.id)
        outcome: Literal["confirmed", "rejected"] = "confirmed" if solved else "rejected"
        await recovering.answered(session, conversation, done, outcome=outcome, via=VIA, reason=REASON)
    elif cycle is not None and cycle.state == CycleState.PENDING:
        settle = closing.confirm if solved else closing.reject
        await settle(session, conversation, cycle, via=VIA)


async def _seniors(session: AsyncSession) -> set[UUID]:
    wanted = [role.value for role in SENIORS]
    return set((await session.exec(select(Agent.id).where(col(Agent.active), col(Agent.role).in_(wanted)))).all())


async def _write(
    session: AsyncSession, conversation: Conversation, row: FollowUp, changed: Sequence[str], *, actor: Actor
) -> None:
    row.version += 1
    row.updated_at = now()
    session.add(row)
    await _tell(session, conversation, row, "updated", changed, actor=actor)


async def _tell(
    session: AsyncSession,
    conversation: Conversation,
    row: FollowUp,
    what: str,
    changed: Sequence[str],
    *,
    actor: Actor,
) -> None:
    payload = {"follow_up": shape(row), "changed": list(changed)}
    also = [row.assignee_id]
    await events.append(session, conversation, f"follow_up.{what}", payload, actor=actor, also_agents=also)


async def _tell_agents(
    session: AsyncSession, conversation: Conversation, row: FollowUp, what: str, agents: set[UUID]
) -> None:
    payload = {"follow_up": shape(row), "changed": []}
    await events.append_for_agents(
        session, conversation, f"follow_up.{what}", payload, agents=sorted(agents), actor=SYSTEM
    )
