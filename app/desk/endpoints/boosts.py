"""`/boosts`: what gives a conversation a head start in its queue, besides its category."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlalchemy import func
from sqlmodel import col, select

from app.desk.auth import Admin, Supervisor
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
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
from app.errors import AlreadyExists, Invalid
from app.models import Boost
from app.models.words import BoostFact, Matter, Severity

router = api_router("routing")
_WHAT = "boost"
_WORDS: dict[BoostFact, set[str]] = {BoostFact.MATTER: {*Matter}, BoostFact.SEVERITY: {*Severity}}
_DAYS = 3_650
HeadStart = Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False, description="seconds")]


class NewBoost(Body):
    """`fact` is `value`: of the conversation (matter, severity, channel_type) or its contact (tier; risk, an attribute).

    Upper and lower case are the same. `repeat` holds when the contact came with another matter within as many days as `value` says.
    """

    fact: BoostFact
    value: Name
    boost_s: HeadStart


class BoostChange(Body):
    value: Name | None = None
    boost_s: HeadStart | None = None

    _not_null = model_validator(mode="after")(not_null("value", "boost_s"))


class BoostShape(Shape):
    id: UUID
    fact: BoostFact
    value: str
    boost_s: float
    version: int
    created_at: Moment
    updated_at: Moment


def _checked(fact: BoostFact, value: str) -> str:
    """Raises Invalid for a value that the fact never has."""
    words = _WORDS.get(fact)
    if words is not None and value not in words:
        raise Invalid(f"one of {', '.join(sorted(words))}", field="value")
    if fact is not BoostFact.REPEAT:
        return value
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= _DAYS):
        raise Invalid(f"a whole number of days, 1 to {_DAYS}", field="value")
    return str(int(value))


async def _require_one_of_a_kind(session: SessionDep, row: Boost) -> None:
    """Upper and lower case are the same, so that nothing is added twice. Raises AlreadyExists."""
    twin = select(Boost.id).where(
        col(Boost.fact) == row.fact, func.lower(col(Boost.value)) == row.value.lower(), col(Boost.id) != row.id
    )
    with session.no_autoflush:
        if (await session.exec(twin)).first() is not None:
            raise AlreadyExists("a boost for this exists already", field="value")


@router.post("/boosts", status_code=201)
async def create_boost(
    given: NewBoost, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> BoostShape:
    """For conversations that come to a queue from now on; all that hold are added up."""
    row = Boost(fact=given.fact, value=_checked(given.fact, given.value), boost_s=given.boost_s)
    await _require_one_of_a_kind(session, row)
    await save(session, row)
    await record(session, principal, "boost.created", id=row.id, fact=row.fact, value=row.value, boost_s=row.boost_s)
    await context.catalog.changed(session)
    tag(response, row)
    return BoostShape.model_validate(row)


@router.get("/boosts")
async def list_boosts(
    session: SessionDep, _: Supervisor, paging: PagingDep, fact: BoostFact | None = None
) -> Page[BoostShape]:
    statement = select(Boost)
    if fact is not None:
        statement = statement.where(col(Boost.fact) == fact)
    rows, cursor = await page_of(session, statement, col(Boost.id), paging)
    return Page(items=[BoostShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/boosts/{boost_id}")
async def get_boost(boost_id: UUID, response: Response, session: SessionDep, _: Supervisor) -> BoostShape:
    row = await one(session, Boost, boost_id, _WHAT)
    tag(response, row)
    return BoostShape.model_validate(row)


@router.patch("/boosts/{boost_id}")
async def change_boost(
    boost_id: UUID,
    given: BoostChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> BoostShape:
    row = await locked(session, Boost, boost_id, _WHAT)
    require_version(request, row)
    fields = given.given()
    if given.value is not None:
        fields["value"] = _checked(BoostFact(row.fact), given.value)
    changed = change(row, fields)
    await _require_one_of_a_kind(session, row)
    await save(session, row, new_version=True)
    await record(session, principal, "boost.updated", id=row.id, changed=changed, value=row.value, boost_s=row.boost_s)
    await context.catalog.changed(session)
    tag(response, row)
    return BoostShape.model_validate(row)


@router.delete("/boosts/{boost_id}", status_code=204)
async def delete_boost(boost_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """What waits keeps the head start it has."""
    row = await locked(session, Boost, boost_id, _WHAT)
    await session.delete(row)
    await record(session, principal, "boost.deleted", id=row.id, fact=row.fact, value=row.value, boost_s=row.boost_s)
    await context.catalog.changed(session)
