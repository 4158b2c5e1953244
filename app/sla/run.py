"""How a clock counts (pure): open time accumulates over calendars that may be edited while it runs, and over pauses.

A calendar is a timeline of editions: each holds from its moment until the next one. What was counted under an edition
stays counted. Durations are whole microseconds of open time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from app.sla import calendar as hours
from app.sla.calendar import ALWAYS, Calendar

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Edition:
    """What a calendar says from `since` on. The first one of a timeline also holds before that."""

    version: int
    since: datetime
    calendar: Calendar


Timeline = Sequence[Edition]
"""Editions in the order of their versions; at least one."""
EVER: Timeline = (Edition(0, datetime(1970, 1, 1, tzinfo=UTC), ALWAYS),)
"""24 hours, 7 days."""


@dataclass(frozen=True, slots=True)
class Run:
    """What has been counted, and since when it counts on; None while it stands still."""

    elapsed_us: int = 0
    running_since: datetime | None = None


def counted_us(timeline: Timeline, start: datetime, end: datetime) -> int:
    """Open time in [start, end); 0 when `end` is not after `start`."""
    return sum(
        hours.elapsed_us(calendar, begins, end if ends is None else ends)
        for calendar, begins, ends in _pieces(timeline, start, end)
    )


def reached(timeline: Timeline, start: datetime, amount_us: int) -> datetime | None:
    """When `amount_us` of open time has run since `start`; None when it never has."""
    left = amount_us
    for calendar, begins, ends in _pieces(timeline, start, None):
        counted = None if ends is None else hours.elapsed_us(calendar, begins, ends)
        if counted is None or left <= counted:
            return hours.add_us(calendar, begins, left)
        left -= counted
    return None


def spans(timeline: Timeline, start: datetime, end: datetime) -> Iterator[Span]:
    """The intervals that count in [start, end), in order."""
    for calendar, begins, ends in _pieces(timeline, start, end):
        yield from hours.intervals(calendar, begins, end if ends is None else ends)


def _pieces(
    timeline: Timeline, start: datetime, end: datetime | None
) -> Iterator[tuple[Calendar, datetime, datetime | None]]:
    """[start, end) cut where an edition gives way to the next; the last piece ends with `end`, None: never."""
    begins = start
    for edition, following in pairwise(timeline):
        if end is not None and following.since >= end:
            yield edition.calendar, begins, end
            return
        if following.since > begins:
            yield edition.calendar, begins, following.since
            begins = following.since
    yield timeline[-1].calendar, begins, end


def elapsed_us(run: Run, timeline: Timeline, at: datetime) -> int:
    """Everything counted by `at`."""
    if run.running_since is None:
        return run.elapsed_us
    return run.elapsed_us + counted_us(timeline, run.running_since, at)


def stop(run: Run, timeline: Timeline, at: datetime) -> Run:
    """It stands still from `at` on: paused, or done."""
    return Run(elapsed_us(run, timeline, at))


def go(run: Run, at: datetime) -> Run:
    """It counts on from `at`; no-op for one that runs."""
    return run if run.running_since is not None else Run(run.elapsed_us, at)


def fold(run: Run, timeline: Timeline) -> Run:
    """The same run with all that was counted under former editions in `elapsed_us`."""
    since = timeline[-1].since
    if run.running_since is None or since <= run.running_since or len(timeline) == 1:
        return run
    return Run(elapsed_us(run, timeline, since), since)


def due(run: Run, timeline: Timeline, after_us: int, past: Sequence[Span] = ()) -> datetime | None:
    """When `after_us` are counted, if it runs on as it does. None while it stands still, or when that is never.

    What was reached before the current stretch began is dated by the stretches of the `past`, where they are given,
    else at the beginning of the current one.
    """
    if past and after_us <= run.elapsed_us:
        left = after_us
        for start, end in past:
            counted = counted_us(timeline, start, end)
            if left <= counted:
                return reached(timeline, start, left)
            left -= counted
    if run.running_since is None:
        return None
    return reached(timeline, run.running_since, max(after_us - run.elapsed_us, 0))


def stretches(started_at: datetime, pauses: Sequence[tuple[datetime, datetime | None]], end: datetime) -> list[Span]:
    """When a clock ran from `started_at` to `end`, given when it stood still, in order (None: still does)."""
    found: list[Span] = []
    begins: datetime | None = started_at
    for stood, went in pauses:
        if begins is not None and stood > begins:
            found.append((begins, min(stood, end)))
        begins = went
    if begins is not None and begins < end:
        found.append((begins, end))
    return [span for span in found if span[0] < span[1]]
