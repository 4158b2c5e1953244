"""SLA clocks: 2,000 falling due each second among a million, three watcher processes of which one is killed in the middle.

How late each was told is read from the commit that told it; what a fired clock costs is taken from draining a backlog,
and compared between few and many open clocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from app import embedded, migrate, seed
from app.db import STATEMENTS, Database
from app.settings import Settings
from app.sla.watcher import BATCH, Watcher

RATE = 2_000
BACKLOG = 1_000
WARM = 100
WATCHERS = 3
HEAD_START_S = 3
# Two clocks to a conversation, due in a month.
_OPEN = """
    WITH party AS (
        INSERT INTO contact(id, name, tier, attributes, version) VALUES (uuidv7(), 'bench', 'standard', '{}', 1)
        RETURNING id
    ), shop AS (
        INSERT INTO channel(id, type, name, config, secrets, active, version)
        VALUES (uuidv7(), 'partner', 'bench', '{}', '', true, 1) RETURNING id
    ), who AS (
        INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address)
        SELECT uuidv7(), party.id, shop.id, 'user', n::text, '{}' FROM party, shop, generate_series(1, $1::int / 2) n
        RETURNING id, contact_id, channel_id
    ), made AS (
        INSERT INTO conversation(id, channel_id, channel_type, contact_id, identity_id, status, category, matter, corrected,
                                 priority, last_seq, stream_pos, cycle, contact_read_seq, participant_ids)
        SELECT uuidv7(), channel_id, 'partner', contact_id, id, 'open', 'routine', 'enquiry', false, 0, 1, 0, 1, 0, '{}'
        FROM who RETURNING id
    )
    INSERT INTO sla_clock(id, conversation_id, policy_id, metric, cycle, turn, target_s, state, elapsed_us, running_since,
                          stage, breach_stage, level, stage_at, due_at, next_at)
    SELECT uuidv7(), made.id, p.id, m.metric, 1, 0, 86400, 'running', 0, now(), 1, 2, 0,
           ARRAY[now() - interval '1 day', now() + interval '30 days'], now() + interval '30 days', now() + interval '30 days'
    FROM made, (SELECT id FROM sla_policy WHERE code = 'ordinary') p, (VALUES ('first_response'), ('resolution')) m(metric)
"""
_DUE = """
    WITH chosen AS (
        SELECT id, row_number() OVER () AS n FROM sla_clock
        WHERE metric = $4 AND breached_at IS NULL AND next_at > now() + interval '1 day' LIMIT $1
    )
    UPDATE sla_clock k
    SET due_at = s.at, next_at = s.at, stage_at = ARRAY[k.stage_at[1], s.at]
    FROM (SELECT id, now() + make_interval(secs => $2::float8 + n / $3::float8) AS at FROM chosen) s
    WHERE k.id = s.id
"""
_TOLD = "SELECT count(*) FROM event WHERE type = 'sla.breached'"
_LAGS = """
    SELECT extract(epoch FROM pg_xact_commit_timestamp(e.xmin) - (e.payload->'clock'->>'due_at')::timestamptz)::float8 * 1000
    FROM event e WHERE e.type = 'sla.breached' AND e.payload->'clock'->>'metric' = 'first_response'
"""
_TWICE = """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM event WHERE type = 'sla.breached'
                                  GROUP BY conversation_id, payload->'clock'->>'metric' HAVING count(*) > 1) d)
           + (SELECT count(*) FROM sla_clock WHERE breached_at IS DISTINCT FROM due_at AND next_at IS NULL)
           + (SELECT count(*) FROM sla_clock WHERE next_at < now())
