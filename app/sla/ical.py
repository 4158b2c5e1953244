"""Exceptions of a calendar from iCal (RFC 5545, pure): what its events say about the days in a window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import icalendar

from app.sla import recurrence
from app.sla.calendar import Calendar
from app.sla.hours import DAY_US, SECOND_US, CalendarError, Hours, merged

Meaning = Literal["closed", "open"]
Pairs = list[tuple[str, str]]
_MAX_EVENTS = 5_000
_MAX_RULES = 500
_EARLIEST = 1970
_LONGEST = timedelta(days=3_660)
_READ = frozenset({"DTSTART", "DTEND", "DURATION", "RRULE", "EXDATE", "RDATE", "RECURRENCE-ID", "STATUS"})
_ONE_DAY = timedelta(days=1)


class BadImport(CalendarError):
    """Not iCal, or more than we take from it; the detail names the event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One occurrence: whole days from `start` until `end`, not included, or times on the wall of the calendar's zone."""

    start: date
    end: date

    @property
    def timed(self) -> bool:
        return isinstance(self.start, datetime)


def exceptions(calendar: Calendar, ics: str, *, meaning: Meaning, first: date, last: date) -> dict[str, Pairs]:
    """What a calendar's exceptions become on the days from `first` to `last` that an event of `ics` touches.

    A night that begins the day before the first, or ends the day after the last, is among them when an event cuts it.
    `closed`: an event of whole days closes them, one with times takes its time out of what is open. `open`: those days
    are open all day, or for the times of their events and no other. Cancelled events say nothing.
    Raises BadImport.
    """
    events = list(_events(ics, calendar.zone, first, last))
    found = _opened(events) if meaning == "open" else _closed(calendar, events)
    return {day.isoformat(): _pairs(hours) for day, hours in sorted(found.items())}


