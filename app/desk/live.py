"""`/desk/live`: the socket of an agent's console, from hello to goodbye."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from app import log
from app.context import Context, context_of
from app.desk import auth, commands, protocol, snapshot
from app.errors import BadFrame, Problem, Unauthorized
from app.events.hub import DeskSubscriber
from app.events.stream import Position
from app.ids import new_id
from app.models import Agent
from app.routing import presence
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

_logger = log.get("desk")
router = APIRouter()


@router.websocket("/desk/live")
async def desk_live(websocket: WebSocket) -> None:
    """One agent's console. See docs/protocol.md."""
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
    except Unauthorized as problem:
        peer.send(refusal(None, problem))
        await peer.close(CLOSE_UNAUTHORIZED, problem.detail)
    finally:
        context.hub.peers.discard(peer)


class _Session:
    """What one connected socket knows."""

    def __init__(self, context: Context, websocket: WebSocket, peer: Peer) -> None:
        self.context, self.websocket, self.peer = context, websocket, peer
        self.bad_frames = 0

    async def run(self, hello: protocol.Hello) -> None:
        """Greet, replay, then take commands until the socket ends. Raises Unauthorized."""
        context = self.context
        async with context.database.begin() as session:
            principal = await auth.authenticate(session, hello.token)
            if principal.agent is None:
                raise Unauthorized("the desk needs an agent's token")
            agent = principal.agent
            viewer = await snapshot.viewer_of(session, agent)
            session_id = await presence.open(
                session, agent.id, context.process, lease_s=context.settings.session_lease_s
            )
        subscriber = DeskSubscriber(self.peer, viewer, Position(0, 0))
        joined = context.hub.join_desk(subscriber)
        try:
            await self._greet(hello, agent, subscriber, joined, str(session_id))
            await snapshot.tell_presence(context, agent.id)
            await self._take_commands(hello.token)
        finally:
            context.hub.leave_desk(subscriber)
            with contextlib.suppress(Exception):
                async with context.database.begin() as session:
                    await presence.close(session, session_id)
                await snapshot.tell_presence(context, agent.id)

    async def _greet(
        self, hello: protocol.Hello, agent: Agent, subscriber: DeskSubscriber, joined: Position, session_id: str
    ) -> None:
        after, why_not = await resume_from(self.context.hub, hello.cursor, limit=self.context.settings.replay_limit)
        if why_not:
            self.peer.send(frame(type="resync_required", reason=why_not))
        subscriber.after = after
        async with self.context.database.begin() as session:
            shown = await snapshot.of_agent(session, agent.id)
        self.peer.send(
            frame(
                type="welcome",
                re=hello.id,
                session_id=session_id,
                heartbeat_s=self.context.settings.heartbeat_s,
                cursor=after.cursor(),
                **shown,
            )
        )
        await self.context.hub.catch_up(subscriber, joined)

    async def _take_commands(self, token: str) -> None:
        while True:
            text = await receive_text(self.websocket)
            correlation = log.correlation.set(new_id().hex)
            try:
                command = parse(protocol.COMMANDS, text)
                answer = await commands.execute(self.context, token, command)
                self.bad_frames = 0
                self.peer.send(frame(type=answer.pop("type", "ok"), re=command.id, **answer))
            except BadFrame as problem:
                self.bad_frames += 1
                self.peer.send(refusal(command_id(text), problem))
                if self.bad_frames >= BAD_FRAMES_ALLOWED:
                    await self.peer.close(CLOSE_BAD_FRAMES, "too many bad frames")
                    return
            except Unauthorized:
                raise
            except Problem as problem:
                self.peer.send(refusal(command_id(text), problem))
            except Exception as error:
                _logger.error("command failed", error=repr(error), exc_info=True)
                self.peer.send(refusal(command_id(text), Problem("something went wrong; it was logged")))
            finally:
                log.correlation.reset(correlation)
