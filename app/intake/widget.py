"""`/widget/live`: the socket of the chat widget on a customer's site."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from sqlmodel import col, select

from app import log
from app.catalog import ChannelAccount
from app.channels.base import InboundFile, InboundMessage, Parsed
from app.context import Context, context_of
from app.conversations import feedback, queries
from app.delivery import receipts
from app.errors import BadFrame, Conflict, Forbidden, Invalid, NotFound, Problem, TooManyRequests, Unauthorized
from app.events import shapes
from app.events.hub import WidgetSubscriber
from app.events.stream import Position, customer_conversation
from app.feedback.survey import Answer
from app.ids import new_id
from app.intake import visitors
from app.intake import widget_protocol as protocol
from app.intake.webhooks import find
from app.models import Contact, Conversation, Message, ResolutionCycle
from app.models.words import Direction
from app.socket_frames import (
    BAD_FRAMES_ALLOWED,
    CLOSE_BAD_FRAMES,
    CLOSE_UNAUTHORIZED,
    command_id,
    first_frame,
    frame,
    parse,
    receive_text,
    refusal,
    resume_from,
)
from app.sockets import Peer

HISTORY = 50
_logger = log.get("widget")
router = APIRouter()


class OriginNotAllowed(Forbidden):
    """This site is not among the channel's allowed origins."""

    code = "origin-not-allowed"


@router.websocket("/widget/live")
async def widget_live(websocket: WebSocket) -> None:
    """One visitor's widget. See docs/protocol.md."""
    context = context_of(websocket)
    await websocket.accept()
    peer = Peer(websocket, limit=context.settings.socket_buffer)
    try:
        hello = await first_frame(websocket, peer, protocol.COMMANDS, protocol.Hello)
        if hello is not None:
            context.hub.peers.add(peer)
            await _Session(context, websocket, peer).run(hello)
    except WebSocketDisconnect:
        pass
    except (Unauthorized, Forbidden, NotFound) as problem:
        peer.send(refusal(None, problem))
        await peer.close(CLOSE_UNAUTHORIZED, problem.detail[:100])
    finally:
        context.hub.peers.discard(peer)


def require_origin(account: ChannelAccount, origin: str | None, own: str) -> None:
    """A browser on a site that is not on the channel's list is refused. Only browsers send an origin; the check keeps
    other sites from embedding the widget, it is not authentication. Our `own` demo page may. Raises Forbidden."""
    allowed: list[str] = getattr(account.config, "allowed_origins", [])
    if origin is None or not allowed or "*" in allowed:
        return
    if _origin(origin) not in {_origin(entry) for entry in (*allowed, own)}:
        raise OriginNotAllowed


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url if "://" in url else f"https://{url}")
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port


