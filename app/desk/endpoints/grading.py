"""`/graded-responses`: which conversations supervisors or specialists are asked about first."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlmodel import col, select

from app.desk.auth import Admin, Supervisor
from app.desk.endpoints.shared import (
    Body,
    Code,
    ContextDep,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    Small,
    Words,
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
from app.errors import Invalid
from app.models import GradedResponse
from app.models.words import Category, ComplaintType, Matter, Severity

router = api_router("routing")
_WHAT = "graded response"
Fact = Literal["category", "matter", "severity", "complaint_type"]
Match = dict[Fact, Annotated[list[Name], Field(min_length=1, max_length=20)]]
_WORDS: dict[str, type[StrEnum]] = {
    "category": Category,
    "matter": Matter,
    "severity": Severity,
    "complaint_type": ComplaintType,
}


class NewGradedResponse(Body):
    """`match` maps facts to the accepted words; all must hold, the first match by position wins.

    `escalate`: supervisors are asked first; with `specialists`, agents of the queue with one of these skills as well.
    """

    code: Code
    name: Name
    position: Small = 100
    match: Match = Field(default_factory=dict)
    escalate: bool = False
    specialists: Words = Field(default_factory=list)
    active: bool = True


class GradedResponseChange(Body):
    name: Name | None = None
    position: Small | None = None
    match: Match | None = None
    escalate: bool | None = None
    specialists: Words | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null("name", "position", "match", "escalate", "specialists", "active")
    )


class GradedResponseShape(Shape):
    id: UUID
    code: str
    name: str
    position: int
    match: dict[str, list[str]]
    escalate: bool
    specialists: list[str]
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


def _check(row: GradedResponse) -> None:
    """As it is going to be. Raises Invalid naming the field."""
    for fact, words in row.match.items():
        for number, word in enumerate(words):
            if word not in set(_WORDS[fact]):
                raise Invalid(f"one of {', '.join(_WORDS[fact])}", field=f"match.{fact}.{number}")
    if not row.escalate and not row.specialists:
        raise Invalid("it asks nobody: escalate, or name specialists", field="escalate")


@router.post("/graded-responses", status_code=201)
async def create_graded_response(
    given: NewGradedResponse, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> GradedResponseShape:
    row = GradedResponse(**given.model_dump())
    _check(row)
    await save(session, row)
    await record(session, principal, "graded_response.created", id=row.id, code=row.code)
    await context.catalog.changed(session)
    tag(response, row)
    return GradedResponseShape.model_validate(row)


@router.get("/graded-responses")
async def list_graded_responses(
    session: SessionDep, _: Supervisor, paging: PagingDep, active: bool | None = None, code: str | None = None
) -> Page[GradedResponseShape]:
    statement = select(GradedResponse)
    if active is not None:
        statement = statement.where(col(GradedResponse.active) == active)
    if code is not None:
        statement = statement.where(col(GradedResponse.code) == code)
    rows, cursor = await page_of(session, statement, col(GradedResponse.id), paging)
    return Page(items=[GradedResponseShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/graded-responses/{response_id}")
async def get_graded_response(
    response_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> GradedResponseShape:
    row = await one(session, GradedResponse, response_id, _WHAT)
    tag(response, row)
    return GradedResponseShape.model_validate(row)


@router.patch("/graded-responses/{response_id}")
async def change_graded_response(
    response_id: UUID,
    given: GradedResponseChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> GradedResponseShape:
    """For conversations from now on."""
    row = await locked(session, GradedResponse, response_id, _WHAT)
    require_version(request, row)
    changed = change(row, given.given())
    _check(row)
    await save(session, row, new_version=True)
    await record(session, principal, "graded_response.updated", id=row.id, code=row.code, changed=changed)
    await context.catalog.changed(session)
    tag(response, row)
    return GradedResponseShape.model_validate(row)


@router.delete("/graded-responses/{response_id}", status_code=204)
async def deactivate_graded_response(
    response_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """It is not used any more. The row stays: a shipped one does not come back by itself."""
    row = await locked(session, GradedResponse, response_id, _WHAT)
    if change(row, {"active": False}):
        await save(session, row, new_version=True)
        await record(session, principal, "graded_response.deactivated", id=row.id, code=row.code)
        await context.catalog.changed(session)
