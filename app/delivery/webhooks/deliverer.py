"""The loop that tells endpoints: lanes side by side, the events of a lane one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from uuid import UUID

import httpx
from prometheus_client import Counter, Gauge, Histogram

from app import log
from app.db import Database
from app.delivery.backoff import Schedule, wait_s
from app.delivery.webhooks import claims, payload, secrets
from app.delivery.webhooks.breaker import Policy, is_down
from app.delivery.webhooks.call import Client, Failure
from app.delivery.webhooks.claims import Item, Lane, Limits, Target
from app.delivery.webhooks.settle import Refusal, Settler, Told
from app.settings import Settings
from app.vault import BadToken, Vault

CALLS = Counter("roundtrip_outgoing_webhook_calls_total", "Calls of webhook endpoints, by outcome", ["outcome"])
SECONDS = Histogram("roundtrip_outgoing_webhook_seconds", "How long webhook endpoints took to answer")
IN_FLIGHT = Gauge("roundtrip_outgoing_webhooks_in_flight", "Calls of webhook endpoints under way")

_BUSY_S = 0.05
_RUN_S = 10.0
_LEASE_MARGIN_S = 20.0
_QUICK_S = 0.5
_IDLE_S = 30.0
_DELIVERED = "delivered"
_logger = log.get("webhooks")


class Line:
    """One endpoint as this process calls it. `failures` in a row; `held` lanes, `waiting` those not begun."""

    def __init__(self, target: Target, client: Client, keys: list[bytes]) -> None:
        self.target, self.client, self.keys = target, client, keys
        self.waiting: list[tuple[Lane, float]] = []
        self.running = self.held = self.failures = 0
        self.quick = False
        self.used = time.monotonic()

    @property
    def full(self) -> bool:
        """It has lanes to go on with."""
        return len(self.waiting) >= self.target.max_in_flight


class Deliverer:
    """One per process, stepped by a background loop on the topic `webhook-deliveries`; `poke` wakes that loop."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: Settings,
        *,
        poke: Callable[[], None],
        schedule: Schedule | None = None,
        policy: Policy | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._database, self._vault, self._poke, self._limits = database, vault, poke, limits
        self._private, self._timeout_s = settings.webhook_endpoints_private, settings.send_timeout_s
        self._schedule = schedule or Schedule(total_s=settings.webhook_retry_h * 3600)
        self._policy = policy or Policy(after=settings.webhook_breaker_after)
        self._lease_s = self._timeout_s + _RUN_S + _LEASE_MARGIN_S
        self._rng = Random()
        self._settler = Settler(database, self._policy, self._rng)
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._lines: dict[UUID, Line] = {}
        self._retired: list[Line] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking = asyncio.Lock()
        self._draining = False

    async def step(self) -> float | None:
        """Put due lanes in flight and return without waiting for them; seconds until the next one is due.

        None: nothing waits, or there is no room. The end of each lane pokes, because it makes room.
        """
        async with self._taking:
            if self._draining:
                return None
            await self._close_idle()
            held = {id: line.held for id, line in self._lines.items()}
            async with self._database.begin() as session:
                taken = await claims.take(
                    session,
                    limits=self._limits,
                    held=held,
                    quick=[id for id, line in self._lines.items() if line.quick],
                    full=self._full(),
                    after=self._policy.after,
                    lease_s=self._lease_s,
                )
            for lane in taken.lanes:
                self._add(taken.targets[lane.endpoint_id], lane)
            for line in list(self._lines.values()):
                self._start(line)
            if sum(held.values()) + len(taken.lanes) >= self._limits.total:
                return None
            async with self._database.begin() as session:
                delay = await claims.next_due_s(session, full=self._full())
            return delay if delay is None or taken.lanes else max(delay, _BUSY_S)

    async def idle(self) -> None:
        """Wait until all that is in flight now is written down."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def drain(self, within_s: float) -> None:
        """Take nothing new, give back what was not begun, and wait for the calls under way. What is cut off is told
        again after its lease."""
        self._draining = True
        async with self._taking:
            late = set(self._tasks)
        await self._give_back()
        if late:
            _, late = await asyncio.wait(late, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._settler.finish()
        for line in (*self._lines.values(), *self._retired):
            await line.client.close()

    async def _give_back(self) -> None:
        """What was leased and not begun: another process goes on with it at once."""
        lines = (*self._lines.values(), *self._retired)
        waiting = [lane for line in lines for lane, _ in line.waiting]
        for line in lines:
            line.waiting.clear()
        settled = (self._settler.settle(Told(lane.endpoint_id, lane.lane_id, lane.turn)) for lane in waiting)
        await asyncio.gather(*settled)

    def _full(self) -> list[UUID]:
        """Those that have enough to do, or failed here so often that what is in hand is to be written down first."""
        return [
            id for id, line in self._lines.items() if line.full or (line.held and is_down(self._policy, line.failures))
        ]

    def _add(self, target: Target, lane: Lane) -> None:
        line = self._lines.get(target.id)
        if line is None or line.target != target:
            if line is not None:
                self._retired.append(line)
            line = self._lines[target.id] = self._open(target, line)
        if not line.held:
            line.failures = 0  # all that failed here is written down, and the claim says that it may be called
        line.waiting.append((lane, time.monotonic()))
        line.held += 1
        line.used = time.monotonic()

    def _open(self, target: Target, before: Line | None) -> Line:
        try:
            keys = secrets.keys(self._vault, target.secrets, both=target.old_secret_signs)
        except (BadToken, ValueError) as error:
            _logger.error("webhook secrets cannot be read", endpoint_id=target.id, error=type(error).__name__)
            keys = []
        client = Client(
            target.url,
            private=self._private,
            timeout_s=self._timeout_s,
            connections=target.max_in_flight,
            tls=self._tls,
        )
        line = Line(target, client, keys)
        line.quick = before is not None and before.quick
        return line

    async def _close_idle(self) -> None:
        now = time.monotonic()
        for id, line in list(self._lines.items()):
            if not line.held and now - line.used > _IDLE_S:
                del self._lines[id]
                await line.client.close()
        for line in [line for line in self._retired if not line.held]:
            self._retired.remove(line)
            await line.client.close()

    def _start(self, line: Line) -> None:
        while line.waiting and line.running < line.target.max_in_flight:
            lane, taken_at = line.waiting.pop(0)
            line.running += 1
            task = asyncio.create_task(self._tell(line, lane, taken_at), name=f"webhooks {lane.lane_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, line: Line, lane: Lane, taken_at: float) -> None:
        try:
            told = await self._tell_lane(line, lane, taken_at)
        finally:
            line.running -= 1
            if not self._draining:
                self._start(line)
        try:
            await self._settler.settle(told)
        finally:
            line.held -= 1
            line.used = time.monotonic()
            self._poke()

    async def _tell_lane(self, line: Line, lane: Lane, taken_at: float) -> Told:
        """Its events in order, up to the first that is not taken, or as long as the lease surely holds.

        What was not begun is given back untouched: also when the endpoint went down meanwhile.
        """
        told = Told(lane.endpoint_id, lane.lane_id, lane.turn)
        for item in lane.items:
            if self._draining or time.monotonic() - taken_at > _RUN_S or is_down(self._policy, line.failures):
                break
            if item.body is None:
                told.lost.append(item.id)
                continue
            log.correlation.set(item.correlation_id)
            started = time.perf_counter()
            with IN_FLIGHT.track_inprogress():
                status, failure = await self._call(line, item, item.body)
            seconds = time.perf_counter() - started
            SECONDS.observe(seconds)
            if failure is None and status is not None:
                told.accepted.append((item.id, status))
                line.failures, line.quick = 0, seconds < _QUICK_S
                self._speak(line, lane, item, _DELIVERED, None, seconds)
                continue
            assert failure is not None
            line.failures += 1
            told.refusal = self._refusal(lane, item, failure, item.age_s + time.monotonic() - taken_at)
            word = "gone" if failure.gone else "retry" if told.refusal.wait_s is not None else "dead"
            self._speak(line, lane, item, word, failure.error, seconds)
            break
        return told

    async def _call(self, line: Line, item: Item, body: bytes) -> tuple[int | None, Failure | None]:
        if not line.keys:
            return None, Failure("its secrets cannot be read: were they sealed with another ROUNDTRIP_SECRET_KEY?")
        return await line.client.call(item.id, body, line.keys)

    def _refusal(self, lane: Lane, item: Item, failure: Failure, elapsed_s: float) -> Refusal:
        """A test call is made once. Who is gone keeps what it has not been told, for the day it is switched on again."""
        wait: float | None = None
        if failure.gone:
            wait = 0.0
        elif item.type != payload.PING:
            asked = failure.retry_after_s
            wait = wait_s(self._schedule, item.attempt, elapsed_s=elapsed_s, retry_after_s=asked, rng=self._rng)
        return Refusal(
            call_id=item.id,
            error=failure.error,
            status=failure.status,
            wait_s=wait,
            probe=lane.probe,
            retry_after_s=failure.retry_after_s,
            gone=failure.gone,
        )

    def _speak(self, line: Line, lane: Lane, item: Item, word: str, detail: str | None, seconds: float) -> None:
        """What was taken is counted only. Never the address as a whole: its query may hold a secret."""
        CALLS.labels(word).inc()
        if word == _DELIVERED:
            return
        _logger.warning(
            "outgoing webhook",
            endpoint_id=lane.endpoint_id,
            call_id=item.id,
            type=item.type,
            host=httpx.URL(line.target.url).host,
            attempt=item.attempt,
            outcome=word,
            detail=detail,
            ms=round(seconds * 1000, 1),
        )
