"""Take lanes that are due: a conversation of one endpoint, leased, with the events that come first in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery.webhooks import payload

_DUE = "l.due_at <= now() AND (l.lease_until IS NULL OR l.lease_until <= now())"
# In no order, so that many endpoints with much to tell have each their share of a process.
_ENDPOINTS = text(f"""
    SELECT e.id, e.url, e.secrets, coalesce(e.old_secret_until > now(), false),
           e.include_notes, e.max_in_flight, b.failures >= :after AS down
    FROM webhook_endpoint e JOIN webhook_breaker b ON b.endpoint_id = e.id
    WHERE e.active AND coalesce(b.not_before <= now(), true) AND e.id <> ALL(CAST(:full AS uuid[]))
      AND EXISTS (SELECT 1 FROM webhook_lane l WHERE l.endpoint_id = e.id AND {_DUE})
    ORDER BY random() LIMIT :limit
""")
# Whoever moves `not_before` has the probe. The others find it moved, also those who waited for this row.
_PROBE = text("""
    UPDATE webhook_breaker SET not_before = now() + make_interval(secs => :lease_s)
    WHERE endpoint_id = ANY(CAST(:ids AS uuid[])) AND failures >= :after AND coalesce(not_before <= now(), true)
    RETURNING endpoint_id
""")
# All its lanes were taken meanwhile: nobody has tried it.
_NO_PROBE = text("UPDATE webhook_breaker SET not_before = now() WHERE endpoint_id = ANY(CAST(:ids AS uuid[]))")
_LEASE = text(f"""
    WITH due AS MATERIALIZED (
        SELECT l.endpoint_id, l.lane_id
        FROM unnest(CAST(:ids AS uuid[]), CAST(:rooms AS int[])) AS w(endpoint_id, room), LATERAL (
            SELECT l.endpoint_id, l.lane_id FROM webhook_lane l
            WHERE l.endpoint_id = w.endpoint_id AND {_DUE}
            ORDER BY l.due_at, l.lane_id LIMIT w.room FOR UPDATE SKIP LOCKED
        ) l
    )
    UPDATE webhook_lane l SET lease_until = now() + make_interval(secs => :lease_s), turn = l.turn + 1
    FROM due WHERE l.endpoint_id = due.endpoint_id AND l.lane_id = due.lane_id
    RETURNING l.endpoint_id, l.lane_id, l.turn
""")
_LOAD = text("""
    SELECT d.endpoint_id, d.lane_id, d.id, d.event_id, d.type, d.attempts, d.conversation_id,
           CAST(extract(epoch FROM now() - d.queued_at) AS float8) AS age_s, d.queued_at,
           v.type AS logged_as, v.created_at, v.seq, CAST(v.payload AS text) AS payload, v.correlation_id
    FROM unnest(CAST(:endpoints AS uuid[]), CAST(:lanes AS uuid[]), CAST(:runs AS int[])) AS w(endpoint_id, lane_id, run),
    LATERAL (
        SELECT d.* FROM webhook_delivery d
        WHERE d.endpoint_id = w.endpoint_id AND d.lane_id = w.lane_id AND d.state = 'waiting'
        ORDER BY d.event_id LIMIT w.run
    ) d
    LEFT JOIN event v ON v.id = d.event_id
    ORDER BY d.endpoint_id, d.lane_id, d.event_id
""")
_NEXT = text("""
    SELECT CAST(extract(epoch FROM min(greatest(next.at, b.not_before)) - now()) AS float8)
    FROM webhook_endpoint e JOIN webhook_breaker b ON b.endpoint_id = e.id, LATERAL (
        SELECT min(greatest(front.due_at, front.lease_until)) AS at
        FROM (SELECT l.due_at, l.lease_until FROM webhook_lane l WHERE l.endpoint_id = e.id
              ORDER BY l.due_at, l.lane_id LIMIT 200) AS front
    ) next
    WHERE e.active AND e.id <> ALL(CAST(:full AS uuid[]))
