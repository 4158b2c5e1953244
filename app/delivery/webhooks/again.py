"""Tell an endpoint again what it was told or what was given up, and test calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery.webhooks import payload
from app.delivery.webhooks.fanout import CHANGED, TOPIC
from app.errors import Invalid
from app.ids import new_id
from app.models import WebhookDelivery
from app.wakeups import wake

_WELL = text(
    "UPDATE webhook_breaker SET failures = 0, probes = 0, failing_since = NULL, not_before = NULL "
    "WHERE endpoint_id = :endpoint"
)
_PROBE_NOW = text("UPDATE webhook_breaker SET not_before = NULL WHERE endpoint_id = :endpoint")
_FIRST = text(
    "INSERT INTO webhook_lane(endpoint_id, lane_id, turn, due_at) VALUES (:endpoint, :lane, 0, to_timestamp(0))"
)
_LANES_DUE = text("""
    UPDATE webhook_lane l SET due_at = now()
    FROM (SELECT lane_id FROM webhook_lane WHERE endpoint_id = :endpoint AND due_at > now() ORDER BY lane_id FOR UPDATE) w
    WHERE l.endpoint_id = :endpoint AND l.lane_id = w.lane_id
""")
_PICKED = """
    SELECT id, lane_id FROM webhook_delivery
    WHERE endpoint_id = :endpoint AND event_id > 0 AND {which} ORDER BY event_id LIMIT :limit
"""
_DEAD = text(_PICKED.format(which="state = 'dead'"))
_BY_ID = text(_PICKED.format(which="id = ANY(CAST(:ids AS uuid[]))"))
# Lanes before deliveries, as everybody does; whoever is about to remove a lane is waited for.
_LANES = text("""
    INSERT INTO webhook_lane AS l (endpoint_id, lane_id, turn)
    SELECT :endpoint, w.lane_id, 0 FROM (SELECT DISTINCT unnest(CAST(:lanes AS uuid[])) AS lane_id ORDER BY 1) w
    ON CONFLICT (endpoint_id, lane_id) DO UPDATE SET turn = l.turn
""")
_AGAIN = text("""
    WITH queued AS (
    UPDATE webhook_delivery SET state = 'waiting', attempts = 0, status = NULL, error = NULL, done_at = NULL, queued_at = now()
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state <> 'waiting'
    RETURNING id
    ) SELECT count(*) FROM queued
""")
# Of the log up to where the endpoint's queue was filled; the rest is still to come by itself.
_SINCE = text(f"""
    SELECT {payload.CALL_ID} AS id, v.conversation_id AS lane_id, v.id AS event_id, {payload.TYPE} AS type
    FROM webhook_cursor s JOIN webhook_endpoint e ON e.id = s.endpoint_id
    JOIN event v ON v.created_at >= :since AND (v.pos, v.id) <= (s.pos, s.event_id)
    WHERE s.endpoint_id = :endpoint AND {payload.WANTED}
    ORDER BY v.pos, v.id LIMIT :limit
""")
_QUEUE = text("""
    INSERT INTO webhook_delivery AS d (id, endpoint_id, lane_id, event_id, conversation_id, type, state, attempts)
    SELECT w.id, :endpoint, w.lane_id, w.event_id, w.lane_id, w.type, 'waiting', 0
    FROM unnest(CAST(:ids AS uuid[]), CAST(:lanes AS uuid[]), CAST(:events AS bigint[]), CAST(:types AS text[]))
         AS w(id, lane_id, event_id, type)
    ON CONFLICT (id) DO UPDATE
    SET state = 'waiting', attempts = 0, status = NULL, error = NULL, done_at = NULL, queued_at = now()
    WHERE d.state <> 'waiting'
""")


async def ping(session: AsyncSession, endpoint_id: UUID) -> UUID:
    """Queue a test call before all else; its `webhook-id`. An endpoint that is down is tried with it, at once."""
    call_id = new_id()
    await session.execute(_PROBE_NOW, {"endpoint": endpoint_id})
    await session.execute(_FIRST, {"endpoint": endpoint_id, "lane": call_id})
    session.add(WebhookDelivery(id=call_id, endpoint_id=endpoint_id, lane_id=call_id, event_id=0, type=payload.PING))
    await wake(session, TOPIC)
    return call_id


async def start_over(session: AsyncSession, endpoint_id: UUID) -> None:
    """It has another address, or was switched on: what failed before says nothing any more."""
    await session.execute(_WELL, {"endpoint": endpoint_id})
    await session.execute(_LANES_DUE, {"endpoint": endpoint_id})
    await announce(session)


async def announce(session: AsyncSession) -> None:
    """Endpoints were made or changed: every process looks again."""
    for topic in (CHANGED, "events", TOPIC):
        await wake(session, topic)


async def dead(session: AsyncSession, endpoint_id: UUID, *, limit: int) -> int:
    """All that was given up, at most `limit`, the oldest first; how many."""
    rows = (await session.execute(_DEAD, {"endpoint": endpoint_id, "limit": limit})).all()
    return await _queue_again(session, endpoint_id, rows)


async def by_id(session: AsyncSession, endpoint_id: UUID, ids: Sequence[UUID]) -> int:
    """These; one that waits already simply waits. Raises Invalid when one is not there any more."""
    wanted = set(ids)
    rows = (await session.execute(_BY_ID, {"endpoint": endpoint_id, "ids": list(wanted), "limit": len(wanted)})).all()
    if missing := wanted - {row.id for row in rows}:
        raise Invalid(f"there is no {', '.join(sorted(map(str, missing)))}", field="ids")
    return await _queue_again(session, endpoint_id, rows)


async def since(session: AsyncSession, endpoint_id: UUID, moment: datetime, *, limit: int) -> int:
    """All that the log has for it since then, delivered or not; how many. Raises Invalid when these are too many."""
    given = {"endpoint": endpoint_id, "since": moment, "limit": limit + 1, "logged": list(payload.LOGGED)}
    rows = (await session.execute(_SINCE, given)).all()
    if len(rows) > limit:
        raise Invalid(f"there are more than {limit} events since then: take a later time", field="since")
    if rows:
        await session.execute(_LANES, {"endpoint": endpoint_id, "lanes": [row.lane_id for row in rows]})
        columns: dict[str, list[Any]] = {
            "ids": [row.id for row in rows],
            "lanes": [row.lane_id for row in rows],
            "events": [row.event_id for row in rows],
            "types": [row.type for row in rows],
        }
        await session.execute(_QUEUE, {"endpoint": endpoint_id, **columns})
        await wake(session, TOPIC)
    return len(rows)


async def _queue_again(session: AsyncSession, endpoint_id: UUID, rows: Sequence[Any]) -> int:
    if not rows:
        return 0
    await session.execute(_LANES, {"endpoint": endpoint_id, "lanes": [row.lane_id for row in rows]})
    queued: int = (await session.execute(_AGAIN, {"ids": [row.id for row in rows]})).scalar_one()
    await wake(session, TOPIC)
    return queued
