"""The counts of queues against a recount, while everything moves at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import select

from app import migrate
from app.db import Database
from app.models import Queue
from app.routing import counts
from app.wakeups import Wakeups
from tests.desk.house import Caller, House

_RECOUNT = text(
    "SELECT queue_id, count(*) FILTER (WHERE state = 'waiting') AS waiting, "
    "count(*) FILTER (WHERE state = 'offered') AS offered FROM queue_entry GROUP BY queue_id"
)
_INSERT = text(
    "INSERT INTO queue_entry(conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, excluded, boosts) "
    "SELECT c, :queue, :state, 1, '{}', false, '{}', 0, '{}', '{}' FROM unnest(CAST(:ids AS uuid[])) AS c "
    "ON CONFLICT (conversation_id) DO UPDATE SET queue_id = excluded.queue_id, state = excluded.state"
)


async def recounted(database: Database) -> dict[UUID, tuple[int, int]]:
    async with database.begin() as session:
        rows = (await session.execute(_RECOUNT)).all()
    return {row.queue_id: (row.waiting, row.offered) for row in rows}


async def counted(database: Database) -> dict[UUID, tuple[int, int]]:
    """Without the queues that are empty."""
    async with database.begin() as session:
        rows = (await session.execute(text("SELECT queue_id, waiting, offered FROM queue_count"))).all()
    return {row.queue_id: (row.waiting, row.offered) for row in rows if row.waiting or row.offered}


@pytest.fixture
async def queues(house: House) -> list[UUID]:
    return [await house.queue(f"Q{number}") for number in range(4)]


@pytest.fixture
async def conversations(house: House, queues: list[UUID]) -> list[UUID]:
    """Twenty, none of them waiting."""
    made = [await house.conversation(queues[0], status="open") for _ in range(20)]
    async with house.database.begin() as session:
        await session.execute(text("DELETE FROM queue_entry"))
    while await counts.fold(house.database):
        pass
    return made


async def test_counts_equal_a_recount_after_everything_moved_at_once(
    house: House, queues: list[UUID], conversations: list[UUID]
) -> None:
    """Batches go in, upserts move them, updates and deletes run against each other, some are rolled back, and three
    folders share the deltas all the while."""
    told: list[dict[str, Any]] = []
    wakeups = Wakeups(house.database)
    wakeups.on_ephemeral(lambda fact: told.append(fact["frame"]))
    await wakeups.start()
    stop = asyncio.Event()

    async def mover(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            ids = sorted(chance.sample(conversations, chance.randint(1, 6)))
            await _move(house.database, chance, ids, queues)

    async def folder() -> None:
        while not stop.is_set():
            await counts.fold(house.database)
            await asyncio.sleep(0)

    folding = [asyncio.create_task(folder()) for _ in range(3)]
    await asyncio.gather(*(mover(seed) for seed in range(5)))
    stop.set()
    await asyncio.gather(*folding)
    await counts.fold(house.database)
    assert await counted(house.database) == await recounted(house.database)
    await _until_told(told, await counted(house.database))
    await wakeups.stop()
    _changes_add_up(told)


async def _move(database: Database, chance: random.Random, ids: Sequence[UUID], queues: Sequence[UUID]) -> None:
    held = text("SELECT 1 FROM conversation WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE")
    some = {"ids": ids, "queue": chance.choice(queues), "state": chance.choice(["waiting", "offered"])}
    statements = [
        _INSERT,
        text("UPDATE queue_entry SET state = :state WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"),
        text(
            "UPDATE queue_entry SET queue_id = :queue, ring = ring + 1 WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
        ),
        text("DELETE FROM queue_entry WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"),
    ]

    class Undone(Exception):
        pass

    try:
        async with database.begin() as session:
            await session.execute(held, {"ids": ids})
            for statement in chance.choices(statements, weights=[4, 2, 2, 1], k=chance.randint(1, 3)):
                await session.execute(statement, {name: some[name] for name in statement.compile().params})
            if chance.random() < 0.2:
                raise Undone
    except Undone:
        pass


async def _until_told(told: list[dict[str, Any]], expected: dict[UUID, tuple[int, int]]) -> None:
    """The last frame of each queue is the truth, in whatever process it was made."""
    async with asyncio.timeout(10):
        while True:
            last = {UUID(frame["queue_id"]): (frame["waiting"], frame["offered"]) for frame in told}
            if {queue: pair for queue, pair in last.items() if pair != (0, 0)} == expected:
                return
            await asyncio.sleep(0.01)


def _changes_add_up(told: list[dict[str, Any]]) -> None:
    """Each frame's change leads from the frame before to its own numbers."""
    at: Counter[tuple[str, str]] = Counter()
    for frame in told:
        for state in ("waiting", "offered"):
            at[frame["queue_id"], state] += frame["change"][state]
            assert at[frame["queue_id"], state] == frame[state]


async def test_what_moves_nothing_costs_nothing(house: House, queues: list[UUID]) -> None:
    await house.conversation(queues[0])
    await counts.fold(house.database)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE queue_entry SET ring = 3, next_at = now()"))
        await session.execute(text("UPDATE queue_entry SET state = state WHERE false"))
        assert (await session.execute(text("SELECT count(*) FROM queue_delta"))).scalar() == 0


async def test_a_batch_is_one_difference(house: House, queues: list[UUID], conversations: list[UUID]) -> None:
    async with house.database.begin() as session:
        await session.execute(_INSERT, {"ids": conversations, "queue": queues[1], "state": "waiting"})
        rows = (await session.execute(text("SELECT queue_id, waiting, offered FROM queue_delta"))).all()
    assert [tuple(row) for row in rows] == [(queues[1], 20, 0)]


async def test_what_waited_before_the_triggers_came_is_counted_once(house: House, queues: list[UUID]) -> None:
    """As when an older version is upgraded: installing counts what is there, and leaves no difference behind."""
    await house.conversation(queues[2])
    async with house.database.begin() as session:
        await session.execute(text("UPDATE queue_count SET waiting = 77"))
        await session.execute(text("DELETE FROM instance WHERE name = 'sql:routing/counts.sql'"))
    await migrate.upgrade(house.database)
    assert await counted(house.database) == await recounted(house.database) == {queues[2]: (1, 0)}
    assert not await counts.fold(house.database)
    assert await counted(house.database) == {queues[2]: (1, 0)}


async def test_the_welcome_shows_the_queues_of_an_agent_and_all_to_a_supervisor(
    house: House, queues: list[UUID], supervisor: Caller
) -> None:
    await house.conversation(queues[3])
    await counts.fold(house.database)
    async with house.database.begin() as session:
        mine = await counts.of_queues(session, queues[2:])
        every = await counts.of_queues(session, [], everything=True)
        names = (await session.exec(select(Queue.name))).all()
    assert mine == [
        {"id": str(queues[2]), "name": "Q2", "waiting": 0, "offered": 0},
        {"id": str(queues[3]), "name": "Q3", "waiting": 1, "offered": 0},
    ]
    assert [queue["name"] for queue in every] == sorted(names)
