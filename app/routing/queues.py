"""Waiting for an agent: which queue, at which place, and how a conversation comes back with the age it had."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.conversations import assignment, queries, states
from app.db import Database
from app.errors import Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Conversation, Queue, QueueEntry, ResolutionCycle
from app.routing import offers
from app.wakeups import wake

NEXT_ROUND_S = 60.0
_ENQUEUE = text(
    "INSERT INTO queue_entry AS q (conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, boosts, target_agent_id, "
    "excluded, note, enqueued_at, order_at) "
    "VALUES (:conversation, :queue, 'waiting', :weight, '{}', :escalated, '{}', 0, '{}', :target, CAST(:passed_over AS text[]), :note, "
    "CAST(:age AS timestamptz), CAST(:age AS timestamptz) - CAST(:boost AS interval)) "
    "ON CONFLICT (conversation_id) DO UPDATE SET queue_id = excluded.queue_id, state = 'waiting', "
    "weight = excluded.weight, escalated = excluded.escalated, target_agent_id = excluded.target_agent_id, "
    "excluded = excluded.excluded, note = excluded.note, "
    "enqueued_at = CASE WHEN :given THEN excluded.enqueued_at ELSE q.enqueued_at END, "
    "order_at = CASE WHEN :given THEN excluded.enqueued_at ELSE q.enqueued_at END - CAST(:boost AS interval)"
)
_REPLACE = text(
    "UPDATE queue_entry SET queue_id = :queue, weight = :weight, order_at = enqueued_at - CAST(:boost AS interval), "
    "excluded = CASE WHEN queue_id = :queue THEN excluded ELSE '{}' END WHERE conversation_id = :conversation"
)
_STUCK = """
    SELECT e.conversation_id FROM queue_entry e
    WHERE e.state = 'waiting' AND e.excluded <> '{}'
      AND coalesce((SELECT max(o.decided_at) FROM offer o WHERE o.conversation_id = e.conversation_id), e.enqueued_at)
          <= now() - make_interval(secs => :patience)
