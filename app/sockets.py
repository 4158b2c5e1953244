"""One connected WebSocket as a writer sees it: bounded, encoded once, written once per loop tick.

Frames go straight to the transport of uvicorn's sans-io protocol, all that piled up in a tick in one write; ten events
in one write cost about as much as one (docs/decisions/0005). Under another server the plain ASGI way is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from typing import Any, cast

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "roundtrip.socket"
SLOW = 4008
_ABORT_AFTER_S = 10


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol, which shows itself to the application."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][EXTENSION] = {"protocol": self}

    def settle(self) -> None:
        """What the handshake needed goes: an idle socket is kept for hours."""
        scope = cast(dict[str, Any], self.scope)
        for name in ("headers", "raw_path", "query_string", "subprotocols", "state"):
            scope.pop(name, None)
        del self.request, self.response

    def keepalive_timeout(self) -> None:
        """Nobody answers. What is still to be written to them never will be, and must not hold the end up."""
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class Frame:
    """One text frame, encoded once for however many sockets."""

    __slots__ = ("_head", "wire")

    def __init__(self, text: bytes) -> None:
        size = len(text)
        if size < 126:
            head = bytes((0x81, size))
        elif size < 65_536:
            head = b"\x81\x7e" + struct.pack("!H", size)
        else:
            head = b"\x81\x7f" + struct.pack("!Q", size)
        self._head = len(head)
        self.wire = head + text

    @property
    def text(self) -> bytes:
        return self.wire[self._head :]


class Bundle:
    """Frames that several sockets get in one write, joined once."""

    __slots__ = ("frames", "wire")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.wire = frames[0].wire if len(frames) == 1 else b"".join([frame.wire for frame in frames])


class Peer:
    """`send` never waits. A client that lags more than `limit` bytes behind is closed with 4008 and resumes by cursor."""

    __slots__ = ("_closing", "_in_hand", "_limit", "_pending", "_protocol", "_settled", "_websocket", "_writer")

    def __init__(self, websocket: WebSocket, *, limit: int) -> None:
        self._websocket, self._limit = websocket, limit
        extension = (websocket.scope.get("extensions") or {}).get(EXTENSION)
        self._protocol: SocketProtocol | None = extension["protocol"] if extension else None
        self._pending: list[Frame] | None = None
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self._in_hand = 0
        self._settled: asyncio.Future[None] | None = None

    @property
    def open(self) -> bool:
        if self._closing:
            return False
        protocol = self._protocol
        return protocol is None or not (protocol.close_sent or protocol.transport.is_closing())

    def settle(self) -> None:
        """The greeting is over; nobody asks for the handshake's headers any more."""
        if self._protocol is not None:
            self._protocol.settle()

    def send(self, frame: Frame) -> None:
        """Written with everything else of this tick."""
        if self._pending is not None:
            self._pending.append(frame)
        elif self.open:
            self._pending = [frame]
            asyncio.get_running_loop().call_soon(self._flush)

    def write(self, bundle: Bundle) -> None:
        """Now, in one write, after what is waiting for the end of the tick."""
        if self._pending is not None:
            self._pending.extend(bundle.frames)
        elif self._protocol is not None:
            self._write(bundle.wire)
        else:
            for frame in bundle.frames:
                self.send(frame)

    def abandon(self, code: int, reason: str) -> None:
        """Close without waiting for the client; what is still queued for it is dropped."""
        if self._closing:
            return
        self._closing = True
        self._pending = None
        task = asyncio.get_running_loop().create_task(self._close(code, reason))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._protocol is not None:
            asyncio.get_running_loop().call_later(_ABORT_AFTER_S, self._protocol.transport.abort)

    async def close(self, code: int, reason: str, *, patience_s: float = 0) -> None:
        """Wait so long for the answer to a command in hand, write what is queued, then close."""
        if self._in_hand and patience_s:
            await self._until_settled(patience_s)
        if not self._closing:
            self._flush()
            if self._writer is not None:
                await self._writer
            self._closing = True
            await self._close(code, reason)

    def begin(self) -> None:
        """A command is in hand: a close that has patience waits for its answer."""
        self._in_hand += 1

    def end(self) -> None:
        self._in_hand -= 1
        if not self._in_hand and self._settled is not None:
            settled, self._settled = self._settled, None
            if not settled.done():
                settled.set_result(None)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written: for replays, which can be long."""
        if self._protocol is not None:
            self._flush()
            await self._protocol.writable.wait()
        elif self._writer is not None:
            await self._writer

    async def _until_settled(self, patience_s: float) -> None:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._settled], timeout=patience_s)

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(RuntimeError, OSError, asyncio.CancelledError):
            await self._websocket.close(code, reason)

    def _flush(self) -> None:
        frames = self._pending
        if not frames or self._closing:
            return
        if self._protocol is not None:
            self._pending = None
            self._write(frames[0].wire if len(frames) == 1 else b"".join([frame.wire for frame in frames]))
        elif self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_plainly())

    def _write(self, wire: bytes) -> None:
        """What was not taken since earlier ticks counts as lag; how much comes in this one is not the client's fault."""
        protocol = self._protocol
        if protocol is None or self._closing or protocol.close_sent:
            return
        transport = protocol.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._limit:
            self.abandon(SLOW, "too slow; resume by cursor")
        else:
            transport.write(wire)

    async def _write_plainly(self) -> None:
        while self._pending and not self._closing:
            frame = self._pending.pop(0)
            try:
                await self._websocket.send_text(frame.text.decode())
            except Exception:
                self._closing = True
        self._pending = None
