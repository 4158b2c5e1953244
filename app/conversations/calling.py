"""An agent calls the customer: a message of kind `call` that goes out like any other, and grows as the call goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels import voice_numbers
from app.clock import now, rfc3339
from app.conversations import calls_fold, queries, states
from app.delivery import outbox
from app.errors import Conflict, IdempotencyMismatch, Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Call, Channel, ContactIdentity, Conversation, Message
from app.models.words import AuthorType, DeliveryStatus, Direction, MessageKind

VOICE = "voice"
_GOING_OUT = (DeliveryStatus.QUEUED, DeliveryStatus.SENDING)


async def call(
    session: AsyncSession,
    conversation: Conversation,
    *,
    agent: Agent,
    webhook: Callable[[UUID], str],
    to: str | None = None,
    channel_id: UUID | None = None,
    client_message_id: str | None = None,
) -> Message:
    """Have the agent's telephone rung, then the customer's at `to`, or where the customer is known.

    `webhook` is our address for a channel. By the conversation's own line, else by `channel_id`, else by the only one
    there is. The same `client_message_id` again is the same call. Raises Invalid naming the field, Conflict for an agent
    without a telephone or a call that is being placed, ConversationClosed.
    """
    if client_message_id and (known := await _known(session, conversation, agent, client_message_id)):
        return known
    states.require_working(conversation.status)
    if agent.phone is None:
        raise Conflict("you have no telephone: an administrator enters `phone` at your agent")
    await _require_quiet(session, conversation)
    line = await _line(session, conversation, channel_id)
    if line.config.get("provider") == "generic" and not line.config.get("callback_url"):
        raise Conflict("this line places no calls: it has no callback_url")
    number = await _number(session, conversation, line, to)
    message = await _store(session, conversation, agent, line, client_message_id, number, webhook(line.id))
    payload = {"message": shapes.stored_message(message)}
    await events.append(session, conversation, "message.created", payload, actor=Actor("agent", agent.id))
    await outbox.enqueue(session, message)
    return message


async def _known(
    session: AsyncSession, conversation: Conversation, agent: Agent, client_message_id: str
) -> Message | None:
    found = await session.exec(
        select(Message).where(
            col(Message.conversation_id) == conversation.id,
            col(Message.author_id) == agent.id,
            col(Message.client_message_id) == client_message_id,
            col(Message.direction) != Direction.INBOUND,
        )
    )
    known = found.one_or_none()
    if known is not None and known.kind != MessageKind.CALL:
        raise IdempotencyMismatch("this id was used for another message", field="client_message_id")
    return known


async def _require_quiet(session: AsyncSession, conversation: Conversation) -> None:
    """Two clicks are not two calls. Raises Conflict."""
    found = await session.exec(
        select(Message.id)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.kind) == MessageKind.CALL,
            col(Message.direction) == Direction.OUTBOUND,
            col(Message.status).in_(_GOING_OUT),
        )
        .limit(1)
    )
    if (message_id := found.first()) is not None:
        raise Conflict("a call is being placed already", message_id=str(message_id))


async def _line(session: AsyncSession, conversation: Conversation, channel_id: UUID | None) -> Channel:
    wanted = channel_id or (conversation.channel_id if conversation.channel_type == VOICE else None)
    if wanted is not None:
        channel = await session.get(Channel, wanted)
        if channel is None or not channel.active or channel.type != VOICE:
            raise Invalid("there is no such telephone line", field="channel_id")
        return channel
    lines = (await session.exec(select(Channel).where(col(Channel.type) == VOICE, col(Channel.active)))).all()
    if len(lines) != 1:
        raise Invalid("say by which telephone line" if lines else "there is no telephone line", field="channel_id")
    return lines[0]


async def _number(session: AsyncSession, conversation: Conversation, line: Channel, to: str | None) -> str:
    """Raises Invalid naming `to`."""
    own = line.config.get("number")
    country = line.config.get("country") or voice_numbers.country_of(own)
    if to is not None:
        given: list[Any] = [to]
    else:
        identity = await session.get(ContactIdentity, conversation.identity_id)
        contact = await queries.contact_of(session, conversation)
        here = identity.address if identity is not None and conversation.channel_type in (VOICE, "sms") else {}
        given = [here.get("to"), contact.phone]
    for raw in given:
        if not isinstance(raw, str):
            continue
        if (number := voice_numbers.e164(raw, country)) is not None:
            return number
        if raw.lower().startswith(("sip:", "sips:", "client:")):
            return raw
    raise Invalid("this is no telephone number" if to else "no telephone number of the customer is known", field="to")


async def _store(
    session: AsyncSession,
    conversation: Conversation,
    agent: Agent,
    line: Channel,
    client_message_id: str | None,
    number: str,
    webhook: str,
) -> Message:
    first = {
        "key": "placed",
        "state": "queued",
        "at": rfc3339(now()),
        "direction": "outbound",
        "caller": line.config.get("number") or agent.phone,
        "number": number,
    }
    call = calls_fold.fold([first])
    conversation.last_seq += 1
    session.add(conversation)
    message = Message(
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        channel_id=line.id,
        direction=Direction.OUTBOUND,
        kind=MessageKind.CALL,
        author_type=AuthorType.AGENT,
        author_id=agent.id,
        author_name=agent.name,
        text=calls_fold.text_of(call),
        content={"call": call, "dial": {"to": number, "agent": agent.phone, "webhook": webhook}},
        client_message_id=client_message_id,
        status=DeliveryStatus.QUEUED,
        correlation_id=log.correlation.get() or conversation.correlation_id,
        created_at=now(),
    )
    session.add(message)
    await session.flush()
    # Until its provider names it, the call goes by our own name.
    session.add(
        Call(
            channel_id=line.id,
            call_id=str(message.id),
            message_id=message.id,
            conversation_id=conversation.id,
            updates=[first],
        )
    )
    return message
