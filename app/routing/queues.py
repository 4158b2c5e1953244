"""Waiting for an agent: which queue, at which place, and how a conversation comes back with the age it had."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.conversations import assignment, grading, states
from app.errors import Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Classification, Conversation, Queue
from app.models.words import Role
from app.routing import offers
from app.wakeups import wake

TRANSFER_WAIT_S = 120.0
_ENQUEUE = text(
    "SELECT enqueue_v1(:conversation, :queue, :weight, CAST(:since AS timestamptz), :escalated, "
    "CAST(:specialists AS text[]), CAST(:target AS uuid), :target_s, CAST(:passed_over AS text[]), :again_s, :note)"
)
_IS = text("SELECT state, queue_id, escalated, target_agent_id FROM queue_entry WHERE conversation_id = :id")
_LOOK_AGAIN = text("UPDATE queue_entry SET next_at = now() WHERE conversation_id = :id AND state = 'waiting'")
# Everything about it anew but its age: as enqueue_v1 makes it, and an offer that is pending stays.
_REPLACE = text("""
    UPDATE queue_entry e
    SET queue_id = q.id, weight = coalesce((SELECT s.weight FROM category_setting s WHERE s.category = c.category), 1),
        escalated = :escalated, specialists = CAST(:specialists AS text[]), boosts = b.boosts,
        order_at = e.enqueued_at - make_interval(secs => b.boost_s),
        ring = CASE WHEN moves THEN 0 ELSE e.ring END,
        entered_at = CASE WHEN moves THEN now() ELSE e.entered_at END,
        excluded = CASE WHEN moves THEN '{}' ELSE e.excluded END,
        round_at = CASE WHEN moves THEN NULL ELSE e.round_at END,
        next_at = CASE WHEN e.state = 'waiting' THEN now() END
    FROM conversation c
    CROSS JOIN LATERAL boosts_v1(c.category, c.matter, c.severity, c.channel_type, c.contact_id, c.id, c.created_at) b,
    queue q CROSS JOIN LATERAL (SELECT q.id <> CAST(:was AS uuid)) m(moves)
    WHERE e.conversation_id = :conversation AND c.id = e.conversation_id AND q.id = CAST(:queue AS uuid)
