"""What an agent intends (online, busy, away, offline), apart from whether a socket of theirs is there.

Who lets several offers in a row pass is set away: they are not there, whatever they said.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import Invalid, NotFound
from app.events import log as events
from app.events.log import SYSTEM, Actor
from app.models import Agent
from app.models.words import Availability
from app.routing.members import queues_of
from app.wakeups import tell, wake

_QUEUES_TOLD = 100
PRESENT = (
    "EXISTS (SELECT 1 FROM agent_session s WHERE s.agent_id = {} AND s.closed_at IS NULL AND s.lease_until > now())"
)
"""SQL: whether a socket of an agent is open, by the expression of their id."""
_PRESENT = text(f"SELECT {PRESENT.format(':agent')}")
_RESET = text("UPDATE agent SET missed_offers = 0 WHERE id = :agent AND missed_offers > 0")
_AWAY = text(
    "UPDATE agent SET availability = 'away' WHERE id = ANY(CAST(:agents AS uuid[])) AND availability = 'online' "
    "AND missed_offers >= :limit RETURNING id, missed_offers"
)


async def is_present(session: AsyncSession, agent_id: UUID) -> bool:
    """Whether a socket of the agent is open."""
    return bool((await session.execute(_PRESENT, {"agent": agent_id})).scalar())


async def set_availability(session: AsyncSession, agent_id: UUID, availability: str) -> None:
    """What the agent says; what they missed before is forgotten. Raises Invalid, NotFound."""
    if availability not in set(Availability):
        raise Invalid("online, busy, away or offline", field="availability")
    agent = await session.get(Agent, agent_id)
    if agent is None:
        raise NotFound("there is no such agent")
    await forgive(session, agent_id)
    if agent.availability == availability:
        return
    before, agent.availability = agent.availability, availability
    session.add(agent)
    await session.flush()
    payload = {"agent_id": str(agent_id), "from": before, "to": availability}
    await events.audit(session, "agent.availability", payload, actor=Actor("agent", agent_id))
    await wake(session, "dispatch")


async def forgive(session: AsyncSession, agent_id: UUID) -> None:
    """The agent is there after all: the offers that they missed in a row count no more."""
    await session.execute(_RESET, {"agent": agent_id})


async def set_away(session: AsyncSession, agent_ids: Collection[UUID], *, limit: int) -> list[UUID]:
    """Those of the agents, held by the caller, who are online and missed `limit` offers in a row or more (0: nobody is).

    It is on the record, and their own sockets, their queues and supervisors are told. Returns who they are.
    """
    if limit <= 0 or not agent_ids:
        return []
    rows = (await session.execute(_AWAY, {"agents": sorted(agent_ids), "limit": limit})).all()
    for row in sorted(rows, key=lambda row: row.id):
        payload = {
            "agent_id": str(row.id),
            "from": Availability.ONLINE.value,
            "to": Availability.AWAY.value,
            "reason": "missed_offers",
            "missed": row.missed_offers,
        }
        await events.audit(session, "agent.availability", payload, actor=SYSTEM)
        await tell_presence(session, row.id)
    return [row.id for row in rows]


async def tell_presence(session: AsyncSession, agent_id: UUID) -> None:
    """`presence.updated` as it is when this transaction commits, in every process."""
    if (fact := await presence_fact(session, agent_id)) is not None:
        await tell(session, fact)


async def presence_fact(session: AsyncSession, agent_id: UUID) -> dict[str, Any] | None:
    """`presence.updated` for supervisors, the members of the agent's queues and the agent; None for nobody we know."""
    await session.flush()
    agent = await session.get(Agent, agent_id, populate_existing=True)
    if agent is None:
        return None
    queues = await queues_of(session, agent_id)
    return {
        "queues": [str(queue_id) for queue_id in queues[:_QUEUES_TOLD]],
        "agents": [str(agent_id)],
        "frame": {
            "type": "presence.updated",
            "agent": {
                "id": str(agent_id),
                "name": agent.name,
                "availability": agent.availability,
                "present": await is_present(session, agent_id),
            },
        },
    }
