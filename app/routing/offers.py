"""Offers: made with the capacity they hold, and ended in exactly one way: accepted (here), rejected, expired or rescinded
(endings.py).

Every function holds the conversation's row before it looks at its offer: that lock decides every race.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter, Histogram
from sqlalchemy import Row, text
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import assignment, queries
from app.conversations.states import WORKING
from app.db import after_commit, driver
from app.errors import NotFound, OfferExpired
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.ids import new_id
from app.models import Agent, Contact, Conversation, Message, Offer, Queue, QueueEntry
from app.models.words import Direction, OfferStatus
from app.routing import availability, stepping_in
from app.routing.choose import Decision, Waiting
from app.settings import Settings
from app.wakeups import wake

TOPIC = "offers"
LIVE = ("webchat", "voice")
"""Where somebody waits on the line: their offers are short."""
_PREVIEW = 200
_MAKE = Path(__file__).with_name("make_offers.sql").read_text()
_HOLD = text(
    "SELECT o.id, o.agent_id, o.status, o.reason, o.weight, o.expires_at <= clock_timestamp() AS late, "
    "e.target_agent_id IS NOT NULL AS targeted, coalesce(e.escalated, false) AS escalated, "
    "coalesce(e.specialists, '{}') AS specialists, e.escalated AND NOT o.escalated AS newly "
    "FROM offer o LEFT JOIN queue_entry e ON e.conversation_id = o.conversation_id WHERE o.id = :id FOR UPDATE OF o"
)
_PENDING = text("SELECT id FROM offer WHERE conversation_id = :id AND status = 'pending'")
_TAKE = text("UPDATE offer SET status = 'accepted', decided_at = now() WHERE id = :id")
_WHY_LATE = {
    OfferStatus.ACCEPTED: "the offer has been accepted already",
    OfferStatus.REJECTED: "the offer was declined",
    OfferStatus.EXPIRED: "the time to answer is over",
    OfferStatus.RESCINDED: "the offer was withdrawn",
}

OUTCOMES = Counter("roundtrip_offers_total", "Offers made to agents, and how they ended", ["outcome"])
WAIT = Histogram(
    "roundtrip_offer_wait_seconds",
    "From entering the queue to the offer",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600, 3600, 86400),
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A choice to be carried out for a conversation that the caller holds.

    `direct`: the agent is not asked, they simply get it; what is meant for one agent has to be accepted all the same.
    """

    conversation: Conversation
    entry: Waiting
    decision: Decision
    timeout_s: float
    explanation: dict[str, Any]
    direct: bool = False

    @property
    def given(self) -> bool:
        return self.direct and self.entry.target_agent_id is None


def timeout_s(queue: Queue | None, channel_type: str, settings: Settings) -> float:
    """Seconds an agent has to answer an offer."""
    if queue is not None and queue.offer_timeout_s is not None:
        return queue.offer_timeout_s
    return settings.offer_timeout_chat_s if channel_type in LIVE else settings.offer_timeout_s


async def make(session: AsyncSession, proposals: Sequence[Proposal]) -> list[Offer]:
    """Carry out what is still possible: agents' room and the entries may have changed since the choice.

    Four statements for any number of proposals, and some for each that is given directly. The caller holds the
    conversations.
    """
    if not proposals:
        return []
    await session.flush()
    connection = await driver(session)
    losing = [proposal.conversation.assignee_id for proposal in proposals if proposal.given]
    await assignment.hold_agents(session, [*losing, *(proposal.decision.agent_id for proposal in proposals)])
    rows = await connection.fetch(
        _MAKE,
        [new_id() for _ in proposals],
        [proposal.conversation.id for proposal in proposals],
        [proposal.decision.agent_id for proposal in proposals],
        [proposal.decision.weight for proposal in proposals],
        [proposal.timeout_s for proposal in proposals],
        [new_id() for _ in proposals],
        [orjson.dumps(proposal.explanation).decode() for proposal in proposals],
        [proposal.entry.queue_id for proposal in proposals],
        [proposal.entry.weight for proposal in proposals],
        [proposal.entry.escalated for proposal in proposals],
        [proposal.entry.target_agent_id for proposal in proposals],
    )
    told, made, given = [], [], []
    for row in rows:
        proposal = proposals[row["n"] - 1]
        offer = Offer(status=OfferStatus.PENDING, **{name: row[name] for name in _COLUMNS})
        shown = _shown(offer, proposal.conversation, row["contact_name"], row["last_message"], row["note"])
        told.append((proposal.conversation, offer.agent_id, shown))
        made.append(offer)
        if proposal.given:
            given.append((proposal.conversation, offer, proposal.entry))
        after_commit(session, partial(WAIT.observe, proposal.entry.waited_s))
    if made:
        await events.append_for_each(session, "offer.created", told)
        for conversation, offer, entry in given:
            agent = await session.get_one(Agent, offer.agent_id)
            await _take(session, conversation, offer.id, agent=agent, weight=offer.weight, how="direct", actor=SYSTEM)
            await stepping_in.taken(
                session, conversation, agent, escalated=entry.escalated, specialists=entry.specialists
            )
            offer.status = OfferStatus.ACCEPTED
        await wake(session, TOPIC)
        after_commit(session, partial(OUTCOMES.labels("created").inc, len(made)))
    return made


_COLUMNS = ("id", "conversation_id", "agent_id", "queue_id", "weight", "escalated", "created_at", "expires_at")


