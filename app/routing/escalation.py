"""Carries out what the stages of clocks ask for: each once, by whichever process holds the conversation first.

An action is a row in a state (sla/actions.py). It is done in the transaction that marks it done, under the
conversation's lock; calls of webhooks go out elsewhere (delivery/hooks.py).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import Catalog, CatalogCache
from app.conversations import participants, queries
from app.db import Database, after_commit
from app.delivery.backoff import Schedule, wait_s
from app.errors import Problem
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM
from app.models import Agent, Conversation, Offer, QueueEntry, SlaAction, SlaClock, SlaPolicy
from app.models.words import SENIORS, ActionState, ConversationStatus, OfferStatus, Role
from app.routing import members, queues
from app.sla import measures

BATCH = 100
RETRY_S = 0.02
DONE = Counter(
    "roundtrip_sla_actions_total", "What stages of SLA clocks asked for, by what became of it", ["action", "outcome"]
)
_ENDED = (ConversationStatus.RESOLVED, ConversationStatus.CLOSED)
_logger = log.get("escalation")

_OURS = "sla_action.state = 'pending' AND sla_action.action->>'webhook' IS NULL"
_DUE = text(
    f"SELECT conversation_id FROM sla_action WHERE {_OURS} AND due_at <= clock_timestamp() ORDER BY due_at, id LIMIT {BATCH}"
)
_NEXT = text(f"SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM sla_action WHERE {_OURS}")
_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8, attempts FROM sla_action WHERE id = :id"
)
_FAILED = text(
    "UPDATE sla_action SET attempts = attempts + 1, error = :error, "
    "state = CASE WHEN CAST(:seconds AS float8) IS NULL THEN 'dead' ELSE state END, "
    "done_at = CASE WHEN CAST(:seconds AS float8) IS NULL THEN clock_timestamp() END, "
    "due_at = clock_timestamp() + make_interval(secs => coalesce(CAST(:seconds AS float8), 0)) "
    "WHERE id = :id AND state = 'pending'"
)
_MARK = text(
    "UPDATE sla_action SET state = :state, error = :error, attempts = attempts + 1, done_at = clock_timestamp() WHERE id = :id"
)
_SUPERVISORS = text("""
    SELECT a.id, EXISTS (SELECT 1 FROM queue_agent q WHERE q.agent_id = a.id AND q.queue_id = CAST(:queue AS uuid)) AS here
    FROM agent a WHERE a.active AND a.role = 'supervisor' ORDER BY a.id
