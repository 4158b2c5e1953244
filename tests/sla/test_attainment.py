"""Attainment is what a recount of the clocks says, whenever and by whomever its figures are added up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.db import Database
from app.figures import BATCH
from app.models import Agent, Channel, Queue
from app.models.words import ClockMetric, ConversationStatus
from app.settings import Settings
from app.sla import attainment, clocks
from app.sla.attainment import Figures, Folder, Report
from app.sla.watcher import Watcher
from tests.sla.matters import Matters

HOUR = 3_600
SINCE, UNTIL = date(2000, 1, 1), date(2100, 1, 1)
_RECOUNT = text("""
    SELECT f.day, f.code, f.metric, f.channel_id, sum(f.met)::int, sum(f.breached)::int, sum(f.late)::int,
           sum(f.elapsed_us)::bigint
    FROM (
        SELECT (k.met_at AT TIME ZONE 'UTC')::date AS day, p.code, k.metric, c.channel_id,
               (k.breached_at IS NULL)::int AS met, 0 AS breached, (k.breached_at IS NOT NULL)::int AS late, k.elapsed_us
        FROM sla_clock k JOIN conversation c ON c.id = k.conversation_id JOIN sla_policy p ON p.id = k.policy_id
        WHERE k.state = 'met'
        UNION ALL
        SELECT (k.breached_at AT TIME ZONE 'UTC')::date, p.code, k.metric, c.channel_id, 0, 1, 0, 0
        FROM sla_clock k JOIN conversation c ON c.id = k.conversation_id JOIN sla_policy p ON p.id = k.policy_id
        WHERE k.breached_at IS NOT NULL
    ) f GROUP BY 1, 2, 3, 4
