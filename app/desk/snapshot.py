"""What a console is shown at hello, and who is told about presence."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.context import Context
from app.events import shapes
from app.events.stream import Viewer
from app.models import Agent, Conversation, QueueMember
from app.models.words import ConversationStatus
from app.routing import offers, presence

_CONVERSATIONS = 500


async def queues_of(session: AsyncSession, agent_id: UUID) -> list[UUID]:
    found = await session.exec(select(QueueMember.queue_id).where(col(QueueMember.agent_id) == agent_id))
    return list(found.all())


async def viewer_of(session: AsyncSession, agent: Agent) -> Viewer:
    return Viewer(agent.id, agent.role, frozenset(await queues_of(session, agent.id)))


async def of_agent(session: AsyncSession, agent_id: UUID) -> dict[str, Any]:
    """The agent, the offers that wait for them and the conversations that are theirs now."""
    agent = await session.get(Agent, agent_id)
    assert agent is not None, "authenticated a moment ago"
    mine = await session.exec(
        select(Conversation)
        .where(col(Conversation.assignee_id) == agent_id, col(Conversation.status) != ConversationStatus.CLOSED)
        .order_by(col(Conversation.id).desc())
        .limit(_CONVERSATIONS)
    )
    return {
        "agent": {
            "id": str(agent.id),
            "name": agent.name,
            "email": agent.email,
            "role": agent.role,
            "availability": agent.availability,
            "capacity": agent.capacity,
            "load": agent.load,
            "queue_ids": [str(queue_id) for queue_id in await queues_of(session, agent_id)],
        },
        "offers": await offers.pending_of(session, agent_id=agent_id),
        "conversations": [shapes.conversation(conversation) for conversation in mine.all()],
    }


async def tell_presence(context: Context, agent_id: UUID) -> None:
    """`presence.updated` to supervisors and to the members of the agent's queues, in every process."""
    async with context.database.begin() as session:
        agent = await session.get(Agent, agent_id)
        if agent is None:
            return
        queues = await queues_of(session, agent_id)
        present = await presence.is_present(session, agent_id)
    await context.wakeups.publish(
        {
            "queues": [str(queue_id) for queue_id in queues],
            "agents": [str(agent_id)],
            "frame": {
                "type": "presence.updated",
                "agent": {
                    "id": str(agent_id),
                    "name": agent.name,
                    "availability": agent.availability,
                    "present": present,
                },
            },
        }
    )


async def refresh_viewers(context: Context) -> None:
    """After a change of roles or memberships: open sockets see what their agent may see now."""
    for agent_id in context.hub.agents_here:
        async with context.database.begin() as session:
            agent = await session.get(Agent, agent_id)
            if agent is not None:
                context.hub.change_viewer(agent_id, await viewer_of(session, agent))
