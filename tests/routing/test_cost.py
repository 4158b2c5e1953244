"""What a step of the dispatcher asks the database, and that it does not grow with the number of those who wait."""

from __future__ import annotations

import re
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from app.db import driver
from tests.routing.world import World, statements


async def test_questions_to_the_database(world: World) -> None:
    queue = await world.queue()
    dispatcher = await world.dispatcher()
    await dispatcher.step()
    with statements(world.database) as idle:
        await dispatcher.step()
    await world.agents(40, queue, capacity=6)
    with statements(world.database) as nothing_waits:
        await dispatcher.step()
    await world.waiting(queue, 1)
    with statements(world.database) as one:
        await dispatcher.step()
    await world.waiting(queue, 200)
    with statements(world.database) as batch:
        await dispatcher.step()
    assert len(await world.offers()) == 201
    assert (len(idle), len(nothing_waits)) == (1, 1)
    assert len(one) == 9
    assert len(batch) == 10, "one more: a look for a next page"


async def _read(world: World, queue: UUID) -> int:
    """Blocks of the database that the dispatcher's own statements touch to find the heads of all lanes."""
    asked = [
        {"n": 0, "queue_id": queue, "escalated": False, "weight": 1, "ring": 0, "skills": [], "specialists": []}
        | {"after_at": "-infinity", "after_id": UUID(int=0), "page": 4, "overdue": overdue}
        for overdue in (False, True)
    ]
    blocks = 0
    async with world.database.begin() as session:
        connection = await driver(session)
        for _ in range(2):  # the second time, nothing is read to plan with
            blocks = 0
            for query in ("SELECT * FROM lanes_v1()", "SELECT * FROM heads_v1($1::jsonb, 30)"):
                given = [orjson.dumps(asked, default=str).decode()] if "$1" in query else []
                rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {query}", *given)
                plan = "\n".join(row[0] for row in rows).split("Planning")[0]
                blocks += sum(map(int, re.findall(r"(?:hit|read)=(\d+)", plan)))
    return blocks


@pytest.mark.parametrize("seen", [True, False], ids=["analysed", "never analysed"])
async def test_the_cost_does_not_grow_with_the_queue(world: World, seen: bool) -> None:
    """The dispatcher's reads touch as much of a queue of 20,000 as of one of 200, whatever is known of the table."""
    queue = await world.queue()
    await world.agent(queue)
    await world.waiting(queue, 200, age_s=9_000)
    async with world.database.begin() as session:
        await session.execute(text("ANALYZE queue_entry"))
    short = await _read(world, queue)
    await _lengthen(world, queue, 19_800)
    if seen:
        async with world.database.begin() as session:
            await session.execute(text("ANALYZE queue_entry"))
    assert await _read(world, queue) <= short + 20, "the index is one level deeper"


async def _lengthen(world: World, queue: UUID, count: int) -> None:
    """Many more that wait, all younger, each like one of those who wait already."""
    async with world.database.begin() as session:
        connection = await driver(session)
        copies = {
            "contact": {"id": "gen_random_uuid()", "name": "'copy'"},
            "contact_identity": {"id": "gen_random_uuid()", "contact_id": "p.id", "value": "p.id::text"},
            "conversation": {"id": "gen_random_uuid()", "contact_id": "i.contact_id", "identity_id": "i.id"},
            "queue_entry": {"conversation_id": "c.id", "order_at": "e.order_at + interval '1 hour'"},
        }
        sources = {
            "contact": "(SELECT * FROM contact LIMIT 1) t, generate_series(1, $1)",
            "contact_identity": "contact p, (SELECT * FROM contact_identity LIMIT 1) t WHERE p.name = 'copy'",
            "conversation": "(SELECT * FROM conversation LIMIT 1) t, contact p JOIN contact_identity i ON i.contact_id = p.id "
            "WHERE p.name = 'copy'",
            "queue_entry": "(SELECT * FROM queue_entry LIMIT 1) e, contact p JOIN conversation c ON c.contact_id = p.id "
            "WHERE p.name = 'copy'",
        }
        for table, changed in copies.items():
            known = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
            columns = [row[0] for row in await connection.fetch(known, table)]
            one = "e" if table == "queue_entry" else "t"
            values = ", ".join(changed.get(name, f"{one}.{name}") for name in columns)
            query = f"INSERT INTO {table}({', '.join(columns)}) SELECT {values} FROM {sources[table]}"
            await connection.execute(query, *([count] if table == "contact" else []))
