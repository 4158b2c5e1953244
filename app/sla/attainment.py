"""Which limits were kept: figures by day, added up from what each clock left behind, read with what is not added yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app import figures

LEDGER = figures.Ledger(
    table="sla_attainment",
    key=("day", "policy_id", "metric", "channel_id", "queue_id", "agent_id"),
    figures=("met", "breached", "late", "elapsed_us"),
    joins="""
        JOIN sla_policy p ON p.id = f.policy_id
        LEFT JOIN channel c ON c.id = f.channel_id
        LEFT JOIN queue q ON q.id = f.queue_id
        LEFT JOIN agent g ON g.id = f.agent_id
    """,
    by={
        "day": ("f.day",),
        "policy": ("p.code",),
        "metric": ("f.metric",),
        "channel": ("f.channel_id", "c.name", "c.type"),
        "queue": ("f.queue_id", "q.name"),
        "agent": ("f.agent_id", "g.name"),
    },
    filters={
        "policy": "p.code = :policy",
        "metric": "f.metric = :metric",
        "channel_id": "f.channel_id = :channel_id",
        "queue_id": "f.queue_id = :queue_id",
        "agent_id": "f.agent_id = :agent_id",
    },
)
Folder = partial(figures.Folder, ledger=LEDGER)


@dataclass(frozen=True, slots=True)
class Figures:
    """`late` of the `breached` were met after all. `elapsed_us` is the business time of those that were met, or late."""

    met: int
    breached: int
    late: int
    elapsed_us: int

    @property
    def percent(self) -> float | None:
        """Kept in time, of those that came to an end or to their deadline; None when there are none."""
        ended = self.met + self.breached
        return round(100 * self.met / ended, 2) if ended else None

    @property
    def average_s(self) -> float | None:
        done = self.met + self.late
        return self.elapsed_us / done / 1_000_000 if done else None


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` in the order of what it is cut by: the value of each (None: none), and the figures."""

    rows: Sequence[tuple[Mapping[str, Any], Figures]]
    total: Figures
    cut_off: bool


async def report(
    session: AsyncSession, *, since: date, until: date, by: Sequence[str], where: Mapping[str, str | UUID]
) -> Report:
    """The figures of days (UTC) from `since` to `until`, both included, cut by what the ledger knows.

    `where`: policy (its code), metric, channel_id, queue_id, agent_id.
    """
    found = await LEDGER.report(session, since=since, until=until, by=by, where=where)
    rows = [(keys, Figures(**values)) for keys, values in found.rows]
    return Report(rows=rows, total=Figures(**found.total), cut_off=found.cut_off)
