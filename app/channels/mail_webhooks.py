"""Mail that comes by a provider's webhook, and the provider's news of mails of ours: Mailgun, SendGrid, Postmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from app.channels import mail_webhooks_mailgun, mail_webhooks_postmark, mail_webhooks_sendgrid
from app.channels.base import Call, Parsed
from app.channels.mail_config import MailConfig
from app.errors import NotGenuine

# What tells a provider to stop sending a mail that we will never take.
_REFUSED = {"mailgun": 406, "sendgrid": 413, "postmark": 403}
_PROVIDERS: Mapping[str, ModuleType] = {
    "mailgun": mail_webhooks_mailgun,
    "sendgrid": mail_webhooks_sendgrid,
    "postmark": mail_webhooks_postmark,
}


@dataclass(frozen=True, slots=True)
class Once:
    """A word that a provider gives a call; with another `digest` it is somebody else's call."""

    token: str
    digest: str


def verify(config: MailConfig, call: Call) -> None:
    """Raises NotGenuine."""
    if config.inbound is None:
        raise NotGenuine("this channel's mail comes by SMTP or IMAP, not by webhook")
    _PROVIDERS[config.inbound].verify(config, call)


def parse(config: MailConfig, call: Call) -> Parsed:
    """Raises Unparseable."""
    assert config.inbound is not None
    parsed: Parsed = _PROVIDERS[config.inbound].parse(config, call)
    return parsed


def once(config: MailConfig, call: Call, parsed: Parsed) -> Once | None:
    """Mailgun signs a token and no body: what was read of the call is bound to it."""
    if config.inbound != "mailgun":
        return None
    token = mail_webhooks_mailgun.token_of(call)
    return Once(token, mail_webhooks_mailgun.digest_of(call, parsed)) if token else None


def refused_status(config: MailConfig) -> int:
    return _REFUSED[config.inbound] if config.inbound else 413
