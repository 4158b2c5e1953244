"""`/graded-responses`: which conversations supervisors or specialists are asked about first."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator

from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded
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
    not_null,
    one,
    tag,
)
from app.edge import SessionDep
from app.errors import Invalid
from app.models import GradedResponse
from app.models.words import Category, ComplaintType, Matter, Severity

router = api_router("routing")
_WHAT = "graded_response"
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
    await coded.created(session, response, principal, row, _WHAT)
    await context.catalog.changed(session)
    return GradedResponseShape.model_validate(row)


@router.get("/graded-responses")
async def list_graded_responses(
    session: SessionDep, _: Supervisor, paging: PagingDep, active: bool | None = None, code: str | None = None
) -> Page[GradedResponseShape]:
    return await coded.listed(session, GradedResponse, GradedResponseShape, paging, active=active, code=code)


@router.get("/graded-responses/{response_id}")
async def get_graded_response(
    response_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> GradedResponseShape:
    row = await one(session, GradedResponse, response_id, _WHAT.replace("_", " "))
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
    row = await coded.changed(session, request, response, principal, GradedResponse, response_id, given, _WHAT, _check)
    await context.catalog.changed(session)
    return GradedResponseShape.model_validate(row)


@router.delete("/graded-responses/{response_id}", status_code=204)
async def deactivate_graded_response(
    response_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """It is not used any more."""
    if await coded.deactivated(session, principal, GradedResponse, response_id, _WHAT):
        await context.catalog.changed(session)
