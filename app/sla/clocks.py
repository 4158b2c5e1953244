"""The clocks of one conversation, whose row the caller holds: started, met, paused, resumed, cancelled, explained.

Moments are the database's, read while the conversation is held: so whether a deadline was kept does not depend on who
came first, the one who met it or the watcher. A deadline that has passed is a breach, also when nobody noticed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.events import log as events
from app.events import shapes
from app.ids import new_id
from app.models import Contact, Conversation, SlaPolicy
from app.models.words import ClockMetric, ClockState
from app.sla import escalation, measures
from app.sla.policy import Targets
from app.sla.policy import targets as merged
from app.wakeups import wake

_LIVE = [ClockState.RUNNING.value, ClockState.PAUSED.value]
_START = text("""
    INSERT INTO sla_clock(id, conversation_id, policy_id, metric, cycle, target_s, warn_percent, state, elapsed_us,
                          running_since, warn_at, due_at, next_at)
    SELECT w.id, :conversation, w.policy_id, w.metric, :cycle, w.target_s, w.warn_percent, 'running', 0, now(),
           w.warn_at, now() + make_interval(secs => w.target_s), w.warn_at
    FROM (
        SELECT u.*, now() + make_interval(secs => u.target_s * u.warn_percent / 100.0) AS warn_at
        FROM unnest(CAST(:ids AS uuid[]), CAST(:policies AS uuid[]), CAST(:metrics AS text[]), CAST(:seconds AS int[]),
                    CAST(:percents AS int[])) AS u(id, policy_id, metric, target_s, warn_percent)
    ) w
    ON CONFLICT (conversation_id, metric, cycle) DO NOTHING
""")
_STOP = text("""
    WITH held AS (
        SELECT id, breached_at AS known, clock_timestamp() AS at
        FROM sla_clock
        WHERE conversation_id = :conversation AND metric = ANY(CAST(:metrics AS text[]))
          AND state = ANY(CAST(:states AS text[]))
        ORDER BY id
        FOR UPDATE
    )
    UPDATE sla_clock k
    SET state = CAST(:state AS text),
        met_at = CASE WHEN CAST(:state AS text) = 'met' THEN h.at END,
        elapsed_us = k.elapsed_us + coalesce((extract(epoch FROM h.at - k.running_since) * 1000000)::bigint, 0),
        running_since = NULL,
        next_at = NULL,
        breached_at = CASE WHEN h.known IS NULL AND k.state = 'running' AND k.due_at <= h.at THEN k.due_at ELSE h.known END,
        warn_at = CASE WHEN CAST(:state AS text) <> 'paused' OR h.known IS NOT NULL OR k.due_at <= h.at THEN k.warn_at END,
        due_at = CASE WHEN CAST(:state AS text) <> 'paused' OR h.known IS NOT NULL OR k.due_at <= h.at THEN k.due_at END
    FROM held h
    WHERE k.id = h.id
    RETURNING k.metric, k.target_s, k.due_at, k.cycle, h.known IS NULL AND k.breached_at IS NOT NULL AS missed,
              extract(epoch FROM h.at - k.due_at)::float8 AS lag_s,
              (SELECT p.code FROM sla_policy p WHERE p.id = k.policy_id) AS policy
""")
_RESUME = text("""
    WITH held AS (
        SELECT id, clock_timestamp() AS at
        FROM sla_clock
        WHERE conversation_id = :conversation AND metric = 'resolution' AND state = 'paused'
        FOR UPDATE
    ), moved AS (
        SELECT k.id, h.at, k.breached_at IS NULL AS armed,
               h.at + make_interval(secs => (k.target_s * 10000.0 * k.warn_percent - k.elapsed_us) / 1000000) AS warn_at,
               h.at + make_interval(secs => (k.target_s * 1000000.0 - k.elapsed_us) / 1000000) AS due_at
        FROM sla_clock k JOIN held h ON h.id = k.id
    )
    UPDATE sla_clock k
    SET state = 'running', running_since = m.at,
        warn_at = CASE WHEN m.armed THEN m.warn_at ELSE k.warn_at END,
        due_at = CASE WHEN m.armed THEN m.due_at ELSE k.due_at END,
        next_at = CASE WHEN NOT m.armed THEN NULL WHEN k.warned_at IS NULL THEN m.warn_at ELSE m.due_at END
    FROM moved m
    WHERE k.id = m.id
    RETURNING m.armed
""")
_EXPLAIN = text("""
    SELECT k.*, p.code, p.version, p.name,
           (k.elapsed_us + coalesce(extract(epoch FROM now() - k.running_since) * 1000000, 0)) / 1000000.0 AS elapsed_s,
           extract(epoch FROM now() - k.running_since) AS current_s
    FROM sla_clock k JOIN sla_policy p ON p.id = k.policy_id
    WHERE k.conversation_id = :conversation
    ORDER BY k.cycle, k.metric
