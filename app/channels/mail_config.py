"""What an operator gives for a mail channel: where mails are sent, and the ways in which they come."""

import re
from datetime import date
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from app.channels.config import Address, ChannelConfig, HttpUrl, Secret

_STARTTLS = ("always", "auto", "never", "true", "false", "1", "0")


def _mail_url(*schemes: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        try:
            port_is_good = parts.port is None or parts.port > 0
        except ValueError:
            port_is_good = False
        if parts.scheme not in schemes or not parts.hostname or not port_is_good:
            raise ValueError(f"must be a URL such as {schemes[0]}://user:password@host:port")
        query = parse_qs(parts.query)
        if query.get("starttls", ["auto"])[-1].lower() not in _STARTTLS:
            raise ValueError("starttls must be always, auto or never")
        if query.get("auth", ["password"])[-1].lower() not in ("password", "xoauth2"):
            raise ValueError("auth must be password or xoauth2")
        return value

    return AfterValidator(check)


def _since(value: str) -> str:
    if value not in ("new", "all"):
        try:
            date.fromisoformat(value)
        except ValueError:
            raise ValueError("must be new, all or a date such as 2026-11-22") from None
    return value


def _folder(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("must be the name of a folder")
    return value


def _public_key(value: str) -> str:
    from app.channels.mail_signatures import ecdsa_key

    try:
        ecdsa_key(value)
    except ValueError:
        raise ValueError("must be the base64 of a P-256 public key, as the provider shows it") from None
    return value


Server = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=255)]
Folder = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_folder)]


class MailConfig(ChannelConfig):
    """`smtp_url`: smtp://user:password@host:port, smtps://..., with `?starttls=always|auto|never` (default auto).

    `imap_url`: imaps://user:password@host/Folder or imap://..., the same `starttls`, and `?auth=xoauth2` when the
    password is an access token. `imap_since`: `new` reads what arrives from the channel's first sight of the mailbox on,
    `all` everything, a date what arrived since. `inbound` is a provider that calls our webhook; docs/email.md has the
    whole table.

    `own_addresses` are further addresses of ours: what they send is no customer's. `trusted_servers` name our mail
    servers as they sign Authentication-Results. `subject_days`: mails of one sender under one subject belong together for
    so long (unset: never). `automatic_per_day` is how many automatic mails one address gets from us in 24 hours.
    """

    address: Address
    smtp_url: Annotated[SecretStr, _mail_url("smtp", "smtps")] | None = None
    from_name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] | None = None
    bounce_address: Address | None = None
    copies_to: list[Address] = Field(default_factory=list, max_length=20)
    dsn_notify: Literal["never", "failure", "always"] = "failure"

    own_addresses: list[Address] = Field(default_factory=list, max_length=100)
    trusted_servers: list[Server] = Field(default_factory=list, max_length=20)
    subject_days: int | None = Field(default=None, ge=1, le=365)
    automatic_per_day: int = Field(default=3, ge=0, le=1_000)

    imap_url: Annotated[SecretStr, _mail_url("imap", "imaps")] | None = None
    imap_since: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_since)] = "new"
    imap_idle_s: float = Field(default=300, ge=1, le=1740)
    imap_poll_s: float = Field(default=60, ge=1, le=86_400)
    imap_batch: int = Field(default=20, ge=1, le=500)
    imap_seen: bool = False
    imap_move_to: Folder | None = None

    inbound: Literal["mailgun", "sendgrid", "postmark"] | None = None
    inbound_secret: Secret | None = None
    inbound_window_s: float = Field(default=43_200, gt=0)
    mailgun_signing_key: Secret | None = None
    sendgrid_public_key: Annotated[str, StringConstraints(max_length=500), AfterValidator(_public_key)] | None = None

    api_base: HttpUrl | None = None

    @model_validator(mode="after")
    def _provable(self) -> Self:
        """A webhook that nobody can prove to be genuine would be a door for everybody."""
        if self.inbound == "mailgun" and self.mailgun_signing_key is None:
            raise ValueError("inbound mailgun needs mailgun_signing_key")
        if self.inbound == "sendgrid" and self.inbound_secret is None and self.sendgrid_public_key is None:
            raise ValueError("inbound sendgrid needs inbound_secret or sendgrid_public_key")
        if self.inbound == "postmark" and self.inbound_secret is None:
            raise ValueError("inbound postmark needs inbound_secret")
        return self

    @property
    def local(self) -> str:
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]
