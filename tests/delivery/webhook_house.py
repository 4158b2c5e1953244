"""Endpoints, conversations in which things happen, receivers that check what they get, and deliverers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel import col, select

from app.background import Loop
from app.db import Database
from app.delivery.backoff import Schedule
from app.delivery.webhooks import again, fanout, secrets
from app.delivery.webhooks.breaker import Policy
from app.delivery.webhooks.deliverer import Deliverer
from app.delivery.webhooks.fanout import FanOut
from app.delivery.webhooks.sweep import Sweeper
from app.models import WebhookBreaker, WebhookCursor, WebhookDelivery, WebhookEndpoint, WebhookLane
from app.settings import Settings
from app.vault import Vault
from tests.sla.matters import Matters
from tests.support.providers import Answer, HttpServer

AT_ONCE = Schedule(steps_s=(0.01, 0.02, 0.04), total_s=3600)
LATER = Schedule(steps_s=(600,), total_s=86_400)
PROBE_AT_ONCE = Policy(after=5, probes=Schedule(steps_s=(0.02,)))
# As the verbs do it, conversation by conversation: `count` rounds of one event in each.
_HAPPEN = text("""
    SELECT append_event_v1(w.id, :type, 'conversation', '{}', '{}', false, 'system', NULL, NULL,
                           jsonb_build_object('n', w.n) || CAST(:payload AS jsonb))
    FROM (SELECT n, id FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n(n),
                 unnest(CAST(:ids AS uuid[])) AS id ORDER BY n, id) w
""")


class Receiver(HttpServer):
    """Checks each signature; answers with `answers` in turn, then as `up` says."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self.answers: list[Answer] = []
        self.up = True
        self.now = 0
        self.most = 0
        self.answer = self.next

    async def next(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            self.check(headers, body)
        finally:
            self.now -= 1
        if self.answers:
            return self.answers.pop(0)
        return (200, {}, b"") if self.up else (503, {}, b"down")

    def check(self, headers: dict[str, str], body: bytes) -> None:
        given = headers["webhook-signature"].split(" ")
        assert len(given) == len(self.secrets)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        for secret, signature in zip(self.secrets, given, strict=True):
            key = base64.b64decode(secret.removeprefix("whsec_"))
            assert signature == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, _, body in self.requests]

    def told(self) -> dict[str, list[int]]:
        """By conversation the numbers of its events, in the order in which they came first."""
        seen: set[str] = set()
        found: defaultdict[str, list[int]] = defaultdict(list)
        for (_, headers, _), body in zip(self.requests, self.bodies, strict=True):
            if headers["webhook-id"] not in seen:
                seen.add(headers["webhook-id"])
                found[body["data"]["conversation_id"]].append(body["data"]["n"])
        return found

    @property
    def repeats(self) -> int:
        return sum(Counter(self.ids).values()) - len(set(self.ids))