""")


async def start(
    session: AsyncSession, conversation: Conversation, *, policy: SlaPolicy, targets: Targets | None = None
) -> None:
    """The clocks of the conversation's cycle run from now. No-op for those that are there.

    `policy` is the version that applies to it; a limit that it leaves open comes from the policies in force, by the
    facts of the conversation. `targets` are the limits where the caller knows them already.
    """
    found = targets or await _targets(session, conversation, policy)
    limits = [
        (metric, by, seconds)
        for metric, by, seconds in (
            (ClockMetric.FIRST_RESPONSE, found.first_response_by, found.first_response_s),
            (ClockMetric.RESOLUTION, found.resolution_by, found.resolution_s),
        )
        if by is not None and seconds is not None
    ]
    if not limits:
        return
    await session.execute(
        _START,
        {
            "conversation": conversation.id,
            "cycle": conversation.cycle,
            "ids": [new_id() for _ in limits],
            "policies": [by.id for _, by, _ in limits],
            "metrics": [metric.value for metric, _, _ in limits],
            "seconds": [seconds for _, _, seconds in limits],
            "percents": [by.warn_percent for _, by, _ in limits],
        },
    )
    await wake(session, "sla")


async def _targets(session: AsyncSession, conversation: Conversation, policy: SlaPolicy) -> Targets:
    current: Sequence[SlaPolicy] = ()
    tier: str | None = None
    if policy.first_response_s is None or policy.resolution_s is None:
        current = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.retired_at).is_(None)))).all()
        tier = (await session.exec(select(Contact.tier).where(col(Contact.id) == conversation.contact_id))).one()
    facts = {
        "channel_type": conversation.channel_type,
        "category": conversation.category,
        "matter": conversation.matter,
        "severity": conversation.severity,
        "tier": tier,
    }
    found = merged(current, facts, first=policy)
    assert found is not None, "there is at least the first one"
    return found


async def meet(session: AsyncSession, conversation: Conversation, metric: ClockMetric) -> None:
    """It has been done: its clock stops for good. One statement, unless it was too late and nobody had noticed."""
    await _stop(session, conversation, ClockState.MET, [metric.value], _LIVE)


async def cancel(session: AsyncSession, conversation: Conversation) -> None:
    """What still runs, or waits to run on, is of no interest any more."""
    await _stop(session, conversation, ClockState.CANCELLED, [metric.value for metric in ClockMetric], _LIVE)


async def pause(session: AsyncSession, conversation: Conversation) -> None:
    """The resolution clock stands still: while it does, it has no deadline. What was missed stays missed."""
    missed = await _stop(
        session, conversation, ClockState.PAUSED, [ClockMetric.RESOLUTION.value], [ClockState.RUNNING.value]
    )
    if missed:
        await escalation.escalate(session, [conversation.id])


async def resume(session: AsyncSession, conversation: Conversation) -> None:
    """It runs on, with a deadline that is later by as long as it stood still."""
    armed = (await session.execute(_RESUME, {"conversation": conversation.id})).scalars().all()
    if any(armed):
        await wake(session, "sla")


async def _stop(
    session: AsyncSession, conversation: Conversation, state: ClockState, metrics: list[str], states: list[str]
) -> list[Row[Any]]:
    """Returns the clocks whose deadline had passed without anybody noticing; that is told now."""
    given = {"conversation": conversation.id, "state": state.value, "metrics": metrics, "states": states}
    stopped = (await session.execute(_STOP, given)).all()
    missed = [row for row in stopped if row.missed]
    for row in missed:
        await events.append(session, conversation, "sla.breached", measures.frame(conversation, row))
    measures.count(session, [(row.metric, "breached", row.lag_s) for row in missed])
    return missed


async def explain(session: AsyncSession, conversation: Conversation) -> list[dict[str, Any]]:
    """Each clock, oldest cycle first: its limit, what was counted, and why it is due when it is.

    Times are RFC 3339, the rest seconds. `remaining_s` is negative when it is late, None when the clock has stopped for
    good; a clock that stands still has no `due_at`.
    """
    rows = (await session.execute(_EXPLAIN, {"conversation": conversation.id})).all()
    return [_explained(row) for row in rows]


def _explained(row: Row[Any]) -> dict[str, Any]:
    elapsed_s = float(row.elapsed_s)
    return {
        "id": str(row.id),
        "policy": {"id": str(row.policy_id), "code": row.code, "version": row.version, "name": row.name},
        "metric": row.metric,
        "cycle": row.cycle,
        "target_s": row.target_s,
        "state": row.state,
        "started_at": shapes.moment(row.created_at),
        "warn_at": shapes.moment(row.warn_at),
        "due_at": shapes.moment(row.due_at),
        "warned_at": shapes.moment(row.warned_at),
        "breached_at": shapes.moment(row.breached_at),
        "met_at": shapes.moment(row.met_at),
        "elapsed_s": elapsed_s,
        "remaining_s": row.target_s - elapsed_s if row.state in _LIVE else None,
        "calendar": "24x7",
        "intervals": _intervals(row),
    }


def _intervals(row: Row[Any]) -> list[dict[str, Any]]:
    """What was counted. Of a clock that was paused we keep how much ran before, not each of the pauses: then
    `counted_s` is less than the length of its interval, and the end is None where it was not kept."""
    counted_s = row.elapsed_us / 1_000_000
    if row.running_since is None:
        return [_interval(row.created_at, row.met_at, counted_s)]
    current = _interval(row.running_since, None, float(row.current_s))
    return [_interval(row.created_at, None, counted_s), current] if row.elapsed_us else [current]


def _interval(start: Any, end: Any, counted_s: float) -> dict[str, Any]:
    return {"from": shapes.moment(start), "to": shapes.moment(end), "counted_s": counted_s}
