"""Opening hours of one day as an operator writes them, and when the clock on the wall reaches them (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?)|24:00(?::00)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNIT = timedelta(microseconds=1)

Hours = tuple[tuple[int, int], ...]
"""Intervals [from, to) of one day, in microseconds since its midnight on the wall; sorted and apart. One that ends on
the next day ends after 24 h."""


class CalendarError(ValueError):
    """A calendar cannot be: `field` names what is wrong (`weekly.mon.0`), `detail` says why."""

    def __init__(self, field: str, detail: str) -> None:
        self.field, self.detail = field, detail
        super().__init__(f"{field}: {detail}")


class BadTimeZone(CalendarError):
    """Not a name of the IANA time zone database."""


class BadDay(CalendarError):
    """Not a weekday or not a date."""


class BadInterval(CalendarError):
    """Not two times of a day."""


class BadHolidays(CalendarError):
    """Not a country, region or category whose public holidays we know."""


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    """Without the one that is whatever this machine says."""
    return frozenset(available_timezones()) - {"localtime"}


def parse_zone(name: str) -> ZoneInfo:
    """Raises BadTimeZone."""
    if name not in _zones():
        raise BadTimeZone("time_zone", "must be a name of the IANA time zone database, such as Asia/Shanghai")
    return ZoneInfo(name)


def parse_hours(given: Iterable[Sequence[str]], field: str) -> Hours:
    """Any number of pairs `("09:00", "18:00")`; `24:00` may end one, and what ends before it begins ends the day after.

    Raises BadInterval, whose field is `field.position`.
    """
    return merged(_interval(pair, f"{field}.{position}") for position, pair in enumerate(given))


def parse_weekly(given: Mapping[str, Iterable[Sequence[str]]]) -> tuple[Hours, ...]:
    """Hours of Monday to Sunday; a weekday that is not named is closed. Raises BadDay, BadInterval."""
    for name in given:
        if name not in WEEKDAYS:
            raise BadDay(f"weekly.{name}", f"must be one of {', '.join(WEEKDAYS)}")
    return tuple(parse_hours(given.get(name, ()), f"weekly.{name}") for name in WEEKDAYS)


def parse_exceptions(given: Mapping[str, Iterable[Sequence[str]]]) -> dict[date, Hours]:
    """Hours by date. Raises BadDay, BadInterval."""
    return {_day(name): parse_hours(pairs, f"exceptions.{name}") for name, pairs in given.items()}


def merged(intervals: Iterable[tuple[int, int]]) -> Hours:
    """Sorted; what overlaps or touches becomes one; empty ones go."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return tuple(found)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment."""
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND_US + passed.microseconds


def from_us(us: int) -> datetime:
    """In UTC. Raises OverflowError after the year 9999."""
    return EPOCH + us * _UNIT


def reached_us(zone: ZoneInfo, day: date, wall_us: int) -> int:
    """When the clock on the wall first shows `wall_us` after midnight of `day` or later, in microseconds since 1970.

    So a time that the clock skips is reached when it jumps over it, and one that it shows twice at the first showing:
    intervals that touch on the wall touch in time, and an hour that is repeated is counted in full, once.
    """
    wall = datetime(day.year, day.month, day.day, tzinfo=zone) + wall_us * _UNIT
    first, second = _offset_us(wall), _offset_us(wall.replace(fold=1))
    shown = to_us(wall.replace(tzinfo=UTC))
    return shown - first if second <= first else _jump_us(zone, shown, first, second)


def _offset_us(wall: datetime) -> int:
    offset = wall.utcoffset()
    assert offset is not None
    return (offset.days * 86_400 + offset.seconds) * SECOND_US


def _jump_us(zone: ZoneInfo, shown: int, before: int, after: int) -> int:
    """When the clock jumps over `shown`, from the offset `before` to the offset `after`: found by halving."""
    low, high = shown - after, shown - before
    while low < high:
        middle = (low + high) // 2
        if middle + _offset_us(from_us(middle).astimezone(zone)) >= shown:
            high = middle
        else:
            low = middle + 1
    return low


def _interval(pair: Sequence[str], field: str) -> tuple[int, int]:
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise BadInterval(field, 'must be two times, such as ["09:00", "18:00"]')
    start, end = _time_us(pair[0], field), _time_us(pair[1], field)
    if start == DAY_US:
        raise BadInterval(field, "24:00 can only end an interval")
    if start == end:
        raise BadInterval(field, "is empty; a whole day is 00:00 to 24:00")
    return start, end if end > start else end + DAY_US


def _time_us(text: str, field: str) -> int:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadInterval(field, "times are HH:MM or HH:MM:SS, from 00:00 to 24:00")
    if match[1] is None:
        return DAY_US
    return (int(match[1]) * 3_600 + int(match[2]) * 60 + int(match[3] or 0)) * SECOND_US


def _day(text: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadDay(f"exceptions.{text}", "must be a date, such as 2026-12-25")
