"""What becomes of a message that a customer writes on the page of their matter."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class WrittenIn:
    """Where it is: mostly in the matter of the page; else in another one, which it `opened` unless that was there before."""

    conversation_id: UUID
    message_id: UUID
    opened: bool
