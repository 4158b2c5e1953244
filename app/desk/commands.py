"""The commands of the desk's socket: each one transaction, answered after its commit.

What HTTP offers too is done by the very functions behind the HTTP calls (`endpoints/actions.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.context import Context
from app.desk import auth, protocol, snapshot
from app.desk.auth import Principal
from app.desk.endpoints import actions
from app.errors import Conflict
from app.events import shapes
from app.models import Agent
from app.routing import offers, presence

Answer = dict[str, Any]
B = TypeVar("B", bound=BaseModel)
_FRAME_FIELDS = {"id", "type", "conversation_id"}


@dataclass(frozen=True)
class Desk:
    """What a command works with, inside its transaction."""

    context: Context
    session: AsyncSession
    principal: Principal
    agent: Agent
    catalog: Catalog


async def execute(context: Context, token: str, command: Any) -> Answer:
    """Do it and return the fields of the answer. Raises Problem; Unauthorized when the token was revoked meanwhile."""
    if isinstance(command, protocol.Ping):
        return {"type": "pong"}
    if isinstance(command, protocol.Hello):
        raise Conflict("hello was said already")
    catalog = await context.catalog.current()
    async with context.database.begin() as session:
        principal = await auth.authenticate(session, token)
        assert principal.agent is not None, "the hello was an agent's"
        desk = Desk(context, session, principal, principal.agent, catalog)
        answer = await _HANDLERS[type(command)](desk, command)
    if isinstance(command, protocol.SetAvailability):
        await snapshot.tell_presence(context, desk.agent.id)
    return answer


def _body(kind: type[B], command: BaseModel) -> B:
    """The frame without its envelope: the body of the same call over HTTP."""
    return kind.model_validate(command.model_dump(exclude=_FRAME_FIELDS, exclude_unset=True))


async def _set_availability(desk: Desk, command: protocol.SetAvailability) -> Answer:
    await presence.set_availability(desk.session, agent_id=desk.agent.id, availability=command.availability)
    return {"availability": command.availability}


async def _accept(desk: Desk, command: protocol.AcceptOffer) -> Answer:
    conversation = await offers.accept(desk.session, offer_id=command.offer_id, agent=desk.agent)
    await desk.session.refresh(conversation)
    return {
        "offer_id": str(command.offer_id),
        "conversation_id": str(conversation.id),
        "conversation": shapes.conversation(conversation),
    }


async def _reject(desk: Desk, command: protocol.RejectOffer) -> Answer:
    await offers.reject(desk.session, offer_id=command.offer_id, agent=desk.agent, reason=command.reason)
    return {"offer_id": str(command.offer_id)}


async def _send(desk: Desk, command: protocol.SendMessage) -> Answer:
    given = _body(actions.NewMessage, command)
    message = await actions.send_message(command.conversation_id, given, desk.session, desk.principal)
    shown = message.model_dump(mode="json")
    return {
        "message_id": shown["id"],
        "conversation_id": shown["conversation_id"],
        "seq": shown["seq"],
        "client_message_id": shown["client_message_id"],
        "status": shown["status"],
    }


async def _typing(desk: Desk, command: protocol.Typing) -> Answer:
    conversation = await auth.visible(desk.session, desk.principal, command.conversation_id)
    shown = {"type": "typing", "conversation_id": str(conversation.id), "on": command.on}
    await desk.context.wakeups.publish(
        {
            "queues": [str(conversation.queue_id)] if conversation.queue_id else [],
            "agents": [str(other) for other in (conversation.assignee_id, conversation.owner_id) if other],
            "contact_id": str(conversation.contact_id),
            "frame": {**shown, "author": {"type": "agent", "id": str(desk.agent.id), "name": desk.agent.name}},
            "customer": {**shown, "author": {"type": "agent", "name": desk.agent.name}},
        }
    )
    return {}


async def _read(desk: Desk, command: protocol.ReadConversation) -> Answer:
    """Acknowledged; what an agent has read is the console's own matter until there are several on one conversation."""
    conversation = await auth.visible(desk.session, desk.principal, command.conversation_id)
    return {"conversation_id": str(conversation.id), "seq": min(command.seq, conversation.last_seq)}


async def _transfer(desk: Desk, command: protocol.Transfer) -> Answer:
    given = _body(actions.Transfer, command)
    shown = await actions.transfer(command.conversation_id, given, desk.session, desk.catalog, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _classify(desk: Desk, command: protocol.Classify) -> Answer:
    given = _body(actions.Correction, command)
    shown = await actions.classify(command.conversation_id, given, desk.session, desk.catalog, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _resolve(desk: Desk, command: protocol.Resolve) -> Answer:
    given = _body(actions.Resolution, command)
    shown = await actions.resolve(command.conversation_id, given, desk.session, desk.context, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


_HANDLERS: dict[type[Any], Callable[[Desk, Any], Awaitable[Answer]]] = {
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
