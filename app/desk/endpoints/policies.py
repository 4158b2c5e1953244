"""`/sla-policies`: time limits as data. A version is never changed: an edit makes the next one."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response
from sqlalchemy import func
from sqlmodel import col, select

from app.conversations import limits
from app.db import database_now
from app.desk.auth import Admin, CurrentPrincipal, Supervisor, visible
from app.desk.endpoints.policy_shapes import Application, JobShape, NewPolicy, PolicyChange, PolicyMatch, PolicyShape
from app.desk.endpoints.shared import (
    ContextDep,
    Page,
    PagingDep,
    all_of,
    api_router,
    locked,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import Conflict, Invalid, NotFound, PreconditionFailed
from app.models import SlaJob, SlaPolicy, Team
from app.models.words import JobState
from app.sla import book
from app.sla.policy import METRICS, explain, seconds
from app.wakeups import wake

router = api_router("SLA policies")
_WHAT = "SLA policy"


def _require_a_target(row: SlaPolicy) -> None:
    if all(seconds(row, metric) is None for metric in METRICS):
        raise Invalid("a policy needs a target: first_response_s, resolution_s, or another", field="first_response_s")


async def _require_teams(session: SessionDep, row: SlaPolicy) -> None:
    for field in ("warnings", "escalations"):
        teams = {UUID(do["add_team"]) for item in getattr(row, field) for do in item.get("do", ()) if "add_team" in do}
        await all_of(session, Team, Team.id, teams, field)


@router.post("/sla-policies", status_code=201)
async def create_policy(
    given: NewPolicy, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> PolicyShape:
    """For conversations from now on. A code that was retired goes on with its next version."""
    newest = await session.exec(select(func.max(SlaPolicy.version)).where(col(SlaPolicy.code) == given.code))
    row = SlaPolicy(**given.columns(), version=(newest.one() or 0) + 1)
    _require_a_target(row)
    await _require_teams(session, row)
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
    fields = given.columns()
    await _retire(session, old)
    row = SlaPolicy(
        **{**old.model_dump(exclude={"id", "version", "retired_at", "created_at"}), **fields}, version=old.version + 1
    )
    _require_a_target(row)
    await _require_teams(session, row)
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


@router.post("/sla-policies/{policy_id}/apply", status_code=202)
async def apply_policy(policy_id: UUID, given: Application, session: SessionDep, principal: Admin) -> JobShape:
    """Conversations that are open are given the policies that are in force now, in small batches; running clocks keep
    what they have counted. New conversations have them anyway. The version has to be the one in force."""
    row = await locked(session, SlaPolicy, policy_id, _WHAT)
    if row.retired_at is not None:
        raise Conflict("this version is not in force any more; apply the newest one")
    running = select(SlaJob).where(col(SlaJob.policy_id) == row.id, col(SlaJob.state) == JobState.RUNNING)
    job = (await session.exec(running)).first()
    if job is None:
        job = SlaJob(policy_id=row.id)
        await save(session, job)
        applied = {"id": row.id, "code": row.code, "version": row.version, "to": given.to}
        await record(session, principal, "sla_policy.applied", **applied)
        await wake(session, limits.TOPIC)
    return JobShape.model_validate(job)


@router.get("/sla-policies/{policy_id}/apply")
async def applied_policy(policy_id: UUID, session: SessionDep, _: Supervisor) -> JobShape:
    """The newest application of this version: how far it has come."""
    newest = select(SlaJob).where(col(SlaJob.policy_id) == policy_id).order_by(col(SlaJob.id).desc()).limit(1)
    job = (await session.exec(newest)).first()
    if job is None:
        raise NotFound("this version has not been applied")
    return JobShape.model_validate(job)


@router.get("/conversations/{conversation_id}/sla/policies")
async def explain_policies(
    conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal
) -> Page[PolicyMatch]:
    """The policies in force, in the order in which they are asked: which apply to a conversation as it is now, and
    what speaks against the others. The first that applies wins; what it leaves open comes from the next ones."""
    conversation = await visible(session, principal, conversation_id)
    found = explain(await book.in_force(session), await book.facts(session, conversation))
    return Page(items=[PolicyMatch(**item) for item in found])


async def _retire(session: SessionDep, row: SlaPolicy) -> None:
    row.retired_at = database_now()
    await save(session, row)