"""
_STUCK_IDS = text(_STUCK + " LIMIT 200")
_NEXT_ROUND = text(
    f"UPDATE queue_entry SET excluded = '{{}}' WHERE conversation_id = ANY(CAST(:ids AS uuid[])) "
    f"AND conversation_id IN ({_STUCK}) RETURNING 1"
)


def choose_queue(catalog: Catalog, account_queue_id: UUID | None, category: str) -> Queue:
    """Where a conversation of this category that came by this channel waits (pure).

    The channel's queue when it takes the category, else the oldest queue of the category, else the channel's, else
    the default.
    """
    own = catalog.queue(account_queue_id)
    if own is not None and own.category in (None, category):
        return own
    for_it = [queue for queue in catalog.queues if queue.category == category]
    if for_it:
        return min(for_it, key=lambda queue: (queue.created_at, queue.id))
    return own or catalog.default_queue


def cost(catalog: Catalog, category: str) -> tuple[int, float]:
    """(weight of an agent's capacity, seconds of head start) of a category."""
    setting = catalog.categories.get(category)
    return (setting.weight, setting.boost_s) if setting else (1, 0.0)


async def enqueue(
    session: AsyncSession,
    conversation: Conversation,
    *,
    queue_id: UUID,
    weight: int,
    boost_s: float,
    enqueued_at: datetime | None = None,
    escalated: bool = False,
    target_agent_id: UUID | None = None,
    note: str | None = None,
    passed_over: Sequence[UUID] = (),
) -> None:
    """Let a conversation, held by the caller, wait for an agent; whatever it waited for before is replaced.

    Without `enqueued_at` it keeps the age it has: of its entry, else of the matter itself. `passed_over` are not asked
    in the first round.
    """
    await offers.withdraw(session, conversation, reason="requeued")
    await session.flush()
    await session.execute(
        _ENQUEUE,
        {
            "conversation": conversation.id,
            "queue": queue_id,
            "weight": weight,
            "escalated": escalated,
            "target": target_agent_id,
            "note": note,
            "passed_over": [str(agent_id) for agent_id in passed_over],
            "given": enqueued_at is not None,
            "age": enqueued_at or await age(session, conversation),
            "boost": timedelta(seconds=boost_s),
        },
    )
    await wake(session, "dispatch")


async def leave(session: AsyncSession, conversation: Conversation, *, reason: str = "left") -> None:
    """It needs no agent any more."""
    await offers.rescind(session, conversation, reason=reason)


async def requeue(
    session: AsyncSession,
    conversation: Conversation,
    catalog: Catalog,
    *,
    escalated: bool = False,
    note: str | None = None,
) -> None:
    """Back to its queue with its age, at the cost of its category: after the loss of an agent, for an escalation."""
    queue = catalog.queue(conversation.queue_id)
    if queue is None:
        account = catalog.channels.get(conversation.channel_id)
        queue = choose_queue(catalog, account.queue_id if account else None, conversation.category)
        await assignment.move_to_queue(session, conversation, queue.id)
    weight, boost_s = cost(catalog, conversation.category)
    await enqueue(
        session, conversation, queue_id=queue.id, weight=weight, boost_s=boost_s, escalated=escalated, note=note
    )


async def age(session: AsyncSession, conversation: Conversation) -> datetime:
    """Since when this matter waits for us: its beginning, or when it was reopened."""
    if conversation.cycle > 1:
        reopened = await session.exec(
            select(ResolutionCycle.decided_at).where(
                col(ResolutionCycle.conversation_id) == conversation.id,
                col(ResolutionCycle.number) == conversation.cycle - 1,
            )
        )
        if (moment := reopened.first()) is not None:
            return moment
    return conversation.created_at


async def reclassified(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
    """After a change of category: a waiting conversation goes to the queue, weight and head start of the new one.

    Its age stays. An offer that is pending stays too, unless the queue changes. One that somebody has stays where it is.
    """
    waits = await session.execute(
        select(QueueEntry.queue_id, QueueEntry.target_agent_id).where(
            col(QueueEntry.conversation_id) == conversation.id
        )
    )
    entry = waits.one_or_none()
    if entry is None:
        return
    queue_id = entry.queue_id
    if conversation.assignee_id is None and entry.target_agent_id is None:
        queue_id = _queue_for(conversation, catalog)
    if queue_id != entry.queue_id:
        await offers.withdraw(session, conversation, reason="reclassified")
        await assignment.move_to_queue(session, conversation, queue_id)
    weight, boost_s = cost(catalog, conversation.category)
    await session.execute(
        _REPLACE,
        {
            "conversation": conversation.id,
            "queue": queue_id,
            "weight": weight,
            "boost": timedelta(seconds=boost_s),
        },
    )
    await wake(session, "dispatch")


def _queue_for(conversation: Conversation, catalog: Catalog) -> UUID:
    present = catalog.queue(conversation.queue_id)
    if present is not None and present.category == conversation.category:
        return present.id
    account = catalog.channels.get(conversation.channel_id)
    return choose_queue(catalog, account.queue_id if account else None, conversation.category).id


async def transfer(
    session: AsyncSession,
    conversation: Conversation,
    *,
    actor: Actor,
    agent_id: UUID | None = None,
    queue_id: UUID | None = None,
    note: str | None = None,
    catalog: Catalog,
) -> None:
    """Hand a conversation, held by the caller, over to a queue, or to an agent who has to accept it.

    To a queue: its assignee is free of it at once. To an agent: the assignee keeps it until then.
    Raises Invalid naming the field, ConversationClosed, Conflict when it is resolved.
    """
    states.require_working(conversation.status)
    if agent_id is not None and queue_id is not None:
        raise Invalid("give an agent or a queue, not both", field="queue_id")
    if queue_id is not None:
        await _to_queue(session, conversation, queue_id, actor=actor, note=note, catalog=catalog)
    elif agent_id is not None:
        await _to_agent(session, conversation, agent_id, actor=actor, note=note, catalog=catalog)
    else:
        raise Invalid("an agent or a queue is needed", field="agent_id")


async def _to_queue(
    session: AsyncSession,
    conversation: Conversation,
    queue_id: UUID,
    *,
    actor: Actor,
    note: str | None,
    catalog: Catalog,
) -> None:
    if catalog.queue(queue_id) is None:
        raise Invalid("there is no such queue", field="queue_id")
    await offers.withdraw(session, conversation, reason="transferred")
    before = await assignment.release(session, conversation)
    transfer = {"queue_id": str(queue_id), "agent_id": None, "note": note}
    await _tell(session, conversation, transfer, actor, lost_by=before)
    await assignment.move_to_queue(session, conversation, queue_id)
    weight, boost_s = cost(catalog, conversation.category)
    await enqueue(
        session,
        conversation,
        queue_id=queue_id,
        weight=weight,
        boost_s=boost_s,
        note=note,
        passed_over=[before] if before else [],
    )


async def _to_agent(
    session: AsyncSession,
    conversation: Conversation,
    agent_id: UUID,
    *,
    actor: Actor,
    note: str | None,
    catalog: Catalog,
) -> None:
    agent = await session.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise Invalid("there is no such agent", field="agent_id")
    if agent_id == conversation.assignee_id:
        raise Invalid("this agent has it already", field="agent_id")
    await offers.withdraw(session, conversation, reason="transferred")
    await _tell(session, conversation, {"queue_id": None, "agent_id": str(agent_id), "note": note}, actor)
    weight, boost_s = cost(catalog, conversation.category)
    queue_id = conversation.queue_id or catalog.default_queue.id
    await enqueue(
        session,
        conversation,
        queue_id=queue_id,
        weight=weight,
        boost_s=boost_s,
        target_agent_id=agent_id,
        note=note,
    )


async def _tell(
    session: AsyncSession,
    conversation: Conversation,
    transfer: dict[str, Any],
    actor: Actor,
    *,
    lost_by: UUID | None = None,
) -> None:
    payload = {
        "conversation": shapes.conversation(conversation),
        "changed": ["assignee_id"] if lost_by else [],
        "transfer": transfer,
    }
    await events.append(
        session,
        conversation,
        "conversation.updated",
        payload,
        actor=actor,
        also_agents=[lost_by] if lost_by else [],
    )


async def next_round(database: Database) -> float | None:
    """A slow sweep: who declined or missed a conversation may be asked again when nobody else took it in a while."""
    async with database.begin() as session:
        ids = (await session.execute(_STUCK_IDS, {"patience": NEXT_ROUND_S})).scalars().all()
        if not ids:
            return None
        held = [conversation.id for conversation in await queries.try_lock_many(session, ids)]
        again = await session.execute(_NEXT_ROUND, {"ids": held, "patience": NEXT_ROUND_S})
        if again.first() is not None:
            await wake(session, "dispatch")
    return None
