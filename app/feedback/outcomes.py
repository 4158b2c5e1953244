"""What became of resolutions: every step of a cycle adds to the figures of the day, channel, queue and agent of its
resolution, so that rates compare like with like; a loop adds the differences up, and a report reads both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database
from app.models import OutcomeDelta, ResolutionCycle, SurveyResponse

BATCH = 5_000
ROWS = 10_000
"""A report has no more rows than this."""
FIGURES = (
    "resolved", "matters", "complaints", "confirmed", "by_silence", "rejected", "reopened", "first_contact",
    "csat_count", "csat_sum", "csat_good", "nps_count", "promoters", "detractors", "recoveries", "recovered",
)  # fmt: skip
"""`resolved`: cycles. `matters`: those that were the first of their conversation, `complaints` of these. `confirmed`, some of
them `by_silence`, `rejected`. `reopened`: the conversation went on after it, for whatever reason. `first_contact`: confirmed
in the first cycle and not reopened since. `csat_good`: 4 or 5. `promoters`: 9 or 10, `detractors`: 0 to 6.
`recoveries`: tasks to make it good, `recovered`: those that ended well."""
GOOD, PROMOTER, DETRACTOR = 4, 9, 6
_KEY = "day, channel_id, queue_id, agent_id"
_NAMES = ", ".join(FIGURES)
_FOLD = text(f"""
    WITH taken AS (
        DELETE FROM outcome_delta
        WHERE id IN (SELECT id FROM outcome_delta ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
        RETURNING *
    ), added AS (
        INSERT INTO outcome AS o (id, {_KEY}, {_NAMES})
        SELECT gen_random_uuid(), {_KEY}, {", ".join(f"sum({name})" for name in FIGURES)}
        FROM taken GROUP BY {_KEY} ORDER BY {_KEY}
        ON CONFLICT ({_KEY}) DO UPDATE SET {", ".join(f"{name} = o.{name} + excluded.{name}" for name in FIGURES)}
    )
    SELECT count(*) FROM taken
""")
BY: Mapping[str, Sequence[str]] = {
    "day": ("f.day",),
    "channel": ("f.channel_id", "c.name", "c.type"),
    "queue": ("f.queue_id", "q.name"),
    "agent": ("f.agent_id", "g.name"),
}
"""What a report can be cut by, and the columns that say so."""


def count(session: AsyncSession, cycle: ResolutionCycle, **figures: int) -> None:
    """Add to the figures of its resolution, in the caller's transaction."""
    if any(figures.values()):
        session.add(
            OutcomeDelta(
                day=cycle.created_at.astimezone(UTC).date(),
                channel_id=cycle.channel_id,
                queue_id=cycle.queue_id,
                agent_id=cycle.resolved_by,
                **figures,
            )
        )


def ratings(response: SurveyResponse) -> dict[str, int]:
    """What a response adds as it is."""
    csat, nps = response.csat, response.nps
    return {
        "csat_count": int(csat is not None),
        "csat_sum": csat or 0,
        "csat_good": int(csat is not None and csat >= GOOD),
        "nps_count": int(nps is not None),
        "promoters": int(nps is not None and nps >= PROMOTER),
        "detractors": int(nps is not None and nps <= DETRACTOR),
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
class Report:
    """`rows` in the order of what it is cut by: the value of each (None: none), and the figures by their names."""

    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, int]]]
    total: Mapping[str, int]
    cut_off: bool


async def report(
    session: AsyncSession, *, since: date, until: date, by: Sequence[str], where: Mapping[str, UUID]
) -> Report:
    """Of resolutions made on days (UTC) from `since` to `until`, both included. `where`: channel_id, queue_id, agent_id."""
    columns = [column for name in by for column in BY[name]]
    named = ", ".join(f"{column} AS k{number}" for number, column in enumerate(columns))
    order = ", ".join(f"k{number} NULLS FIRST" for number in range(len(columns)))
    sums = ", ".join(f"coalesce(sum(f.{name}), 0)::bigint AS {name}" for name in FIGURES)
    filters = "".join(f" AND f.{name} = :{name}" for name in where if name in ("channel_id", "queue_id", "agent_id"))
    statement = text(f"""
        SELECT {named}, grouping({", ".join(columns)}) <> 0 AS whole, {sums}
        FROM (
            SELECT {_KEY}, {_NAMES} FROM outcome WHERE day BETWEEN :since AND :until
            UNION ALL SELECT {_KEY}, {_NAMES} FROM outcome_delta WHERE day BETWEEN :since AND :until
        ) f
        LEFT JOIN channel c ON c.id = f.channel_id
        LEFT JOIN queue q ON q.id = f.queue_id
        LEFT JOIN agent g ON g.id = f.agent_id
        WHERE true{filters}
        GROUP BY GROUPING SETS (({", ".join(columns)}), ())
        ORDER BY whole DESC, {order}
        LIMIT {ROWS + 2}
    """)
    total, *rows = (await session.execute(statement, {"since": since, "until": until, **where})).all()
    shown = [(_keys(by, row), _figures(row)) for row in rows[:ROWS]]
    return Report(rows=shown, total=_figures(total), cut_off=len(rows) > ROWS)


def _figures(row: Row[Any]) -> dict[str, int]:
    return {name: getattr(row, name) for name in FIGURES}


def _keys(by: Sequence[str], row: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = 0
    for name in by:
        values = tuple(row[place : place + len(BY[name])])
        place += len(values)
        if len(values) == 1 or values[0] is None:
            found[name] = values[0]
        else:
            found[name] = dict(zip(("id", "name", "type"), values, strict=False))
    return found
