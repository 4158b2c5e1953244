"""A small HTTP client for load: keep-alive connections, requests made before the clock starts."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

import orjson


def signed_call(path: str, secret: str, body: bytes, call_id: str, at: int) -> bytes:
    """A whole HTTP request with a Standard-Webhooks signature."""
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    mac = hmac.new(key, f"{call_id}.{at}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"webhook-id: {call_id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{base64.b64encode(mac).decode()}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One keep-alive connection; a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> int:
        """The status of the answer; its body is read and dropped."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if length:
            await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def flood(port: int, requests: Sequence[bytes], *, connections: int, seconds: float) -> tuple[int, float]:
    """Closed loop: send as fast as answers come, for `seconds` or until there is nothing left. (answered 200, seconds)"""
    opened = [await Connection.open(port) for _ in range(connections)]
    queue = iter(requests)
    until = time.perf_counter() + seconds
    answered = 0

    async def run(connection: Connection) -> None:
        nonlocal answered
        for request in queue:
            if await connection.send(request) == 200:
                answered += 1
            if time.perf_counter() > until:
                return

    started = time.perf_counter()
    await asyncio.gather(*(run(connection) for connection in opened))
    took = time.perf_counter() - started
    for connection in opened:
        connection.close()
    return answered, took


def api(base: str, token: str, path: str, body: Any = None) -> Any:
    """A call to the public API."""
    request = urllib.request.Request(
        base + path,
        data=None if body is None else orjson.dumps(body),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return orjson.loads(answer.read() or b"null")


def metric(base: str, name: str) -> float:
    """The sum over all labels of a counter in /metrics."""
    with urllib.request.urlopen(base + "/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)
