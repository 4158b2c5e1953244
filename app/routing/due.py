"""What is due for a conversation that waits, and when the next thing is (pure): values in, values out, no clock.

A ring widens who is asked, those who declined are asked again, a transfer has waited long enough, the wait is over its
limit, the queue passes it on. patience.py carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.models.words import DecisionKind
from app.routing.rings import next_ring_after_s


@dataclass(frozen=True, slots=True)
class Rules:
    """What a queue does with those who wait. `closed` and `closes_at` only where it passes them on while it is closed."""

    rings: Sequence[Mapping[str, Any]] = ()
    overflow_queue_id: UUID | None = None
    overflow_after_s: float | None = None
    max_wait_s: float | None = None
    closed: bool = False
    closes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One that waits. `held`: an agent works on it all the same. `excluded` are asked again at `round_at`."""

    queue_id: UUID
    entered_at: datetime
    ring: int = 0
    escalated: bool = False
    held: bool = False
    target_agent_id: UUID | None = None
    target_until: datetime | None = None
    excluded: Sequence[str] = ()
    round_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done, in the queue where it was then, and what the record says of it."""

    kind: DecisionKind
    queue_id: UUID
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done now, the entry as it is then (None: it leaves, its assignee keeps it), and when to look again."""

    steps: Sequence[Step]
    entry: Entry | None
    next_at: datetime | None


def look(entry: Entry, queues: Mapping[UUID, Rules], moment: datetime) -> Verdict:
    """What is due at `moment` (pure). A queue that is not among `queues` has no rules."""
    steps: list[Step] = []
    if entry.target_agent_id is not None:
        if entry.target_until is None or entry.target_until > moment:
            return Verdict((), entry, entry.target_until)
        stays = entry.held and not entry.escalated
        outcome = "back_to_assignee" if stays else "to_queue"
        detail = {"agent_id": str(entry.target_agent_id), "outcome": outcome}
        steps.append(Step(DecisionKind.UNTARGETED, entry.queue_id, detail))
        if stays:
            return Verdict(steps, None, None)
        entry = replace(entry, target_agent_id=None, target_until=None)
    if entry.round_at is not None and entry.round_at <= moment:
        if entry.excluded:
            steps.append(Step(DecisionKind.ROUND, entry.queue_id, {"asked_again": list(entry.excluded)}))
        entry = replace(entry, excluded=(), round_at=None)
    if not entry.held:
        entry = _widened(_moved(_escalated(entry, queues, moment, steps), queues, moment, steps), queues, moment, steps)
    return Verdict(steps, entry, next_at(entry, queues))


def next_at(entry: Entry, queues: Mapping[UUID, Rules]) -> datetime | None:
    """When something is due for an entry for which everything that was due has been done (pure)."""
    if entry.target_agent_id is not None:
        return entry.target_until
    times = [entry.round_at]
    if not entry.held:
        rules = queues.get(entry.queue_id, Rules())
        times.append(_after(entry, next_ring_after_s(rules.rings, entry.ring)))
        if not entry.escalated:
            times.append(_after(entry, rules.max_wait_s))
        if destination(entry.queue_id, queues):
            times += [_after(entry, rules.overflow_after_s), rules.closes_at]
    return min((at for at in times if at is not None), default=None)


def destination(queue_id: UUID, queues: Mapping[UUID, Rules]) -> list[UUID]:
    """The queues it overflows through (pure): on past those that are closed and pass on; the last one takes it.

    Empty when there is none, and when they lead in a circle.
    """
    path: list[UUID] = []
    rules = queues.get(queue_id, Rules())
    while (on := rules.overflow_queue_id) is not None and on in queues:
        if on == queue_id or on in path:
            return []
        path.append(on)
        rules = queues[on]
        if not rules.closed:
            break
    return path


def _escalated(entry: Entry, queues: Mapping[UUID, Rules], moment: datetime, steps: list[Step]) -> Entry:
    limit_s = queues.get(entry.queue_id, Rules()).max_wait_s
    if entry.escalated or not _over(entry, limit_s, moment):
        return entry
    steps.append(Step(DecisionKind.ESCALATED, entry.queue_id, {"after_s": limit_s, **_waited(entry, moment)}))
    return replace(entry, escalated=True)


def _moved(entry: Entry, queues: Mapping[UUID, Rules], moment: datetime, steps: list[Step]) -> Entry:
    rules = queues.get(entry.queue_id, Rules())
    late = _over(entry, rules.overflow_after_s, moment)
    if not (rules.closed or late):
        return entry
    path = destination(entry.queue_id, queues)
    if not path:
        return entry
    detail = {
        "reason": "closed" if rules.closed else "waited",
        "after_s": None if rules.closed else rules.overflow_after_s,
        "path": [str(queue_id) for queue_id in path],
        "to_queue_id": str(path[-1]),
        **_waited(entry, moment),
    }
    steps.append(Step(DecisionKind.OVERFLOW, entry.queue_id, detail))
    return replace(entry, queue_id=path[-1], entered_at=moment, ring=0)


def _widened(entry: Entry, queues: Mapping[UUID, Rules], moment: datetime, steps: list[Step]) -> Entry:
    """Straight to the newest ring that is due."""
    rings = queues.get(entry.queue_id, Rules()).rings
    ring = entry.ring
    while _over(entry, next_ring_after_s(rings, ring), moment):
        ring += 1
    if ring == entry.ring:
        return entry
    detail = {"ring": ring, "from_ring": entry.ring, **dict(rings[ring - 1]), **_waited(entry, moment)}
    steps.append(Step(DecisionKind.RING, entry.queue_id, detail))
    return replace(entry, ring=ring)


def _after(entry: Entry, seconds: float | None) -> datetime | None:
    return None if seconds is None else entry.entered_at + timedelta(seconds=seconds)


def _over(entry: Entry, seconds: float | None, moment: datetime) -> bool:
    at = _after(entry, seconds)
    return at is not None and at <= moment


def _waited(entry: Entry, moment: datetime) -> dict[str, float]:
    return {"waited_s": round((moment - entry.entered_at).total_seconds(), 3)}
