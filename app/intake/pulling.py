"""The puller: where a call only rings, it brings the messages, page by page, and keeps how far it has come.

A source is read by one process at a time, under a lease. The cursor moves after its page's messages are committed: who
dies in between has the page read again, and its messages are known by their ids.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from random import Random
from uuid import UUID

import httpx
import orjson
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import Parsed, Pulled, Pulling, SendError, SendFailure
from app.db import Database
from app.delivery.backoff import Schedule, wait_s
from app.ids import new_id
from app.in_flight import InFlight
from app.intake.ingest import PULL, Intake

TOPIC = "pull"
PAGES = Counter("roundtrip_pulls_total", "Attempts to pull a page of messages, by outcome", ["channel_type", "outcome"])

SOON = Schedule(steps_s=(1, 2, 5, 15, 60, 300), total_s=math.inf)
# What needs a person: asking more often helps nobody.
LATER = Schedule(steps_s=(300, 900, 3600), total_s=math.inf)
_AT_ONCE = 4
_PAGES_IN_A_ROW = 50
_AT_A_TIME = 100
_TIMEOUT_S = 60.0
_LEASE_S = _TIMEOUT_S + 60
_BUSY_S = 0.02
_SOON = frozenset({SendFailure.RETRY, SendFailure.UNKNOWN, SendFailure.QUOTA})
_logger = log.get("pulling")

_CLAIM = text(
    "WITH due AS MATERIALIZED ("
    "SELECT channel_id, source FROM channel_cursor "
    "WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now()) "
    "ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED) "
    "UPDATE channel_cursor c SET lease_until = clock_timestamp() + make_interval(secs => :lease_s) "
    "FROM due WHERE c.channel_id = due.channel_id AND c.source = due.source "
    "RETURNING c.channel_id, c.source, c.cursor, c.bell, c.rung_at, c.attempts, c.lease_until"
).columns(bell=JSONB)
# What is being read counts with the end of its lease, because its reader may have died.
_NEXT = text(
    "SELECT CAST(extract(epoch FROM min(greatest(due_at, lease_until)) - now()) AS float8) "
    "FROM channel_cursor WHERE due_at IS NOT NULL"
)
_MINE = "WHERE channel_id = :channel AND source = :source AND lease_until = :lease"
_MOVE = text(
    "UPDATE channel_cursor SET cursor = :cursor, attempts = 0, "
    f"lease_until = clock_timestamp() + make_interval(secs => :lease_s) {_MINE} RETURNING lease_until"
)
# Rung again meanwhile: it is due again, because the page that we saw as the last may not be it.
_END = text(
    "UPDATE channel_cursor SET lease_until = NULL, attempts = 0, "
    f"due_at = CASE WHEN rung_at = :rung_at AND NOT :more THEN NULL ELSE now() END {_MINE}"
)
_AGAIN = text(
    "UPDATE channel_cursor SET lease_until = NULL, attempts = attempts + 1, "
    f"due_at = now() + make_interval(secs => :seconds) {_MINE}"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A source that we alone read until the lease ends; the lease is also what the cursor is guarded by."""

    channel_id: UUID
    source: str
    cursor: str
    bell: Mapping[str, str]
    rung_at: datetime
    attempts: int
    lease: datetime

    def mine(self) -> dict[str, object]:
        return {"channel": self.channel_id, "source": self.source, "lease": self.lease}


