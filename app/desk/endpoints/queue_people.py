"""Who serves a queue: agents and teams, each with a level; level 1 is asked first."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col, select

from app.desk.auth import Admin, CurrentPrincipal, Principal
from app.desk.endpoints.shared import Body, ContextDep, Page, PagingDep, Shape, api_router, one, page_of, record
from app.edge import SessionDep
from app.models import Agent, Queue, QueueMember, QueueTeam, Team
from app.routing import fitness, members
from app.routing.members import QUEUE_AGENT
from app.wakeups import wake

router = api_router("queues")
_WHAT = "queue"
Level = Annotated[int, Field(ge=1, le=9, description="asked in the order of levels")]


class Serving(Body):
    level: Level = 1


class Member(Shape):
    """`level` is the lowest by which they serve it, by themselves (`own_level`) or in a team."""

    agent_id: UUID
    name: str
    role: str
    level: int
    own_level: int | None


class ServingTeam(Shape):
    team_id: UUID
    name: str
    level: int


@router.get("/queues/{queue_id}/members")
async def list_members(queue_id: UUID, session: SessionDep, _: CurrentPrincipal, paging: PagingDep) -> Page[Member]:
    """Everybody who serves it, the members of its teams included."""
    await one(session, Queue, queue_id, _WHAT)
    serving = select(QUEUE_AGENT.c.agent_id).where(QUEUE_AGENT.c.queue_id == queue_id)
    rows, cursor = await page_of(session, select(Agent).where(col(Agent.id).in_(serving)), col(Agent.id), paging)
    found = await session.execute(
        select(QUEUE_AGENT.c.agent_id, QUEUE_AGENT.c.level, QueueMember.level)
        .outerjoin(
            QueueMember,
            (col(QueueMember.queue_id) == QUEUE_AGENT.c.queue_id)
            & (col(QueueMember.agent_id) == QUEUE_AGENT.c.agent_id),
        )
        .where(QUEUE_AGENT.c.queue_id == queue_id, QUEUE_AGENT.c.agent_id.in_([row.id for row in rows]))
    )
    levels = {agent_id: (level, own) for agent_id, level, own in found.all()}
    items = [
        Member(agent_id=row.id, name=row.name, role=row.role, level=level, own_level=own)
        for row in rows
        for level, own in [levels[row.id]]
    ]
    return Page(items=items, next_cursor=cursor)


@router.put("/queues/{queue_id}/members/{agent_id}", status_code=204)
async def add_member(
    queue_id: UUID,
    agent_id: UUID,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
    given: Serving | None = None,
) -> None:
    """The agent is offered what waits in the queue, and sees its conversations. Again, it changes the level."""
    await one(session, Queue, queue_id, _WHAT)
    await one(session, Agent, agent_id, "agent")
    level = given.level if given else 1
    if await _put(session, QueueMember, queue_id=queue_id, agent_id=agent_id, level=level):
        await _changed(session, context, principal, "queue.member_added", id=queue_id, agent_id=agent_id, level=level)


@router.delete("/queues/{queue_id}/members/{agent_id}", status_code=204)
async def remove_member(
    queue_id: UUID, agent_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """Their conversations stay theirs; offers from it are withdrawn. Who serves it in a team still does."""
    await one(session, Queue, queue_id, _WHAT)
    held = await fitness.hold(session, [agent_id])
    statement = delete(QueueMember).where(col(QueueMember.queue_id) == queue_id, col(QueueMember.agent_id) == agent_id)
    removed = await session.execute(statement.returning(col(QueueMember.agent_id)))
    if removed.first() is not None:
        await fitness.withdraw(session, held, [agent_id], actor=principal.actor)
        await _changed(session, context, principal, "queue.member_removed", id=queue_id, agent_id=agent_id)


@router.get("/queues/{queue_id}/teams")
async def list_queue_teams(
    queue_id: UUID, session: SessionDep, _: CurrentPrincipal, paging: PagingDep
) -> Page[ServingTeam]:
    await one(session, Queue, queue_id, _WHAT)
    serving = select(QueueTeam.team_id).where(col(QueueTeam.queue_id) == queue_id)
    rows, cursor = await page_of(session, select(Team).where(col(Team.id).in_(serving)), col(Team.id), paging)
    found = await session.exec(select(QueueTeam).where(col(QueueTeam.queue_id) == queue_id))
    levels = {serving.team_id: serving.level for serving in found.all()}
    items = [ServingTeam(team_id=row.id, name=row.name, level=levels[row.id]) for row in rows]
    return Page(items=items, next_cursor=cursor)


@router.put("/queues/{queue_id}/teams/{team_id}", status_code=204)
async def add_queue_team(
    queue_id: UUID,
    team_id: UUID,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
    given: Serving | None = None,
) -> None:
    """Everybody of the team serves the queue, now and when they come to the team later. Again, it changes the level."""
    await one(session, Queue, queue_id, _WHAT)
    await one(session, Team, team_id, "team")
    level = given.level if given else 1
    if await _put(session, QueueTeam, queue_id=queue_id, team_id=team_id, level=level):
        await _changed(session, context, principal, "queue.team_added", id=queue_id, team_id=team_id, level=level)


@router.delete("/queues/{queue_id}/teams/{team_id}", status_code=204)
async def remove_queue_team(
    queue_id: UUID, team_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """Conversations stay with who has them; offers from it are withdrawn from who serves it in no other way."""
    await one(session, Queue, queue_id, _WHAT)
    mates = await members.mates_of(session, team_id)
    held = await fitness.hold(session, mates)
    statement = delete(QueueTeam).where(col(QueueTeam.queue_id) == queue_id, col(QueueTeam.team_id) == team_id)
    removed = await session.execute(statement.returning(col(QueueTeam.team_id)))
    if removed.first() is not None:
        await fitness.withdraw(session, held, mates, actor=principal.actor)
        await _changed(session, context, principal, "queue.team_removed", id=queue_id, team_id=team_id)


async def _put(session: SessionDep, table: type[SQLModel], **values: object) -> bool:
    """Whether that made a difference."""
    keys = [name for name in values if name != "level"]
    statement = insert(table).values(values)
    level = statement.excluded.level
    again = statement.on_conflict_do_update(
        index_elements=keys,
        set_={"level": level},
        where=table.__table__.c.level != level,  # type: ignore[attr-defined]
    )
    done = await session.execute(again.returning(table.__table__.c.queue_id))  # type: ignore[attr-defined]
    return done.first() is not None


async def _changed(
    session: SessionDep, context: ContextDep, principal: Principal, what: str, /, **payload: object
) -> None:
    await record(session, principal, what, **payload)
    await context.catalog.changed(session)
    await wake(session, "dispatch")
