"""What is due fires exactly once, at its deadline, however many watch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, text

from app.db import Database
from app.models.words import ClockMetric, ConversationStatus
from app.settings import Settings
from app.sla import clocks
from app.sla.watcher import BATCH, Watcher
from tests.sla.matters import Matters

FIRST, DONE = ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION
HOUR = 3_600


async def test_nothing_is_armed(matters: Matters) -> None:
    assert await Watcher(matters.database).step() is None


async def test_it_sleeps_until_the_next_one_is_due(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    wait_s = await Watcher(matters.database).step()
    assert wait_s == pytest.approx(2 * HOUR * 0.8, abs=60)
    await matters.pass_time(2 * HOUR * 0.8 - 90, metric=FIRST)
    wait_s = await Watcher(matters.database).step()
    assert wait_s is not None
    assert 0 < wait_s <= 90
    assert (await matters.clock(conversation_id, FIRST)).warned_at is None
    await matters.pass_time(wait_s, metric=FIRST)
    assert await Watcher(matters.database).step() == pytest.approx(2 * HOUR * 0.2, abs=60)
    clock = await matters.clock(conversation_id, FIRST)
    assert clock.warned_at is not None
    assert clock.warned_at >= clock.stage_at[0]


async def test_first_the_warning_then_the_breach(matters: Matters) -> None:
    conversation_id = await matters.one(policy="complaint")
    await matters.pass_time(1.7 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert [row.type for row in await matters.told()] == ["sla.warned"]
    clock = await matters.clock(conversation_id, FIRST)
    assert (clock.next_at, clock.breached_at) == (clock.due_at, None)
    await matters.pass_time(0.4 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert [row.type for row in await matters.told()] == ["sla.warned", "sla.breached"]
    clock = await matters.clock(conversation_id, FIRST)
    assert (clock.next_at, clock.breached_at) == (None, clock.due_at)


async def test_both_at_once_when_both_have_passed(matters: Matters) -> None:
    conversation_id = await matters.one()
    await matters.pass_time(100 * HOUR)
    deadlines = {clock.metric: clock.due_at for clock in await matters.clocks()}
    assert await Watcher(matters.database).step() is None
    told = await matters.told(conversation_id)
    assert [(row.type, row.payload["clock"]["metric"]) for row in told] == [
        ("sla.warned", FIRST),
        ("sla.breached", FIRST),
        ("sla.warned", DONE),
        ("sla.breached", DONE),
    ]
    assert {clock.metric: clock.breached_at for clock in await matters.clocks()} == deadlines
    assert [row.id for row in told] == sorted(row.id or 0 for row in told)
    assert len({row.pos for row in told}) == 1
    assert told[0].pos == (await matters.conversation(conversation_id)).stream_pos


async def test_exactly_once_with_three_processes(matters: Matters, settings: Settings) -> None:
    ids = await matters.open(500)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    deadlines = {clock.id: clock.due_at for clock in await matters.clocks() if clock.metric == FIRST}
    async with processes(settings, 3) as databases:
        await asyncio.gather(*(_until_done(database) for database in databases))
    told = Counter((row.conversation_id, row.type) for row in await matters.told())
    assert told == Counter({(one, kind): 1 for one in ids for kind in ("sla.warned", "sla.breached")})
    fired = {clock.id: clock.breached_at for clock in await matters.clocks() if clock.metric == FIRST}
    assert fired == deadlines


async def test_exactly_once_while_agents_answer(matters: Matters, settings: Settings) -> None:
    """Replies and watchers race for the same late clocks: each breach is told once, by whoever came first."""
    ids = await matters.open(120)
    await matters.pass_time(25 * HOUR, metric=FIRST)

    async def answer(one: UUID) -> None:
        async with matters.holding(one) as (session, conversation):
            await clocks.meet(session, conversation, FIRST)

    async with processes(settings, 2) as databases:
        await asyncio.gather(*(_until_done(database) for database in databases), *(answer(one) for one in ids))
    told = Counter(row.conversation_id for row in await matters.told(kind="sla.breached"))
    assert told == Counter(dict.fromkeys(ids, 1))
    assert all(clock.met_at and clock.breached_at for clock in await matters.clocks() if clock.metric == FIRST)


async def test_a_conversation_in_others_hands_is_left_for_soon(matters: Matters) -> None:
    held, free = await matters.open(2)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    async with matters.holding(held):
        wait_s = await Watcher(matters.database).step()
        assert wait_s is not None
        assert 0 < wait_s <= 0.05
        assert {row.conversation_id for row in await matters.told()} == {free}
    await Watcher(matters.database).step()
    assert {row.conversation_id for row in await matters.told()} == {held, free}


async def test_the_position_never_runs_backwards(matters: Matters) -> None:
    """A conversation whose newest event has a later position than our transaction's own."""
    conversation_id = await matters.one()
    async with matters.database.begin() as session:
        await session.execute(text("UPDATE conversation SET stream_pos = stream_pos + 1000000000"))
    await matters.pass_time(25 * HOUR, metric=FIRST)
    before = (await matters.conversation(conversation_id)).stream_pos
    await Watcher(matters.database).step()
    assert {row.pos for row in await matters.told()} == {before}


