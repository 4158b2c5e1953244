"""Which agent is offered a conversation, and why not the others. Pure: values in, values out.

An agent stands aside for a named reason (LeftOut). Of those who remain, an escalated conversation goes to supervisors
first; then who speaks the customer's language, then lowest utilisation, then longest without an offer, then the id.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from app.models.words import Availability, Role

PATIENCE_S = 30.0
LOOK = 20
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Key: TypeAlias = tuple[float, int, datetime, int]
_Place: TypeAlias = "tuple[Key, _Seat]"


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
    """An agent while a plan is made: what earlier choices hold counts for later ones. `key` is the place in `lists`."""

    agent: AgentView
    free: int
    bases: frozenset[str]
    turn: int = 0
    kept: bool = False
    key: Key = (0.0, 0, _LONG_AGO, 0)
    lists: list[list[_Place]] = field(default_factory=list)

    def ranked(self) -> Key:
        """Lowest utilisation, then longest idle (whoever got something in this plan, after the others), then the id."""
        agent = self.agent
        return (1 - self.free / agent.capacity, self.turn, agent.idle_since or _LONG_AGO, agent.id.int)


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

    Agents stand in lists in their order, so that a choice among a thousand looks at the first `LOOK` who may.
    """

    def __init__(self, agents: Iterable[AgentView], *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._turn = 0
        self._seats: dict[UUID, _Seat] = {}
        self._aside: dict[UUID, LeftOut] = {}
        self._lists: dict[tuple[UUID | None, str | None], list[_Place]] = {}
        for agent in agents:
            if reason := standing(agent):
                self._aside[agent.id] = reason
            else:
                seat = _Seat(agent, agent.capacity - agent.load, frozenset(map(_base, agent.languages)))
                seat.key = seat.ranked()
                self._seats[agent.id] = seat

    def agent_ids(self) -> list[UUID]:
        """Those who take offers in general."""
        return list(self._seats)

    def usable(self) -> list[tuple[AgentView, int]]:
        """Agents with room left by the choices so far, and how much."""
        return [(seat.agent, seat.free) for seat in self._seats.values() if seat.free > 0 and not seat.kept]

    def decide(self, entry: Waiting, *, look_at_all: bool = False) -> Decision:
        """The choice, taken into account by the next one.

        Candidates are the first `LOOK`, and those left out the ones who stood before them; `look_at_all` names everyone.
        """
        found: list[_Seat] = []
        short: list[_Seat] = []
        left_out: dict[UUID, LeftOut] = {}
        for seat in self._everyone(entry) if look_at_all else self._in_order(entry):
            reason = _bar(entry, seat)
            if reason is None:
                found.append(seat)
                if len(found) == LOOK and not look_at_all:
                    break
            else:
                left_out[seat.agent.id] = reason
                if reason is LeftOut.NO_CAPACITY:
                    short.append(seat)
        if look_at_all:
            left_out |= self._aside
        if not found:
            return Decision(None, entry.weight, (), left_out, self._keep(entry, short))
        candidates = [_candidate(entry, seat) for seat in found]
        best = found[0]
        weight = need(entry.weight, best.agent.capacity)
        self._turn += 1
        best.turn = self._turn
        self._use(best, weight)
        return Decision(best.agent.id, weight, candidates, left_out)

    def undo(self, decision: Decision) -> None:
        """The offer could not be made; others may use the room."""
        if decision.agent_id is not None:
            self._use(self._seats[decision.agent_id], -decision.weight)

    def _use(self, seat: _Seat, weight: int) -> None:
        """Take room, and the place in every list that this room gives."""
        before = (seat.key, seat)
        seat.free -= weight
        seat.key = seat.ranked()
        for places in seat.lists:
            del places[bisect_left(places, before)]
            insort(places, (seat.key, seat))

    def _in_order(self, entry: Waiting) -> Iterator[_Seat]:
        """Those who come into question, best first."""
        if entry.target_agent_id is not None:
            if (seat := self._seats.get(entry.target_agent_id)) is not None:
                yield seat
            return
        base = _base(entry.language) if entry.language else None
        if entry.escalated:
            yield from self._standing_in(None, base)
        if not entry.escalated or entry.assignee_id is None:
            for seat in self._standing_in(entry.queue_id, base):
                if not (entry.escalated and seat.agent.senior):
                    yield seat

    def _standing_in(self, queue_id: UUID | None, base: str | None) -> Iterator[_Seat]:
        """Members of a queue (of none: supervisors), those who speak the language first."""
        if base is not None:
            for _, seat in self._list(queue_id, base):
                yield seat
        for _, seat in self._list(queue_id, None):
            if base is None or not _speaks(base, seat.bases):
                yield seat

    def _list(self, queue_id: UUID | None, base: str | None) -> list[_Place]:
        places = self._lists.get((queue_id, base))
        if places is None:
            places = sorted(
                (seat.key, seat)
                for seat in self._seats.values()
                if (seat.agent.senior if queue_id is None else queue_id in seat.agent.queues)
                and _speaks(base, seat.bases)
            )
            self._lists[queue_id, base] = places
            for _, seat in places:
                seat.lists.append(places)
        return places

    def _everyone(self, entry: Waiting) -> list[_Seat]:
        base = _base(entry.language) if entry.language else None
        return sorted(
            self._seats.values(),
            key=lambda seat: (not (entry.escalated and seat.agent.senior), not _speaks(base, seat.bases), seat.key),
        )

    def _keep(self, entry: Waiting, short: Sequence[_Seat]) -> UUID | None:
        if entry.waited_s < self.patience_s or not short:
            return None
        closest = min(short, key=lambda seat: need(entry.weight, seat.agent.capacity) - seat.free)
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


def _candidate(entry: Waiting, seat: _Seat) -> Candidate:
    agent = seat.agent
    speaks = entry.language is None or _speaks(_base(entry.language), seat.bases)
    return Candidate(agent.id, entry.escalated and agent.senior, speaks, seat.key[0], agent.idle_since)


def _base(language: str) -> str:
    return language.replace("_", "-").split("-", 1)[0].lower()


def _speaks(base: str | None, bases: frozenset[str]) -> bool:
    """An agent who names no language takes any; a preference, never a bar."""
    return base is None or not bases or base in bases
