"""`/widget/live`: the socket of the chat widget on a customer's site."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from app import log
from app.catalog import ChannelAccount
from app.context import Context, context_of
from app.errors import BadFrame, Forbidden, NotFound, Problem, TooManyRequests, Unauthorized
from app.events import shapes
from app.events.stream import Position, customer_conversation
from app.ids import new_id
from app.intake import limits, origins, visitors
from app.intake import widget_protocol as protocol
from app.intake.following import Follower, with_links
from app.intake.webhooks import find
from app.intake.widget_commands import Widget
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


class _Session:
    """What one connected widget knows."""

    def __init__(self, context: Context, websocket: WebSocket, peer: Peer) -> None:
        self.context, self.websocket, self.peer = context, websocket, peer
        self.address = limits.address_of(websocket.client.host if websocket.client else "")
        self.follower: Follower | None = None
        self.widget: Widget
        self._greeting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, hello: protocol.Hello) -> None:
        """Identify, greet, replay, then take commands. Raises Unauthorized, Forbidden, NotFound, TooManyRequests."""
        limits.require(self.context.limits.hellos.take(self.address))
        account = await find(self.context, hello.channel_id)
        if account.type != "webchat":
            raise NotFound("this channel is not a web chat")
        allowed = getattr(account.config, "allowed_origins", [])
        origins.require(allowed, self.websocket.headers.get("origin"), own=self.context.settings.base_url)
        try:
            await self._greet(account, hello)
            await self._take_commands()
        finally:
            for task in self._tasks:
                task.cancel()
            if self.follower is not None:
                self.context.hub.leave_widget(self.follower)

    # the stream

    async def _greet(self, account: ChannelAccount, hello: protocol.Hello) -> None:
        async with self.context.database.begin() as session:
            known = await visitors.identify(
                session, account, visitor_token=hello.visitor_token, identity=hello.identity, admit=self._admit
            )
        self.widget = Widget(self.context, account, known, self.address)
        after, why_not = await resume_from(self.context.hub, hello.cursor, self.context.settings)
        if hello.cursor is not None and known.absorbed is not None:
            after, why_not = self.context.hub.tail.position, _MERGED
        async with self._greeting:
            follower, joined = self._follow(known.stream, after)
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
            self.widget.account.id,
            after,
            link=self.context.file_link,
            ended=self._move,
            absorbed=self.widget.known.absorbed,
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
                    self.widget.known = await visitors.again(session, self.widget.account, self.widget.known)
                self.peer.send(frame(type="resync_required", reason=_MERGED))
                await self._welcome(None, follower.after)
            await self.context.hub.catch_up(follower, upto)
        except Exception as error:
            _logger.error("widget could not start anew", error=repr(error), exc_info=True)
            await self.peer.close(CLOSE_RESTART, "resume by cursor")

    async def _welcome(self, re: str | int | None, after: Position) -> None:
        known = self.widget.known
        contact = known.contact
        self.peer.send(
            frame(
                type="welcome",
                re=re,
                visitor_token=known.token,
                contact={"id": str(contact.id), "name": contact.name} if contact else None,
                conversation=await self._shown(),
                cursor=after.cursor(),
                heartbeat_s=self.context.settings.heartbeat_s,
            )
        )

    async def _shown(self) -> dict[str, Any] | None:
        """The conversation with its newest messages, for a widget that starts empty."""
        async with self.context.database.begin() as session:
            conversation = await visitors.conversation_of(session, self.widget.account, self.widget.known.sender)
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
                answer = await self.widget.answer(command)
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
