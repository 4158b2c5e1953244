"""How an offer ends that nobody takes: declined, expired, withdrawn. Its room goes back, its conversation waits with its age."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import queries
from app.db import Database, after_commit, driver
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.models import Agent, Conversation
from app.models.words import OfferStatus
from app.routing import availability, offers
from app.wakeups import wake

RETRY_S = 0.02
AGAIN_S = 30.0
MISSES_UNTIL_AWAY = 3
_BATCH = 200
_END = Path(__file__).with_name("end_offers.sql").read_text()
_DUE = text(
    "SELECT conversation_id FROM offer WHERE status = 'pending' AND expires_at <= now() ORDER BY expires_at LIMIT :limit"
)
_NEXT = text("SELECT extract(epoch FROM min(expires_at) - now())::float8 FROM offer WHERE status = 'pending'")
_LEAVE = text("DELETE FROM queue_entry WHERE conversation_id = :id")
_UNTARGET = text(
    "UPDATE queue_entry e SET target_agent_id = NULL, target_until = NULL, excluded = ARRAY[CAST(:agent AS text)], "
    "round_at = now() + make_interval(secs => :again), next_at = next_at_v1("
    "q.rings, q.overflow_queue_id, q.overflow_after_s, q.max_wait_s, q.when_closed, q.calendar_id, "
    "e.entered_at, e.ring, e.escalated, :held, "
    "NULL, NULL, now() + make_interval(secs => :again)) FROM queue q "
    "WHERE q.id = e.queue_id AND e.conversation_id = :id"
)
# In a statement of their own, as conversations/assignment.py says.
_HOLD_OFFERED = """
    SELECT a.id FROM agent a
    WHERE a.id IN (
        SELECT unnest(ARRAY[o.agent_id, CASE WHEN $2 THEN c.assignee_id END])
        FROM offer o JOIN conversation c ON c.id = o.conversation_id
        WHERE o.conversation_id = ANY($1::uuid[]) AND o.status = 'pending' AND ($3::uuid IS NULL OR o.agent_id = $3))
    ORDER BY a.id FOR NO KEY UPDATE
"""


async def reject(
    session: AsyncSession, *, offer_id: UUID, agent: Agent, reason: str | None = None, again_s: float = AGAIN_S
) -> None:
    """The agent declines: the conversation waits again with its age, for somebody else. Raises NotFound, OfferExpired.

    They are not asked again for `again_s`. Declining again what one has declined changes nothing.
    """
    conversation, offer = await offers.held(session, offer_id, agent)
    if offer.status == OfferStatus.REJECTED:
        return
    offers.require_pending(offer)
    actor = Actor("agent", agent.id)
    await end(
        session,
        [conversation],
        OfferStatus.REJECTED,
        reason=reason or "rejected",
        leave_out=True,
        again_s=again_s,
        actor=actor,
    )


async def rescind(session: AsyncSession, conversation: Conversation, *, reason: str) -> None:
    """Take it out of routing: its pending offer is withdrawn, its entry removed. For what is resolved or closed.

    Call it before the verb that gives the assignee's capacity back: it takes all the agents' locks in their order.
    """
    await withdraw(session, conversation, reason=reason)
    await session.execute(_LEAVE, {"id": conversation.id})


async def withdraw(session: AsyncSession, conversation: Conversation, *, reason: str) -> None:
    """Withdraw the pending offer, if there is one; the entry, if there is one, waits again."""
    await end(session, [conversation], OfferStatus.RESCINDED, reason=reason, with_assignee=True)


async def end(
    session: AsyncSession,
    conversations: Collection[Conversation],
    outcome: OfferStatus,
    *,
    reason: str,
    agent_id: UUID | None = None,
    only_due: bool = False,
    leave_out: bool = False,
    again_s: float = AGAIN_S,
    misses_until_away: int = MISSES_UNTIL_AWAY,
    with_assignee: bool = False,
    actor: Actor = SYSTEM,
) -> int:
    """End the pending offers of these conversations (only those to `agent_id`, only those past their time).

    The caller holds the conversations. Capacity goes back, entries wait again where they were in the order; with
    `leave_out` the agent is passed over for `again_s`. `with_assignee` takes the lock of the assignee too, for a caller
    who gives back their capacity next. Expired ones count as missed: after `misses_until_away` in a row (0: never) the
    agent is away. Returns how many ended.
    """
    await session.flush()
    held = {conversation.id: conversation for conversation in conversations}
    connection = await driver(session)
    if not await connection.fetch(_HOLD_OFFERED, list(held), with_assignee, agent_id):
        return 0
    rows = await connection.fetch(_END, list(held), outcome.value, reason, agent_id, only_due, leave_out, again_s)
    if not rows:
        return 0
    kind = "offer.expired" if outcome is OfferStatus.EXPIRED else "offer.rescinded"
    why = outcome.value if outcome is OfferStatus.REJECTED else reason
    told = [
        (held[row["conversation_id"]], row["agent_id"], {"offer_id": str(row["id"]), "reason": why}) for row in rows
    ]
    await events.append_for_each(session, kind, told, actor=actor)
    for row in rows:
        if leave_out and row["target_agent_id"] is not None:
            conversation = held[row["conversation_id"]]
            await transfer_failed(
                session,
                conversation,
                row["agent_id"],
                outcome.value,
                escalated=row["escalated"],
                again_s=again_s,
                actor=actor,
            )
    if outcome is OfferStatus.EXPIRED:
        await availability.set_away(session, {row["agent_id"] for row in rows}, limit=misses_until_away)
    await wake(session, "dispatch")
    if leave_out or any(row["next_at"] is not None for row in rows):
        await wake(session, "patience")
    after_commit(session, partial(offers.OUTCOMES.labels(outcome.value).inc, len(rows)))
    return len(rows)


async def transfer_failed(
    session: AsyncSession,
    conversation: Conversation,
    agent_id: UUID,
    outcome: str,
    *,
    escalated: bool,
    again_s: float = AGAIN_S,
    actor: Actor = SYSTEM,
) -> None:
    """The agent it was meant for did not take it: it stays with its assignee, who is told, or goes to the queue.

    One that was escalated goes on waiting for a supervisor too.
    """
    has_it = conversation.assignee_id is not None
    if has_it and not escalated:
        await session.execute(_LEAVE, {"id": conversation.id})
    else:
        values = {"id": conversation.id, "agent": str(agent_id), "again": again_s, "held": has_it}
        await session.execute(_UNTARGET, values)
    if has_it:
        payload = {
            "conversation": shapes.conversation(conversation),
            "changed": [],
            "transfer": {"agent_id": str(agent_id), "outcome": outcome},
        }
        await events.append(session, conversation, "conversation.updated", payload, actor=actor)


async def expire_due(
    database: Database, *, again_s: float = AGAIN_S, misses_until_away: int = MISSES_UNTIL_AWAY
) -> float | None:
    """One step of the expiry loop; any number of processes may run it. Returns seconds to the next expiry."""
    async with database.begin() as session:
        due = (await session.execute(_DUE, {"limit": _BATCH})).scalars().all()
        if due:
            held = await queries.try_lock_many(session, due)
            await end(
                session,
                held,
                OfferStatus.EXPIRED,
                reason="expired",
                only_due=True,
                leave_out=True,
                again_s=again_s,
                misses_until_away=misses_until_away,
            )
            if len(held) < len(due):
                return RETRY_S
            if len(due) == _BATCH:
                return 0
        seconds: float | None = (await session.execute(_NEXT)).scalar()
    return None if seconds is None else max(seconds, RETRY_S / 2)
