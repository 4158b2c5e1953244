"""One composed mail to the SMTP server of a channel, and what the server's answer means."""

import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from app.channels.base import SendError, SendFailure
from app.channels.text import clean

TIMEOUT_S = 30
_STARTTLS = {"always": True, "true": True, "1": True, "never": False, "false": False, "0": False, "auto": None}
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


async def deliver(server: Server, mail: EmailMessage, *, sender: str, recipient: str, attempt: int) -> None:
    """Returns once the server has taken the mail. Raises SendError; every retry is safe, the Message-ID stays the same."""
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls,
        start_tls=server.start_tls,
        username=server.username,
        password=server.password,
        timeout=TIMEOUT_S,
    )
    try:
        async with client:
            options = [] if sender.isascii() and recipient.isascii() else ["SMTPUTF8"]
            await client.sendmail(sender, [recipient], mail.as_bytes(), mail_options=options)
    except aiosmtplib.SMTPRecipientsRefused as error:
        first = error.recipients[0]
        _refuse(first.code, first.message, on_refusal=SendFailure.RECIPIENT, attempt=attempt)
    except aiosmtplib.SMTPAuthenticationError as error:
        _refuse(error.code, error.message, on_refusal=SendFailure.REAUTH, attempt=attempt)
    except aiosmtplib.SMTPNotSupported as error:
        raise SendError(SendFailure.CONFIG, f"the mail server cannot do this: {_said(str(error))}") from None
    except aiosmtplib.SMTPResponseException as error:
        _refuse(error.code, error.message, on_refusal=SendFailure.PERMANENT, attempt=attempt)
    except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError) as error:
        detail = f"the mail server could not be reached or broke off ({type(error).__name__})"
        raise SendError(SendFailure.RETRY, detail) from None


def _refuse(code: int, message: str, *, on_refusal: SendFailure, attempt: int) -> NoReturn:
    """4xx: later. 5xx: never, but for what passes by itself, which gets a second chance."""
    detail = f"the mail server answered {code}: {_said(message)}"
    passing = code == 552 or any(sign in message.lower() for sign in _PASSING)
    if not 500 <= code < 600 or (passing and on_refusal is not SendFailure.REAUTH and attempt <= 1):
        raise SendError(SendFailure.RETRY, detail) from None
    raise SendError(on_refusal, detail) from None


def _said(message: str) -> str:
    return " ".join(clean(message, 300).split())
