"""What a list of work says of the conversations that it is in."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.endpoints.shared import Shape
from app.models import Contact, Conversation
from app.models.words import ConversationStatus


class MatterShape(Shape):
    """Enough to know which conversation it is."""

    subject: str | None
    contact_name: str | None
    channel_type: str
    status: ConversationStatus


async def of(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, MatterShape]:
    """By the conversation's id."""
    joined = select(Conversation, Contact.name).join(Contact, col(Contact.id) == col(Conversation.contact_id))
    found = await session.exec(joined.where(col(Conversation.id).in_(set(ids))))
    return {
        row.id: MatterShape(
            subject=row.subject, contact_name=name, channel_type=row.channel_type, status=ConversationStatus(row.status)
        )
        for row, name in found
    }
