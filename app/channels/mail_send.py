"""One composed mail to the SMTP server of a channel, and what the server's answer means."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from app.channels.base import SendError, SendFailure
from app.channels.text import clean

TIMEOUT_S = 30
_STARTTLS = {"always": True, "true": True, "1": True, "never": False, "false": False, "0": False, "auto": None}
# The server wants a login or an encryption that it does not get: no mail goes out before somebody sets that right.
_NO_LOGIN = frozenset({530, 534, 535, 538})
# Full mailboxes and policy limits pass: they are tried again before the recipient is given up.
_PASSING = ("5.2.2", "5.7.1", "quota", "rate limit", "too many")


@dataclass(frozen=True, slots=True)
class Server:
    """`start_tls` None: encrypt when the server offers it."""

    host: str
    port: int
    tls: bool
    start_tls: bool | None
    username: str | None
    password: str | None


def server_of(smtp_url: str) -> Server:
    """Raises ValueError."""
    parts = urlsplit(smtp_url)
    tls = parts.scheme == "smtps"
    wish = parse_qs(parts.query).get("starttls", ["auto"])[-1].lower()
    if not parts.hostname or wish not in _STARTTLS:
        raise ValueError("smtp_url: not a usable URL")
    return Server(
        host=parts.hostname,
        port=parts.port or (465 if tls else 587 if parts.username else 25),
        tls=tls,
        start_tls=False if tls else _STARTTLS[wish],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """`recipient` is the customer, `copies` whoever else gets the mail. `name` comes back in delivery reports (ENVID)."""

    sender: str
    recipient: str
    copies: Sequence[str] = ()
    name: str = ""
    notify: str = "failure"

    @property
    def is_ascii(self) -> bool:
        return "".join((self.sender, self.recipient, *self.copies)).isascii()


async def deliver(server: Server, mail: bytes, envelope: Envelope, *, attempt: int) -> str | None:
    """Returns once the server has taken the mail for the customer, with a word on copies that were refused, if any.

    Raises SendError: UNKNOWN when the connection is lost after the mail was on its way, and it may have been taken.
    """
    try:
        async with _client(server) as client:
            _require_able(client, envelope, size=len(mail))
            refused = await _address(client, envelope, size=len(mail))
            await _hand_over(client, mail)
            return _told(envelope, refused) if refused else None
    except aiosmtplib.SMTPRecipientRefused as error:
        failure = SendFailure.REAUTH if error.code in _NO_LOGIN else SendFailure.RECIPIENT
        _refuse(error.code, error.message, on_refusal=failure, attempt=attempt)
    except aiosmtplib.SMTPAuthenticationError as error:
        _refuse(error.code, error.message, on_refusal=SendFailure.REAUTH, attempt=attempt)
    except aiosmtplib.SMTPNotSupported as error:
        raise SendError(SendFailure.CONFIG, f"the mail server cannot do this: {_said(str(error))}") from None
    except aiosmtplib.SMTPResponseException as error:
        failure = SendFailure.REAUTH if error.code in _NO_LOGIN else SendFailure.PERMANENT
        _refuse(error.code, error.message, on_refusal=failure, attempt=attempt)
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError) as error:
        detail = f"the mail server could not be reached or broke off ({type(error).__name__})"
        raise SendError(SendFailure.RETRY, detail) from None


async def check(server: Server) -> None:
    """Say hello, encrypt and log in as for a mail, and send none. Raises SendError."""
    try:
        async with _client(server) as client:
            await client.noop()
    except aiosmtplib.SMTPAuthenticationError as error:
        _refuse(error.code, error.message, on_refusal=SendFailure.REAUTH, attempt=1)
    except aiosmtplib.SMTPNotSupported as error:
        raise SendError(SendFailure.CONFIG, f"the mail server cannot do this: {_said(str(error))}") from None
    except aiosmtplib.SMTPResponseException as error:
        _refuse(error.code, error.message, on_refusal=SendFailure.CONFIG, attempt=1)
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError) as error:
        raise SendError(SendFailure.RETRY, f"the mail server cannot be reached ({type(error).__name__})") from None


def _client(server: Server) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls,
        start_tls=server.start_tls,
        username=server.username,
        password=server.password,
        timeout=TIMEOUT_S,
    )


def _require_able(client: aiosmtplib.SMTP, envelope: Envelope, *, size: int) -> None:
    """What the server has said it cannot take is not offered. Raises SendError."""
    if not envelope.is_ascii and not client.supports_extension("smtputf8"):
        raise SendError(SendFailure.RECIPIENT, "the mail server cannot write to addresses outside ASCII (no SMTPUTF8)")
    limit = client.esmtp_extensions.get("size", "").strip()
    if limit.isdigit() and 0 < int(limit) < size:
        raise SendError(SendFailure.PERMANENT, f"the mail has {size} bytes, the mail server takes {limit}")


async def _address(client: aiosmtplib.SMTP, envelope: Envelope, *, size: int) -> dict[str, str]:
    """MAIL and RCPT, the customer first; what was said to copies that were refused. Raises SMTPException."""
    reports = client.supports_extension("dsn") and envelope.notify != "never"
    options = [] if envelope.is_ascii else ["SMTPUTF8"]
    encoding = "ascii" if envelope.is_ascii else "utf-8"
    if client.supports_extension("size"):
        options.append(f"SIZE={size}")
    if client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    if reports:
        options += ["RET=HDRS", f"ENVID={envelope.name}"]
    await client.mail(envelope.sender, options=options, encoding=encoding)
    notify = "SUCCESS,FAILURE,DELAY" if envelope.notify == "always" else "FAILURE,DELAY"
    await client.rcpt(envelope.recipient, options=[f"NOTIFY={notify}"] if reports else [], encoding=encoding)
    refused = {}
    for copy in envelope.copies:
        try:
            await client.rcpt(copy, options=["NOTIFY=NEVER"] if reports else [], encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            refused[copy] = f"{error.code} {_said(error.message)}"
    return refused


async def _hand_over(client: aiosmtplib.SMTP, mail: bytes) -> None:
    """From here on a lost connection leaves open whether the mail was taken; also when we are told to stop waiting."""
    try:
        await client.data(mail)
    except aiosmtplib.SMTPResponseException as error:
        if 400 <= error.code < 600:
            raise
        raise SendError(SendFailure.UNKNOWN, "the mail server's answer to the mail cannot be read") from None
    except (aiosmtplib.SMTPException, OSError, TimeoutError, asyncio.CancelledError) as error:
        detail = f"the mail server did not confirm the mail ({type(error).__name__})"
        raise SendError(SendFailure.UNKNOWN, detail) from None


def _told(envelope: Envelope, refused: Mapping[str, str]) -> str:
    """For each recipient what the server said."""
    lines = [
        f"{envelope.recipient}: accepted",
        *(f"{copy}: {refused.get(copy, 'accepted')}" for copy in envelope.copies),
    ]
    return "; ".join(lines)


def _refuse(code: int, message: str, *, on_refusal: SendFailure, attempt: int) -> NoReturn:
    """4xx: later. 5xx: never, but for what passes by itself, which gets a second chance."""
    detail = f"the mail server answered {code}: {_said(message)}"
    passing = code == 552 or any(sign in message.lower() for sign in _PASSING)
    if not 500 <= code < 600 or (passing and on_refusal is not SendFailure.REAUTH and attempt <= 1):
        raise SendError(SendFailure.RETRY, detail) from None
    raise SendError(on_refusal, detail) from None


def _said(message: str) -> str:
    return " ".join(clean(message, 300).split())
