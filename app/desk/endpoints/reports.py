"""`/reports`: figures over time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.auth import Supervisor
from app.desk.endpoints.shared import GivenDay, Shape, api_router
from app.edge import SessionDep
from app.errors import Invalid
from app.feedback import outcomes
from app.models.words import ClockMetric
from app.sla import attainment
from app.sla.attainment import Figures

router = api_router("reports")
By = Literal["day", "policy", "metric", "channel", "queue", "agent"]
OutcomeBy = Literal["day", "channel", "queue", "agent"]
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


class OutcomeFigures(Shape):
    """Of resolutions. `reopened` went on after it, for whatever reason; `first_contact` were confirmed in their first cycle and
    stayed so; `unasked` were closed by time although no receipt reached the customer. Percentages: `confirmation_rate` and `reopen_rate` of `resolved`, `first_contact_rate` and `complaint_rate` of
    `matters` (first cycles), `csat` of ratings that were 4 or 5, `nps` promoters less detractors, `recovery_rate` the
    `recovered` of `recoveries`; null where nothing counts.
    """

    resolved: int
    matters: int
    complaints: int
    confirmed: int
    by_silence: int
    unasked: int
    rejected: int
    reopened: int
    first_contact: int
    recoveries: int
    recovered: int
    ratings: int
    csat_average: float | None
    csat: float | None
    nps: float | None
    confirmation_rate: float | None
    reopen_rate: float | None
    first_contact_rate: float | None
    complaint_rate: float | None
    recovery_rate: float | None


class OutcomeRow(OutcomeFigures):
    """What it is cut by: `day` a date, the others `{id, name}`, or null for none."""

    day: date | None = None
    channel: dict[str, Any] | None = None
    queue: dict[str, Any] | None = None
    agent: dict[str, Any] | None = None


class OutcomeReport(Shape):
    """`cut_off`: there were more than 10,000 rows; `total` counts them all."""

    since: Annotated[date, Field(serialization_alias="from")]
    until: Annotated[date, Field(serialization_alias="to")]
    by: list[OutcomeBy]
    total: OutcomeFigures
    items: list[OutcomeRow]
    cut_off: bool


@router.get("/reports/outcomes", response_model_exclude_unset=True)
async def outcome_report(
    session: SessionDep,
    _: Supervisor,
    since: Annotated[GivenDay | None, Query(alias="from", description="a day in UTC; 30 days by default")] = None,
    until: Annotated[GivenDay | None, Query(alias="to", description="the last day, included; today by default")] = None,
    by: Annotated[list[OutcomeBy] | None, Query(description="may be given several times; `day` by default")] = None,
    channel_id: UUID | None = None,
    queue_id: UUID | None = None,
    agent_id: UUID | None = None,
) -> OutcomeReport:
    """What became of what was resolved on these days: confirmed, reopened, rated. The agent is who resolved it."""
    first, last = await _days(session, since, until)
    cut = list(dict.fromkeys(by or ["day"]))
    named = {"channel_id": channel_id, "queue_id": queue_id, "agent_id": agent_id}
    where = {name: value for name, value in named.items() if value is not None}
    found = await outcomes.report(session, since=first, until=last, by=cut, where=where)
    return OutcomeReport(
        since=first,
        until=last,
        by=cut,
        total=OutcomeFigures(**_outcome(found.total)),
        items=[OutcomeRow(**keys, **_outcome(figures)) for keys, figures in found.rows],
        cut_off=found.cut_off,
    )


def _outcome(figures: Mapping[str, int]) -> dict[str, Any]:
    f = figures
    counted = (
        "resolved", "matters", "complaints", "confirmed", "by_silence", "unasked", "rejected", "reopened",
        "first_contact", "recoveries", "recovered",
    )  # fmt: skip
    return {
        **{name: f[name] for name in counted},
        "ratings": f["csat_count"],
        "csat_average": round(f["csat_sum"] / f["csat_count"], 2) if f["csat_count"] else None,
        "csat": _percent(f["csat_good"], f["csat_count"]),
        "nps": _percent(f["promoters"] - f["detractors"], f["nps_count"]),
        "confirmation_rate": _percent(f["confirmed"], f["resolved"]),
        "reopen_rate": _percent(f["reopened"], f["resolved"]),
        "first_contact_rate": _percent(f["first_contact"], f["matters"]),
        "complaint_rate": _percent(f["complaints"], f["matters"]),
        "recovery_rate": _percent(f["recovered"], f["recoveries"]),
    }


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


async def _days(session: AsyncSession, since: date | None, until: date | None) -> tuple[date, date]:
    """The first and the last day of a report. Raises Invalid."""
    last = until or (await session.execute(_TODAY)).scalar_one()
    first = since or last - timedelta(days=DAYS - 1)
    if first > last:
        raise Invalid("must not be after `to`", field="from")
    if (last - first).days >= MOST_DAYS:
        raise Invalid(f"must not be more than {MOST_DAYS} days before `to`", field="from")
    return first, last


@router.get("/reports/sla", response_model_exclude_unset=True)
async def sla_report(
    session: SessionDep,
    _: Supervisor,
    since: Annotated[GivenDay | None, Query(alias="from", description="a day in UTC; 30 days by default")] = None,
    until: Annotated[GivenDay | None, Query(alias="to", description="the last day, included; today by default")] = None,
    by: Annotated[list[By] | None, Query(description="may be given several times; `policy` by default")] = None,
    policy: Annotated[str | None, Query(max_length=100, description="code, all versions")] = None,
    metric: ClockMetric | None = None,
    channel_id: UUID | None = None,
    queue_id: UUID | None = None,
    agent_id: UUID | None = None,
) -> SlaReport:
    """Which time limits were kept: a limit counts on the day it was met or missed, for who had the matter then."""
    first, last = await _days(session, since, until)
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
