"""What an operator sets by environment or flag; validated once, at start, with an error that names the field."""

import os
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The settings are wrong; the message lists each field with what is wrong with it."""


class Settings(BaseSettings):
    """Every field is `ROUNDTRIP_<NAME>` in the environment; the database alone is `DATABASE_URL`."""

    model_config = SettingsConfigDict(env_prefix="ROUNDTRIP_", extra="ignore")

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str | None = None
    admin_token: SecretStr | None = None
    secret_key: SecretStr | None = None
    workers: int = Field(default=1, ge=1, le=64)
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=0, ge=0, le=65535)
    log_level: str = "info"
    log_format: str = "json"

    pool_size: int = Field(default=10, ge=2, le=200)
    ingest_batch: int = Field(default=64, ge=1, le=256)
    ingest_lanes: int = Field(default=1, ge=1, le=16, description="writer connections of a process")
    ingest_backlog: int = Field(default=4096, ge=64)
    body_limit: int = Field(default=3_000_000, ge=10_000, description="bytes of a webhook call")
    mail_limit: int = Field(default=30_000_000, ge=100_000, description="bytes of a mail")
    imap_lease_s: float = Field(
        default=10, ge=0.5, description="after so long without a sign, another process reads the mailbox"
    )
    profile_lookups: int = Field(
        default=2, ge=0, le=50, description="customers' names asked of a provider at a time, per account; 0: never"
    )
    attachment_limit: int = Field(default=25_000_000, ge=1, description="bytes of one attachment")
    text_limit: int = Field(default=100_000, ge=100, description="characters of a message that are kept")
    heartbeat_s: float = Field(default=25, gt=0)
    socket_buffer: int = Field(default=1_000_000, ge=10_000, description="bytes a slow socket may lag behind")
    presence_grace_s: float = Field(default=60, ge=0)
    session_lease_s: float = Field(default=30, gt=1)
    requeue_on_agent_loss: Literal["live", "all", "none"] = Field(
        default="live", description="which conversations of an agent who is gone go back to the queue"
    )
    offer_timeout_chat_s: float = Field(default=20, gt=0)
    offer_timeout_s: float = Field(default=60, gt=0)
    offer_again_s: float = Field(default=30, gt=0, description="until who declined or missed an offer is asked again")
    misses_until_away: int = Field(default=3, ge=0, description="offers missed in a row; 0: never")
    parked_work_costs: bool = Field(
        default=False,
        description="whether what is on hold, snoozed or waiting for the customer counts in an agent's load",
    )
    transfer_wait_s: float = Field(
        default=120, gt=0, description="how long a transfer waits for an agent who is not free"
    )
    receipt_valid_days: int = Field(default=30, ge=1)
    announcements: bool = Field(default=True, description="customers are told that their message came, and of changes")
    notice_leaves: int = Field(
        default=3, ge=0, description="messages that automatic notices leave to agents where a channel counts them"
    )
    page_text_limit: int = Field(default=4_000, ge=1, description="characters of a message from a matter's page")
    page_messages: int = Field(
        default=10,
        ge=1,
        description="messages from the page of one matter, or answers to one receipt, within a window",
    )
    page_messages_window_s: float = Field(default=600, gt=0)
    replay_limit: int = Field(default=50_000, ge=1, description="events replayed before resync_required")
    replay_window_h: float = Field(default=72, gt=0, description="age of the oldest event that is replayed")
    command_memory_s: float = Field(default=900, ge=0, description="how long the answer to a command is kept")
    outbox_lease_s: float = Field(default=60, gt=1)
    send_timeout_s: float = Field(default=20, gt=0)
    breaker_failures: int = Field(default=10, ge=1, description="failures in a row until a channel is left alone")
    breaker_pause_s: float = Field(default=10, gt=0, description="how long at first; each further failure doubles it")
    breaker_longest_s: float = Field(default=600, gt=0)
    reauth_probe_s: float = Field(default=60, gt=0, description="when refused credentials are tried again, at first")
    media_link_s: int = Field(
        default=43_200, ge=60, description="how long a provider may fetch a file that we sent by link"
    )
    orphan_status_s: float = Field(
        default=3_600, gt=0, description="how long a status or a change of a message that is not known yet is kept"
    )
    webhook_private: bool = Field(
        default=False, description="webhooks of SLA policies may call this machine and the local network"
    )
    webhook_endpoints_private: bool = Field(
        default=True, description="webhook endpoints of administrators may be on this machine and in private networks"
    )
    webhook_retry_h: float = Field(default=24, gt=0, description="how long an outgoing webhook is tried")
    webhook_breaker_after: int = Field(default=5, ge=1, description="failures in a row after which an endpoint is down")
    webhook_overlap_s: float = Field(default=86_400, ge=0, description="how long a rotated webhook secret still signs")
    webhook_kept_h: float = Field(default=24, ge=0, description="how long delivered webhooks are listed")
    webhook_dead_kept_days: float = Field(default=30, gt=0, description="how long dead letters of webhooks are kept")
    webhook_replay_limit: int = Field(default=100_000, ge=1, description="events that one replay queues")
    fetch_networks: str = Field(
        default="",
        description="private networks from which files that customers' systems name by address may be fetched",
    )
    channel_private: bool = Field(
        default=True,
        description="addresses in a channel's configuration (api_base, callback_url) may be on this machine and in private networks",
    )
    widget_rate_per_s: float = Field(default=5, gt=0, description="messages a visitor may send, sustained")
    widget_burst: int = Field(default=30, ge=1)
    widget_hellos_per_s: float = Field(default=20, gt=0, description="widgets that may connect from one address")
    widget_hello_burst: int = Field(default=500, ge=1)
    widget_newcomers_per_s: float = Field(default=1, gt=0, description="new visitors from one address")
    widget_newcomer_burst: int = Field(default=200, ge=1)
    trusted_proxies: str = Field(
        default="127.0.0.1,::1", description="addresses and networks whose X-Forwarded-For is believed; empty: nobody's"
    )

    @field_validator("database_url", "public_url", "admin_token", "secret_key", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if urlsplit(value).scheme.split("+")[0] not in ("postgres", "postgresql"):
            raise ValueError("must be a postgresql:// URL")
        return value

    @field_validator("public_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("must be an http:// or https:// URL")
        return value.rstrip("/")

    @field_validator("fetch_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value.lower()

    @field_validator("log_format")
    @classmethod
    def _format(cls, value: str) -> str:
        if value not in ("json", "console"):
            raise ValueError("must be json or console")
        return value

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value

    @cached_property
    def base_url(self) -> str:
        """How the world reaches us, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def reachable(self) -> bool:
        """Whether a provider elsewhere may reach `base_url`: it has a name, or an address that is not of this machine."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return False
        try:
            address = ip_address(host)
        except ValueError:
            return True
        return not (address.is_loopback or address.is_unspecified)

    def webhook_url(self, channel_id: UUID) -> str:
        """Where the provider of a channel has to call."""
        return f"{self.base_url}/channels/{channel_id}/webhook"

    @property
    def attachments_dir(self) -> Path:
        return self.data_dir / "attachments"


def networks(listed: str) -> list[IPv4Network | IPv6Network]:
    """Of a list with commas. Raises ValueError."""
    return [ip_network(item.strip()) for item in listed.split(",") if item.strip()]


def load(**overrides: object) -> Settings:
    """Read the environment; flags in `overrides` win where they are not None. Raises SettingsError."""
    given = {
        ("DATABASE_URL" if key == "database_url" else key): value
        for key, value in overrides.items()
        if value is not None
    }
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"  {_name_of(item['loc'])}: {item['msg']}" for item in error.errors()]
        raise SettingsError("the settings are wrong:\n" + "\n".join(lines)) from None


def _name_of(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name == "DATABASE_URL" else f"ROUNDTRIP_{name.upper()}"


def export(settings: Settings) -> dict[str, str]:
    """The environment that gives a worker process the same settings."""
    environment = dict(os.environ)
    for name, value in settings.model_dump().items():
        key = "DATABASE_URL" if name == "database_url" else f"ROUNDTRIP_{name.upper()}"
        if value is None:
            environment.pop(key, None)
        else:
            environment[key] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return environment
