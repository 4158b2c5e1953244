"""The commands of the desk's socket: each one transaction, answered after its commit.

What HTTP offers too is done by the very functions behind the HTTP calls (`endpoints/actions.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.context import Context
from app.conversations import reachable
from app.desk import auth, memory, protocol, snapshot
from app.desk.auth import Principal
from app.desk.endpoints import actions, by_hand, calling, sending, taking_part, walk_ins
from app.desk.endpoints.conversation_shapes import AnswersShape, MessageShape
from app.errors import Conflict
from app.events import shapes
from app.models import Agent
from app.routing import endings, offers, presence
from app.wakeups import tell

Answer = dict[str, Any]
B = TypeVar("B", bound=BaseModel)
_FRAME_FIELDS = {"id", "type", "conversation_id", "message_id"}
_READ = text(
    "INSERT INTO agent_read AS r (conversation_id, agent_id, seq) VALUES (:conversation, :agent, :seq) "
    "ON CONFLICT (conversation_id, agent_id) DO UPDATE SET seq = greatest(r.seq, excluded.seq) RETURNING seq"
)


@dataclass(frozen=True)
class Desk:
    """What a command works with, inside its transaction."""

    context: Context
    session: AsyncSession
    principal: Principal
    agent: Agent
    catalog: Catalog
    session_id: str = ""


async def execute(context: Context, token: str, command: Any, *, session_id: str = "") -> Answer:
    """Do it and return the fields of the answer. Raises Problem; Unauthorized when the token was revoked meanwhile."""
    if isinstance(command, protocol.Ping):
        return {"type": "pong"}
    if isinstance(command, protocol.Hello):
        raise Conflict("hello was said already")
    catalog = await context.catalog.current()
    async with context.database.begin() as session:
        principal = await auth.authenticate(session, token)
        assert principal.agent is not None, "the hello was an agent's"
        desk = Desk(context, session, principal, principal.agent, catalog, session_id)
        answer = await _done(desk, command)
    if isinstance(command, protocol.SetAvailability):
        await snapshot.tell_presence(context, desk.agent.id)
    return answer


async def _done(desk: Desk, command: protocol.Command) -> Answer:
    handler = _HANDLERS[type(command)]
    if not command.is_remembered():
        return await handler(desk, command)
    return await memory.once(
        desk.session,
        desk.context.vault,
        desk.agent.id,
        command,
        memory_s=desk.context.settings.command_memory_s,
        work=lambda: handler(desk, command),
    )


def _body(kind: type[B], command: BaseModel) -> B:
    """The frame without its envelope: the body of the same call over HTTP."""
    return kind.model_validate(command.model_dump(exclude=_FRAME_FIELDS, exclude_unset=True))


async def _set_availability(desk: Desk, command: protocol.SetAvailability) -> Answer:
    await presence.set_availability(desk.session, agent_id=desk.agent.id, availability=command.availability)
    return {"availability": command.availability}


async def _accept(desk: Desk, command: protocol.AcceptOffer) -> Answer:
    conversation = await offers.accept(desk.session, offer_id=command.offer_id, agent=desk.agent)
    await desk.session.refresh(conversation)
    known = await reachable.of(desk.session, conversation)
    answers = AnswersShape.of(conversation, known.way).model_dump(mode="json")
    return {
        "offer_id": str(command.offer_id),
        "conversation_id": str(conversation.id),
        "conversation": {
            **shapes.conversation(conversation),
            "capabilities": known.capabilities,
            "answers": answers,
        },
    }


async def _reject(desk: Desk, command: protocol.RejectOffer) -> Answer:
    await endings.reject(
        desk.session,
        offer_id=command.offer_id,
        agent=desk.agent,
        reason=command.reason,
        again_s=desk.context.settings.offer_again_s,
    )
    return {"offer_id": str(command.offer_id)}


async def _send(desk: Desk, command: protocol.SendMessage) -> Answer:
    given = _body(actions.NewMessage, command)
    return _sent(await actions.send_message(command.conversation_id, given, desk.session, desk.principal))


async def _resend(desk: Desk, command: protocol.ResendMessage) -> Answer:
    given = _body(sending.Resending, command)
    shown = await sending.resend(command.conversation_id, command.message_id, desk.session, desk.principal, given=given)
    return _sent(shown)


def _sent(message: MessageShape) -> Answer:
    shown = message.model_dump(mode="json")
    return {
        "message_id": shown["id"],
        "conversation_id": shown["conversation_id"],
        "seq": shown["seq"],
        "client_message_id": shown["client_message_id"],
        "status": shown["status"],
    }


async def _typing(desk: Desk, command: protocol.Typing) -> Answer:
    """The customer is shown only those who may write to them: not who helps inside, not who listens."""
    conversation = await auth.visible(desk.session, desk.principal, command.conversation_id)
    shown = {"type": "typing", "conversation_id": str(conversation.id), "on": command.on}
    theirs = [conversation.assignee_id, conversation.owner_id, *conversation.participant_ids]
    fact: dict[str, Any] = {
        "queues": [str(conversation.queue_id)] if conversation.queue_id else [],
        "agents": [str(other) for other in theirs if other],
        "frame": {**shown, "author": {"type": "agent", "id": str(desk.agent.id), "name": desk.agent.name}},
    }
    if await auth.may_speak(desk.session, desk.principal, conversation):
        fact["contact_id"], fact["channel_id"] = str(conversation.contact_id), str(conversation.channel_id)
        fact["customer"] = {**shown, "author": {"type": "agent", "name": desk.agent.name}}
    await desk.context.wakeups.publish(fact)
    return {}


async def _read(desk: Desk, command: protocol.ReadConversation) -> Answer:
    """How far the agent has read; it only grows. Their other sockets are told."""
    conversation = await auth.visible(desk.session, desk.principal, command.conversation_id)
    given = {"conversation": conversation.id, "agent": desk.agent.id, "seq": min(command.seq, conversation.last_seq)}
    seq: int = (await desk.session.execute(_READ, given)).scalar_one()
    read = {"conversation_id": str(conversation.id), "seq": seq}
    frame = {"type": "conversation.read", **read}
    fact = {"agents": [str(desk.agent.id)], "seniors": False, "but": desk.session_id, "frame": frame}
    await tell(desk.session, fact)
    return read


async def _transfer(desk: Desk, command: protocol.Transfer) -> Answer:
    given = _body(actions.Transfer, command)
    shown = await actions.transfer(
        command.conversation_id, given, desk.session, desk.catalog, desk.principal, desk.context
    )
    return {"conversation": shown.model_dump(mode="json")}


async def _classify(desk: Desk, command: protocol.Classify) -> Answer:
    given = _body(actions.Correction, command)
    shown = await actions.classify(command.conversation_id, given, desk.session, desk.catalog, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _resolve(desk: Desk, command: protocol.Resolve) -> Answer:
    given = _body(actions.Resolution, command)
    shown = await actions.resolve(command.conversation_id, given, desk.session, desk.context, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _call(desk: Desk, command: protocol.CallCustomer) -> Answer:
    given = _body(calling.NewCall, command)
    return _sent(
        await calling.call_customer(command.conversation_id, desk.session, desk.context, desk.principal, given)
    )


async def _pick_up(desk: Desk, command: protocol.PickUp) -> Answer:
    shown = await by_hand.pick_up(command.conversation_id, desk.session, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _take(desk: Desk, command: protocol.Take) -> Answer:
    shown = await by_hand.take(command.conversation_id, desk.session, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _assign(desk: Desk, command: protocol.Assign) -> Answer:
    given = _body(by_hand.AssignBody, command)
    shown = await by_hand.assign(command.conversation_id, given, desk.session, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _enter(desk: Desk, command: protocol.Enter) -> Answer:
    given = _body(walk_ins.NewConversation, command)
    asked = f"{command.id} {memory.fingerprint(command)}" if command.is_remembered() else None
    key = walk_ins.key_of(desk.agent.id, asked)
    shown = await walk_ins.enter(given, desk.session, desk.context, desk.principal, key=key)
    answer = shown.model_dump(mode="json")
    more = {name: answer.pop(name) for name in ("message_id", "answers", "progress_url")}
    return {"conversation": answer, **more}


async def _monitor(desk: Desk, command: protocol.Monitor) -> Answer:
    shown = await taking_part.monitor(command.conversation_id, desk.session, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _join(desk: Desk, command: protocol.Join) -> Answer:
    shown = await taking_part.join(command.conversation_id, desk.session, desk.principal)
    return {"conversation": shown.model_dump(mode="json")}


async def _leave(desk: Desk, command: protocol.Leave) -> Answer:
    await taking_part.leave(command.conversation_id, desk.session, desk.principal)
    return {"conversation_id": str(command.conversation_id)}


async def _whisper(desk: Desk, command: protocol.Whisper) -> Answer:
    given = _body(taking_part.Whisper, command)
    return _sent(await taking_part.whisper(command.conversation_id, given, desk.session, desk.principal))


async def _add_collaborator(desk: Desk, command: protocol.AddCollaborator) -> Answer:
    given = _body(taking_part.NewCollaborator, command)
    shown = await taking_part.add_collaborator(command.conversation_id, given, desk.session, desk.principal)
    collaborators = [each.model_dump(mode="json") for each in shown.items]
    return {"conversation_id": str(command.conversation_id), "collaborators": collaborators}


async def _remove_collaborator(desk: Desk, command: protocol.RemoveCollaborator) -> Answer:
    await taking_part.remove_collaborator(command.conversation_id, command.agent_id, desk.session, desk.principal)
    return {"conversation_id": str(command.conversation_id)}


_HANDLERS: dict[type[Any], Callable[[Desk, Any], Awaitable[Answer]]] = {
    protocol.SetAvailability: _set_availability,
    protocol.AcceptOffer: _accept,
    protocol.RejectOffer: _reject,
    protocol.SendMessage: _send,
    protocol.ResendMessage: _resend,
    protocol.Typing: _typing,
    protocol.ReadConversation: _read,
    protocol.Transfer: _transfer,
    protocol.Classify: _classify,
    protocol.Resolve: _resolve,
    protocol.CallCustomer: _call,
    protocol.PickUp: _pick_up,
    protocol.Take: _take,
    protocol.Assign: _assign,
    protocol.Enter: _enter,
    protocol.Monitor: _monitor,
    protocol.Join: _join,
    protocol.Leave: _leave,
    protocol.Whisper: _whisper,
    protocol.AddCollaborator: _add_collaborator,
    protocol.RemoveCollaborator: _remove_collaborator,
}
