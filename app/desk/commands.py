"""The commands of the desk's socket: each one transaction, answered after its commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.context import Context
from app.conversations import classification, closing, queries, replies
from app.desk import access, protocol, snapshot
from app.errors import NotFound
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Conversation
from app.models.words import MessageKind
from app.routing import offers, presence, queues

Answer = dict[str, Any]


async def execute(context: Context, agent_id: UUID, command: Any) -> Answer:
    """Do it and return the fields of the answer. Raises Problem."""
    if isinstance(command, protocol.Ping):
        return {"type": "pong"}
    if isinstance(command, protocol.Hello):
        return {}
    handler = _HANDLERS[type(command)]
    async with context.database.begin() as session:
        agent = await session.get(Agent, agent_id)
        if agent is None or not agent.active:
            raise NotFound("this agent was removed")
        answer = await handler(context, session, agent, command)
    if isinstance(command, protocol.SetAvailability):
        await snapshot.tell_presence(context, agent_id)
    return answer


async def _set_availability(
    context: Context, session: AsyncSession, agent: Agent, command: protocol.SetAvailability
) -> Answer:
    await presence.set_availability(session, agent_id=agent.id, availability=command.availability)
    return {"availability": command.availability}


async def _accept(context: Context, session: AsyncSession, agent: Agent, command: protocol.AcceptOffer) -> Answer:
    conversation = await offers.accept(session, offer_id=command.offer_id, agent=agent)
    return {
        "offer_id": str(command.offer_id),
        "conversation_id": str(conversation.id),
        "conversation": shapes.conversation(conversation),
    }


async def _reject(context: Context, session: AsyncSession, agent: Agent, command: protocol.RejectOffer) -> Answer:
    await offers.reject(session, offer_id=command.offer_id, agent=agent, reason=command.reason)
    return {"offer_id": str(command.offer_id)}


async def _send(context: Context, session: AsyncSession, agent: Agent, command: protocol.SendMessage) -> Answer:
    kind = MessageKind(command.kind)
    conversation = await _own(session, agent, command.conversation_id, writing=kind is MessageKind.REPLY)
    message = await replies.send(
        session,
        conversation,
        author=agent,
        kind=kind,
        text=command.text,
        client_message_id=command.client_message_id,
        attachments=await access.attachments(session, command.attachments),
    )
    return {
        "message_id": str(message.id),
        "conversation_id": str(conversation.id),
        "seq": message.seq,
        "client_message_id": message.client_message_id,
        "status": message.status,
    }


async def _typing(context: Context, session: AsyncSession, agent: Agent, command: protocol.Typing) -> Answer:
    conversation = await queries.get(session, command.conversation_id)
    await access.require_visible(session, agent, conversation)
    shown = {"type": "typing", "conversation_id": str(conversation.id), "on": command.on}
    await context.wakeups.publish(
        {
            "queues": [str(conversation.queue_id)] if conversation.queue_id else [],
            "agents": [str(other) for other in (conversation.assignee_id, conversation.owner_id) if other],
            "contact_id": str(conversation.contact_id),
            "frame": {**shown, "author": {"type": "agent", "id": str(agent.id), "name": agent.name}},
            "customer": {**shown, "author": {"type": "agent", "name": agent.name}},
        }
    )
    return {}


async def _read(context: Context, session: AsyncSession, agent: Agent, command: protocol.ReadConversation) -> Answer:
    conversation = await queries.get(session, command.conversation_id)
    await access.require_visible(session, agent, conversation)
    return {"conversation_id": str(conversation.id), "seq": min(command.seq, conversation.last_seq)}


async def _transfer(context: Context, session: AsyncSession, agent: Agent, command: protocol.Transfer) -> Answer:
    conversation = await _own(session, agent, command.conversation_id, writing=True)
    await queues.transfer(
        session,
        conversation,
        actor=Actor("agent", agent.id),
        agent_id=command.agent_id,
        queue_id=command.queue_id,
        note=command.note,
        catalog=await context.catalog.current(),
    )
    return {"conversation": shapes.conversation(conversation)}


async def _classify(context: Context, session: AsyncSession, agent: Agent, command: protocol.Classify) -> Answer:
    conversation = await _own(session, agent, command.conversation_id, writing=False)
    await classification.apply(
        session,
        conversation,
        category=command.category,
        matter=command.matter or conversation.matter,
        severity=command.severity or conversation.severity,
        complaint_type=command.complaint_type or conversation.complaint_type,
        source="agent",
        agent_id=agent.id,
        reason=command.reason,
    )
    await queues.reclassified(session, conversation, await context.catalog.current())
    return {"conversation": shapes.conversation(conversation)}


async def _resolve(context: Context, session: AsyncSession, agent: Agent, command: protocol.Resolve) -> Answer:
    conversation = await _own(session, agent, command.conversation_id, writing=True)
    cycle = await closing.resolve(
        session,
        conversation,
        agent=agent,
        problem=command.problem,
        resolution=command.resolution,
        commitment=command.commitment,
        link=context.feedback_link,
    )
    await offers.rescind(session, conversation, reason="resolved")
    return {"conversation": shapes.conversation(conversation), "cycle": cycle.number}


async def _own(session: AsyncSession, agent: Agent, conversation_id: UUID, *, writing: bool) -> Conversation:
    """The locked conversation, if this agent may see it and, when `writing`, act for us in it."""
    conversation = await queries.lock(session, conversation_id)
    await access.require_visible(session, agent, conversation)
    if writing:
        access.require_hand(agent, conversation)
    return conversation


_HANDLERS: dict[type[Any], Callable[[Context, AsyncSession, Agent, Any], Awaitable[Answer]]] = {
    protocol.SetAvailability: _set_availability,
    protocol.AcceptOffer: _accept,
    protocol.RejectOffer: _reject,
    protocol.SendMessage: _send,
    protocol.Typing: _typing,
    protocol.ReadConversation: _read,
    protocol.Transfer: _transfer,
    protocol.Classify: _classify,
    protocol.Resolve: _resolve,
}
