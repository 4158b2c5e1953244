"""A team that joins in: its agents help with a conversation, as participants."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Conversation

_OF_TEAM = text(
    "SELECT a.id FROM team_member m JOIN agent a ON a.id = m.agent_id WHERE m.team_id = :team AND a.active ORDER BY a.id"
)
_ADD = text(
    "INSERT INTO conversation_participant(conversation_id, agent_id, role) "
    "SELECT :conversation, agent, 'collaborator' FROM unnest(CAST(:agents AS uuid[])) AS agent ORDER BY agent "
    "ON CONFLICT DO NOTHING RETURNING agent_id"
)
_ALL = text(
    "SELECT p.agent_id, a.name, p.role FROM conversation_participant p JOIN agent a ON a.id = p.agent_id "
    "WHERE p.conversation_id = :conversation ORDER BY p.created_at, p.agent_id"
)


async def of_team(session: AsyncSession, team_id: UUID) -> list[UUID]:
    """The active agents of a team."""
    return list((await session.execute(_OF_TEAM, {"team": team_id})).scalars())


async def collaborate(
    session: AsyncSession, conversation: Conversation, agent_ids: Collection[UUID], *, actor: Actor
) -> list[UUID]:
    """These help from now on; the caller holds the conversation. Returns who is new; who has it is passed over."""
    wanted = set(agent_ids) - {conversation.assignee_id, conversation.owner_id}
    await session.flush()
    given = {"conversation": conversation.id, "agents": list(wanted)}
    added = list((await session.execute(_ADD, given)).scalars())
    if added:
        now = (await session.execute(_ALL, {"conversation": conversation.id})).all()
        conversation.participant_ids = sorted(row.agent_id for row in now)
        session.add(conversation)
        payload = {
            "conversation": shapes.conversation(conversation),
            "changed": ["participants"],
            "participants": [{"agent_id": str(row.agent_id), "name": row.name, "role": row.role} for row in now],
        }
        await events.append(session, conversation, "conversation.updated", payload, actor=actor)
    return added
