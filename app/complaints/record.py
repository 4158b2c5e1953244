"""The record of one complaint: what is known of it, how far it got, why it happened. The caller holds the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.complaints.causes import Cause, Node, flatten, nest
from app.errors import Conflict, Invalid, NotFound
from app.events import log as events
from app.events.log import Actor
from app.models import Complaint, ComplaintCause, ComplaintStep, Conversation
from app.models.words import ClockMetric, ComplaintProgress
from app.sla import clocks

_ORDER = list(ComplaintProgress)


async def of(session: AsyncSession, conversation_id: UUID) -> Complaint:
    """Raises NotFound: the matter is no complaint and never was one."""
    found = await session.get(Complaint, conversation_id, populate_existing=True)
    if found is None:
        raise NotFound("this conversation is not registered as a complaint: classify it as one first")
    return found


async def steps_of(session: AsyncSession, complaint: Complaint) -> list[ComplaintStep]:
    """As they were taken."""
    found = await session.exec(
        select(ComplaintStep)
        .where(col(ComplaintStep.complaint_id) == complaint.conversation_id)
        .order_by(col(ComplaintStep.created_at))
    )
    return sorted(found.all(), key=lambda step: _ORDER.index(ComplaintProgress(step.progress)))


async def causes_of(session: AsyncSession, complaint: Complaint) -> list[Cause]:
    found = await session.exec(
        select(ComplaintCause).where(col(ComplaintCause.complaint_id) == complaint.conversation_id)
    )
    return nest([Node(row.id, row.parent_id, row.position, row.text, row.root) for row in found])


async def change(
    session: AsyncSession,
    conversation: Conversation,
    complaint: Complaint,
    given: Mapping[str, Any],
    *,
    actor: Actor,
) -> None:
    """Set what differs, and tell it. Raises Invalid for what is still to come."""
    occurred_at = given.get("occurred_at")
    if occurred_at is not None and occurred_at > now():
        raise Invalid("this is still to come", field="occurred_at")
    changed = [name for name, value in given.items() if getattr(complaint, name) != value]
    for name in changed:
        setattr(complaint, name, given[name])
    if changed:
        await _write(session, conversation, complaint, changed, actor=actor)


async def advance(
    session: AsyncSession,
    conversation: Conversation,
    complaint: Complaint,
    *,
    progress: ComplaintProgress,
    note: str | None,
    agent_id: UUID | None,
    actor: Actor,
) -> None:
    """It got this far. Steps may be left out, never taken back. Its analysis meets the limit for that.

    Raises Conflict.
    """
    if _ORDER.index(progress) <= _ORDER.index(ComplaintProgress(complaint.progress)):
        raise Conflict(f"the complaint is {complaint.progress} already", progress=complaint.progress)
    complaint.progress = progress
    session.add(ComplaintStep(complaint_id=complaint.conversation_id, progress=progress, agent_id=agent_id, note=note))
    await clocks.meet(session, conversation, ClockMetric.ANALYSIS)
    await _write(session, conversation, complaint, ["progress"], actor=actor)


async def explain(
    session: AsyncSession, conversation: Conversation, complaint: Complaint, causes: Sequence[Cause], *, actor: Actor
) -> None:
    """These are its causes, instead of those before. Raises Invalid naming the place in the tree."""
    nodes = flatten(causes)
    await session.execute(delete(ComplaintCause).where(col(ComplaintCause.complaint_id) == complaint.conversation_id))
    for node in nodes:
        session.add(
            ComplaintCause(
                id=node.id,
                complaint_id=complaint.conversation_id,
                parent_id=node.parent_id,
                position=node.position,
                text=node.text,
                root=node.root,
            )
        )
        await session.flush()
    await _write(session, conversation, complaint, ["causes"], actor=actor)


async def _write(
    session: AsyncSession, conversation: Conversation, complaint: Complaint, changed: Sequence[str], *, actor: Actor
) -> None:
    complaint.version += 1
    complaint.updated_at = now()
    session.add(complaint)
    payload = {
        "complaint": {
            "conversation_id": str(complaint.conversation_id),
            "number": complaint.number,
            "progress": complaint.progress,
        },
        "changed": list(changed),
    }
    await events.append(session, conversation, "complaint.updated", payload, actor=actor)
