"""Small local servers that stand in for the outside world at its wire, check what we send, and misbehave on request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session

Answer = tuple[int, dict[str, str], bytes]


class Standing(ABC):
    """A server that stands for as long as an `async with`."""

    @abstractmethod
    async def start(self) -> Self: ...

    @abstractmethod
    async def stop(self) -> None: ...

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class HttpServer(Standing):
    """Keeps each request; answers by `answer`, which a test may replace."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.answer: Callable[[str, dict[str, str], bytes], Awaitable[Answer]] = self.accept

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accept(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return 200, {"content-type": "application/json"}, b"{}"

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Hangs up on everybody, and returns when it has."""
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0)  # who is at the door gets in, to be put out
        serving = list(self._serving)
        for task, writer in list(self._serving.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The writer is known from the first moment: a task that is cancelled before it began closes nothing."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = lines[0].split(" ")[1]
                status, more, answer = await self.answer(path, headers, body)
                self.requests.append((path, headers, body))
                self.arrived.set()
                rows = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\n{rows}\r\n".encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # cancelled by `stop`, as the last thing it does
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def expect(self, where: Callable[[dict[str, Any]], bool], *, within: float = 20) -> dict[str, Any]:
        """The first request whose JSON body holds."""
        async with asyncio.timeout(within):
            while True:
                for _, _, body in self.requests:
                    found: dict[str, Any] = orjson.loads(body or b"{}")
                    if where(found):
                        return found
                self.arrived.clear()
                await self.arrived.wait()


class PartnerSystem(HttpServer):
    """A partner: signs its calls to us and checks the signature on ours."""

    def __init__(self) -> None:
        super().__init__()
        self.key = secrets.token_bytes(24)
        self.secret = "whsec_" + base64.b64encode(self.key).decode()
        self.answer = self.check

    async def check(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        wanted = self.sign(headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        genuine = any(hmac.compare_digest(wanted, given) for given in headers["webhook-signature"].split(" "))
        assert genuine, "our call to the partner is not signed with its secret"
        return await self.accept(path, headers, body)

    def sign(self, call_id: str, at: int, body: bytes) -> str:
        mac = hmac.new(self.key, f"{call_id}.{at}.".encode() + body, hashlib.sha256).digest()
        return "v1," + base64.b64encode(mac).decode()

    def headers(self, call_id: str, body: bytes, *, at: int | None = None) -> dict[str, str]:
        at = at or int(time.time())
        return {
            "content-type": "application/json",
            "webhook-id": call_id,
            "webhook-timestamp": str(at),
            "webhook-signature": self.sign(call_id, at, body),
        }

    async def post(self, client: httpx.AsyncClient, url: str, item: dict[str, Any]) -> httpx.Response:
        body = orjson.dumps(item)
        return await client.post(url, content=body, headers=self.headers(str(item.get("id", "x")), body))


class TelegramServer(HttpServer):
    """The Bot API as far as we call it."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.sent
        self._ids = 1000

    async def sent(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self._ids += 1
        call = orjson.loads(body)
        result = {
            "message_id": self._ids,
            "chat": {"id": call["chat_id"]},
            "date": int(time.time()),
            "text": call.get("text"),
        }
        return 200, {"content-type": "application/json"}, orjson.dumps({"ok": True, "result": result})


class MailSink(Standing):
    """A real SMTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self._arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._sessions: list[SMTP] = []
        self.port = 0

    async def start(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(self._session, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _session(self) -> SMTP:
        self._sessions.append(SMTP(self, loop=asyncio.get_running_loop(), hostname="sink.example"))
        return self._sessions[-1]

    async def stop(self) -> None:
        """Hangs up on whoever is still there."""
        assert self._server is not None
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.close()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        async with self._arrived:
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self._arrived.notify_all()
        return "250 OK"

    async def expect(self, where: Callable[[EmailMessage], bool], *, within: float = 20) -> EmailMessage:
        async with asyncio.timeout(within), self._arrived:
            while True:
                for mail in self.mails:
                    if where(mail):
                        return mail
                await self._arrived.wait()
