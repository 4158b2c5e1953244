"""`/calendars`: when the service is open; exceptions can be imported from iCal."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError, model_validator
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.desk.auth import Admin, CurrentPrincipal
from app.desk.endpoints.queue_checks import SERIAL
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
    GivenMoment,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    api_router,
    change,
    locked,
    not_null,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import Conflict, Invalid
from app.models import Calendar, Queue, SlaPolicy
from app.routing import patience
from app.sla import calendar as clock
from app.sla import ical
from app.sla.hours import CalendarError
from app.wakeups import wake

router = api_router("calendars")
_WHAT = "calendar"
_MOST_EXCEPTIONS = 10_000
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Interval = Annotated[list[str], Field(min_length=2, max_length=2, examples=[["09:00", "18:00"]])]
Hours = Annotated[list[Interval], Field(max_length=48)]
Weekly = dict[Weekday, Hours]
Exceptions = Annotated[dict[str, Hours], Field(max_length=_MOST_EXCEPTIONS, examples=[{"2026-12-25": []}])]


class Holidays(Body):
    """Public holidays are closed. `like` is the weekday whose hours a weekend has that is declared a working day;
    `weekends` says whether the weekend that touches a holiday belongs to it (in CN unless said)."""

    country: Annotated[str, Field(description="ISO 3166-1", examples=["CN"])]
    region: Annotated[str, Field(description="the part of ISO 3166-2 after the dash", examples=["BY"])] | None = None
    categories: list[str] | None = None
    shifted_days: bool = True
    like: Weekday | None = None
    weekends: bool | None = None


class NewCalendar(Body):
    """Times are of the wall in `time_zone`. An interval that ends before it begins ends on the next day, and belongs to
    the day it starts on; `24:00` is the end of a day; a day without intervals is closed."""

    name: Name
    time_zone: str = "UTC"
    weekly: Weekly
    exceptions: Exceptions = Field(default_factory=dict)
    holidays: Holidays | None = None


class CalendarChange(Body):
    """What is given replaces what was there as a whole."""

    name: Name | None = None
    time_zone: str | None = None
    weekly: Weekly | None = None
    exceptions: Exceptions | None = None
    holidays: Holidays | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(not_null("name", "time_zone", "weekly", "exceptions", "active"))


class CalendarShape(Shape):
    id: UUID
    name: str
    time_zone: str
    weekly: dict[str, list[list[str]]]
    exceptions: dict[str, list[list[str]]]
    holidays: dict[str, Any] | None
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


class OpenShape(Shape):
    """`until`: when it closes, or opens again; null when not within two years. `because`: what decided the hours of the
    day that it is in the calendar's zone; `holiday` names the public holiday of that day."""

    at: Moment
    local: str
    open: bool
    until: Moment | None
    because: Literal["exception", "holiday", "shifted_day", "weekly"]
    holiday: str | None


class ImportText(Body):
    ics: str


class ImportedShape(Shape):
    """`imported`: the days that the events changed, with the hours that they have now."""

    imported: dict[str, list[list[str]]]
    calendar: CalendarShape


def _columns(given: Body) -> dict[str, Any]:
    columns = given.given()
    if columns.get("holidays") is not None:
        columns["holidays"] = {name: value for name, value in columns["holidays"].items() if value is not None}
    return columns


def _compiled(row: Calendar) -> clock.Calendar:
    try:
        return clock.from_row(row)
    except CalendarError as error:
        raise Invalid(f"{error.field}: {error.detail}", field=error.field) from error


async def _changed(session: AsyncSession, context: ContextDep, row: Calendar) -> None:
    """Who waits for an opening has to look again."""
    await context.catalog.changed(session)
    for queue_id in (await session.exec(select(Queue.id).where(col(Queue.calendar_id) == row.id))).all():
        await patience.reconsider(session, queue_id)
    await wake(session, "dispatch")


async def _require_unused(session: AsyncSession, row: Calendar) -> None:
    """The caller has taken `SERIAL`: no queue can be given it meanwhile."""
    users = await session.exec(select(Queue.name).where(col(Queue.calendar_id) == row.id, col(Queue.active)).limit(1))
    if (name := users.first()) is not None:
        raise Conflict(f"the queue {name} uses this calendar; give it another one first")
    policies = await session.exec(
        select(SlaPolicy.code).where(col(SlaPolicy.calendar_id) == row.id, col(SlaPolicy.retired_at).is_(None)).limit(1)
    )
    if (code := policies.first()) is not None:
        raise Conflict(f"the policy {code} counts by this calendar; give it another one first")


