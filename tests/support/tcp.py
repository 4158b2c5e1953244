"""A wire between a client and a server that a test can cut, and a peer that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server whose side of each connection is `talk`; it may stop, lie or hang up."""

    def __init__(self, talk: Talk, *, tls: ssl.SSLContext | None = None) -> None:
        self._talk, self._tls = talk, tls
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # who is at the door gets in, to be put out
        self.cut()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Every connection, at once and without a word."""
        for writer in self._open.values():
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The writer is known from the first moment: a task that is cancelled before it began closes nothing."""
        task = asyncio.create_task(self._hear(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


class Wire(Peer):
    """Carries bytes to the server on `port` and back; `change` may alter what the server says."""

    def __init__(self, port: int, change: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(self._carry)
        self._to, self._change = port, change
        self.refusing = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            return
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            ways = [
                asyncio.create_task(_copy(reader, other_writer, bytes)),
                asyncio.create_task(_copy(other_reader, writer, self._change)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            other_writer.close()
            with contextlib.suppress(ConnectionError):
                await other_writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]) -> None:
    while data := await reader.read(65_536):
        writer.write(change(data))
        await writer.drain()
