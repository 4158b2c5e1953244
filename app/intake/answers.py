"""Customers who answer a receipt on their own channel, in their own words: kept in the matter, and taken at their word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, feedback, queries
from app.errors import AlreadyAnswered
from app.feedback import recovery
from app.feedback.understand import Understood, understand
from app.intake.prepare import Prepared
from app.models.words import ConversationStatus, MessageKind
from app.routing import offers

VIA = "message"
_ENDED = (ConversationStatus.RESOLVED, ConversationStatus.CLOSED)
_WHO = text(
    "SELECT c.id, c.name FROM contact_identity i JOIN contact c ON c.id = i.contact_id "
    "WHERE i.channel_id = :channel AND i.kind = :kind AND i.value = :value"
)


@dataclass(frozen=True, slots=True)
class Heard:
    """`message` is to be stored in the matter that it answers, without reopening it."""

    message: Prepared
    cycle_id: UUID
    understood: Understood


async def hear(session: AsyncSession, conversation_id: UUID, prepared: Prepared) -> Heard | None:
    """What a message says to the newest receipt of a conversation that is over, which is held from now on; None when it
    is an ordinary message, or of somebody else than its customer."""
    conversation = await queries.lock(session, conversation_id)
    if conversation.status not in _ENDED:
        return None
    item = orjson.loads(prepared.item)
    if item["quiet"] or item["attachments"] or item.get("kind") == MessageKind.CALL:
        return None
    cycle = await queries.newest_cycle(session, conversation)
    if cycle is None:
        return None
    waits = closing.waits(conversation, cycle) or await recovery.asked(session, conversation_id)
    by = {"channel": prepared.channel_id, "kind": prepared.kind, "value": prepared.value}
    who = (await session.execute(_WHO, by)).one_or_none()
    if who is None or who.id != conversation.contact_id:
        return None
    if (understood := understand(item["text"], settled=not waits, name=who.name)) is None:
        return None
    await offers.hold_concerned(session, conversation)
    item["quiet"] = True
    item["content"] = {**item["content"], "answer": {"rule": understood.rule, "cycle": cycle.number}}
    message = replace(prepared, target=conversation_id, item=orjson.dumps(item).decode())
    return Heard(message, cycle.id, understood)


async def take(session: AsyncSession, heard: Heard) -> None:
    """The answer counts; one that contradicts what was said before is only a message."""
    if heard.understood.answer is None:
        return
    try:
        await feedback.answer_receipt(session, cycle_id=heard.cycle_id, answer=heard.understood.answer, via=VIA)
    except AlreadyAnswered:
        return
