"""Who takes part besides the assignee: collaborators who help, supervisors who listen or join. No customer learns of it,
but for the name of who joins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import queries, states
from app.errors import Conflict, ConversationClosed, Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Conversation, Participant
from app.models.words import ConversationStatus, ParticipantRole

LIMIT = 100
LISTENING = (ParticipantRole.MONITOR, ParticipantRole.JOINED)
_ACTIVE = text("SELECT id FROM agent WHERE id = ANY(CAST(:ids AS uuid[])) AND active")
# Who has no lasting sight of it: an offer ends, so it does not count.
_OUTSIDE = text(
    "SELECT a.id FROM agent a WHERE a.id = ANY(CAST(:ids AS uuid[])) AND a.role = 'agent' AND NOT EXISTS ("
    "SELECT 1 FROM queue_agent q WHERE q.agent_id = a.id AND q.queue_id = :queue)"
)
# Somebody who joined or listens does not become a mere collaborator by being added as one.
_ADD = text(
    "INSERT INTO conversation_participant AS p (conversation_id, agent_id, role, added_by) "
    "SELECT :conversation, agent, :role, :by FROM unnest(CAST(:agents AS uuid[])) AS agent ORDER BY agent "
    "ON CONFLICT (conversation_id, agent_id) DO UPDATE "
    "SET role = excluded.role, added_by = excluded.added_by, created_at = now() "
    "WHERE p.role <> excluded.role AND excluded.role <> 'collaborator' RETURNING agent_id"
)
_REMOVE = text(
    "DELETE FROM conversation_participant WHERE conversation_id = :conversation AND agent_id = :agent "
    "AND role = ANY(CAST(:roles AS text[])) RETURNING agent_id"
)
_ALL = text(
    "SELECT p.agent_id, a.name, p.role, p.added_by, p.created_at FROM conversation_participant p "
    "JOIN agent a ON a.id = p.agent_id WHERE p.conversation_id = :conversation ORDER BY p.created_at, p.agent_id"
)
_WITH = text(
    "SELECT conversation_id FROM conversation_participant WHERE agent_id = :agent "
    "AND role = ANY(CAST(:roles AS text[])) ORDER BY conversation_id"
)


async def of(session: AsyncSession, conversation: Conversation) -> Sequence[Row[Any]]:
    """(agent_id, name, role, added_by, created_at), oldest first."""
    rows: Sequence[Row[Any]] = (await session.execute(_ALL, {"conversation": conversation.id})).all()
    return rows


async def role_of(session: AsyncSession, conversation: Conversation, agent_id: UUID | None) -> ParticipantRole | None:
    """None for who takes no part; the assignee and the owner need none."""
    if agent_id not in conversation.participant_ids:
        return None
    found = await session.exec(
        select(Participant.role).where(
            col(Participant.conversation_id) == conversation.id, col(Participant.agent_id) == agent_id
        )
    )
    role = found.one_or_none()
    return ParticipantRole(role) if role else None


async def collaborate(
    session: AsyncSession, conversation: Conversation, agent_ids: Collection[UUID], *, actor: Actor
) -> list[UUID]:
    """These help from now on: they see everything and write notes, no replies. Returns who is new.

    Who has the conversation is passed over. The caller holds it, and knows the agents to be there. Raises Conflict when
    there are too many.
    """
    wanted = set(agent_ids) - {conversation.assignee_id, conversation.owner_id}
    return await _add(session, conversation, wanted, ParticipantRole.COLLABORATOR, actor)


async def monitor(session: AsyncSession, conversation: Conversation, agent: Agent) -> None:
    """A supervisor listens; the customer never learns. Raises ConversationClosed, Conflict when they have it."""
    _require_other(conversation, agent)
    if conversation.status == ConversationStatus.CLOSED:
        raise ConversationClosed
    await _add(session, conversation, [agent.id], ParticipantRole.MONITOR, Actor("agent", agent.id))


async def join(session: AsyncSession, conversation: Conversation, agent: Agent) -> None:
    """A supervisor speaks too, and the customer is told their name. Raises ConversationClosed, Conflict."""
    states.require_working(conversation.status)
    _require_other(conversation, agent)
    actor = Actor("agent", agent.id)
    if await _add(session, conversation, [agent.id], ParticipantRole.JOINED, actor):
        payload = {"agent": {"id": str(agent.id), "name": agent.name}}
        await events.append(session, conversation, "agent.joined", payload, actor=actor, to_customer=True)


async def remove(
    session: AsyncSession,
    conversation: Conversation,
    agent_id: UUID,
    *,
    actor: Actor,
    roles: Iterable[ParticipantRole] = tuple(ParticipantRole),
) -> bool:
    """They take no part any more, and are told by the very event; False when they did not (in one of these roles)."""
    await session.flush()
    given = {"conversation": conversation.id, "agent": agent_id, "roles": [role.value for role in roles]}
    if (await session.execute(_REMOVE, given)).first() is None:
        return False
    await _tell(session, conversation, actor, also_agents=[agent_id])
    return True


async def remove_everywhere(
    session: AsyncSession,
    agent_id: UUID,
    *,
    actor: Actor,
    roles: Iterable[ParticipantRole] = tuple(ParticipantRole),
) -> None:
    """For who leaves for good, or is no supervisor any more. Call it before the agent's row is locked."""
    roles = list(roles)
    ids = await session.execute(_WITH, {"agent": agent_id, "roles": [role.value for role in roles]})
    for conversation_id in ids.scalars().all():
        conversation = await queries.lock(session, conversation_id)
        await remove(session, conversation, agent_id, actor=actor, roles=roles)


