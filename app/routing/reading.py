"""What the dispatcher and its explanations read: lanes, agents, entries; rows in, values out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from app.models.words import SENIORS
from app.routing import availability
from app.routing.lanes import Head, Lane
from app.routing.rings import requirement
from app.routing.views import LONG_AGO, AgentView, LeftOut, Waiting

NAMED = 50
Aside: TypeAlias = dict[LeftOut, tuple[int, list[UUID]]]
"""How many agents stand aside for a reason, and the first of them."""

_PRESENT = availability.PRESENT.format("a.id")
_SENIOR = "role IN ({})".format(", ".join(f"'{role}'" for role in sorted(SENIORS)))
_LANES = f"""
    SELECT l.*, q.skills AS queue_skills, q.rings::text AS rings, now() AS moment
    FROM lanes_v1() l LEFT JOIN queue q ON q.id = l.queue_id
    WHERE EXISTS (SELECT 1 FROM agent a WHERE a.active AND a.availability = 'online' AND a.load < a.capacity AND {_PRESENT})
"""
# Memberships are looked up by agent: few are free when many wait.
_FREE = f"""
    WITH free AS MATERIALIZED (
        SELECT a.* FROM agent a
        WHERE a.active AND a.availability = 'online' AND a.load < a.capacity AND {_PRESENT}
    ), served AS (
        SELECT m.agent_id, array_agg(m.queue_id) AS queues, array_agg(m.level) AS levels
        FROM queue_agent m
        WHERE m.agent_id = ANY(ARRAY(SELECT f.id FROM free f)) AND m.queue_id = ANY($1::uuid[])
        GROUP BY m.agent_id
    )
    SELECT f.id, f.role, f.active, f.availability, true AS present, f.capacity, f.load, f.last_offered_at, f.skills,
           f.languages, coalesce(s.queues, '{{}}') AS queues, coalesce(s.levels, '{{}}') AS levels
    FROM free f LEFT JOIN served s ON s.agent_id = f.id
    WHERE s.agent_id IS NOT NULL OR f.id = ANY($2::uuid[]) OR ($3::bool AND f.{_SENIOR})
"""
_AGENTS = f"""
    SELECT a.id, a.role, a.active, a.availability, {_PRESENT} AS present, a.capacity, a.load, a.last_offered_at, a.skills,
           a.languages, coalesce(s.queues, '{{}}') AS queues, coalesce(s.levels, '{{}}') AS levels
    FROM agent a
    LEFT JOIN (SELECT m.agent_id, array_agg(m.queue_id) AS queues, array_agg(m.level) AS levels
               FROM queue_agent m GROUP BY m.agent_id) s ON s.agent_id = a.id
    WHERE a.active AND ($1::uuid[] IS NULL OR a.id = ANY($1))
"""
_HEADS = "SELECT * FROM heads_v1($1::jsonb, $2)"
# Counted in the database: of a thousand who stand aside, fifty come over the wire.
_ASIDE = f"""
    WITH asked AS (
        SELECT k.queue_id, k.escalated, m.agent_id
        FROM unnest($1::uuid[], $2::bool[]) AS k(queue_id, escalated)
        CROSS JOIN LATERAL (
            SELECT m.agent_id FROM queue_agent m WHERE m.queue_id = k.queue_id
            UNION SELECT s.id FROM agent s WHERE k.escalated AND s.{_SENIOR}) m
    ), reasoned AS (
        SELECT k.queue_id, k.escalated, a.id, CASE
            WHEN a.availability <> 'online' THEN 'not_online'
            WHEN NOT {_PRESENT} THEN 'no_live_socket'
            WHEN a.load >= a.capacity THEN 'no_free_capacity' END AS reason
        FROM asked k JOIN agent a ON a.id = k.agent_id
        WHERE a.active AND a.id <> ALL($3::uuid[])
    )
    SELECT queue_id, escalated, reason, count(*)::int AS agents, (array_agg(id ORDER BY id))[:{NAMED}] AS named
    FROM reasoned WHERE reason IS NOT NULL
    GROUP BY queue_id, escalated, reason
"""
# One entry with what its head would tell (heads_v1), in whatever state it is.
_ENTRY = """
    SELECT e.conversation_id, e.queue_id, e.state, e.weight, e.skills, e.escalated, e.specialists, e.ring,
           e.target_agent_id, e.target_until, e.excluded, e.round_at, e.note, e.enqueued_at, e.entered_at, e.order_at,
           e.next_at, now() AS moment, e.boosts::text AS boosts, extract(epoch FROM now() - e.enqueued_at)::float8 AS waited_s,
           q.skills AS queue_skills, q.rings::text AS rings, c.assignee_id, p.language, c.status AS status,
           coalesce(c.owner_id, last_agent_v1(c.id, c.contact_id, q.sticky_window_s)) AS preferred_id,
           (q.sticky_wait_s - extract(epoch FROM now() - e.entered_at))::float8 AS preferred_for_s
    FROM queue_entry e
    JOIN queue q ON q.id = e.queue_id
    JOIN conversation c ON c.id = e.conversation_id
    JOIN contact p ON p.id = c.contact_id
    WHERE e.conversation_id = $1
