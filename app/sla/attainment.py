"""Which limits were kept: figures by day, added up from what each clock left behind, read with what is not added yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database

BATCH = 5_000
ROWS = 10_000
"""A report has no more rows than this."""
_KEY = "day, policy_id, metric, channel_id, queue_id, agent_id"
# Rows are added in the order of their keys: two processes that fold at once wait for each other, never in a ring.
_FOLD = text(f"""
    WITH taken AS (
        DELETE FROM sla_attainment_delta
        WHERE id IN (SELECT id FROM sla_attainment_delta ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
        RETURNING *
    ), added AS (
        INSERT INTO sla_attainment AS a (id, {_KEY}, met, breached, late, elapsed_us)
        SELECT gen_random_uuid(), {_KEY}, sum(met), sum(breached), sum(late), sum(elapsed_us)
        FROM taken GROUP BY {_KEY} ORDER BY {_KEY}
        ON CONFLICT ({_KEY}) DO UPDATE
        SET met = a.met + excluded.met, breached = a.breached + excluded.breached, late = a.late + excluded.late,
            elapsed_us = a.elapsed_us + excluded.elapsed_us
    )
    SELECT count(*) FROM taken
""")
_FACTS = f"{_KEY}, met, breached, late, elapsed_us"

BY: Mapping[str, Sequence[str]] = {
    "day": ("f.day",),
    "policy": ("p.code",),
    "metric": ("f.metric",),
    "channel": ("f.channel_id", "c.name", "c.type"),
    "queue": ("f.queue_id", "q.name"),
    "agent": ("f.agent_id", "g.name"),
}
"""What a report can be cut by, and the columns that say so."""
_FILTERS = {
    "policy": "p.code = :policy",
    "metric": "f.metric = :metric",
    "channel_id": "f.channel_id = :channel_id",
    "queue_id": "f.queue_id = :queue_id",
    "agent_id": "f.agent_id = :agent_id",
}


class Folder:
    """Each delta is added once: it goes in the transaction that adds it. Works on any number of processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """0 when there is more."""
        async with self._database.begin() as session:
            taken: int = (await session.execute(_FOLD, {"limit": BATCH})).scalar_one()
        return 0 if taken == BATCH else None


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
    """The figures of days (UTC) from `since` to `until`, both included, cut by keys of BY.

    `where`: policy (its code), metric, channel_id, queue_id, agent_id. One statement: what is being added meanwhile
    is counted once.
    """
    columns = [column for name in by for column in BY[name]]
    named = ", ".join(f"{column} AS k{number}" for number, column in enumerate(columns))
    order = ", ".join(f"k{number} NULLS FIRST" for number in range(len(columns)))
    filters = "".join(f" AND {_FILTERS[name]}" for name in where)
    statement = text(f"""
        SELECT {named}, grouping({", ".join(columns)}) <> 0 AS whole,
               coalesce(sum(f.met), 0)::bigint AS met, coalesce(sum(f.breached), 0)::bigint AS breached,
               coalesce(sum(f.late), 0)::bigint AS late, coalesce(sum(f.elapsed_us), 0)::bigint AS elapsed_us
        FROM (
            SELECT {_FACTS} FROM sla_attainment WHERE day BETWEEN :since AND :until
            UNION ALL SELECT {_FACTS} FROM sla_attainment_delta WHERE day BETWEEN :since AND :until
        ) f
        JOIN sla_policy p ON p.id = f.policy_id
        LEFT JOIN channel c ON c.id = f.channel_id
        LEFT JOIN queue q ON q.id = f.queue_id
        LEFT JOIN agent g ON g.id = f.agent_id
        WHERE true{filters}
        GROUP BY GROUPING SETS (({", ".join(columns)}), ())
        ORDER BY whole DESC, {order}
        LIMIT {ROWS + 2}
    """)
    total, *rows = (await session.execute(statement, {"since": since, "until": until, **where})).all()
    return Report(
        rows=[(_keys(by, row), _figures(row)) for row in rows[:ROWS]],
        total=_figures(total),
        cut_off=len(rows) > ROWS,
    )


def _keys(by: Sequence[str], row: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = 0
    for name in by:
        values = tuple(row[place : place + len(BY[name])])
        place += len(values)
        found[name] = values[0] if len(values) == 1 else _named(name, values)
    return found


def _named(name: str, values: tuple[Any, ...]) -> dict[str, Any] | None:
    if values[0] is None:
        return None
    fields = ("id", "name", "type")[: len(values)]
    return dict(zip(fields, values, strict=True))


def _figures(row: Row[Any]) -> Figures:
    return Figures(row.met, row.breached, row.late, row.elapsed_us)
