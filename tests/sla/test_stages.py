"""Every stage fires exactly once, whoever watches, whoever dies; what it asks for and what it counts for goes with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from app import clock as clocks_of_the_process
from app.models import SlaPolicy
from app.models.words import ClockMetric, ClockState, ConversationStatus
from app.settings import Settings
from app.sla import clocks
from app.sla.watcher import Watcher
from tests.sla.matters import Matters
from tests.sla.test_watcher import _until_done, processes

FIRST, DONE = ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION
HOUR = 3_600


async def staged(matters: Matters) -> SlaPolicy:
    """Two warnings, the breach, two levels after it."""
    return await matters.policy(
        "staged",
        resolution_s=10 * HOUR,
        first_response_s=9_000 * HOUR,
        warnings=[{"percent": 50, "do": [{"notify": "owner"}]}, {"before_s": HOUR, "do": [{"priority": 2}]}],
        escalations=[
            {"after_s": 0, "level": 1, "do": [{"requeue": True}, {"notify": "supervisor"}]},
            {"after_s": 2 * HOUR, "level": 2, "do": [{"notify": "manager", "if": {"category": ["urgent"]}}]},
            {"after_s": 4 * HOUR, "level": 3, "do": [{"webhook": "https://example.org/late"}]},
        ],
    )


async def test_each_stage_in_its_time(matters: Matters) -> None:
    await staged(matters)
    conversation_id = await matters.one(policy="staged", category="urgent")
    seen = []
    for hours in (4, 1.5, 4, 1, 1.4, 2, 100):
        await matters.pass_time(hours * HOUR, conversation_id)
        await Watcher(matters.database).step()
        told = [(row.type, row.payload["clock"]["level"]) for row in await matters.told(conversation_id)]
        clock = await matters.clock(conversation_id, DONE)
        seen.append((len(told), clock.stage, clock.level))
    assert seen == [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 3, 1), (4, 4, 2), (5, 5, 3)]
    assert told == [
        ("sla.warned", 0),
        ("sla.warned", 0),
        ("sla.breached", 1),
        ("sla.escalated", 2),
        ("sla.escalated", 3),
    ]
    assert (clock.next_at, clock.breached_at) == (None, clock.due_at)
    asked = [(action.stage, action.level, action.action) for action in await matters.actions()]
    assert asked == [
        (1, 0, {"notify": "owner"}),
        (2, 0, {"priority": 2}),
        (3, 1, {"requeue": True}),
        (3, 1, {"notify": "supervisor"}),
        (4, 2, {"notify": "manager"}),
        (5, 3, {"webhook": "https://example.org/late"}),
    ]


async def test_what_has_a_condition_is_asked_only_where_it_holds(matters: Matters) -> None:
    await staged(matters)
    await matters.one(policy="staged")
    await matters.pass_time(13 * HOUR)
    await Watcher(matters.database).step()
    assert {"notify": "manager"} not in [action.action for action in await matters.actions()]
    assert len(await matters.actions()) == 4


async def test_escalations_wait_while_the_clock_stands_still(matters: Matters) -> None:
    await staged(matters)
    conversation_id = await matters.one(policy="staged")
    await matters.pass_time(11 * HOUR)
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)
    assert [row.type for row in await matters.told()] == ["sla.breached"]
    await matters.pass_time(50 * HOUR)
    await Watcher(matters.database).step()
    assert len(await matters.told()) == 1
    await matters.set_status(conversation_id, ConversationStatus.OPEN)
    clock = await matters.clock(conversation_id, DONE)
    assert clock.next_at == clock.stage_at[3]
    assert clock.running_since is not None
    assert clock.next_at - clock.running_since == pytest.approx(timedelta(hours=1), abs=timedelta(minutes=1))
    await matters.pass_time(1.1 * HOUR)
    await Watcher(matters.database).step()
    assert [row.type for row in await matters.told()] == ["sla.breached", "sla.escalated"]


async def test_participants_are_told(matters: Matters) -> None:
    helper = await matters.agent()
    conversation_id = await matters.one(participant_ids=[helper])
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert [row.agents for row in await matters.told(conversation_id)] == [[helper], [helper]]


async def test_watchers_race_and_one_dies_in_the_middle(matters: Matters, settings: Settings) -> None:
    """One has fired everything in a transaction that never commits; three others are at it at the same time."""
    await staged(matters)
    ids = await matters.open(300, policy="staged")
    await matters.pass_time(15 * HOUR)
    doomed = await matters.database.connect()
    await doomed.execute("BEGIN")
    fired = await doomed.fetch("SELECT * FROM fire_clocks_v2($1)", ids[:150])
    assert len(fired) == 150 * 5
    async with processes(settings, 3) as databases:
        watching = asyncio.gather(*(_until_done(database) for database in databases))
        while len(await matters.told()) < 150 * 5:
            await asyncio.sleep(0.02)
        await _kill(matters, doomed)
        await watching
    told = Counter((row.conversation_id, row.type, row.payload["clock"]["level"]) for row in await matters.told())
    kinds = [("sla.warned", 0, 2), ("sla.breached", 1, 1), ("sla.escalated", 2, 1), ("sla.escalated", 3, 1)]
    assert told == Counter({(one, kind, level): count for one in ids for kind, level, count in kinds})
    asked = Counter((action.conversation_id, action.stage, action.position) for action in await matters.actions())
    assert set(asked.values()) == {1}
    assert len(asked) == 300 * 5, "the condition of one does not hold"
    assert sum(row.breached for row in await matters.attainment()) == 300


async def _kill(matters: Matters, connection: asyncpg.Connection) -> None:
    pid = connection.get_server_pid()
    other = await matters.database.connect()
    await other.execute("SELECT pg_terminate_backend($1)", pid)
    await other.close()
    connection.terminate()


async def test_what_a_clock_counts_for(matters: Matters) -> None:
    agent_id = await matters.agent()
    in_time, late, unnoticed = await matters.open(3)
    await matters.assign(in_time, agent_id)
    await matters.pass_time(HOUR, in_time)
    await matters.pass_time(25 * HOUR, late, unnoticed, metric=FIRST)
    await _meet(matters, in_time)
    await _meet(matters, unnoticed)
    await Watcher(matters.database).step()
    await _meet(matters, late)
    rows = [(row.met, row.breached, row.late, row.elapsed_us // 3_600_000_000) for row in await matters.attainment()]
    assert sorted(rows) == sorted([(1, 0, 0, 1), (0, 1, 0, 0), (0, 0, 1, 25), (0, 1, 0, 0), (0, 0, 1, 25)])
    of = {row.agent_id for row in await matters.attainment() if row.met}
    assert of == {agent_id}
    [day] = {row.day for row in await matters.attainment() if row.breached}
    assert day == (datetime.now(UTC) - timedelta(hours=1)).date()
    assert {row.metric for row in await matters.attainment()} == {FIRST}


async def _meet(matters: Matters, conversation_id: UUID) -> None:
    async with matters.holding(conversation_id) as (session, conversation):
        await clocks.meet(session, conversation, FIRST)


class Shifted(datetime):
    """The clock of a process that is wrong."""

    by = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + cls.by


async def test_processes_whose_clocks_are_30_seconds_apart_agree(
    matters: Matters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is half a minute ahead, one behind: they take turns with the same clocks, and only the database's counts."""
    monkeypatch.setattr(clocks_of_the_process, "datetime", Shifted)
    await matters.policy("short", first_response_s=HOUR, resolution_s=40)
    ids = []
    for by in (-30, 30):
        Shifted.by = timedelta(seconds=by)
        ids.append(await matters.one(policy="short"))
    now = await _database_now(matters)
    assert all(abs(clock.created_at - now) < timedelta(seconds=20) for clock in await matters.clocks())
    for by, status in ((30, ConversationStatus.ON_HOLD), (-30, ConversationStatus.OPEN)):
        Shifted.by = timedelta(seconds=by)
        for one in ids:
            await matters.set_status(one, status)
    assert all(clock.elapsed_us < 20_000_000 for clock in await matters.clocks())
    async with processes(settings, 2) as databases:
        ahead, behind = (Watcher(database) for database in databases)
        for by, watcher in ((30, ahead), (-30, behind)):
            Shifted.by = timedelta(seconds=by)
            wait_s = await watcher.step()
            assert wait_s is not None
            assert 0 < wait_s <= 32, "the warning is due in 32 s, whatever the process thinks of the time"
            assert await matters.told() == []
        await matters.pass_time(41)
        for by, watcher in ((-30, behind), (30, ahead)):
            Shifted.by = timedelta(seconds=by)
            await watcher.step()
    told = Counter((row.conversation_id, row.type) for row in await matters.told())
    assert told == Counter({(one, kind): 1 for one in ids for kind in ("sla.warned", "sla.breached")})
    for one in ids:
        clock = await matters.clock(one, DONE)
        assert (clock.state, clock.breached_at) == (ClockState.RUNNING, clock.due_at)


async def _database_now(matters: Matters) -> datetime:
    connection = await matters.database.connect()
    try:
        now = await connection.fetchval("SELECT clock_timestamp()")
    finally:
        await connection.close()
    assert isinstance(now, datetime)
    return now
