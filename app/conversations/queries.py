"""Finding and locking conversations."""

from collections.abc import Collection
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import NotFound
from app.models import Contact, Conversation, ResolutionCycle


async def lock(session: AsyncSession, conversation_id: UUID) -> Conversation:
    """The conversation, held by this transaction until it ends: the first lock any verb takes. Raises NotFound."""
    found = await session.exec(
        select(Conversation)
        .where(col(Conversation.id) == conversation_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    conversation = found.one_or_none()
    if conversation is None:
        raise NotFound("there is no such conversation")
    return conversation


async def try_lock_many(session: AsyncSession, ids: Collection[UUID]) -> list[Conversation]:
    """Those of `ids` that nobody else holds, in the order that keeps two callers from waiting for each other."""
    found = await session.exec(
        select(Conversation)
        .where(col(Conversation.id).in_(ids))
        .order_by(col(Conversation.id))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return list(found.all())


async def get(session: AsyncSession, conversation_id: UUID) -> Conversation:
    """Raises NotFound."""
    conversation = await session.get(Conversation, conversation_id)
    if conversation is None:
        raise NotFound("there is no such conversation")
    return conversation


async def contact_of(session: AsyncSession, conversation: Conversation) -> Contact:
    contact = await session.get(Contact, conversation.contact_id)
    assert contact is not None, "a foreign key guards this"
    return contact


async def newest_cycle(session: AsyncSession, conversation: Conversation) -> ResolutionCycle | None:
    """The resolution that came last, settled or not."""
    found = await session.exec(
        select(ResolutionCycle)
        .where(col(ResolutionCycle.conversation_id) == conversation.id)
        .order_by(col(ResolutionCycle.number).desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return found.one_or_none()