async def outsiders(session: AsyncSession, conversation: Conversation, agent_ids: Iterable[UUID]) -> list[UUID]:
    """Those of these agents who cannot see the conversation, or only as long as it is offered to them."""
    inside = {conversation.assignee_id, conversation.owner_id, *conversation.participant_ids}
    ids = [agent_id for agent_id in agent_ids if agent_id not in inside]
    if not ids:
        return []
    found = await session.execute(_OUTSIDE, {"ids": ids, "queue": conversation.queue_id})
    return list(found.scalars())


async def require_active(session: AsyncSession, agent_ids: Sequence[UUID], *, field: str) -> None:
    """Raises Invalid naming the first that is not there, or was deactivated."""
    if not agent_ids:
        return
    there = set((await session.execute(_ACTIVE, {"ids": list(agent_ids)})).scalars())
    for number, agent_id in enumerate(agent_ids):
        if agent_id not in there:
            raise Invalid("there is no such agent", field=field.format(number))


def _require_other(conversation: Conversation, agent: Agent) -> None:
    if conversation.assignee_id == agent.id:
        raise Conflict("the conversation is assigned to you")


async def _add(
    session: AsyncSession, conversation: Conversation, agent_ids: Iterable[UUID], role: ParticipantRole, actor: Actor
) -> list[UUID]:
    await session.flush()
    by = actor.id if actor.type == "agent" else None
    given = {"conversation": conversation.id, "role": role.value, "by": by, "agents": list(agent_ids)}
    added = list((await session.execute(_ADD, given)).scalars())
    if added:
        await _tell(session, conversation, actor)
    return added


async def _tell(
    session: AsyncSession, conversation: Conversation, actor: Actor, *, also_agents: Sequence[UUID] = ()
) -> None:
    """The conversation's own list follows the table, both under its lock; then everybody is told."""
    now = await of(session, conversation)
    if len(now) > LIMIT:
        raise Conflict(f"a conversation has at most {LIMIT} participants", limit=LIMIT)
    conversation.participant_ids = sorted(row.agent_id for row in now)
    session.add(conversation)
    payload = {
        "conversation": shapes.conversation(conversation),
        "changed": ["participants"],
        "participants": [{"agent_id": str(row.agent_id), "name": row.name, "role": row.role} for row in now],
    }
    await events.append(session, conversation, "conversation.updated", payload, actor=actor, also_agents=also_agents)
