"""Who serves which queue: read through the view `queue_agent`, which adds the members of teams to a queue's own."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Integer, Uuid, column, select, table
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.models import Agent, TeamMember

QUEUE_AGENT = table("queue_agent", column("queue_id", Uuid), column("agent_id", Uuid), column("level", Integer))
"""One row per agent and queue; `level` is the lowest by which the agent serves it."""


async def queues_of(session: AsyncSession, agent_id: UUID) -> list[UUID]:
    """The queues that an agent serves, active or not, by id."""
    statement = select(QUEUE_AGENT.c.queue_id).where(QUEUE_AGENT.c.agent_id == agent_id)
    found = await session.execute(statement.order_by(QUEUE_AGENT.c.queue_id))
    return list(found.scalars())


async def mates_of(session: AsyncSession, team_id: UUID, *, active: bool = False) -> list[UUID]:
    """The agents of a team, or only those who are active, by id."""
    statement = select(col(TeamMember.agent_id)).where(col(TeamMember.team_id) == team_id)
    if active:
        statement = statement.join(Agent, col(Agent.id) == col(TeamMember.agent_id)).where(col(Agent.active))
    found = await session.execute(statement.order_by(col(TeamMember.agent_id)))
    return list(found.scalars())
