"""Waiting for an agent: which queue, at which place, and how a conversation comes back with the age it had."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.conversations import assignment, grading, states
from app.db import driver
from app.models import Agent, Classification, Conversation, Queue
from app.routing import endings, offers, reading, stepping_in
from app.routing.choose import choose
from app.routing.views import need
from app.wakeups import wake

TRANSFER_WAIT_S = 120.0
_ENQUEUE = text(
    "SELECT enqueue_v1(:conversation, :queue, :weight, CAST(:since AS timestamptz), :escalated, "
    "CAST(:specialists AS text[]), CAST(:target AS uuid), :target_s, CAST(:passed_over AS text[]), :again_s, :note)"
)
_IS = text(
    "SELECT state, queue_id, weight, escalated, specialists, target_agent_id FROM queue_entry WHERE conversation_id = :id"
)
_WEIGH = text("UPDATE offer SET weight = :weight WHERE id = :id")
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
    again_s: float = endings.AGAIN_S,
) -> None:
    """Let a conversation, held by the caller, wait for an agent; whatever it waited for before is replaced.

    What is not given: its category says the `weight`; it keeps the age it has, of its entry, else of the matter
    itself; and it stays escalated if it was. `passed_over` are not asked for `again_s`; `target_agent_id` alone is
    asked for `target_wait_s`.
    """
    await endings.withdraw(session, conversation, reason="requeued")
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
    await endings.rescind(session, conversation, reason=reason)


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

    Its age stays. An offer that is pending stays too, and holds what it costs now; it is withdrawn when the queue
    changes, when the agent has no room for that, and when it has become one for others of whom one is free. One that
    somebody has stays where it is; when it has become one for supervisors, they are asked to step in.
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
        await endings.withdraw(session, conversation, reason="reclassified")
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
    raised = (grade.escalate and not entry.escalated) or not set(grade.specialists) <= set(entry.specialists)
    await _reconsider_offer(session, conversation, grade, raised=raised)
    await wake(session, "patience")
    await wake(session, "dispatch")


async def _reconsider_offer(
    session: AsyncSession, conversation: Conversation, grade: grading.Grade, *, raised: bool
) -> None:
    """The pending offer holds what the conversation costs now, or is withdrawn: `raised`, it may be one for others."""
    offer = await offers.pending(session, conversation)
    if offer is None:
        return
    await assignment.hold_agents(session, [offer.agent_id, conversation.assignee_id])
    agent = await session.get_one(Agent, offer.agent_id, populate_existing=True)
    better = raised and not stepping_in.suits(agent, grade.specialists) and await _someone_better(session, conversation)
    if better or not await _hold_present_weight(session, conversation, agent, offer.id, held=offer.weight):
        await endings.withdraw(session, conversation, reason="reclassified")


async def _hold_present_weight(
    session: AsyncSession, conversation: Conversation, agent: Agent, offer_id: UUID, *, held: int
) -> bool:
    """Whether the agent, held by the caller, has room for it."""
    entry = (await session.execute(_IS, {"id": conversation.id})).one()
    weight = need(entry.weight, agent.capacity)
    if weight == held:
        return True
    if not await assignment.hold_capacity(session, agent.id, weight - held, force=weight < held):
        return False
    await session.execute(_WEIGH, {"id": offer_id, "weight": weight})
    return True


async def _someone_better(session: AsyncSession, conversation: Conversation) -> bool:
    """Whether one of those who are asked first would get it now."""
    connection = await driver(session)
    row = await reading.entry(connection, conversation.id)
    if row is None:
        return False
    candidates = choose(reading.waiting(row), await reading.agents(connection)).candidates
    return bool(candidates) and candidates[0].graded


async def _step_in(session: AsyncSession, conversation: Conversation, catalog: Catalog) -> None:
    """An agent works on what has just become a matter for others: these are asked, the agent has it until they accept."""
    grade = grading.of(catalog.graded, conversation)
    if not grade.escalate or conversation.assignee_id is None or conversation.status not in states.WORKING:
        return
    kept = await session.exec(_GRADED_BEFORE.where(col(Classification.conversation_id) == conversation.id))
    agent = await session.get_one(Agent, conversation.assignee_id)
    if stepping_in.suits(agent, grade.specialists):
        return
    for row in kept.all()[1:]:
        before = grading.grade(catalog.graded, row.category, row.matter, row.severity, row.complaint_type)
        graver = grading.grave(grade, conversation.matter, conversation.severity) and not grading.grave(
            before, row.matter, row.severity
        )
        if before.escalate and not graver:
            return
    await requeue(session, conversation, catalog)


def _queue_for(conversation: Conversation, catalog: Catalog) -> UUID:
    present = catalog.queue(conversation.queue_id)
    if present is not None and present.category == conversation.category:
        return present.id
    account = catalog.channels.get(conversation.channel_id)
    return choose_queue(catalog, account.queue_id if account else None, conversation.category).id