"""


@contextmanager
def _cluster() -> Iterator[str]:
    """A Postgres of our own that remembers when each transaction committed."""
    home = Path(tempfile.mkdtemp(prefix="roundtrip-bench-", dir="/tmp"))
    home.chmod(0o755)
    server = embedded.start(home)
    try:
        asyncio.run(_remember_commits(server.url))
        server.stop()
        server = embedded.start(home)
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


async def _remember_commits(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    await connection.close()


@asynccontextmanager
async def _database(cluster: str, clocks: int) -> AsyncIterator[tuple[str, Database, asyncpg.Connection]]:
    """A database with so many open clocks."""
    name = f"bench_{uuid4().hex}"
    root = await asyncpg.connect(cluster)
    await root.execute(f'CREATE DATABASE "{name}"')
    url = cluster.rsplit("/", 1)[0] + "/" + name
    database = Database(Settings(DATABASE_URL=url, log_level="error"))
    await migrate.upgrade(database)
    async with database.begin() as session:
        await seed.ensure_defaults(session)
    connection = await asyncpg.connect(url)
    await connection.execute(_OPEN, clocks)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    yield url, database, connection
    await connection.close()
    await database.close()
    await root.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await root.close()


async def _drain(database: Database, connection: asyncpg.Connection) -> float:
    """Microseconds per fired clock of a backlog. One process, nothing else to do."""
    watcher = Watcher(database)
    await connection.execute(_DUE, BACKLOG, -3_600.0, float(RATE), "resolution")
    began = time.perf_counter()
    for _ in range(BACKLOG // BATCH):
        await watcher.step()
    return (time.perf_counter() - began) / BACKLOG * 1e6


async def _idle(database: Database) -> float:
    """Statements of one sweep with nothing due."""
    watcher = Watcher(database)
    await watcher.step()
    before = float(STATEMENTS._value.get())
    await watcher.step()
    return float(STATEMENTS._value.get() - before)


async def _storm(url: str, connection: asyncpg.Connection, seconds: int) -> dict[str, Any]:
    """So many due each second, three watchers, one killed without a word halfway."""
    due = RATE * seconds
    before: int = await connection.fetchval(_TOLD)
    with _watchers(url) as processes:
        await connection.execute(_DUE, WARM, 0.5, float(WARM), "resolution")  # connections, plans and code are warm
        await connection.execute(_DUE, due, float(HEAD_START_S), float(RATE), "first_response")
        await connection.execute("SELECT pg_notify('roundtrip', 'sla')")
        started: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        await asyncio.sleep(HEAD_START_S + seconds / 2)
        processes[0].send_signal(signal.SIGKILL)
        halfway: int = await connection.fetchval(_TOLD) - before - WARM
        deadline = time.monotonic() + seconds + 60
        told = 0
        while told < due and time.monotonic() < deadline:
            await asyncio.sleep(0.2)  # the watchers are other processes: there is nothing to wait for here
            told = await connection.fetchval(_TOLD) - before - WARM
        ended: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    rows = await connection.fetch(_LAGS)
    lags = sorted(row[0] for row in rows)
    return {
        "due": due,
        "told": told,
        "told_when_one_was_killed": halfway,
        "not_exactly_once": await connection.fetchval(_TWICE),
        "lag_p50_ms": round(_at(lags, 0.5), 1),
        "lag_p99_ms": round(_at(lags, 0.99), 1),
        "lag_max_ms": round(lags[-1], 1) if lags else None,
        "took_s": round(ended - started - HEAD_START_S, 1),
    }


@contextmanager
def _watchers(url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-m", "bench.sla_watcher", url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) for _ in range(WATCHERS)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


async def _measure(cluster: str, *, sizes: tuple[int, ...], rounds: int, seconds: int) -> dict[str, Any]:
    """The sizes take turns, so that a noisy machine treats them alike."""
    async with contextlib.AsyncExitStack() as stack:
        made = {size: await stack.enter_async_context(_database(cluster, size)) for size in sizes}
        costs: dict[int, list[float]] = {size: [] for size in sizes}
        for number in range(rounds + 1):
            for size, (_, database, connection) in made.items():
                cost = await _drain(database, connection)
                if number:  # the first one warms up
                    costs[size].append(cost)
        found: dict[str, Any] = {
            str(size): {
                "fired_us": round(statistics.median(costs[size]), 1),
                "statements_of_a_sweep": await _idle(made[size][1]),
            }
            for size in sizes
        }
        ratios = [many / few for few, many in zip(costs[sizes[0]], costs[sizes[-1]], strict=True)]
        found["growth"] = round(statistics.median(ratios), 2)
        url, _, connection = made[sizes[-1]]
        await connection.execute("DELETE FROM event")
        found[str(sizes[-1])].update(await _storm(url, connection, seconds))
    return found


def measure(*, quick: bool) -> dict[str, Any]:
    """By number of open clocks; `growth` is the cost of a fired clock among the most by that among the fewest."""
    sizes = (10_000, 50_000) if quick else (10_000, 100_000, 1_000_000)
    with _cluster() as cluster:
        return asyncio.run(_measure(cluster, sizes=sizes, rounds=1 if quick else 5, seconds=2 if quick else 10))


def show(figures: dict[str, Any]) -> None:
    for clocks, row in figures.items():
        if clocks == "growth":
            continue
        print(
            f"sla clocks {clocks:>9}: {row['fired_us']} us per fired clock, {row['statements_of_a_sweep']:.0f} query a sweep"
        )
        if "due" in row:
            print(f"  {row['due']} due at {RATE}/s, {WATCHERS} watchers, one killed: {row['told']} told, lag p50 "
                  f"{row['lag_p50_ms']} ms, p99 {row['lag_p99_ms']} ms; not exactly once: {row['not_exactly_once']}")  # fmt: skip
    print(f"  growth of the cost from few to many: {figures['growth']}")


if __name__ == "__main__":
    show(measure(quick="--quick" in sys.argv))
