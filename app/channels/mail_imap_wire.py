"""The wire of an IMAP connection: getting in, commands and their answers.

Every wait has a time limit, every line and every literal a size limit, and a lost connection ends whatever waits for it.
docs/decisions/0020 says why this is no library.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from app.channels import mail_imap_tokens as wire
from app.channels.mail_imap_server import ImapError, ImapRefused, ImapServer, ImapSetup
from app.channels.text import clean

LINE_LIMIT = 4_000_000
CODE = re.compile(rb"\[([A-Z-]+)(?: ([^\]]*))?\]", re.IGNORECASE)
_TAGGED = re.compile(rb"(A\d+) (OK|NO|BAD)(?: (.*))?$", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(rb"\{(\d{1,12})\+?\}\r?\n$")


class Declined(ImapError):
    """NO or BAD; `code` is the word in brackets, if any."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class Connection:
    """Use it as a context manager; nothing else closes it. Every verb raises ImapError."""

    def __init__(self, server: ImapServer, *, timeout_s: float = 30, literal_limit: int = 60_000_000) -> None:
        self._server, self._timeout_s, self._literal_limit = server, timeout_s, literal_limit
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._count = 0
        self.capabilities: frozenset[str] = frozenset()
        self.news = False  # the server has told of new mails, in passing, since whoever reads last set it

    async def __aenter__(self) -> Self:
        try:
            async with self.patience():
                await self._connect()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._writer is not None:
            with contextlib.suppress(ImapError):
                await self.command(b"LOGOUT", timeout_s=2)
        await self._close()

    # Getting in

    async def _connect(self) -> None:
        server = self._server
        context = ssl.create_default_context() if server.tls else None
        self._reader, self._writer = await asyncio.open_connection(
            server.host, server.port, ssl=context, limit=LINE_LIMIT
        )
        greeting = b"".join(await self.line())
        if not greeting.upper().startswith((b"* OK", b"* PREAUTH")):
            raise ImapError(f"the server's greeting is none: {said(greeting)}")
        await self._ask_capabilities()
        if server.start_tls is not False and not server.tls:
            await self._start_tls(needed=bool(server.start_tls))
        if not greeting.upper().startswith(b"* PREAUTH"):
            await self._login()
            await self._ask_capabilities()

    async def _ask_capabilities(self) -> None:
        lines, _ = await self.command(b"CAPABILITY")
        words = [word for line in lines if line[0].upper().startswith(b"* CAPABILITY") for word in line[0].split()[2:]]
        self.capabilities = frozenset(word.decode("ascii", "replace").upper() for word in words)

    async def _start_tls(self, *, needed: bool) -> None:
        """What came in the clear before is forgotten; more of it after the answer is an attack."""
        assert self._writer is not None
        assert self._reader is not None
        if "STARTTLS" not in self.capabilities:
            if needed:
                raise ImapSetup("the server offers no STARTTLS")
            return
        await self.command(b"STARTTLS")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await self._reader.readexactly(1)
                raise ImapError("the server said more before the encryption began")
        await self._writer.start_tls(ssl.create_default_context(), server_hostname=self._server.host)
        await self._ask_capabilities()

    async def _login(self) -> None:
        """By token, by SASL PLAIN (any characters), else by LOGIN."""
        server = self._server
        if not server.token and "LOGINDISABLED" in self.capabilities:
            raise ImapSetup("the server takes no password on this connection; use imaps:// or starttls=always")
        try:
            if server.token:
                await self._authenticate(b"XOAUTH2", f"user={server.username}\1auth=Bearer {server.password}\1\1")
            elif "AUTH=PLAIN" in self.capabilities:
                await self._authenticate(b"PLAIN", f"\0{server.username}\0{server.password}")
            else:
                await self.command(b"LOGIN " + wire.quoted(server.username) + b" " + wire.quoted(server.password))
        except Declined as error:
            if error.code in ("UNAVAILABLE", "INUSE", "LIMIT"):  # RFC 5530: not the password's fault
                raise ImapError(str(error)) from None
            raise ImapRefused(str(error)) from None
        except ValueError:
            raise ImapRefused("this server takes names and passwords in ASCII only") from None

    async def _authenticate(self, mechanism: bytes, answer: str) -> None:
        tag = await self.send(b"AUTHENTICATE " + mechanism)
        answers = [base64.b64encode(answer.encode()), b""]  # the empty one acknowledges a refusal told in a challenge
        while True:
            line = (await self.line())[0]
            if line.startswith(b"+"):
                if not answers:
                    raise ImapError("the server asks for more than its mechanism has")
                await self.write(answers.pop(0) + b"\r\n")
            elif line.startswith(tag + b" "):
                self.done(line)
                return

    # Commands

    async def command(self, line: bytes, *, timeout_s: float | None = None) -> tuple[list[list[bytes]], bytes]:
        """`(untagged answers, text of the OK)`. Raises ImapError; NO and BAD are errors too."""
        async with self.patience(timeout_s):
            tag = await self.send(line)
            answers: list[list[bytes]] = []
            while True:
                parts = await self.line()
                if parts[0].startswith(tag + b" "):
                    return answers, self.done(parts[0])
                if parts[0].upper().startswith(b"* BYE") and not line.startswith(b"LOGOUT"):
                    raise ImapError(f"the server said goodbye: {said(parts[0])}")
                self.news = self.news or parts[0].strip().upper().endswith(b" EXISTS")
                answers.append(parts)

    async def send(self, line: bytes) -> bytes:
        self._count += 1
        tag = b"A%d" % self._count
        await self.write(tag + b" " + line + b"\r\n")
        return tag

    async def write(self, data: bytes) -> None:
        if self._writer is None:
            raise ImapError("the connection is closed")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ImapError(f"the connection is lost ({type(error).__name__})") from None

    async def line(self) -> list[bytes]:
        """One answer: text, literal, text, ...; the literals are bytes that the server announced."""
        assert self._reader is not None
        parts: list[bytes] = []
        total = 0
        try:
            while True:
                text = await self._reader.readuntil(b"\n")
                parts.append(text)
                total += len(text)
                literal = _LITERAL.search(text)
                if literal is None:
                    return parts
                total += int(literal[1])
                if total > self._literal_limit:
                    raise ImapError(f"the server's answer has more than {self._literal_limit} bytes")
                parts[-1] = text[: literal.start()]
                parts.append(await self._reader.readexactly(int(literal[1])))
        except asyncio.LimitOverrunError:
            raise ImapError(f"a line of the server has more than {LINE_LIMIT} bytes") from None
        except asyncio.IncompleteReadError:
            raise ImapError("the server broke off") from None
        except OSError as error:
            raise ImapError(f"the connection is lost ({type(error).__name__})") from None

    def done(self, line: bytes) -> bytes:
        """The text behind OK. Raises Declined."""
        found = _TAGGED.match(line.rstrip(b"\r\n"))
        if found is None:
            raise ImapError(f"the server's answer cannot be read: {said(line)}")
        text = found[3] or b""
        if found[2].upper() != b"OK":
            code = CODE.match(text)
            raise Declined(said(text), code[1].decode("ascii", "replace").upper() if code else "")
        return text

    @contextlib.asynccontextmanager
    async def patience(self, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Turns what the network and the clock raise into ImapError."""
        seconds = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise ImapError(f"no answer within {seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise ImapSetup(f"the server's certificate is not trusted: {error.verify_message}") from None
        except OSError as error:
            raise ImapError(f"the server cannot be reached ({type(error).__name__})") from None

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await writer.wait_closed()


def said(text: bytes) -> str:
    return " ".join(clean(text.decode("utf-8", "replace"), 300).split())
