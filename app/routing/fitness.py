"""Pending offers of agents who serve something no more are withdrawn where they could not be made any more.

`hold` before the change, because conversations come first in the order of locks; `withdraw` after it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import queries
from app.db import driver
from app.events.log import Actor
from app.models import Conversation
from app.models.words import OfferStatus
from app.routing import endings, reading
from app.routing.views import unfit

REASON = "not_in_queue"
_OFFERED = text(
    "SELECT conversation_id FROM offer WHERE status = 'pending' AND agent_id = ANY(CAST(:agents AS uuid[])) "
    "ORDER BY conversation_id"
)
_TO = text(
    "SELECT conversation_id, agent_id FROM offer WHERE status = 'pending' "
    "AND conversation_id = ANY(CAST(:ids AS uuid[])) AND agent_id = ANY(CAST(:agents AS uuid[]))"
)


async def hold(session: AsyncSession, agent_ids: Collection[UUID]) -> list[Conversation]:
    """What is offered to these agents, locked."""
    ids = (await session.execute(_OFFERED, {"agents": list(agent_ids)})).scalars().all()
    return [await queries.lock(session, conversation_id) for conversation_id in ids]


async def withdraw(
    session: AsyncSession, held: Sequence[Conversation], agent_ids: Collection[UUID], *, actor: Actor
) -> None:
    """Those of the offers to these agents that they are not fit for now; `held` is what `hold` gave. The conversations
    wait again with their age. What is meant for one agent stays theirs."""
    if not held:
        return
    await session.flush()
    given = {"ids": [conversation.id for conversation in held], "agents": list(agent_ids)}
    asked = {row.conversation_id: row.agent_id for row in (await session.execute(_TO, given)).all()}
    connection = await driver(session)
    views = {view.id: view for view in await reading.agents(connection, list(agent_ids))}
    ending = []
    for conversation in held:
        view = views.get(asked[conversation.id]) if conversation.id in asked else None
        row = await reading.entry(connection, conversation.id) if view is not None else None
        if view is not None and row is not None and unfit(reading.waiting(row), view):
            ending.append(conversation)
    if ending:
        await endings.end(session, ending, OfferStatus.RESCINDED, reason=REASON, actor=actor)
