"""Which agent is offered a conversation, and why not the others. Pure: values in, values out.

An agent stands aside for a named reason (LeftOut). Of those who remain, an escalated conversation goes to supervisors
first; then who speaks the customer's language, then lowest utilisation, then longest without an offer, then the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from app.models.words import Availability, Role

PATIENCE_S = 30.0
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LeftOut(StrEnum):
    """Why an agent does not get it."""

    INACTIVE = "inactive"
    NOT_ONLINE = "not_online"
    NOT_PRESENT = "no_live_socket"
    NOT_TARGET = "meant_for_another"
    NOT_SUPERVISOR = "supervisors_only"
    NOT_IN_QUEUE = "not_in_queue"
    HAS_IT = "has_it_now"
    EXCLUDED = "declined_or_missed"
    LACKS_SKILL = "lacks_skill"
    NO_CAPACITY = "no_free_capacity"
    KEPT_FREE = "kept_for_an_older_one"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conversation that needs an agent. `excluded` are those who declined or missed it in this round."""

    conversation_id: UUID
    queue_id: UUID
    weight: int
    skills: frozenset[str] = frozenset()
    language: str | None = None
    escalated: bool = False
    assignee_id: UUID | None = None
    target_agent_id: UUID | None = None
    excluded: frozenset[UUID] = frozenset()
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent at the moment of the choice. `idle_since` is when they were last offered something."""

    id: UUID
    role: str
    queues: frozenset[UUID]
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
        return self.role in (Role.SUPERVISOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who could take it, with what ranks them."""

    agent_id: UUID
    supervisor: bool
    speaks: bool
    utilisation: float
    idle_since: datetime | None


@dataclass(frozen=True, slots=True)
class Decision:
    """`agent_id` gets the offer and holds `weight` for it; `kept_agent_id` is kept free instead, until it fits.

    `candidates` are in order; `left_out` maps agents to reasons.
    """

    agent_id: UUID | None
    weight: int
    candidates: Sequence[Candidate] = ()
    left_out: Mapping[UUID, LeftOut] = field(default_factory=dict)
    kept_agent_id: UUID | None = None


@dataclass(slots=True)
class _Seat:
    """An agent while a plan is made: what earlier choices hold counts for later ones."""

    agent: AgentView
    free: int
    turn: int = 0
    kept: bool = False
    bases: frozenset[str] = frozenset()


Rank = tuple[bool, bool, float, int, datetime, UUID]


def need(weight: int, capacity: int) -> int:
    """What it holds of an agent: one who never has that much room takes it alone, so that nothing is left for ever."""
    return max(1, min(weight, capacity))


def choose(entry: Waiting, agents: Iterable[AgentView], *, patience_s: float = PATIENCE_S) -> Decision:
    """One conversation, every agent looked at."""
    plan = Plan(agents, patience_s=patience_s)
    return plan.decide(entry, look_at_all=True)


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


