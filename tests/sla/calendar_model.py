"""A calendar by brute force: every minute of a window, what the clock on the wall shows, and whether that is open."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import holidays as library

MINUTE = timedelta(minutes=1)
DAYS = 44
MINUTES = DAYS * 1_440
Pairs = Sequence[tuple[str, str]]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZERO = datetime(1970, 1, 1)  # noqa: DTZ001  # the wall has no zone


@dataclass(frozen=True)
class Window:
    """Where clocks change, or do not."""

    zone: str
    start: datetime

    @property
    def first_day(self) -> date:
        return self.start.date()


@dataclass(frozen=True)
class Turn:
    """Where the clock is turned in a window: on its which day, at which minute of the day."""

    day: int
    minute: int


@lru_cache(maxsize=64)
def turn_of(window: Window) -> Turn:
    """Noon of the tenth day where it is not."""
    zone = ZoneInfo(window.zone)
    shown = [(window.start + MINUTE * passed).astimezone(zone) for passed in range(0, MINUTES, 10)]
    for before, after in pairwise(shown):
        if before.utcoffset() != after.utcoffset():
            return Turn((before.date() - window.first_day).days, before.hour * 60 + before.minute)
    return Turn(10, 720)


@lru_cache(maxsize=64)
def furthest_shown(window: Window) -> Sequence[int]:
    """By minute, the latest wall minute that the clock has shown so far: it never goes back."""
    zone = ZoneInfo(window.zone)
    shown = (
        ((window.start + MINUTE * passed).astimezone(zone).replace(tzinfo=None) - _ZERO) // MINUTE
        for passed in range(MINUTES)
    )
    return list(accumulate(shown, max))


@lru_cache(maxsize=64)
def _holidays(country: str, year: int) -> library.HolidayBase:
    return library.country_holidays(country, years=[year - 1, year, year + 1])


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _hours(day: date, weekly: Mapping[str, Pairs], exceptions: Mapping[str, Pairs], public: Mapping[str, Any]) -> Pairs:
    if day.isoformat() in exceptions:
        return exceptions[day.isoformat()]
    if public:
        found = _holidays(public["country"], day.year)
        if day in found:
            return ()
        if day in found.weekend_workdays:
            return weekly.get(public["like"], ())
    return weekly.get(WEEKDAYS[day.weekday()], ())


class Model:
    """`open` has a byte for each minute of the window."""

    def __init__(
        self, window: Window, weekly: Mapping[str, Pairs], exceptions: Mapping[str, Pairs], public: Mapping[str, Any]
    ) -> None:
        shown = furthest_shown(window)
        self.window, self.open = window, bytearray(MINUTES)
        for passed in range(-3, DAYS + 3):
            day = window.first_day + timedelta(days=passed)
            midnight = (datetime(day.year, day.month, day.day) - _ZERO) // MINUTE  # noqa: DTZ001
            for start, end in _hours(day, weekly, exceptions, public):
                opens, closes = _minutes(start), _minutes(end)
                closes += 1_440 if closes < opens else 0
                first, last = bisect_left(shown, midnight + opens), bisect_left(shown, midnight + closes)
                self.open[first:last] = b"\x01" * (last - first)

    def at(self, minute: int) -> datetime:
        return self.window.start + MINUTE * minute

    def elapsed(self, start: int, end: int) -> int:
        return self.open.count(1, start, end)

    def add(self, start: int, amount: int) -> int | None:
        """The minute at which `amount` open minutes have run; None when that is after the window."""
        place, left = start, amount
        while left > 0:
            opens = self.open.find(1, place)
            if opens < 0:
                return None
            closes = self.open.find(0, opens)
            closes = MINUTES if closes < 0 else closes
            place = min(closes, opens + left)
            left -= place - opens
        return place

    def opening(self, start: int) -> int | None:
        found = self.open.find(1, start)
        return found if found >= 0 else None

    def closing(self, start: int) -> int | None:
        found = self.open.find(0, start)
        return found if found >= 0 else None

    def edge(self, start: int, kind: int) -> int | None:
        """The next opening (0), the next closing (1), or none of them."""
        found = self.open.find(kind == 0, start + 1) if kind < 2 else -1
        return found if found >= 0 else None

    def intervals(self, start: int, end: int) -> list[tuple[datetime, datetime]]:
        found = []
        place = self.open.find(1, start, end)
        while place >= 0:
            closing = self.open.find(0, place, end)
            closing = end if closing < 0 else closing
            found.append((self.at(place), self.at(closing)))
            place = self.open.find(1, closing, end)
        return found


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]