class Puller:
    """One per process, stepped by a background loop on the topic `pull`; `poke` wakes that loop."""

    def __init__(
        self,
        database: Database,
        catalog: CatalogCache,
        intake: Intake,
        http: httpx.AsyncClient,
        *,
        poke: Callable[[], None],
        soon: Schedule = SOON,
        later: Schedule = LATER,
        lease_s: float = _LEASE_S,
    ) -> None:
        self._database, self._catalog, self._intake, self._http = database, catalog, intake, http
        self._soon, self._later, self._lease_s = soon, later, lease_s
        self._flight: InFlight[UUID] = InFlight(poke)
        self._rng = Random()

    async def step(self) -> float | None:
        """Begin to read what was rung, without waiting for it; seconds until the next source is due."""
        async with self._flight.taking:
            room = _AT_ONCE - len(self._flight)
            if self._flight.draining or room <= 0:
                return None
            async with self._database.begin() as session:
                claimed = await _claim(session, limit=room, lease_s=self._lease_s)
                delay = None if len(claimed) == room else (await session.execute(_NEXT)).scalar()
            for item in claimed:
                self._launch(item)
            return delay if delay is None else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until what is being read now is read."""
        await self._flight.idle()

    async def drain(self, within_s: float) -> None:
        """Begin nothing, finish the pages in hand. What is cut off is read again after its lease."""
        await self._flight.drain(within_s)

    def _launch(self, item: Claimed) -> None:
        self._flight.launch(self._read(item), name=f"pull {item.channel_id} {item.source}", key=item.channel_id)

    async def _read(self, item: Claimed) -> None:
        log.correlation.set(new_id().hex)
        account = (await self._catalog.current()).channels.get(item.channel_id)
        try:
            try:
                await self._pages(account, item)
            except SendError as error:
                await self._put_off(account, item, error)
        except Exception as error:
            # The database does not answer: the lease ends by itself.
            _logger.error("pull lost", channel_id=item.channel_id, source=item.source, error=repr(error), exc_info=True)

    async def _pages(self, account: ChannelAccount | None, item: Claimed) -> None:
        """Until there is no more, or somebody else took over. Raises SendError."""
        if account is None or not isinstance(account.adapter, Pulling):
            raise SendError(SendFailure.CONFIG, "the channel is switched off, cannot be read or pulls nothing")
        pulled: Pulled | None = None
        for _ in range(_PAGES_IN_A_ROW):
            pulled = await self._page(account, account.adapter, item)
            await self._store(account, item, pulled)
            async with self._database.begin() as session:
                values = {**item.mine(), "cursor": pulled.cursor, "lease_s": self._lease_s}
                lease = (await session.execute(_MOVE, values)).scalar()
            if lease is None:
                _logger.warning("pull was overtaken", channel_id=item.channel_id, source=item.source)
                return
            PAGES.labels(account.type, "stored").inc()
            item = replace(item, cursor=pulled.cursor, attempts=0, lease=lease)
            if not pulled.more or self._flight.draining:
                break
        async with self._database.begin() as session:
            more = pulled is not None and pulled.more
            await session.execute(_END, {**item.mine(), "rung_at": item.rung_at, "more": more})

    async def _page(self, account: ChannelAccount, adapter: Pulling, item: Claimed) -> Pulled:
        """Raises SendError."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await adapter.pull(account.config, item.bell, item.cursor, self._http)
        except SendError:
            raise
        except TimeoutError:
            raise SendError(SendFailure.RETRY, f"no answer within {_TIMEOUT_S:g} s") from None
        except Exception as error:
            _logger.error("adapter failed", channel_type=account.type, error=repr(error), exc_info=True)
            raise SendError(SendFailure.RETRY, f"the channel's code failed: {type(error).__name__}") from error

    async def _store(self, account: ChannelAccount, item: Claimed, pulled: Pulled) -> None:
        """Raises SendError: then the page is pulled again."""
        body = orjson.dumps({"source": item.source, "cursor": item.cursor, "next": pulled.cursor})
        try:
            for part in _parts(pulled.parsed):
                await self._intake.store(account, transport=PULL, headers={}, body=body, parsed=part)
        except Exception as error:
            raise SendError(SendFailure.RETRY, f"the page could not be stored: {error!r}") from error

    async def _put_off(self, account: ChannelAccount | None, item: Claimed, error: SendError) -> None:
        """It is never given up: the messages wait at the provider."""
        soon = error.failure in _SOON
        seconds = wait_s(
            self._soon if soon else self._later,
            item.attempts + 1,
            elapsed_s=0,
            retry_after_s=error.retry_after_s,
            rng=self._rng,
        )
        async with self._database.begin() as session:
            await session.execute(_AGAIN, {**item.mine(), "seconds": seconds})
        PAGES.labels(account.type if account else "none", error.failure.value).inc()
        speak = _logger.warning if soon else _logger.error
        speak(
            "pull put off",
            channel_id=item.channel_id,
            source=item.source,
            attempt=item.attempts + 1,
            outcome=error.failure.value,
            detail=error.detail,
            seconds=seconds,
        )


async def _claim(session: AsyncSession, *, limit: int, lease_s: float) -> list[Claimed]:
    rows = (await session.execute(_CLAIM, {"limit": limit, "lease_s": lease_s})).all()
    return [
        Claimed(row.channel_id, row.source, row.cursor, row.bell, row.rung_at, row.attempts, row.lease_until)
        for row in rows
    ]


def _parts(parsed: Parsed) -> Iterator[Parsed]:
    """A page in pieces that one commit takes; what is no message comes with the last. An empty page has none."""
    messages = list(parsed.messages)
    while len(messages) > _AT_A_TIME:
        yield Parsed(messages=messages[:_AT_A_TIME])
        messages = messages[_AT_A_TIME:]
    rest = replace(parsed, messages=messages)
    if any(getattr(rest, field.name) for field in fields(rest)):
        yield rest
