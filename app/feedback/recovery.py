"""Recovery tasks: who was not content is made good to, and says whether it helped. The caller holds the conversation.

They are told to supervisors and administrators only: that a score was low may be known from nothing else when the customer
wished to stay anonymous, so no task and no event carries a rating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import or_, text
from sqlmodel import and_, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.errors import AlreadyExists
from app.events import log as events
from app.events.log import SYSTEM, Actor
from app.events.shapes import moment
from app.feedback import outcomes, policy
from app.feedback.recovery_states import KNOWN, LIVE, TO_DO, require
from app.ids import new_id
from app.models import Agent, Conversation, RecoveryTask, ResolutionCycle
from app.models.words import SENIORS, RecoveryCause, RecoveryState, Role
from app.wakeups import wake

TOPIC = "recovery"
BY_HAND = "by_hand"
CORRECTED = "corrected"
"""The customer rated better after all, before anybody had begun."""
# A supervisor of one of the owner's teams, else one who serves the queue; of these, whoever has the fewest to do. Nobody
# makes good what they did themselves.
_SUPERVISOR = text("""
    SELECT id FROM (
        SELECT a.id,
            EXISTS (SELECT 1 FROM team_member mine JOIN team_member theirs ON theirs.team_id = mine.team_id
                    WHERE mine.agent_id = CAST(:owner AS uuid) AND theirs.agent_id = a.id) AS team,
            EXISTS (SELECT 1 FROM queue_agent q WHERE q.agent_id = a.id AND q.queue_id = CAST(:queue AS uuid)) AS queue,
            (SELECT count(*) FROM recovery_task t
             WHERE t.assignee_id = a.id AND t.state IN ('open', 'in_progress')) AS load
        FROM agent a WHERE a.active AND a.role = 'supervisor' AND a.id IS DISTINCT FROM CAST(:owner AS uuid)
    ) s WHERE team OR queue ORDER BY team DESC, load, id LIMIT 1
""")
_MOMENT = text("SELECT now()")
_OPEN = text("""
    INSERT INTO recovery_task(id, conversation_id, cycle_id, cause, state, assignee_id, due_at, version)
    VALUES (:id, :conversation, :cycle, :cause, 'open', :assignee, now() + make_interval(secs => :due_s), 1)
    ON CONFLICT (cycle_id) WHERE cause <> 'by_hand' DO NOTHING RETURNING id