@pytest.mark.parametrize("count", [3, 200])
async def test_a_batch_costs_the_same_however_large(matters: Matters, count: int) -> None:
    await matters.open(count, category="urgent")
    await matters.pass_time(100 * HOUR)
    with statements(matters.database) as asked:
        assert await Watcher(matters.database).step() is None
    assert len(asked) == 6  # next, due, fire, what to do, its wakeup, next
    assert len(await matters.told()) == 4 * count
    assert len(await matters.actions()) == 2 * count
    with statements(matters.database) as asked:
        await Watcher(matters.database).step()
    assert len(asked) == 1


async def test_more_than_a_batch(matters: Matters) -> None:
    await matters.open(BATCH + 1)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    watcher = Watcher(matters.database)
    assert await watcher.step() == 0
    assert len(await matters.told(kind="sla.breached")) == BATCH
    assert await watcher.step() == pytest.approx(48 * HOUR * 0.8, abs=20)
    assert len(await matters.told(kind="sla.breached")) == BATCH + 1


async def test_it_wakes_the_stream_and_those_who_act(matters: Matters) -> None:
    await matters.one(category="urgent")
    await matters.pass_time(25 * HOUR, metric=FIRST)
    heard: list[str] = []
    connection = await matters.database.connect()
    await connection.add_listener("roundtrip", lambda *call: heard.append(str(call[3])))
    await Watcher(matters.database).step()
    await connection.execute("SELECT 1")
    await connection.close()
    assert sorted(heard) == ["events", "sla-actions"]


async def test_what_fired_is_counted(matters: Matters) -> None:
    def counted(stage: str) -> float:
        return REGISTRY.get_sample_value("roundtrip_sla_fired_total", {"metric": FIRST, "stage": stage}) or 0

    before = counted("warned"), counted("breached")
    await matters.open(2)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert (counted("warned") - before[0], counted("breached") - before[1]) == (2, 2)


async def test_a_breach_of_an_urgent_one_asks_for_supervisors_once(matters: Matters) -> None:
    conversation_id = await matters.one(category="urgent")
    await matters.pass_time(25 * HOUR, metric=FIRST)
    for _ in range(2):
        await Watcher(matters.database).step()
    [action] = await matters.actions()
    clock = await matters.clock(conversation_id, FIRST)
    assert (action.clock_id, action.conversation_id, action.policy_id) == (clock.id, conversation_id, clock.policy_id)
    assert (action.action, action.kind, action.level, action.stage) == ({"requeue": True}, "breached", 1, 2)
    assert (action.state, action.attempts, action.done_at) == ("pending", 0, None)


@pytest.mark.parametrize("category", ["routine", "complex"])
async def test_a_breach_of_others_asks_for_nothing(matters: Matters, category: str) -> None:
    await matters.one(category=category)
    await matters.pass_time(25 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert len(await matters.told()) == 2
    assert await matters.actions() == []


async def test_a_warning_alone_asks_for_nothing(matters: Matters) -> None:
    await matters.one(category="urgent")
    await matters.pass_time(20 * HOUR, metric=FIRST)
    await Watcher(matters.database).step()
    assert len(await matters.told()) == 1
    assert await matters.actions() == []


async def test_pausing_an_urgent_one_after_its_deadline_asks_for_supervisors(matters: Matters) -> None:
    conversation_id = await matters.one(category="urgent", policy="complaint")
    await matters.pass_time(5 * HOUR, metric=DONE)
    await matters.set_status(conversation_id, ConversationStatus.ON_HOLD)
    assert [action.action for action in await matters.actions()] == [{"requeue": True}]


async def _until_done(database: Database) -> None:
    """As the loop would: until the next one is a long way off."""
    watcher = Watcher(database)
    wait_s = await watcher.step()
    while wait_s is not None and wait_s < 1:
        await asyncio.sleep(wait_s)
        wait_s = await watcher.step()


@asynccontextmanager
async def processes(settings: Settings, count: int) -> AsyncIterator[list[Database]]:
    databases = [Database(settings) for _ in range(count)]
    try:
        yield databases
    finally:
        for database in databases:
            await database.close()


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What a block asks the database; BEGIN and COMMIT are not counted."""
    asked: list[str] = []

    def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", heard)
    try:
        yield asked
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", heard)
