"""What iCal says about a calendar's days, and which dates a rule names (against python-dateutil)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar.prop import vRecur

from app.sla import recurrence
from app.sla.calendar import Calendar, compile_calendar, elapsed_us, intervals
from app.sla.ical import BadImport, Meaning, Pairs, exceptions
from tests.sla.calendar_model import WEEKDAYS, utc

WEEKLY = {day: [("09:00", "18:00")] for day in WEEKDAYS[:5]}
OFFICE = compile_calendar("Asia/Shanghai", WEEKLY)
NIGHTS = compile_calendar("Asia/Shanghai", {day: [("22:00", "06:00")] for day in WEEKDAYS})


def ics(*events: str) -> str:
    """Events by their lines, parted by `|`."""
    bodies = "".join(f"BEGIN:VEVENT|UID:{number}|{lines}|END:VEVENT|" for number, lines in enumerate(events))
    return f"BEGIN:VCALENDAR|VERSION:2.0|PRODID:tests|{bodies}END:VCALENDAR|".replace("|", "\r\n")


def read(text: str, calendar: Calendar = OFFICE, meaning: Meaning = "closed", years: int = 1) -> dict[str, Pairs]:
    return exceptions(calendar, text, meaning=meaning, first=date(2026, 1, 1), last=date(2025 + years, 12, 31))


def test_whole_days_are_closed() -> None:
    text = ics("DTSTART;VALUE=DATE:20261224|DTEND;VALUE=DATE:20261227", "DTSTART;VALUE=DATE:20260501")
    assert read(text) == {"2026-05-01": [], "2026-12-24": [], "2026-12-25": [], "2026-12-26": []}


def test_times_are_taken_out_of_the_day_in_its_own_zone() -> None:
    text = ics(
        "DTSTART:20260105T040000Z|DTEND:20260105T050000Z",
        "DTSTART;TZID=Europe/Berlin:20260106T020000|DURATION:PT2H",
        "DTSTART:20260107T170000|DTEND:20260108T100000",
        "DTSTART:20260109T190000|DTEND:20260109T200000",
    )
    assert read(text) == {
        "2026-01-05": [("09:00", "12:00"), ("13:00", "18:00")],
        "2026-01-06": [("11:00", "18:00")],
        "2026-01-07": [("09:00", "17:00")],
        "2026-01-08": [("10:00", "18:00")],
    }


def test_night_that_is_cut_in_two() -> None:
    found = read(ics("DTSTART:20260106T010000|DTEND:20260106T020000"), NIGHTS)
    assert found == {"2026-01-05": [("22:00", "01:00")], "2026-01-06": [("02:00", "06:00"), ("22:00", "06:00")]}


def test_night_that_is_cut_where_the_window_begins() -> None:
    found = read(ics("DTSTART:20260101T010000|DTEND:20260101T020000"), NIGHTS)
    assert found == {"2025-12-31": [("22:00", "01:00")], "2026-01-01": [("02:00", "06:00"), ("22:00", "06:00")]}


def test_special_opening_hours() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20260103",
        "DTSTART:20260104T100000|DTEND:20260104T120000",
        "DTSTART:20260104T130000|DTEND:20260105T020000",
    )
    assert read(text, meaning="open") == {
        "2026-01-03": [("00:00", "24:00")],
        "2026-01-04": [("10:00", "12:00"), ("13:00", "24:00")],
        "2026-01-05": [("00:00", "02:00")],
    }


def test_yearly_rule_with_its_exceptions() -> None:
    christmas = "DTSTART;VALUE=DATE:19701225|RRULE:FREQ=YEARLY;UNTIL=20291225|EXDATE;VALUE=DATE:20271225"
    assert sorted(read(ics(christmas), years=5)) == ["2026-12-25", "2028-12-25", "2029-12-25"]
    thanksgiving = "DTSTART;VALUE=DATE:20201126|RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH"
    assert sorted(read(ics(thanksgiving), years=3)) == ["2026-11-26", "2027-11-25", "2028-11-23"]
    more = "DTSTART;VALUE=DATE:20260101|RRULE:FREQ=YEARLY;COUNT=2|RDATE;VALUE=DATE:20260202"
    assert sorted(read(ics(more), years=5)) == ["2026-01-01", "2026-02-02", "2027-01-01"]


def test_rule_with_times_keeps_the_wall_of_its_own_zone() -> None:
    weekly = "DTSTART;TZID=Europe/Berlin:20260326T030000|DTEND;TZID=Europe/Berlin:20260326T040000|RRULE:FREQ=WEEKLY;"
    march, april = {"2026-03-26": [("09:00", "10:00"), ("11:00", "18:00")]}, {"2026-04-02": [("10:00", "18:00")]}
    assert read(ics(weekly + "UNTIL=20260402T010000Z")) == {**march, **april}, "03:00 in summer is 09:00 in Shanghai"
    assert read(ics(weekly + "UNTIL=20260402T005959Z")) == march
    assert read(ics(weekly + "COUNT=2")) == {**march, **april}


def test_moved_and_cancelled_occurrences() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20260105|RRULE:FREQ=WEEKLY;COUNT=3",
        "DTSTART;VALUE=DATE:20260303|STATUS:CANCELLED",
    ).replace(
        "END:VCALENDAR",
        "BEGIN:VEVENT\r\nUID:0\r\nRECURRENCE-ID;VALUE=DATE:20260112\r\nDTSTART;VALUE=DATE:20260113\r\nEND:VEVENT\r\n"
        "END:VCALENDAR",
    )
    assert sorted(read(text)) == ["2026-01-05", "2026-01-13", "2026-01-19"]


def test_what_is_outside_the_window_is_left_out() -> None:
    text = ics("DTSTART;VALUE=DATE:20251230|DTEND;VALUE=DATE:20260103", "DTSTART;VALUE=DATE:20300101")
    assert sorted(read(text)) == ["2026-01-01", "2026-01-02"]
    forever = ics("DTSTART;VALUE=DATE:00010101|RRULE:FREQ=DAILY")
    assert len(read(forever)) == 365


def test_importing_twice_changes_nothing_more() -> None:
    text = ics("DTSTART:20260105T120000|DTEND:20260105T130000", "DTSTART;VALUE=DATE:20260106")
    once = read(text)
    again = compile_calendar("Asia/Shanghai", WEEKLY, once)
    assert {**once, **read(text, again)} == once


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(WEEKDAYS),
        st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)).filter(lambda pair: pair[0] != pair[1]), max_size=3),
    ),
    st.lists(st.tuples(st.integers(0, 13 * 24), st.integers(1, 60)), min_size=1, max_size=4),
)
def test_a_closure_takes_out_its_time_and_no_other(
    weekly: dict[str, list[tuple[int, int]]], closures: list[tuple[int, int]]
) -> None:
    hours = {day: [(f"{start:02}:00", f"{end:02}:00") for start, end in given] for day, given in weekly.items()}
    before = compile_calendar("UTC", hours)
    begin = utc(2026, 6, 1)
    spans = [(begin + timedelta(hours=at), begin + timedelta(hours=at + length)) for at, length in closures]
    events = (f"DTSTART:{start:%Y%m%dT%H%M%SZ}|DTEND:{end:%Y%m%dT%H%M%SZ}" for start, end in spans)
    after = compile_calendar("UTC", hours, read(ics(*events), before))
    for hour in range(-48, 24 * 21):
        moment = begin + timedelta(hours=hour)
        expected = elapsed_us(before, moment, moment + timedelta(hours=1))
        if any(start <= moment < end for start, end in spans):
            expected = 0
        assert elapsed_us(after, moment, moment + timedelta(hours=1)) == expected, moment
    assert list(intervals(after, utc(2026, 7, 1), utc(2026, 8, 1))) == list(
        intervals(before, utc(2026, 7, 1), utc(2026, 8, 1))
    )


REFUSED = [
    ("", "not iCal"),
    ("hello", "not iCal"),
    ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n", "no VEVENT"),
    (ics("SUMMARY:no start"), "event 1"),
    (ics("DTSTART:soon"), "DTSTART"),
    (ics("DTSTART;VALUE=DATE:20260101", "DTSTART;VALUE=DATE:20260101|RRULE:FREQ=YEARLY;BYSETPOS=1"), "event 2"),
    (ics("DTSTART:20260101T000000|RRULE:FREQ=HOURLY"), "DAILY, WEEKLY"),
    (ics("DTSTART;VALUE=DATE:20260101|RRULE:FREQ=YEARLY;INTERVAL=0"), "INTERVAL"),
    (ics("DTSTART;VALUE=DATE:20260101|RRULE:FREQ=WEEKLY;BYDAY=2MO"), "BYDAY"),
    (ics("DTSTART;VALUE=DATE:19600101|RRULE:FREQ=YEARLY;COUNT=99"), "COUNT"),
    (ics("DTSTART;VALUE=DATE:20260101|RRULE:FREQ=DAILY|RRULE:FREQ=DAILY"), "more than one RRULE"),
    (ics("DTSTART;TZID=Middle/Earth:20260101T000000|DURATION:PT1H"), "time zone"),
    (ics("DTSTART;VALUE=DATE:20260101|RDATE;VALUE=PERIOD:20260101T180000Z/PT5H"), "PERIOD"),
    (ics("DTSTART;VALUE=DATE:20260101|RECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20260101"), "RANGE"),
    (ics(*["DTSTART;VALUE=DATE:20260101|RRULE:FREQ=YEARLY"] * 501), "at most"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_refusal_says_what_and_where(text: str, words: str) -> None:
    with pytest.raises(BadImport, match=words) as refused:
        read(text)
    assert refused.value.field == "ics"


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(("DAILY", "WEEKLY", "MONTHLY", "YEARLY")))
    parts: dict[str, Any] = {"FREQ": frequency, "INTERVAL": draw(st.integers(1, 4))}
    if draw(st.booleans()):
        parts["COUNT"] = draw(st.integers(1, 40))
    months = draw(st.lists(st.integers(1, 12), max_size=3, unique=True))
    if months:
        parts["BYMONTH"] = ",".join(map(str, months))
    kind = draw(st.sampled_from(("none", "month days", "days", "counted days")))
    if kind == "month days":
        numbers = draw(st.lists(st.integers(1, 31) | st.integers(-31, -1), min_size=1, max_size=3, unique=True))
        parts["BYMONTHDAY"] = ",".join(map(str, numbers))
    elif kind == "counted days" and frequency in ("MONTHLY", "YEARLY"):
        most = 5 if frequency == "MONTHLY" or months else 53
        number = st.integers(1, most) | st.integers(-most, -1)
        days = draw(st.lists(st.tuples(number, st.sampled_from(DAYS)), min_size=1, max_size=3, unique=True))
        parts["BYDAY"] = ",".join(f"{number}{day}" for number, day in days)
    elif kind == "days":
        parts["BYDAY"] = ",".join(draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=3, unique=True)))
    if frequency == "WEEKLY":
        parts["WKST"] = draw(st.sampled_from(DAYS))
    return ";".join(f"{name}={value}" for name, value in parts.items())


DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rules(), st.dates(date(2015, 1, 1), date(2027, 12, 31)))
def test_a_rule_names_the_dates_that_dateutil_finds(text: str, start: date) -> None:
    first, last = date(2024, 1, 1), date(2028, 12, 31)
    rule = recurrence.parse(vRecur.from_ical(text), start)
    began = datetime(start.year, start.month, start.day)  # noqa: DTZ001
    bound = text if "COUNT" in text else f"{text};UNTIL=20281231"
    expected = [found.date() for found in rrulestr(bound, dtstart=began) if first <= found.date() <= last]
    assert list(recurrence.occurrences(rule, start, first, last)) == expected
