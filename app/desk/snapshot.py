"""What a console is shown at hello, and who is told about presence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, text
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import capable
from app.channels.registry import ADAPTERS
from app.context import Context
from app.conversations import reachable
from app.delivery import accounts
from app.events import shapes
from app.events.stream import Viewer
from app.models import Agent, AgentRead, Channel, Conversation, Participant
from app.models.words import ConversationStatus
from app.routing import counts, offers
from app.routing.availability import presence_fact
from app.routing.members import queues_of
from app.socket_frames import CLOSE_UNAUTHORIZED
from app.wakeups import tell

_CONVERSATIONS = 500
_VIEWERS = text(
    "SELECT a.id, a.role, array_remove(array_agg(q.queue_id), NULL) AS queues "
    "FROM agent a LEFT JOIN queue_agent q ON q.agent_id = a.id "
    "WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.active GROUP BY a.id"
)
_TOKENS = text("SELECT id FROM api_token WHERE agent_id = ANY(CAST(:ids AS uuid[])) AND revoked_at IS NULL")


async def viewer_of(session: AsyncSession, agent: Agent) -> Viewer:
    return Viewer(agent.id, agent.role, frozenset(await queues_of(session, agent.id)))


async def of_agent(session: AsyncSession, agent_id: UUID) -> tuple[Viewer, dict[str, Any]]:
    """What they may see from now on; and themselves, the offers that wait for them, the conversations that are theirs
    or in which they take part, and the queues they watch."""
    agent = await session.get(Agent, agent_id)
    assert agent is not None, "authenticated a moment ago"
    viewer = await viewer_of(session, agent)
    takes_part = select(Participant.conversation_id).where(col(Participant.agent_id) == agent_id)
    mine = await session.execute(
        columns(Conversation, func.coalesce(AgentRead.seq, 0))
        .outerjoin(
            AgentRead,
            and_(col(AgentRead.conversation_id) == col(Conversation.id), col(AgentRead.agent_id) == agent_id),
        )
        .where(
            or_(col(Conversation.assignee_id) == agent_id, col(Conversation.id).in_(takes_part)),
            col(Conversation.status) != ConversationStatus.CLOSED,
        )
        .order_by(col(Conversation.id).desc())
        .limit(_CONVERSATIONS)
    )
    shown = {
        "agent": {
            "id": str(agent.id),
            "name": agent.name,
            "email": agent.email,
            "role": agent.role,
            "availability": agent.availability,
            "capacity": agent.capacity,
            "load": agent.load,
            "queue_ids": sorted(map(str, viewer.queues)),
        },
        "offers": await offers.pending_of(session, agent_id=agent_id),
        "conversations": await _own(session, mine.all()),
        "queues": await queues_watched(session, viewer),
        "channels": await channels_shown(session),
    }
    return viewer, shown


async def _own(session: AsyncSession, mine: Sequence[Any]) -> list[dict[str, Any]]:
    known = await reachable.of_many(session, [conversation for conversation, _ in mine])
    return [
        {**shapes.conversation(row), "read_seq": seq, "capabilities": known[row.id].capabilities} for row, seq in mine
    ]


async def channels_shown(session: AsyncSession) -> list[dict[str, Any]]:
    """What each active channel can carry, and how its account stands."""
    rows = (await session.exec(select(Channel).where(col(Channel.active)).order_by(col(Channel.id)))).all()
    states = await accounts.shown(session, [row.id for row in rows])
    return [
        {
            "id": str(row.id),
            "type": row.type,
            "name": row.name,
            "capabilities": capabilities_of(row),
            "account": states[row.id],
        }
        for row in rows
    ]


def capabilities_of(row: Channel) -> dict[str, Any]:
    """Of a channel as such, with the rule of its window."""
    can = capable.capabilities(ADAPTERS.get(row.type), row.config, row.limits)
    return {**capable.shape(can), "window": capable.rules(can)}


async def queues_watched(session: AsyncSession, viewer: Viewer) -> list[dict[str, Any]]:
    """The queues whose counts they are told of."""
    return await counts.of_queues(session, list(viewer.queues), everything=viewer.sees_all)


async def tell_presence(context: Context, agent_id: UUID) -> None:
    """`presence.updated` to supervisors and to the members of the agent's queues, in every process."""
    async with context.database.begin() as session:
        fact = await presence_fact(session, agent_id)
    if fact is not None:
        await context.wakeups.publish(fact)


async def refresh_viewers(context: Context) -> None:
    """After a change of roles, memberships or tokens: open sockets see what their agent may see now, and are told; those
    that would not be let in any more are closed."""
    here = context.hub.agents_here
    if not here:
        return
    async with context.database.begin() as session:
        known = (await session.execute(_VIEWERS, {"ids": here})).all()
        viewers = {row.id: Viewer(row.id, row.role, frozenset(row.queues)) for row in known}
        tokens = set((await session.execute(_TOKENS, {"ids": here})).scalars())
        changed = [viewer for viewer in viewers.values() if context.hub.change_viewer(viewer.agent_id, viewer)]
        for viewer in changed:
            await _tell_queues(session, viewer)
    for agent_id in here:
        for desk in context.hub.desks_of(agent_id):
            if agent_id not in viewers or (desk.token_id is not None and desk.token_id not in tokens):
                desk.peer.abandon(CLOSE_UNAUTHORIZED, "the token was revoked")


async def _tell_queues(session: AsyncSession, viewer: Viewer) -> None:
    """To the agent's own sockets, wherever they are."""
    frame = {"type": "queues.changed", "role": viewer.role, "queues": await queues_watched(session, viewer)}
    await tell(session, {"agents": [str(viewer.agent_id)], "seniors": False, "frame": frame})
