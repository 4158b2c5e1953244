"""Public holidays by country and region, and the weekends that are worked instead (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import holidays as library

from app.sla.hours import WEEKDAYS, BadHolidays, Hours

_KEYS = frozenset({"country", "region", "categories", "shifted_days", "like", "weekends"})
_KEPT_YEARS = 64
_BREAKS_SPAN_WEEKENDS = frozenset({"CN"})


@dataclass(frozen=True, slots=True)
class _Year:
    """Names of the closed days, and the weekend days that are worked."""

    closed: Mapping[date, str]
    worked: frozenset[date]


@dataclass(frozen=True, slots=True, eq=False)
class PublicHolidays:
    """Of one country and region. `like` is the weekday (Monday 0) whose hours hold on a shifted working day."""

    country: str
    region: str | None
    categories: tuple[str, ...] | None
    shifted_days: bool
    like: int
    weekends: bool
    _year: Callable[[int], _Year] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_year", lru_cache(maxsize=_KEPT_YEARS)(self._read))

    @classmethod
    def parse(cls, given: Mapping[str, Any], weekly: tuple[Hours, ...]) -> PublicHolidays:
        """From `{"country": "CN", ...}`; raises BadHolidays. All but the country may be left out:

        `region`: a part of the country by its ISO 3166-2 code. `categories`: which of its days, `["public"]` unless
        said. `shifted_days`: whether weekends that the state declares working days are worked (yes). `like`: the
        weekday whose hours they have (the first that has any). `weekends`: whether the weekend that touches a holiday
        belongs to it, as China's State Council publishes it (in China yes, elsewhere no).
        """
        for key in given:
            if key not in _KEYS:
                raise BadHolidays(f"holidays.{key}", f"must be one of {', '.join(sorted(_KEYS))}")
        country = _country(given.get("country"))
        return cls(
            country=country,
            region=_region(country, given.get("region")),
            categories=_categories(country, given.get("categories")),
            shifted_days=_flag(given, "shifted_days", True),
            like=_like(given.get("like"), weekly),
            weekends=_flag(given, "weekends", country in _BREAKS_SPAN_WEEKENDS),
        )

    def is_closed(self, day: date) -> bool:
        return day in self._year(day.year).closed

    def is_worked(self, day: date) -> bool:
        return self.shifted_days and day in self._year(day.year).worked

    def name(self, day: date) -> str | None:
        """Of the holiday, in English where the library has it."""
        return self._year(day.year).closed.get(day)

    def _read(self, year: int) -> _Year:
        """Its neighbours too: a holiday of January 1st can be observed on December 31st, and breaks cross the year."""
        found = library.country_holidays(
            self.country,
            subdiv=self.region,
            years=range(max(year - 1, 1), year + 2),
            expand=False,
            language="en_US",
            categories=self.categories,
        )
        worked = frozenset(found.weekend_workdays)
        closed = dict(found.items())
        if self.weekends:
            _span_weekends(closed, worked, found.weekend)
        return _Year(
            {day: name for day, name in closed.items() if day.year == year},
            frozenset(day for day in worked if day.year == year),
        )


def _span_weekends(closed: dict[date, str], worked: frozenset[date], weekend: set[int]) -> None:
    """Weekend days that touch a holiday, in an unbroken row, are its days too unless they are worked."""
    for day, name in sorted(closed.items()):
        for step in (timedelta(days=-1), timedelta(days=1)):
            near = day + step
            while near.weekday() in weekend and near not in worked and near not in closed:
                closed[near] = name
                near += step


@lru_cache(maxsize=1)
def _countries() -> Mapping[str, list[str]]:
    """Codes of countries, to those of their regions."""
    return library.list_supported_countries(include_aliases=False)


def _country(given: Any) -> str:
    if not isinstance(given, str) or given not in _countries():
        raise BadHolidays("holidays.country", "must be the ISO 3166-1 code of a country that we know, such as CN")
    return given


def _region(country: str, given: Any) -> str | None:
    if given is None:
        return None
    known = _countries()[country]
    if given not in known:
        raise BadHolidays("holidays.region", f"must be one of {', '.join(known)}" if known else "this country has none")
    return str(given)


def _categories(country: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    known = library.country_holidays(country).supported_categories
    if not isinstance(given, list) or not given or any(word not in known for word in given):
        raise BadHolidays("holidays.categories", f"must be some of {', '.join(known)}")
    return tuple(given)


def _flag(given: Mapping[str, Any], name: str, default: bool) -> bool:
    value = given.get(name, default)
    if not isinstance(value, bool):
        raise BadHolidays(f"holidays.{name}", "must be true or false")
    return value


def _like(given: Any, weekly: tuple[Hours, ...]) -> int:
    if given is None:
        return next((number for number, hours in enumerate(weekly) if hours), 0)
    if given not in WEEKDAYS:
        raise BadHolidays("holidays.like", f"must be one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(given)