"""
_BEFORE_ALL = "-infinity"
_NOBODY: frozenset[UUID] = frozenset()


async def lanes(connection: asyncpg.Connection) -> tuple[list[Lane], datetime]:
    """Where something waits, and the database's time; nothing when nobody is free. What is meant for one agent is a
    lane of its own, of no queue."""
    rows = await connection.fetch(_LANES)
    return [_lane(row) for row in rows], rows[0]["moment"] if rows else LONG_AGO


def _lane(row: Mapping[str, Any]) -> Lane:
    if (target := row["target_agent_id"]) is not None:
        return Lane(Waiting(target, target, 1, target_agent_id=target), {"target": target})
    key = {name: row[name] for name in ("queue_id", "escalated", "weight", "ring", "skills", "specialists")}
    rings = orjson.loads(row["rings"])
    skills, max_level = requirement(row["queue_skills"], row["skills"], rings, row["ring"])
    like = Waiting(
        conversation_id=row["queue_id"],
        queue_id=row["queue_id"],
        weight=row["weight"],
        skills=skills,
        max_level=max_level,
        escalated=row["escalated"],
        specialists=frozenset(row["specialists"]),
        ring=row["ring"],
    )
    return Lane(like, key)


async def free_agents(connection: asyncpg.Connection, lanes: Sequence[Lane]) -> list[AgentView]:
    """Those who could be offered something of these lanes."""
    queue_ids = {lane.like.queue_id for lane in lanes if lane.like.target_agent_id is None}
    targets = {lane.like.target_agent_id for lane in lanes} - {None}
    escalated = any(lane.like.escalated for lane in lanes)
    return [view(row) for row in await connection.fetch(_FREE, list(queue_ids), list(targets), escalated)]


async def agents(connection: asyncpg.Connection, ids: Collection[UUID] | None = None) -> list[AgentView]:
    """These, or all who are active, whatever they do."""
    return [view(row) for row in await connection.fetch(_AGENTS, None if ids is None else list(ids))]


def view(row: Mapping[str, Any]) -> AgentView:
    return AgentView(
        id=row["id"],
        role=row["role"],
        queues=dict(zip(row["queues"], row["levels"], strict=True)),
        capacity=row["capacity"],
        load=row["load"],
        availability=row["availability"],
        active=row["active"],
        present=row["present"],
        idle_since=row["last_offered_at"],
        skills=frozenset(row["skills"]),
        languages=frozenset(row["languages"]),
    )


async def heads(
    connection: asyncpg.Connection, wanted: Sequence[Lane], patience_s: float
) -> list[tuple[list[Head], int]]:
    """The next entries of each lane, without those that are done already; and how many there were with those.

    A lane's `after` moves with them. `extra` is the channel's type.
    """
    asked = orjson.dumps([_asked(n, lane) for n, lane in enumerate(wanted)], default=str).decode()
    found: list[list[Head]] = [[] for _ in wanted]
    counts = [0] * len(wanted)
    alike = [replace(lane.like, waited_s=patience_s) if lane.overdue else None for lane in wanted]
    for row in await connection.fetch(_HEADS, asked, patience_s):
        n, key = row["n"], (row["order_at"], row["conversation_id"])
        lane = wanted[n]
        counts[n] += 1
        lane.after = max(lane.after or key, key)
        if row["working"]:
            own = row["excluded"] or row["assignee_id"] is not None
            entry = alike[n] if alike[n] is not None and not own else _entry(row, lane.like)
            found[n].append(Head(key, entry, row["channel_type"]))
    return list(zip(found, counts, strict=True))


def _asked(n: int, lane: Lane) -> dict[str, Any]:
    after_at, after_id = lane.after or (_BEFORE_ALL, UUID(int=0))
    return {**lane.key, "n": n, "after_at": after_at, "after_id": after_id, "page": lane.page, "overdue": lane.overdue}


def _entry(row: Mapping[str, Any], like: Waiting) -> Waiting:
    return Waiting(
        conversation_id=row["conversation_id"],
        queue_id=row["queue_id"],
        weight=row["weight"],
        skills=like.skills,
        max_level=like.max_level,
        language=row["language"],
        escalated=row["escalated"],
        specialists=like.specialists,
        ring=like.ring,
        assignee_id=row["assignee_id"],
        target_agent_id=like.target_agent_id,
        excluded=frozenset(map(UUID, row["excluded"])) if row["excluded"] else _NOBODY,
        preferred_agent_id=row["preferred_id"],
        preferred_for_s=max(row["preferred_for_s"], 0.0),
        waited_s=row["waited_s"],
        closed=like.closed,
        boosts=orjson.loads(row["boosts"]) if row["boosts"] else {},
    )


async def entry(connection: asyncpg.Connection, conversation_id: UUID) -> Mapping[str, Any] | None:
    """The entry's row with what its queue asks for."""
    row: Mapping[str, Any] | None = await connection.fetchrow(_ENTRY, conversation_id)
    return row


def waiting(row: Mapping[str, Any]) -> Waiting:
    """That row as the dispatcher sees an entry."""
    like = _lane(row).like
    return _entry(row, like)


async def aside(
    connection: asyncpg.Connection, entries: Sequence[Waiting], planned: Sequence[UUID]
) -> dict[tuple[UUID, bool], Aside]:
    """By (queue, escalated): agents it would ask who take no offers now, and why; not those who were planned with."""
    kinds = list({(entry.queue_id, entry.escalated) for entry in entries if entry.target_agent_id is None})
    if not kinds:
        return {}
    rows = await connection.fetch(_ASIDE, [kind[0] for kind in kinds], [kind[1] for kind in kinds], planned)
    found: dict[tuple[UUID, bool], Aside] = {}
    for row in rows:
        by_reason = found.setdefault((row["queue_id"], row["escalated"]), {})
        by_reason[LeftOut(row["reason"])] = (row["agents"], row["named"])
    return found
