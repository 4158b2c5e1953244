"""`/reports`: figures over time."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy import text

from app.desk.auth import Supervisor
from app.desk.endpoints.shared import Shape, api_router
from app.edge import SessionDep
from app.errors import Invalid
from app.models.words import ClockMetric
from app.sla import attainment
from app.sla.attainment import Figures

router = api_router("reports")
By = Literal["day", "policy", "metric", "channel", "queue", "agent"]
DAYS = 30
MOST_DAYS = 3_660
_TODAY = text("SELECT (now() AT TIME ZONE 'UTC')::date")


class FiguresShape(Shape):
    """`attainment` is the percentage of `met` of `met` and `breached`; `late` of the breached were met after all.

    Business time, in seconds of their calendars, of those that were met, late or not: `average_s` and `total_s`.
    """

    met: int
    breached: int
    late: int
    attainment: float | None
    average_s: float | None
    total_s: float


class SlaRow(FiguresShape):
    """What it is cut by: `day` a date, `policy` and `metric` words, the others `{id, name}`, or null for none."""

    day: date | None = None
    policy: str | None = None
    metric: str | None = None
    channel: dict[str, Any] | None = None
    queue: dict[str, Any] | None = None
    agent: dict[str, Any] | None = None


class SlaReport(Shape):
    """`cut_off`: there were more than 10,000 rows; `total` counts them all."""

    since: Annotated[date, Field(serialization_alias="from")]
    until: Annotated[date, Field(serialization_alias="to")]
    by: list[By]
    total: FiguresShape
    items: list[SlaRow]
    cut_off: bool


@router.get("/reports/sla", response_model_exclude_unset=True)
async def sla_report(
    session: SessionDep,
    _: Supervisor,
    since: Annotated[date | None, Query(alias="from", description="a day in UTC; 30 days by default")] = None,
    until: Annotated[date | None, Query(alias="to", description="the last day, included; today by default")] = None,
    by: Annotated[list[By] | None, Query(description="may be given several times; `policy` by default")] = None,
    policy: Annotated[str | None, Query(max_length=100, description="code, all versions")] = None,
    metric: ClockMetric | None = None,
    channel_id: UUID | None = None,
    queue_id: UUID | None = None,
    agent_id: UUID | None = None,
) -> SlaReport:
    """Which time limits were kept: a limit counts on the day it was met or missed, for who had the matter then."""
    last = until or (await session.execute(_TODAY)).scalar_one()
    first = since or last - timedelta(days=DAYS - 1)
    if first > last:
        raise Invalid("must not be after `to`", field="from")
    if (last - first).days >= MOST_DAYS:
        raise Invalid(f"must not be more than {MOST_DAYS} days before `to`", field="from")
    cut = list(dict.fromkeys(by or ["policy"]))
    named = {"policy": policy, "metric": metric, "channel_id": channel_id, "queue_id": queue_id, "agent_id": agent_id}
    where = {name: value for name, value in named.items() if value is not None}
    found = await attainment.report(session, since=first, until=last, by=cut, where=where)
    return SlaReport(
        since=first,
        until=last,
        by=cut,
        total=FiguresShape(**_shown(found.total)),
        items=[SlaRow(**keys, **_shown(figures)) for keys, figures in found.rows],
        cut_off=found.cut_off,
    )


def _shown(figures: Figures) -> dict[str, Any]:
    return {
        "met": figures.met,
        "breached": figures.breached,
        "late": figures.late,
        "attainment": figures.percent,
        "average_s": figures.average_s,
        "total_s": figures.elapsed_us / 1_000_000,
    }
