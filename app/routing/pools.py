"""Agents who can take one kind of conversation, kept in the order in which they are asked. Pure.

Two tiers, those who are asked first and the rest; in each, whoever had the contact before, then who speaks the
language, then by level, then lowest utilisation, then longest idle, then the id. Who has no room stands at the end.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import TypeAlias
from uuid import UUID

from app.routing.views import LONG_AGO, AgentView, LeftOut, Waiting, base, graded, level, need, speaks, unfit

Rank: TypeAlias = tuple[float, int, datetime, int]
_Key: TypeAlias = tuple[bool, int, Rank]
_Place: TypeAlias = "tuple[_Key, Seat]"


@dataclass(slots=True)
class Seat:
    """An agent while a plan is made: what earlier choices hold counts for later ones. `places` are where it stands."""

    agent: AgentView
    free: int
    bases: frozenset[str | None]
    turn: int = 0
    kept: bool = False
    places: list[tuple[list[_Place], int]] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        return self.free > 0 and not self.kept

    def rank(self) -> Rank:
        """Lowest utilisation, then longest idle (whoever got something in this plan, after the others), then the id."""
        agent = self.agent
        return (1 - self.free / agent.capacity, self.turn, agent.idle_since or LONG_AGO, agent.id.int)

    def move(self, *, weight: int = 0, turn: int | None = None, kept: bool = False) -> None:
        """Take or give room, and the place in every list that goes with it."""
        before = (not self.usable, self.rank())
        self.free -= weight
        self.turn = self.turn if turn is None else turn
        self.kept = self.kept or kept
        after = (not self.usable, self.rank())
        for places, at in self.places:
            del places[bisect_left(places, ((before[0], at, before[1]), self))]
            insort(places, ((after[0], at, after[1]), self))


def seat(agent: AgentView) -> Seat:
    return Seat(agent, agent.capacity - agent.load, frozenset(map(base, agent.languages)))


class _Tier:
    """Seats by agent, with their level, and lists of them in order: of all, and of those who speak a language."""

    def __init__(self) -> None:
        self.seats: dict[UUID, tuple[Seat, int]] = {}
        self._lists: dict[str | None, list[_Place]] = {}

    def in_order(self, language: str | None, preferred_id: UUID | None) -> Iterator[Seat]:
        first = self.seats.get(preferred_id) if preferred_id is not None else None
        if first is not None:
            yield first[0]
        found = first[0] if first else None
        if language is not None:
            for _, one in self._list(language):
                if one is not found:
                    yield one
        for _, one in self._list(None):
            if one is not found and (language is None or not speaks(language, one.bases)):
                yield one

    def _list(self, language: str | None) -> list[_Place]:
        places = self._lists.get(language)
        if places is None:
            standing = [(one, at) for one, at in self.seats.values() if speaks(language, one.bases)]
            places = sorted(((not one.usable, at, one.rank()), one) for one, at in standing)
            for one, at in standing:
                one.places.append((places, at))
            self._lists[language] = places
        return places


class Pool:
    """Those who are fit for entries like `entry`. `aside` are members of its queue who are not, by reason.

    Room only shrinks while a plan is made, so `full` remembers the weights for which nobody has any.
    """

    def __init__(self, entry: Waiting, seats: Iterable[Seat]) -> None:
        self._first, self._rest = _Tier(), _Tier()
        self.aside: dict[LeftOut, list[UUID]] = {}
        self.full: set[int] = set()
        self._short: dict[int, list[tuple[int, int, Seat]]] = {}
        self._all: list[Seat] = []
        for one in seats:
            if reason := unfit(entry, one.agent):
                self.aside.setdefault(reason, []).append(one.agent.id)
            else:
                tier = self._first if graded(entry, one.agent) else self._rest
                tier.seats[one.agent.id] = (one, level(entry, one.agent))
                self._all.append(one)

    def in_order(self, entry: Waiting) -> Iterator[Seat]:
        language = base(entry.language)
        yield from self._first.in_order(language, entry.preferred_agent_id)
        yield from self._rest.in_order(language, entry.preferred_agent_id)

    def fits(self, weight: int) -> bool:
        if weight in self.full:
            return False
        if any(one.usable and one.free >= need(weight, one.agent.capacity) for one in self._all):
            return True
        self.full.add(weight)
        return False

    def room(self, weight: int, most: int) -> tuple[int, int]:
        """(how many of this weight would find room, how many agents have some but not enough), up to `most`."""
        if not self.fits(weight):
            return 0, min(sum(one.usable for one in self._all), most)
        fitting = 0
        for one in self._all:
            if one.usable:
                fitting += one.free // need(weight, one.agent.capacity)
                if fitting >= most:
                    break
        return min(fitting, most), 0

    def forget(self) -> None:
        """Somebody has more room than before."""
        self.full.clear()
        self._short.clear()

    def closest(self, entry: Waiting) -> Seat | None:
        """The agent who lacks least of the room that the entry needs, and has some."""
        heap = self._short.get(entry.weight)
        if heap is None:
            heap = [(_lacks(entry, one), one.agent.id.int, one) for one in self._all if one.usable]
            heapify(heap)
            self._short[entry.weight] = heap
        passed, found = [], None
        while heap and found is None:
            lacks, number, one = heappop(heap)
            if not one.usable:
                continue
            if lacks != _lacks(entry, one):
                heappush(heap, (_lacks(entry, one), number, one))
                continue
            passed.append((lacks, number, one))
            if lacks > 0 and one.agent.id not in entry.excluded and one.agent.id != entry.assignee_id:
                found = one
        for item in passed:
            heappush(heap, item)
        return found


def kind(entry: Waiting) -> Hashable:
    """What a pool depends on."""
    if entry.target_agent_id is not None:
        return entry.target_agent_id
    held = entry.escalated and entry.assignee_id is not None
    return entry.queue_id, entry.closed, entry.escalated, held, entry.max_level, entry.skills, entry.specialists


def _lacks(entry: Waiting, one: Seat) -> int:
    return need(entry.weight, one.agent.capacity) - one.free
