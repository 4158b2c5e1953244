"""What changes under a running clock: its calendar, its policy, what the matter is."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.clock import now
from app.conversations import classification
from app.conversations.limits import Applier
from app.models import Calendar, Conversation, SlaClock, SlaJob, SlaPause, SlaPolicy
from app.models.words import ClockMetric, ClockState, ConversationStatus, JobState
from app.sla import book, run
from app.sla.arming import CalendarEdits
from app.sla.explain import explain
from app.sla.run import Run, stretches
from app.sla.watcher import Watcher
from tests.sla.matters import Matters

FIRST, DONE, ANALYSIS = ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION, ClockMetric.ANALYSIS
HOUR = 3_600
ALL_WEEK = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
NEVER: dict[str, Any] = {}


async def edit(matters: Matters, calendar: Calendar, **fields: Any) -> None:
    async with matters.database.begin() as session:
        row = await session.get_one(Calendar, calendar.id, with_for_update=True)
        for name, value in {**fields, "version": row.version + 1}.items():
            setattr(row, name, value)
        session.add(row)


async def under_a_calendar(matters: Matters, weekly: dict[str, Any], **fields: Any) -> tuple[Calendar, UUID]:
    calendar = await matters.calendar(weekly=weekly)
    await matters.policy("office", calendar_id=calendar.id, resolution_s=10 * HOUR, **fields)
    return calendar, await matters.one(policy="office")


async def test_a_deadline_in_the_hours_of_a_calendar(matters: Matters) -> None:
    """Open two hours a day: 10 hours of them are five days."""
    hours = [["08:00", "09:00"], ["20:00", "21:00"]]
    _, conversation_id = await under_a_calendar(matters, dict.fromkeys(ALL_WEEK, hours))
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.calendar_version, len(clock.stage_at)) == (1, 2)
    assert clock.due_at is not None
    assert timedelta(days=4.4) < clock.due_at - clock.created_at < timedelta(days=5.1)
    assert clock.due_at.hour in (8, 9, 20, 21)


async def test_what_is_never_reached_is_never_due_until_the_calendar_says_so(matters: Matters) -> None:
    calendar, conversation_id = await under_a_calendar(matters, NEVER)
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.state, clock.stage_at, clock.due_at, clock.next_at) == (ClockState.RUNNING, [], None, None)
    await edit(matters, calendar, weekly=ALL_WEEK)
    assert await CalendarEdits(matters.database).step() == 0
    assert await CalendarEdits(matters.database).step() is None
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.elapsed_us, clock.calendar_version) == (0, 2)
    assert clock.due_at is not None
    assert abs(clock.due_at - now() - timedelta(hours=10)) < timedelta(minutes=2)


async def test_an_edit_keeps_what_was_counted(matters: Matters) -> None:
    """Three hours were open; closed from the edit on; open again later: seven are left."""
    calendar, conversation_id = await under_a_calendar(matters, ALL_WEEK)
    await _pass(matters, 3 * HOUR)
    await edit(matters, calendar, weekly=NEVER)
    await CalendarEdits(matters.database).step()
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.due_at, clock.next_at) == (None, None)
    assert 3 * HOUR <= clock.elapsed_us / 1e6 < 3 * HOUR + 60
    await _pass(matters, 100 * HOUR)
    await edit(matters, calendar, weekly=ALL_WEEK)
    await CalendarEdits(matters.database).step()
    again = await matters.clock(conversation_id, DONE)
    assert again.elapsed_us == clock.elapsed_us
    assert again.due_at is not None
    assert abs(again.due_at - now() - timedelta(hours=7)) < timedelta(minutes=2)


async def test_an_edit_nobody_has_folded_yet_counts_when_the_clock_stops(matters: Matters) -> None:
    calendar, conversation_id = await under_a_calendar(matters, ALL_WEEK)
    await _pass(matters, 2 * HOUR)
    await edit(matters, calendar, weekly=NEVER)
    await _pass(matters, 50 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)
    clock = await matters.clock(conversation_id, DONE)
    assert clock.breached_at is None
    assert 2 * HOUR <= clock.elapsed_us / 1e6 < 2 * HOUR + 60


async def test_conversations_in_others_hands_follow_their_calendar_later(matters: Matters) -> None:
    calendar, conversation_id = await under_a_calendar(matters, ALL_WEEK)
    await edit(matters, calendar, weekly=NEVER)
    edits = CalendarEdits(matters.database)
    async with matters.holding(conversation_id):
        wait_s = await edits.step()
        assert wait_s is not None
        assert 0 < wait_s < 1
    await edits.step()
    assert (await matters.clock(conversation_id, DONE)).due_at is None


async def test_random_histories_on_the_database_count_as_the_rows_say(matters: Matters) -> None:
    """Pauses and edits over weeks: time passes by whole weeks, so that a weekly calendar in UTC stays what it was."""
    dice = random.Random(7)
    calendar, _ = await under_a_calendar(matters, ALL_WEEK)
    ids = [await matters.one(policy="office") for _ in range(6)]
    for _ in range(5):
        await _pass(matters, 7 * 24 * HOUR * dice.randint(1, 3))
        for one in dice.sample(ids, 3):
            await matters.set_status(one, dice.choice([ConversationStatus.OPEN, ConversationStatus.ON_HOLD]))
        if dice.random() < 0.6:
            days = dice.sample(sorted(ALL_WEEK), 4)
            await edit(matters, calendar, weekly={day: [["07:30", "12:00"], ["22:00", "03:00"]] for day in days})
            await CalendarEdits(matters.database).step()
    for one in ids:
        await matters.set_status(one, ConversationStatus.ON_HOLD)
    async with matters.database.begin() as session:
        timeline = (await book.timelines(session, [calendar.id]))[calendar.id]
        clocks = (await session.exec(select(SlaClock).where(col(SlaClock.metric) == DONE))).all()
        for clock in clocks:
            query = select(SlaPause).where(col(SlaPause.clock_id) == clock.id).order_by(col(SlaPause.started_at))
            stood = [(row.started_at, row.ended_at) for row in (await session.exec(query)).all()]
            if clock.state == ClockState.RUNNING:
                continue
            ran = stretches(clock.created_at, stood, now())
            assert clock.elapsed_us == sum(run.counted_us(timeline, *span) for span in ran)
    assert len({clock.elapsed_us for clock in clocks}) > 3


async def _pass(matters: Matters, seconds: float) -> None:
    """Everything that has happened was so much earlier, the calendar's editions too."""
    async with matters.database.begin() as session:
        await session.execute(
            text("UPDATE calendar_version SET since = since - make_interval(secs => :by)"), {"by": seconds}
        )
    await matters.pass_time(seconds)


