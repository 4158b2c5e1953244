"""NOTIFY wakes, the tables are the truth: a lost wakeup costs one tick, never a row.

A topic is a word: `events`, `dispatch`, `outbox`, `media`, `sla`, `catalog`. A transaction that leaves work behind
calls `wake(session, topic)`; Postgres sends it on commit, once per topic however often it was called. Ephemeral facts
(typing, presence) travel on a second channel as JSON and are never stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.db import Database

CHANNEL = "roundtrip"
EPHEMERAL = "roundtrip_ephemeral"
_EPHEMERAL_LIMIT = 7_000
_logger = log.get("wakeups")


async def wake(session: AsyncSession, topic: str) -> None:
    """Wake everyone waiting for `topic`, in every process, when this transaction commits."""
    await session.execute(text("SELECT pg_notify(:channel, :topic)"), {"channel": CHANNEL, "topic": topic})


async def tell(session: AsyncSession, fact: Mapping[str, Any]) -> None:
    """Send an ephemeral fact to every process when this transaction commits; one that is too long is left out."""
    payload = orjson.dumps(fact).decode()
    if len(payload.encode()) <= _EPHEMERAL_LIMIT:
        await session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": EPHEMERAL, "payload": payload})


class Wakeups:
    """One LISTEN connection per process, handing topics to events and ephemeral facts to callbacks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._topics: dict[str, list[asyncio.Event]] = {}
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._connection: asyncpg.Connection | None = None
        self._lost = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, *topics: str) -> asyncio.Event:
        """An event that is set at each wakeup of one of `topics`; the waiter clears it."""
        event = asyncio.Event()
        for topic in topics:
            self._topics.setdefault(topic, []).append(event)
        return event

    def on_ephemeral(self, callback: Callable[[dict[str, Any]], None]) -> None:
        self._listeners.append(callback)

    def local(self, topic: str) -> None:
        """Wake this process only, without the database."""
        for event in self._topics.get(topic, ()):
            event.set()

    async def publish(self, fact: dict[str, Any]) -> None:
        """Send an ephemeral fact to every process, this one included. Best effort by design."""
        payload = orjson.dumps(fact).decode()
        if len(payload) > _EPHEMERAL_LIMIT or self._connection is None:
            return
        try:
            async with self._one_at_a_time:
                await self._connection.execute("SELECT pg_notify($1, $2)", EPHEMERAL, payload)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            _logger.warning("ephemeral fact not sent", error=str(error))

    async def start(self) -> None:
        await self._connect()
        self._task = asyncio.create_task(self._keep_connected(), name="wakeups")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _connect(self) -> None:
        connection = await self._database.connect()
        try:
            await connection.add_listener(CHANNEL, self._on_topic)
            await connection.add_listener(EPHEMERAL, self._on_fact)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(lambda _: self._lost.set())
        self._lost.clear()
        self._connection = connection
        for topic in self._topics:
            self.local(topic)

    async def _keep_connected(self) -> None:
        """After a lost connection every topic is woken: what was missed is read from the tables."""
        while True:
            await self._lost.wait()
            _logger.warning("listen connection lost")
            delay = 0.1
            while True:
                try:
                    await self._connect()
                    break
                except (OSError, asyncpg.PostgresError) as error:
                    _logger.warning("listen connection not restored", error=str(error))
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 5)

    def _on_topic(self, _: Any, __: int, ___: str, payload: object) -> None:
        self.local(str(payload))

    def _on_fact(self, _: Any, __: int, ___: str, payload: object) -> None:
        try:
            fact = orjson.loads(str(payload))
        except orjson.JSONDecodeError:
            return
        for callback in self._listeners:
            callback(fact)