""")


class _Failed(Exception):
    """What an action ended with; its transaction is gone."""

    def __init__(self, action_id: UUID, error: Exception) -> None:
        super().__init__(repr(error))
        self.action_id, self.error = action_id, error


class Escalations:
    """One per process; `step` is its loop, on the topic `sla-actions`."""

    def __init__(self, database: Database, catalog: CatalogCache, *, schedule: Schedule = Schedule()) -> None:
        self._database, self._catalog, self._schedule = database, catalog, schedule
        self._rng = random.Random()

    async def step(self) -> float | None:
        """Do what is due, conversation by conversation: each is a transaction of its own, so that one that cannot be
        done stops no other, and agents are locked in their order (decision 0008).

        Returns 0 when there is more, seconds until the next one is due, None when nothing waits.
        """
        catalog = await self._catalog.current()
        async with self._database.begin() as session:
            due = (await session.execute(_DUE)).scalars().all()
        done = 0
        for conversation_id in dict.fromkeys(due):
            done += await self._carry_out(conversation_id, catalog)
        if done and len(due) == BATCH:
            return 0
        async with self._database.begin() as session:
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        return None if seconds is None else max(seconds, RETRY_S * (1 + self._rng.random()))

    async def _carry_out(self, conversation_id: UUID, catalog: Catalog) -> int:
        """How many actions of a conversation are settled; none when somebody else holds it."""
        try:
            async with self._database.begin() as session:
                held = await queries.try_lock_many(session, [conversation_id])
                return await _all_of(session, held[0], catalog) if held else 0
        except _Failed as failed:
            await self._again_or_never(failed.action_id, failed.error)
            return 1

    async def _again_or_never(self, action_id: UUID, error: Exception) -> None:
        async with self._database.begin() as session:
            age_s, attempts = (await session.execute(_AGE, {"id": action_id})).one()
            refused = isinstance(error, Problem)
            seconds = None if refused else wait_s(self._schedule, attempts + 1, elapsed_s=age_s, rng=self._rng)
            detail = error.detail if isinstance(error, Problem) else repr(error)[:500]
            await session.execute(_FAILED, {"id": action_id, "seconds": seconds, "error": detail})
        _logger.error("action failed", action_id=action_id, error=detail, again_in_s=seconds, exc_info=error)
        DONE.labels("any", "dead" if seconds is None else "retry").inc()


async def _all_of(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> int:
    """What is due of a conversation, which we hold, in the order in which it was asked for."""
    log.correlation.set(conversation.correlation_id)
    query = (
        select(SlaAction, SlaClock, SlaPolicy)
        .join(SlaClock, col(SlaClock.id) == col(SlaAction.clock_id))
        .join(SlaPolicy, col(SlaPolicy.id) == col(SlaAction.policy_id))
        .where(
            col(SlaAction.conversation_id) == conversation.id,
            text(f"{_OURS} AND sla_action.due_at <= clock_timestamp()"),
        )
        .order_by(col(SlaAction.created_at), col(SlaAction.stage), col(SlaAction.clock_id), col(SlaAction.position))
    )
    found = (await session.execute(query)).all()
    for action, clock, policy in found:
        try:
            skipped = await do(session, conversation, action, clock, policy, catalog)
            await session.flush()
        except Exception as error:
            raise _Failed(action.id, error) from error
        state = ActionState.SKIPPED if skipped else ActionState.DONE
        await session.execute(_MARK, {"id": action.id, "state": state.value, "error": skipped})
        after_commit(session, partial(_count, next(iter(action.action)), state.value))
    return len(found)


def _count(action: str, outcome: str) -> None:
    DONE.labels(action, outcome).inc()


async def do(
    session: AsyncSession,
    conversation: Conversation,
    action: SlaAction,
    clock: SlaClock,
    policy: SlaPolicy,
    catalog: Catalog,
) -> str | None:
    """One action, except the call of a webhook. None: done; else why there was nothing to do. Raises Problem when it
    cannot be done at all. The caller holds the conversation."""
    match action.action:
        case {"notify": whom}:
            return await _notify(session, conversation, action, clock, policy, whom)
        case {"priority": priority}:
            return await _raise(session, conversation, priority)
        case {"requeue": True}:
            return await _requeue(session, conversation, action, policy, catalog)
        case {"add_team": team_id}:
            return await _add_team(session, conversation, UUID(team_id))
    return f"this version does not know {', '.join(sorted(action.action))}"


async def _notify(
    session: AsyncSession, conversation: Conversation, action: SlaAction, clock: SlaClock, policy: SlaPolicy, whom: str
) -> str | None:
    agents = await recipients(session, conversation, whom)
    if not agents:
        return f"there is no {whom} to notify"
    payload = measures.frame(conversation, clock, policy)
    payload["clock"]["level"] = action.level
    payload |= {"stage": action.kind, "notify": whom}
    await events.append_for_agents(session, conversation, "sla.notified", payload, agents=agents)
    return None


async def recipients(session: AsyncSession, conversation: Conversation, whom: str) -> list[UUID]:
    """Active agents. `owner`: the owner, else who has it, else supervisors. `supervisor`: those who serve its queue,
    else all of them, else managers. `manager`: administrators."""
    if whom == "owner":
        for agent_id in (conversation.owner_id, conversation.assignee_id):
            agent = await session.get(Agent, agent_id) if agent_id else None
            if agent is not None and agent.active:
                return [agent.id]
    if whom in ("owner", "supervisor"):
        found = (await session.execute(_SUPERVISORS, {"queue": conversation.queue_id})).all()
        if found:
            return [row.id for row in found if row.here] or [row.id for row in found]
    managers = select(Agent.id).where(col(Agent.role) == Role.ADMIN, col(Agent.active)).order_by(col(Agent.id))
    return list((await session.exec(managers)).all())


async def _raise(session: AsyncSession, conversation: Conversation, priority: int) -> str | None:
    """Never lower."""
    if conversation.status == ConversationStatus.CLOSED:
        return "the conversation is closed"
    if conversation.priority >= priority:
        return f"its priority is {conversation.priority} already"
    conversation.priority = priority
    session.add(conversation)
    await _tell(session, conversation, ["priority"])
    return None


async def _requeue(
    session: AsyncSession, conversation: Conversation, action: SlaAction, policy: SlaPolicy, catalog: Catalog
) -> str | None:
    """Supervisors are asked first. Who works on it keeps it until one of them accepts; its age stays."""
    if conversation.status in _ENDED:
        return f"the conversation is {conversation.status}"
    if await _is_senior(session, conversation.assignee_id):
        return "a supervisor has it"
    entry = await session.get(QueueEntry, conversation.id, populate_existing=True)
    if entry is not None and entry.escalated and not await _asks_an_agent(session, conversation, entry):
        return "supervisors are being asked already"
    note = entry.note if entry is not None and entry.target_agent_id is None else None
    await queues.requeue(session, conversation, catalog, escalated=True, note=note)
    told = {"metric": action.metric, "level": action.level, "stage": action.kind, "policy": policy.code}
    await _tell(session, conversation, [], escalated=told)
    return None


async def _asks_an_agent(session: AsyncSession, conversation: Conversation, entry: QueueEntry) -> bool:
    """Whether it was meant for somebody who is no supervisor, or offered to one: nobody else is asked meanwhile."""
    if entry.target_agent_id is not None:
        return not await _is_senior(session, entry.target_agent_id)
    asked = await session.exec(
        select(Offer.agent_id).where(
            col(Offer.conversation_id) == conversation.id, col(Offer.status) == OfferStatus.PENDING
        )
    )
    agent_id = asked.first()
    return agent_id is not None and not await _is_senior(session, agent_id)


async def _is_senior(session: AsyncSession, agent_id: UUID | None) -> bool:
    agent = await session.get(Agent, agent_id) if agent_id else None
    return agent is not None and agent.role in SENIORS


async def _add_team(session: AsyncSession, conversation: Conversation, team_id: UUID) -> str | None:
    if conversation.status == ConversationStatus.CLOSED:
        return "the conversation is closed"
    mates = await members.mates_of(session, team_id, active=True)
    if not mates:
        return "the team has no agents"
    added = await participants.collaborate(session, conversation, mates, actor=SYSTEM)
    return None if added else "its agents take part already"


async def _tell(session: AsyncSession, conversation: Conversation, changed: Sequence[str], **more: object) -> None:
    payload = {"conversation": shapes.conversation(conversation), "changed": list(changed), **more}
    await events.append(session, conversation, "conversation.updated", payload)
