"""What is too old goes: events that waited longer than they are tried become dead letters, old rows are forgotten."""

from __future__ import annotations

from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.db import Database
from app.delivery.webhooks.settle import release
from app.settings import Settings

DEAD = Counter(
    "roundtrip_outgoing_webhook_expired_total", "Events that became dead letters while their endpoint was down"
)
DOWN = Gauge("roundtrip_outgoing_webhook_endpoints_down", "Active webhook endpoints that do not answer")
BATCH = 1_000
_GRACE_S = 120
"""So much later than the schedule's end, so that the last attempt comes first."""
_ERROR = "given up: it waited too long for its endpoint"
_logger = log.get("webhooks")

_HOLD = text(f"""
    SELECT l.endpoint_id, l.lane_id FROM webhook_lane l
    WHERE (l.endpoint_id, l.lane_id) IN (
        SELECT o.endpoint_id, o.lane_id FROM (
            SELECT d.endpoint_id, d.lane_id FROM webhook_delivery d
            WHERE d.state = 'waiting' AND d.queued_at < now() - make_interval(secs => :age_s)
            ORDER BY d.queued_at LIMIT {BATCH}) o)
      AND (l.lease_until IS NULL OR l.lease_until <= now())
    ORDER BY l.endpoint_id, l.lane_id FOR UPDATE SKIP LOCKED
""")
_EXPIRE = text(f"""
    WITH expired AS (
    UPDATE webhook_delivery d SET state = 'dead', done_at = now(), error = coalesce(d.error, '{_ERROR}')
    FROM unnest(CAST(:endpoints AS uuid[]), CAST(:lanes AS uuid[])) AS w(endpoint_id, lane_id)
    WHERE d.endpoint_id = w.endpoint_id AND d.lane_id = w.lane_id AND d.state = 'waiting'
      AND d.queued_at < now() - make_interval(secs => :age_s)
    RETURNING d.id
    ) SELECT count(*) FROM expired
""")
_FORGET = text(f"""
    WITH gone AS (
    DELETE FROM webhook_delivery WHERE id IN (
        SELECT id FROM webhook_delivery WHERE state = :state AND done_at < now() - make_interval(secs => :age_s)
        ORDER BY done_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED)
    RETURNING id
    ) SELECT count(*) FROM gone
""")
_DOWN = text(
    "SELECT count(*) FROM webhook_breaker b JOIN webhook_endpoint e ON e.id = b.endpoint_id "
    "WHERE e.active AND b.failures >= :after"
)


class Sweeper:
    """Works on any number of processes, a bounded batch at a time."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._after = database, settings.webhook_breaker_after
        self._tried_s = settings.webhook_retry_h * 3600 + _GRACE_S
        self._kept = {"delivered": settings.webhook_kept_h * 3600, "dead": settings.webhook_dead_kept_days * 86_400}

    async def step(self) -> float | None:
        """0 when there is more."""
        async with self._database.begin() as session:
            expired = await self._expire(session)
        more = expired > 0
        for state, age_s in self._kept.items():
            async with self._database.begin() as session:
                gone = (await session.execute(_FORGET, {"state": state, "age_s": age_s})).scalar_one()
            more = more or gone == BATCH
        async with self._database.begin() as session:
            DOWN.set((await session.execute(_DOWN, {"after": self._after})).scalar_one())
        return 0 if more else None

    async def _expire(self, session: AsyncSession) -> int:
        held = (await session.execute(_HOLD, {"age_s": self._tried_s})).all()
        if not held:
            return 0
        endpoints, lanes = zip(*held, strict=True)
        of = {"endpoints": endpoints, "lanes": lanes, "age_s": self._tried_s}
        expired: int = (await session.execute(_EXPIRE, of)).scalar_one()
        await release(session, ((endpoint, lane, 0.0) for endpoint, lane in held))
        DEAD.inc(expired)
        _logger.warning("webhooks given up", events=expired, conversations=len(held))
        return expired
