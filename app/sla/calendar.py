"""When the service is open, and how much of that time has passed (pure): compiled calendars and what they answer.

Moments come in aware, in any zone; durations are whole microseconds; intervals are half-open, so a calendar is open at
an opening instant and closed at a closing one. A calendar knows the years 1970 to 2199; beyond them it is closed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from app.sla.holidays import PublicHolidays
from app.sla.hours import (
    DAY_US,
    Hours,
    from_us,
    merged,
    parse_exceptions,
    parse_weekly,
    parse_zone,
    reached_us,
    to_us,
)

if TYPE_CHECKING:
    from app.models import Calendar as CalendarRow

_BLOCK_US = 32 * DAY_US
_LAST_BLOCK = to_us(datetime(2200, 1, 1, tzinfo=UTC)) // _BLOCK_US
_KEPT_BLOCKS = 128
_EMPTY_BLOCKS = 24
"""After this many blocks without an opening, 768 days, a calendar counts as closed for good."""
_WHOLE_DAY: Hours = ((0, DAY_US),)


@dataclass(frozen=True, slots=True)
class _Block:
    """Open time in 32 days: where each interval opens and closes, and how much open time was before it in the block."""

    opens: tuple[int, ...]
    closes: tuple[int, ...]
    before: tuple[int, ...]
    total: int

    def counted(self, us: int) -> int:
        """Open time from the block's start to `us`."""
        last = bisect_right(self.opens, us) - 1
        return self.before[last] + min(us, self.closes[last]) - self.opens[last] if last >= 0 else 0

    def reached(self, amount: int) -> int:
        """The first instant at which `amount`, above 0 and at most the total, is counted."""
        last = bisect_left(self.before, amount) - 1
        return self.opens[last] + amount - self.before[last]

    def closing(self, us: int) -> int | None:
        """Where the interval that holds `us` ends; None when it is closed."""
        last = bisect_right(self.opens, us) - 1
        return self.closes[last] if last >= 0 and us < self.closes[last] else None


_CLOSED = _Block((), (), (), 0)


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Compiled and immutable; made by compile_calendar. Its blocks are worked out when asked for; the last 128 are kept."""

    zone: ZoneInfo
    weekly: tuple[Hours, ...]
    exceptions: Mapping[date, Hours]
    holidays: PublicHolidays | None = None
    always: bool = False
    _block: Callable[[int], _Block] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_block", lru_cache(maxsize=_KEPT_BLOCKS)(self._build))

    def hours(self, day: date) -> Hours:
        """What holds on a day: its exception, else its public holiday or shifted working day, else its weekday's."""
        exception = self.exceptions.get(day)
        if exception is not None:
            return exception
        if self.holidays is not None:
            if self.holidays.is_closed(day):
                return ()
            if self.holidays.is_worked(day):
                return self.weekly[self.holidays.like]
        return self.weekly[day.weekday()]

    def block(self, number: int) -> _Block:
        return self._block(number) if 0 <= number <= _LAST_BLOCK else _CLOSED

    def _build(self, number: int) -> _Block:
        """Days around the block too: the wall is up to a day away from UTC, and a night reaches into the next day."""
        start, end = number * _BLOCK_US, (number + 1) * _BLOCK_US
        days = (date(1970, 1, 1) + timedelta(days=number * 32 + more) for more in range(-3, 35))
        spans = merged(
            (max(reached_us(self.zone, day, opens), start), min(reached_us(self.zone, day, closes), end))
            for day in days
            for opens, closes in self.hours(day)
        )
        before, total = [], 0
        for opens, closes in spans:
            before.append(total)
            total += closes - opens
        return _Block(tuple(span[0] for span in spans), tuple(span[1] for span in spans), tuple(before), total)


ALWAYS = Calendar(zone=ZoneInfo("UTC"), weekly=(_WHOLE_DAY,) * 7, exceptions={}, always=True)
"""24 hours, 7 days."""


def compile_calendar(
    time_zone: str,
    weekly: Mapping[str, Sequence[Sequence[str]]],
    exceptions: Mapping[str, Sequence[Sequence[str]]] | None = None,
    holidays: Mapping[str, Any] | None = None,
) -> Calendar:
    """From what an operator wrote. Raises CalendarError (a ValueError), which names the field.

    `time_zone`: an IANA name. `weekly`: `mon` ... `sun` to pairs of local times, `("22:00", "06:00")` into the next
    morning and belonging to the day it starts on. `exceptions`: dates to pairs; none: closed all day. `holidays`:
    see app.sla.holidays.
    """
    zone, week, days = parse_zone(time_zone), parse_weekly(weekly), parse_exceptions(exceptions or {})
    public = PublicHolidays.parse(holidays, week) if holidays else None
    always = not days and public is None and all(hours == _WHOLE_DAY for hours in week)
    return Calendar(zone=zone, weekly=week, exceptions=days, holidays=public, always=always)


