"""What is heard of a message after it was sent: the provider's word, and the customer's eyes on the widget."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import StatusUpdate
from app.delivery import outbox, states
from app.delivery.outbox import Change
from app.events.log import Actor
from app.models import Conversation, Message
from app.models.words import DeliveryStatus, Direction

_logger = log.get("delivery")


async def apply(session: AsyncSession, channel_id: UUID, update: StatusUpdate) -> bool:
    """Take in a provider's status of a message that we sent; False when we know no such message or status.

    Locks the conversation, so it has to be the first lock of the transaction.
    """
    try:
        status = DeliveryStatus(update.status)
    except ValueError:
        _logger.warning("status not known", channel_id=channel_id, status=update.status)
        return False
    found = await session.exec(
        select(Message.id, Message.conversation_id)
        .where(col(Message.channel_id) == channel_id, col(Message.provider_message_id) == update.provider_message_id)
        .order_by(col(Message.id).desc())
        .limit(1)
    )
    known = found.one_or_none()
    if known is None:
        return False
    message_id, conversation_id = known
    conversation = await session.get_one(Conversation, conversation_id, with_for_update=True, populate_existing=True)
    message = await session.get_one(Message, message_id, populate_existing=True)
    error = update.detail if status in (DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN) else None
    await outbox.status_changed(session, conversation, message, status, error=error)
    return True


async def mark_read(session: AsyncSession, conversation: Conversation, seq: int) -> int:
    """The customer has seen everything up to `seq`; the number of messages that became `read` by it.

    The caller holds the conversation. `conversation.contact_read_seq` is the caller's to keep.
    """
    found = await session.exec(
        select(Message.id)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.seq) <= seq,
            col(Message.direction) == Direction.OUTBOUND,
            col(Message.status).in_(states.before(DeliveryStatus.READ)),
        )
        .order_by(col(Message.seq))
    )
    changes = [Change(message_id, DeliveryStatus.READ) for message_id in found.all()]
    return await outbox.change_many(session, changes, actor=Actor("contact", conversation.contact_id))
