"""`/widget/live`: the socket of the chat widget on a customer's site."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from app import log
from app.catalog import ChannelAccount
from app.channels.base import InboundFile, InboundMessage, Parsed
from app.context import Context, context_of
from app.conversations import feedback, queries
from app.delivery import receipts
from app.errors import BadFrame, Conflict, Forbidden, Invalid, NotFound, Problem, TooManyRequests, Unauthorized
from app.events import shapes
from app.events.stream import Position, customer_conversation
from app.feedback.survey import Answer
from app.ids import new_id
from app.intake import limits, origins, visitors
from app.intake import widget_protocol as protocol
from app.intake.following import Follower, with_links
from app.intake.webhooks import find
from app.models import Conversation
from app.socket_frames import (
    BAD_FRAMES_ALLOWED,
    CLOSE_BAD_FRAMES,
    CLOSE_RESTART,
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
CLOSE_LATER = 1013
_MERGED = "who you are was told: what was said before under another name is here too"
_logger = log.get("widget")
router = APIRouter()


@router.websocket("/widget/live")
async def widget_live(websocket: WebSocket) -> None:
    """One visitor's widget. See docs/protocol.md."""
    context = context_of(websocket)
    await websocket.accept()
    peer = Peer(websocket, limit=context.settings.socket_buffer)
    hello: protocol.Hello | None = None
    try:
        hello = await first_frame(websocket, peer, protocol.COMMANDS, protocol.Hello)
        if hello is not None:
            context.hub.peers.add(peer)
            await _Session(context, websocket, peer).run(hello)
    except WebSocketDisconnect:
        pass
    except (Unauthorized, Forbidden, NotFound, TooManyRequests) as problem:
        peer.send(refusal(hello.id if hello else None, problem))
        code = CLOSE_LATER if isinstance(problem, TooManyRequests) else CLOSE_UNAUTHORIZED
        await peer.close(code, problem.detail[:100])
    finally:
        context.hub.peers.discard(peer)


