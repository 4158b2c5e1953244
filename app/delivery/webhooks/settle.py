"""What became of the calls to endpoints, and how it is written down: many lanes in one commit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.db import Database
from app.delivery.webhooks import breaker, news
from app.delivery.webhooks.breaker import Failed, Health, Policy
from app.events import log as events
from app.events.log import SYSTEM

LOST = "its event is no longer in the log"
GONE = "it answered 410 Gone"
_BATCH = 200
_PATIENCE_S = (0.1, 0.5, 2.0, 5.0)
_logger = log.get("webhooks")

# Everything here takes its locks in the order endpoint, breaker, lanes, deliveries.
_OFF = text("""
    UPDATE webhook_endpoint SET active = false, off_reason = :reason, version = version + 1, updated_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[])) AND active RETURNING id
""")
_HEALTHY = text("""
    WITH well AS (
        SELECT endpoint_id, failures >= :after AS down FROM webhook_breaker
        WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) AND failures > 0 ORDER BY endpoint_id FOR UPDATE
    )
    UPDATE webhook_breaker b SET failures = 0, probes = 0, failing_since = NULL, not_before = NULL
    FROM well WHERE b.endpoint_id = well.endpoint_id RETURNING b.endpoint_id, well.down
""")
# It answers: who failed while it did not is told at once, whatever its own wait was.
_WAKE_LANES = text("""
    UPDATE webhook_lane l SET due_at = now()
    FROM (SELECT endpoint_id, lane_id FROM webhook_lane
          WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) AND due_at > now()
          ORDER BY endpoint_id, lane_id FOR UPDATE) w
    WHERE l.endpoint_id = w.endpoint_id AND l.lane_id = w.lane_id
""")
_HEALTH = text("""
    SELECT endpoint_id, failures, probes, CAST(extract(epoch FROM not_before - now()) AS float8) AS wait_s
    FROM webhook_breaker WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) ORDER BY endpoint_id FOR UPDATE
""")
_ILL = text("""
    UPDATE webhook_breaker b SET failures = w.failures, probes = w.probes, last_error = w.error, last_error_at = now(),
        failing_since = coalesce(b.failing_since, now()), not_before = now() + make_interval(secs => w.wait_s)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:failures AS int[]), CAST(:probes AS int[]), CAST(:waits AS float8[]),
                CAST(:errors AS text[])) AS w(endpoint_id, failures, probes, wait_s, error)
    WHERE b.endpoint_id = w.endpoint_id
""")
# A statement of its own: what is done after it sees all that was queued before the lanes were ours.
_HOLD = text("""
    SELECT l.endpoint_id, l.lane_id, l.turn FROM webhook_lane l
    JOIN unnest(CAST(:endpoints AS uuid[]), CAST(:lanes AS uuid[])) AS w(endpoint_id, lane_id)
      ON w.endpoint_id = l.endpoint_id AND w.lane_id = l.lane_id
    ORDER BY l.endpoint_id, l.lane_id FOR UPDATE OF l
""")
_ACCEPTED = text("""
    UPDATE webhook_delivery d SET state = 'delivered', attempts = attempts + 1, status = w.status, error = NULL, done_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS int[])) AS w(id, status)
    WHERE d.id = w.id AND d.state <> 'delivered'
""")
_NOT_TAKEN = text("""
    UPDATE webhook_delivery d SET attempts = attempts + 1, status = w.status, error = w.error,
        state = CASE WHEN w.dead THEN 'dead' ELSE d.state END, done_at = CASE WHEN w.dead THEN now() END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS int[]), CAST(:errors AS text[]), CAST(:dead AS bool[]))
         AS w(id, status, error, dead)
    WHERE d.id = w.id AND d.state = 'waiting'
""")
# A lane without events goes; events that are queued meanwhile make a new one.
RELEASE = text("""
    WITH mine AS (
        SELECT w.*, EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.endpoint_id = w.endpoint_id
                            AND d.lane_id = w.lane_id AND d.state = 'waiting') AS more
        FROM unnest(CAST(:endpoints AS uuid[]), CAST(:lanes AS uuid[]), CAST(:waits AS float8[]))
             AS w(endpoint_id, lane_id, wait_s)
    ), gone AS (
        DELETE FROM webhook_lane l USING mine
        WHERE NOT mine.more AND l.endpoint_id = mine.endpoint_id AND l.lane_id = mine.lane_id
    )
    UPDATE webhook_lane l SET lease_until = NULL, due_at = now() + make_interval(secs => mine.wait_s)
    FROM mine WHERE mine.more AND l.endpoint_id = mine.endpoint_id AND l.lane_id = mine.lane_id
""")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The call at which a lane stopped. `wait_s` is None when its event is given up. `gone`: nobody is there any more."""

    call_id: UUID
    error: str
    status: int | None
    wait_s: float | None
    probe: bool
    retry_after_s: float | None
    gone: bool


@dataclass(slots=True)
class Told:
    """One lease of a lane, at its end: what was accepted (with the status), what stopped it, what had no body."""

    endpoint_id: UUID
    lane_id: UUID
    turn: int
    accepted: list[tuple[UUID, int]] = field(default_factory=list)
    refusal: Refusal | None = None
    lost: list[UUID] = field(default_factory=list)


