"""Which queues and teams an agent is in, and how an agent is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.endpoints.queue_people import Level
from app.desk.endpoints.shared import Body, Moment, Shape, all_of
from app.errors import Invalid
from app.models import Agent, Queue, QueueMember, Team, TeamMember
from app.models.words import Availability, Role
from app.routing.members import QUEUE_AGENT

PLACES = {"queue_ids", "queues", "team_ids"}
Ids = Annotated[list[UUID], Field(max_length=200)]


class OwnQueue(Body):
    """A queue that the agent serves by themselves; level 1 is asked first."""

    queue_id: UUID
    level: Level = 1


OwnQueues = Annotated[list[OwnQueue], Field(max_length=200)]


class Placed(Body):
    """Where an agent is put; null: as it is."""

    queue_ids: Ids | None = None
    queues: OwnQueues | None = None
    team_ids: Ids | None = None


class AgentShape(Shape):
    """`load` is what open offers and conversations hold of `capacity`.

    `queue_ids` are all that they serve, in teams too; `queues` those that they serve by themselves.
    """

    id: UUID
    name: str
    email: str
    role: Role
    capacity: int
    load: int
    skills: list[str]
    languages: list[str]
    phone: str | None
    availability: Availability
    active: bool
    queue_ids: list[UUID]
    queues: list[OwnQueue]
    team_ids: list[UUID]
    version: int
    created_at: Moment
    updated_at: Moment


async def shape_of(session: AsyncSession, row: Agent) -> AgentShape:
    return (await shapes_of(session, [row]))[0]


async def shapes_of(session: AsyncSession, rows: Sequence[Agent]) -> list[AgentShape]:
    ids = [row.id for row in rows]
    serves, own, teams = defaultdict(list), defaultdict(list), defaultdict(list)
    statement = select(QUEUE_AGENT.c.agent_id, QUEUE_AGENT.c.queue_id).where(QUEUE_AGENT.c.agent_id.in_(ids))
    for agent_id, queue_id in (await session.execute(statement.order_by(QUEUE_AGENT.c.queue_id))).all():
        serves[agent_id].append(queue_id)
    members = select(QueueMember).where(col(QueueMember.agent_id).in_(ids)).order_by(col(QueueMember.queue_id))
    for member in (await session.exec(members)).all():
        own[member.agent_id].append(OwnQueue(queue_id=member.queue_id, level=member.level))
    mates = select(TeamMember).where(col(TeamMember.agent_id).in_(ids)).order_by(col(TeamMember.team_id))
    for mate in (await session.exec(mates)).all():
        teams[mate.agent_id].append(mate.team_id)
    return [
        AgentShape(**row.model_dump(), queue_ids=serves[row.id], queues=own[row.id], team_ids=teams[row.id])
        for row in rows
    ]


async def place(session: AsyncSession, agent: Agent, given: Placed) -> list[str]:
    """Put them in the queues and teams that are given; returns the fields that were. Raises Invalid."""
    placed = []
    if given.queue_ids is not None or given.queues is not None:
        if given.queue_ids is not None and given.queues is not None:
            raise Invalid("give queue_ids or queues, not both", field="queues")
        field = "queue_ids" if given.queue_ids is not None else "queues"
        levels = dict.fromkeys(given.queue_ids or (), 1) | {own.queue_id: own.level for own in given.queues or ()}
        await _put_in_queues(session, agent, levels, field)
        placed.append(field)
    if given.team_ids is not None:
        await all_of(session, Team, Team.id, given.team_ids, "team_ids")
        await session.execute(delete(TeamMember).where(col(TeamMember.agent_id) == agent.id))
        session.add_all(TeamMember(team_id=team_id, agent_id=agent.id) for team_id in set(given.team_ids))
        placed.append("team_ids")
    await session.flush()
    return placed


async def _put_in_queues(session: AsyncSession, agent: Agent, levels: dict[UUID, int], field: str) -> None:
    queues = await all_of(session, Queue, Queue.id, levels, field)
    if inactive := [queue for queue in queues if not queue.active]:
        raise Invalid(f"the queue {inactive[0].name} is not active", field=field)
    await session.execute(delete(QueueMember).where(col(QueueMember.agent_id) == agent.id))
    session.add_all(QueueMember(queue_id=id, agent_id=agent.id, level=level) for id, level in levels.items())


async def put_in_default_queue(session: AsyncSession, agent: Agent) -> None:
    for queue_id in (await session.exec(select(Queue.id).where(col(Queue.is_default)))).all():
        session.add(QueueMember(queue_id=queue_id, agent_id=agent.id))
    await session.flush()
