"""From a freed unit of capacity to the offer: 1,000 agents, 20,000 who wait in 10 queues; and offers in bulk.

The dispatcher runs in this process, as its loop would, on a database of its own. The floor is the transaction that makes
the same offers and decides nothing: who gets what is given.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event

from app import embedded, log, migrate
from app.catalog import CatalogCache
from app.conversations import queries
from app.db import Database
from app.routing import offers
from app.routing.dispatcher import Dispatcher
from app.routing.lanes import PAGE
from app.routing.views import Decision, Waiting
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups

AGENTS = 1_000
_SET_UP = """
INSERT INTO queue(id, name, skills, assignment, rings, when_closed, sticky_window_s, sticky_wait_s, is_default, active, version)
SELECT gen_random_uuid(), 'Queue ' || n, '{}', 'offer', '[]', 'wait', 86400, 0, false, true, 1 FROM generate_series(1, 10) n;
INSERT INTO channel(id, type, name, config, secrets, active, version)
SELECT gen_random_uuid(), 'partner', 'bench', '{}', '', false, 1;
INSERT INTO agent(id, name, email, role, capacity, load, skills, languages, availability, active, missed_offers, version)
SELECT gen_random_uuid(), 'Agent ' || n, n || '@bench.example', 'agent', 6, 0, '{}',
       CASE n % 3 WHEN 0 THEN '{zh}'::text[] WHEN 1 THEN '{en,zh}' ELSE '{}' END, 'online', true, 0, 1
FROM generate_series(1, 1000) n;
INSERT INTO agent_session(id, agent_id, process, lease_until) SELECT gen_random_uuid(), id, 'bench', now() + interval '1 day'
FROM agent;
INSERT INTO queue_member(queue_id, agent_id, level)
SELECT q.id, a.id, 1 + (a.n + q.n) % 2
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM queue WHERE name LIKE 'Queue %') q
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM agent) a ON a.n % 10 = q.n % 10 OR (a.n * 7) % 10 = q.n % 10;
INSERT INTO contact(id, name, language, tier, attributes, version)
SELECT gen_random_uuid(), 'Contact ' || n, CASE n % 2 WHEN 0 THEN 'zh-CN' ELSE 'en' END, 'standard', '{}', 1
FROM generate_series(1, 20000) n;
INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address)
SELECT gen_random_uuid(), p.id, c.id, 'bench', p.id::text, '{}' FROM contact p, channel c;
INSERT INTO conversation(id, channel_id, channel_type, contact_id, identity_id, queue_id, status, category, matter,
                         corrected, priority, participant_ids, last_seq, stream_pos, cycle, contact_read_seq)
SELECT gen_random_uuid(), i.channel_id, 'partner', i.contact_id, i.id, q.id, 'open', 'routine', 'enquiry', false, 0, '{}',
       0, 0, 1, 0
FROM (SELECT *, row_number() OVER () AS n FROM contact_identity) i
JOIN (SELECT id, row_number() OVER () AS n FROM queue WHERE name LIKE 'Queue %') q ON q.n % 10 = i.n % 10;
"""
# Seven of ten are routine, two urgent, one complex, as shipped; the oldest 1,500 are complex where heavy ones are wanted.
_WAIT = """
TRUNCATE queue_entry, offer, routing_decision, assignment;
INSERT INTO queue_entry(conversation_id, queue_id, state, weight, skills, escalated, specialists, ring, excluded, boosts,
                        enqueued_at, order_at, entered_at)
SELECT c.id, c.queue_id, 'waiting', w.weight, '{{}}', false, '{{}}', 0, '{{}}', '{{}}', t.since,
       t.since - CASE w.weight WHEN 2 THEN 600 ELSE 0 END * interval '1 s', t.since
