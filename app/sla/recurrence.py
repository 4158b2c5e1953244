"""On which dates an iCal rule falls (RFC 5545, pure): daily to yearly, with BYMONTH, BYMONTHDAY and BYDAY.

Our own because it looks at each day once and so ends on time whatever the rule says.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

_KNOWN = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYMONTHDAY", "BYDAY", "WKST"})
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_BYDAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """`days` are pairs (which, weekday): the second Monday is (2, 0), the last Friday (-1, 4), any Monday (0, 0)."""

    frequency: str
    interval: int
    count: int | None
    months: frozenset[int]
    month_days: frozenset[int]
    days: frozenset[tuple[int, int]]
    week_start: int


def parse(parts: Mapping[str, Sequence[Any]], start: date) -> Rule:
    """From the parts of an RRULE; what it leaves open is as `start` has it. Raises ValueError for what we do not know."""
    unknown = sorted(set(parts) - _KNOWN)
    if unknown:
        raise ValueError(f"RRULE with {unknown[0]} is not supported")
    frequency = str(_first(parts, "FREQ", ""))
    if frequency not in _PERIODS:
        raise ValueError(f"RRULE must be {', '.join(_PERIODS)}")
    interval, count = int(_first(parts, "INTERVAL", 1)), _first(parts, "COUNT", None)
    if interval < 1:
        raise ValueError("RRULE's INTERVAL must be at least 1")
    months = frozenset(int(month) for month in parts.get("BYMONTH", ()))
    month_days = frozenset(int(day) for day in parts.get("BYMONTHDAY", ()))
    days = frozenset(_by_day(str(day), frequency) for day in parts.get("BYDAY", ()))
    if not month_days and not days:
        months, month_days, days = _as_started(frequency, start, months)
    week_start = _WEEKDAYS.index(str(_first(parts, "WKST", "MO")))
    return Rule(frequency, interval, int(count) if count is not None else None, months, month_days, days, week_start)


def occurrences(rule: Rule, start: date, first: date, last: date) -> Iterator[date]:
    """Its dates from `first` to `last`, both included, in order; none is before `start`."""
    in_period = _PERIODS[rule.frequency]
    day = start if rule.count is not None else max(start, first)
    seen = 0
    while day <= last and (rule.count is None or seen < rule.count):
        if in_period(rule, start, day) and _fits(rule, day):
            seen += 1
            if day >= first:
                yield day
        day += _ONE_DAY


def _first(parts: Mapping[str, Sequence[Any]], name: str, default: Any) -> Any:
    given = parts.get(name)
    return given[0] if given else default


def _by_day(text: str, frequency: str) -> tuple[int, int]:
    match = _BYDAY.fullmatch(text)
    if match is None:
        raise ValueError(f"RRULE's BYDAY is not understood: {text}")
    which = int(match[1] or 0)
    if which and frequency not in ("MONTHLY", "YEARLY"):
        raise ValueError(f"RRULE's BYDAY {text} has no meaning in a {frequency} rule")
    return which, _WEEKDAYS.index(match[2])


def _as_started(
    frequency: str, start: date, months: frozenset[int]
) -> tuple[frozenset[int], frozenset[int], frozenset[tuple[int, int]]]:
    """What a rule means that names no days."""
    if frequency == "YEARLY":
        return months or frozenset({start.month}), frozenset({start.day}), frozenset()
    if frequency == "MONTHLY":
        return months, frozenset({start.day}), frozenset()
    if frequency == "WEEKLY":
        return months, frozenset(), frozenset({(0, start.weekday())})
    return months, frozenset(), frozenset()


def _fits(rule: Rule, day: date) -> bool:
    if rule.months and day.month not in rule.months:
        return False
    if rule.month_days:
        length = monthrange(day.year, day.month)[1]
        if day.day not in rule.month_days and day.day - length - 1 not in rule.month_days:
            return False
    return not rule.days or _fits_days(rule, day)


def _fits_days(rule: Rule, day: date) -> bool:
    weekday = day.weekday()
    if (0, weekday) in rule.days:
        return True
    if rule.frequency == "YEARLY" and not rule.months:
        place, length = day.timetuple().tm_yday, 366 if isleap(day.year) else 365
    else:
        place, length = day.day, monthrange(day.year, day.month)[1]
    from_start, from_end = (place - 1) // 7 + 1, -((length - place) // 7 + 1)
    return (from_start, weekday) in rule.days or (from_end, weekday) in rule.days


def _in_year(rule: Rule, start: date, day: date) -> bool:
    return (day.year - start.year) % rule.interval == 0


def _in_month(rule: Rule, start: date, day: date) -> bool:
    return ((day.year - start.year) * 12 + day.month - start.month) % rule.interval == 0


def _in_week(rule: Rule, start: date, day: date) -> bool:
    into_week = (start.weekday() - rule.week_start) % 7
    return ((day - start).days + into_week) // 7 % rule.interval == 0


def _in_days(rule: Rule, start: date, day: date) -> bool:
    return (day - start).days % rule.interval == 0


_PERIODS: Mapping[str, Callable[[Rule, date, date], bool]] = {
    "DAILY": _in_days,
    "WEEKLY": _in_week,
    "MONTHLY": _in_month,
    "YEARLY": _in_year,
}
