"""What is common to receipts on all channels: buttons that name the answer and the resolution that it is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

from app.channels.base import Outgoing, SendError, SendFailure, Sent

Outcome = Literal["confirmed", "rejected"]
About = Literal["result", "remedy"]
_LETTERS: dict[tuple[Outcome, About], str] = {
    ("confirmed", "result"): "y",
    ("rejected", "result"): "n",
    ("confirmed", "remedy"): "h",
    ("rejected", "remedy"): "f",
}
_MEANT = {letter: meant for meant, letter in _LETTERS.items()}
# With the title behind it, where a provider gives nothing else back.
_PAYLOAD = re.compile(r"(rt:([ynhf]):([0-9a-f]{32}))(?: (\S[^\n]{0,60}))?")


def payload_of(cycle_id: UUID, outcome: Outcome, about: About = "result") -> str:
    """37 characters: every provider carries them. `about`: whether it is solved, or whether what was made good helped."""
    return f"rt:{_LETTERS[outcome, about]}:{cycle_id.hex}"


def read(payload: str) -> tuple[UUID, Outcome, About] | None:
    """The resolution, the answer and the question; None for what is not ours."""
    found = _PAYLOAD.fullmatch(payload)
    return (UUID(found[3]), *_MEANT[found[2]]) if found else None


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
