"""The fetcher: brings the files that messages only name into the store, outside any transaction, and tells the desk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import httpx
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import Fetching, RemoteFile
from app.channels.provider import FetchError
from app.conversations import queries
from app.db import Database
from app.delivery.backoff import Schedule, wait_s
from app.delivery.guard import GuardedTransport
from app.errors import TooLarge
from app.events import log as events
from app.events import shapes
from app.in_flight import InFlight
from app.intake.store import FileStore
from app.models import Attachment, Message
from app.settings import Settings, networks

TOPIC = "media"
FETCHES = Counter("roundtrip_media_fetches_total", "Attempts to fetch a file of a message, by outcome", ["outcome"])
NO_FETCH = "not fetched: this channel type has no fetch"

_IN_FLIGHT = 8  # each holds a whole file in memory
_TIMEOUT_S = 120.0
_LEASE_S = _TIMEOUT_S + 60
_BUSY_S = 0.02
_logger = log.get("media")

# MATERIALIZED: the rows are picked, locked and counted once, however the join is planned.
_CLAIM = text(
    "WITH due AS MATERIALIZED ("
    "SELECT attachment_id FROM media_fetch "
    "WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now()) "
    "ORDER BY due_at, attachment_id LIMIT :limit FOR UPDATE SKIP LOCKED) "
    "UPDATE media_fetch f SET attempts = f.attempts + 1, first_attempt_at = coalesce(f.first_attempt_at, now()), "
    "lease_until = now() + make_interval(secs => :lease_s) "
    "FROM due, message m WHERE f.attachment_id = due.attachment_id AND m.id = f.message_id "
    "RETURNING f.attachment_id, f.message_id, f.conversation_id, f.channel_id, f.attempts, f.ref, m.attachments, "
    "m.correlation_id, CAST(extract(epoch FROM now() - f.first_attempt_at) AS float8) AS age_s"
).columns(ref=JSONB, attachments=JSONB)
# What is in flight counts with the end of its lease, because its fetcher may have died; such rows are the longest due.
_NEXT = text(
    "SELECT CAST(extract(epoch FROM least("
    "(SELECT due_at FROM media_fetch WHERE lease_until IS NULL ORDER BY due_at, attachment_id LIMIT 1), "
    "(SELECT min(front.lease_until) FROM (SELECT lease_until FROM media_fetch WHERE due_at <= now() "
    "ORDER BY due_at, attachment_id LIMIT 100) AS front)) - now()) AS float8)"
)
_AGAIN = text(
    "UPDATE media_fetch SET due_at = now() + make_interval(secs => :seconds), lease_until = NULL "
    "WHERE attachment_id = :id AND attempts = :attempt"
)
# A number below zero matches every attempt: what is stored is done, whoever is trying again.
_END = text(
    "DELETE FROM media_fetch WHERE attachment_id = :id AND (:attempt < 0 OR attempts = :attempt) "
    "RETURNING attachment_id"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A file that we alone fetch until the lease ends. `age_s` counts from the first attempt."""

    attachment_id: UUID
    message_id: UUID
    conversation_id: UUID
    channel_id: UUID
    file: RemoteFile
    attempt: int
    age_s: float
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to: the file's `sha256` and `size`, or an `error` for people.

    With `retry_in_s` there is another attempt.
    """

    word: str
    sha256: str | None = None
    size: int = 0
    error: str | None = None
    retry_in_s: float | None = None


class Fetcher:
    """One per process, stepped by a background loop on the topic `media`; `poke` wakes that loop."""

    def __init__(
        self,
        database: Database,
        catalog: CatalogCache,
        settings: Settings,
        http: httpx.AsyncClient,
        files: FileStore,
        *,
        poke: Callable[[], None],
        schedule: Schedule = Schedule(),
        lease_s: float = _LEASE_S,
    ) -> None:
        self._database, self._catalog, self._http, self._files = database, catalog, http, files
        self._limit, self._schedule, self._lease_s = settings.attachment_limit, schedule, lease_s
        self._flight: InFlight[UUID] = InFlight(poke)
        self._rng = Random()
        self._settings = settings
        self._guarded: httpx.AsyncClient | None = None

    async def step(self) -> float | None:
        """Put due files in flight and return without waiting for them; seconds until the next one is due.

        None: nothing waits, or there is no room. The end of each fetch pokes, because it makes room.
        """
        async with self._flight.taking:
            room = _IN_FLIGHT - len(self._flight)
            if self._flight.draining or room <= 0:
                return None
            async with self._database.begin() as session:
                claimed = await _claim(session, limit=room, lease_s=self._lease_s)
                delay = None if len(claimed) == room else (await session.execute(_NEXT)).scalar()
            for item in claimed:
                self._launch(item)
            return delay if delay is None else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until everything that is in flight now is written down."""
        await self._flight.idle()

    async def drain(self, within_s: float) -> None:
        """Take nothing new and wait for what is in flight. What is cut off is fetched again after its lease."""
        await self._flight.drain(within_s)
        if self._guarded is not None:
            await self._guarded.aclose()

    def _launch(self, item: Claimed) -> None:
        self._flight.launch(self._bring(item), name=f"fetch {item.attachment_id}", key=item.channel_id)

    async def _bring(self, item: Claimed) -> None:
        log.correlation.set(item.correlation_id)
        started = asyncio.get_running_loop().time()
        outcome = await self._attempt(item)
        seconds = asyncio.get_running_loop().time() - started
        if outcome.word == "retry":
            outcome = self._again_or_never(item, outcome, item.age_s + seconds)
        try:
            async with self._database.begin() as session:
                await settle(session, item, outcome)
        except Exception as error:
            _logger.error("outcome lost", attachment_id=item.attachment_id, outcome=outcome.word, error=repr(error))
            return
        _tell(item, outcome, seconds)

    async def _attempt(self, item: Claimed) -> Outcome:
        account = (await self._catalog.current()).channels.get(item.channel_id)
        if account is None:
            return Outcome("retry", error="the channel is switched off or cannot be read")
        if not isinstance(account.adapter, Fetching):
            return Outcome("unsupported", error=NO_FETCH)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                data = await account.adapter.fetch(account.config, item.file, self._client(account), limit=self._limit)
            return Outcome("stored", sha256=await self._files.put(data), size=len(data))
        except FetchError as error:
            return Outcome("retry" if error.retry else "failed", error=error.detail)
        except TooLarge as error:
            return Outcome("failed", error=error.detail)
        except TimeoutError:
            return Outcome("retry", error=f"the file did not come within {_TIMEOUT_S:g} s")
        except OSError as error:
            return Outcome("retry", error=f"the file could not be stored ({type(error).__name__})")
        except Exception as error:
            _logger.error("adapter failed", channel_type=account.type, error=repr(error), exc_info=True)
            return Outcome("retry", error=f"the channel's code failed ({type(error).__name__})")

    def _client(self, account: ChannelAccount) -> httpx.AsyncClient:
        """Where addresses are other people's word, one that they cannot lead into networks of ours."""
        if not getattr(account.adapter, "fetches_anywhere", False):
            return self._http
        if self._guarded is None:
            guarded = GuardedTransport(
                private=False,
                allowed=networks(self._settings.fetch_networks),
                hint="ROUNDTRIP_FETCH_NETWORKS names private networks that are allowed",
            )
            self._guarded = httpx.AsyncClient(
                transport=guarded,
                follow_redirects=False,
                trust_env=False,
                timeout=self._settings.send_timeout_s,
                headers={"Accept-Encoding": "identity"},
            )
        return self._guarded

    def _again_or_never(self, item: Claimed, outcome: Outcome, elapsed_s: float) -> Outcome:
        seconds = wait_s(self._schedule, item.attempt, elapsed_s=elapsed_s, rng=self._rng)
        if seconds is None:
            return Outcome("given_up", error=f"given up after {item.attempt} attempts: {outcome.error}")
        return Outcome("retry", error=outcome.error, retry_in_s=seconds)


