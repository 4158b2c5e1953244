"""Where a mailbox lies, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit


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
