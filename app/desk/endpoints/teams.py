"""`/teams`: agents who serve queues together, and help in conversations together."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response
from pydantic import model_validator
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from app.desk.auth import Admin, CurrentPrincipal
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
from app.models import Agent, Team, TeamMember
from app.routing import fitness, members
from app.wakeups import wake

router = api_router("teams")
_WHAT = "team"


class NewTeam(Body):
    name: Name


class TeamChange(Body):
    name: Name | None = None

    _not_null = model_validator(mode="after")(not_null("name"))


class TeamShape(Shape):
    id: UUID
    name: str
    version: int
    created_at: Moment
    updated_at: Moment


class TeamMate(Shape):
    agent_id: UUID
    name: str
    role: str
    active: bool


@router.post("/teams", status_code=201)
async def create_team(
    given: NewTeam, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> TeamShape:
    """Names are unique. `PUT /teams/{id}/members/{agent_id}` fills it, `PUT /queues/{id}/teams/{team_id}` gives it work."""
    row = Team(**given.model_dump())
    await save(session, row)
    await record(session, principal, "team.created", id=row.id, name=row.name)
    await context.catalog.changed(session)
    tag(response, row)
    return TeamShape.model_validate(row)


@router.get("/teams")
async def list_teams(
    session: SessionDep, _: CurrentPrincipal, paging: PagingDep, agent_id: UUID | None = None
) -> Page[TeamShape]:
    """`agent_id`: those that this agent is a member of."""
    statement = select(Team)
    if agent_id is not None:
        theirs = select(TeamMember.team_id).where(col(TeamMember.agent_id) == agent_id)
        statement = statement.where(col(Team.id).in_(theirs))
    rows, cursor = await page_of(session, statement, col(Team.id), paging)
    return Page(items=[TeamShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/teams/{team_id}")
async def get_team(team_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> TeamShape:
    row = await one(session, Team, team_id, _WHAT)
    tag(response, row)
    return TeamShape.model_validate(row)


@router.patch("/teams/{team_id}")
async def change_team(
    team_id: UUID,
    given: TeamChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> TeamShape:
    row = await locked(session, Team, team_id, _WHAT)
    require_version(request, row)
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    await record(session, principal, "team.updated", id=row.id, changed=changed)
    await context.catalog.changed(session)
    tag(response, row)
    return TeamShape.model_validate(row)


@router.delete("/teams/{team_id}", status_code=204)
async def delete_team(team_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """Its members serve its queues no more, unless by themselves or by another team. Their conversations stay theirs;
    offers from these queues are withdrawn."""
    mates = await members.mates_of(session, team_id)
    held = await fitness.hold(session, mates)
    row = await locked(session, Team, team_id, _WHAT)
    await session.delete(row)
    await fitness.withdraw(session, held, mates, actor=principal.actor)
    await record(session, principal, "team.deleted", id=team_id, name=row.name)
    await context.catalog.changed(session)


@router.get("/teams/{team_id}/members")
async def list_team_members(
    team_id: UUID, session: SessionDep, _: CurrentPrincipal, paging: PagingDep
) -> Page[TeamMate]:
    await one(session, Team, team_id, _WHAT)
    statement = (
        select(Agent)
        .join(TeamMember, col(TeamMember.agent_id) == col(Agent.id))
        .where(col(TeamMember.team_id) == team_id)
    )
    rows, cursor = await page_of(session, statement, col(Agent.id), paging)
    items = [TeamMate(agent_id=row.id, name=row.name, role=row.role, active=row.active) for row in rows]
    return Page(items=items, next_cursor=cursor)


@router.put("/teams/{team_id}/members/{agent_id}", status_code=204)
async def add_team_member(
    team_id: UUID, agent_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """The agent serves the team's queues. Doing it twice is fine."""
    await one(session, Team, team_id, _WHAT)
    await one(session, Agent, agent_id, "agent")
    statement = insert(TeamMember).values(team_id=team_id, agent_id=agent_id).on_conflict_do_nothing()
    added = await session.execute(statement.returning(col(TeamMember.agent_id)))
    if added.first() is not None:
        await record(session, principal, "team.member_added", id=team_id, agent_id=agent_id)
        await context.catalog.changed(session)
        await wake(session, "dispatch")


@router.delete("/teams/{team_id}/members/{agent_id}", status_code=204)
async def remove_team_member(
    team_id: UUID, agent_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """Their conversations stay theirs; offers from the team's queues are withdrawn."""
    await one(session, Team, team_id, _WHAT)
    held = await fitness.hold(session, [agent_id])
    statement = delete(TeamMember).where(col(TeamMember.team_id) == team_id, col(TeamMember.agent_id) == agent_id)
    removed = await session.execute(statement.returning(col(TeamMember.agent_id)))
    if removed.first() is not None:
        await fitness.withdraw(session, held, [agent_id], actor=principal.actor)
        await record(session, principal, "team.member_removed", id=team_id, agent_id=agent_id)
        await context.catalog.changed(session)