FROM (SELECT id, queue_id, row_number() OVER () AS n FROM conversation) c
CROSS JOIN LATERAL (SELECT now() - (30000 - c.n) * interval '1 s' AS since) t
CROSS JOIN LATERAL (SELECT CASE WHEN c.n <= {heavy} THEN 3 WHEN c.n % 10 = 0 THEN 3 WHEN c.n % 10 < 3 THEN 2 ELSE 1 END) w(weight);
UPDATE agent SET load = {load};
ANALYZE queue_entry; ANALYZE agent
"""
_FREE_ONE = "UPDATE agent SET load = load - $2 WHERE id = $1"
_UNDO = """
WITH ended AS (DELETE FROM offer RETURNING conversation_id), back AS (
    UPDATE queue_entry e SET state = 'waiting' FROM ended o WHERE o.conversation_id = e.conversation_id)
UPDATE agent SET load = $1
"""


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """A database of our own; its URL."""
    home = Path(tempfile.mkdtemp(prefix="roundtrip-bench-", dir="/tmp"))
    home.chmod(0o755)
    server = embedded.start(home)
    try:
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.asynccontextmanager
async def centre(url: str) -> AsyncIterator[tuple[Database, asyncpg.Connection, Dispatcher]]:
    """Everyone in the database, a connection to arrange things by, and the dispatcher."""
    settings = Settings(DATABASE_URL=url)
    log.configure("warning", "console")
    database = Database(settings)
    try:
        await migrate.upgrade(database)
        control = await asyncpg.connect(database.dsn)
        await control.execute(_SET_UP)
        await control.execute("ANALYZE")
        catalog = CatalogCache(database, Vault(b"bench"), Wakeups(database))
        yield database, control, Dispatcher(database, catalog, settings)
        await control.close()
    finally:
        await database.close()


async def measure(*, quick: bool) -> dict[str, Any]:
    """`freed_ms`: three units of one agent are freed, everybody else is full. `heavy_ms`: every agent has a unit, and 1,500 who need three
    wait at the head of the line; three more units of one agent are freed. In bulk: everybody comes online."""
    rounds = 40 if quick else 200
    with _server() as url:
        return await _measured(url, rounds)


async def _measured(url: str, rounds: int) -> dict[str, Any]:
    async with centre(url) as (database, control, dispatcher):
        await _bulk(control, dispatcher)
        bulk = statistics.median([await _bulk(control, dispatcher) for _ in range(3 if rounds >= 100 else 1)])
        with _counted(database) as asked:
            await _bulk(control, dispatcher)
        made = await control.fetchval("SELECT count(*) FROM offer")
        floor = await _floor(database, control)
        freed = await _freed(control, dispatcher, rounds, load=6, units=3, heavy=0)
        with _counted(database) as single:
            await _freed(control, dispatcher, 1, load=6, units=3, heavy=0, warm=0)
        heavy = await _freed(control, dispatcher, rounds, load=5, units=3, heavy=1_500)
        await control.execute(_WAIT.format(heavy=0, load=6))
        idle = await _idle(dispatcher, rounds)
    return {
        "offers_per_s": round(bulk),
        "floor_offers_per_s": round(floor),
        "of_floor": round(bulk / floor, 2),
        "statements_per_offer_in_bulk": round(len(asked) / made, 3),
        "statements_per_single_offer": len(single),
        "freed_ms": freed,
        "heavy_ms": heavy,
        "nobody_free_ms": idle,
    }


async def _bulk(control: asyncpg.Connection, dispatcher: Dispatcher) -> float:
    """Offers per second when 1,000 agents are free at once."""
    await control.execute(_WAIT.format(heavy=0, load=0))
    started = time.perf_counter()
    await dispatcher.step()
    took = time.perf_counter() - started
    made: int = await control.fetchval("SELECT count(*) FROM offer")
    return made / took


async def _freed(
    control: asyncpg.Connection,
    dispatcher: Dispatcher,
    rounds: int,
    *,
    load: int,
    units: int,
    heavy: int,
    warm: int = 5,
) -> dict[str, float]:
    """From the commit that frees units of one agent to the commit of the offer."""
    await control.execute(_WAIT.format(heavy=heavy, load=load))
    ids = [row["id"] for row in await control.fetch("SELECT id FROM agent ORDER BY random() LIMIT $1", rounds + warm)]
    took = []
    for n, agent_id in enumerate(ids):
        await control.execute(_FREE_ONE, agent_id, units)
        started = time.perf_counter()
        await dispatcher.step()
        if n >= warm:
            took.append(time.perf_counter() - started)
        made = await control.fetchval("SELECT count(*) FROM offer")
        assert made >= 1, "what was freed leads to an offer"
        await control.execute(_UNDO, load)
    return _spread(took)


async def _idle(dispatcher: Dispatcher, rounds: int) -> dict[str, float]:
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        await dispatcher.step()
        took.append(time.perf_counter() - started)
    return _spread(took)


async def _floor(database: Database, control: asyncpg.Connection) -> float:
    """Offers per second of the bare transactions: conversations locked, offers made, in pages as large as ours."""
    await control.execute(_WAIT.format(heavy=0, load=0))
    rows = await control.fetch("SELECT conversation_id, queue_id, weight FROM queue_entry WHERE weight = 1 LIMIT 6000")
    agents = [row["id"] for row in await control.fetch("SELECT id FROM agent")]
    made = 0
    started = time.perf_counter()
    for at in range(0, len(rows), PAGE):
        page = rows[at : at + PAGE]
        async with database.begin() as session:
            held = {
                one.id: one for one in await queries.try_lock_many(session, [row["conversation_id"] for row in page])
            }
            proposals = [
                offers.Proposal(
                    held[row["conversation_id"]],
                    Waiting(row["conversation_id"], row["queue_id"], row["weight"]),
                    Decision(agents[(at + n) % AGENTS], row["weight"]),
                    60,
                    {},
                )
                for n, row in enumerate(page)
            ]
            made += len(await offers.make(session, proposals))
    return made / (time.perf_counter() - started)


@contextlib.contextmanager
def _counted(database: Database) -> Iterator[list[str]]:
    """What a block asks the database, but for BEGIN and COMMIT."""
    asked: list[str] = []
    connections: list[Any] = []

    def heard(record: Any) -> None:
        if record.query.strip().rstrip(";").upper() not in ("", "BEGIN", "COMMIT", "ROLLBACK"):
            asked.append(record.query)

    def executed(_: Any, __: Any, query: str, *___: Any) -> None:
        asked.append(query)

    def checkout(connection: Any, *_: Any) -> None:
        if connection.driver_connection not in connections:
            connections.append(connection.driver_connection)
            connection.driver_connection.add_query_logger(heard)

    event.listen(database.engine.sync_engine, "before_cursor_execute", executed)
    event.listen(database.engine.sync_engine.pool, "checkout", checkout)
    try:
        yield asked
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", executed)
        event.remove(database.engine.sync_engine.pool, "checkout", checkout)
        for connection in connections:
            connection.remove_query_logger(heard)


def _spread(took: list[float]) -> dict[str, float]:
    took.sort()
    return {"p50": round(took[len(took) // 2] * 1e3, 2), "p99": round(took[int(len(took) * 0.99)] * 1e3, 2)}


def show(found: dict[str, Any]) -> None:
    print(f"offers in bulk     {found['offers_per_s']:>7} /s, {found['of_floor']} of the bare transactions")
    print(
        f"  statements       {found['statements_per_offer_in_bulk']} per offer, {found['statements_per_single_offer']} for one"
    )
    for name, label in (
        ("freed_ms", "capacity to offer"),
        ("heavy_ms", "  behind heavy ones"),
        ("nobody_free_ms", "  nobody free"),
    ):
        print(f"{label:<18} p50 {found[name]['p50']} ms, p99 {found[name]['p99']} ms")
