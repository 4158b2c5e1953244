"""Calendars against a model that looks at every minute, and the laws that hold for any of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sla.calendar import (
    Calendar,
    add_us,
    compile_calendar,
    elapsed_us,
    intervals,
    is_open,
    next_closing,
    next_opening,
)
from tests.sla.calendar_model import DAYS, MINUTES, WEEKDAYS, Model, Turn, Window, turn_of, utc

MINUTE_US = 60_000_000
QUESTIONS = 40
EXAMPLES = 500

WINDOWS = [
    Window("Asia/Shanghai", utc(2026, 1, 25)),
    Window("Asia/Shanghai", utc(2025, 9, 15)),
    Window("Asia/Kathmandu", utc(2026, 5, 1)),
    Window("America/New_York", utc(2026, 2, 20)),
    Window("America/New_York", utc(2026, 10, 15)),
    Window("Europe/London", utc(2026, 3, 10)),
    Window("Europe/London", utc(2026, 10, 10)),
    Window("Australia/Lord_Howe", utc(2026, 3, 20)),
    Window("Australia/Lord_Howe", utc(2026, 9, 20)),
    Window("Antarctica/Troll", utc(2026, 3, 15)),
    Window("Antarctica/Troll", utc(2026, 10, 10)),
    Window("America/Sao_Paulo", utc(2018, 10, 20)),
    Window("America/Sao_Paulo", utc(2018, 2, 1)),
    Window("Africa/Cairo", utc(2026, 4, 10)),
    Window("Africa/Cairo", utc(2026, 10, 15)),
    Window("Pacific/Apia", utc(2011, 12, 10)),
    Window("UTC", utc(2026, 12, 1)),
]


Made = tuple[Window, dict[str, Any], dict[str, Any], dict[str, Any]]


def _text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@st.composite
def pairs(draw: st.DrawFn, turn: Turn) -> tuple[str, str]:
    """Many begin or end near the time at which the clock turns; some last nearly a day."""
    near = st.integers(turn.minute - 100, turn.minute + 100).map(lambda minute: minute % 1_440)
    start = draw(st.one_of(st.integers(0, 1_439), near))
    long = st.integers(start - 240, start - 1).map(lambda minute: minute % 1_440)
    end = draw(st.one_of(st.integers(0, 1_440), near, long).filter(lambda end: end != start))
    return _text(start), _text(end)


def hours(turn: Turn) -> st.SearchStrategy[list[tuple[str, str]]]:
    some = st.lists(pairs(turn), min_size=1, max_size=4)
    return st.one_of(st.just([("00:00", "24:00")]), st.just([("09:00", "18:00")]), st.just([]), some, some, some)


def weeks(turn: Turn) -> st.SearchStrategy[dict[str, list[tuple[str, str]]]]:
    some = st.dictionaries(st.sampled_from(WEEKDAYS), hours(turn), max_size=7)
    same = pairs(turn).map(lambda pair: {day: [pair] for day in WEEKDAYS})
    return st.one_of(st.just({day: [("00:00", "24:00")] for day in WEEKDAYS}), same, some, some)


@st.composite
def calendars(draw: st.DrawFn) -> Made:
    window = draw(st.sampled_from(WINDOWS))
    turn = turn_of(window)
    near = st.integers(turn.day - 1, turn.day + 1)
    days = draw(st.dictionaries(st.one_of(st.integers(-3, DAYS + 3), near), hours(turn), max_size=6))
    exceptions = {(window.first_day + timedelta(days=day)).isoformat(): given for day, given in days.items()}
    country = draw(st.sampled_from((None, None, "CN", "US", "GB", "NP", "EG")))
    public = {"country": country, "like": draw(st.sampled_from(WEEKDAYS)), "weekends": False} if country else {}
    return window, draw(weeks(turn)), exceptions, public


def _compare(calendar: Calendar, model: Model, random: Random) -> None:
    """One question of each kind."""
    first, second = sorted((_minute(model, random), _minute(model, random)))
    start, end = model.at(first), model.at(second)
    elapsed = model.elapsed(first, second)
    assert elapsed_us(calendar, start, end) == elapsed * MINUTE_US
    assert is_open(calendar, start) == bool(model.open[first])
    opening, closing = model.opening(first), model.closing(first)
    assert (
        next_opening(calendar, start) == model.at(opening)
        if opening is not None
        else _later(next_opening(calendar, start), model)
    )
    assert (
        next_closing(calendar, start) == model.at(closing)
        if closing is not None
        else _later(next_closing(calendar, start), model)
    )
    amount = random.choice((1, 60, 480, random.randrange(4_320), elapsed))
    due = model.add(first, amount)
    found = add_us(calendar, start, amount * MINUTE_US)
    assert found == model.at(due) if due is not None else _later(found, model)


def _minute(model: Model, random: Random) -> int:
    """Half of them where it opens or closes."""
    minute = random.randrange(MINUTES)
    return next((found for found in (model.edge(minute, random.randrange(4)),) if found is not None), minute)


def _later(found: datetime | None, model: Model) -> bool:
    return found is None or found >= model.at(MINUTES)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(calendars(), st.integers(0, 2**32))
def test_calendar_is_what_every_minute_says(made: Made, seed: int) -> None:
    window, weekly, exceptions, public = made
    calendar = compile_calendar(window.zone, weekly, exceptions, public or None)
    model = Model(window, weekly, exceptions, public)
    random = Random(seed)
    for _ in range(QUESTIONS):
        _compare(calendar, model, random)
    first, second = sorted((random.randrange(MINUTES), random.randrange(MINUTES)))
    counted = list(intervals(calendar, model.at(first), model.at(second)))
    assert counted == model.intervals(first, second)


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=200, deadline=None, derandomize=True)
@given(calendars(), MOMENTS, st.integers(0, 40 * 86_400 * 1_000_000))
def test_a_deadline_is_the_first_instant_at_which_the_time_has_run(made: Made, start: datetime, amount: int) -> None:
    window, weekly, exceptions, public = made
    calendar = compile_calendar(window.zone, weekly, exceptions, public or None)
    due = add_us(calendar, start, amount)
    if due is None:
        assert elapsed_us(calendar, start, start + timedelta(days=700)) < amount
        return
    assert due >= start
    assert elapsed_us(calendar, start, due) == amount
    if amount:
        assert elapsed_us(calendar, start, due - timedelta(microseconds=1)) == amount - 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(calendars(), st.tuples(MOMENTS, MOMENTS, MOMENTS), st.integers(0, 10**12), st.integers(0, 10**12))
def test_time_adds_up(
    made: Made,
    moments: tuple[datetime, datetime, datetime],
    one: int,
    other: int,
) -> None:
    window, weekly, exceptions, public = made
    calendar = compile_calendar(window.zone, weekly, exceptions, public or None)
    start = moments[0]
    days = [(moment - start) % timedelta(days=900) for moment in moments[1:]]
    first, second = start + min(days), start + max(days)
    assert elapsed_us(calendar, start, second) == elapsed_us(calendar, start, first) + elapsed_us(
        calendar, first, second
    )
    spans = list(intervals(calendar, start, second))
    assert sum((closes - opens for opens, closes in spans), timedelta()) == timedelta(
        microseconds=elapsed_us(calendar, start, second)
    )
    assert all(spans[place][1] < spans[place + 1][0] for place in range(len(spans) - 1))
    half = add_us(calendar, start, one)
    if half is not None:
        assert add_us(calendar, half, other) == add_us(calendar, start, one + other)
