"""What follows from a step of a call: clocks that are met, offers that are of no use any more, an agent who did not pick up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.clock import now
from app.conversations import assignment, calls_fold, classification
from app.conversations.states import WORKING
from app.db import settings_of
from app.events import log as events
from app.events import shapes
from app.models import Agent, Conversation, Message
from app.models.words import Availability, Matter
from app.routing import endings, offers, queues
from app.routing.classify import RANK, Classifier, graver, worse
from app.sla import clocks

HUNG_UP, LEFT_A_MESSAGE = "the caller hung up", "the caller left a message"
NO_ANSWER, AWAY = "no_answer", "agent_away"
AT_WORK = (Availability.ONLINE, Availability.BUSY)


async def follow(
    session: AsyncSession,
    conversation: Conversation,
    message: Message,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    catalog: Catalog,
) -> None:
    """`before` is {} at the first update. The caller holds the conversation; nothing happens to one that is done."""
    if conversation.status not in WORKING:
        return
    answered = after["answered_at"] is not None and not before.get("answered_at")
    over = calls_fold.is_over(after) and not calls_fold.is_over(before)
    missed = after["attempts"] > before.get("attempts", 0) and after["answered_at"] is None
    if not before and after["direction"] == "inbound" and not calls_fold.is_over(after) and not answered:
        await _find_somebody(session, conversation)
    if answered:
        await _answered(session, conversation, message, after)
    if over and after["direction"] == "inbound" and after["answered_at"] is None:
        await endings.withdraw(
            session, conversation, reason=LEFT_A_MESSAGE if after["state"] == "voicemail" else HUNG_UP
        )
    elif missed and not calls_fold.is_over(after):
        await _back_to_queue(session, conversation, reason=NO_ANSWER)
    if over:
        await clocks.follow(session, conversation)
    if after["transcript"] and after["transcript"] != before.get("transcript"):
        await _reclassify(session, conversation, after["transcript"], catalog)


async def _answered(
    session: AsyncSession, conversation: Conversation, message: Message, call: Mapping[str, Any]
) -> None:
    """We talk: that is our answer, as long after the call's beginning as those say who saw both."""
    if conversation.first_replied_at is None:
        conversation.first_replied_at = now()
        session.add(conversation)
    waited_s = calls_fold.waited_s(call) if call["direction"] == "inbound" else None
    answered_at = None if waited_s is None else message.created_at + timedelta(seconds=waited_s)
    await clocks.replied(session, conversation, answered_at=answered_at)
    if not calls_fold.is_over(call):
        await clocks.talking(session, conversation)


async def _find_somebody(session: AsyncSession, conversation: Conversation) -> None:
    """Whoever has the matter takes the call, unless they are not at work: nobody is rung at home."""
    if conversation.assignee_id is None:
        return
    agent = await session.get(Agent, conversation.assignee_id)
    if agent is None or not agent.active or agent.availability not in AT_WORK:
        await _back_to_queue(session, conversation, reason=AWAY)


async def _back_to_queue(session: AsyncSession, conversation: Conversation, *, reason: str) -> None:
    """Its agent cannot be had by telephone: the caller waits, with the matter's age, for somebody else. Its owner stays."""
    before = conversation.assignee_id
    if before is None:
        return
    await endings.withdraw(session, conversation, reason=reason)
    await assignment.release(session, conversation)
    payload: dict[str, Any] = {
        "conversation": shapes.conversation(conversation),
        "changed": ["assignee_id"],
        "reason": reason,
    }
    await events.append(session, conversation, "conversation.updated", payload, also_agents=[before])
    assert conversation.queue_id is not None, "whatever rings was put in a queue"
    again_s = settings_of(session).offer_again_s
    await queues.enqueue(session, conversation, queue_id=conversation.queue_id, passed_over=[before], again_s=again_s)


async def _reclassify(session: AsyncSession, conversation: Conversation, said: str, catalog: Catalog) -> None:
    """What was said may show the matter to be worse than a ringing telephone did."""
    if conversation.corrected:
        return
    found = _classifier(catalog).classify(said, subject=None, hint=None)
    if not graver(found, category=conversation.category, severity=conversation.severity):
        return
    await offers.hold_concerned(session, conversation)
    rises = RANK[found.category] >= RANK[conversation.category]
    stays = conversation.matter == Matter.COMPLAINT and found.matter != Matter.COMPLAINT
    await classification.apply(
        session,
        conversation,
        category=found.category if rises else conversation.category,
        matter=conversation.matter if stays else found.matter,
        severity=worse(found.severity, conversation.severity),
        complaint_type=conversation.complaint_type if stays else found.complaint_type,
        source="rules",
        fired=found.fired,
    )
    await queues.reclassified(session, conversation, catalog)


class _ByVersion:
    """Compiled rules are dear; a catalog that has not changed has the same."""

    __slots__ = ("catalog",)

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __hash__(self) -> int:
        return id(self.catalog)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByVersion) and self.catalog is other.catalog


@lru_cache(maxsize=2)
def _compiled(of: _ByVersion) -> Classifier:
    return Classifier(of.catalog.rules)


def _classifier(catalog: Catalog) -> Classifier:
    return _compiled(_ByVersion(catalog))