class Plan:
    """Choices for many conversations in their order of service, on one look at the agents.

    A conversation that fits nobody now lets lighter ones pass for `patience_s`; after that the agent who is closest
    to having room is kept free for it, so that heavy ones are not overtaken for ever.
    """

    def __init__(self, agents: Iterable[AgentView], *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._turn = 0
        self._seats: dict[UUID, _Seat] = {}
        self._of_queue: dict[UUID, list[_Seat]] = {}
        self._seniors: list[_Seat] = []
        self._aside: dict[UUID, tuple[AgentView, LeftOut]] = {}
        for agent in agents:
            self._add(agent)

    def _add(self, agent: AgentView) -> None:
        reason = standing(agent)
        if reason is not None:
            self._aside[agent.id] = (agent, reason)
            return
        seat = _Seat(agent, agent.capacity - agent.load, bases=frozenset(map(_base, agent.languages)))
        self._seats[agent.id] = seat
        for queue_id in agent.queues:
            self._of_queue.setdefault(queue_id, []).append(seat)
        if agent.senior:
            self._seniors.append(seat)

    def usable(self) -> list[tuple[AgentView, int]]:
        """Agents with room left by the choices so far, and how much."""
        return [(seat.agent, seat.free) for seat in self._seats.values() if seat.free > 0 and not seat.kept]

    def agent_ids(self) -> list[UUID]:
        """Those who take offers in general."""
        return list(self._seats)

    def decide(self, entry: Waiting, *, look_at_all: bool = False) -> Decision:
        """The choice, taken into account by the next one. `look_at_all` also names those outside the queue."""
        ranked: list[tuple[Rank, _Seat]] = []
        left_out: dict[UUID, LeftOut] = {}
        short: list[_Seat] = []
        for seat in self._seats.values() if look_at_all else self._considered(entry):
            reason = _bar(entry, seat)
            if reason is None:
                ranked.append((_rank(entry, seat), seat))
            else:
                left_out[seat.agent.id] = reason
                if reason is LeftOut.NO_CAPACITY:
                    short.append(seat)
        if look_at_all:
            left_out |= {agent_id: reason for agent_id, (_, reason) in self._aside.items()}
        if not ranked:
            return Decision(None, entry.weight, (), left_out, self._keep(entry, short))
        ranked.sort(key=_by_rank)
        best = ranked[0][1]
        weight = need(entry.weight, best.agent.capacity)
        candidates = [_shown(rank, seat) for rank, seat in ranked]
        self._turn += 1
        best.free -= weight
        best.turn = self._turn
        return Decision(best.agent.id, weight, candidates, left_out)

    def undo(self, decision: Decision) -> None:
        """The offer could not be made; others may use the room."""
        if decision.agent_id is not None:
            self._seats[decision.agent_id].free += decision.weight

    def _considered(self, entry: Waiting) -> Iterable[_Seat]:
        if entry.target_agent_id is not None:
            seat = self._seats.get(entry.target_agent_id)
            return [seat] if seat else []
        members = self._of_queue.get(entry.queue_id, [])
        if not entry.escalated:
            return members
        return {seat.agent.id: seat for seat in (*self._seniors, *members)}.values()

    def _keep(self, entry: Waiting, short: Sequence[_Seat]) -> UUID | None:
        if entry.waited_s < self.patience_s or not short:
            return None
        closest = min(short, key=lambda seat: (need(entry.weight, seat.agent.capacity) - seat.free, _rank(entry, seat)))
        closest.kept = True
        return closest.agent.id


def _bar(entry: Waiting, seat: _Seat) -> LeftOut | None:
    """Why this agent, who takes offers in general, does not get this one."""
    agent = seat.agent
    if entry.target_agent_id is not None:
        if agent.id != entry.target_agent_id:
            return LeftOut.NOT_TARGET
    elif not (entry.escalated and agent.senior):
        if entry.escalated and entry.assignee_id is not None:
            return LeftOut.NOT_SUPERVISOR
        if entry.queue_id not in agent.queues:
            return LeftOut.NOT_IN_QUEUE
        if not entry.skills <= agent.skills:
            return LeftOut.LACKS_SKILL
    if agent.id == entry.assignee_id:
        return LeftOut.HAS_IT
    if agent.id in entry.excluded:
        return LeftOut.EXCLUDED
    if seat.kept:
        return LeftOut.KEPT_FREE
    if seat.free < need(entry.weight, agent.capacity):
        return LeftOut.NO_CAPACITY
    return None


def _rank(entry: Waiting, seat: _Seat) -> Rank:
    """The smallest wins. Inside one plan, whoever was given something has been idle for less than the others."""
    agent = seat.agent
    return (
        not (entry.escalated and agent.senior),
        not _speaks(entry.language, seat.bases),
        1 - seat.free / agent.capacity,
        seat.turn,
        agent.idle_since or _LONG_AGO,
        agent.id,
    )


def _by_rank(item: tuple[Rank, _Seat]) -> Rank:
    return item[0]


def _shown(rank: Rank, seat: _Seat) -> Candidate:
    return Candidate(seat.agent.id, not rank[0], not rank[1], rank[2], seat.agent.idle_since)


def _base(language: str) -> str:
    return language.replace("_", "-").split("-", 1)[0].lower()


def _speaks(language: str | None, bases: frozenset[str]) -> bool:
    """An agent who names no language takes any; a preference, never a bar."""
    return language is None or not bases or _base(language) in bases
