"""Whether an agent is there: leases of their open sockets. Apart from availability, which is what they intend.

An agent whose last socket ended, or whose process stopped renewing, has a grace; then what they held goes back. The
grace is time in which they can come back: while no process lived at all (an outage, a restart) it does not pass.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, CatalogCache
from app.conversations import assignment, queries
from app.db import Database
from app.events import log as events
from app.events import shapes
from app.ids import new_id
from app.models import Conversation
from app.models.words import ConversationStatus, OfferStatus
from app.routing import endings, queues
from app.routing.availability import is_present as is_present
from app.routing.availability import set_availability as set_availability
from app.routing.availability import tell_presence
from app.settings import Settings
from app.wakeups import wake

TOPIC = "presence"
LIVE_CHANNELS = ("webchat",)
RETRY_S = 0.05
_LOST_BATCH = 50

_OPEN = text(
    "INSERT INTO agent_session(id, agent_id, process, lease_until) "
    "VALUES (:id, :agent, :process, now() + make_interval(secs => :lease))"
)
_CLOSE = text("UPDATE agent_session SET closed_at = now() WHERE id = :id AND closed_at IS NULL RETURNING id")
_RENEW = text(
    "WITH lapsed AS (SELECT DISTINCT agent_id FROM agent_session "
    "WHERE process = :process AND closed_at IS NULL AND lease_until <= now()), "
    "renewed AS (UPDATE agent_session SET lease_until = now() + make_interval(secs => :lease) "
    "WHERE process = :process AND closed_at IS NULL) SELECT agent_id FROM lapsed ORDER BY agent_id"
)
# Since when the house has been awake without a gap: at least one process said so (`updated_at`) within each lease.
_AWAKE = text("""
    INSERT INTO instance AS i (name, value, updated_at)
    SELECT 'awake_since', now()::text, now()
    WHERE NOT EXISTS (
        SELECT 1 FROM instance WHERE name = 'awake_since' AND updated_at > now() - make_interval(secs => :lease / 6))
    ON CONFLICT (name) DO UPDATE
    SET value = CASE WHEN i.updated_at < now() - make_interval(secs => :lease) THEN excluded.value ELSE i.value END,
        updated_at = greatest(i.updated_at, excluded.updated_at)
""")
# A lease of 'epoch' marks an ended session whose loss has been dealt with; renewing brings it back to life.
_GONE = """
    SELECT agent_id, :grace + extract(epoch FROM greatest(
               max(least(closed_at, lease_until)),
               (SELECT value::timestamptz FROM instance WHERE name = 'awake_since')) - now())::float8 AS in_s
    FROM agent_session WHERE lease_until > 'epoch' GROUP BY agent_id
"""
_LOST = text(f"SELECT agent_id, in_s FROM ({_GONE}) gone ORDER BY in_s LIMIT :limit")
_STILL_LOST = text(f"SELECT 1 FROM ({_GONE}) gone WHERE agent_id = :agent AND in_s <= 0")
_HOLD_AGENT = text("SELECT 1 FROM agent WHERE id = :agent FOR UPDATE")
_SETTLED = text("UPDATE agent_session SET lease_until = 'epoch' WHERE agent_id = :agent")
_PRUNE = text(
    "DELETE FROM agent_session s WHERE (s.closed_at IS NOT NULL AND (s.lease_until = 'epoch' OR EXISTS ("
    "SELECT 1 FROM agent_session o WHERE o.agent_id = s.agent_id AND o.closed_at IS NULL AND o.lease_until > now()))) "
    "OR (s.lease_until = 'epoch' AND s.created_at < now() - interval '7 days')"
)
_HANDS = text(
    "SELECT conversation_id FROM offer WHERE agent_id = :agent AND status = 'pending' UNION "
    "SELECT c.id FROM assignment a JOIN conversation c ON c.id = a.conversation_id "
    "WHERE a.agent_id = :agent AND a.ended_at IS NULL AND c.status IN ('open', 'waiting_on_customer') "
    "AND (:policy = 'all' OR (:policy = 'live' AND c.channel_type = ANY(CAST(:live AS text[]))))"
)


async def open(session: AsyncSession, agent_id: UUID, process: str, *, lease_s: float = 30) -> UUID:
    """A socket of the agent is there, served by `process`; returns the session's id."""
    session_id = new_id()
    await session.execute(_OPEN, {"id": session_id, "agent": agent_id, "process": process, "lease": lease_s})
    await wake(session, "dispatch")
    return session_id