""")


async def read(database: Database, *by: str, **where: str | UUID) -> Report:
    async with database.begin() as session:
        return await attainment.report(session, since=SINCE, until=UNTIL, by=by, where=where)


async def figures(database: Database, by: str, **where: str | UUID) -> dict[Any, Figures]:
    """By what the report is cut by; ids instead of names."""
    found = await read(database, by, **where)
    return {_key(keys[by]): row for keys, row in found.rows}


def _key(value: Any) -> Any:
    return value["id"] if isinstance(value, Mapping) else value


async def recount(database: Database) -> dict[tuple[Any, ...], Figures]:
    async with database.begin() as session:
        return {tuple(row[:4]): Figures(*row[4:]) for row in (await session.execute(_RECOUNT)).all()}


async def put(database: Database, **fields: Any) -> None:
    """What a clock leaves behind."""
    values = {"day": date(2026, 11, 22), "met": 0, "breached": 0, "late": 0, "elapsed_us": 0, **fields}
    for name in ("queue_id", "agent_id"):
        values.setdefault(name, None)
    names = ", ".join(values)
    async with database.begin() as session:
        marks = ", ".join(f":{name}" for name in values)
        await session.execute(text(f"INSERT INTO sla_attainment_delta({names}) VALUES ({marks})"), values)


@pytest.mark.parametrize("seed", range(4))
async def test_the_report_is_a_recount_of_the_clocks(matters: Matters, seed: int) -> None:
    """Random lives of conversations, folded at random moments in between; seen by each thing it can be cut by."""
    rng = random.Random(seed)
    folder, watcher = Folder(matters.database), Watcher(matters.database)
    for policy in ("ordinary", "complaint", "webchat"):
        for conversation_id in await matters.open(4, policy=policy):
            for metric in (ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION):
                await matters.pass_time(rng.choice([60, 1.9, 3, 30, 100]) * HOUR, conversation_id, metric=metric)
            for step in rng.sample(
                ["watch", "reply", "pause", "resume", "resolve", "cancel", "fold"], rng.randrange(1, 8)
            ):
                if step == "watch":
                    await watcher.step()
                elif step == "fold":
                    await folder.step()
                elif step in ("pause", "resume"):
                    status = ConversationStatus.ON_HOLD if step == "pause" else ConversationStatus.OPEN
                    await matters.set_status(conversation_id, status)
                else:
                    await _step(matters, conversation_id, step)
    for fold in (False, True):
        if fold:
            await folder.step()
            assert await matters.attainment() == []
        counted = await recount(matters.database)
        report = await read(matters.database, "day", "policy", "metric", "channel")
        found = {(keys["day"], keys["policy"], keys["metric"], keys["channel"]["id"]): row for keys, row in report.rows}
        assert found == counted
        assert report.total == added(counted)
        for place, by in enumerate(("day", "policy", "metric", "channel")):
            parts = await figures(matters.database, by)
            assert parts == {
                key: added({k: v for k, v in counted.items() if k[place] == key}) for key in {k[place] for k in counted}
            }


async def _step(matters: Matters, conversation_id: UUID, step: str) -> None:
    async with matters.holding(conversation_id) as (session, conversation):
        if step == "cancel":
            await clocks.cancel(session, conversation)
        elif step == "resolve":
            await clocks.resolved(session, conversation)
        else:
            conversation.last_seq += 1
            await clocks.replied(session, conversation)


def added(rows: Mapping[Any, Figures]) -> Figures:
    values = list(rows.values())
    return Figures(
        sum(one.met for one in values),
        sum(one.breached for one in values),
        sum(one.late for one in values),
        sum(one.elapsed_us for one in values),
    )


async def test_a_breach_counts_at_its_deadline_for_who_had_it_then(matters: Matters) -> None:
    """And what came late counts for who finished it."""
    first, second = await matters.agent(), await matters.agent()
    conversation_id = await matters.one()
    await matters.assign(conversation_id, first)
    await matters.pass_time(80 * HOUR, metric=ClockMetric.RESOLUTION)
    await Watcher(matters.database).step()
    async with matters.holding(conversation_id) as (session, conversation):
        conversation.assignee_id = second
        session.add(conversation)
        await clocks.meet(session, conversation, ClockMetric.RESOLUTION)
    found = await figures(matters.database, "agent", metric="resolution")
    assert (found[first].breached, found[first].late, found[second].breached, found[second].late) == (1, 0, 0, 1)
    assert found[second].elapsed_us == pytest.approx(80 * HOUR * 1_000_000, rel=1e-3)
    clock = await matters.clock(conversation_id, ClockMetric.RESOLUTION)
    assert clock.due_at is not None
    assert clock.met_at is not None
    days = await figures(matters.database, "day", metric="resolution")
    assert {day for day, row in days.items() if row.breached} == {clock.due_at.astimezone(UTC).date()}
    assert {day for day, row in days.items() if row.late} == {clock.met_at.astimezone(UTC).date()}
    assert clock.due_at.date() < clock.met_at.date()


async def test_per_cent_and_average() -> None:
    assert (Figures(0, 0, 0, 0).percent, Figures(0, 0, 0, 0).average_s) == (None, None)
    assert (Figures(2, 1, 1, 9_000_000).percent, Figures(2, 1, 1, 9_000_000).average_s) == (66.67, 3.0)
    assert (Figures(0, 1, 0, 0).percent, Figures(0, 1, 0, 0).average_s) == (0.0, None)


async def test_cut_by_names_and_filtered(matters: Matters) -> None:
    policy = await matters.policy("p", first_response_s=1)
    channels = [Channel(type="partner", name=name, secrets="") for name in ("B", "A")]
    queue = Queue(name="Repairs")
    agent = Agent(name="Ada", email="ada@example.org")
    async with matters.database.begin() as session:
        session.add_all([*channels, queue, agent])
    of = {"policy_id": policy.id, "metric": "resolution"}
    one, other = sorted(channel.id for channel in channels)
    await put(matters.database, **of, channel_id=one, met=1, elapsed_us=5)
    await put(matters.database, **of, channel_id=one, queue_id=queue.id, agent_id=agent.id, met=2)
    await put(matters.database, **of, channel_id=other, queue_id=queue.id, breached=4)
    for fold in (False, True):
        if fold:
            await Folder(matters.database).step()
        report = await read(matters.database, "queue", "agent")
        assert [(keys, row.met, row.breached) for keys, row in report.rows] == [
            ({"queue": None, "agent": None}, 1, 0),
            ({"queue": {"id": queue.id, "name": "Repairs"}, "agent": None}, 0, 4),
            ({"queue": {"id": queue.id, "name": "Repairs"}, "agent": {"id": agent.id, "name": "Ada"}}, 2, 0),
        ]
        assert (report.total.met, report.total.breached, report.cut_off) == (3, 4, False)
        [(keys, row)] = (await read(matters.database, "channel", agent_id=agent.id)).rows
        assert (keys["channel"]["id"], keys["channel"]["type"], row.met) == (one, "partner", 2)
        assert (await read(matters.database, "day", channel_id=other, queue_id=queue.id)).total.breached == 4
        assert (await read(matters.database, "day", policy="p", metric="resolution")).total.met == 3
        nothing = await read(matters.database, "day", policy="another")
        assert (nothing.rows, nothing.total) == ([], Figures(0, 0, 0, 0))


async def test_days_are_included_on_both_ends(matters: Matters) -> None:
    policy = await matters.policy("p", first_response_s=1)
    day = date(2026, 11, 20)
    for more in range(4):
        values = {"policy_id": policy.id, "metric": "resolution", "channel_id": uuid4(), "met": 10**more}
        await put(matters.database, day=day + timedelta(days=more), **values)
    async with matters.database.begin() as session:
        found = await attainment.report(
            session, since=day + timedelta(days=1), until=day + timedelta(days=2), by=["day"], where={}
        )
    assert found.total.met == 110
    assert [keys["day"] for keys, _ in found.rows] == [day + timedelta(days=1), day + timedelta(days=2)]


async def test_many_processes_add_each_once_while_more_come_and_readers_always_see_all(
    matters: Matters, settings: Settings
) -> None:
    policy = await matters.policy("p", first_response_s=1)
    channels = [uuid4() for _ in range(5)]
    databases = [Database(settings) for _ in range(3)]
    wanted: Counter[UUID] = Counter()
    put_down = 0
    busy = True
    rng = random.Random(7)

    async def write() -> None:
        nonlocal put_down, busy
        for _ in range(40):
            async with matters.database.begin() as session:
                for _ in range(10):
                    channel = rng.choice(channels)
                    wanted[channel] += 1
                    await session.execute(
                        text(
                            "INSERT INTO sla_attainment_delta(day, policy_id, metric, channel_id, met, breached, late, elapsed_us) "
                            "VALUES (current_date, :policy, 'resolution', :channel, 1, 0, 0, 3)"
                        ),
                        {"policy": policy.id, "channel": channel},
                    )
            put_down += 10
        busy = False

    async def fold(database: Database) -> None:
        while busy:
            await Folder(database).step()

    async def look() -> None:
        while busy:
            before = put_down
            found = (await read(matters.database, "channel")).total.met
            assert before <= found <= put_down + 10

    try:
        await asyncio.gather(write(), look(), *(fold(database) for database in databases))
    finally:
        for database in databases:
            await database.close()
    await Folder(matters.database).step()
    assert await matters.attainment() == []
    async with matters.database.begin() as session:
        rows = (await session.execute(text("SELECT channel_id, met, elapsed_us FROM sla_attainment"))).all()
    assert {row.channel_id: row.met for row in rows} == dict(wanted)
    assert sum(row.elapsed_us for row in rows) == 3 * 400


async def test_one_that_fails_in_between_adds_nothing(matters: Matters) -> None:
    """A process that dies with deltas taken and not committed: they are there for the next one."""
    policy = await matters.policy("p", first_response_s=1)
    await put(matters.database, policy_id=policy.id, metric="resolution", channel_id=uuid4(), met=1)
    block = await matters.database.connect()
    try:
        await block.execute("BEGIN")
        await block.execute("LOCK TABLE sla_attainment IN EXCLUSIVE MODE")
        dying = asyncio.create_task(Folder(matters.database).step())
        waits = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'sla_attainment'::regclass)"
        while not await block.fetchval(waits):
            await asyncio.sleep(0.01)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await block.execute("ROLLBACK")
    finally:
        await block.close()
    assert len(await matters.attainment()) == 1
    assert await Folder(matters.database).step() is None
    async with matters.database.begin() as session:
        [row] = (await session.execute(text("SELECT met FROM sla_attainment"))).all()
    assert row.met == 1


async def test_it_goes_on_while_there_is_more(matters: Matters) -> None:
    policy = await matters.policy("p", first_response_s=1)
    async with matters.database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO sla_attainment_delta(day, policy_id, metric, channel_id, met, breached, late, elapsed_us) "
                "SELECT :day, :policy, 'resolution', :channel, 1, 0, 0, 0 FROM generate_series(1, :count)"
            ),
            {"day": datetime.now(UTC).date(), "policy": policy.id, "channel": uuid4(), "count": BATCH + 1},
        )
    folder = Folder(matters.database)
    assert [await folder.step(), await folder.step()] == [0, None]
    async with matters.database.begin() as session:
        rows = (await session.execute(text("SELECT met FROM sla_attainment"))).all()
    assert [row.met for row in rows] == [BATCH + 1]
