"""What is common to receipts on all channels: buttons that name the answer and the resolution that it is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

from app.channels.base import Outgoing, SendError, SendFailure, Sent

Outcome = Literal["confirmed", "rejected"]
_LETTERS: dict[Outcome, str] = {"confirmed": "y", "rejected": "n"}
_OUTCOMES: dict[str, Outcome] = {letter: outcome for outcome, letter in _LETTERS.items()}
# With the title behind it, where a provider gives nothing else back.
_PAYLOAD = re.compile(r"(rt:([yn]):([0-9a-f]{32}))(?: (\S[^\n]{0,60}))?")


def payload_of(cycle_id: UUID, outcome: Outcome) -> str:
    """37 characters: every provider carries them."""
    return f"rt:{_LETTERS[outcome]}:{cycle_id.hex}"


def read(payload: str) -> tuple[UUID, Outcome] | None:
    """The resolution and the answer; None for what is not ours."""
    found = _PAYLOAD.fullmatch(payload)
    return (UUID(found[3]), _OUTCOMES[found[2]]) if found else None


def pressed(data: Any) -> str | None:
    """The payload of ours in what a provider says of a button."""
    found = _PAYLOAD.fullmatch(data) if isinstance(data, str) else None
    return found[1] if found else None


def title_in(data: Any) -> str | None:
    """What was written on a button that carried `<payload> <title>`."""
    found = _PAYLOAD.fullmatch(data) if isinstance(data, str) else None
    return found[4] if found else None


async def in_best_form(outgoing: Outgoing, send: Callable[[Outgoing], Awaitable[Sent]]) -> Sent:
    """With its buttons, and without them where the provider refuses these: a receipt is a text with a link, too.

    Raises SendError. What may have gone out is not sent again.
    """
    try:
        return await send(outgoing)
    except SendError as error:
        if not outgoing.choices or error.failure is not SendFailure.PERMANENT:
            raise
    return await send(replace(outgoing, choices=()))
