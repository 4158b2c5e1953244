"""A clock against a model that looks at every minute: calendars, their edits, nights, DST, holidays, pauses, cycles."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pytest

from app.models import SlaPolicy
from app.sla import run as runs
from app.sla import stages
from app.sla.calendar import compile_calendar
from app.sla.run import EVER, Edition, Run, Timeline, stretches

MINUTE_US = 60_000_000
MINUTE = timedelta(minutes=1)
DAYS = 12
PARTS, SETS, HISTORIES = 5, 200, 100
# A few days before the clocks go forward, go back, or nothing happens.
WINDOWS = (
    ("America/New_York", date(2026, 3, 4)),
    ("America/New_York", date(2026, 10, 28)),
    ("Europe/London", date(2026, 3, 25)),
    ("Europe/London", date(2026, 12, 22)),
    ("Australia/Lord_Howe", date(2026, 10, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 1)),
    ("Asia/Shanghai", date(2026, 2, 12)),
    ("Asia/Kathmandu", date(2026, 6, 1)),
    ("America/Havana", date(2026, 3, 4)),
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass
class Minutes:
    """Which minutes of a window count, and how many did before each."""

    start: datetime
    before: list[int]

    def index(self, at: datetime) -> int:
        return int((at - self.start) / MINUTE)

    def counted(self, start: datetime, end: datetime) -> int:
        return self.before[self.index(end)] - self.before[self.index(start)] if start < end else 0

    def reached(self, start: datetime, amount: int) -> datetime | None:
        """The first minute at which so many have counted since `start`."""
        if amount == 0:
            return start
        place = bisect_left(self.before, self.before[self.index(start)] + amount)
        return self.start + place * MINUTE if place < len(self.before) else None


def walls(zone: str, start: datetime) -> list[int]:
    """The furthest that the clock on the wall has shown by each minute, in minutes since 1970."""
    shown = []
    for number in range(-2 * 1440, DAYS * 1440):
        local = (start + number * MINUTE).astimezone(ZoneInfo(zone))
        shown.append(round((local.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / MINUTE))
    return list(accumulate(shown, max))


def model(wall: Sequence[int], days: Mapping[date, list[tuple[int, int]]]) -> bytearray:
    """Minute by minute: open when the wall has reached an opening, and not yet its closing."""
    found = bytearray(len(wall))
    for day, hours in days.items():
        midnight = (day - date(1970, 1, 1)).days * 1440
        for opens, closes in hours:
            for minute in range(bisect_left(wall, midnight + opens), bisect_left(wall, midnight + closes)):
                found[minute] = 1
    return found


def random_hours(dice: random.Random) -> list[tuple[int, int]]:
    """Minutes of a day, up to three intervals; those over midnight end on the next day."""
    kind = dice.random()
    if kind < 0.15:
        return []
    if kind < 0.25:
        return [(0, 1440)]
    if kind < 0.45:
        opens = dice.randrange(12 * 60, 24 * 60)
        return [(opens, 1440 + dice.randrange(1, opens))]
    points = sorted(dice.sample(range(1441), 2 * dice.randint(1, 3)))
    return list(zip(points[::2], points[1::2], strict=True))


def written(hours: Sequence[tuple[int, int]]) -> list[list[str]]:
    def wall(minute: int) -> str:
        return f"{minute // 60:02}:{minute % 60:02}"

    return [[wall(opens), wall(closes if closes <= 1440 else closes - 1440)] for opens, closes in hours]


@dataclass
class World:
    """A calendar with its editions, and the model of it."""

    timeline: Timeline
    minutes: Minutes


def world(dice: random.Random) -> World:
    zone, first = dice.choice(WINDOWS)
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    wall = walls(zone, start)
    edits = sorted(dice.sample(range(1, DAYS * 1440), dice.choice((0, 0, 1, 2, 3))))
    editions, counts = [], bytearray(len(wall))
    for version, (begins, ends) in enumerate(zip([-2 * 1440, *edits], [*edits, DAYS * 1440], strict=True), 1):
        calendar, days = random_calendar(dice, zone, first)
        editions.append(Edition(version, start + begins * MINUTE, calendar))
        counts[begins + 2 * 1440 : ends + 2 * 1440] = model(wall, days)[begins + 2 * 1440 : ends + 2 * 1440]
    before = [0, *accumulate(counts[2 * 1440 :])]
    return World(editions, Minutes(start, before))


def random_calendar(dice: random.Random, zone: str, first: date) -> tuple[Any, dict[date, list[tuple[int, int]]]]:
    weekly = {name: random_hours(dice) for name in WEEKDAYS}
    around = [first + timedelta(days=number) for number in range(-4, DAYS + 3)]
    exceptions = {day: random_hours(dice) for day in dice.sample(around, dice.randint(0, 3))}
    closed: Any = (
        holidays.country_holidays("GB", subdiv="ENG") if zone == "Europe/London" and dice.random() < 0.5 else ()
    )
    days = {day: exceptions.get(day, [] if day in closed else weekly[WEEKDAYS[day.weekday()]]) for day in around}
    calendar = compile_calendar(
        zone,
        {name: written(hours) for name, hours in weekly.items()},
        {day.isoformat(): written(hours) for day, hours in exceptions.items()},
        {"country": "GB", "region": "ENG"} if closed != () else None,
    )
    return calendar, days


@pytest.mark.parametrize("part", range(PARTS))
def test_every_history_counts_what_the_minutes_say(part: int) -> None:
    """100,000 histories (each with several cycles, pauses and limits) of 1,000 calendars that change while clocks run."""
    dice = random.Random(20261122 + part)
    for _ in range(SETS):
        here = world(dice)
        for _ in range(HISTORIES):
            follow_a_clock(dice, here)


def follow_a_clock(dice: random.Random, here: World) -> None:
    """Started, paused, resumed, folded at any time, ended; then a cycle anew."""
    minutes, timeline = here.minutes, here.timeline
    moments = sorted(dice.sample(range(DAYS * 1440), dice.randint(3, 9)))
    times = [minutes.start + number * MINUTE for number in moments]
    end = len(times) - dice.choice((1, 2))
    began, counted, since = times[0], 0, times[0]
    run = Run(0, began)
    stood: list[tuple[datetime, datetime | None]] = []
    for at in times[1:end]:
        if run.running_since is not None:
            check_limits(dice, here, run, counted, since, began, stood)
            edited = since + dice.randint(0, int((at - since) / MINUTE)) * MINUTE
            folded = runs.fold(run, [edition for edition in timeline if edition.since <= edited] or timeline[:1])
            assert runs.elapsed_us(folded, timeline, at) == runs.elapsed_us(run, timeline, at)
            counted += minutes.counted(since, at)
            run = runs.stop(run, timeline, at)
            stood.append((at, None))
        else:
            assert runs.due(run, timeline, run.elapsed_us + MINUTE_US) is None
            run, since = runs.go(run, at), at
            stood[-1] = (stood[-1][0], at)
        assert runs.elapsed_us(run, timeline, at) == counted * MINUTE_US, (at, timeline)
    ran = sum(minutes.counted(*span) for span in stretches(began, stood, times[end - 1]))
    assert ran == counted
    again = Run(0, times[end])
    check_limits(dice, here, again, 0, times[end], times[end], [])


def check_limits(
    dice: random.Random,
    here: World,
    run: Run,
    counted: int,
    since: datetime,
    began: datetime,
    stood: Sequence[tuple[datetime, datetime | None]],
) -> None:
    """A limit to come is reached when the minutes say; one that lies behind is dated by the stretches before."""
    limit = counted + dice.randint(1, 2_000)
    expected = here.minutes.reached(since, limit - counted)
    found = runs.due(run, here.timeline, limit * MINUTE_US)
    if expected is None:
        assert found is None or found > here.minutes.start + (len(here.minutes.before) - 1) * MINUTE
    else:
        assert found == expected, (run, limit, here.timeline)
    assert run.running_since is not None
    if counted:
        behind, left = dice.randint(1, counted), 0
        past = stretches(began, stood, run.running_since)
        left = behind
        for start, until in past:
            here_counted = here.minutes.counted(start, until)
            if left <= here_counted:
                assert runs.due(run, here.timeline, behind * MINUTE_US, past) == here.minutes.reached(start, left)
                break
            left -= here_counted


def test_what_was_counted_under_an_edition_stays_counted() -> None:
    """Open all day until noon on the 2nd, never since: and the other way round."""
    always, never = EVER[0].calendar, compile_calendar("UTC", {})
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    start = noon - timedelta(hours=5)
    closing = [Edition(1, start, always), Edition(2, noon, never)]
    opening = [Edition(1, start, never), Edition(2, noon, always)]
    later = noon + timedelta(hours=3)
    assert runs.counted_us(closing, start, later) == 5 * 3_600 * 1_000_000
    assert runs.counted_us(opening, start, later) == 3 * 3_600 * 1_000_000
    assert runs.reached(closing, start, 5 * 3_600 * 1_000_000) == noon
    assert runs.reached(closing, start, 5 * 3_600 * 1_000_000 + 1) is None
    assert runs.reached(opening, start, 1_000_000) == noon + timedelta(seconds=1)
    assert list(runs.spans(closing, start, later)) == [(start, noon)]


def policy(**fields: Any) -> SlaPolicy:
    return SlaPolicy(code="p", name="P", first_response_s=1_000, **fields)


def test_stages_come_in_order_and_levels_count_from_the_breach() -> None:
    given = policy(
        warnings=[{"before_s": 100}, {"percent": 50, "do": [{"notify": "owner"}]}],
        escalations=[
            {"after_s": 600, "level": 3},
            {"after_s": 0, "level": 1, "do": [{"priority": 2}]},
            {"after_s": 60, "level": 2},
        ],
    )
    plan = stages.plan(given, 1_000)
    assert [(stage.kind, stage.after_us // 1_000_000, stage.level) for stage in plan.stages] == [
        ("warned", 500, 0),
        ("warned", 900, 0),
        ("breached", 1_000, 1),
        ("escalated", 1_060, 2),
        ("escalated", 1_600, 3),
    ]
    assert plan.breach == 3
    assert plan.stages[2].do == ({"priority": 2},)


@pytest.mark.parametrize(("target_s", "count"), [(599, 1), (600, 1), (601, 2)])
def test_a_warning_before_the_start_is_left_out(target_s: int, count: int) -> None:
    assert len(stages.plan(policy(warnings=[{"before_s": 600}]), target_s).stages) == count


def test_stages_that_are_never_reached_are_left_out() -> None:
    start = datetime(2026, 3, 2, 12, tzinfo=UTC)
    closing = [
        Edition(1, start, EVER[0].calendar),
        Edition(2, start + timedelta(seconds=900), compile_calendar("UTC", {})),
    ]
    armed = stages.arm(stages.plan(policy(), 1_000), Run(0, start), closing)
    assert armed.stage_at == [start + timedelta(seconds=800)]
    assert (armed.due_at, armed.next_at) == (None, armed.stage_at[0])


def test_a_stage_comes_at_its_very_moment() -> None:
    start = datetime(2026, 3, 2, 12, tzinfo=UTC)
    armed = stages.arm(stages.plan(policy(), 1_000), Run(0, start), EVER)
    assert [stages.passed(armed.stage_at, start + timedelta(microseconds=us)) for us in (799_999_999, 800_000_000)] == [
        0,
        1,
    ]
