"""The sender: takes due messages, calls the channels outside any transaction, writes down what became of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import httpx
from prometheus_client import Counter as Metric
from prometheus_client import Gauge, Histogram

from app import log
from app.catalog import CatalogCache
from app.channels.base import OutboundFile, SendError, SendFailure, Sent
from app.db import Database
from app.delivery import claims
from app.delivery.backoff import Schedule
from app.delivery.claims import Claimed, Limits
from app.delivery.settle import Outcome, Settler, decide
from app.errors import NotFound
from app.settings import Settings
from app.vault import Vault

DELIVERIES = Metric("roundtrip_deliveries_total", "Attempts to deliver, by their outcome", ["channel_type", "outcome"])
SECONDS = Histogram("roundtrip_delivery_seconds", "How long a channel took to answer", ["channel_type"])
IN_FLIGHT = Gauge("roundtrip_deliveries_in_flight", "Messages being sent now")

_BUSY_S = 0.02
_LEASE_MARGIN_S = 30
_LOUD = {"reauth", "config"}
_logger = log.get("delivery")


class Sender:
    """One per process, stepped by a background loop on the topic `outbox`; `poke` wakes that loop.

    `store_read` gives the bytes of a stored file by its SHA-256; it runs in a thread.
    """

    def __init__(
        self,
        database: Database,
        catalog: CatalogCache,
        vault: Vault,
        settings: Settings,
        http: httpx.AsyncClient,
        store_read: Callable[[str], bytes] | None,
        *,
        poke: Callable[[], None],
        schedule: Schedule = Schedule(),
        limits: Limits = Limits(),
    ) -> None:
        self._database, self._catalog, self._vault, self._http = database, catalog, vault, http
        self._store_read, self._poke, self._schedule, self._limits = store_read, poke, schedule, limits
        self._timeout_s = settings.send_timeout_s
        self._lease_s = max(settings.outbox_lease_s, settings.send_timeout_s + _LEASE_MARGIN_S)
        self._settler = Settler(database)
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[UUID] = Counter()
        self._taking = asyncio.Lock()
        self._draining = False
        self._rng = Random()

    async def step(self) -> float | None:
        """Put due messages in flight and return without waiting for them; seconds until the next one is due.

        None: nothing waits for its time. The end of each send pokes, because it makes room and frees what stood behind.
        """
        async with self._taking:
            if self._draining or len(self._tasks) >= self._limits.total:
                return None
            catalog = await self._catalog.current()
            async with self._database.begin() as session:
                taken = await claims.take(
                    session,
                    catalog=catalog,
                    vault=self._vault,
                    limits=self._limits,
                    in_flight=self._in_flight,
                    lease_s=self._lease_s,
                    resend_within_s=self._schedule.total_s,
                )
                if taken.more:
                    delay: float | None = 0
                else:
                    in_flight = self._in_flight + Counter(item.channel_id for item in taken.claimed)
                    delay = await claims.next_due_s(session, catalog=catalog, limits=self._limits, in_flight=in_flight)
            for item in taken.lost:
                self._tell(item, "unknown", claims.LOST, attempt=item.outgoing.attempt - 1)
            for item in taken.claimed:
                self._launch(item)
            # What is due and was not taken belongs to a conversation that someone holds just now.
            return delay if delay is None or taken.claimed else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until everything that is in flight now is settled."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def drain(self, within_s: float) -> None:
        """Take nothing new and wait for what is in flight. What is cut off is found by its lease: sent again where that
        is harmless, `unknown` where it is not."""
        self._draining = True
        async with self._taking:
            late = set(self._tasks)
        if late:
            _, late = await asyncio.wait(late, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._settler.finish()

    def _launch(self, item: Claimed) -> None:
        self._in_flight[item.channel_id] += 1
        IN_FLIGHT.inc()
        task = asyncio.create_task(self._deliver(item), name=f"deliver {item.outgoing.message_id}")
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._in_flight[item.channel_id] -= 1
            if not self._in_flight[item.channel_id]:
                del self._in_flight[item.channel_id]
            IN_FLIGHT.dec()
            self._poke()

        task.add_done_callback(ended)

    async def _deliver(self, item: Claimed) -> None:
        log.correlation.set(item.correlation_id)
        started = time.perf_counter()
        result = await self._call(item)
        seconds = time.perf_counter() - started
        outcome = decide(item, result, elapsed_s=item.age_s + seconds, schedule=self._schedule, rng=self._rng)
        SECONDS.labels(item.channel_type).observe(seconds)
        self._tell(item, outcome.word, outcome.detail, attempt=outcome.attempt, seconds=seconds)
        await self._write(outcome)

    async def _write(self, outcome: Outcome) -> None:
        try:
            await self._settler.settle(outcome)
        except Exception as error:
            _logger.error("outcome lost", message_id=outcome.message_id, outcome=outcome.word, error=repr(error))

    async def _call(self, item: Claimed) -> Sent | SendError:
        """The channel's answer. An error that leaves open whether the message went out is UNKNOWN, unless sending it
        twice is harmless."""
        if item.account is None:
            return SendError(SendFailure.RETRY, "the channel is switched off or cannot be read")
        if item.files and not item.account.adapter.capabilities.files:
            return SendError(SendFailure.PERMANENT, "it carries no files")
        unclear = SendFailure.RETRY if item.idempotent else SendFailure.UNKNOWN
        try:
            outgoing = replace(item.outgoing, files=[await self._read(file) for file in item.files])
            async with asyncio.timeout(self._timeout_s):
                return await item.account.adapter.send(item.account.config, outgoing, self._http)
        except SendError as error:
            return error
        except TimeoutError:
            return SendError(unclear, f"no answer within {self._timeout_s:g} s")
        except Exception as error:
            _logger.error("adapter failed", channel_type=item.channel_type, error=repr(error), exc_info=True)
            return SendError(unclear, f"the channel's code failed: {error!r}")

    async def _read(self, file: Mapping[str, Any]) -> OutboundFile:
        """Raises SendError: nothing has gone out yet."""
        if self._store_read is None or not file.get("sha256"):
            raise SendError(SendFailure.PERMANENT, f"the file {file['name']!r} is not stored here")
        try:
            data = await asyncio.to_thread(self._store_read, file["sha256"])
        except (FileNotFoundError, NotFound):
            raise SendError(SendFailure.PERMANENT, f"the file {file['name']!r} is missing") from None
        except Exception as error:
            raise SendError(SendFailure.RETRY, f"the file {file['name']!r} cannot be read: {error!r}") from error
        return OutboundFile(file["name"], file["media_type"], data)

    def _tell(self, item: Claimed, word: str, detail: str | None, *, attempt: int, seconds: float = 0) -> None:
        DELIVERIES.labels(item.channel_type, word).inc()
        speak = _logger.info if word == "sent" else _logger.error if word in _LOUD else _logger.warning
        speak(
            "delivery",
            message_id=item.outgoing.message_id,
            conversation_id=item.outgoing.conversation_id,
            channel_id=item.channel_id,
            channel_type=item.channel_type,
            attempt=attempt,
            outcome=word,
            detail=detail,
            ms=round(seconds * 1000, 1),
        )
