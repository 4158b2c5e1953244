"""Group commit: calls that arrive while a batch is in flight form the next batch.

One connection, one statement, one commit for all of them; alone, a call goes at once. Each caller is answered after the
commit that holds its call (docs/decisions/0003 has the measured ratios).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from prometheus_client import Counter as Meter
from prometheus_client import Gauge, Histogram

from app import log
from app.db import STATEMENTS, Database
from app.errors import Unavailable
from app.ids import new_id
from app.intake.prepare import Prepared

BATCH = Histogram(
    "roundtrip_ingest_batch_messages", "Messages in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
COMMIT = Histogram("roundtrip_ingest_commit_seconds", "One batch: round trip and commit", buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2))  # fmt: skip
BACKLOG = Gauge("roundtrip_ingest_backlog_calls", "Calls waiting for the next batch")
MESSAGES = Meter("roundtrip_ingest_messages_total", "Messages by outcome", ["outcome"])
STATEMENT = "SELECT o_n, o_outcome, o_message, o_conversation, o_seq FROM ingest_v1($1::jsonb[], $2, $3, $4, $5, $6, $7, $8, $9::jsonb[])"
_ATTEMPTS = 5
_logger = log.get("ingest")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`stored` or `duplicate`, with where the message is; `slow` and `retry` never leave the intake."""

    outcome: str
    message_id: UUID | None
    conversation_id: UUID | None
    seq: int | None


@dataclass(slots=True)
class Entry:
    """One call: its journal row and its messages. `status` is set when no message decides it.

    `bell`: the call says that messages wait to be pulled, from its `source`.
    """

    channel_id: UUID
    transport: str
    headers: Mapping[str, str]
    body: bytes
    correlation_id: str
    messages: Sequence[Prepared]
    status: str | None = None
    error: str | None = None
    bell: Mapping[str, str] | None = None
    journal_id: UUID = field(default_factory=new_id)

    def journal(self) -> str:
        return orjson.dumps(
            {
                "id": self.journal_id,
                "channel_id": self.channel_id,
                "transport": self.transport,
                "headers": dict(self.headers),
                "status": self.status,
                "error": self.error,
                "correlation_id": self.correlation_id,
                **({"bell": dict(self.bell)} if self.bell is not None else {}),
            },
            default=str,
        ).decode()


def arguments(entries: Sequence[Entry]) -> tuple[Any, ...]:
    """The parallel arrays of ingest.sql."""
    items = [(number, item) for number, entry in enumerate(entries, 1) for item in entry.messages]
    return (
        [entry.journal() for entry in entries],
        [entry.body for entry in entries],
        [number for number, _ in items],
        [item.channel_id for _, item in items],
        [item.external_id for _, item in items],
        [item.kind for _, item in items],
        [item.value for _, item in items],
        [item.target for _, item in items],
        [item.item for _, item in items],
    )


class Lane:
    """One writer connection with its queue."""

    def __init__(self, database: Database, *, batch: int, backlog: int) -> None:
        self._database, self._batch, self._limit = database, batch, backlog
        self._queue: deque[tuple[Entry, asyncio.Future[list[Outcome]]]] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._writing = 0

    @property
    def load(self) -> int:
        """Calls waiting or being written."""
        return len(self._queue) + self._writing

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ingest-lane")

    async def stop(self) -> None:
        """Write what is queued, then end."""
        self._stopping = True
        self._arrived.set()
        if self._task:
            await self._task

    async def submit(self, entry: Entry) -> list[Outcome]:
        """One outcome per message of the entry, after its commit. Raises Unavailable when the backlog is full."""
        if self._stopping or len(self._queue) >= self._limit:
            raise Unavailable("too many messages are waiting to be stored", retry_after=1)
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, future))
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        connection: asyncpg.Connection | None = None
        while True:
            await self._arrived.wait()
            if not self._queue:
                if self._stopping:
                    break
                self._arrived.clear()
                continue
            taken = self._take()
            self._writing = len(taken)
            connection = await self._write(connection, taken)
            self._writing = 0
        if connection is not None:
            await connection.close()

    def _take(self) -> list[tuple[Entry, asyncio.Future[list[Outcome]]]]:
        """Calls whose messages together fit a batch; at least one call."""
        taken: list[tuple[Entry, asyncio.Future[list[Outcome]]]] = []
        messages = 0
        while self._queue and (not taken or messages + len(self._queue[0][0].messages) <= self._batch):
            pair = self._queue.popleft()
            messages += max(len(pair[0].messages), 1)
            if not pair[1].cancelled():
                taken.append(pair)
        BACKLOG.set(len(self._queue))
        return taken

    async def _write(
        self, connection: asyncpg.Connection | None, taken: list[tuple[Entry, asyncio.Future[list[Outcome]]]]
    ) -> asyncpg.Connection | None:
        """A batch that fails for one of its calls is written call by call, so that it fails for that one alone."""
        if not taken:
            return connection
        try:
            connection = connection or await self._database.connect()
            outcomes = await _execute(connection, [entry for entry, _ in taken])
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.QueryCanceledError) as error:
            _logger.error("batch not written", error=repr(error), calls=len(taken))
            await _forget(connection)
            _refuse(taken, Unavailable("the database does not answer", retry_after=2))
            return None
        except asyncpg.PostgresError as error:
            if len(taken) == 1:
                _logger.error("call not written", error=repr(error), correlation_id=taken[0][0].correlation_id)
                _refuse(taken, error)
            else:
                for pair in taken:
                    connection = await self._write(connection, [pair])
            return connection
        except Exception as error:
            _logger.error("call not written", error=repr(error), exc_info=True)
            _refuse(taken, error)
            return connection
        for (_, future), result in zip(taken, outcomes, strict=True):
            if not future.done():
                future.set_result(result)
        return connection


async def _execute(connection: asyncpg.Connection, entries: Sequence[Entry]) -> list[list[Outcome]]:
    started = time.perf_counter()
    values = arguments(entries)
    for attempt in range(_ATTEMPTS):
        try:
            STATEMENTS.inc()
            rows = await connection.fetch(STATEMENT, *values)
            break
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError):
            if attempt == _ATTEMPTS - 1:
                raise
    COMMIT.observe(time.perf_counter() - started)
    BATCH.observe(len(values[2]))
    return group(entries, rows)


def group(entries: Sequence[Entry], rows: Sequence[Any]) -> list[list[Outcome]]:
    """The function's rows (numbered from 1 over all messages) as one list per call."""
    by_number = {
        row["o_n"]: Outcome(row["o_outcome"], row["o_message"], row["o_conversation"], row["o_seq"]) for row in rows
    }
    for word, count in Counter(outcome.outcome for outcome in by_number.values()).items():
        MESSAGES.labels(word).inc(count)
    grouped, number = [], 0
    for entry in entries:
        grouped.append([by_number[number + offset] for offset in range(1, len(entry.messages) + 1)])
        number += len(entry.messages)
    return grouped


def _refuse(taken: Sequence[tuple[Entry, asyncio.Future[list[Outcome]]]], error: BaseException) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(error)


async def _forget(connection: asyncpg.Connection | None) -> None:
    if connection is not None and not connection.is_closed():
        connection.terminate()
    await asyncio.sleep(0.05)
