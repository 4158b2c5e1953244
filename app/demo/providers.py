"""Stand-ins for the outside world: a Bot API, a partner's callback and a mail server, on this machine."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from email import message_from_bytes, policy
from typing import Any

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session


class Inbox:
    """What was delivered, by the customer's key on their channel."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    def put(self, key: str, text: str) -> None:
        self._queues[key].put_nowait(text)

    async def next(self, key: str) -> str:
        return await self._queues[key].get()


class HttpStandIn:
    """Answers the partner's callback and Telegram's sendMessage."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox, self._ids, self.port = inbox, 0, 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                answer = self._take(orjson.loads(await reader.readexactly(length)))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
                    + answer
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    def _take(self, body: dict[str, Any]) -> bytes:
        if "chat_id" in body:
            self._ids += 1
            self._inbox.put(str(body["chat_id"]), body["text"])
            return orjson.dumps({"ok": True, "result": {"message_id": self._ids, "chat": {"id": body["chat_id"]}}})
        self._inbox.put(body["data"]["conversation_ref"], body["data"]["message"]["text"])
        return b"{}"


class MailStandIn:
    """A mail server that takes everything."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox, self.port = inbox, 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop, hostname="demo"), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain",))
        for recipient in envelope.rcpt_tos:
            self._inbox.put(recipient, body.get_content() if body else "")
        return "250 OK"
