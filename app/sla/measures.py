"""How a clock that fires is told: the frame that agents get, and what is counted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prometheus_client import Counter, Histogram
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import after_commit
from app.events import shapes
from app.models import Conversation, SlaClock, SlaPolicy

FIRED = Counter("roundtrip_sla_fired_total", "Warnings, breaches and escalations of SLA clocks", ["metric", "stage"])
LAG = Histogram(
    "roundtrip_sla_lag_seconds",
    "From the moment of a warning, deadline or escalation until it was noticed",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
)

Fired = tuple[str, str, float]


def count(session: AsyncSession, fired: Iterable[Fired]) -> None:
    """(metric, stage, seconds too late) of each, once the transaction is durable."""
    kept = list(fired)

    def counted() -> None:
        for metric, stage, lag_s in kept:
            FIRED.labels(metric, stage).inc()
            LAG.observe(max(lag_s, 0))

    if kept:
        after_commit(session, counted)


def lag_s(clock: SlaClock, at: datetime) -> float:
    """How long a breach went unnoticed: since its deadline, or since the clock was given that deadline."""
    known = [moment for moment in (clock.due_at, clock.retargeted_at) if moment is not None]
    return (at - max(known)).total_seconds() if known else 0.0


def frame(conversation: Conversation, clock: SlaClock, policy: SlaPolicy) -> dict[str, Any]:
    """The payload of `sla.warned`, `sla.breached`, `sla.escalated`; fire.sql makes the same for a batch.

    `retargeted`: the deadline had passed when the clock was given this limit.
    """
    return {
        "clock": {
            "metric": clock.metric,
            "target_s": clock.target_s,
            "due_at": shapes.moment(clock.due_at),
            "cycle": clock.cycle,
            "policy": policy.code,
            "level": clock.level,
            "retargeted": bool(clock.retargeted_at and clock.due_at and clock.due_at <= clock.retargeted_at),
        },
        "conversation": {
            "id": str(conversation.id),
            "status": conversation.status,
            "category": conversation.category,
            "queue_id": _text(conversation.queue_id),
            "assignee_id": _text(conversation.assignee_id),
            "owner_id": _text(conversation.owner_id),
        },
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
