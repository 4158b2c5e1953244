"""One conversation's clocks: the arithmetic, and that being late is never hidden."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text
from sqlmodel import col, select

from app.clock import now
from app.models import SlaClock, SlaPolicy
from app.models.words import ClockMetric, ClockState, ConversationStatus
from app.sla import clocks
from app.sla.explain import explain
from app.sla.watcher import Watcher
from tests.sla.matters import Matters

FIRST, DONE = ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION
HOUR = 3_600


def at(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment


async def test_the_clocks_run_from_now_on_the_databases_clock(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    clock = await matters.clock(conversation_id, DONE)
    assert clock.state == ClockState.RUNNING
    assert clock.running_since == clock.created_at
    assert at(clock.due_at) - clock.created_at == timedelta(hours=4)
    assert clock.stage_at == [clock.created_at + timedelta(hours=4) * 0.8, clock.due_at]
    assert clock.next_at == clock.stage_at[0]
    assert (await matters.clock(conversation_id, FIRST)).target_s == 2 * HOUR


async def test_starting_again_changes_nothing(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    before = await matters.clock(conversation_id, DONE)
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.start(session, conversation)
    assert len(await matters.clocks()) == 3
    assert (await matters.clock(conversation_id, DONE)).due_at == before.due_at


async def test_a_new_cycle_has_clocks_of_its_own_under_the_policy_it_had(matters: Matters) -> None:
    """The chat's policy leaves open how soon it is done: that comes from the matter's."""
    conversation_id = await matters.one(policy="webchat", channel_type="webchat", matter="complaint")
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, FIRST)
        await clocks.meet(session, conversation, DONE)
        await clocks.meet(session, conversation, ClockMetric.ANALYSIS)
        conversation.cycle = 2
        await clocks.start(session, conversation)
    assert [(clock.cycle, clock.metric, clock.target_s, clock.state) for clock in sorted(
        await matters.clocks(), key=lambda clock: (clock.cycle, clock.metric)
    )] == [
        (1, ClockMetric.ANALYSIS, 2 * HOUR, ClockState.MET),
        (1, FIRST, 30, ClockState.MET),
        (1, DONE, 4 * HOUR, ClockState.MET),
        (2, ClockMetric.ANALYSIS, 2 * HOUR, ClockState.RUNNING),
        (2, FIRST, 30, ClockState.RUNNING),
        (2, DONE, 4 * HOUR, ClockState.RUNNING),
    ]  # fmt: skip
    assert await _policy_of(matters, await matters.clock(conversation_id, DONE, 2)) == "complaint"
    assert await _policy_of(matters, await matters.clock(conversation_id, FIRST, 2)) == "webchat"


async def test_met_in_time(matters: Matters) -> None:
    conversation_id = await matters.one()
    await matters.pass_time(90)
    await _meet(matters, conversation_id)
    clock = await matters.clock(conversation_id, FIRST)
    assert (clock.state, clock.next_at, clock.breached_at) == (ClockState.MET, None, None)
    assert at(clock.met_at) - clock.created_at == timedelta(microseconds=clock.elapsed_us)
    assert 90 <= clock.elapsed_us / 1e6 < 100
    assert (await matters.clock(conversation_id, DONE)).state == ClockState.RUNNING
    assert await matters.told() == []


async def test_meeting_costs_two_statements_and_again_changes_nothing(matters: Matters) -> None:
    conversation_id = await matters.one()
    asked: list[str] = []
    async with matters.holding(conversation_id) as (session, conversation):
        sync_engine = matters.database.engine.sync_engine
        listen = ("before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
        event.listen(sync_engine, *listen)
        await clocks.meet(session, conversation, FIRST)
        event.remove(sync_engine, *listen)
    assert len(asked) == 2
    before = await matters.clock(conversation_id, FIRST)
    await _meet(matters, conversation_id)
    assert (await matters.clock(conversation_id, FIRST)).met_at == before.met_at


async def test_meeting_late_before_anyone_noticed_is_a_breach_at_the_deadline(matters: Matters) -> None:
    conversation_id = await matters.one()
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await _meet(matters, conversation_id)
    await _meet(matters, conversation_id)
    clock = await matters.clock(conversation_id, FIRST)
    assert clock.state == ClockState.MET
    assert clock.breached_at == clock.due_at
    assert at(clock.met_at) > at(clock.breached_at)
    told = await matters.told(conversation_id)
    assert [row.type for row in told] == ["sla.breached"]
    await Watcher(matters.database).step()
    assert len(await matters.told(conversation_id)) == 1


async def test_meeting_after_the_watcher_noticed_tells_nothing_new(matters: Matters) -> None:
    conversation_id = await matters.one()
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    await _meet(matters, conversation_id)
    assert [row.type for row in await matters.told()] == ["sla.warned", "sla.breached"]
    clock = await matters.clock(conversation_id, FIRST)
    assert (clock.state, clock.breached_at) == (ClockState.MET, clock.due_at)


async def test_both_ways_to_tell_a_breach_say_the_same(matters: Matters) -> None:
    by_watcher, by_meeting = await matters.open(2)
    agent_id = await matters.agent()
    for conversation_id in (by_watcher, by_meeting):
        await matters.assign(conversation_id, agent_id)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await _meet(matters, by_meeting)
    await Watcher(matters.database).step()
    one, other = (await matters.told(by_meeting))[-1], (await matters.told(by_watcher))[-1]
    for row in (one, other):
        due_at = (await matters.clock(at_id(row.conversation_id), FIRST)).due_at
        assert row.payload["conversation"].pop("id") == str(row.conversation_id)
        assert datetime.fromisoformat(row.payload["clock"].pop("due_at")) == due_at
        assert row.pos == (await matters.conversation(at_id(row.conversation_id))).stream_pos
    ignored = {"id", "pos", "conversation_id", "contact_id", "created_at"}
    assert one.model_dump(exclude=ignored) == other.model_dump(exclude=ignored)
    assert one.agents == [agent_id]
    assert (one.scope, one.seq, one.to_customer, one.actor_type) == ("conversation", 3, False, "system")


async def test_a_pause_moves_the_deadline_by_its_length(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(HOUR)
    started = await matters.clock(conversation_id, DONE)
    await _pause(matters, conversation_id)
    await _pause(matters, conversation_id)
    paused = await matters.clock(conversation_id, DONE)
    assert (paused.state, paused.next_at, paused.due_at) == (ClockState.PAUSED, None, None)
    assert HOUR <= paused.elapsed_us / 1e6 < HOUR + 10
    assert (await matters.clock(conversation_id, FIRST)).state == ClockState.RUNNING
    await _resume(matters, conversation_id)
    resumed = await matters.clock(conversation_id, DONE)
    stood = at(resumed.running_since) - (started.created_at + timedelta(microseconds=paused.elapsed_us))
    assert stood > timedelta()
    assert resumed.due_at == at(started.due_at) + stood
    assert resumed.stage_at == [moment + stood for moment in started.stage_at]
    assert (resumed.state, resumed.next_at) == (ClockState.RUNNING, resumed.stage_at[0])


async def test_time_is_added_up_over_pauses(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    for _ in range(3):
        await matters.pass_time(HOUR, metric=DONE)
        await _pause(matters, conversation_id)
        await matters.pass_time(1000 * HOUR, metric=DONE)
        await _resume(matters, conversation_id)
    clock = await matters.clock(conversation_id, DONE)
    left_s = (at(clock.due_at) - now()).total_seconds()
    assert HOUR - 10 < left_s <= HOUR
    await matters.pass_time(0.5 * HOUR, metric=DONE)
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, DONE)
    met = await matters.clock(conversation_id, DONE)
    assert 3.5 * HOUR <= met.elapsed_us / 1e6 < 3.5 * HOUR + 10
    assert met.breached_at is None


async def test_a_warned_clock_waits_for_its_deadline_when_it_goes_on(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(3.5 * HOUR, metric=DONE)
    await Watcher(matters.database).step()
    await _pause(matters, conversation_id)
    await _resume(matters, conversation_id)
    clock = await matters.clock(conversation_id, DONE)
    assert clock.warned_at is not None
    assert clock.next_at == clock.due_at


async def test_pausing_does_not_hide_that_it_is_late(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(5 * HOUR, metric=DONE)
    deadline = (await matters.clock(conversation_id, DONE)).due_at
    for _ in range(2):
        await _pause(matters, conversation_id)
        await _resume(matters, conversation_id)
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.breached_at, clock.due_at, clock.next_at) == (deadline, deadline, None)
    assert [row.type for row in await matters.told()] == ["sla.breached"]


async def test_met_while_it_stands_still(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await _pause(matters, conversation_id)
    before = await matters.clock(conversation_id, DONE)
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, DONE)
    clock = await matters.clock(conversation_id, DONE)
    assert (clock.state, clock.elapsed_us) == (ClockState.MET, before.elapsed_us)


async def test_cancelled_clocks_never_fire(matters: Matters) -> None:
    conversation_id = await matters.one()
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, FIRST)
        await clocks.cancel(session, conversation)
    assert (await matters.clock(conversation_id, FIRST)).state == ClockState.MET
    assert (await matters.clock(conversation_id, DONE)).state == ClockState.CANCELLED
    assert await Watcher(matters.database).step() is None


@pytest.mark.parametrize("verb", ["start", "resume"])
async def test_an_earlier_deadline_wakes_the_watchers(matters: Matters, verb: str) -> None:
    conversation_id = await matters.one(policy="complaint", started=verb == "resume")
    if verb == "resume":
        await _pause(matters, conversation_id)
    heard: list[str] = []
    connection = await matters.database.connect()
    await connection.add_listener("roundtrip", lambda *call: heard.append(str(call[3])))
    async with matters.holding(conversation_id) as (session, conversation):
        if verb == "resume":
            conversation.status = ConversationStatus.OPEN
            await clocks.follow(session, conversation)
        else:
            await clocks.start(session, conversation)
    await connection.execute("SELECT 1")
    await connection.close()
    assert heard == ["sla"]


async def test_explained(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(HOUR)
    await _meet(matters, conversation_id)
    _, first, done = await _explain(matters, conversation_id)
    assert (first["metric"], first["state"], first["remaining_s"]) == (FIRST, ClockState.MET, None)
    assert first["intervals"] == [{"from": first["started_at"], "to": first["met_at"], "counted_s": first["elapsed_s"]}]
    assert done["policy"]["code"] == "complaint"
    assert (done["policy"]["version"], done["cycle"], done["target_s"]) == (1, 1, 4 * HOUR)
    assert done["remaining_s"] == pytest.approx(3 * HOUR, abs=10)
    assert done["elapsed_s"] + done["remaining_s"] == pytest.approx(4 * HOUR)
    assert done["intervals"] == [{"from": done["started_at"], "to": None, "counted_s": done["elapsed_s"]}]


async def test_explained_after_a_pause(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(HOUR)
    await _pause(matters, conversation_id)
    _, _, done = await _explain(matters, conversation_id)
    assert (done["state"], done["due_at"]) == (ClockState.PAUSED, None)
    assert done["remaining_s"] == pytest.approx(3 * HOUR, abs=10)
    await _resume(matters, conversation_id)
    await matters.pass_time(4 * HOUR)
    _, _, done = await _explain(matters, conversation_id)
    before, since = done["intervals"]
    assert before["counted_s"] == pytest.approx(HOUR, abs=10)
    assert since["counted_s"] == pytest.approx(4 * HOUR, abs=10)
    assert done["remaining_s"] == pytest.approx(-HOUR, abs=20)


async def test_nothing_is_explained_where_nothing_runs(matters: Matters) -> None:
    assert await _explain(matters, await matters.one(started=False)) == []


async def test_a_reply_that_waits_for_the_row_until_after_the_deadline_is_late(matters: Matters) -> None:
    """Its transaction began in time; what counts is the moment at which it holds the conversation."""
    conversation_id = await matters.one()
    async with matters.database.begin() as session:
        await session.execute(text("SELECT now()"))
        async with matters.database.begin() as other:
            await other.execute(
                text(
                    "UPDATE sla_clock SET due_at = clock_timestamp(), next_at = clock_timestamp(), stage = 1, warned_at = now(), "
                    "stage_at = ARRAY[now(), clock_timestamp()]"
                )
            )
        await Watcher(matters.database).step()
        conversation = await matters.conversation(conversation_id)
        await clocks.meet(session, conversation, FIRST)
    clock = await matters.clock(conversation_id, FIRST)
    assert at(clock.breached_at) < at(clock.met_at)


def at_id(value: UUID | None) -> UUID:
    assert value is not None
    return value


async def _meet(matters: Matters, conversation_id: UUID) -> None:
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, FIRST)


async def _pause(matters: Matters, conversation_id: UUID) -> None:
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)


async def _resume(matters: Matters, conversation_id: UUID) -> None:
    await matters.set_status(conversation_id, ConversationStatus.OPEN)


async def _explain(matters: Matters, conversation_id: UUID) -> list[dict[str, Any]]:
    async with matters.holding(conversation_id) as (session, conversation):
        return await explain(session, conversation)


async def _policy_of(matters: Matters, clock: SlaClock) -> str:
    async with matters.database.begin() as session:
        found = await session.exec(select(SlaPolicy.code).where(col(SlaPolicy.id) == clock.policy_id))
        return found.one()
