"""What a message does to the conversation that it is for, before it is stored in it."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import CatalogCache
from app.conversations import classification, closing, pausing, queries
from app.errors import ConversationClosed
from app.events.log import Actor
from app.intake import answers
from app.intake.lane import Entry
from app.intake.prepare import Prepared
from app.models import Conversation
from app.models.words import ConversationStatus, Matter
from app.routing import offers, queues
from app.routing.classify import RANK, Classified, graver, worse

_IS_STORED = text("SELECT EXISTS (SELECT 1 FROM message WHERE channel_id = :channel AND external_id = :external)")


async def hear(
    session: AsyncSession, entry: Entry, conversation_id: UUID, prepared: Prepared, *, catalog: CatalogCache
) -> answers.Heard | None:
    """Take the message for an answer to a receipt, and it moves nothing; else the conversation is made ready for it.

    A twin of what was stored while we waited for the conversation does neither.
    """
    await queries.lock(session, conversation_id)
    key = {"channel": prepared.channel_id, "external": prepared.external_id}
    if (await session.execute(_IS_STORED, key)).scalar_one():
        return None
    heard = await answers.hear(session, conversation_id, prepared)
    if heard is None:
        await _make_ready(session, conversation_id, prepared, catalog)
        return None
    entry.messages = [heard.message if message is prepared else message for message in entry.messages]
    return heard


async def _make_ready(session: AsyncSession, conversation_id: UUID, prepared: Prepared, catalog: CatalogCache) -> None:
    conversation = await queries.lock(session, conversation_id)
    await offers.hold_concerned(session, conversation)
    actor = Actor("contact", conversation.contact_id)
    if conversation.status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED):
        with suppress(ConversationClosed):  # its window is over by now, or another one is open: that is the one
            await closing.reopen(session, conversation, actor=actor, reason="customer wrote again")
    elif conversation.status not in (ConversationStatus.OPEN, ConversationStatus.CLOSED):
        await pausing.resume(session, conversation, actor=actor)
    if conversation.status != ConversationStatus.CLOSED and not conversation.corrected:
        await _classify_again(session, conversation, prepared.classified, catalog)


async def _classify_again(
    session: AsyncSession, conversation: Conversation, found: Classified, catalog: CatalogCache
) -> None:
    """Upwards only."""
    if graver(found, category=conversation.category, severity=conversation.severity):
        rises = RANK[found.category] >= RANK[conversation.category]
        stays = conversation.matter == Matter.COMPLAINT and found.matter != Matter.COMPLAINT
        await classification.apply(
            session,
            conversation,
            category=found.category if rises else conversation.category,
            matter=conversation.matter if stays else found.matter,
            severity=worse(found.severity, conversation.severity),
            complaint_type=conversation.complaint_type if stays else found.complaint_type,
            source="rules",
            fired=found.fired,
        )
        await queues.reclassified(session, conversation, await catalog.current())