def _address(websocket: WebSocket) -> str:
    """What limits count by: an IPv4 address, or the /64 network that a subscriber has of IPv6."""
    host = websocket.client.host if websocket.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class _Session:
    """What one connected widget knows."""

    def __init__(self, context: Context, websocket: WebSocket, peer: Peer) -> None:
        self.context, self.websocket, self.peer = context, websocket, peer
        self.address = _address(websocket)
        self.follower: Follower | None = None
        self.account: ChannelAccount
        self.known: visitors.Known
        self._greeting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, hello: protocol.Hello) -> None:
        """Identify, greet, replay, then take commands. Raises Unauthorized, Forbidden, NotFound, TooManyRequests."""
        limits.require(self.context.limits.hellos.take(self.address))
        self.account = await find(self.context, hello.channel_id)
        if self.account.type != "webchat":
            raise NotFound("this channel is not a web chat")
        allowed = getattr(self.account.config, "allowed_origins", [])
        origins.require(allowed, self.websocket.headers.get("origin"), own=self.context.settings.base_url)
        try:
            await self._greet(hello)
            await self._take_commands()
        finally:
            for task in self._tasks:
                task.cancel()
            if self.follower is not None:
                self.context.hub.leave_widget(self.follower)

    # the stream

    async def _greet(self, hello: protocol.Hello) -> None:
        async with self.context.database.begin() as session:
            self.known = await visitors.identify(
                session, self.account, visitor_token=hello.visitor_token, identity=hello.identity, admit=self._admit
            )
        after, why_not = await resume_from(self.context.hub, hello.cursor, self.context.settings)
        if hello.cursor is not None and self.known.absorbed is not None:
            after, why_not = self.context.hub.tail.position, _MERGED
        async with self._greeting:
            follower, joined = self._follow(self.known.stream, after)
            if why_not:
                self.peer.send(frame(type="resync_required", reason=why_not))
            await self._welcome(hello.id, after)
        await self.context.hub.catch_up(follower, joined)

    def _admit(self) -> None:
        limits.require(self.context.limits.newcomers.take(self.address))

    def _follow(self, contact_id: UUID, after: Position) -> tuple[Follower, Position]:
        """Join the stream; of somebody who has not written yet it is empty, until any tab of theirs writes."""
        follower = Follower(
            self.peer,
            contact_id,
            self.account.id,
            after,
            link=self.context.file_link,
            ended=self._move,
            absorbed=self.known.absorbed,
        )
        if self.follower is not None:
            self.context.hub.leave_widget(self.follower)
        self.follower = follower
        return follower, self.context.hub.join_widget(follower)

    def _move(self, contact_id: UUID, at: Position, live: bool) -> None:
        """The contact was merged: from that place on the stream is `contact_id`'s. Live, the tail hands on the rest of
        its page by itself; otherwise it was a replay, and what lies between there and now is still to be read."""
        follower, joined = self._follow(contact_id, at)
        task = asyncio.create_task(self._start_anew(follower, at if live else joined), name="widget-start-anew")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_anew(self, follower: Follower, upto: Position) -> None:
        try:
            async with self._greeting:
                if follower.over:
                    return
                async with self.context.database.begin() as session:
                    self.known = await visitors.again(session, self.account, self.known)
                self.peer.send(frame(type="resync_required", reason=_MERGED))
                await self._welcome(None, follower.after)
            await self.context.hub.catch_up(follower, upto)
        except Exception as error:
            _logger.error("widget could not start anew", error=repr(error), exc_info=True)
            await self.peer.close(CLOSE_RESTART, "resume by cursor")

    async def _welcome(self, re: str | int | None, after: Position) -> None:
        contact = self.known.contact
        self.peer.send(
            frame(
                type="welcome",
                re=re,
                visitor_token=self.known.token,
                contact={"id": str(contact.id), "name": contact.name} if contact else None,
                conversation=await self._shown(),
                cursor=after.cursor(),
                heartbeat_s=self.context.settings.heartbeat_s,
            )
        )

    async def _shown(self) -> dict[str, Any] | None:
        """The conversation with its newest messages, for a widget that starts empty."""
        async with self.context.database.begin() as session:
            conversation = await visitors.conversation_of(session, self.account, self.known.sender)
            if conversation is None:
                return None
            rows = await visitors.messages_of(session, conversation, limit=HISTORY)
        return {
            **customer_conversation(shapes.conversation(conversation)),
            "read_seq": conversation.contact_read_seq,
            "progress_url": self.context.progress_link(conversation.id),
            "messages": [with_links(shapes.stored_message(row), self.context.file_link) for row in rows],
        }

    # the commands

    async def _take_commands(self) -> None:
        bad_frames = 0
        while True:
            text = await receive_text(self.websocket)
            token = log.correlation.set(new_id().hex)
            re = command_id(text)
            self.peer.begin()
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
                self.peer.end()
                log.correlation.reset(token)

    async def hello(self, command: protocol.Hello) -> dict[str, Any]:
        raise Conflict("hello was said already")

    async def ping(self, command: protocol.Ping) -> dict[str, Any]:
        return {"type": "pong"}

    async def send(self, command: protocol.SendMessage) -> dict[str, Any]:
        """Stored before it is acknowledged; the same client_message_id again gets the same answer."""
        allowed, visitor = self.context.limits, str(self.known.visitor_id)
        limits.require(allowed.visitor.take(visitor), allowed.address.take(self.address))
        files = [_decode(index, file) for index, file in enumerate(command.attachments)]
        if not command.text.strip() and not files:
            raise Invalid("a message needs a text or an attachment", field="text")
        message = InboundMessage(
            external_id=f"{visitor}:{command.client_message_id}",
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
        return {
            "message_id": str(stored.message_id),
            "conversation_id": str(stored.conversation_id),
            "seq": stored.seq,
            "client_message_id": command.client_message_id,
            **({"duplicate": True} if stored.outcome == "duplicate" else {}),
        }

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
        self._require_calm()
        try:
            answer = Answer.model_validate(command.answer)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Invalid(first["msg"], field=".".join(map(str, first["loc"])) or None) from None
        async with self.context.database.begin() as session:
            contact = await visitors.contact_of(session, self.account, self.known.sender)
            cycle_id = await visitors.receipt_of(session, contact, command.receipt_id) if contact else None
        if cycle_id is None:
            raise NotFound("there is no such receipt")
        async with self.context.database.begin() as session:
            conversation, cycle = await feedback.answer_receipt(session, cycle_id=cycle_id, answer=answer, via="widget")
        return {"receipt_id": str(cycle.id), "state": cycle.state, "conversation_status": conversation.status}

    async def _conversation(self) -> Conversation:
        """Theirs. Raises NotFound before the first message, TooManyRequests."""
        self._require_calm()
        async with self.context.database.begin() as session:
            found = await visitors.conversation_of(session, self.account, self.known.sender)
        if found is None:
            raise NotFound("there is no conversation yet; send a message first")
        return found

    def _require_calm(self) -> None:
        limits.require(self.context.limits.signals.take(str(self.known.visitor_id)))


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
