"""What a part of a mail holds. The library decodes a text by whatever stands there as its charset, a NUL included."""

from __future__ import annotations

from email.message import Message
from typing import Any


def payload_of(part: Message) -> Any:
    """Its parts as a list, or its text as it stands in the mail."""
    try:
        return part.get_payload()
    except (ValueError, LookupError):
        data = part.get_payload(decode=True)
        return data.decode("latin-1") if isinstance(data, bytes) else ""