""")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process: lanes that it holds in all, and of one that answers quickly, as times its calls in flight; events
    that are told of a lane before others have their turn; endpoints that one claim serves."""

    total: int = 512
    ahead: int = 8
    run: int = 50
    endpoints: int = 50


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint as the claim found it. `down`: it has one lane with one event, to see whether it answers again."""

    id: UUID
    url: str
    secrets: str
    old_secret_signs: bool
    include_notes: bool
    max_in_flight: int
    down: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class Item:
    """One event to be told. `attempt` counts from 1, `age_s` from when it was queued. No body: its event is no more."""

    id: UUID
    type: str
    attempt: int
    age_s: float
    body: bytes | None
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A conversation of an endpoint that we alone tell of until the lease ends; `items` in their order."""

    endpoint_id: UUID
    lane_id: UUID
    turn: int
    probe: bool
    items: Sequence[Item]


@dataclass(slots=True)
class Taken:
    targets: dict[UUID, Target] = field(default_factory=dict)
    lanes: list[Lane] = field(default_factory=list)


async def take(
    session: AsyncSession,
    *,
    limits: Limits,
    held: Mapping[UUID, int],
    quick: Collection[UUID],
    full: Sequence[UUID],
    after: int,
    lease_s: float,
) -> Taken:
    """Lease lanes. They may be told once this is committed. `held`: lanes that this process has, by endpoint;
    `quick`: of these, who answers so quickly that it may hold some ahead; `full`: who takes no more.
    """
    room = limits.total - sum(held.values())
    if room <= 0:
        return Taken()
    found = await session.execute(_ENDPOINTS, {"after": after, "full": full, "limit": limits.endpoints})
    targets = {row.id: Target(*row) for row in found}
    down = [target.id for target in targets.values() if target.down]
    if down:
        won = await session.execute(_PROBE, {"ids": down, "after": after, "lease_s": lease_s})
        for lost in set(down) - set(won.scalars()):
            del targets[lost]
    if not targets:
        return Taken()
    share = max(room // len(targets), 1)
    rooms = [
        1 if one.down else one.max_in_flight * (limits.ahead if one.id in quick else 1) - held.get(one.id, 0)
        for one in targets.values()
    ]
    given = {"ids": list(targets), "rooms": [max(min(wish, share), 0) for wish in rooms], "lease_s": lease_s}
    leased = (await session.execute(_LEASE, given)).all()
    idle = {target.id for target in targets.values() if target.down} - {row.endpoint_id for row in leased}
    if idle:
        await session.execute(_NO_PROBE, {"ids": list(idle)})
    return Taken(targets, await _load(session, leased, targets, limits) if leased else [])


async def next_due_s(session: AsyncSession, *, full: Sequence[UUID]) -> float | None:
    """Seconds until a lane may be due, by the database's clock; None when none waits."""
    seconds: float | None = (await session.execute(_NEXT, {"full": full})).scalar_one()
    return None if seconds is None else max(0.0, seconds)


async def _load(
    session: AsyncSession, leased: Sequence[Any], targets: Mapping[UUID, Target], limits: Limits
) -> list[Lane]:
    rows = await session.execute(
        _LOAD,
        {
            "endpoints": [row.endpoint_id for row in leased],
            "lanes": [row.lane_id for row in leased],
            "runs": [1 if targets[row.endpoint_id].down else limits.run for row in leased],
        },
    )
    items: defaultdict[tuple[UUID, UUID], list[Item]] = defaultdict(list)
    for row in rows:
        items[row.endpoint_id, row.lane_id].append(_item(row, targets[row.endpoint_id]))
    return [
        Lane(
            endpoint_id=row.endpoint_id,
            lane_id=row.lane_id,
            turn=row.turn,
            probe=targets[row.endpoint_id].down,
            items=items[row.endpoint_id, row.lane_id],
        )
        for row in leased
    ]


def _item(row: Any, target: Target) -> Item:
    if row.type == payload.PING:
        body = payload.ping(target.id, at=row.queued_at)
    elif row.payload is None:
        body = None
    else:
        body = payload.body(
            row.type,
            logged_as=row.logged_as,
            at=row.created_at,
            conversation_id=row.conversation_id,
            seq=row.seq,
            payload=row.payload,
            include_notes=target.include_notes,
        )
    return Item(row.id, row.type, row.attempts + 1, row.age_s, body, row.correlation_id)
