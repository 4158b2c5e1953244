"""Entries of many lanes in their one order of service, read page by page. Pure: what to read next, and what may be served.

A lane holds entries that are alike for any agent (models/routing.py LANE). Its pages are read in order; entries of all
lanes are merged by (order_at, conversation). Nothing is served beyond the end of a full page: what comes after it in
that lane is not known yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import Any, TypeAlias
from uuid import UUID

from app.routing.choose import Plan
from app.routing.views import Waiting

PAGE = 200
_FIRST_PAGE = 2

Key: TypeAlias = tuple[datetime, UUID]


@dataclass(slots=True)
class Head:
    """An entry read from a lane, at its place; `extra` is what the reader wants back with it."""

    key: Key
    entry: Waiting
    extra: Any = None


@dataclass(slots=True)
class Lane:
    """`like` stands for its entries; `key` is how the reader finds them. `after` is how far it has been read."""

    like: Waiting
    key: Any = None
    after: Key | None = None
    page: int = 0
    overdue: bool = False
    read: bool = False
    heads: deque[Head] = field(default_factory=deque)


class Merge:
    """State of one pass over the lanes."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = [*lanes]

    def wanted(self, plan: Plan) -> list[Lane]:
        """Lanes of which `page` more entries after `after` are to be read before going on; forgets all that is in vain.

        Where nobody has room any more for anything, nothing is. In a lane that fits nobody now, only entries that have
        lost patience matter (`overdue`), and only as many as there are agents to be kept free for them.
        """
        self._lanes = [lane for lane in self._lanes if lane.heads or not lane.read]
        fitting = [lane for lane in self._lanes if plan.fits(lane.like)]
        if not fitting:
            self._lanes = []
            return []
        if all(lane.heads or lane.read for lane in self._lanes):
            return []
        share, wanted = PAGE * 3 // len(fitting) + 1, []
        for lane in self._lanes:
            if lane.read or 2 * len(lane.heads) > lane.page or (lane.heads and lane.overdue):
                continue
            wanted.append(lane)
            times, short = plan.room(lane.like, PAGE)
            if times:
                lane.page = min(PAGE, max(min(share, max(times, _FIRST_PAGE)), lane.page * 2))
                lane.overdue = False
            else:
                lane.page, lane.overdue, lane.read = short, True, short == 0
        self._lanes = [lane for lane in self._lanes if lane.heads or not lane.read]
        return [lane for lane in wanted if not lane.read]

    @property
    def over(self) -> bool:
        return not self._lanes

    def feed(self, lane: Lane, heads: Iterable[Head], *, count: int) -> None:
        """What was read of a lane: `count` entries, of which these came into question."""
        lane.heads.extend(sorted(heads, key=lambda head: head.key))
        lane.read = count < lane.page

    def take(self) -> Iterator[Head]:
        """What may be served now, in order; the caller may stop anywhere and come back."""
        horizon = min((lane.heads[-1].key for lane in self._lanes if lane.heads and not lane.read), default=None)
        line = [(lane.heads[0].key, n) for n, lane in enumerate(self._lanes) if lane.heads]
        heapify(line)
        while line:
            key, n = line[0]
            if horizon is not None and key > horizon:
                return
            heads = self._lanes[n].heads
            head = heads.popleft()
            if heads:
                heapreplace(line, (heads[0].key, n))
            else:
                heappop(line)
            yield head
