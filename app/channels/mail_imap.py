"""An IMAP connection: as much of the protocol as it takes to read a mailbox and wait for what is new in it.

Every wait has a time limit, every line and every literal a size limit, and a lost connection ends whatever waits for it.
docs/decisions/0020 says why this is no library.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from app.channels import mail_imap_tokens as wire
from app.channels.mail_imap_tokens import Garbage, Token
from app.channels.text import clean

LINE_LIMIT = 4_000_000
_TAGGED = re.compile(rb"(A\d+) (OK|NO|BAD)(?: (.*))?$", re.IGNORECASE | re.DOTALL)
_LITERAL = re.compile(rb"\{(\d{1,12})\+?\}\r?\n$")
_CODE = re.compile(rb"\[([A-Z-]+)(?: ([^\]]*))?\]", re.IGNORECASE)


class ImapError(Exception):
    """The server could not be reached, broke off, or said no."""


class ImapRefused(ImapError):
    """Name, password or token are wrong."""


class ImapSetup(ImapError):
    """It cannot work as it is configured: no such folder, no encryption where it is asked for."""


@dataclass(frozen=True, slots=True)
class ImapServer:
    """`start_tls` None: encrypt when the server offers it."""

    host: str
    port: int
    tls: bool
    start_tls: bool | None
    username: str
    password: str = field(repr=False)
    folder: str = "INBOX"
    token: bool = False

    @property
    def source(self) -> str:
        """Which mailbox it is: with another one, reading begins anew."""
        return f"{self.username}@{self.host}/{self.folder}"


_START_TLS = {"always": True, "true": True, "1": True, "never": False, "false": False, "0": False}


def server_of(imap_url: str) -> ImapServer:
    """Raises ValueError."""
    parts = urlsplit(imap_url)
    tls = parts.scheme == "imaps"
    query = parse_qs(parts.query)
    if not parts.hostname:
        raise ValueError("imap_url: not a usable URL")
    wish = query.get("starttls", ["auto"])[-1].lower()
    return ImapServer(
        host=parts.hostname,
        port=parts.port or (993 if tls else 143),
        tls=tls,
        start_tls=False if tls else _START_TLS.get(wish),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        folder=unquote(parts.path.strip("/")) or "INBOX",
        token=query.get("auth", ["password"])[-1].lower() == "xoauth2",
    )


@dataclass(frozen=True, slots=True)
class Selected:
    """`uid_next` is None where the server does not say."""

    uid_validity: int
    uid_next: int | None
    exists: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """`body` is what was asked for of the bytes, or None."""

    uid: int
    size: int
    date: str | None
    body: bytes | None


class Imap:
    """One connection. Use it as a context manager; nothing else closes it. Every verb raises ImapError."""

    def __init__(self, server: ImapServer, *, timeout_s: float = 30, literal_limit: int = 60_000_000) -> None:
        self._server, self._timeout_s, self._literal_limit = server, timeout_s, literal_limit
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._count = 0
        self.capabilities: frozenset[str] = frozenset()
        self.news = False  # the server has told of new mails, in passing, since whoever reads last set it

    async def __aenter__(self) -> Self:
        try:
            async with self._patience():
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
        greeting = b"".join(await self._line())
        if not greeting.upper().startswith((b"* OK", b"* PREAUTH")):
            raise ImapError(f"the server's greeting is none: {_said(greeting)}")
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
        except _No as error:
            if error.code in ("UNAVAILABLE", "INUSE", "LIMIT"):  # RFC 5530: not the password's fault
                raise ImapError(str(error)) from None
            raise ImapRefused(str(error)) from None
        except ValueError:
            raise ImapRefused("this server takes names and passwords in ASCII only") from None

    async def _authenticate(self, mechanism: bytes, answer: str) -> None:
        tag = await self._send(b"AUTHENTICATE " + mechanism)
        answers = [base64.b64encode(answer.encode()), b""]  # the empty one acknowledges a refusal told in a challenge
        while True:
            line = (await self._line())[0]
            if line.startswith(b"+"):
                if not answers:
                    raise ImapError("the server asks for more than its mechanism has")
                await self._write(answers.pop(0) + b"\r\n")
            elif line.startswith(tag + b" "):
                self._done(line)
                return

    # Reading

    async def select(self, folder: str, *, read_only: bool = False) -> Selected:
        try:
            lines, _ = await self.command((b"EXAMINE " if read_only else b"SELECT ") + wire.folder_name(folder))
        except _No as error:
            raise ImapSetup(f"the folder cannot be opened: {error}") from None
        codes = {code[1].upper(): code[2] or b"" for line in lines for code in _CODE.finditer(line[0])}
        exists = [line[0].split()[1] for line in lines if line[0].strip().upper().endswith(b" EXISTS")]
        try:
            uid_next = wire.number(codes[b"UIDNEXT"].strip()) if b"UIDNEXT" in codes else None
            return Selected(
                wire.number(codes.get(b"UIDVALIDITY", b"").strip()), uid_next, wire.number(exists[-1]) if exists else 0
            )
        except Garbage as error:
            raise ImapError(str(error)) from None

    async def search(self, criteria: str) -> list[int]:
        """UIDs, ascending."""
        lines, _ = await self.command(b"UID SEARCH " + criteria.encode("ascii"))
        try:
            found = [
                wire.number(word)
                for line in lines
                if _is(line, b"SEARCH")
                for word in line[0].split()[2:]
                if word[0] != 40
            ]
        except Garbage as error:
            raise ImapError(str(error)) from None
        return sorted(set(found))

    async def fetch(self, uids: Sequence[int], what: str) -> dict[int, Fetched]:
        """`what` is a list of items as the protocol has them. Mails that are gone are left out."""
        if not uids:
            return {}
        lines, _ = await self.command(f"UID FETCH {','.join(map(str, uids))} (UID {what})".encode())
        found = {}
        for line in lines:
            try:
                if (one := _fetched(line)) is not None and one.uid in uids:
                    found[one.uid] = one
            except Garbage as error:
                raise ImapError(str(error)) from None
        return found

    async def mark_seen(self, uid: int) -> None:
        await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Seen)".encode())

    async def move(self, uid: int, folder: str) -> None:
        """Raises ImapSetup when the server has neither MOVE nor UIDPLUS: expunging would take other mails along."""
        target = f"{uid} ".encode() + wire.folder_name(folder)
        if "MOVE" in self.capabilities:
            await self.command(b"UID MOVE " + target)
        elif "UIDPLUS" in self.capabilities:
            await self.command(b"UID COPY " + target)
            await self.command(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)".encode())
            await self.command(f"UID EXPUNGE {uid}".encode())
        else:
            raise ImapSetup("the server cannot move mails")

    async def noop(self) -> None:
        await self.command(b"NOOP")

    @property
    def can_idle(self) -> bool:
        return "IDLE" in self.capabilities

    async def idle(self, seconds: float) -> bool:
        """Wait until something is new, at most so long; whether there was."""
        assert self._reader is not None
        if self.news:
            return True
        tag = await self._send(b"IDLE")
        async with self._patience():
            while not (line := (await self._line())[0]).startswith(b"+"):
                if line.startswith(tag + b" "):
                    self._done(line)
                    raise ImapError("the server ended IDLE before it began")
        news = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not news:
                    # Nothing is consumed until a whole line is there, so the time limit cannot tear one.
                    line = (await self._line())[0]
                    if line.startswith(b"* BYE"):
                        raise ImapError(f"the server said goodbye: {_said(line)}")
                    if line.startswith(tag + b" "):
                        raise ImapError("the server ended IDLE by itself")
                    news = line.strip().upper().endswith((b" EXISTS", b" RECENT"))
        async with self._patience():
            await self._write(b"DONE\r\n")
            while not (line := (await self._line())[0]).startswith(tag + b" "):
                news = news or line.strip().upper().endswith(b" EXISTS")
            self._done(line)
        return news

    # The wire

    async def command(self, line: bytes, *, timeout_s: float | None = None) -> tuple[list[list[bytes]], bytes]:
        """`(untagged answers, text of the OK)`. Raises ImapError; NO and BAD are errors too."""
        async with self._patience(timeout_s):
            tag = await self._send(line)
            answers: list[list[bytes]] = []
            while True:
                parts = await self._line()
                if parts[0].startswith(tag + b" "):
                    return answers, self._done(parts[0])
                if parts[0].upper().startswith(b"* BYE") and not line.startswith(b"LOGOUT"):
                    raise ImapError(f"the server said goodbye: {_said(parts[0])}")
                self.news = self.news or parts[0].strip().upper().endswith(b" EXISTS")
                answers.append(parts)

    async def _send(self, line: bytes) -> bytes:
        self._count += 1
        tag = b"A%d" % self._count
        await self._write(tag + b" " + line + b"\r\n")
        return tag

    async def _write(self, data: bytes) -> None:
        if self._writer is None:
            raise ImapError("the connection is closed")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ImapError(f"the connection is lost ({type(error).__name__})") from None

    async def _line(self) -> list[bytes]:
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

    def _done(self, line: bytes) -> bytes:
        """The text behind OK. Raises _No."""
        found = _TAGGED.match(line.rstrip(b"\r\n"))
        if found is None:
            raise ImapError(f"the server's answer cannot be read: {_said(line)}")
        text = found[3] or b""
        if found[2].upper() != b"OK":
            code = _CODE.match(text)
            raise _No(_said(text), code[1].decode("ascii", "replace").upper() if code else "")
        return text

    @contextlib.asynccontextmanager
    async def _patience(self, timeout_s: float | None = None) -> AsyncIterator[None]:
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


class _No(ImapError):
    """NO or BAD; `code` is the word in brackets, if any."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


def _is(line: Sequence[bytes], word: bytes) -> bool:
    return line[0].upper().split(maxsplit=2)[:2] == [b"*", word]


def _fetched(line: Sequence[bytes]) -> Fetched | None:
    """Raises Garbage."""
    head = line[0].split(maxsplit=3)
    if len(head) < 3 or head[2].upper() != b"FETCH":
        return None
    opened = line[0].index(b"(")
    values = wire.pairs(wire.tokens([line[0][opened:], *line[1:]])[0])
    if b"UID" not in values:
        return None
    body: Token = next((value for name, value in values.items() if name.startswith(b"BODY[")), None)
    date = values.get(b"INTERNALDATE")
    return Fetched(
        uid=wire.number(values[b"UID"]),
        size=wire.number(values.get(b"RFC822.SIZE", b"0")),
        date=date.decode("ascii", "replace") if isinstance(date, bytes) else None,
        body=body if isinstance(body, bytes) else None,
    )


def _said(text: bytes) -> str:
    return " ".join(clean(text.decode("utf-8", "replace"), 300).split())