async def _claim(session: AsyncSession, *, limit: int, lease_s: float) -> list[Claimed]:
    rows = (await session.execute(_CLAIM, {"limit": limit, "lease_s": lease_s})).all()
    return [
        Claimed(
            attachment_id=row.attachment_id,
            message_id=row.message_id,
            conversation_id=row.conversation_id,
            channel_id=row.channel_id,
            file=_file(row.attachments, row.attachment_id, row.ref),
            attempt=row.attempts,
            age_s=row.age_s,
            correlation_id=row.correlation_id,
        )
        for row in rows
    ]


def _file(attachments: list[dict[str, Any]], attachment_id: UUID, ref: Mapping[str, Any]) -> RemoteFile:
    item = next(item for item in attachments if item["id"] == str(attachment_id))
    return RemoteFile(name=item["name"], media_type=item["media_type"], size=item["size"], ref=ref)


async def settle(session: AsyncSession, item: Claimed, outcome: Outcome) -> None:
    """Write down what an attempt came to. One that was overtaken (its lease ran out, another fetcher took over) counts
    only when it brought the file, and only the first that did."""
    if outcome.retry_in_s is not None:
        values = {"id": item.attachment_id, "attempt": item.attempt, "seconds": outcome.retry_in_s}
        await session.execute(_AGAIN, values)
        return
    conversation = await queries.lock(session, item.conversation_id)
    attempt = item.attempt if outcome.sha256 is None else -1
    ended = await session.execute(_END, {"id": item.attachment_id, "attempt": attempt})
    if ended.scalar() is None:
        return
    message = await session.get(Message, item.message_id)
    assert message is not None, "a foreign key guards this"
    message.attachments = [
        _settled(kept, outcome) if kept["id"] == str(item.attachment_id) else kept for kept in message.attachments
    ]
    session.add(message)
    if outcome.sha256 is not None:
        session.add(
            Attachment(
                id=item.attachment_id,
                sha256=outcome.sha256,
                size=outcome.size,
                media_type=item.file.media_type,
                name=item.file.name,
                message_id=item.message_id,
            )
        )
    await events.append(
        session,
        conversation,
        "conversation.updated",
        {
            "conversation": shapes.conversation(conversation),
            "changed": ["attachments"],
            "message_id": str(item.message_id),
            "attachments": [shapes.attachment(kept) for kept in message.attachments],
        },
    )


def _settled(kept: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    """A file that was not fetched keeps its reference, so that it can be asked for again once that may help."""
    if outcome.sha256 is None:
        return {**kept, "error": outcome.error}
    rest = {name: value for name, value in kept.items() if name != "remote"}
    return {**rest, "sha256": outcome.sha256, "size": outcome.size}


def _tell(item: Claimed, outcome: Outcome, seconds: float) -> None:
    FETCHES.labels(outcome.word).inc()
    speak = _logger.info if outcome.word == "stored" else _logger.warning
    speak(
        "media fetch",
        attachment_id=item.attachment_id,
        message_id=item.message_id,
        channel_id=item.channel_id,
        attempt=item.attempt,
        outcome=outcome.word,
        detail=outcome.error,
        size=outcome.size,
        ms=round(seconds * 1000, 1),
    )