""")


async def for_cycle(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, cause: RecoveryCause
) -> RecoveryTask | None:
    """The one task that a cycle opens by itself; None when there is one, or somebody opened one by hand for it."""
    there = await of_cycle(session, cycle)
    if any(task.cause == RecoveryCause.BY_HAND and task.state in LIVE for task in there):
        return None
    if cause is RecoveryCause.REJECTION:
        await _weightier(session, conversation, there)
    due_s = policy.recovery_due_s(cycle.policy)
    withdrawn = next((task for task in there if task.decided_via == CORRECTED), None)
    if withdrawn is not None:
        await _open_again(session, conversation, cycle, withdrawn, cause, due_s=due_s)
        return withdrawn
    supervisor = await _supervisor(session, conversation, cycle)
    return await _insert(session, conversation, cycle, cause, assignee_id=supervisor, due_s=due_s, actor=SYSTEM)


async def withdraw(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle) -> None:
    """Its rating is not low any more: what that opened, and nobody has begun, is cancelled and counts no longer."""
    for task in await of_cycle(session, cycle):
        begun = task.state != RecoveryState.OPEN or task.remedy is not None or task.text is not None
        if begun or task.cause != RecoveryCause.LOW_SCORE:
            continue
        task.state, task.decided_at, task.decided_via = RecoveryState.CANCELLED, now(), CORRECTED
        outcomes.count(session, cycle, recoveries=-1)
        await _write(session, conversation, task, ["state"], actor=SYSTEM)


async def by_hand(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle | None,
    *,
    assignee_id: UUID | None,
    due_at: datetime | None,
    due_s: float,
    given: Mapping[str, Any],
    actor: Actor,
) -> RecoveryTask:
    """One that a supervisor finds necessary. Raises AlreadyExists while there is another of the conversation."""
    if await _live(session, conversation):
        raise AlreadyExists("this conversation has a recovery task already")
    chosen = assignee_id or await _supervisor(session, conversation, cycle)
    task = await _insert(
        session,
        conversation,
        cycle,
        RecoveryCause.BY_HAND,
        assignee_id=chosen,
        due_s=due_s,
        actor=actor,
        given={**given, **({"due_at": due_at} if due_at else {})},
    )
    assert task is not None, "no index stands against this"
    return task


async def change(
    session: AsyncSession, conversation: Conversation, task: RecoveryTask, given: Mapping[str, Any], *, actor: Actor
) -> list[str]:
    """Set what differs, and tell it. A later deadline is told anew when it is missed. Returns what changed.

    Raises what `recovery_states.require` does.
    """
    changed = [name for name, value in given.items() if getattr(task, name) != value]
    if not changed:
        return []
    require(task.model_dump(), given, changed)
    for name in changed:
        setattr(task, name, given[name])
    if "due_at" in changed:
        task.told_at = None
        await wake(session, TOPIC)
    if "state" in changed:
        if task.state not in KNOWN:
            task.done_at = now() if task.state == RecoveryState.DONE else None
            task.asked_at = None
        await wake(session, TOPIC)
    if task.state in KNOWN:
        await _decided(session, task, BY_HAND)
    await _write(session, conversation, task, changed, actor=actor)
    return changed


async def settle(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    state: RecoveryState,
    *,
    via: str,
    actor: Actor,
    silent_since: datetime | None = None,
) -> None:
    """A cycle is `confirmed` or rejected (`failed`): so is what was done to make good, and whatever an earlier rejection
    asked for; also what silence was taken as a yes for, `silent_since` then."""
    rejected_before = and_(col(RecoveryTask.cause) == RecoveryCause.REJECTION, col(RecoveryTask.cycle_id) != cycle.id)
    concerned = and_(
        col(RecoveryTask.state).in_(LIVE), or_(col(RecoveryTask.state) == RecoveryState.DONE, rejected_before)
    )
    if silent_since is not None:
        by_silence = col(RecoveryTask.decided_via) == outcomes.SILENCE
        concerned = or_(concerned, and_(by_silence, col(RecoveryTask.decided_at) >= silent_since))
    found = await session.exec(
        select(RecoveryTask)
        .where(col(RecoveryTask.conversation_id) == conversation.id, concerned)
        .order_by(col(RecoveryTask.id))
        .execution_options(populate_existing=True)
    )
    for task in found.all():
        await decide(session, conversation, task, state, via=via, actor=actor)


async def decide(
    session: AsyncSession,
    conversation: Conversation,
    task: RecoveryTask,
    state: RecoveryState,
    *,
    via: str,
    actor: Actor,
) -> None:
    """The customer has said whether it helped: `confirmed` or `failed`."""
    if task.state == RecoveryState.CONFIRMED and task.cycle_id is not None:
        outcomes.count(session, await session.get_one(ResolutionCycle, task.cycle_id), recovered=-1)
    task.state = state
    await _decided(session, task, via)
    await _write(session, conversation, task, ["state"], actor=actor)


async def overdue(session: AsyncSession, conversation: Conversation, task: RecoveryTask, *, at: datetime) -> None:
    """Its time is over: its supervisor and the administrators are told, all supervisors where it has none."""
    task.told_at = at
    session.add(task)
    await tell(session, conversation, task, "overdue", [], actor=SYSTEM)


async def of_cycle(session: AsyncSession, cycle: ResolutionCycle) -> Sequence[RecoveryTask]:
    found = await session.exec(
        select(RecoveryTask).where(col(RecoveryTask.cycle_id) == cycle.id).execution_options(populate_existing=True)
    )
    return found.all()


async def done(session: AsyncSession, conversation_id: UUID) -> Sequence[RecoveryTask]:
    """Those of which we do not know yet whether it helped."""
    found = await session.exec(
        select(RecoveryTask)
        .where(col(RecoveryTask.conversation_id) == conversation_id, col(RecoveryTask.state) == RecoveryState.DONE)
        .order_by(col(RecoveryTask.id))
        .execution_options(populate_existing=True)
    )
    return found.all()


async def asked(session: AsyncSession, conversation_id: UUID) -> Sequence[RecoveryTask]:
    """Those of which the customer was asked, and has not said."""
    return [task for task in await done(session, conversation_id) if task.asked_at is not None]


async def last_word(session: AsyncSession, conversation_id: UUID) -> RecoveryState | None:
    """What is known of the newest question that was asked: did it help?"""
    found = await session.exec(
        select(RecoveryTask.state)
        .where(
            col(RecoveryTask.conversation_id) == conversation_id,
            col(RecoveryTask.asked_at).is_not(None),
            col(RecoveryTask.state).in_(KNOWN),
        )
        .order_by(col(RecoveryTask.decided_at).desc())
        .limit(1)
    )
    state = found.one_or_none()
    return RecoveryState(state) if state else None


async def tell(
    session: AsyncSession,
    conversation: Conversation,
    task: RecoveryTask,
    what: str,
    changed: Sequence[str],
    *,
    actor: Actor,
) -> None:
    """`opened` and `updated` to all supervisors and administrators, `overdue` to whom it concerns."""
    seniors = (await session.exec(select(Agent.id, Agent.role).where(col(Agent.active), _SENIOR))).all()
    told = {agent_id for agent_id, _ in seniors}
    if what == "overdue" and task.assignee_id in told:
        told = {task.assignee_id, *(agent_id for agent_id, role in seniors if role == Role.ADMIN)}
    payload = {"task": shape(task), "changed": list(changed)}
    await events.append_for_agents(
        session, conversation, f"recovery.{what}", payload, agents=sorted(filter(None, told)), actor=actor
    )


def shape(task: RecoveryTask) -> dict[str, Any]:
    return {
        "id": str(task.id),
        "conversation_id": str(task.conversation_id),
        "cycle_id": str(task.cycle_id) if task.cycle_id else None,
        "cause": task.cause,
        "state": task.state,
        "assignee_id": str(task.assignee_id) if task.assignee_id else None,
        "due_at": moment(task.due_at),
        "remedy": task.remedy,
        "via": task.decided_via,
    }


_SENIOR = col(Agent.role).in_([role.value for role in SENIORS])


async def _insert(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle | None,
    cause: RecoveryCause,
    *,
    assignee_id: UUID | None,
    due_s: float,
    actor: Actor,
    given: Mapping[str, Any] | None = None,
) -> RecoveryTask | None:
    """None when the cycle has its task: the index decides."""
    await session.flush()
    row = {
        "id": new_id(),
        "conversation": conversation.id,
        "cycle": cycle.id if cycle else None,
        "cause": cause.value,
        "assignee": assignee_id,
        "due_s": due_s,
    }
    made = (await session.execute(_OPEN, row)).scalar_one_or_none()
    if made is None:
        return None
    task = await session.get_one(RecoveryTask, made)
    if given:
        task.sqlmodel_update(dict(given))
        session.add(task)
    if cycle is not None:
        outcomes.count(session, cycle, recoveries=1)
    await tell(session, conversation, task, "opened", [], actor=actor)
    await wake(session, TOPIC)
    return task


async def _open_again(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    task: RecoveryTask,
    cause: RecoveryCause,
    *,
    due_s: float,
) -> None:
    """One that was withdrawn, with all of its time: a cycle has one task."""
    moment: datetime = (await session.execute(_MOMENT)).scalar_one()
    task.state, task.cause, task.due_at = RecoveryState.OPEN, cause, moment + timedelta(seconds=due_s)
    task.told_at = task.decided_at = task.decided_via = None
    outcomes.count(session, cycle, recoveries=1)
    await _write(session, conversation, task, ["state", "cause", "due_at"], actor=SYSTEM)
    await wake(session, TOPIC)


async def _supervisor(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle | None) -> UUID | None:
    owner = conversation.owner_id or (cycle.resolved_by if cycle else None)
    found = await session.execute(_SUPERVISOR, {"owner": owner, "queue": conversation.queue_id})
    supervisor: UUID | None = found.scalar_one_or_none()
    return supervisor


async def _live(session: AsyncSession, conversation: Conversation) -> bool:
    found = await session.exec(
        select(RecoveryTask.id).where(
            col(RecoveryTask.conversation_id) == conversation.id, col(RecoveryTask.state).in_(LIVE)
        )
    )
    return found.first() is not None


async def _weightier(session: AsyncSession, conversation: Conversation, there: Sequence[RecoveryTask]) -> None:
    """A low score that turns into "not solved": whichever came first, the task is one of a rejection."""
    for task in there:
        if task.cause == RecoveryCause.LOW_SCORE and task.state in TO_DO:
            task.cause = RecoveryCause.REJECTION
            await _write(session, conversation, task, ["cause"], actor=SYSTEM)


async def _decided(session: AsyncSession, task: RecoveryTask, via: str) -> None:
    task.decided_at, task.decided_via = now(), via
    if task.state == RecoveryState.CONFIRMED and task.cycle_id is not None:
        cycle = await session.get_one(ResolutionCycle, task.cycle_id)
        outcomes.count(session, cycle, recovered=1)


async def _write(
    session: AsyncSession, conversation: Conversation, task: RecoveryTask, changed: Sequence[str], *, actor: Actor
) -> None:
    task.version += 1
    task.updated_at = now()
    session.add(task)
    await tell(session, conversation, task, "updated", changed, actor=actor)
