"""Durable ingest: a signed HTTP call answered after its commit, against the same rows written bare."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import asyncpg
import orjson

from app.catalog import CatalogCache
from app.channels.base import InboundMessage, Sender
from app.db import Database
from app.ids import new_id
from app.intake import lane
from app.intake.prepare import Prepared, Preparer
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups
from bench.client import flood, metric, signed_call
from bench.stack import Stack

TEXT = "Hello, the wardrobe you delivered on Tuesday has a scratched door and one hinge is missing. Can you help me? "
SENDERS = 2_000


def body(number: int) -> bytes:
    """About 390 bytes; senders write several messages each, as real ones do."""
    sender = {
        "id": f"customer-{number % SENDERS}",
        "name": f"Customer {number % SENDERS}",
        "email": f"c{number % SENDERS}@shop.example",
    }
    return orjson.dumps(
        {"id": f"m-{number}", "from": sender, "text": TEXT * 2, "conversation_ref": f"r-{number % SENDERS}"}
    )


def requests(stack: Stack, first: int, count: int) -> list[bytes]:
    at = int(time.time())
    return [signed_call(stack.webhook, stack.secret, body(n), f"m-{n}", at) for n in range(first, first + count)]


async def through_http(stack: Stack, *, seconds: float, rounds: int, connections: int = 64) -> dict[str, Any]:
    """Median of `rounds`; commits are the database's own count, tail and loops included."""
    rates, first = [], 0
    await flood(stack.port, requests(stack, first, 4_000), connections=connections, seconds=2)
    first += 4_000
    control = await asyncpg.connect(stack.database_url)
    commits_before, queries_before, stored = (
        await _commits(control),
        metric(stack.base, "roundtrip_db_statements_total"),
        0,
    )
    for _ in range(rounds):
        batch = requests(stack, first, int(6_000 * seconds))
        first += len(batch)
        answered, took = await flood(stack.port, batch, connections=connections, seconds=seconds)
        rates.append(answered / took)
        stored += answered
    queries = metric(stack.base, "roundtrip_db_statements_total") - queries_before
    commits = await _commits(control) - commits_before
    await control.close()
    return {
        "per_s": round(statistics.median(rates)),
        "commits_per_message": round(commits / stored, 4),
        "queries_per_message": round(queries / stored, 4),
    }


async def _commits(connection: asyncpg.Connection) -> int:
    """Backends report their counts at most once a second: wait until all have."""
    await asyncio.sleep(1.2)
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await connection.fetchval(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def bare(stack: Stack, *, batch: int, lanes: int, seconds: float) -> float:
    """Messages per second of the same statement without HTTP, signatures, parsing, or anybody reading along."""
    database = Database(Settings(DATABASE_URL=stack.database_url))
    prepared = await _prepared(database, stack, int(1_000 * seconds * max(batch / 4, 4)))
    connections = [await database.connect() for _ in range(lanes)]
    until, queue, written = time.perf_counter() + seconds, iter(prepared), 0

    async def run(connection: asyncpg.Connection) -> None:
        nonlocal written
        while time.perf_counter() < until:
            messages = [message for message, _ in zip(queue, range(batch), strict=False)]
            if not messages:
                return
            entries = [
                lane.Entry(messages[0].channel_id, "bench", {}, body(0), "bench", [message]) for message in messages
            ]
            await connection.fetch(lane.STATEMENT, *lane.arguments(entries))
            written += len(messages)

    started = time.perf_counter()
    await asyncio.gather(*(run(connection) for connection in connections))
    took = time.perf_counter() - started
    for connection in connections:
        await connection.close()
    await database.close()
    return written / took


async def _prepared(database: Database, stack: Stack, count: int) -> list[Prepared]:
    catalog = await CatalogCache(database, Vault(stack.key.encode()), Wakeups(database)).current()
    account = next(iter(catalog.channels.values()), None)
    preparer = Preparer(catalog)
    run = new_id().hex
    messages = (
        InboundMessage(external_id=f"{run}-{n}", sender=Sender("partner", f"customer-{n % SENDERS}"), text=TEXT * 2)
        for n in range(count)
    )
    assert account is not None
    return [preparer.prepare(account, message, target=None, files=[], correlation_id="bench") for message in messages]
