"""One connected WebSocket as a writer sees it: bounded, encoded once, written once per loop tick.

Frames go straight to the transport of uvicorn's sans-io protocol, all that piled up in a tick in one write; ten events
in one write cost about as much as one (docs/decisions/0005). Under another server the plain ASGI way is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from starlette.websockets import WebSocket, WebSocketState
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


class Frame:
    """One text frame, encoded once for however many sockets."""

    __slots__ = ("text", "wire")

    def __init__(self, text: bytes) -> None:
        self.text = text
        size = len(text)
        if size < 126:
            head = bytes((0x81, size))
        elif size < 65_536:
            head = b"\x81\x7e" + struct.pack("!H", size)
        else:
            head = b"\x81\x7f" + struct.pack("!Q", size)
        self.wire = head + text


class Peer:
    """`send` never waits. A client that lags more than `limit` bytes behind is closed with 4008 and resumes by cursor."""

    def __init__(self, websocket: WebSocket, *, limit: int) -> None:
        self._websocket, self._limit = websocket, limit
        extension = (websocket.scope.get("extensions") or {}).get(EXTENSION)
        self._protocol: SocketProtocol | None = extension["protocol"] if extension else None
        self._pending: list[Frame] = []
        self._pending_bytes = 0
        self._scheduled = False
        self._closing = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        return not self._closing and self._websocket.application_state is WebSocketState.CONNECTED

    def send(self, frame: Frame) -> None:
        if not self.open:
            return
        self._pending.append(frame)
        self._pending_bytes += len(frame.wire)
        if self._pending_bytes > self._limit:
            self.abandon(SLOW, "too slow; resume by cursor")
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def abandon(self, code: int, reason: str) -> None:
        """Close without waiting for the client; what is still queued for it is dropped."""
        if self._closing:
            return
        self._closing = True
        self._pending.clear()
        task = asyncio.get_running_loop().create_task(self._close(code, reason))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._protocol is not None:
            asyncio.get_running_loop().call_later(_ABORT_AFTER_S, self._protocol.transport.abort)

    async def close(self, code: int, reason: str) -> None:
        """Write what is queued, then close."""
        if not self._closing:
            self._flush()
            if self._writer is not None:
                await self._writer
            self._closing = True
            await self._close(code, reason)

    async def drained(self) -> None:
        """Wait until the client has taken most of what was written: for replays, which can be long."""
        if self._protocol is not None:
            self._flush()
            await self._protocol.writable.wait()
        elif self._writer is not None:
            await self._writer

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(RuntimeError, OSError, asyncio.CancelledError):
            await self._websocket.close(code, reason)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._pending or self._closing:
            return
        protocol = self._protocol
        if protocol is None:
            if self._writer is None or self._writer.done():
                self._writer = asyncio.get_running_loop().create_task(self._write_plainly())
            return
        frames, self._pending, self._pending_bytes = self._pending, [], 0
        if protocol.disconnected or protocol.close_sent or protocol.transport.is_closing():
            return
        protocol.transport.write(b"".join([frame.wire for frame in frames]))
        if protocol.transport.get_write_buffer_size() > self._limit:
            self.abandon(SLOW, "too slow; resume by cursor")

    async def _write_plainly(self) -> None:
        while self._pending and not self._closing:
            frame = self._pending.pop(0)
            self._pending_bytes -= len(frame.wire)
            try:
                await self._websocket.send_text(frame.text.decode())
            except Exception:
                self._closing = True
