"""`/desk/live`: the socket of an agent's console, from hello to goodbye."""

from __future__ import annotations

import contextlib
from uuid import UUID

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from app import log
from app.context import Context, context_of
from app.desk import auth, commands, protocol, snapshot
from app.errors import BadFrame, Problem, Unauthorized
from app.events.hub import DeskSubscriber
from app.events.stream import START, Position, Viewer
from app.ids import new_id
from app.routing import presence
from app.routing.availability import tell_presence
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

_logger = log.get("desk")
router = APIRouter()


@router.websocket("/desk/live")
async def desk_live(websocket: WebSocket) -> None:
    """One agent's console. See docs/protocol.md."""
    context = context_of(websocket)
    await websocket.accept()
    peer = Peer(websocket, limit=context.settings.socket_buffer)
    try:
        session = _Session(context, websocket, peer)
        if await session.enter():
            await session.run()
    except WebSocketDisconnect:
        pass
    except Unauthorized as problem:
        peer.send(refusal(None, problem))
        await peer.close(CLOSE_UNAUTHORIZED, problem.detail)
    finally:
        context.hub.peers.discard(peer)


class _Session:
    """What one connected socket knows. There may be thousands: what greeting took is let go of before the wait for
    commands."""

    __slots__ = (
        "agent_id",
        "bad_frames",
        "context",
        "joined",
        "peer",
        "session_id",
        "subscriber",
        "token",
        "websocket",
    )
    agent_id: UUID
    session_id: UUID
    subscriber: DeskSubscriber
    joined: Position
    token: str

    def __init__(self, context: Context, websocket: WebSocket, peer: Peer) -> None:
        self.context, self.websocket, self.peer = context, websocket, peer
        self.bad_frames = 0

    async def enter(self) -> bool:
        """Let the agent in, with whom the stream is joined and whose presence begins; False when there was no hello.

        Raises Unauthorized.
        """
        context = self.context
        hello = await first_frame(self.websocket, self.peer, protocol.COMMANDS, protocol.Hello)
        if hello is None:
            return False
        context.hub.peers.add(self.peer)
        self.token = hello.token
        async with context.database.begin() as session:
            principal = await auth.authenticate(session, hello.token)
            if principal.agent is None:
                raise Unauthorized("the desk needs an agent's token")
            self.agent_id = principal.agent.id
            is_news = not await presence.is_present(session, self.agent_id)
            self.session_id = await presence.open(
                session, self.agent_id, context.process, lease_s=context.settings.session_lease_s
            )
            if is_news:
                await tell_presence(session, self.agent_id)
        viewer = Viewer(self.agent_id, principal.role, principal.queues)
        self.subscriber = DeskSubscriber(
            self.peer, viewer, START, session_id=str(self.session_id), token_id=principal.token_id
        )
        self.joined = context.hub.join_desk(self.subscriber)
        try:
            await self._greet(hello)
        except BaseException:
            await self._leave()
            raise
        return True

    async def run(self) -> None:
        """Replay, then take commands until the socket ends. Raises Unauthorized."""
        self.peer.settle()
        try:
            await self.context.hub.catch_up(self.subscriber, self.joined)
            await self._take_commands()
        finally:
            await self._leave()

    async def _greet(self, hello: protocol.Hello) -> None:
        """The stream is joined already: what happens from then on is either in this snapshot or comes after it."""
        context = self.context
        after, why_not = await resume_from(context.hub, hello.cursor, context.settings)
        if why_not:
            self.peer.send(frame(type="resync_required", reason=why_not))
        self.subscriber.after = after
        async with context.database.begin() as session:
            viewer, shown = await snapshot.of_agent(session, self.agent_id)
        context.hub.change_viewer(self.agent_id, viewer)
        welcome = frame(
            type="welcome",
            re=hello.id,
            session_id=str(self.session_id),
            heartbeat_s=context.settings.heartbeat_s,
            cursor=after.cursor(),
            **shown,
        )
        self.peer.send(welcome)

    async def _leave(self) -> None:
        self.context.hub.leave_desk(self.subscriber)
        with contextlib.suppress(Exception):
            async with self.context.database.begin() as session:
                await presence.close(session, self.session_id)
                if not await presence.is_present(session, self.agent_id):
                    await tell_presence(session, self.agent_id)

    async def _take_commands(self) -> None:
        while True:
            text = await receive_text(self.websocket)
            self.peer.begin()
            try:
                await self._take(text)
            finally:
                self.peer.end()
            if self.bad_frames >= BAD_FRAMES_ALLOWED:
                await self.peer.close(CLOSE_BAD_FRAMES, "too many bad frames")
                return
            if self.context.draining:
                await self.peer.close(CLOSE_RESTART, "restarting")
                return

    async def _take(self, text: str) -> None:
        """One command and its answer. Raises Unauthorized."""
        correlation = log.correlation.set(new_id().hex)
        try:
            command = parse(protocol.COMMANDS, text)
            answer = await commands.execute(self.context, self.token, command, session_id=str(self.session_id))
            self.bad_frames = 0
            self.peer.send(frame(type=answer.pop("type", "ok"), re=command.id, **answer))
        except BadFrame as problem:
            self.bad_frames += 1
            self.peer.send(refusal(command_id(text), problem))
        except Unauthorized:
            raise
        except Problem as problem:
            self.peer.send(refusal(command_id(text), problem))
        except Exception as error:
            _logger.error("command failed", error=repr(error), exc_info=True)
            self.peer.send(refusal(command_id(text), Problem("something went wrong; it was logged")))
        finally:
            log.correlation.reset(correlation)
