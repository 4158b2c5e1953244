"""The SMTP port: takes mail for our channels' addresses and says 250 only after the commit that holds it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from aiosmtpd.smtp import SMTP
from prometheus_client import Counter

from app import log
from app.catalog import Catalog, ChannelAccount
from app.channels.base import Call, Parsed, Unparseable
from app.channels.mail import MailAdapter, envelope_headers
from app.channels.mail_config import MailConfig
from app.clock import now
from app.errors import TooLarge
from app.ids import new_id
from app.settings import Settings

MAILS = Counter("roundtrip_mails_total", "Mails offered to the SMTP port by outcome", ["outcome"])
_LINE_LIMIT = 1_000_000  # RFC 5321 says 1,000; real mails have longer lines, and refusing them helps nobody
_RECIPIENTS_LIMIT = 100
_PARALLEL_PARSES = 4
_STOP_S = 10
_GOODBYE_S = 0.05
_NULL_SENDER = "<>"
_logger = log.get("mailbox")


class Takes(Protocol):
    """What the mailbox needs of the intake."""

    async def store(
        self, account: ChannelAccount, *, transport: str, headers: Mapping[str, str], body: bytes, parsed: Parsed
    ) -> Sequence[object]: ...


class Knows(Protocol):
    """What the mailbox needs of the catalog."""

    async def current(self) -> Catalog: ...

    async def newest(self) -> Catalog: ...


class _Connection(SMTP):
    """One SMTP conversation, known to its mailbox so that it can be ended."""

    line_length_limit = _LINE_LIMIT

    def __init__(self, handler: Mailbox, **options: Any) -> None:
        super().__init__(handler, **options)
        self._mailbox = handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._mailbox.open_transports.add(cast(asyncio.Transport, transport))  # by its methods: uvloop's is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        self._mailbox.open_transports.discard(self.transport)
        super().connection_lost(error)


class Mailbox:
    """Lives in the server's own event loop; parsing happens in threads."""

    def __init__(self, settings: Settings, catalog: Knows, intake: Takes) -> None:
        self._settings, self._catalog, self._intake = settings, catalog, intake
        self._server: asyncio.Server | None = None
        self._work: set[asyncio.Task[str]] = set()
        self._parses = asyncio.Semaphore(_PARALLEL_PARSES)
        self.open_transports: set[asyncio.Transport] = set()

    async def start(self, *, host: str | None = None, port: int = 0, sock: socket.socket | None = None) -> int:
        """Listen on `sock`, else on host and port; returns the port."""
        loop = asyncio.get_running_loop()
        if sock is not None:
            self._server = await loop.create_server(self._connection, sock=sock)
        else:
            self._server = await loop.create_server(self._connection, host or self._settings.smtp_host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Take nothing new, finish what is being stored (at most 10 s), hang up."""
        if self._server is None:
            return
        self._server.close()
        if self._work:
            await asyncio.wait(self._work, timeout=_STOP_S)
            await asyncio.sleep(_GOODBYE_S)  # their answers are written by other tasks, which run now
        for transport in list(self.open_transports):
            transport.close()
        if self.open_transports:
            await asyncio.sleep(_GOODBYE_S)  # a goodbye to somebody who is gone would wait to be written
        for transport in list(self.open_transports):
            transport.abort()
        await asyncio.sleep(0)
        await self._server.wait_closed()
        self._server = None

    def _connection(self) -> _Connection:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            data_size_limit=self._settings.mail_limit,
            enable_SMTPUTF8=True,
            hostname=urlsplit(self._settings.base_url).hostname or "localhost",
            ident="ESMTP",
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
        )

    # The hooks of aiosmtpd. A hook that returns a status has to do what the command means by itself.

    async def handle_MAIL(
        self, server: SMTP, session: Any, envelope: Any, address: str | None, options: list[str]
    ) -> str:
        # An empty sender is how bounces come; aiosmtpd would take it for no MAIL command at all.
        envelope.mail_from = address or _NULL_SENDER
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if len(envelope.rcpt_tos) >= _RECIPIENTS_LIMIT:
            return "452 4.5.3 too many recipients"
        try:
            known = account_for(await self._catalog.current(), address) or account_for(
                await self._catalog.newest(), address
            )
        except Exception as error:
            _logger.error("catalog cannot be read", error=repr(error))
            return "451 4.3.0 not now, try again"
        if known is None:
            MAILS.labels("unknown address").inc()
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        # In a task of its own: a client that hangs up now must not tear a half-finished store.
        task = asyncio.create_task(self._take(session, envelope), name="mail")
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return await asyncio.shield(task)

    async def _take(self, session: Any, envelope: Any) -> str:
        log.correlation.set(new_id().hex)
        try:
            answer = await self._store(session, envelope)
        except TooLarge as error:
            answer = f"552 5.3.4 {error.detail}"
        except Exception as error:
            _logger.error("mail could not be stored", error=repr(error), exc_info=True)
            answer = "451 4.3.0 not now, try again"
        outcomes = {"2": "stored", "4": "deferred"}
        MAILS.labels(outcomes.get(answer[0], "refused")).inc()
        return answer

    async def _store(self, session: Any, envelope: Any) -> str:
        """To every channel that the mail is addressed to, once each. A failure in between makes the sender repeat all;
        those that had it already know it by its Message-ID and digest."""
        catalog = await self._catalog.current()
        accounts: dict[object, ChannelAccount] = {}
        for address in envelope.rcpt_tos:
            account = account_for(catalog, address)
            if account is None:
                return "451 4.3.0 the addresses have just changed, try again"
            accounts[account.id] = account
        sender = "" if envelope.mail_from == _NULL_SENDER else str(envelope.mail_from)
        headers = envelope_headers(sender, [str(address) for address in envelope.rcpt_tos])
        headers["x-peer"] = str((session.peer or ("local",))[0])
        body = bytes(envelope.content)
        for account in accounts.values():
            parsed = await self._parse(account, headers, body)
            await self._intake.store(account, transport="smtp", headers=headers, body=body, parsed=parsed)
        return "250 2.0.0 stored"

    async def _parse(self, account: ChannelAccount, headers: Mapping[str, str], body: bytes) -> Parsed:
        """A mail that cannot be read is kept all the same: sending it again would not make it better."""
        call = Call("SMTP", "", {}, headers, body, now())
        async with self._parses:
            try:
                return await asyncio.to_thread(account.adapter.parse, account.config, call)
            except Unparseable as error:
                return Parsed(errors=(str(error),))
            except Exception as error:
                _logger.error("mail parser failed", channel_id=account.id, error=repr(error), exc_info=True)
                return Parsed(errors=(f"the parser failed: {error!r}",))


def account_for(catalog: Catalog, address: str) -> ChannelAccount | None:
    """The mail channel of a recipient: its address with any `+token`, or `reply+token` at its domain; the oldest first."""
    local, _, domain = address.strip().lower().rpartition("@")
    base, plus, _ = local.partition("+")
    ours = sorted(
        (account for account in catalog.channels.values() if account.type == MailAdapter.type), key=lambda a: a.id
    )
    configs = [(account, account.config) for account in ours if isinstance(account.config, MailConfig)]
    exact = (account for account, config in configs if config.address == f"{local}@{domain}")
    tagged = (account for account, config in configs if plus and config.address == f"{base}@{domain}")
    bounce = (
        account for account, config in configs if config.bounce_address in (f"{local}@{domain}", f"{base}@{domain}")
    )
    reply = (account for account, config in configs if plus and base == "reply" and config.domain == domain)
    return next(exact, None) or next(tagged, None) or next(bounce, None) or next(reply, None)
