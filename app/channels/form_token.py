"""A signed word in the form of our own page: when it was opened. It proves nothing else, and a form may go without."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from uuid import UUID

from app.vault import BadToken, ExpiredToken, Vault

VALID_S = 43_200  # below a day, so that the time is exact
_PURPOSE = "form"


def issue(vault: Vault, channel_id: UUID, *, at: datetime) -> str:
    moment = struct.pack(">Q", int(at.timestamp() * 1000))
    return vault.sign(_PURPOSE, UUID(bytes=channel_id.bytes[8:] + moment), valid_s=VALID_S)


def opened_at(vault: Vault, channel_id: UUID, token: str) -> datetime | None:
    """None for a page that was left open longer than anybody asks about. Raises BadToken when it is not this form's."""
    try:
        subject = vault.verify(_PURPOSE, token)
    except ExpiredToken:
        return None
    if subject.bytes[:8] != channel_id.bytes[8:]:
        raise BadToken("the token is another form's")
    return datetime.fromtimestamp(struct.unpack(">Q", subject.bytes[8:])[0] / 1000, UTC)