async def close(session: AsyncSession, session_id: UUID) -> None:
    """The socket is gone; the grace begins. Closing twice changes nothing."""
    closed = await session.execute(_CLOSE, {"id": session_id})
    if closed.first() is not None:
        await wake(session, TOPIC)


async def renew(database: Database, process: str, *, lease_s: float) -> float:
    """Step of a loop: this process lives, and so do all its sockets. Returns seconds to the next renewal.

    Those whose lease had run out, because we were slow, are there again and can be offered something at once.
    """
    async with database.begin() as session:
        await session.execute(_AWAKE, {"lease": lease_s})
        revived = (await session.execute(_RENEW, {"process": process, "lease": lease_s})).scalars().all()
        if revived:
            await wake(session, "dispatch")
        for agent_id in revived:
            await tell_presence(session, agent_id)
    return lease_s / 3


async def reap(database: Database, catalog: CatalogCache, settings: Settings) -> float | None:
    """Step of a loop: give back what lost agents held, once, on any number of processes. Returns seconds to the next."""
    async with database.begin() as session:
        await session.execute(_AWAKE, {"lease": settings.session_lease_s})
    async with database.begin() as session:
        rows = (await session.execute(_LOST, {"grace": settings.presence_grace_s, "limit": _LOST_BATCH})).all()
        await session.execute(_PRUNE)
    if not rows:
        return None
    again = False
    for agent_id in [row.agent_id for row in rows if row.in_s <= 0]:
        async with database.begin() as session:
            settled = await _lose(session, agent_id, await catalog.current(), settings)
        again = again or not settled
    later: list[float] = [row.in_s for row in rows if row.in_s > 0]
    if again:
        return RETRY_S
    if not later:
        return 0 if len(rows) == _LOST_BATCH else None
    return max(min(later), RETRY_S)


async def _lose(session: AsyncSession, agent_id: UUID, catalog: Catalog, settings: Settings) -> bool:
    """One lost agent; False when somebody else holds one of the conversations: then it has to be done again.

    The agent's row is held so that a socket that opens now waits for us, or we see it and leave everything as it is.
    """
    hands = {"agent": agent_id, "policy": settings.requeue_on_agent_loss, "live": list(LIVE_CHANNELS)}
    ids = (await session.execute(_HANDS, hands)).scalars().all()
    held = await queries.try_lock_many(session, ids) if ids else []
    await session.execute(_HOLD_AGENT, {"agent": agent_id})
    lost = await session.execute(_STILL_LOST, {"grace": settings.presence_grace_s, "agent": agent_id})
    if lost.first() is None:
        return True
    theirs = set((await session.execute(_HANDS, hands)).scalars())
    mine = [conversation for conversation in held if conversation.id in theirs]
    await endings.end(session, mine, OfferStatus.RESCINDED, reason="agent_lost", agent_id=agent_id)
    for conversation in mine:
        if conversation.assignee_id == agent_id and _goes_back(conversation, settings):
            await _take_back(session, conversation, agent_id, catalog)
    if len(mine) < len(theirs):
        return False
    await session.execute(_SETTLED, {"agent": agent_id})
    await tell_presence(session, agent_id)
    return True


def _goes_back(conversation: Conversation, settings: Settings) -> bool:
    if conversation.status not in (ConversationStatus.OPEN, ConversationStatus.WAITING_ON_CUSTOMER):
        return False
    policy = settings.requeue_on_agent_loss
    return policy == "all" or (policy == "live" and conversation.channel_type in LIVE_CHANNELS)


async def _take_back(session: AsyncSession, conversation: Conversation, agent_id: UUID, catalog: Catalog) -> None:
    """Back to the queue with its age; the owner stays the owner, and who is being asked besides goes on being asked."""
    await assignment.release(session, conversation)
    payload: dict[str, Any] = {
        "conversation": shapes.conversation(conversation),
        "changed": ["assignee_id"],
        "reason": "agent_lost",
    }
    await events.append(session, conversation, "conversation.updated", payload, also_agents=[agent_id])
    await queues.back(session, conversation, catalog)