def from_row(row: CalendarRow) -> Calendar:
    """The compiled calendar of a stored one; the same content is compiled once and keeps its blocks. Raises CalendarError."""
    return _compiled(orjson.dumps([row.time_zone, row.weekly, row.exceptions, row.holidays]))


@lru_cache(maxsize=256)
def _compiled(content: bytes) -> Calendar:
    return compile_calendar(*orjson.loads(content))


def is_open(calendar: Calendar, moment: datetime) -> bool:
    us = to_us(moment)
    return calendar.always or calendar.block(us // _BLOCK_US).closing(us) is not None


def next_opening(calendar: Calendar, moment: datetime) -> datetime | None:
    """The moment itself when it is open; None when nothing opens within two years."""
    if is_open(calendar, moment):
        return moment
    us = to_us(moment)
    first = us // _BLOCK_US
    for number in range(first, first + _EMPTY_BLOCKS + 1):
        opens = calendar.block(number).opens
        place = bisect_right(opens, us)
        if place < len(opens):
            return from_us(opens[place])
    return None


def next_closing(calendar: Calendar, moment: datetime) -> datetime | None:
    """The moment itself when it is closed; None when it stays open for two years."""
    us = to_us(moment)
    if calendar.always:
        return None
    first = us // _BLOCK_US
    for number in range(first, first + _EMPTY_BLOCKS + 1):
        closing = calendar.block(number).closing(us)
        if closing is None:
            return moment if number == first else from_us(us)
        us = closing
        if us < (number + 1) * _BLOCK_US:
            return from_us(us)
    return None


def elapsed_us(calendar: Calendar, start: datetime, end: datetime) -> int:
    """Open microseconds in [start, end); 0 when `end` is not after `start`."""
    first, last = to_us(start), to_us(end)
    if first >= last:
        return 0
    if calendar.always:
        return last - first
    number, final = first // _BLOCK_US, last // _BLOCK_US
    counted = calendar.block(final).counted(last) - calendar.block(number).counted(first)
    return counted + sum(calendar.block(between).total for between in range(number, final))


def add_us(calendar: Calendar, start: datetime, amount_us: int) -> datetime | None:
    """The first instant at which `amount_us` of open time has run since `start`: the deadline, in UTC.

    So an amount that ends just when the service closes is due at that closing instant, not at the next opening; and 0
    is due at `start`, open or not. None when it is never reached: two years without an opening, or after 2199.
    Raises ValueError when `amount_us` is negative.
    """
    if amount_us < 0:
        raise ValueError("amount_us must not be negative")
    us = to_us(start)
    if calendar.always or amount_us == 0:
        return _moment(us + amount_us)
    number, empty = us // _BLOCK_US, 0
    block = calendar.block(number)
    left = amount_us + block.counted(us)
    while left > block.total:
        left -= block.total
        empty = 0 if block.total else empty + 1
        if empty > _EMPTY_BLOCKS:
            return None
        number += 1
        block = calendar.block(number)
    return from_us(block.reached(left))


def intervals(calendar: Calendar, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """What is counted in [start, end): open intervals in UTC, in order, those that touch as one."""
    first, last = to_us(start), to_us(end)
    if calendar.always or first >= last:
        if first < last:
            yield from_us(first), from_us(last)
        return
    held: tuple[int, int] | None = None
    for opens, closes in _spans(calendar, first, last):
        if held is not None and held[1] == opens:
            held = held[0], closes
            continue
        if held is not None:
            yield from_us(held[0]), from_us(held[1])
        held = opens, closes
    if held is not None:
        yield from_us(held[0]), from_us(held[1])


def _spans(calendar: Calendar, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The same in microseconds, cut where blocks meet."""
    for number in range(first // _BLOCK_US, (last - 1) // _BLOCK_US + 1):
        block = calendar.block(number)
        for opens, closes in zip(block.opens, block.closes, strict=True):
            if closes > first and opens < last:
                yield max(opens, first), min(closes, last)


def _moment(us: int) -> datetime | None:
    try:
        return from_us(us)
    except OverflowError:
        return None
