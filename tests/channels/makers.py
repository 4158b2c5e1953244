"""Values that the channel tests have in common."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import pytest

from app.channels.base import Call, Outgoing, SendError
from tests.support.providers import Answer

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


def flips(value: bytes) -> list[bytes]:
    """The same with one bit the other way round, for each bit."""
    return [
        value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :] for at in range(len(value)) for bit in range(8)
    ]


class Scripted(Protocol):
    """A provider's small server that does to the next calls what `script` says."""

    script: list[Answer | str | None]


async def refusal_of(server: Scripted, script: Sequence[Any], sending: Awaitable[Any], *, secret: str) -> SendError:
    """How sending fails when the provider does that; never with our secret in its words."""
    server.script = list(script)
    with pytest.raises(SendError) as caught:
        await sending
    assert secret not in caught.value.detail
    return caught.value
