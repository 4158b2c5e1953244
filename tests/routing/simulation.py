"""A contact centre in simulated time, with the real deciders: lanes are merged, agents chosen and rings widened as the
dispatcher and patience do it, on lists instead of tables."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any
from uuid import UUID

from app.routing.choose import PATIENCE_S, Plan
from app.routing.lanes import Head, Key, Lane, Merge
from app.routing.rings import next_ring_after_s, requirement
from app.routing.views import AgentView, Decision, Waiting

START = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
ROUND_S = 30.0


@dataclass(frozen=True)
class Line:
    """A queue."""

    id: UUID
    skills: frozenset[str] = frozenset()
    rings: Sequence[Mapping[str, Any]] = ()


@dataclass
class Item:
    """A conversation: when it comes, its head start, how long it takes, and how many times an offer of it is declined."""

    number: int
    queue_id: UUID
    came: float
    boost: float = 0.0
    weight: int = 1
    takes: float = 60.0
    skills: frozenset[str] = frozenset()
    declined: int = 0
    ring: int = 0
    excluded: frozenset[UUID] = frozenset()
    served: float | None = None
    by: UUID | None = None

    @property
    def key(self) -> Key:
        return (START + timedelta(seconds=self.came - self.boost), UUID(int=self.number + 1))

    @property
    def waited(self) -> float:
        assert self.served is not None
        return self.served - self.came


@dataclass
class Agent:
    id: UUID
    queues: Mapping[UUID, int]
    capacity: int = 6
    skills: frozenset[str] = frozenset()
    load: int = 0
    served: int = 0
    last: datetime | None = None

    def view(self) -> AgentView:
        values = {"idle_since": self.last, "skills": self.skills}
        return AgentView(self.id, "agent", self.queues, self.capacity, self.load, **values)  # type: ignore[arg-type]


_LaneKey = tuple[UUID, int, int, frozenset[str]]
_Place = tuple[Key, int]


@dataclass
class Centre:
    """`page` cuts the pages short, so that their ends matter. `overtaken` is the worst there was: by how many seconds, head
    starts counted, somebody was passed by another."""

    lines: Sequence[Line]
    agents: Sequence[Agent]
    page: int = 200
    opens: float = 0.0
    now: float = 0.0
    steps: int = 0
    overtaken: float = 0.0
    _lanes: dict[_LaneKey, list[_Place]] = field(default_factory=dict)
    _items: dict[int, Item] = field(default_factory=dict)
    _events: list[tuple[float, int, str, int]] = field(default_factory=list)

    def run(self, items: Sequence[Item]) -> None:
        """Until nothing happens any more. Before `opens` there are no agents."""
        self._items = {item.number: item for item in items}
        if items:
            self._at(self.opens, "opens", items[0])
        for item in items:
            self._at(item.came, "comes", item)
        while self._events:
            self.now = self._events[0][0]
            while self._events and self._events[0][0] <= self.now:
                _, _, what, number = heappop(self._events)
                self._happens(what, self._items[number])
            if self.now >= self.opens:
                self._dispatch()

    def _at(self, when: float, what: str, item: Item) -> None:
        heappush(self._events, (when, len(self._events) + self.steps, what, item.number))
        self.steps += 1

    def _happens(self, what: str, item: Item) -> None:
        line = next(line for line in self.lines if line.id == item.queue_id)
        if what == "comes":
            self._wait(item)
            self._at(item.came + PATIENCE_S, "patience", item)
        elif what == "ends":
            agent = next(agent for agent in self.agents if agent.id == item.by)
            agent.load -= min(item.weight, agent.capacity)
        elif what == "round":
            item.excluded = frozenset()
        elif what == "ring" and item.served is None:
            self._leave(item)
            item.ring += 1
            self._wait(item)
        if what in ("comes", "ring") and item.served is None:
            after = next_ring_after_s(line.rings, item.ring)
            if after is not None:
                self._at(max(item.came + after, self.now), "ring", item)

    def _lane(self, item: Item) -> _LaneKey:
        return (item.queue_id, item.weight, item.ring, item.skills)

    def _wait(self, item: Item) -> None:
        insort(self._lanes.setdefault(self._lane(item), []), (item.key, item.number))

    def _leave(self, item: Item) -> None:
        self._lanes[self._lane(item)].remove((item.key, item.number))
        if not self._lanes[self._lane(item)]:
            del self._lanes[self._lane(item)]

    def _dispatch(self) -> None:
        """As Dispatcher.step."""
        by_id = {agent.id: agent for agent in self.agents}
        plan = Plan(agent.view() for agent in self.agents)
        merge = Merge([Lane(self._like(key), key) for key in sorted(self._lanes, key=repr)])
        while not merge.over:
            for lane in merge.wanted(plan):
                lane.page = min(lane.page, self.page)
                places = self._lanes.get(lane.key, [])
                after = bisect_right(places, (lane.after, 1 << 60)) if lane.after else 0
                found = [self._items[number] for _, number in places[after:] if self._is_in_question(number, lane)]
                found = found[: lane.page]
                if found:
                    lane.after = found[-1].key
                merge.feed(lane, [Head(item.key, self._entry(item, lane.like)) for item in found], count=len(found))
            for head in merge.take():
                decision = plan.decide(head.entry)
                if decision.agent_id is not None:
                    self._offer(head.entry, decision, by_id[decision.agent_id])

    def _is_in_question(self, number: int, lane: Lane) -> bool:
        return not lane.overdue or self.now - self._items[number].came >= PATIENCE_S

    def _like(self, key: _LaneKey) -> Waiting:
        queue_id, weight, ring, skills = key
        line = next(line for line in self.lines if line.id == queue_id)
        needed, level = requirement(line.skills, skills, line.rings, ring)
        return Waiting(queue_id, queue_id, weight, needed, level, ring=ring)

    def _entry(self, item: Item, like: Waiting) -> Waiting:
        waited = self.now - item.came
        return replace(like, conversation_id=item.key[1], excluded=item.excluded, waited_s=waited)

    def _offer(self, entry: Waiting, decision: Decision, agent: Agent) -> None:
        """Taken at once, or declined at once; what must hold is looked at here."""
        item = self._items[entry.conversation_id.int - 1]
        assert item.served is None, "it is served already"
        assert agent.id not in item.excluded
        assert self._is_fit(agent, self._like(self._lane(item))), "who may not, may not"
        agent.last = START + timedelta(seconds=self.now, microseconds=self.steps % 1_000_000)
        if item.declined:
            item.declined -= 1
            item.excluded |= {agent.id}
            self._at(self.now + ROUND_S, "round", item)
            return
        agent.load += decision.weight
        assert agent.load <= agent.capacity, "never more than there is room for"
        self.overtaken = max(self.overtaken, self._passed_by(item, agent))
        self._leave(item)
        item.served, item.by = self.now, agent.id
        agent.served += decision.weight
        self._at(self.now + item.takes, "ends", item)

    def _passed_by(self, item: Item, agent: Agent) -> float:
        """By how many seconds, head starts counted, it is before one that this agent could have taken in its place.

        Those of its own lane, and those of any other that ask for no more than it does.
        """
        worst = 0.0
        for key, places in self._lanes.items():
            if key[1] <= item.weight and self._is_fit(agent, self._like(key)):
                others = (self._items[number] for _, number in places)
                first = next((other for other in others if not other.excluded), item)
                worst = max(worst, (item.key[0] - first.key[0]).total_seconds())
        return worst

    def _is_fit(self, agent: Agent, like: Waiting) -> bool:
        level = agent.queues.get(like.queue_id)
        return level is not None and like.skills <= agent.skills and (like.max_level is None or level <= like.max_level)