def _shown(
    offer: Offer, conversation: Conversation, contact_name: str | None, last_message: str | None, note: str | None
) -> dict[str, Any]:
    """What the agent sees: enough to decide. `note` is the word of whoever transferred it."""
    return {
        "offer_id": str(offer.id),
        "expires_at": shapes.moment(offer.expires_at),
        "weight": offer.weight,
        "escalated": offer.escalated,
        "note": note,
        "conversation": {
            **shapes.conversation(conversation),
            "contact_name": contact_name,
            "last_message": last_message,
        },
    }


async def pending_of(session: AsyncSession, *, agent_id: UUID) -> list[dict[str, Any]]:
    """The offers an agent can still accept, as `offer.created` showed them, oldest first."""
    preview = (
        select(Message.text)
        .where(col(Message.conversation_id) == col(Offer.conversation_id), col(Message.direction) != Direction.NOTE)
        .order_by(col(Message.seq).desc())
        .limit(1)
        .scalar_subquery()
    )
    found = await session.execute(
        columns(Offer, Conversation, col(Contact.name), preview, col(QueueEntry.note))
        .join(Conversation, col(Conversation.id) == col(Offer.conversation_id))
        .join(Contact, col(Contact.id) == col(Conversation.contact_id))
        .outerjoin(QueueEntry, col(QueueEntry.conversation_id) == col(Offer.conversation_id))
        .where(col(Offer.agent_id) == agent_id, col(Offer.status) == OfferStatus.PENDING)
        .order_by(col(Offer.created_at), col(Offer.id))
    )
    return [
        _shown(offer, conversation, name, (last or "")[:_PREVIEW] if last is not None else None, note)
        for offer, conversation, name, last, note in found.all()
    ]


async def accept(session: AsyncSession, *, offer_id: UUID, agent: Agent) -> Conversation:
    """The agent takes it: the capacity that was held is now the assignment's. Raises NotFound, OfferExpired.

    Of what is for seniors, and the agent is none, these go on being asked (stepping_in.py says when). Accepting again
    what one has accepted changes nothing.
    """
    conversation, offer = await held(session, offer_id, agent)
    if offer.status == OfferStatus.ACCEPTED:
        return conversation
    require_pending(offer)
    if offer.late:
        raise OfferExpired(_WHY_LATE[OfferStatus.EXPIRED])
    if conversation.status not in WORKING:
        raise OfferExpired(f"the conversation is {conversation.status}")
    await assignment.hold_agents(session, [agent.id, conversation.assignee_id])
    await availability.forgive(session, agent.id)
    how = "transfer" if offer.targeted else "offer"
    actor = Actor("agent", agent.id)
    await _take(session, conversation, offer_id, agent=agent, weight=offer.weight, how=how, actor=actor)
    await stepping_in.taken(
        session,
        conversation,
        agent,
        escalated=offer.escalated,
        specialists=offer.specialists,
        newly=bool(offer.newly),
    )
    return conversation


async def _take(
    session: AsyncSession,
    conversation: Conversation,
    offer_id: UUID,
    *,
    agent: Agent,
    weight: int,
    how: str,
    actor: Actor,
) -> None:
    """A pending offer becomes the assignment. The caller holds the agent and the assignee, if it ends with one, and says
    what becomes of the entry."""
    await session.execute(_TAKE, {"id": offer_id})
    payload = {"offer_id": str(offer_id), "agent_id": str(agent.id)}
    await events.append_for_agents(session, conversation, "offer.accepted", payload, agents=[agent.id], actor=actor)
    await assignment.assign(session, conversation, agent_id=agent.id, weight=weight, how=how, actor=actor)
    after_commit(session, OUTCOMES.labels("accepted").inc)


async def pending(session: AsyncSession, conversation: Conversation) -> Row[Any] | None:
    """The pending offer of a conversation that the caller holds: id, agent_id, weight, late, targeted; held too."""
    offer_id = (await session.execute(_PENDING, {"id": conversation.id})).scalar()
    if offer_id is None:
        return None
    found: Row[Any] = (await session.execute(_HOLD, {"id": offer_id})).one()
    return found


async def hold_concerned(session: AsyncSession, conversation: Conversation) -> None:
    """Lock its assignee and whoever is being asked to take it over, before something is done that may change both."""
    offer = await pending(session, conversation) if conversation.assignee_id is not None else None
    if offer is not None:
        await assignment.hold_agents(session, [offer.agent_id, conversation.assignee_id])


async def held(session: AsyncSession, offer_id: UUID, agent: Agent) -> tuple[Conversation, Row[Any]]:
    """Both locked, the conversation first; the offer as it is then. Raises NotFound, OfferExpired for another's."""
    found = await session.exec(select(Offer.conversation_id).where(col(Offer.id) == offer_id))
    conversation_id = found.one_or_none()
    if conversation_id is None:
        raise NotFound("there is no such offer")
    conversation = await queries.lock(session, conversation_id)
    offer = (await session.execute(_HOLD, {"id": offer_id})).one()
    if offer.agent_id != agent.id:
        raise OfferExpired("this offer is not yours")
    return conversation, offer


def require_pending(offer: Row[Any]) -> None:
    if offer.status != OfferStatus.PENDING:
        raise OfferExpired(_WHY_LATE[OfferStatus(offer.status)], reason=offer.reason)