async def settle(session: AsyncSession, told: Sequence[Told], *, policy: Policy, rng: Random) -> None:
    """Write down what became of leased lanes.

    Of a lease that was overtaken only good news counts: what was accepted was accepted.
    """
    await _switch_off(session, {one.endpoint_id for one in told if one.refusal and one.refusal.gone})
    await _note_health(session, told, policy, rng)
    keys = {"endpoints": [one.endpoint_id for one in told], "lanes": [one.lane_id for one in told]}
    turns = {(row.endpoint_id, row.lane_id): row.turn for row in await session.execute(_HOLD, keys)}
    mine = [one for one in told if turns.get((one.endpoint_id, one.lane_id)) == one.turn]
    accepted = [pair for one in told for pair in one.accepted]
    if accepted:
        ids, statuses = zip(*accepted, strict=True)
        await session.execute(_ACCEPTED, {"ids": ids, "statuses": statuses})
    await _note_not_taken(session, mine)
    if mine:
        await release(session, ((one.endpoint_id, one.lane_id, _wait_s(one)) for one in mine))


async def release(session: AsyncSession, lanes: Iterable[tuple[UUID, UUID, float]]) -> None:
    """Give back lanes (endpoint, lane, seconds until they are due), which the caller holds."""
    endpoints, ids, waits = zip(*lanes, strict=True)
    await session.execute(RELEASE, {"endpoints": endpoints, "lanes": ids, "waits": waits})


def _wait_s(told: Told) -> float:
    return (told.refusal.wait_s or 0.0) if told.refusal else 0.0


async def _switch_off(session: AsyncSession, ids: set[UUID]) -> None:
    if not ids:
        return
    for endpoint_id in (await session.execute(_OFF, {"ids": sorted(ids), "reason": GONE})).scalars().all():
        await events.audit(session, "webhook_endpoint.switched_off", {"id": endpoint_id, "reason": GONE}, actor=SYSTEM)
        await news.tell(session, [endpoint_id], state="off", error=GONE)


async def _note_health(session: AsyncSession, told: Sequence[Told], policy: Policy, rng: Random) -> None:
    """Accepted calls first: a failure beside them is the newer news."""
    well = sorted({one.endpoint_id for one in told if one.accepted})
    if well:
        found_well = (await session.execute(_HEALTHY, {"ids": well, "after": policy.after})).all()
        if back := [row.endpoint_id for row in found_well if row.down]:
            await session.execute(_WAKE_LANES, {"ids": back})
            await news.tell(session, back, state="ok")
    failed: defaultdict[UUID, list[Failed]] = defaultdict(list)
    for one in told:
        if one.refusal:
            refusal = one.refusal
            failed[one.endpoint_id].append(Failed(refusal.error, refusal.probe, refusal.retry_after_s))
    if not failed:
        return
    rows = (await session.execute(_HEALTH, {"ids": sorted(failed)})).all()
    found = [
        (
            row,
            breaker.after_failures(
                policy, Health(row.failures, row.probes, row.wait_s), failed[row.endpoint_id], rng=rng
            ),
        )
        for row in rows
    ]
    await session.execute(
        _ILL,
        {
            "ids": [row.endpoint_id for row, _ in found],
            "failures": [health.failures for _, health in found],
            "probes": [health.probes for _, health in found],
            "waits": [health.wait_s for _, health in found],
            "errors": [health.error for _, health in found],
        },
    )
    for row, health in found:
        if breaker.is_down(policy, health.failures) and not breaker.is_down(policy, row.failures):
            await news.tell(session, [row.endpoint_id], state="down", error=health.error)


async def _note_not_taken(session: AsyncSession, mine: Sequence[Told]) -> None:
    refused = [one.refusal for one in mine if one.refusal]
    rows: list[tuple[UUID, int | None, str, bool]] = [
        *((one.call_id, one.status, one.error, one.wait_s is None) for one in refused),
        *((call_id, None, LOST, True) for one in mine for call_id in one.lost),
    ]
    if rows:
        ids, statuses, errors, dead = zip(*rows, strict=True)
        await session.execute(_NOT_TAKEN, {"ids": ids, "statuses": statuses, "errors": errors, "dead": dead})


class Settler:
    """What ends while a batch is being written forms the next one."""

    def __init__(self, database: Database, policy: Policy, rng: Random) -> None:
        self._database, self._policy, self._rng = database, policy, rng
        self._pending: list[tuple[Told, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def settle(self, told: Told) -> None:
        """Returns when it is written, or given up: then the lease ends by itself, and the lane is told again."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((told, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._run(), name="settle webhooks")
        await written

    async def finish(self) -> None:
        if self._writing is not None:
            await self._writing

    async def _run(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            await self._write([told for told, _ in batch])
            for _, written in batch:
                if not written.done():
                    written.set_result(None)

    async def _write(self, told: Sequence[Told]) -> None:
        for pause_s in (*_PATIENCE_S, None):
            try:
                async with self._database.begin() as session:
                    await settle(session, told, policy=self._policy, rng=self._rng)
                return
            except Exception as error:
                _logger.warning("webhook outcomes not written", lanes=len(told), error=repr(error))
            if pause_s is not None:
                await asyncio.sleep(pause_s)
