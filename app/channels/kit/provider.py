"""A provider inside the process, behind httpx's transport: it answers as described, and misbehaves as told."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable

import httpx

from app.channels.kit.description import Answer

Handler = Callable[[httpx.Request], Answer | httpx.Response | Exception]
_numbers = itertools.count(1)


def always(answer: Answer | httpx.Response | Exception) -> Handler:
    return lambda request: answer


class Provider(httpx.AsyncBaseTransport):
    """Keeps each request. `handler` answers it, or gives the exception that the caller gets to see after it was taken.

    Each has an address of its own, so that nothing an adapter remembers (a token) comes from another one.
    """

    def __init__(self, handler: Handler) -> None:
        self.base = f"https://provider-{next(_numbers)}.test"
        self.handler = handler
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme not in ("http", "https") or not request.url.host:
            raise httpx.UnsupportedProtocol("the URL has no http:// or https://")
        await request.aread()
        self.requests.append(request)
        answer = self.handler(request)
        if isinstance(answer, Exception):
            raise answer
        return answer.response(request) if isinstance(answer, Answer) else answer

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self, timeout=30)


class Endless(httpx.AsyncByteStream):
    """A body without an end; `given` counts what was taken of it."""

    def __init__(self, chunk: int = 1024) -> None:
        self.given = 0
        self._chunk = b"x" * chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.given += len(self._chunk)
            yield self._chunk

    async def aclose(self) -> None:
        pass
