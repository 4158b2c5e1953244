"""What an agent may see and do in a conversation: least access, one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import Invalid, NotAssigned, NotFound
from app.models import Agent, Attachment, Conversation, Offer, QueueMember
from app.models.words import OfferStatus, Role


async def require_visible(session: AsyncSession, agent: Agent, conversation: Conversation) -> None:
    """Theirs, in one of their queues, offered to them, or they are a supervisor. Raises NotFound."""
    if agent.role in (Role.SUPERVISOR, Role.ADMIN) or agent.id in (conversation.assignee_id, conversation.owner_id):
        return
    member = await session.exec(
        select(QueueMember).where(
            col(QueueMember.agent_id) == agent.id, col(QueueMember.queue_id) == conversation.queue_id
        )
    )
    if member.first() is not None:
        return
    offered = await session.exec(
        select(Offer.id).where(
            col(Offer.conversation_id) == conversation.id,
            col(Offer.agent_id) == agent.id,
            col(Offer.status) == OfferStatus.PENDING,
        )
    )
    if offered.first() is None:
        raise NotFound("there is no such conversation")


def require_hand(agent: Agent, conversation: Conversation) -> None:
    """To speak for us in it: assignee, owner, or a supervisor. Raises NotAssigned."""
    if agent.role in (Role.SUPERVISOR, Role.ADMIN) or agent.id in (conversation.assignee_id, conversation.owner_id):
        return
    raise NotAssigned


async def attachments(session: AsyncSession, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Uploaded files as a message remembers them. Raises Invalid for one that is not there."""
    if not ids:
        return []
    found = {row.id: row for row in (await session.exec(select(Attachment).where(col(Attachment.id).in_(ids)))).all()}
    for wanted in ids:
        if wanted not in found:
            raise Invalid(f"no such attachment: {wanted}", field="attachments")
    return [
        {
            "id": str(row.id),
            "name": row.name,
            "media_type": row.media_type,
            "size": row.size,
            "sha256": row.sha256,
        }
        for row in (found[wanted] for wanted in ids)
    ]
