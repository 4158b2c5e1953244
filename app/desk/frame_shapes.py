"""What the frames of the desk's socket are made of; docs/protocol.md is generated from here."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime

from app.desk.capability_shapes import ConversationCapabilities
from app.events.frames import Conversation, Count, Place, Wire
from app.models.words import (
    Availability,
    Category,
    ClockMetric,
    ComplaintProgress,
    ConversationStatus,
    CorrectiveStatus,
    CycleState,
    FollowUpKind,
    FollowUpOutcome,
    FollowUpState,
    ParticipantRole,
    RecoveryCause,
    RecoveryState,
    Remedy,
    Role,
)


class Agent(Wire):
    """The agent whose socket this is; `load` counts in the units of `capacity`."""

    id: UUID
    name: str
    email: str
    role: Role
    availability: Availability
    capacity: Count
    load: Count
    queue_ids: list[UUID]


class QueueCounts(Wire):
    """How many wait in a queue, and how many of them are being offered to somebody."""

    id: UUID
    name: str
    waiting: Count
    offered: Count


class OwnConversation(Conversation):
    """`read_seq` is how far the agent has read, `capabilities` what its channel takes now."""

    read_seq: Place
    capabilities: ConversationCapabilities


class OfferedConversation(Conversation):
    """With what it takes to decide."""

    contact_name: str | None
    last_message: str | None


class Offered(Wire):
    """`note` is the word of whoever transferred it; `weight` is what it costs of the agent's capacity."""

    offer_id: UUID
    expires_at: AwareDatetime
    weight: int
    escalated: bool
    note: str | None
    conversation: OfferedConversation


class TransferShape(Wire):
    """Where it is to go; `outcome` once it is known that the agent did not take it."""

    agent_id: UUID | None = None
    queue_id: UUID | None = None
    note: str | None = None
    outcome: str | None = None


class ParticipantShape(Wire):
    """Who takes part besides the assignee."""

    agent_id: UUID
    name: str
    role: ParticipantRole


class Mentioner(Wire):
    id: UUID | None
    name: str | None


class Cycle(Wire):
    id: UUID
    number: int
    state: CycleState


class Clock(Wire):
    """`level` counts breach and escalations from 1. `retargeted`: its deadline had passed when it was given this limit."""

    metric: ClockMetric
    target_s: float
    due_at: AwareDatetime
    cycle: int
    policy: str
    level: int
    retargeted: bool


class ClockedConversation(Wire):
    id: UUID
    status: ConversationStatus
    category: Category
    queue_id: UUID | None
    assignee_id: UUID | None
    owner_id: UUID | None


class Writer(Wire):
    """`id` is an agent's; the customer has none here."""

    type: Literal["agent", "contact"]
    id: UUID | None = None
    name: str | None


class PresentAgent(Wire):
    """`present`: a socket of theirs is open. `availability` is what they intend."""

    id: UUID
    name: str
    availability: Availability
    present: bool


class Change(Wire):
    waiting: int
    offered: int


class ComplaintRecord(Wire):
    """`number` counts all complaints; `GET /complaints/{conversation_id}` has the rest."""

    conversation_id: UUID
    number: int
    progress: ComplaintProgress


class Corrective(Wire):
    """Work with an owner and a day."""

    id: UUID
    conversation_id: UUID
    text: str
    owner_id: UUID
    due_on: date
    status: CorrectiveStatus


class Recovery(Wire):
    """A recovery task; `via` says how it is known whether it helped. `GET /recovery-tasks/{id}` has the rest."""

    id: UUID
    conversation_id: UUID
    cycle_id: UUID | None
    cause: RecoveryCause
    state: RecoveryState
    assignee_id: UUID | None
    due_at: AwareDatetime
    remedy: Remedy | None
    via: str | None


class ReturnContact(Wire):
    """A follow-up; its assignee is to contact the customer at `due_at`."""

    id: UUID
    conversation_id: UUID
    kind: FollowUpKind
    due_at: AwareDatetime
    assignee_id: UUID
    note: str | None
    state: FollowUpState
    outcome: FollowUpOutcome | None


class ToldEndpoint(Wire):
    """An endpoint of another system that is told what happens."""

    id: UUID
    description: str | None
    host: str
    state: Literal["ok", "down", "off"]
    error: str | None
