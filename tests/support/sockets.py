"""Clients of the two sockets: send a command, await a frame."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.desk import frames as desk_frames
from app.intake import widget_protocol

Frame = dict[str, Any]


class NotInTheProtocol(AssertionError):
    """The server sent a frame that its documents do not know."""


def checked(adapter: TypeAdapter[Any], text: str | bytes) -> Frame:
    """The frame, as the typed protocol has it. Raises NotInTheProtocol."""
    frame: Frame = orjson.loads(text)
    try:
        adapter.validate_python(frame)
    except ValidationError as error:
        raise NotInTheProtocol(f"{error}\nin {str(text)[:2_000]}") from None
    return frame


class Refused(Exception):
    """An `error` frame answered a command."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(f"{frame['code']}: {frame.get('detail')}")
        self.frame, self.code = frame, frame["code"]


class Client:
    """Keeps every frame it got, in order, each held against the typed protocol; `expect` looks at those not yet
    expected, then waits. A frame that is not in the protocol fails whatever waits next, and the closing."""

    path = ""
    protocol: TypeAdapter[Any]

    def __init__(self, base: str, **hello: Any) -> None:
        self.base, self.hello = base, hello
        self.frames: list[Frame] = []
        self.welcome: Frame = {}
        self.closed: int | None = None
        self._wrong: NotInTheProtocol | None = None
        self._seen: set[int] = set()
        self._arrived = asyncio.Condition()
        self._ids = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, *, origin: Any = None) -> Self:
        await self.connect(origin=origin)
        try:
            self.welcome = await self.expect("welcome")
        except BaseException:
            await self.close()
            raise
        return self

    @asynccontextmanager
    async def knocking(self, *, origin: Any = None) -> AsyncIterator[Self]:
        """For who may not be welcome. Ours is closed with the block, whatever the server does."""
        await self.connect(origin=origin)
        try:
            yield self
        finally:
            await self.close()

    async def connect(self, *, origin: Any = None) -> None:
        """Say hello, and no more: whoever calls this closes it, too."""
        self._socket = await connect(self.base + self.path, max_size=None, compression=None, origin=origin)
        self._reader = asyncio.create_task(self._read())
        await self.send({"type": "hello", **self.hello})

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        assert self._socket is not None
        await self._socket.close()
        assert self._reader is not None
        await self._reader
        self._require_sound()

    async def abort(self) -> None:
        """The network is gone: no goodbye."""
        assert self._socket is not None
        assert self._reader is not None
        self._socket.transport.abort()
        await self._reader

    def _require_sound(self) -> None:
        if self._wrong is not None:
            raise self._wrong

    async def send(self, frame: Any) -> None:
        assert self._socket is not None
        await self._socket.send(frame if isinstance(frame, str) else orjson.dumps(frame).decode())

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for text in self._socket:
                async with self._arrived:
                    self._keep(text)
                    self._arrived.notify_all()
        except ConnectionClosed:
            pass
        async with self._arrived:
            self.closed = self._socket.close_code
            self._arrived.notify_all()

    def _keep(self, text: str | bytes) -> None:
        try:
            self.frames.append(checked(self.protocol, text))
        except NotInTheProtocol as wrong:
            self._wrong = wrong
            self.frames.append(orjson.loads(text))

    async def expect(
        self, type: str, where: Callable[[Frame], bool] = lambda frame: True, *, within: float = 20
    ) -> Frame:
        """The first frame of this type that holds and was not expected before."""
        try:
            async with asyncio.timeout(within), self._arrived:
                while True:
                    self._require_sound()
                    for number, frame in enumerate(self.frames):
                        if number not in self._seen and frame["type"] == type and where(frame):
                            self._seen.add(number)
                            return frame
                    if self.closed is not None:
                        raise AssertionError(f"closed with {self.closed} while waiting for {type}")
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"no {type} within {within} s; got {[f['type'] for f in self.frames][-30:]}") from None

    async def wait_closed(self, within: float = 20) -> int | None:
        async with asyncio.timeout(within), self._arrived:
            while self.closed is None:
                await self._arrived.wait()
        await self.close()
        return self.closed

    async def command(self, type: str, **fields: Any) -> Frame:
        """Send it and return the `ok` frame. Raises Refused."""
        number = f"c{next(self._ids)}"
        await self.send({"type": type, "id": number, **fields})
        answer = await self._answer(number)
        if answer["type"] == "error":
            raise Refused(answer)
        return answer

    async def _answer(self, number: str) -> Frame:
        async with asyncio.timeout(20), self._arrived:
            while True:
                self._require_sound()
                for place, frame in enumerate(self.frames):
                    if frame.get("re") == number:
                        self._seen.add(place)
                        return frame
                if self.closed is not None:
                    raise AssertionError(f"closed with {self.closed} before the answer")
                await self._arrived.wait()

    @property
    def events(self) -> list[Frame]:
        return [frame for frame in self.frames if "cursor" in frame and frame["type"] != "welcome"]

    @property
    def cursor(self) -> str:
        """Where to resume: the newest event, else the welcome."""
        cursor: str = self.events[-1]["cursor"] if self.events else self.welcome["cursor"]
        return cursor


class Desk(Client):
    path = "/desk/live"
    protocol = desk_frames.FRAMES

    def __init__(self, base: str, token: str, **hello: Any) -> None:
        super().__init__(base, token=token, **hello)

    async def online(self) -> Self:
        await self.command("availability.set", availability="online")
        return self

    async def accept_next(self) -> Frame:
        """Take the next offer; the offer frame."""
        offer = await self.expect("offer.created")
        await self.command("offer.accept", offer_id=offer["offer_id"])
        return offer


class Widget(Client):
    path = "/widget/live"
    protocol = widget_protocol.FRAMES

    def __init__(self, base: str, channel_id: str, **hello: Any) -> None:
        super().__init__(base, channel_id=channel_id, **hello)