""")
_GRADED_BEFORE = (
    select(Classification).order_by(col(Classification.created_at).desc(), col(Classification.id).desc()).limit(2)
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


async def enqueue(
    session: AsyncSession,
    conversation: Conversation,
    *,
    queue_id: UUID,
    weight: int | None = None,
    enqueued_at: datetime | None = None,
    escalated: bool | None = None,
    specialists: Sequence[str] | None = None,
    target_agent_id: UUID | None = None,
    target_wait_s: float = TRANSFER_WAIT_S,
    note: str | None = None,
    passed_over: Sequence[UUID] = (),
    again_s: float = offers.AGAIN_S,
) -> None:
    """Let a conversation, held by the caller, wait for an agent; whatever it waited for before is replaced.

    What is not given: its category says the `weight`; it keeps the age it has, of its entry, else of the matter
    itself; and it stays escalated if it was. `passed_over` are not asked for `again_s`; `target_agent_id` alone is
    asked for `target_wait_s`.
    """
    await offers.withdraw(session, conversation, reason="requeued")
    await session.flush()
    await session.execute(
        _ENQUEUE,
        {
            "conversation": conversation.id,
            "queue": queue_id,
            "weight": weight,
            "since": enqueued_at,
            "escalated": escalated,
            "specialists": None if specialists is None else list(specialists),
            "target": target_agent_id,
            "target_s": target_wait_s,
            "passed_over": [str(agent_id) for agent_id in passed_over],
            "again_s": again_s,
            "note": note,
        },
    )


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
    """Back to its queue with its age, by the grade of what it is or `escalated` anyway."""
    queue = catalog.queue(conversation.queue_id)
    if queue is None:
        account = catalog.channels.get(conversation.channel_id)
        queue = choose_queue(catalog, account.queue_id if account else None, conversation.category)
        await assignment.move_to_queue(session, conversation, queue.id)
    grade = grading.of(catalog.graded, conversation)
    await enqueue(
        session,
        conversation,
        queue_id=queue.id,
        escalated=escalated or grade.escalate,
        specialists=grade.specialists,
        note=note,
    )


async def back(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
    """Its agent is gone and it was taken from them: it waits with its age, as it did already or anew."""
    await session.flush()
    waits = await session.execute(_IS, {"id": conversation.id})
    if waits.first() is None:
        await requeue(session, conversation, catalog)
        return
    await session.execute(_LOOK_AGAIN, {"id": conversation.id})
    await wake(session, "patience")
    await wake(session, "dispatch")


async def reclassified(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
    """After a change of what it is: a waiting conversation goes to the queue, weight, head start and grade of that.

    Its age stays. An offer that is pending stays too, unless the queue changes. One that somebody has stays where it is;
    when it has become one for supervisors, they are asked to step in.
    """
    await session.flush()
    entry = (await session.execute(_IS, {"id": conversation.id})).one_or_none()
    if entry is None:
        await _step_in(session, conversation, catalog)
        return
    grade = grading.of(catalog.graded, conversation)
    queue_id = entry.queue_id
    if conversation.assignee_id is None and entry.target_agent_id is None:
        queue_id = _queue_for(conversation, catalog)
    if queue_id != entry.queue_id:
        await offers.withdraw(session, conversation, reason="reclassified")
        await assignment.move_to_queue(session, conversation, queue_id)
    await session.flush()
    has_it = conversation.assignee_id is not None
    await session.execute(
        _REPLACE,
        {
            "conversation": conversation.id,
            "queue": queue_id,
            "was": entry.queue_id,
            "escalated": grade.escalate or (has_it and entry.escalated),
            "specialists": list(grade.specialists),
        },
    )
    await wake(session, "patience")
    await wake(session, "dispatch")


async def _step_in(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
    """An agent works on what has just become a matter for others: these are asked, the agent has it until they accept."""
    grade = grading.of(catalog.graded, conversation)
    if not grade.escalate or conversation.assignee_id is None or conversation.status not in states.WORKING:
        return
    kept = await session.exec(_GRADED_BEFORE.where(col(Classification.conversation_id) == conversation.id))
    before = [
        grading.grade(catalog.graded, row.category, row.matter, row.severity, row.complaint_type) for row in kept.all()
    ][1:]
    agent = await session.get(Agent, conversation.assignee_id)
    assert agent is not None, "a foreign key guards this"
    can = agent.role != Role.AGENT or not set(grade.specialists).isdisjoint(agent.skills)
    if can or (before and before[0].escalate):
        return
    await requeue(session, conversation, catalog)


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
    wait_s: float = TRANSFER_WAIT_S,
) -> None:
    """Hand a conversation, held by the caller, over to a queue, or to an agent who has to accept it.

    To a queue: its assignee is free of it at once. To an agent: the assignee keeps it until then; when the agent is not
    there or has no room within `wait_s`, it stays with the assignee, or goes to the queue.
    Raises Invalid naming the field, ConversationClosed, Conflict when it is resolved.
    """
    states.require_working(conversation.status)
    if agent_id is not None and queue_id is not None:
        raise Invalid("give an agent or a queue, not both", field="queue_id")
    if queue_id is not None:
        await _to_queue(session, conversation, queue_id, actor=actor, note=note, catalog=catalog)
    elif agent_id is not None:
        await _to_agent(session, conversation, agent_id, actor=actor, note=note, catalog=catalog, wait_s=wait_s)
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
    await enqueue(
        session,
        conversation,
        queue_id=queue_id,
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
    wait_s: float,
) -> None:
    agent = await session.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise Invalid("there is no such agent", field="agent_id")
    if agent_id == conversation.assignee_id:
        raise Invalid("this agent has it already", field="agent_id")
    await offers.withdraw(session, conversation, reason="transferred")
    await _tell(session, conversation, {"queue_id": None, "agent_id": str(agent_id), "note": note}, actor)
    await enqueue(
        session,
        conversation,
        queue_id=conversation.queue_id or catalog.default_queue.id,
        target_agent_id=agent_id,
        target_wait_s=wait_s,
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