@dataclass
class Wires:
    """One database with endpoints."""

    database: Database
    vault: Vault
    settings: Settings
    matters: Matters = field(init=False)
    made: list[Deliverer] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.matters = Matters(self.database)
        self.settings = self.settings.model_copy(update={"send_timeout_s": 10})

    async def endpoint(self, receiver: Receiver | str, **fields: Any) -> UUID:
        row = WebhookEndpoint(**{"events": ["*"], "secrets": "", **fields}, url=_url(receiver))
        secret = secrets.put_first(self.vault, row)
        async with self.database.begin() as session:
            session.add(row)
            await session.flush()
            session.add(WebhookBreaker(endpoint_id=row.id))
            await fanout.start(session, row.id)
        if isinstance(receiver, Receiver):
            receiver.secrets = [secret]
        return row.id

    async def happen(
        self, ids: Sequence[UUID], count: int = 1, *, first: int = 1, type: str = "conversation.updated", **payload: Any
    ) -> None:
        async with self.database.begin() as session:
            await session.execute(
                text("SELECT 1 FROM conversation WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"), {"ids": ids}
            )
            given = {"ids": ids, "first": first, "last": first + count - 1, "type": type}
            await session.execute(_HAPPEN, {**given, "payload": orjson.dumps(payload).decode()})

    async def conversations(self, count: int = 1) -> list[UUID]:
        return await self.matters.open(count, started=False)

    async def fill(self, database: Database | None = None) -> None:
        """All that is committed is queued."""
        filler = FanOut(database or self.database, asyncio.Event())
        while (delay := await filler.step()) is not None:
            await asyncio.sleep(delay)

    def deliverer(self, database: Database | None = None, **options: Any) -> Deliverer:
        settings = self.settings.model_copy(update=options.pop("settings", {}))
        options = {"schedule": AT_ONCE, "policy": PROBE_AT_ONCE, **options}
        poke = options.pop("poke", self.ended.set)
        made = Deliverer(database or self.database, self.vault, settings, poke=poke, **options)
        self.made.append(made)
        return made

    async def call(self, deliverer: Deliverer) -> float | None:
        """One step, and what it started brought to its end."""
        delay = await deliverer.step()
        await deliverer.idle()
        return delay

    @asynccontextmanager
    async def running(self, database: Database | None = None, **options: Any) -> AsyncIterator[Deliverer]:
        """A deliverer in its loop, as `app.main` runs it."""
        wake, stopping = asyncio.Event(), asyncio.Event()

        def poke() -> None:
            wake.set()
            self.ended.set()

        deliverer = self.deliverer(database, poke=poke, **options)
        loop = Loop("webhook-calls", deliverer.step, wake, tick_s=0.25)
        task = asyncio.create_task(loop.run(stopping))
        try:
            yield deliverer
        finally:
            stopping.set()
            wake.set()
            await task
        assert loop.failures == 0

    async def until(self, condition: Callable[[], Awaitable[bool]], within_s: float = 120) -> None:
        async with asyncio.timeout(within_s):
            while True:
                self.ended.clear()
                if await condition():
                    return
                await self.ended.wait()

    async def until_told(self, within_s: float = 120) -> None:
        await self.until(self._nothing_waits, within_s)

    async def told_unless_idle(self, seconds: float) -> bool:
        """True once nothing waits any more, False when no call has ended for so long: what waits then waits for its time."""
        try:
            while True:
                self.ended.clear()
                if await self._nothing_waits():
                    return True
                await asyncio.wait_for(self.ended.wait(), seconds)
        except TimeoutError:
            return False

    async def _nothing_waits(self) -> bool:
        return await self.count("waiting") == 0 and not await self.lanes()

    async def sweep(self) -> None:
        sweeper = Sweeper(self.database, self.settings)
        while await sweeper.step() == 0:
            pass

    async def rows(self, *states: str) -> list[WebhookDelivery]:
        async with self.database.begin() as session:
            statement = select(WebhookDelivery).order_by(col(WebhookDelivery.event_id))
            if states:
                statement = statement.where(col(WebhookDelivery.state).in_(states))
            return list((await session.exec(statement)).all())

    async def count(self, state: str) -> int:
        async with self.database.begin() as session:
            found = await session.execute(
                text("SELECT count(*) FROM webhook_delivery WHERE state = :state"), {"state": state}
            )
            return int(found.scalar_one())

    async def lanes(self) -> list[WebhookLane]:
        async with self.database.begin() as session:
            return list((await session.exec(select(WebhookLane))).all())

    async def health(self, endpoint_id: UUID) -> WebhookBreaker:
        async with self.database.begin() as session:
            return await session.get_one(WebhookBreaker, endpoint_id)

    async def cursor(self, endpoint_id: UUID) -> WebhookCursor:
        async with self.database.begin() as session:
            return await session.get_one(WebhookCursor, endpoint_id)

    async def run(self, statement: str, **values: Any) -> None:
        async with self.database.begin() as session:
            await session.execute(text(statement), values)

    async def pass_time(self, seconds: float) -> None:
        """As if all that waits had begun to do so that much earlier."""
        await self.run(
            "UPDATE webhook_lane SET due_at = due_at - make_interval(secs => :by), "
            "lease_until = lease_until - make_interval(secs => :by)",
            by=seconds,
        )
        await self.run(
            "UPDATE webhook_delivery SET queued_at = queued_at - make_interval(secs => :by), "
            "done_at = done_at - make_interval(secs => :by)",
            by=seconds,
        )
        await self.run(
            "UPDATE webhook_breaker SET not_before = not_before - make_interval(secs => :by), "
            "failing_since = failing_since - make_interval(secs => :by)",
            by=seconds,
        )

    async def replay_dead(self, endpoint_id: UUID) -> int:
        async with self.database.begin() as session:
            return await again.dead(session, endpoint_id, limit=100_000)

    async def close(self) -> None:
        for deliverer in self.made:
            await deliverer.drain(5)


def _url(receiver: Receiver | str) -> str:
    return receiver if isinstance(receiver, str) else f"{receiver.base}/hooks?token=hidden"
