"""Which agent is offered a conversation, and why not the others. Pure: values in, values out.

An agent stands aside for a named reason (LeftOut). Of those who remain, seniors and specialists come first where the
conversation asks for them; then whoever had the contact before, the customer's language, the level in the queue, the
lowest utilisation, longest without an offer, the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from app.routing.pools import Pool, Seat, kind, seat
from app.routing.views import (
    AgentView,
    Candidate,
    Decision,
    LeftOut,
    Waiting,
    base,
    graded,
    level,
    need,
    speaks,
    standing,
    unfit,
)

__all__ = ["LOOK", "PATIENCE_S", "AgentView", "Candidate", "Decision", "LeftOut", "Plan", "Waiting", "choose"]

PATIENCE_S = 30.0
LOOK = 10


def choose(entry: Waiting, agents: Iterable[AgentView], *, patience_s: float = PATIENCE_S) -> Decision:
    """One conversation, every agent looked at."""
    return Plan(agents, patience_s=patience_s).decide(entry, look_at_all=True)


class Plan:
    """Choices for many conversations in their order of service, on one look at the agents.

    A conversation that fits nobody now lets lighter ones pass for `patience_s`; after that the agent who is closest
    to having room is kept free for it, so that heavy ones are not overtaken for ever.

    Agents stand in lists in their order, so that a choice among a thousand looks at the first `LOOK` who may.
    """

    def __init__(self, agents: Iterable[AgentView], *, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._turn = self._open = 0
        self._seats: dict[UUID, Seat] = {}
        self._aside: dict[UUID, tuple[AgentView, LeftOut]] = {}
        self._members: dict[UUID, list[Seat]] = {}
        self._seniors: list[Seat] = []
        self._pools: dict[object, Pool] = {}
        for agent in agents:
            if reason := standing(agent):
                self._aside[agent.id] = (agent, reason)
            else:
                self._seats[agent.id] = one = seat(agent)
                self._open += 1
                for queue_id in agent.queues:
                    self._members.setdefault(queue_id, []).append(one)
                if agent.senior:
                    self._seniors.append(one)

    def agent_ids(self) -> list[UUID]:
        """Those who take offers in general."""
        return list(self._seats)

    @property
    def spent(self) -> bool:
        """Nobody has room left."""
        return self._open == 0

    def usable(self) -> list[tuple[AgentView, int]]:
        """Agents with room left by the choices so far, and how much."""
        return [(one.agent, one.free) for one in self._seats.values() if one.usable]

    def fits(self, entry: Waiting) -> bool:
        """Whether somebody has room for entries like this one."""
        return self._pool(entry).fits(entry.weight)

    def room(self, entry: Waiting, most: int) -> tuple[int, int]:
        """(how many entries like this one would find room, how many agents have some but not enough), up to `most`."""
        return self._pool(entry).room(entry.weight, most)

    def aside(self, entry: Waiting) -> dict[LeftOut, list[UUID]]:
        """Members of its queue who take offers, but none of this kind."""
        return self._pool(entry).aside

    def decide(self, entry: Waiting, *, look_at_all: bool = False) -> Decision:
        """The choice, taken into account by the next one.

        Candidates are the first `LOOK`, and those left out the ones who stood before them; `look_at_all` names everyone.
        """
        pool = self._pool(entry)
        if not look_at_all and entry.weight in pool.full:
            return Decision(None, entry.weight, kept_agent_id=self._keep(entry, pool))
        awaited = self._awaited(entry)
        if awaited is not None and not look_at_all:
            return Decision(None, entry.weight, awaited_agent_id=awaited)
        seats, left_out = self._everyone(entry) if look_at_all else (pool.in_order(entry), {})
        found = _sift(entry, seats, left_out, most=len(self._seats) if look_at_all else LOOK)
        if awaited is not None:
            left_out |= {one.agent.id: LeftOut.NOT_PREFERRED for one in found}
            return Decision(None, entry.weight, left_out=left_out, awaited_agent_id=awaited)
        if not found:
            pool.fits(entry.weight)
            return Decision(None, entry.weight, left_out=left_out, kept_agent_id=self._keep(entry, pool))
        best = found[0]
        candidates = [_candidate(entry, one) for one in found]
        weight = need(entry.weight, best.agent.capacity)
        self._turn += 1
        self._move(best, weight=weight, turn=self._turn)
        return Decision(best.agent.id, weight, candidates, left_out)

    def undo(self, decision: Decision) -> None:
        """The offer could not be made; others may use the room."""
        if decision.agent_id is not None:
            self._move(self._seats[decision.agent_id], weight=-decision.weight)
            for pool in self._pools.values():
                pool.forget()

    def _move(self, one: Seat, *, weight: int = 0, turn: int | None = None, kept: bool = False) -> None:
        before = one.usable
        one.move(weight=weight, turn=turn, kept=kept)
        self._open += one.usable - before

    def _pool(self, entry: Waiting) -> Pool:
        key = kind(entry)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(entry, self._in_question(entry))
        return pool

    def _in_question(self, entry: Waiting) -> Iterator[Seat]:
        """Whom a pool may be made of: the target, members of the queue, seniors for what is escalated."""
        if entry.target_agent_id is not None:
            if (target := self._seats.get(entry.target_agent_id)) is not None:
                yield target
            return
        yield from self._members.get(entry.queue_id, ())
        if entry.escalated:
            yield from (one for one in self._seniors if entry.queue_id not in one.agent.queues)

    def _awaited(self, entry: Waiting) -> UUID | None:
        """Whoever had the contact before, while the queue waits for them alone and they are there without room."""
        agent_id = entry.preferred_agent_id
        if agent_id is None or entry.preferred_for_s <= 0 or entry.escalated or entry.target_agent_id is not None:
            return None
        if agent_id in entry.excluded or agent_id == entry.assignee_id:
            return None
        one = self._seats.get(agent_id)
        if one is not None:
            lacks = one.kept or one.free < need(entry.weight, one.agent.capacity)
            return agent_id if lacks and not unfit(entry, one.agent) else None
        agent = self._aside[agent_id][0] if agent_id in self._aside else entry.preferred
        if agent is None or unfit(entry, agent) or standing(agent) not in (None, LeftOut.NO_CAPACITY):
            return None
        return agent_id if agent.capacity - agent.load < need(entry.weight, agent.capacity) else None

    def _everyone(self, entry: Waiting) -> tuple[list[Seat], dict[UUID, LeftOut]]:
        """Who is fit, in the order in which pools keep them, worked out anew; and who is not, or takes no offers."""
        wanted = base(entry.language)
        left_out = {agent_id: reason for agent_id, (_, reason) in self._aside.items()}
        fit = []
        for one in self._seats.values():
            if reason := unfit(entry, one.agent):
                left_out[one.agent.id] = reason
            else:
                fit.append(one)
        fit.sort(
            key=lambda one: (
                not graded(entry, one.agent),
                one.agent.id != entry.preferred_agent_id,
                not speaks(wanted, one.bases),
                level(entry, one.agent),
                one.rank(),
            )
        )
        return fit, left_out

    def _keep(self, entry: Waiting, pool: Pool) -> UUID | None:
        if entry.waited_s < self.patience_s:
            return None
        closest = pool.closest(entry)
        if closest is None:
            return None
        self._move(closest, kept=True)
        return closest.agent.id


def _sift(entry: Waiting, seats: Iterable[Seat], left_out: dict[UUID, LeftOut], *, most: int) -> list[Seat]:
    """The first `most` who may take it; into `left_out` goes why those before them may not."""
    found: list[Seat] = []
    for one in seats:
        if reason := _bar(entry, one):
            left_out[one.agent.id] = reason
        else:
            found.append(one)
            if len(found) == most:
                break
    return found


def _bar(entry: Waiting, one: Seat) -> LeftOut | None:
    """Why this agent, who is fit for such entries, does not get this one now."""
    agent = one.agent
    if agent.id == entry.assignee_id:
        return LeftOut.HAS_IT
    if agent.id in entry.excluded:
        return LeftOut.EXCLUDED
    if one.kept:
        return LeftOut.KEPT_FREE
    if one.free < need(entry.weight, agent.capacity):
        return LeftOut.NO_CAPACITY
    return None


def _candidate(entry: Waiting, one: Seat) -> Candidate:
    agent = one.agent
    return Candidate(
        agent_id=agent.id,
        graded=graded(entry, agent),
        preferred=agent.id == entry.preferred_agent_id,
        speaks=speaks(base(entry.language), one.bases),
        level=level(entry, agent),
        utilisation=one.rank()[0],
        idle_since=agent.idle_since,
    )


def decided_by(candidates: Sequence[Candidate]) -> str | None:
    """In what the first candidate is before the second; none when there is no second."""
    if len(candidates) < 2:
        return None
    one, other = candidates[:2]
    ranks = ("graded", "preferred", "speaks", "level", "utilisation")
    return next((rank for rank in ranks if getattr(one, rank) != getattr(other, rank)), "longest_idle")
