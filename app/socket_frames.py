"""What both sockets share: the first frame, bad frames, refusals, and where a cursor resumes."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.channels.text import JSONDecodeError, loads
from app.errors import BadFrame, Invalid, Problem, sentence
from app.events.hub import Hub
from app.events.stream import Position
from app.settings import Settings
from app.sockets import Frame, Peer

HELLO_WITHIN_S = 15
BAD_FRAMES_ALLOWED = 3
CLOSE_BAD_FRAMES, CLOSE_UNAUTHORIZED, CLOSE_RESTART = 4400, 4401, 1012
_NOT_OURS = frozenset({"json_invalid", "union_tag_invalid", "union_tag_not_found", "model_attributes_type"})

H = TypeVar("H", bound=BaseModel)


def frame(**fields: Any) -> Frame:
    return Frame(orjson.dumps(fields, default=str))


def refusal(re: str | int | None, problem: Problem) -> Frame:
    return frame(**{"type": "error", "re": re, "code": problem.code, "detail": problem.detail, **problem.extra})


def parse(adapter: TypeAdapter[Any], text: str) -> Any:
    """A typed frame. Raises BadFrame when it is none of the protocol's, Invalid naming the field when its type is known
    and a field is wrong."""
    try:
        return adapter.validate_python(loads(text))
    except JSONDecodeError as error:
        raise BadFrame(f"not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] in _NOT_OURS or len(first["loc"]) < 2:
            raise BadFrame(f"not a frame of the protocol: {first['msg']}") from None
        raise Invalid(sentence(first["msg"]), field=".".join(str(part) for part in first["loc"][1:])) from None


async def first_frame(websocket: WebSocket, peer: Peer, adapter: TypeAdapter[Any], hello: type[H]) -> H | None:
    """The hello; None when the client had its tries and the socket is closed. Nothing is done before it."""
    for _ in range(BAD_FRAMES_ALLOWED):
        try:
            async with asyncio.timeout(HELLO_WITHIN_S):
                text = await receive_text(websocket)
        except TimeoutError:
            await peer.close(CLOSE_BAD_FRAMES, "no hello")
            return None
        try:
            command = parse(adapter, text)
            if isinstance(command, hello):
                return command
            raise BadFrame("the first frame has to be hello")
        except Problem as problem:
            peer.send(refusal(command_id(text), problem))
    await peer.close(CLOSE_BAD_FRAMES, "too many bad frames")
    return None


async def receive_text(websocket: WebSocket) -> str:
    """The next frame as text; a binary frame is never a valid one. Raises WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text: str | None = message.get("text")
    return text if text is not None else ""


def command_id(text: str) -> str | int | None:
    """The id of a frame that may be anything, so that even a refusal can be matched."""
    try:
        parsed = loads(text)
    except JSONDecodeError:
        return None
    found = parsed.get("id") if isinstance(parsed, dict) else None
    return found if isinstance(found, str | int) else None


async def resume_from(hub: Hub, cursor: str | None, settings: Settings) -> tuple[Position, str | None]:
    """Where the client's stream goes on; and why not from its cursor when it cannot."""
    here, limit, window_s = hub.tail.position, settings.replay_limit, settings.replay_window_h * 3_600
    if cursor is None:
        return here, None
    try:
        after = Position.parse(cursor)
    except ValueError:
        return here, "the cursor is not one of ours"
    if after < here and (why_not := await hub.too_far_behind(after, limit=limit, window_s=window_s)):
        return here, why_not
    if after > here and await hub.beyond_the_end(after):
        return here, "the cursor is beyond the end of the log"
    return after, None
