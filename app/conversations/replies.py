"""What agents write: replies that go to the customer, notes that never do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Template
from app.clock import now
from app.conversations import participants, plans, states
from app.conversations.plans import Plan
from app.db import settings_of
from app.delivery import outbox, templates
from app.errors import Conflict, ConversationClosed, IdempotencyMismatch, Invalid
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
    mentions: Sequence[UUID] = (),
    template: Template | None = None,
    anyway: bool = False,
    plan: Plan | None = None,
) -> Message:
    """Write a message of our side: `reply`, `receipt` and `notice` are queued for delivery, `note` stays inside.

    Whom a note `mentions` is told, and helps from now on where they could not see the conversation. The same
    `client_message_id` by the same author again returns the message that is there. With a `template` the text is that
    one, filled in; `anyway`: also to an address that did not work lately. Raises Invalid when it is empty, too long or
    nothing that the channel carries, ConversationClosed, Conflict for a reply to a resolved conversation, and what
    `plans.make` raises: a reply that cannot go out now is not stored at all, nor is a notice, whatever the reason. A receipt
    that cannot is stored as failed. With a `plan` its way is decided already.
    """
    if template is not None:
        text, content = await _filled(session, conversation, kind, text, attachments, template, content)
    text = _checked(text, attachments)
    if mentions and kind is not MessageKind.NOTE:
        raise Invalid("only a note mentions colleagues", field="mentions")
    if client_message_id and (known := await _known(session, conversation, author, client_message_id, kind, text)):
        return known
    if kind is MessageKind.REPLY:
        states.require_working(conversation.status)
    elif conversation.status == ConversationStatus.CLOSED and kind not in (MessageKind.NOTE, MessageKind.RECEIPT):
        raise ConversationClosed
    plan = plan or await _plan(session, conversation, kind, text, attachments, template, anyway)
    if kind is MessageKind.NOTICE and plan is not None and plan.why_not is not None:
        raise plan.why_not
    mentioned = await _call_in(session, conversation, author, mentions)
    content = {**(content or {}), **({"mentions": [str(agent_id) for agent_id in mentioned]} if mentioned else {})}
    message = await _store(
        session, conversation, author, kind, text, client_message_id, attachments, content, subject, plan
    )
    await _tell(session, conversation, message)
    if mentioned:
        await _tell_mentioned(session, conversation, message, mentioned)
    if plan is not None and plan.way is not None and plan.why_not is None:
        await outbox.enqueue(session, message, identity_id=plan.way.identity_id)
    if kind is MessageKind.REPLY:
        await clocks.replied(session, conversation)
    elif kind is MessageKind.NOTE and author is not None and conversation.matter == Matter.COMPLAINT:
        await clocks.meet(session, conversation, ClockMetric.ANALYSIS)
    return message


async def whisper(
    session: AsyncSession,
    conversation: Conversation,
    *,
    author: Agent | None,
    text: str,
    client_message_id: str | None = None,
) -> Message:
    """A note that only its author, the assignee and supervisors ever see; live it goes to those who listen or joined.

    Raises Invalid, Conflict when nobody has the conversation, ConversationClosed.
    """
    text = _checked(text)
    note = MessageKind.NOTE
    if client_message_id and (known := await _known(session, conversation, author, client_message_id, note, text)):
        return known
    if conversation.status == ConversationStatus.CLOSED:
        raise ConversationClosed
    if conversation.assignee_id is None:
        raise Conflict("nobody has the conversation: there is no one to whisper to")
    listening = [
        row.agent_id for row in await participants.of(session, conversation) if row.role in participants.LISTENING
    ]
    hears = {conversation.assignee_id, *listening, *([author.id] if author else [])}
    content = {"whisper": True, "heard_by": sorted(map(str, hears))}
    message = await _store(session, conversation, author, MessageKind.NOTE, text, client_message_id, (), content, None)
    await _tell(session, conversation, message, only=hears)
    return message


def _checked(text: str, attachments: Sequence[Any] = ()) -> str:
    text = text.replace("\x00", "")
    if not text.strip() and not attachments:
        raise Invalid("a message needs a text or an attachment", field="text")
    if len(text) > TEXT_LIMIT:
        raise Invalid(f"the text is longer than {TEXT_LIMIT} characters", field="text")
    return text


async def _call_in(
    session: AsyncSession, conversation: Conversation, author: Agent | None, mentions: Sequence[UUID]
) -> list[UUID]:
    """Let those who are mentioned see the conversation; returns them, each once, without the author. Raises Invalid."""
    await participants.require_active(session, mentions, field="mentions.{}")
    mentioned = [agent_id for agent_id in dict.fromkeys(mentions) if author is None or agent_id != author.id]
    if outside := await participants.outsiders(session, conversation, mentioned):
        await participants.collaborate(session, conversation, outside, actor=_actor(author))
    return mentioned


async def _known(
    session: AsyncSession,
    conversation: Conversation,
    author: Agent | None,
    client_message_id: str,
    kind: MessageKind,
    text: str,
) -> Message | None:
    """What they sent under this id before. Raises IdempotencyMismatch when it said something else."""
    found = await session.exec(
        select(Message).where(
            col(Message.conversation_id) == conversation.id,
            col(Message.author_id) == (author.id if author else None),
            col(Message.client_message_id) == client_message_id,
            col(Message.direction) != Direction.INBOUND,
        )
    )
    known = found.one_or_none()
    if known is not None and (known.kind, known.text) != (kind, text):
        raise IdempotencyMismatch("this id was used for another message", field="client_message_id")
    return known


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
    plan: Plan | None = None,
) -> Message:
    note = kind is MessageKind.NOTE
    way, lost = (plan.way, plan.why_not) if plan else (None, None)
    conversation.last_seq += 1
    if kind is MessageKind.REPLY and conversation.first_replied_at is None:
        conversation.first_replied_at = now()
    message = Message(
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        channel_id=way.channel_id if way else conversation.channel_id,
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
        status=None if note else DeliveryStatus.FAILED if lost else DeliveryStatus.QUEUED,
        error=lost.detail if lost else None,
        error_code=lost.code if lost else None,
        correlation_id=log.correlation.get() or conversation.correlation_id,
        created_at=now(),
    )
    session.add(conversation)
    session.add(message)
    return message


async def _filled(
    session: AsyncSession,
    conversation: Conversation,
    kind: MessageKind,
    text: str,
    attachments: Sequence[Any],
    template: Template,
    content: Mapping[str, Any] | None,
) -> tuple[str, Mapping[str, Any]]:
    """The text of the template, and the template beside it. Raises Invalid."""
    if kind is not MessageKind.REPLY:
        raise Invalid("only a reply is sent by a template", field="template")
    if text.strip() or attachments:
        raise Invalid("a template is sent alone, without a text or files", field="template")
    filled = await templates.filled(session, conversation.channel_id, template)
    kept = {"name": template.name, "language": template.language, "parameters": list(template.parameters)}
    return filled, {**(content or {}), "template": kept}


async def _plan(
    session: AsyncSession,
    conversation: Conversation,
    kind: MessageKind,
    text: str,
    attachments: Sequence[Mapping[str, Any]],
    template: Template | None,
    anyway: bool,
) -> Plan | None:
    """None for a note."""
    if kind is MessageKind.NOTE:
        return None
    return await plans.make(
        session,
        conversation,
        kind=kind,
        text=text,
        attachments=attachments,
        template=template is not None,
        anyway=anyway,
        leave=settings_of(session).notice_leaves if kind is MessageKind.NOTICE else 0,
    )


def _actor(author: Agent | None) -> Actor:
    return Actor("agent", author.id) if author else SYSTEM


async def _tell(
    session: AsyncSession, conversation: Conversation, message: Message, *, only: Collection[UUID] = ()
) -> None:
    payload = {"message": shapes.stored_message(message)}
    actor = Actor("agent", message.author_id) if message.author_id else SYSTEM
    if only:
        agents = sorted(only)
        await events.append_for_agents(session, conversation, "message.created", payload, agents=agents, actor=actor)
        return
    outward = message.direction != Direction.NOTE
    await events.append(session, conversation, "message.created", payload, actor=actor, to_customer=outward)


async def _tell_mentioned(
    session: AsyncSession, conversation: Conversation, message: Message, mentioned: Sequence[UUID]
) -> None:
    payload = {
        "conversation": shapes.conversation(conversation),
        "message": shapes.stored_message(message),
        "by": {"id": str(message.author_id) if message.author_id else None, "name": message.author_name},
    }
    actor = Actor("agent", message.author_id) if message.author_id else SYSTEM
    await events.append_for_agents(session, conversation, "agent.mentioned", payload, agents=mentioned, actor=actor)
