"""The address that failures of our mails come back to: which message a bounce is about, whatever is left of the mail."""

import re
from collections.abc import Iterable
from uuid import UUID

from app.channels.mail_config import MailConfig

_TOKEN = re.compile(r"b-([0-9a-f]{32})")


def envelope_sender(config: MailConfig, message_id: UUID) -> str:
    """`bounces+b-<id of the message>@...` where the channel has a bounce address, else the channel's own address."""
    if config.bounce_address is None:
        return config.address
    local, _, domain = config.bounce_address.rpartition("@")
    tagged = f"{local}+b-{message_id.hex}"
    return f"{tagged}@{domain}" if len(tagged.encode()) <= 64 else config.bounce_address


def bounced_message(config: MailConfig, recipients: Iterable[str]) -> UUID | None:
    """The message that an envelope recipient (or Delivered-To, To) of a bounce names; None when none of them does."""
    if config.bounce_address is None:
        return None
    ours, _, domain = config.bounce_address.rpartition("@")
    for address in recipients:
        local, _, where = address.strip().strip("<>").lower().rpartition("@")
        base, _, token = local.partition("+")
        if (base, where) == (ours, domain) and (found := _TOKEN.fullmatch(token)):
            return UUID(found[1])
    return None


def envelope_message(envelope_id: str | None) -> UUID | None:
    """The message that a delivery report's Original-Envelope-Id names: we give its id as ENVID."""
    try:
        return UUID((envelope_id or "").strip())
    except ValueError:
        return None
