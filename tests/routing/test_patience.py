"""What becomes of those who wait, carried out on the real database: once, on the record, with the age they have."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from app.db import Database
from app.events.log import Actor
from app.models import Agent, Calendar, Queue, QueueEntry
from app.models.words import Availability, Role
from app.routing import due, patience, queues, transfers
from app.routing.dispatcher import Dispatcher
from tests.routing.world import FixedCatalog, World

CLOSED: dict[str, Any] = {"time_zone": "UTC", "weekly": {}}
RINGS = [{"after_s": 10, "drop_skills": ["oak"]}, {"after_s": 20, "max_level": 2}]


async def entry_of(world: World, conversation: UUID) -> QueueEntry:
    entry = await world.entry(conversation)
    assert entry is not None
    return entry


async def waits(world: World, queue: UUID, **options: Any) -> UUID:
    """As the one way in makes it: with what is due next."""
    conversation = await world.waits(queue, **options)
    await world.enqueue(conversation, queue_id=queue)
    return conversation


async def calendar(world: World, **fields: Any) -> UUID:
    row = Calendar(name="hours", **{**CLOSED, **fields})
    async with world.database.begin() as session:
        session.add(row)
    return row.id


async def test_rings_widen_with_time(world: World) -> None:
    queue = await world.queue(rings=RINGS, skills=["oak"])
    conversation = await waits(world, queue, age_s=300)
    assert await world.patience() == pytest.approx(10, abs=2)
    assert (await entry_of(world, conversation)).ring == 0
    agent = await world.agent(queue)
    await world.dispatch()
    assert await world.offers(conversation) == []
    before = await entry_of(world, conversation)
    await world.let_wait(10, conversation)
    assert await world.patience() == pytest.approx(10, abs=2)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == agent.id, "the skill is not asked for any more"
    after = await entry_of(world, conversation)
    assert (after.ring, after.enqueued_at, after.order_at) == (1, before.enqueued_at, before.order_at)
    [ring] = await world.decisions(conversation)
    assert (ring.kind, ring.queue_id, ring.explanation["drop_skills"]) == ("ring", queue, ["oak"])


async def test_nothing_is_due_while_an_agent_is_asked_and_all_of_it_after(world: World) -> None:
    queue = await world.queue(rings=RINGS, max_wait_s=30)
    await world.agent(queue)
    conversation = await waits(world, queue)
    await world.dispatch()
    assert (await entry_of(world, conversation)).next_at is None
    await world.let_wait(60, conversation)
    assert await world.patience() is None
    await world.reject(await world.offered(conversation))
    assert await world.patience() == pytest.approx(30, abs=2)
    entry = await entry_of(world, conversation)
    assert (entry.ring, entry.escalated, len(entry.excluded)) == (2, True, 1)
    assert [decision.kind for decision in await world.decisions(conversation)] == ["escalated", "ring"]


async def test_overflow_moves_it_with_its_age_and_the_chain_goes_on(world: World) -> None:
    last = await world.queue("last")
    second = await world.queue("second", overflow_queue_id=last, overflow_after_s=20)
    first = await world.queue("first", overflow_queue_id=second, overflow_after_s=15, rings=RINGS)
    conversation = await waits(world, first, age_s=300)
    start = await entry_of(world, conversation)
    await world.let_wait(15, conversation)
    assert await world.patience() == pytest.approx(20, abs=2)
    moved = await entry_of(world, conversation)
    assert (moved.queue_id, moved.ring, moved.enqueued_at, moved.order_at) == (
        second,
        0,
        start.enqueued_at,
        start.order_at,
    )
    assert moved.entered_at > start.entered_at
    assert (await world.conversation(conversation)).queue_id == second
    told = (await world.told("conversation.updated"))[-1]
    assert (told.payload["changed"], set(told.queues)) == (["queue_id"], {first, second})
    await world.let_wait(20, conversation)
    assert await world.patience() is None
    assert (await entry_of(world, conversation)).queue_id == last
    found = await world.decisions(conversation)
    assert [(decision.kind, decision.queue_id) for decision in found] == [("overflow", first), ("overflow", second)]
    assert (found[0].explanation["reason"], found[0].explanation["path"]) == ("waited", [str(second)])
    assert await world.broken() == []


async def test_a_closed_queue_passes_on_at_once(world: World) -> None:
    open_, hours = await world.queue("open"), await calendar(world)
    also_closed = await world.queue(calendar_id=hours, when_closed="overflow", overflow_queue_id=open_)
    closed = await world.queue(calendar_id=hours, when_closed="overflow", overflow_queue_id=also_closed)
    conversation = await waits(world, closed)
    await world.patience()
    assert (await entry_of(world, conversation)).queue_id == open_
    [moved] = await world.decisions(conversation)
    assert (moved.explanation["reason"], moved.explanation["path"]) == ("closed", [str(also_closed), str(open_)])


async def test_one_that_is_open_passes_on_when_it_closes(world: World) -> None:
    other = await world.queue("other")
    now = datetime.now(UTC)
    closing = (now + timedelta(minutes=20)).replace(second=0, microsecond=0)
    if closing.date() != now.date():
        pytest.skip("it is nearly midnight")
    day = closing.strftime("%Y-%m-%d")
    hours = await calendar(world, exceptions={day: [["00:00", f"{closing:%H:%M}"]]})
    queue = await world.queue(calendar_id=hours, when_closed="overflow", overflow_queue_id=other)
    conversation = await waits(world, queue)
    assert await world.patience() == pytest.approx((closing - now).total_seconds(), abs=5)
    assert (await entry_of(world, conversation)).next_at == closing
    assert (await entry_of(world, conversation)).queue_id == queue


async def test_a_long_wait_is_escalated_once(world: World) -> None:
    queue = await world.queue(max_wait_s=30)
    supervisor = await world.agent(role=Role.SUPERVISOR)
    conversation = await waits(world, queue)
    await world.dispatch()
    assert await world.offers(conversation) == []
    await world.let_wait(30, conversation)
    assert await world.patience() is None
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id
    await world.let_wait(300, conversation)
    assert await world.patience() is None
    assert [decision.kind for decision in await world.decisions(conversation)] == ["escalated"]


async def given_to(world: World, other: Agent, queue: UUID, *, escalated: bool = False) -> tuple[UUID, Agent]:
    """An agent has it and transfers it to `other`."""
    mine = await world.agent(queue)
    conversation = await world.waits(queue, target_agent_id=mine.id)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    catalog = await world.catalog()
    async with world.holding(conversation) as (session, held):
        if escalated:
            await queues.requeue(session, held, catalog, escalated=True)
        await transfers.transfer(
            session, held, actor=Actor("agent", mine.id), agent_id=other.id, catalog=catalog, wait_s=90
        )
    return conversation, mine


@pytest.mark.parametrize("why", ["away", "no socket", "full"])
async def test_a_transfer_to_one_who_is_not_there_goes_back_to_its_assignee(world: World, why: str) -> None:
    queue = await world.queue()
    other = await world.agent(
        queue,
        present=why != "no socket",
        availability=Availability.AWAY if why == "away" else Availability.ONLINE,
        capacity=0 if why == "full" else 6,
    )
    conversation, mine = await given_to(world, other, queue)
    await world.dispatch()
    assert await world.patience() == pytest.approx(90, abs=2)
    await world.let_wait(90, conversation)
    assert await world.patience() is None
    assert await world.entry(conversation) is None
    assert (await world.conversation(conversation)).assignee_id == mine.id
    told = (await world.told("conversation.updated"))[-1]
    assert told.payload["transfer"] == {"agent_id": str(other.id), "outcome": "unavailable"}
    assert mine.id in told.agents
    [decision] = await world.decisions(conversation)
    assert (decision.kind, decision.explanation["outcome"]) == ("untargeted", "back_to_assignee")
    assert await world.broken() == []


async def test_a_transfer_that_nobody_holds_goes_to_the_queue(world: World) -> None:
    queue = await world.queue(rings=RINGS)
    other, member = await world.agent(queue, present=False), await world.agent(queue)
    conversation = await waits(world, queue)
    async with world.holding(conversation) as (session, held):
        await transfers.transfer(
            session, held, actor=Actor("system"), agent_id=other.id, catalog=await world.catalog(), wait_s=15
        )
    await world.let_wait(15, conversation)
    assert await world.patience() == pytest.approx(5, abs=2)
    entry = await entry_of(world, conversation)
    assert (entry.target_agent_id, entry.target_until, entry.excluded, entry.ring) == (None, None, [], 1)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == member.id


async def test_a_transfer_of_an_escalated_one_waits_on_for_a_supervisor(world: World) -> None:
    queue = await world.queue()
    other = await world.agent(queue, present=False)
    conversation, mine = await given_to(world, other, queue, escalated=True)
    await world.let_wait(90, conversation)
    await world.patience()
    entry = await entry_of(world, conversation)
    assert (entry.escalated, entry.target_agent_id) == (True, None)
    assert (await world.conversation(conversation)).assignee_id == mine.id
    assert (await world.told("conversation.updated"))[-1].payload["transfer"]["outcome"] == "unavailable"


async def test_after_a_change_of_the_queue_those_who_wait_follow_it(world: World) -> None:
    queue, other = await world.queue(), await world.queue()
    conversation = await waits(world, queue)
    untouched = await waits(world, other)
    assert await world.patience() is None
    async with world.database.begin() as session:
        row = await session.get_one(Queue, queue)
        row.max_wait_s = 50
        session.add(row)
        await patience.reconsider(session, queue)
    assert await world.patience() == pytest.approx(50, abs=3)
    assert (await entry_of(world, untouched)).next_at is None
    async with world.database.begin() as session:
        row = await session.get_one(Queue, queue)
        row.max_wait_s = None
        session.add(row)
        await patience.reconsider(session, queue)
    assert await world.patience() is None
    assert (await entry_of(world, conversation)).next_at is None


async def test_the_sweep_finds_what_was_made_by_old_rules(world: World) -> None:
    queue = await world.queue(max_wait_s=50)
    conversation = await world.waits(queue)
    assert (await entry_of(world, conversation)).next_at is None
    assert await world.patience() == pytest.approx(50, abs=3)


async def test_once_on_many_processes_and_in_whole_batches(world: World) -> None:
    last = await world.queue("last")
    queue = await world.queue(overflow_queue_id=last, overflow_after_s=30, max_wait_s=20, rings=RINGS)
    conversations = await world.waiting(queue, 450)
    catalog = FixedCatalog(await world.catalog())
    await patience.Patience(world.database, catalog).step()
    await world.let_wait(40, *conversations)
    databases = [Database(world.settings) for _ in range(3)]

    async def until_done(database: Database) -> None:
        loop = patience.Patience(database, catalog)
        while await loop.step() is not None:
            pass

    await asyncio.gather(*(until_done(database) for database in databases * 2))
    for database in databases:
        await database.close()
    async with world.database.begin() as session:
        found = await session.execute(text("SELECT conversation_id, kind FROM routing_decision"))
        counted = Counter((row.conversation_id, row.kind) for row in found)
        places = await session.execute(text("SELECT DISTINCT queue_id, escalated, ring FROM queue_entry"))
        assert places.all() == [(last, True, 0)]
    assert len(counted) == 900
    assert set(counted.values()) == {1}
    assert len(await world.told("conversation.updated")) == 450


async def test_one_in_others_hands_is_done_later(world: World) -> None:
    queue = await world.queue(max_wait_s=5)
    conversation = await waits(world, queue)
    await world.let_wait(5, conversation)
    loop = patience.Patience(world.database, FixedCatalog(await world.catalog()))
    async with world.holding(conversation):
        assert await loop.step() == patience.RETRY_S
    assert not (await entry_of(world, conversation)).escalated
    assert await loop.step() is None
    assert (await entry_of(world, conversation)).escalated


async def test_against_dispatchers_and_agents(world: World) -> None:
    """Rings, overflow and escalation while everything is offered, declined and accepted: nothing is lost."""
    last = await world.queue("last")
    queue = await world.queue(overflow_queue_id=last, overflow_after_s=0.1, max_wait_s=0.05, rings=[{"after_s": 0.02}])
    await world.agents(6, queue, last, capacity=4)
    await world.agents(1, role=Role.SUPERVISOR, capacity=4)
    conversations = await world.waiting(queue, 60)
    catalog = FixedCatalog(await world.catalog())
    databases = [Database(world.settings) for _ in range(2)]
    done = asyncio.Event()
    dice = random.Random(3)

    async def run(step: Any) -> None:
        while not done.is_set():
            await step()
            await asyncio.sleep(0.005)

    async def work() -> None:
        taken = 0
        while taken < 20:
            pending = [offer for offer in await world.offers() if offer.status == "pending"]
            for offer in pending[:4]:
                if dice.random() < 0.5:
                    await world.reject(offer)
                    await world.let_wait(60, offer.conversation_id)
                else:
                    await world.accept(offer)
                    taken += 1
        done.set()

    loops = [
        run(step)
        for database in databases
        for step in (
            Dispatcher(database, catalog, world.settings).step,
            patience.Patience(database, catalog).step,
        )
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(work(), *loops)
    for database in databases:
        await database.close()
    assert await world.broken() == []
    assert len({offer.conversation_id for offer in await world.offers() if offer.status == "accepted"}) >= 20
    assert len(conversations) == 60


async def test_the_database_says_the_same_as_the_decider(world: World) -> None:
    """next_at_v1 sets what patience.py then keeps: they must agree for every rule and entry."""
    dice = random.Random(11)
    elsewhere = await world.queue()
    async with world.database.begin() as session:
        moment = (await session.execute(text("SELECT now()"))).scalar_one()
    for _ in range(150):

        def some(upto: int) -> int | None:
            return dice.randint(1, upto) if dice.random() < 0.5 else None

        fields: dict[str, Any] = {
            "rings": [{"after_s": after} for after in sorted(dice.sample(range(100), dice.randint(0, 3)))],
            "overflow_queue_id": dice.choice([None, elsewhere]),
            "overflow_after_s": some(100),
            "max_wait_s": some(100),
        }
        target, until, round_ = dice.choice([None, elsewhere]), some(100), some(100)
        entry = due.Entry(
            elsewhere,
            moment,
            ring=dice.randint(0, 3),
            escalated=dice.random() < 0.5,
            held=dice.random() < 0.3,
            target_agent_id=target,
            target_until=moment + timedelta(seconds=until) if until else None,
            round_at=moment + timedelta(seconds=round_) if round_ else None,
        )
        here = UUID(int=1)
        queues_ = {here: due.Rules(**fields), elsewhere: due.Rules()}
        expected = due.next_at(replace(entry, queue_id=here), queues_)
        async with world.database.begin() as session:
            found = await session.execute(
                text(
                    "SELECT next_at_v1(q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id, :entered, :ring, :escalated, "
                    ":held, CAST(:target AS uuid), CAST(:until AS timestamptz), CAST(:round AS timestamptz)) "
                    "FROM jsonb_populate_record(NULL::queue, CAST(:q AS jsonb)) q"
                ),
                {
                    "q": orjson.dumps(fields).decode(),
                    "entered": entry.entered_at,
                    "ring": entry.ring,
                    "escalated": entry.escalated,
                    "held": entry.held,
                    "target": entry.target_agent_id,
                    "until": entry.target_until,
                    "round": entry.round_at,
                },
            )
            assert found.scalar() == expected, (fields, entry)