@router.post("/calendars", status_code=201)
async def create_calendar(
    given: NewCalendar, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> CalendarShape:
    row = Calendar(**_columns(given))
    _compiled(row)
    await save(session, row)
    await record(session, principal, "calendar.created", id=row.id, name=row.name)
    await context.catalog.changed(session)
    tag(response, row)
    return CalendarShape.model_validate(row)


@router.get("/calendars")
async def list_calendars(
    session: SessionDep, _: CurrentPrincipal, paging: PagingDep, active: bool | None = None
) -> Page[CalendarShape]:
    statement = select(Calendar)
    if active is not None:
        statement = statement.where(col(Calendar.active) == active)
    rows, cursor = await page_of(session, statement, col(Calendar.id), paging)
    return Page(items=[CalendarShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/calendars/{calendar_id}")
async def get_calendar(
    calendar_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal
) -> CalendarShape:
    row = await one(session, Calendar, calendar_id, _WHAT)
    tag(response, row)
    return CalendarShape.model_validate(row)


@router.patch("/calendars/{calendar_id}")
async def change_calendar(
    calendar_id: UUID,
    given: CalendarChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> CalendarShape:
    if given.active is False:
        await session.execute(SERIAL)
    row = await locked(session, Calendar, calendar_id, _WHAT)
    require_version(request, row)
    if given.active is False and row.active:
        await _require_unused(session, row)
    changed = change(row, _columns(given))
    _compiled(row)
    await save(session, row, new_version=True)
    await record(session, principal, "calendar.updated", id=row.id, changed=changed)
    await _changed(session, context, row)
    tag(response, row)
    return CalendarShape.model_validate(row)


@router.delete("/calendars/{calendar_id}", status_code=204)
async def deactivate_calendar(calendar_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """No queue can be given it any more; it stays to explain what was counted by it. Refused while a queue uses it."""
    await session.execute(SERIAL)
    row = await locked(session, Calendar, calendar_id, _WHAT)
    if not row.active:
        return
    await _require_unused(session, row)
    change(row, {"active": False})
    await save(session, row, new_version=True)
    await record(session, principal, "calendar.deactivated", id=row.id)
    await _changed(session, context, row)


@router.get("/calendars/{calendar_id}/open")
async def is_open(
    calendar_id: UUID,
    session: SessionDep,
    _: CurrentPrincipal,
    at: Annotated[GivenMoment | None, Query(description="RFC 3339 with its offset; now unless said")] = None,
) -> OpenShape:
    calendar = _compiled(await one(session, Calendar, calendar_id, _WHAT))
    moment = at or now()
    try:
        local = moment.astimezone(calendar.zone)
    except OverflowError:
        raise Invalid("is too far away", field="at") from None
    opened = clock.is_open(calendar, moment)
    return OpenShape(
        at=moment,
        local=local.isoformat(),
        open=opened,
        until=clock.next_closing(calendar, moment) if opened else clock.next_opening(calendar, moment),
        because=calendar.because(local.date()),
        holiday=calendar.holidays.name(local.date()) if calendar.holidays else None,
    )


@router.post(
    "/calendars/{calendar_id}/import",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/calendar": {"schema": {"type": "string"}},
                "application/json": {
                    "schema": {"type": "object", "required": ["ics"], "properties": {"ics": {"type": "string"}}}
                },
            },
        }
    },
)
async def import_exceptions(
    calendar_id: UUID,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
    meaning: Annotated[
        ical.Meaning, Query(description="what an event says: closed then, or open then only")
    ] = "closed",
    years: Annotated[int, Query(ge=1, le=10, description="how many, this one included, rules are followed")] = 5,
) -> ImportedShape:
    """The body is iCal, raw or as `{"ics": ...}`. Its events become exceptions, from January 1st of this year; other
    exceptions stay. `If-Match` is heeded where it is given."""
    ics = _ics(request, await request.body())
    row = await locked(session, Calendar, calendar_id, _WHAT)
    if "if-match" in request.headers:
        require_version(request, row)
    first = now().date().replace(month=1, day=1)
    last = first.replace(year=first.year + years - 1, month=12, day=31)
    try:
        found = await asyncio.to_thread(ical.exceptions, _compiled(row), ics, meaning=meaning, first=first, last=last)
    except CalendarError as error:
        raise Invalid(f"{error.field}: {error.detail}", field=error.field) from error
    imported = {day: [list(pair) for pair in pairs] for day, pairs in found.items()}
    whole = {**row.exceptions, **imported}
    if len(whole) > _MOST_EXCEPTIONS:
        raise Invalid(f"a calendar has at most {_MOST_EXCEPTIONS} exceptions", field="ics")
    change(row, {"exceptions": whole})
    _compiled(row)
    await save(session, row, new_version=True)
    await record(session, principal, "calendar.imported", id=row.id, days=len(imported))
    await _changed(session, context, row)
    tag(response, row)
    return ImportedShape(imported=imported, calendar=CalendarShape.model_validate(row))


def _ics(request: Request, body: bytes) -> str:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        try:
            return ImportText.model_validate_json(body).ics
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("ics: must be UTF-8", field="ics") from None
