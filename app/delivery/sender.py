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
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import OutboundFile, Outgoing, SendError, SendFailure, Sent
from app.channels.receipts import in_best_form
from app.db import Database
from app.delivery import accounts, claims, refusals
from app.delivery.backoff import Schedule
from app.delivery.claimed import Claimed
from app.delivery.claims import Limits
from app.delivery.settle import Outcome, Settler, decide
from app.errors import NotFound
from app.in_flight import InFlight
from app.settings import Settings
from app.vault import Vault

DELIVERIES = Metric("roundtrip_deliveries_total", "Attempts to deliver, by their outcome", ["channel_type", "outcome"])
SECONDS = Histogram("roundtrip_delivery_seconds", "How long a channel took to answer", ["channel_type"])
IN_FLIGHT = Gauge("roundtrip_deliveries_in_flight", "Messages being sent now")

_BUSY_S = 0.02
_LEASE_MARGIN_S = 30
_LOUD = {"reauth", "config"}
_logger = log.get("delivery")


async def _send(account: ChannelAccount, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
    return await in_best_form(outgoing, lambda formed: account.adapter.send(account.config, formed, http))


class Sender:
    """One per process, stepped by a background loop on the topic `outbox`; `poke` wakes that loop.

    `store_read` gives the bytes of a stored file by its SHA-256; it runs in a thread. `link` gives a file the public
    address by which a provider may fetch it, by the attachment's id.
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
        link: Callable[[UUID], str] | None = None,
        schedule: Schedule = Schedule(),
        limits: Limits = Limits(),
    ) -> None:
        self._database, self._catalog, self._vault, self._http = database, catalog, vault, http
        self._store_read, self._link, self._poke = store_read, link, poke
        self._schedule, self._limits = schedule, limits
        self._settings, self._timeout_s = settings, settings.send_timeout_s
        self._lease_s = max(settings.outbox_lease_s, settings.send_timeout_s + _LEASE_MARGIN_S)
        self._settler = Settler(database)
        self._flight: InFlight[UUID] = InFlight(poke)
        self._rng = Random()

    async def step(self) -> float | None:
        """Put due messages in flight and return without waiting for them; seconds until the next one is due.

        None: nothing waits for its time. The end of each send pokes, because it makes room and frees what stood behind.
        """
        async with self._flight.taking:
            if self._flight.draining or len(self._flight) >= self._limits.total:
                return None
            catalog = await self._catalog.current()
            async with self._database.begin() as session:
                taken = await claims.take(
                    session,
                    catalog=catalog,
                    vault=self._vault,
                    limits=self._limits,
                    in_flight=self._flight.by_key,
                    lease_s=self._lease_s,
                    resend_within_s=self._schedule.total_s,
                )
                if taken.more:
                    delay: float | None = 0
                else:
                    in_flight = self._flight.by_key + Counter(item.channel_id for item in taken.claimed)
                    delay = await claims.next_due_s(session, catalog=catalog, limits=self._limits, in_flight=in_flight)
            for item in taken.lost:
                self._tell(item, "unknown", claims.LOST, attempt=item.outgoing.attempt - 1)
            for item in taken.capped:
                self._tell(
                    item, "capped", "its address had enough automatic messages", attempt=item.outgoing.attempt - 1
                )
                self._poke()  # what stood behind it is free
            for item in taken.claimed:
                self._launch(item)
            # What is due and was not taken belongs to a conversation that someone holds just now.
            return delay if delay is None or taken.claimed else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until everything that is in flight now is settled."""
        await self._flight.idle()

    async def drain(self, within_s: float) -> None:
        """Take nothing new and wait for what is in flight. What is cut off is found by its lease: sent again where that
        is harmless, `unknown` where it is not."""
        await self._flight.drain(within_s)
        await self._settler.finish()

    def _launch(self, item: Claimed) -> None:
        IN_FLIGHT.inc()
        name = f"deliver {item.outgoing.message_id}"
        self._flight.launch(self._deliver(item), name=name, key=item.channel_id, ended=IN_FLIGHT.dec)

    async def _deliver(self, item: Claimed) -> None:
        log.correlation.set(item.correlation_id)
        started = time.perf_counter()
        result, theirs = await self._call(item)
        seconds = time.perf_counter() - started
        outcome = decide(item, result, elapsed_s=item.age_s + seconds, schedule=self._schedule, rng=self._rng)
        SECONDS.labels(item.channel_type).observe(seconds)
        self._tell(item, outcome.word, outcome.detail, attempt=outcome.attempt, seconds=seconds)
        said = accounts.verdict(item.channel_id, item.channel_type, result) if theirs else None
        if said is not None and (said.state is not None or item.ailing):
            outcome = replace(outcome, account=said)
        await self._write(outcome)

    async def _write(self, outcome: Outcome) -> None:
        try:
            await self._settler.settle(outcome)
            if outcome.refusal is not None:
                async with self._database.begin() as session:
                    key = f"attempt:{outcome.attempt_id}"
                    await refusals.learnt(session, outcome.message_id, outcome.refusal, key=key, detail=outcome.detail)
        except Exception as error:
            _logger.error("outcome lost", message_id=outcome.message_id, outcome=outcome.word, error=repr(error))

    async def _call(self, item: Claimed) -> tuple[Sent | SendError, bool]:
        """The channel's answer, and whether it is the provider's. An error that leaves open whether the message went out
        is UNKNOWN, unless sending it twice is harmless."""
        if item.account is None:
            return SendError(SendFailure.RETRY, "the channel is switched off or cannot be read"), False
        if item.files and not item.account.adapter.capabilities.files:
            return SendError(SendFailure.PERMANENT, "it carries no files"), False
        unclear = SendFailure.RETRY if item.idempotent else SendFailure.UNKNOWN
        try:
            webhook = self._settings.webhook_url(item.channel_id) if self._settings.reachable else None
            files = [await self._read(file) for file in item.files]
            outgoing = replace(item.outgoing, files=files, webhook=webhook)
        except SendError as error:
            return error, False
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _send(item.account, outgoing, self._http), True
        except SendError as error:
            return error, True
        except TimeoutError:
            return SendError(unclear, f"no answer within {self._timeout_s:g} s"), True
        except Exception as error:
            _logger.error("adapter failed", channel_type=item.channel_type, error=repr(error), exc_info=True)
            return SendError(unclear, f"the channel's code failed: {error!r}"), False

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
        url = self._link(UUID(file["id"])) if self._link is not None else None
        return OutboundFile(file["name"], file["media_type"], data, url)

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
