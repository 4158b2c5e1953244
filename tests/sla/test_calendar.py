"""Calendars in cities whose clocks and holidays are known, by hand; and what an operator may not write."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.models import Calendar as CalendarRow
from app.sla.calendar import (
    ALWAYS,
    Calendar,
    add_us,
    compile_calendar,
    elapsed_us,
    from_row,
    intervals,
    is_open,
    next_closing,
    next_opening,
)
from app.sla.hours import BadDay, BadHolidays, BadInterval, BadTimeZone, CalendarError
from tests.sla.calendar_model import WEEKDAYS, utc

HOUR = 3_600_000_000
NINE_TO_SIX = [("09:00", "18:00")]
OFFICE = dict.fromkeys(WEEKDAYS[:5], NINE_TO_SIX)
DAILY = {day: [("00:00", "24:00")] for day in WEEKDAYS}


def at(zone: str, *parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold)  # type: ignore[arg-type, misc]


def hours_between(calendar: Calendar, start: datetime, end: datetime) -> float:
    return elapsed_us(calendar, start, end) / HOUR


# The State Council's notices of 12 November 2024 and 4 November 2025: the days off, and the weekends worked.
OFF = [
    ("2025-01-01", "2025-01-01"),
    ("2025-01-28", "2025-02-04"),
    ("2025-04-04", "2025-04-06"),
    ("2025-05-01", "2025-05-05"),
    ("2025-05-31", "2025-06-02"),
    ("2025-10-01", "2025-10-08"),
    ("2026-01-01", "2026-01-03"),
    ("2026-02-15", "2026-02-23"),
    ("2026-04-04", "2026-04-06"),
    ("2026-05-01", "2026-05-05"),
    ("2026-06-19", "2026-06-21"),
    ("2026-09-25", "2026-09-27"),
    ("2026-10-01", "2026-10-07"),
]
WORKED = [
    *("2025-01-26", "2025-02-08", "2025-04-27", "2025-09-28", "2025-10-11"),
    *("2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"),
]


@pytest.mark.parametrize("weekly", [OFFICE, dict.fromkeys(WEEKDAYS, NINE_TO_SIX)], ids=["office", "shop"])
def test_shanghai_each_day_of_two_years(weekly: dict[str, Any]) -> None:
    calendar = compile_calendar("Asia/Shanghai", weekly, {}, {"country": "CN"})
    day = date(2025, 1, 1)
    while day < date(2027, 1, 1):
        word = day.isoformat()
        is_off = any(first <= word <= last for first, last in OFF)
        expected = word in WORKED or (not is_off and WEEKDAYS[day.weekday()] in weekly)
        noon = at("Asia/Shanghai", day.year, day.month, day.day, 12)
        assert is_open(calendar, noon) == expected, word
        day += timedelta(days=1)


def test_shanghai_deadline_over_the_spring_festival() -> None:
    calendar = compile_calendar("Asia/Shanghai", OFFICE, {}, {"country": "CN"})
    friday = at("Asia/Shanghai", 2026, 2, 13, 17)
    due = add_us(calendar, friday, 12 * HOUR)
    assert due == at("Asia/Shanghai", 2026, 2, 24, 11), "one hour on Friday, nine on the Saturday worked, two after"
    assert list(intervals(calendar, friday, due)) == [
        (utc(2026, 2, 13, 9), utc(2026, 2, 13, 10)),
        (utc(2026, 2, 14, 1), utc(2026, 2, 14, 10)),
        (utc(2026, 2, 24, 1), utc(2026, 2, 24, 3)),
    ]


def test_shanghai_worked_day_has_the_hours_it_is_told() -> None:
    weekly = {**OFFICE, "fri": [("10:00", "16:00")], "sat": [("10:00", "14:00")]}
    plain = compile_calendar("Asia/Shanghai", weekly, {}, {"country": "CN"})
    friday = compile_calendar("Asia/Shanghai", weekly, {}, {"country": "CN", "like": "fri"})
    never = compile_calendar("Asia/Shanghai", weekly, {}, {"country": "CN", "shifted_days": False})
    saturday = date(2026, 2, 14)
    assert [calendar.hours(saturday)[0][1] // HOUR for calendar in (plain, friday, never)] == [18, 16, 14]


def test_new_york_clock_jumps() -> None:
    calendar = compile_calendar("America/New_York", {"sun": [("01:30", "03:30")]})
    start, end = utc(2026, 3, 8), utc(2026, 3, 9)
    assert list(intervals(calendar, start, end)) == [(utc(2026, 3, 8, 6, 30), utc(2026, 3, 8, 7, 30))]
    skipped = compile_calendar("America/New_York", {"sun": [("02:00", "03:00")]})
    assert elapsed_us(skipped, start, end) == 0
    from_within = compile_calendar("America/New_York", {"sun": [("02:30", "04:00")]})
    assert list(intervals(from_within, start, end)) == [(utc(2026, 3, 8, 7), utc(2026, 3, 8, 8))]


def test_new_york_repeated_hour_counts_in_full_and_once() -> None:
    start, end = utc(2026, 11, 1, 4), utc(2026, 11, 2, 5)
    whole = compile_calendar("America/New_York", DAILY)
    assert hours_between(whole, start, end) == 25
    before = compile_calendar("America/New_York", {"sun": [("00:30", "01:30")]})
    after = compile_calendar("America/New_York", {"sun": [("01:30", "02:30")]})
    both = compile_calendar("America/New_York", {"sun": [("00:30", "01:30"), ("01:30", "02:30")]})
    assert [hours_between(calendar, start, end) for calendar in (before, after, both)] == [1, 2, 3]
    assert list(intervals(both, start, end)) == [(utc(2026, 11, 1, 4, 30), utc(2026, 11, 1, 7, 30))]


def test_new_york_thanksgiving_and_an_observed_fourth_of_july() -> None:
    nine_to_five = {day: [("09:00", "17:00")] for day in WEEKDAYS[:5]}
    calendar = compile_calendar("America/New_York", nine_to_five, {}, {"country": "US"})
    assert add_us(calendar, at("America/New_York", 2026, 11, 25, 16), 4 * HOUR) == utc(2026, 11, 27, 17)
    assert not is_open(calendar, at("America/New_York", 2026, 7, 3, 12)), "the fourth is a Saturday"
    assert is_open(calendar, at("America/New_York", 2026, 7, 2, 12))


def test_london_night_is_as_long_as_it_was() -> None:
    calendar = compile_calendar("Europe/London", {"sat": [("22:00", "06:00")]})
    assert hours_between(calendar, utc(2026, 3, 28), utc(2026, 3, 30)) == 7
    assert hours_between(calendar, utc(2026, 10, 24), utc(2026, 10, 26)) == 9
    assert hours_between(calendar, utc(2026, 5, 9), utc(2026, 5, 11)) == 8


def test_london_easter() -> None:
    calendar = compile_calendar("Europe/London", OFFICE, {}, {"country": "GB", "region": "ENG"})
    thursday = at("Europe/London", 2026, 4, 2, 17)
    assert add_us(calendar, thursday, 2 * HOUR) == utc(2026, 4, 7, 9)
    scotland = compile_calendar("Europe/London", OFFICE, {}, {"country": "GB", "region": "SCT"})
    assert add_us(scotland, thursday, 2 * HOUR) == utc(2026, 4, 6, 9), "Easter Monday is no holiday there"


def test_lord_howe_moves_by_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    whole, around = compile_calendar(zone, DAILY), compile_calendar(zone, {"sun": [("01:45", "02:15")]})
    autumn, spring = at(zone, 2026, 4, 5), at(zone, 2026, 10, 4)
    assert hours_between(whole, autumn, at(zone, 2026, 4, 6)) == 24.5
    assert hours_between(whole, spring, at(zone, 2026, 10, 5)) == 23.5
    assert list(intervals(around, autumn, at(zone, 2026, 4, 6))) == [(utc(2026, 4, 4, 14, 45), utc(2026, 4, 4, 15, 45))]
    assert list(intervals(around, spring, at(zone, 2026, 10, 5))) == [
        (utc(2026, 10, 3, 15, 15), utc(2026, 10, 3, 15, 30))
    ]


def test_kathmandu_is_a_quarter_past() -> None:
    weekly = {day: [("10:00", "17:00")] for day in WEEKDAYS if day != "sat"}
    calendar = compile_calendar("Asia/Kathmandu", weekly)
    friday_evening = utc(2026, 11, 20, 12)
    assert next_opening(calendar, friday_evening) == utc(2026, 11, 22, 4, 15)
    assert add_us(calendar, friday_evening, 8 * HOUR) == utc(2026, 11, 23, 5, 15)


def test_days_that_never_were_and_days_that_begin_late() -> None:
    apia = compile_calendar("Pacific/Apia", DAILY)
    assert hours_between(apia, utc(2011, 12, 29, 10), utc(2011, 12, 31, 10)) == 48
    friday = compile_calendar("Pacific/Apia", {"fri": [("00:00", "24:00")]})
    assert elapsed_us(friday, utc(2011, 12, 26), utc(2012, 1, 1)) == 0, "30 December 2011 was left out"
    cairo = compile_calendar("Africa/Cairo", {"fri": [("00:00", "02:00")]})
    assert hours_between(cairo, utc(2026, 4, 23), utc(2026, 4, 25)) == 1, "the clock jumped from 00:00 to 01:00"


@pytest.mark.parametrize("zone", ["Pacific/Pago_Pago", "Pacific/Kiritimati", "UTC"])
def test_no_night_is_lost_or_cut_short(zone: str) -> None:
    """Wherever blocks of days meet, over forty years; the longest night begins two days before it ends in UTC."""
    for place, day in enumerate(WEEKDAYS):
        calendar = compile_calendar(zone, {day: [("23:00", "22:00")]})
        monday = at(zone, 2000, 1, 3) + timedelta(days=place)
        for week in range(0, 2_080, 8):
            start = monday + timedelta(weeks=week)
            spans = list(intervals(calendar, start, start + timedelta(weeks=8)))
            nights = [start + timedelta(weeks=number, hours=23) for number in range(8)]
            assert spans == [(night, night + timedelta(hours=23)) for night in nights]


def test_half_open() -> None:
    calendar = compile_calendar("UTC", OFFICE)
    opens, closes = utc(2026, 11, 23, 9), utc(2026, 11, 23, 18)
    before = timedelta(microseconds=1)
    assert [is_open(calendar, moment) for moment in (opens - before, opens, closes - before, closes)] == [
        *(False, True, True, False)
    ]
    assert next_opening(calendar, opens) == opens
    assert next_opening(calendar, closes) == utc(2026, 11, 24, 9)
    assert next_closing(calendar, opens) == closes
    assert next_closing(calendar, closes) == closes
    assert elapsed_us(calendar, opens - before, opens + before) == 1
    assert elapsed_us(calendar, closes - before, closes + before) == 1


def test_amount_that_ends_at_closing_is_due_then_and_nothing_is_due_at_once() -> None:
    calendar = compile_calendar("UTC", OFFICE)
    opens, closes = utc(2026, 11, 23, 9), utc(2026, 11, 23, 18)
    assert add_us(calendar, opens, 9 * HOUR) == closes
    assert add_us(calendar, opens, 9 * HOUR + 1) == utc(2026, 11, 24, 9) + timedelta(microseconds=1)
    assert add_us(calendar, closes, 0) == closes
    assert add_us(calendar, closes, 1) == utc(2026, 11, 24, 9) + timedelta(microseconds=1)
    with pytest.raises(ValueError, match="negative"):
        add_us(calendar, opens, -1)


def test_moments_of_any_zone_are_the_same_moment() -> None:
    calendar = compile_calendar("Asia/Shanghai", OFFICE)
    moment = at("America/New_York", 2026, 11, 22, 20)
    assert is_open(calendar, moment)
    assert next_opening(calendar, moment) == moment
    with pytest.raises(TypeError):
        is_open(calendar, datetime(2026, 11, 22))  # noqa: DTZ001


def test_night_belongs_to_the_day_it_starts_on() -> None:
    nights = {day: [("22:00", "06:00")] for day in WEEKDAYS}
    calendar = compile_calendar("UTC", nights, {"2026-11-24": []})
    assert list(intervals(calendar, utc(2026, 11, 23, 12), utc(2026, 11, 26))) == [
        (utc(2026, 11, 23, 22), utc(2026, 11, 24, 6)),
        (utc(2026, 11, 25, 22), utc(2026, 11, 26)),
    ]


def test_exception_goes_before_holiday_and_weekday() -> None:
    given = {"2026-12-25": [["10:00", "12:00"]], "2026-12-24": []}
    calendar = compile_calendar("UTC", OFFICE, given, {"country": "US"})
    assert list(intervals(calendar, utc(2026, 12, 24), utc(2026, 12, 28))) == [
        (utc(2026, 12, 25, 10), utc(2026, 12, 25, 12))
    ]


def test_intervals_that_overlap_or_touch_are_one() -> None:
    given = {"mon": [("12:00", "18:00"), ("09:00", "13:00"), ("18:00", "24:00")], "tue": [("00:00", "01:00:30")]}
    calendar = compile_calendar("UTC", given)
    assert list(intervals(calendar, utc(2026, 11, 22), utc(2026, 11, 26))) == [
        (utc(2026, 11, 23, 9), utc(2026, 11, 24, 1, 0, 30))
    ]


@pytest.mark.parametrize("calendar", [ALWAYS, compile_calendar("Europe/London", DAILY)])
def test_around_the_clock(calendar: Calendar) -> None:
    moment = at("Europe/London", 2026, 3, 29, 0, 59)
    assert calendar.always
    assert is_open(calendar, moment)
    assert next_opening(calendar, moment) == moment
    assert next_closing(calendar, moment) is None
    assert add_us(calendar, moment, 72 * HOUR) == utc(2026, 4, 1, 0, 59)
    assert list(intervals(calendar, moment, utc(2026, 4, 1))) == [(moment.astimezone(UTC), utc(2026, 4, 1))]
    assert add_us(calendar, moment, 10**18) is None, "there is no year 33714"
    assert list(intervals(calendar, moment, moment)) == []


def test_always_open_by_its_hours_and_closed_for_good() -> None:
    always = compile_calendar("UTC", DAILY, {"1999-01-01": []})
    assert not always.always
    assert next_closing(always, utc(2026, 1, 1)) is None
    assert list(intervals(always, utc(2026, 1, 1), utc(2027, 1, 1))) == [(utc(2026, 1, 1), utc(2027, 1, 1))]
    assert next_closing(always, utc(1998, 12, 1)) == utc(1999, 1, 1)
    never = compile_calendar("UTC", {}, {"2030-01-01": NINE_TO_SIX})
    assert next_opening(never, utc(2026, 1, 1)) is None
    assert add_us(never, utc(2026, 1, 1), 1) is None
    assert next_opening(never, utc(2028, 6, 1)) == utc(2030, 1, 1, 9)
    assert elapsed_us(never, utc(1800, 1, 1), utc(9000, 1, 1)) == 9 * HOUR
    assert add_us(always, utc(2190, 1, 1), 40 * 365 * 24 * HOUR) is None


REFUSED: list[tuple[dict[str, Any], type[CalendarError], str]] = [
    ({"time_zone": "Mars/Olympus"}, BadTimeZone, "time_zone"),
    ({"time_zone": "../etc/passwd"}, BadTimeZone, "time_zone"),
    ({"time_zone": ""}, BadTimeZone, "time_zone"),
    ({"time_zone": "localtime"}, BadTimeZone, "time_zone"),
    ({"weekly": {"monday": []}}, BadDay, "weekly.monday"),
    ({"weekly": {"mon": [("09:00", "18:00"), ("9:00", "18:00")]}}, BadInterval, "weekly.mon.1"),
    ({"weekly": {"mon": [("09:00", "24:01")]}}, BadInterval, "weekly.mon.0"),
    ({"weekly": {"mon": [("24:00", "06:00")]}}, BadInterval, "weekly.mon.0"),
    ({"weekly": {"mon": [("09:00", "09:00")]}}, BadInterval, "weekly.mon.0"),
    ({"weekly": {"mon": [("09:00",)]}}, BadInterval, "weekly.mon.0"),
    ({"weekly": {"mon": ["09:00-18:00"]}}, BadInterval, "weekly.mon.0"),
    ({"weekly": {"mon": [(9, 18)]}}, BadInterval, "weekly.mon.0"),
    ({"exceptions": {"2026-02-30": []}}, BadDay, "exceptions.2026-02-30"),
    ({"exceptions": {"20260230": []}}, BadDay, "exceptions.20260230"),
    ({"exceptions": {"2026-12-25": [("x", "y")]}}, BadInterval, "exceptions.2026-12-25.0"),
    ({"holidays": {"region": "CA"}}, BadHolidays, "holidays.country"),
    ({"holidays": {"country": "XX"}}, BadHolidays, "holidays.country"),
    ({"holidays": {"country": ["US"]}}, BadHolidays, "holidays.country"),
    ({"holidays": {"country": "US", "region": "ENG"}}, BadHolidays, "holidays.region"),
    ({"holidays": {"country": "CN", "region": 5}}, BadHolidays, "holidays.region"),
    ({"holidays": {"country": "US", "categories": ["moon"]}}, BadHolidays, "holidays.categories"),
    ({"holidays": {"country": "US", "categories": []}}, BadHolidays, "holidays.categories"),
    ({"holidays": {"country": "CN", "like": "sabbath"}}, BadHolidays, "holidays.like"),
    ({"holidays": {"country": "CN", "shifted_days": "no"}}, BadHolidays, "holidays.shifted_days"),
    ({"holidays": {"country": "CN", "moon": True}}, BadHolidays, "holidays.moon"),
]


@pytest.mark.parametrize(("given", "kind", "field"), REFUSED)
def test_refusal_names_the_field(given: dict[str, Any], kind: type[CalendarError], field: str) -> None:
    whole = {"time_zone": "UTC", "weekly": OFFICE, "exceptions": {}, "holidays": None, **given}
    with pytest.raises(kind) as refused:
        compile_calendar(**whole)
    assert refused.value.field == field
    assert refused.value.detail


def test_stored_calendar_is_compiled_once_per_content() -> None:
    row = CalendarRow(name="Office", time_zone="Asia/Shanghai", weekly={"mon": [["09:00", "18:00"]]})
    same = CalendarRow(name="Other", time_zone="Asia/Shanghai", weekly={"mon": [["09:00", "18:00"]]})
    compiled = from_row(row)
    assert from_row(same) is compiled
    row.exceptions = {"2026-11-23": []}
    assert from_row(row) is not compiled
    assert next_opening(compiled, utc(2026, 11, 22)) == utc(2026, 11, 23, 1)
    assert next_opening(from_row(row), utc(2026, 11, 22)) == utc(2026, 11, 30, 1)


def test_warm_deadline_takes_microseconds() -> None:
    calendar = compile_calendar("Asia/Shanghai", OFFICE, {}, {"country": "CN"})
    moment = utc(2026, 2, 10, 3)
    add_us(calendar, moment, 72 * HOUR)
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            add_us(calendar, moment, 72 * HOUR)
        best = min(best, (time.perf_counter() - began) / 100)
    assert best < 50e-6