class _Session:
    """What one connected widget knows."""

    def __init__(self, context: Context, websocket: WebSocket, peer: Peer) -> None:
        self.context, self.websocket, self.peer = context, websocket, peer
        self.subscriber: WidgetSubscriber | None = None
        self.account: ChannelAccount
        self.known: visitors.Known
        self.contact: Contact | None = None

    async def run(self, hello: protocol.Hello) -> None:
        """Identify, greet, replay, then take commands. Raises Unauthorized, Forbidden, NotFound."""
        self.account = await find(self.context, hello.channel_id)
        if self.account.type != "webchat":
            raise NotFound("this channel is not a web chat")
        require_origin(self.account, self.websocket.headers.get("origin"), self.context.settings.base_url)
        try:
            await self._greet(hello)
            await self._take_commands()
        finally:
            if self.subscriber is not None:
                self.context.hub.leave_widget(self.subscriber)

    async def _greet(self, hello: protocol.Hello) -> None:
        async with self.context.database.begin() as session:
            self.known = await visitors.identify(
                session, self.account, visitor_token=hello.visitor_token, identity=hello.identity
            )
            self.contact = await visitors.contact_of(session, self.account, self.known.sender)
        after, why_not = await resume_from(self.context.hub, hello.cursor, limit=self.context.settings.replay_limit)
        if why_not:
            self.peer.send(frame(type="resync_required", reason=why_not))
        joined = self._follow(after)
        conversation = await self._shown()
        self.peer.send(
            frame(
                type="welcome",
                re=hello.id,
                visitor_token=self.known.token,
                contact={"id": str(self.contact.id), "name": self.contact.name} if self.contact else None,
                conversation=conversation,
                cursor=after.cursor(),
                heartbeat_s=self.context.settings.heartbeat_s,
            )
        )
        if self.subscriber is not None:
            await self.context.hub.catch_up(self.subscriber, joined)

    def _follow(self, after: Position) -> Position:
        """Join the stream as soon as there is a contact to follow."""
        if self.contact is None:
            return self.context.hub.tail.position
        self.subscriber = WidgetSubscriber(self.peer, self.contact.id, after)
        return self.context.hub.join_widget(self.subscriber)

    async def _shown(self) -> dict[str, Any] | None:
        """The conversation with its newest messages, for a widget that starts empty."""
        if self.contact is None:
            return None
        async with self.context.database.begin() as session:
            conversation = await visitors.conversation_of(session, self.account, self.contact)
            if conversation is None:
                return None
            rows = await session.exec(
                select(Message)
                .where(col(Message.conversation_id) == conversation.id, col(Message.direction) != Direction.NOTE)
                .order_by(col(Message.seq).desc())
                .limit(HISTORY)
            )
            messages = [shapes.stored_message(row) for row in reversed(rows.all())]
        shown = customer_conversation(shapes.conversation(conversation))
        return {**shown, "progress_url": self.context.progress_link(conversation.id), "messages": messages}

    async def _take_commands(self) -> None:
        bad_frames = 0
        while True:
            text = await receive_text(self.websocket)
            token = log.correlation.set(new_id().hex)
            re = command_id(text)
            try:
                command = parse(protocol.COMMANDS, text)
                re = re if re is not None else getattr(command, "client_message_id", None)
                answer = await _HANDLERS[type(command)](self, command)
                bad_frames = 0
                self.peer.send(frame(type=answer.pop("type", "ok"), re=re, **answer))
            except BadFrame as problem:
                bad_frames += 1
                self.peer.send(refusal(re, problem))
                if bad_frames >= BAD_FRAMES_ALLOWED:
                    await self.peer.close(CLOSE_BAD_FRAMES, "too many bad frames")
                    return
            except Problem as problem:
                self.peer.send(refusal(re, problem))
            except Exception as error:
                _logger.error("command failed", error=repr(error), exc_info=True)
                self.peer.send(refusal(re, Problem("something went wrong; it was logged")))
            finally:
                log.correlation.reset(token)

    async def hello(self, command: protocol.Hello) -> dict[str, Any]:
        raise Conflict("hello was said already")

    async def ping(self, command: protocol.Ping) -> dict[str, Any]:
        return {"type": "pong"}

    async def send(self, command: protocol.SendMessage) -> dict[str, Any]:
        """Stored before it is acknowledged; the same client_message_id again gets the same answer."""
        self._require_rate()
        files = [_decode(index, file) for index, file in enumerate(command.attachments)]
        if not command.text.strip() and not files:
            raise Invalid("a message needs a text or an attachment", field="text")
        before = self.context.hub.tail.position
        message = InboundMessage(
            external_id=f"{self.known.visitor.id}:{command.client_message_id}",
            sender=self.known.sender,
            text=command.text.replace("\x00", ""),
            files=files,
            client_message_id=command.client_message_id,
        )
        [stored] = await self.context.intake.store(
            self.account,
            transport="widget",
            headers={},
            body=orjson.dumps(command.model_dump(mode="json", exclude={"attachments"})),
            parsed=Parsed(messages=[message]),
        )
        if self.subscriber is None:
            await self._meet(before)
        return {
            "message_id": str(stored.message_id),
            "conversation_id": str(stored.conversation_id),
            "seq": stored.seq,
            "client_message_id": command.client_message_id,
        }

    async def _meet(self, before: Position) -> None:
        """After the first message there is a contact: follow their stream from before that message."""
        async with self.context.database.begin() as session:
            self.contact = await visitors.contact_of(session, self.account, self.known.sender)
        joined = self._follow(before)
        if self.subscriber is not None:
            await self.context.hub.catch_up(self.subscriber, joined)

    def _require_rate(self) -> None:
        address = self.websocket.client.host if self.websocket.client else ""
        limits = self.context.limits
        wait = max(limits.visitor.take(str(self.known.visitor.id)), limits.address.take(address))
        if wait:
            raise TooManyRequests(f"slow down; try again in {wait:.1f} s", retry_after=round(wait, 1))

    async def typing(self, command: protocol.Typing) -> dict[str, Any]:
        conversation = await self._conversation()
        shown = {"type": "typing", "conversation_id": str(conversation.id), "on": command.on}
        await self.context.wakeups.publish(
            {
                "queues": [str(conversation.queue_id)] if conversation.queue_id else [],
                "agents": [str(other) for other in (conversation.assignee_id, conversation.owner_id) if other],
                "frame": {**shown, "author": {"type": "contact", "name": self.known.sender.name}},
            }
        )
        return {}

    async def read(self, command: protocol.ReadConversation) -> dict[str, Any]:
        conversation = await self._conversation()
        async with self.context.database.begin() as session:
            held = await queries.lock(session, conversation.id)
            seq = max(held.contact_read_seq, min(command.seq, held.last_seq))
            held.contact_read_seq = seq
            await receipts.mark_read(session, held, seq)
        return {"seq": seq}

    async def submit(self, command: protocol.SubmitFeedback) -> dict[str, Any]:
        """The customer's word on a receipt of their own."""
        try:
            answer = Answer.model_validate(command.answer)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Invalid(first["msg"], field=".".join(map(str, first["loc"])) or None) from None
        cycle_id = await self._cycle(command.receipt_id)
        async with self.context.database.begin() as session:
            conversation, cycle = await feedback.answer_receipt(session, cycle_id=cycle_id, answer=answer, via="widget")
        return {"receipt_id": str(cycle.id), "state": cycle.state, "conversation_status": conversation.status}

    async def _conversation(self) -> Conversation:
        """Theirs. Raises NotFound before the first message."""
        async with self.context.database.begin() as session:
            found = await visitors.conversation_of(session, self.account, self.contact) if self.contact else None
        if found is None:
            raise NotFound("there is no conversation yet; send a message first")
        return found

    async def _cycle(self, receipt_id: UUID | None) -> UUID:
        """The receipt they mean, if it is theirs; without an id the newest one."""
        if self.contact is None:
            raise NotFound("there is no receipt yet")
        async with self.context.database.begin() as session:
            query = (
                select(ResolutionCycle.id)
                .join(Conversation, col(Conversation.id) == col(ResolutionCycle.conversation_id))
                .where(col(Conversation.contact_id) == self.contact.id)
                .order_by(col(ResolutionCycle.id).desc())
                .limit(1)
            )
            if receipt_id is not None:
                query = query.where(col(ResolutionCycle.id) == receipt_id)
            found = (await session.exec(query)).one_or_none()
        if found is None:
            raise NotFound("there is no such receipt")
        return found


def _decode(index: int, file: protocol.UploadedFile) -> InboundFile:
    try:
        data = base64.b64decode(file.data, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("not base64", field=f"attachments.{index}.data") from None
    if len(data) > protocol.FILE_BYTES:
        raise Invalid(f"larger than {protocol.FILE_BYTES} bytes", field=f"attachments.{index}.data")
    return InboundFile(name=file.name, media_type=file.media_type, data=data)


_HANDLERS: dict[type[Any], Callable[[_Session, Any], Awaitable[dict[str, Any]]]] = {
    protocol.Hello: _Session.hello,
    protocol.Ping: _Session.ping,
    protocol.SendMessage: _Session.send,
    protocol.Typing: _Session.typing,
    protocol.ReadConversation: _Session.read,
    protocol.SubmitFeedback: _Session.submit,
}