def _closed(calendar: Calendar, events: Sequence[Event]) -> dict[date, Hours]:
    """A night that a closure cuts in two leaves its second part to the day it then starts on."""
    found: dict[date, Hours] = {day: () for event in events if not event.timed for day in _days(event)}
    closures = merged((_wall_us(event.start), _wall_us(event.end)) for event in events if event.timed)
    touched = {n for start, end in closures for n in range(start // DAY_US - 1, (end - 1) // DAY_US + 1)}
    number, final = min(touched, default=0), max(touched, default=-1)
    spilled: Hours = ()
    while number <= final or spilled:
        day = date.fromordinal(number)
        before = found.get(day, calendar.hours(day))
        left = merged((*_without(before, closures, number * DAY_US), *spilled))
        spilled = ()
        if left != before:
            found[day], spilled = _cut(left)
        number += 1
    return found


def _opened(events: Sequence[Event]) -> dict[date, Hours]:
    found: dict[date, Hours] = {}
    for event in events:
        if not event.timed:
            found.update((day, ((0, DAY_US),)) for day in _days(event))
            continue
        start, end = _wall_us(event.start), _wall_us(event.end)
        while start < end:
            number = start // DAY_US
            until = min(end, (number + 1) * DAY_US)
            day = date.fromordinal(number)
            found[day] = merged((*found.get(day, ()), (start - number * DAY_US, until - number * DAY_US)))
            start = until
    return found


def _without(hours: Hours, closures: Hours, midnight: int) -> Hours:
    """The closures are sorted and apart; hours reach into the next day at most."""
    left = list(hours)
    first = bisect_right(closures, midnight, key=lambda closure: closure[1])
    for start, end in closures[first:]:
        if start >= midnight + 2 * DAY_US:
            break
        low, high = start - midnight, end - midnight
        left = [
            piece
            for opens, closes in left
            for piece in ((opens, min(closes, low)), (max(opens, high), closes))
            if piece[0] < piece[1]
        ]
    return merged(left)


def _cut(hours: Hours) -> tuple[Hours, Hours]:
    """What a day can say of itself, and what the next day has to say: a piece that starts there, or the rest of one
    that is longer than a day."""
    here, later = [], []
    for opens, closes in hours:
        if closes > DAY_US and (opens >= DAY_US or closes - opens >= DAY_US):
            here.append((opens, min(closes, DAY_US)))
            later.append((max(opens, DAY_US) - DAY_US, closes - DAY_US))
        else:
            here.append((opens, closes))
    return merged(here), merged(later)


def _days(event: Event) -> Iterator[date]:
    day = event.start
    while day < event.end:
        yield day
        day += _ONE_DAY


def _wall_us(wall: date) -> int:
    """Microseconds on the wall since the day 0."""
    assert isinstance(wall, datetime)
    seconds = wall.toordinal() * 86_400 + wall.hour * 3_600 + wall.minute * 60 + wall.second
    return seconds * SECOND_US + wall.microsecond


def _pairs(hours: Hours) -> Pairs:
    return [(_text(opens), _text(closes if closes <= DAY_US else closes - DAY_US)) for opens, closes in hours]


def _text(us: int) -> str:
    minutes, seconds = divmod(us // SECOND_US, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def _events(ics: str, zone: ZoneInfo, first: date, last: date) -> Iterator[Event]:
    """Occurrences that touch the window, cut to it."""
    components = _components(ics)
    moved = {(_uid(one), _value(one["RECURRENCE-ID"])) for one in components if "RECURRENCE-ID" in one}
    for number, component in enumerate(components, 1):
        try:
            if str(component.get("STATUS", "")).upper() == "CANCELLED":
                continue
            for start, end in _occurrences(component, moved, first - _ONE_DAY, last + _ONE_DAY):
                yield from _within(_on_wall(start, zone), _on_wall(end, zone), first, last + _ONE_DAY)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadImport("ics", f"event {number} ({_uid(component)[:100]}): {error}") from error


def _components(ics: str) -> list[Any]:
    try:
        calendars = icalendar.Calendar.from_ical(ics, multiple=True)
    except (ValueError, IndexError, KeyError) as error:
        raise BadImport("ics", "this is not iCal: it has to be a VCALENDAR with VEVENTs") from error
    if not calendars:
        raise BadImport("ics", "this is not iCal: it has to be a VCALENDAR with VEVENTs")
    components = [component for calendar in calendars for component in calendar.walk("VEVENT")]
    if not components:
        raise BadImport("ics", "there is no VEVENT in it")
    if len(components) > _MAX_EVENTS or sum("RRULE" in component for component in components) > _MAX_RULES:
        raise BadImport("ics", f"at most {_MAX_EVENTS} events, and {_MAX_RULES} with an RRULE, can be imported at once")
    for number, component in enumerate(components, 1):
        broken = next(((name, why) for name, why in component.errors if name in _READ), None)
        if broken:
            raise BadImport("ics", f"event {number} ({_uid(component)[:100]}): {broken[0]}: {broken[1]}")
    return components


def _occurrences(component: Any, moved: set[tuple[str, date]], first: date, last: date) -> Iterator[tuple[date, date]]:
    """Start and end of each, as the event has them: dates, times of the wall, or times of a zone."""
    start, end = component.start, component.end
    _require_plain(component, start)
    length = end - start
    uid = _uid(component)
    left_out = set(_dates(component.get("EXDATE"))) | {at for whose, at in moved if whose == uid}
    if "RECURRENCE-ID" in component:
        left_out = set()
    for found in _starts(component, start, first - min(length, _LONGEST), last):
        if found not in left_out and _day_of(found) not in left_out:
            yield found, found + length


def _require_plain(component: Any, start: date) -> None:
    if "TZID" in component["DTSTART"].params and isinstance(start, datetime) and start.tzinfo is None:
        raise ValueError(f"its time zone is not known: {component['DTSTART'].params['TZID']}")
    if "RECURRENCE-ID" in component and "RANGE" in component["RECURRENCE-ID"].params:
        raise ValueError("a RECURRENCE-ID with RANGE is not supported")


def _starts(component: Any, start: date, first: date, last: date) -> Iterator[date]:
    yield from _dates(component.get("RDATE"))
    if "RRULE" not in component:
        yield start
        return
    parts = component["RRULE"]
    if isinstance(parts, list):
        raise ValueError("more than one RRULE is not supported")
    day = _day_of(start)
    if "COUNT" in parts and day.year < _EARLIEST:
        raise ValueError(f"a rule with COUNT that starts before {_EARLIEST} is not supported")
    until = next(iter(parts.get("UNTIL", ())), None)
    for found in recurrence.occurrences(recurrence.parse(parts, day), day, _day_of(first), last):
        occurrence = datetime.combine(found, start.timetz()) if isinstance(start, datetime) else found
        if until is not None and _later(occurrence, until):
            return
        yield occurrence


def _later(found: date, until: date) -> bool:
    if not isinstance(found, datetime) or not isinstance(until, datetime):
        return _day_of(found) > _day_of(until)
    if found.tzinfo is None or until.tzinfo is None:
        return found.replace(tzinfo=None) > until.replace(tzinfo=None)
    return found > until


def _dates(given: Any) -> Iterator[date]:
    """Of EXDATE or RDATE, which may be there more than once."""
    for line in given if isinstance(given, list) else [given] if given else []:
        for value in line.dts:
            if not isinstance(value.dt, date):
                raise ValueError("an RDATE that is a PERIOD is not supported")
            yield value.dt


def _within(start: date, end: date, first: date, until: date) -> Iterator[Event]:
    if isinstance(start, datetime):
        start, end = max(start, datetime.combine(first, time())), min(end, datetime.combine(until, time()))
    else:
        start, end = max(start, first), min(end, until)
    if start < end:
        yield Event(start, end)


def _on_wall(value: date, zone: ZoneInfo) -> date:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(zone).replace(tzinfo=None)
    return value


def _day_of(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value


def _value(given: Any) -> date:
    value: date = given.dt
    return value


def _uid(component: Any) -> str:
    return str(component.get("UID", ""))
