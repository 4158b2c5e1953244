"""What an agent tells of a matter that they enter by hand, and where it is then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.events.log import Actor
from app.models import Agent


@dataclass(frozen=True, slots=True)
class Entry:
    """`key` makes it one however often it is sent. `came_by` is walk_in, phone, letter or other; `agent` is who entered
    it, None for a key of the installation, and has it from now on when `keep`."""

    key: str
    text: str
    actor: Actor
    agent: Agent | None = None
    contact_id: UUID | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    language: str | None = None
    subject: str | None = None
    category: str | None = None
    matter: str | None = None
    severity: str | None = None
    came_by: str = "walk_in"
    queue_id: UUID | None = None
    keep: bool = False
    occurred_at: datetime | None = None
    reply_channel_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    conversation_id: UUID
    message_id: UUID
