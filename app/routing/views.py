"""What the choice of an agent looks at, and what comes of it: values, as choose.py takes and gives them.

Nobody changes them. Those that are made by the thousand are not frozen all the same: that would cost four times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from app.models.words import SENIORS, Availability

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LeftOut(StrEnum):
    """Why an agent does not get it."""

    INACTIVE = "inactive"
    NOT_ONLINE = "not_online"
    NOT_PRESENT = "no_live_socket"
    NOT_TARGET = "meant_for_another"
    NOT_GRADED = "seniors_and_specialists_only"
    NOT_IN_QUEUE = "not_in_queue"
    HAS_IT = "has_it_now"
    EXCLUDED = "declined_or_missed"
    LACKS_SKILL = "lacks_skill"
    CLOSED = "queue_closed"
    OUTSIDE_RING = "outside_ring"
    NO_CAPACITY = "no_free_capacity"
    KEPT_FREE = "kept_for_an_older_one"
    NOT_PREFERRED = "waiting_for_preferred"


@dataclass(slots=True)
class Waiting:
    """A conversation that needs an agent, as its queue asks for one now (rings.py): `skills`, levels to `max_level`.

    `excluded` are those who declined or missed it in this round. `preferred_agent_id` had the contact before; the queue
    waits for them alone for `preferred_for_s` seconds more. `preferred` tells about them when they have no room.
    `closed`: its queue is, and asks only seniors and specialists, for what is escalated. `boosts` are only for the record.
    """

    conversation_id: UUID
    queue_id: UUID
    weight: int
    skills: frozenset[str] = frozenset()
    max_level: int | None = None
    language: str | None = None
    escalated: bool = False
    specialists: frozenset[str] = frozenset()
    ring: int = 0
    assignee_id: UUID | None = None
    target_agent_id: UUID | None = None
    excluded: frozenset[UUID] = frozenset()
    preferred_agent_id: UUID | None = None
    preferred_for_s: float = 0.0
    preferred: AgentView | None = None
    waited_s: float = 0.0
    closed: bool = False
    boosts: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class AgentView:
    """An agent at the moment of the choice: `queues` has their level in each. `idle_since`: when last offered something."""

    id: UUID
    role: str
    queues: Mapping[UUID, int]
    capacity: int
    load: int
    availability: str = Availability.ONLINE
    active: bool = True
    present: bool = True
    idle_since: datetime | None = None
    skills: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()

    @property
    def senior(self) -> bool:
        return self.role in SENIORS


@dataclass(slots=True)
class Candidate:
    """One who could take it, with what ranks them, in the order in which it does."""

    agent_id: UUID
    graded: bool
    preferred: bool
    speaks: bool
    level: int
    utilisation: float
    idle_since: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """`agent_id` gets the offer and holds `weight` for it.

    When nobody does: `kept_agent_id` is kept free until it fits; `awaited_agent_id` is to have it and has no room yet.
    `candidates` are in order; `left_out` maps agents to reasons.
    """

    agent_id: UUID | None
    weight: int
    candidates: Sequence[Candidate] = ()
    left_out: Mapping[UUID, LeftOut] = field(default_factory=dict)
    kept_agent_id: UUID | None = None
    awaited_agent_id: UUID | None = None


def need(weight: int, capacity: int) -> int:
    """What it holds of an agent: one who never has that much room takes it alone, so that nothing is left for ever."""
    return max(1, min(weight, capacity))


def standing(agent: AgentView) -> LeftOut | None:
    """What keeps an agent from any offer."""
    if not agent.active:
        return LeftOut.INACTIVE
    if agent.availability != Availability.ONLINE:
        return LeftOut.NOT_ONLINE
    if not agent.present:
        return LeftOut.NOT_PRESENT
    if agent.load >= agent.capacity:
        return LeftOut.NO_CAPACITY
    return None


def level(entry: Waiting, agent: AgentView) -> int:
    """At which level the agent stands in the entry's queue; a senior who is none of its members, at the first."""
    return agent.queues.get(entry.queue_id, 1)


def unfit(entry: Waiting, agent: AgentView) -> LeftOut | None:
    """What keeps an agent from everything of this kind: who they are, not how much they have or declined."""
    if entry.target_agent_id is not None:
        return None if agent.id == entry.target_agent_id else LeftOut.NOT_TARGET
    if entry.escalated and agent.senior:
        return None
    if entry.queue_id not in agent.queues:
        return LeftOut.NOT_IN_QUEUE
    if not entry.skills <= agent.skills:
        return LeftOut.LACKS_SKILL
    specialist = bool(entry.specialists & agent.skills)
    if entry.closed and not (entry.escalated and specialist):
        return LeftOut.CLOSED
    if specialist:
        return None
    if entry.escalated and entry.assignee_id is not None:
        return LeftOut.NOT_GRADED
    if entry.max_level is not None and agent.queues[entry.queue_id] > entry.max_level:
        return LeftOut.OUTSIDE_RING
    return None


def graded(entry: Waiting, agent: AgentView) -> bool:
    """Whether a fit agent is among those who are asked first: a senior for what is escalated, a specialist."""
    return (entry.escalated and agent.senior) or bool(entry.specialists & agent.skills)


def base(language: str | None) -> str | None:
    """`zh` of `zh-Hans-CN`."""
    return language.replace("_", "-").split("-", 1)[0].lower() if language else None


def speaks(wanted: str | None, bases: frozenset[str | None]) -> bool:
    """An agent who names no language takes any; a preference, never a bar."""
    return wanted is None or not bases or wanted in bases
