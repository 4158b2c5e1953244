"""`/sla-policies`: time limits as data. A version is never changed: an edit makes the next one."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlalchemy import func
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
    api_router,
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
from app.errors import Invalid, PreconditionFailed
from app.models import SlaPolicy

router = api_router("SLA policies")
_WHAT = "SLA policy"
Fact = Literal["channel_type", "category", "matter", "severity", "tier", "queue", "warranty"]
Match = dict[Fact, Annotated[list[Name], Field(min_length=1, max_length=100)]]
Target = Annotated[int, Field(ge=1, le=31_536_000, description="seconds")]
Percent = Annotated[int, Field(ge=1, le=99)]


class NewPolicy(Body):
    """`match` maps facts of a conversation to the accepted words; all must hold, the first match by position wins."""

    code: Code
    name: Name
    position: Small = 100
    match: Match = Field(default_factory=dict)
    first_response_s: Target | None = None
    resolution_s: Target | None = None
    warn_percent: Percent = 80


class PolicyChange(Body):
    name: Name | None = None
    position: Small | None = None
    match: Match | None = None
    first_response_s: Target | None = None
    resolution_s: Target | None = None
    warn_percent: Percent | None = None

    _not_null = model_validator(mode="after")(not_null("name", "position", "match", "warn_percent"))


class PolicyShape(Shape):
    """`retired_at`: since when another version, or none, is in force."""

    id: UUID
    code: str
    version: int
    name: str
    position: int
    match: dict[str, Any]
    first_response_s: int | None
    resolution_s: int | None
    warn_percent: int
    retired_at: Moment | None
    created_at: Moment


def _require_a_target(row: SlaPolicy) -> None:
    if row.first_response_s is None and row.resolution_s is None:
        raise Invalid("a policy needs a target: first_response_s, resolution_s, or both", field="first_response_s")


@router.post("/sla-policies", status_code=201)
async def create_policy(
    given: NewPolicy, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> PolicyShape:
    """For conversations from now on. A code that was retired goes on with its next version."""
    newest = await session.exec(select(func.max(SlaPolicy.version)).where(col(SlaPolicy.code) == given.code))
    row = SlaPolicy(**given.model_dump(), version=(newest.one() or 0) + 1)
    _require_a_target(row)
    await save(session, row)
    await record(session, principal, "sla_policy.created", id=row.id, code=row.code, version=row.version)
    await context.catalog.changed(session)
    tag(response, row)
    return PolicyShape.model_validate(row)


@router.get("/sla-policies")
async def list_policies(
    session: SessionDep, _: Supervisor, paging: PagingDep, code: str | None = None
) -> Page[PolicyShape]:
    """Those in force; with `code` every version of that one."""
    statement = select(SlaPolicy)
    if code is not None:
        statement = statement.where(col(SlaPolicy.code) == code)
    else:
        statement = statement.where(col(SlaPolicy.retired_at).is_(None))
    rows, cursor = await page_of(session, statement, col(SlaPolicy.id), paging)
    return Page(items=[PolicyShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/sla-policies/{policy_id}")
async def get_policy(policy_id: UUID, response: Response, session: SessionDep, _: Supervisor) -> PolicyShape:
    row = await one(session, SlaPolicy, policy_id, _WHAT)
    tag(response, row)
    return PolicyShape.model_validate(row)


@router.patch("/sla-policies/{policy_id}")
async def change_policy(
    policy_id: UUID,
    given: PolicyChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> PolicyShape:
    """The next version, with an id of its own. Running clocks keep the version they were started by."""
    old = await locked(session, SlaPolicy, policy_id, _WHAT)
    require_version(request, old)
    if old.retired_at is not None:
        raise PreconditionFailed("this version is not in force any more; change the newest one", field="If-Match")
    fields = given.given()
    await _retire(session, old)
    row = SlaPolicy(
        **{**old.model_dump(exclude={"id", "version", "retired_at", "created_at"}), **fields}, version=old.version + 1
    )
    _require_a_target(row)
    await save(session, row)
    await record(
        session, principal, "sla_policy.updated", id=row.id, code=row.code, version=row.version, changed=list(fields)
    )
    await context.catalog.changed(session)
    tag(response, row)
    return PolicyShape.model_validate(row)


@router.delete("/sla-policies/{policy_id}", status_code=204)
async def retire_policy(policy_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """New conversations are not measured by it any more."""
    row = await locked(session, SlaPolicy, policy_id, _WHAT)
    if row.retired_at is None:
        await _retire(session, row)
        await record(session, principal, "sla_policy.retired", id=row.id, code=row.code, version=row.version)
        await context.catalog.changed(session)


async def _retire(session: SessionDep, row: SlaPolicy) -> None:
    row.retired_at = func.now()  # type: ignore[assignment]  # the database's clock
    await save(session, row)
