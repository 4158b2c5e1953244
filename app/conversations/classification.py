"""Setting and correcting what kind of matter a conversation is; every result is kept with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import assignment
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.feedback import outcomes
from app.models import Classification, Conversation, ResolutionCycle
from app.models.words import ClockMetric, Matter
from app.sla import clocks

PRIORITY = {"routine": 0, "complex": 1, "urgent": 2}


async def apply(
    session: AsyncSession,
    conversation: Conversation,
    *,
    category: str,
    matter: str,
    severity: str | None,
    complaint_type: str | None,
    source: str,
    fired: Sequence[dict[str, Any]] = (),
    agent_id: UUID | None = None,
    reason: str | None = None,
    message_id: UUID | None = None,
) -> None:
    """Classify again. `source` is `rules` or `agent`; after an agent's correction the rules keep their hands off.

    Its time limits are chosen again, its assignee pays what it costs now; an agent's look at a complaint is its analysis.
    What was resolved before counts as what it is now.
    """
    session.add(
        Classification(
            conversation_id=conversation.id,
            message_id=message_id,
            category=category,
            matter=matter,
            severity=severity,
            complaint_type=complaint_type,
            source=source,
            fired=list(fired),
            agent_id=agent_id,
            reason=reason,
        )
    )
    if agent_id is not None:
        await clocks.meet(session, conversation, ClockMetric.ANALYSIS)
    raised = conversation.priority > PRIORITY[conversation.category]  # by an SLA action: it is never lower for that
    conversation.priority = max(PRIORITY[category], conversation.priority if raised else 0)
    await _recount(session, conversation, matter)
    conversation.category, conversation.matter = category, matter
    conversation.severity, conversation.complaint_type = severity, complaint_type
    conversation.corrected = conversation.corrected or source == "agent"
    session.add(conversation)
    await events.append(
        session,
        conversation,
        "conversation.updated",
        {
            "conversation": shapes.conversation(conversation),
            "changed": ["category", "matter", "severity", "complaint_type"],
            "source": source,
            "reason": reason,
            "fired": list(fired),
        },
        actor=Actor("agent", agent_id) if agent_id else SYSTEM,
    )
    await assignment.reweigh(session, conversation)
    await clocks.retarget(session, conversation)


async def _recount(session: AsyncSession, conversation: Conversation, matter: str) -> None:
    """Complaints are counted with the first resolution: one that turns out to be a complaint later, or none, is too."""
    difference = int(matter == Matter.COMPLAINT) - int(conversation.matter == Matter.COMPLAINT)
    if not difference:
        return
    first = await session.exec(
        select(ResolutionCycle).where(
            col(ResolutionCycle.conversation_id) == conversation.id, col(ResolutionCycle.number) == 1
        )
    )
    if (cycle := first.one_or_none()) is not None:
        outcomes.count(session, cycle, complaints=difference)
