"""Figures kept by differences: what adds to one leaves a row behind in its own transaction, a loop adds the rows up, and a
report reads both. So nobody waits for a busy figure, and none is ever counted again."""

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


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` in the order of what it is cut by: the value of each (None: none), and the figures by their names."""

    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, int]]]
    total: Mapping[str, int]
    cut_off: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """Figures of `table`, one row per `key` (its first column is a day in UTC), with differences in `<table>_delta`.

    `joins` bring in what the columns of `by` show: what a report can be cut by, as id, name and type where there are
    several. `filters` are conditions by the name of their parameter. In all three `f` is the figures' row.
    """

    table: str
    key: Sequence[str]
    figures: Sequence[str]
    joins: str
    by: Mapping[str, Sequence[str]]
    filters: Mapping[str, str]

    async def fold(self, session: AsyncSession) -> int:
        """Add up to BATCH differences, each in the transaction that takes it away; how many there were.

        Rows are added in the order of their keys: two processes that fold at once wait for each other, never in a ring.
        """
        key, names = ", ".join(self.key), ", ".join(self.figures)
        statement = text(f"""
            WITH taken AS (
                DELETE FROM {self.table}_delta
                WHERE id IN (SELECT id FROM {self.table}_delta ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
                RETURNING *
            ), added AS (
                INSERT INTO {self.table} AS a (id, {key}, {names})
                SELECT gen_random_uuid(), {key}, {", ".join(f"sum({name})" for name in self.figures)}
                FROM taken GROUP BY {key} ORDER BY {key}
                ON CONFLICT ({key}) DO UPDATE
                SET {", ".join(f"{name} = a.{name} + excluded.{name}" for name in self.figures)}
            )
            SELECT count(*) FROM taken
        """)
        taken: int = (await session.execute(statement, {"limit": BATCH})).scalar_one()
        return taken

    async def report(
        self, session: AsyncSession, *, since: date, until: date, by: Sequence[str], where: Mapping[str, str | UUID]
    ) -> Report:
        """Of the days from `since` to `until`, both included. One statement: what is added meanwhile counts once."""
        columns = [column for name in by for column in self.by[name]]
        named = ", ".join(f"{column} AS k{number}" for number, column in enumerate(columns))
        order = ", ".join(f"k{number} NULLS FIRST" for number in range(len(columns)))
        sums = ", ".join(f"coalesce(sum(f.{name}), 0)::bigint AS {name}" for name in self.figures)
        stored = f"SELECT {', '.join((*self.key, *self.figures))} FROM {self.table}"
        filters = "".join(f" AND {self.filters[name]}" for name in where)
        statement = text(f"""
            SELECT {named}, grouping({", ".join(columns)}) <> 0 AS whole, {sums}
            FROM (
                {stored} WHERE day BETWEEN :since AND :until
                UNION ALL {stored}_delta WHERE day BETWEEN :since AND :until
            ) f
            {self.joins}
            WHERE true{filters}
            GROUP BY GROUPING SETS (({", ".join(columns)}), ())
            ORDER BY whole DESC, {order}
            LIMIT {ROWS + 2}
        """)
        total, *rows = (await session.execute(statement, {"since": since, "until": until, **where})).all()
        shown = [(self._keys(by, row), self._figures(row)) for row in rows[:ROWS]]
        return Report(rows=shown, total=self._figures(total), cut_off=len(rows) > ROWS)

    def _figures(self, row: Row[Any]) -> dict[str, int]:
        return {name: getattr(row, name) for name in self.figures}

    def _keys(self, by: Sequence[str], row: Row[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        place = 0
        for name in by:
            values = tuple(row[place : place + len(self.by[name])])
            place += len(values)
            plain = len(values) == 1 or values[0] is None
            found[name] = values[0] if plain else dict(zip(("id", "name", "type"), values, strict=False))
        return found


class Folder:
    """Steps until all differences of a ledger are added up. Works on any number of processes."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database, self._ledger = database, ledger

    async def step(self) -> float | None:
        """0 when there is more."""
        async with self._database.begin() as session:
            taken = await self._ledger.fold(session)
        return 0 if taken == BATCH else None
