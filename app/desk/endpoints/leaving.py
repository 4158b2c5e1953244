"""When an agent leaves for good: what they hold goes back to its queue with its age; the owner of record stays.

Of all agents only the one who leaves is changed here, so there is nothing to wait for in a circle.
"""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select, union
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.conversations import assignment, queries
from app.desk.auth import Principal
from app.events import log as events
from app.events import shapes
from app.models import Assignment, Conversation, Offer
from app.models.words import OfferStatus
from app.routing import endings, queues

_REASON = "agent_deactivated"


async def hand_back(session: AsyncSession, principal: Principal, agent_id: UUID, catalog: Catalog) -> None:
    """Call it before the agent's row is locked: conversations come first in the order of locks.

    What reaches the agent after our look is `in_hand` once their row is locked.
    """
    held = [await queries.lock(session, conversation_id) for conversation_id in await in_hand(session, agent_id)]
    if not held:
        return
    actor = principal.actor
    await endings.end(session, held, OfferStatus.RESCINDED, reason=_REASON, agent_id=agent_id, actor=actor)
    for conversation in held:
        if conversation.assignee_id == agent_id and await assignment.current(session, conversation):
            await _take_back(session, principal, conversation, agent_id, catalog)


async def in_hand(session: AsyncSession, agent_id: UUID) -> list[UUID]:
    """The conversations that an agent is offered or has, by id."""
    offered = select(Offer.conversation_id).where(
        col(Offer.agent_id) == agent_id, col(Offer.status) == OfferStatus.PENDING
    )
    assigned = select(Assignment.conversation_id).where(
        col(Assignment.agent_id) == agent_id, col(Assignment.ended_at).is_(None)
    )
    found = await session.execute(union(offered, assigned))
    return sorted(found.scalars().all())


async def _take_back(
    session: AsyncSession, principal: Principal, conversation: Conversation, agent_id: UUID, catalog: Catalog
) -> None:
    await assignment.release(session, conversation)
    await events.append(
        session,
        conversation,
        "conversation.updated",
        {"conversation": shapes.conversation(conversation), "changed": ["assignee_id"], "reason": _REASON},
        actor=principal.actor,
        also_agents=[agent_id],
    )
    await queues.back(session, conversation, catalog)