async def classify(matters: Matters, conversation_id: UUID, **fields: Any) -> None:
    async with matters.holding(conversation_id) as (session, held):
        known = {"category": held.category, "matter": held.matter, "severity": held.severity}
        await classification.apply(
            session, held, **{**known, "complaint_type": None, **fields}, source="agent", reason="looked at it"
        )


async def test_other_limits_keep_what_was_counted(matters: Matters) -> None:
    conversation_id = await matters.one(policy="enquiry")
    await matters.pass_time(HOUR)
    await classify(matters, conversation_id, matter="complaint")
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.target_s, clock.due_at) == (4 * HOUR, clock.created_at + timedelta(hours=4))
    assert clock.stage_at[0] == clock.created_at + timedelta(hours=3.2)
    assert clock.next_at == clock.stage_at[0]
    assert await matters.told() == []
    assert (await matters.conversation(conversation_id)).sla_policy_id == clock.policy_id
    await classify(matters, conversation_id, matter="feedback")
    clock = await matters.clock(conversation_id, DONE)
    assert clock.due_at == clock.created_at + timedelta(hours=48)
    assert (await matters.clock(conversation_id, ANALYSIS)).state == ClockState.CANCELLED


async def test_a_deadline_that_has_passed_by_the_new_limit_is_a_breach_at_that_deadline_and_told_as_such(
    matters: Matters,
) -> None:
    conversation_id = await matters.one(policy="enquiry")
    await matters.pass_time(5 * HOUR)
    await classify(matters, conversation_id, matter="complaint")
    await Watcher(matters.database).step()
    clock = await matters.clock(conversation_id, DONE)
    assert clock.breached_at == clock.due_at == clock.created_at + timedelta(hours=4)
    breaches = {row.payload["clock"]["metric"]: row.payload["clock"] for row in await matters.told(kind="sla.breached")}
    assert breaches[DONE]["retargeted"] is True
    assert set(breaches) == {FIRST, DONE}


async def test_it_is_dated_by_when_the_clock_ran(matters: Matters) -> None:
    """Two hours, a pause of ten, three hours: the fourth ended two hours after the pause."""
    conversation_id = await matters.one(policy="enquiry")
    await matters.pass_time(2 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)
    await matters.pass_time(10 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.OPEN)
    await matters.pass_time(3 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)
    await matters.pass_time(HOUR)
    await classify(matters, conversation_id, matter="complaint")
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.state, clock.breached_at) == (ClockState.PAUSED, clock.due_at)
    assert clock.due_at is not None
    assert clock.due_at - clock.created_at == pytest.approx(timedelta(hours=14), abs=timedelta(minutes=1))
    assert [row.payload["clock"]["retargeted"] for row in await matters.told(kind="sla.breached")] == [True]


