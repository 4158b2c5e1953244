"""Sending again what failed, or may never have arrived: because an agent wants it, and never twice at once."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import plans, states
from app.delivery import outbox
from app.errors import Conflict, ConversationClosed, NotFound
from app.events.log import Actor
from app.models import Conversation, Message
from app.models.words import ConversationStatus, DeliveryStatus, Direction, MessageKind

_AGAIN = frozenset({DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN})
# Attempts are counted on, so that news of an old one is never taken for news of a new one; they do not count.
_COUNT_ON = text(
    "UPDATE outbox o SET attempts = n.n, waived = n.n FROM (SELECT coalesce(max(number), 0)::int AS n "
    "FROM delivery_attempt WHERE message_id = :message) n WHERE o.message_id = :message"
)


async def resend(
    session: AsyncSession, conversation: Conversation, message_id: UUID, *, actor: Actor, anyway: bool = False
) -> Message:
    """Queue it again; one that is on its way, or was sent, is left as it is. The caller holds the conversation.

    Raises NotFound, ConversationClosed, Conflict for what was written elsewhere, and what sending it anew would raise.
    """
    message = await session.get(Message, message_id, populate_existing=True)
    if message is None or message.conversation_id != conversation.id or message.direction != Direction.OUTBOUND:
        raise NotFound("there is no such message of ours in this conversation")
    if message.status not in _AGAIN:
        return message
    if message.external_id is not None:
        raise Conflict("this was written in the provider's own app: it can only be sent again there")
    kind = MessageKind(message.kind)
    if kind is MessageKind.REPLY:
        states.require_working(conversation.status)
    elif conversation.status == ConversationStatus.CLOSED:
        raise ConversationClosed
    plan = await plans.make(
        session,
        conversation,
        kind=kind,
        text=message.text,
        attachments=message.attachments,
        template="template" in message.content,
        anyway=anyway,
    )
    if plan.way is None or plan.why_not is not None:
        assert plan.why_not is not None, "without a way there is a reason"
        raise plan.why_not
    message.status, message.error, message.error_code = DeliveryStatus.QUEUED, None, None
    message.provider_message_id, message.channel_id = None, plan.way.channel_id
    session.add(message)
    await outbox.enqueue(session, message, identity_id=plan.way.identity_id)
    await session.execute(_COUNT_ON, {"message": message.id})
    await outbox.tell_status(session, conversation, message, actor=actor)
    return message
