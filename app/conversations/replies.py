"""What agents write: replies that go to the customer, notes that never do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.clock import now
from app.conversations import states
from app.delivery import outbox
from app.errors import ConversationClosed, Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.models import Agent, Conversation, Message
from app.models.words import AuthorType, ClockMetric, ConversationStatus, DeliveryStatus, Direction, Matter, MessageKind
from app.sla import clocks

TEXT_LIMIT = 100_000


async def send(
    session: AsyncSession,
    conversation: Conversation,
    *,
    author: Agent | None,
    kind: MessageKind,
    text: str,
    client_message_id: str | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
    content: Mapping[str, Any] | None = None,
    subject: str | None = None,
) -> Message:
    """Write a message of our side: `reply` and `receipt` are queued for delivery, `note` stays inside.

    The same `client_message_id` by the same author again returns the message that is there. Raises Invalid when it is
    empty or too long, ConversationClosed, Conflict for a reply to a resolved conversation.
    """
    text = text.replace("\x00", "")
    if not text.strip() and not attachments:
        raise Invalid("a message needs a text or an attachment", field="text")
    if len(text) > TEXT_LIMIT:
        raise Invalid(f"the text is longer than {TEXT_LIMIT} characters", field="text")
    if client_message_id and (known := await _known(session, conversation, author, client_message_id)):
        return known
    if kind is MessageKind.REPLY:
        states.require_working(conversation.status)
    elif conversation.status == ConversationStatus.CLOSED and kind is not MessageKind.NOTE:
        raise ConversationClosed
    message = await _store(
        session, conversation, author, kind, text, client_message_id, attachments, content or {}, subject
    )
    if kind is not MessageKind.NOTE:
        await outbox.enqueue(session, message)
    if kind is MessageKind.REPLY:
        await clocks.replied(session, conversation)
    elif kind is MessageKind.NOTE and author is not None and conversation.matter == Matter.COMPLAINT:
        await clocks.meet(session, conversation, ClockMetric.ANALYSIS)
    return message


async def _known(
    session: AsyncSession, conversation: Conversation, author: Agent | None, client_message_id: str
) -> Message | None:
    found = await session.exec(
        select(Message).where(
            col(Message.conversation_id) == conversation.id,
            col(Message.author_id) == (author.id if author else None),
            col(Message.client_message_id) == client_message_id,
            col(Message.direction) != Direction.INBOUND,
        )
    )
    return found.one_or_none()


async def _store(
    session: AsyncSession,
    conversation: Conversation,
    author: Agent | None,
    kind: MessageKind,
    text: str,
    client_message_id: str | None,
    attachments: Sequence[Mapping[str, Any]],
    content: Mapping[str, Any],
    subject: str | None,
) -> Message:
    note = kind is MessageKind.NOTE
    conversation.last_seq += 1
    if kind is MessageKind.REPLY and conversation.first_replied_at is None:
        conversation.first_replied_at = now()
    message = Message(
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        channel_id=conversation.channel_id,
        direction=Direction.NOTE if note else Direction.OUTBOUND,
        kind=kind,
        author_type=AuthorType.AGENT if author else AuthorType.SYSTEM,
        author_id=author.id if author else None,
        author_name=author.name if author else None,
        text=text,
        subject=subject,
        content=dict(content),
        attachments=[dict(item) for item in attachments],
        client_message_id=client_message_id,
        status=None if note else DeliveryStatus.QUEUED,
        correlation_id=log.correlation.get() or conversation.correlation_id,
        created_at=now(),
    )
    session.add(conversation)
    session.add(message)
    await events.append(
        session,
        conversation,
        "message.created",
        {"message": shapes.stored_message(message)},
        actor=Actor("agent", author.id) if author else SYSTEM,
        to_customer=not note,
    )
    return message