async def test_one_that_is_late_stays_late(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint", matter="complaint")
    await matters.pass_time(5 * HOUR, metric=DONE)
    await Watcher(matters.database).step()
    before = await matters.clock(conversation_id, DONE)
    await classify(matters, conversation_id, matter="feedback")
    after = await matters.clock(conversation_id, DONE)
    assert (after.breached_at, after.target_s, after.policy_id) == (before.breached_at, 4 * HOUR, before.policy_id)
    await matters.pass_time(100 * HOUR, metric=DONE)
    await Watcher(matters.database).step()
    assert len([row for row in await matters.told(kind="sla.breached") if row.payload["clock"]["metric"] == DONE]) == 1


async def test_who_was_warned_is_not_warned_again_about_what_lies_behind(matters: Matters) -> None:
    conversation_id = await matters.one(policy="enquiry")
    await matters.pass_time(20 * HOUR, metric=DONE)
    await Watcher(matters.database).step()
    assert len(await matters.told(kind="sla.warned")) == 1
    await classify(matters, conversation_id, matter="feedback")  # 48 h: 38.4 h lie ahead
    await matters.pass_time(20 * HOUR, metric=DONE)
    await Watcher(matters.database).step()
    assert len(await matters.told(kind="sla.warned")) == 2
    await classify(matters, conversation_id, matter="service_request", severity="major")  # 48 h as well
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.stage, clock.next_at) == (1, clock.due_at)
    await Watcher(matters.database).step()
    assert len(await matters.told(kind="sla.warned")) == 2


async def test_the_same_kind_of_matter_keeps_its_version(matters: Matters) -> None:
    conversation_id = await matters.one(policy="enquiry")
    before = await matters.conversation(conversation_id)
    await new_version(matters, "enquiry", resolution_s=HOUR)
    await classify(matters, conversation_id, category="complex")
    assert (await matters.conversation(conversation_id)).limits == before.limits
    assert (await matters.clock(conversation_id, DONE)).target_s == 24 * HOUR


async def new_version(matters: Matters, code: str, **fields: Any) -> SlaPolicy:
    async with matters.database.begin() as session:
        old = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.code) == code))).one()
        values = old.model_dump(exclude={"id", "version", "retired_at", "created_at"})
        old.retired_at = now()
        session.add(old)
        await session.flush()
        made = SlaPolicy(**{**values, **fields, "version": old.version + 1})
        session.add(made)
    return made


async def apply(matters: Matters, policy: SlaPolicy) -> SlaJob:
    job = SlaJob(policy_id=policy.id)
    async with matters.database.begin() as session:
        session.add(job)
    return job


async def test_a_policy_is_applied_to_open_conversations_only_when_asked(matters: Matters) -> None:
    ids = await matters.open(450, policy="enquiry")
    closed = await matters.one(policy="enquiry", status="closed")
    await matters.pass_time(HOUR)
    policy = await new_version(matters, "enquiry", resolution_s=2 * HOUR)
    assert {clock.target_s for clock in await matters.clocks() if clock.metric == DONE} == {24 * HOUR}
    job, applier = await apply(matters, policy), Applier(matters.database)
    async with matters.holding(ids[0]):
        for _ in range(4):
            await applier.step()
        async with matters.database.begin() as session:
            half = await session.get_one(SlaJob, job.id)
        assert (half.state, half.seen, half.changed, half.left_ids) == (JobState.RUNNING, 450, 449, [ids[0]])
    while await applier.step() is not None:
        pass
    async with matters.database.begin() as session:
        done = await session.get_one(SlaJob, job.id)
        conversations = (await session.exec(select(Conversation).where(col(Conversation.id) != closed))).all()
    assert (done.state, done.seen, done.changed) == (JobState.DONE, 450, 450)
    assert {conversation.sla_policy_id for conversation in conversations} == {policy.id}
    for clock in await matters.clocks():
        if clock.metric == DONE:
            expected = 24 if clock.conversation_id == closed else 2
            assert clock.due_at == clock.created_at + timedelta(hours=expected)


async def test_explained_with_its_calendar_and_pauses(matters: Matters) -> None:
    _, conversation_id = await under_a_calendar(
        matters, ALL_WEEK, escalations=[{"after_s": HOUR, "level": 2, "do": [{"notify": "manager"}]}]
    )
    await _pass(matters, 2 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.WAITING_ON_CUSTOMER)
    await _pass(matters, 5 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.OPEN)
    async with matters.holding(conversation_id) as (session, held):
        shown = next(item for item in await explain(session, held) if item["metric"] == DONE)
    assert (shown["calendar"], shown["calendar_version"]) == ("Office", 1)
    assert [pause["reason"] for pause in shown["pauses"]] == ["waiting_on_customer"]
    before, since = shown["intervals"]
    assert before["to"] == shown["pauses"][0]["from"]
    assert (since["from"], since["to"]) == (shown["pauses"][0]["to"], None)
    counted = sum(item["counted_s"] for item in shown["intervals"])
    assert counted == pytest.approx(shown["elapsed_s"])
    assert [(stage["kind"], stage["level"], stage["fired"]) for stage in shown["stages"]] == [
        ("warned", 0, False),
        ("breached", 1, False),
        ("escalated", 2, False),
    ]
    due_at = datetime.fromisoformat(shown["due_at"]).astimezone(UTC)
    assert due_at == datetime.fromisoformat(shown["stages"][1]["at"])
    assert abs(due_at - now() - timedelta(hours=8)) < timedelta(minutes=2)
    assert "'Office'" in shown["why"]
    assert "not counting 1 pause:" in shown["why"]


def test_an_untouched_run_is_what_it_was() -> None:
    assert run.fold(Run(5, None), run.EVER) == Run(5, None)
