"""Values that the channel tests have in common."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.channels.base import Call, Outgoing

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)
MESSAGE_ID = UUID("01935555-0000-7000-8000-000000000001")
CONVERSATION_ID = UUID("01935555-0000-7000-8000-000000000002")


def call(body: bytes, headers: Mapping[str, str] | None = None, *, at: datetime = NOW) -> Call:
    return Call("POST", "https://desk.example/channels/x/webhook", {}, headers or {}, body, at)


def outgoing(**changed: Any) -> Outgoing:
    values: dict[str, Any] = {
        "message_id": MESSAGE_ID,
        "conversation_id": CONVERSATION_ID,
        "seq": 2,
        "kind": "reply",
        "text": "We have found it.",
        "address": {},
        "author_name": "Ana",
        "created_at": NOW,
    }
    return Outgoing(**{**values, **changed})
