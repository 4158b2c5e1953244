"""Answers to receipts that name which one they answer: pressed buttons, and words from where a receipt was sent instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import receipts
from app.channels.base import InboundMessage, Parsed
from app.conversations import feedback, queries
from app.db import Database
from app.errors import AlreadyAnswered
from app.feedback.survey import Answer
from app.feedback.understand import understand
from app.routing import offers

FOREIGN = "a button of a receipt that is not theirs"
_BUTTON, _MESSAGE = "button", "message"
_PRESSED = text(
    "SELECT r.id, r.number, r.state, r.conversation_id FROM resolution_cycle r "
    "JOIN conversation c ON c.id = r.conversation_id JOIN contact_identity i ON i.contact_id = c.contact_id "
    "WHERE r.id = :cycle AND i.channel_id = :channel AND i.kind = :kind AND i.value = :value"
)
# Closed since nothing was heard, as closing.waits knows it.
_UNHEARD = "coalesce(r.decided_via = 'timeout' AND c.status = 'closed' AND c.reopen_until > now(), false)"
# Who has a matter of their own open there means that one. Ratings may come for a while after it is settled. `asked`: of a
# closed matter, whether what was made good helped.
_REACHED = text(f"""
    SELECT r.id, r.number, r.conversation_id, r.state <> 'pending' AND asked.task IS NULL AND NOT {_UNHEARD} AS settled
    FROM contact_identity i
    JOIN resolution_cycle r ON r.reached_at = coalesce(i.same_as, i.id)
    JOIN conversation c ON c.id = r.conversation_id AND c.cycle = r.number
    LEFT JOIN LATERAL (SELECT t.id AS task FROM recovery_task t
                       WHERE t.conversation_id = c.id AND c.status = 'closed' AND t.state = 'done'
                       AND t.asked_at IS NOT NULL LIMIT 1) asked ON true
    WHERE i.channel_id = :channel AND i.kind = :kind AND i.value = :value
    AND (r.state = 'pending' OR asked.task IS NOT NULL OR {_UNHEARD} OR r.decided_at > now() - interval '7 days')
    AND NOT EXISTS (SELECT 1 FROM conversation o WHERE o.identity_id = coalesce(i.same_as, i.id)
                    AND o.channel_id = i.channel_id AND o.status <> 'closed')
    ORDER BY r.created_at DESC LIMIT 1
""")
_GIVEN = text(
    "SELECT conversation_id, content->'answer' AS answer FROM message "
    "WHERE id = ANY(CAST(:ids AS uuid[])) AND jsonb_typeof(content->'answer'->'cycle_id') = 'string' "
    "ORDER BY conversation_id, seq"
)


@dataclass(frozen=True, slots=True)
class Meant:
    """`content` is kept with the message, which goes into that conversation and moves nothing by itself."""

    conversation_id: UUID
    content: Mapping[str, Any]


async def own(database: Database, channel_id: UUID, parsed: Parsed) -> Parsed:
    """Without presses of buttons that no receipt of theirs has: these do nothing."""
    kept = [
        message
        for message in parsed.messages
        if message.pressed is None or await meant(database, channel_id, message) is not None
    ]
    if len(kept) == len(parsed.messages):
        return parsed
    return replace(parsed, messages=kept, ignored=(*parsed.ignored, FOREIGN))


async def meant(database: Database, channel_id: UUID, message: InboundMessage) -> Meant | None:
    """The receipt that a message answers wherever it comes from; None for an ordinary message. The database is asked only
    about what could be an answer."""
    who = {"channel": channel_id, "kind": message.sender.kind, "value": message.sender.value}
    if message.pressed is not None:
        return await _pressed(database, message.pressed, who)
    if (
        message.automatic
        or message.files
        or message.call is not None
        or understand(message.text, name=message.sender.name) is None
    ):
        return None
    async with database.begin() as session:
        row = (await session.execute(_REACHED, who)).one_or_none()
    if row is None:
        return None
    understood = understand(message.text, settled=row.settled, name=message.sender.name)
    if understood is None:
        return None
    said = understood.answer.model_dump(exclude_none=True) if understood.answer else {}
    return _meant(row, understood.rule, said, _MESSAGE)


async def _pressed(database: Database, payload: str, who: Mapping[str, Any]) -> Meant | None:
    found = receipts.read(payload)
    if found is None:
        return None
    cycle_id, outcome, about = found
    async with database.begin() as session:
        row = (await session.execute(_PRESSED, {**who, "cycle": cycle_id})).one_or_none()
    return _meant(row, "button", {"outcome": outcome, "about": about}, _BUTTON) if row is not None else None


def _meant(row: Any, rule: str, said: Mapping[str, Any], via: str) -> Meant:
    content = {"rule": rule, "cycle": row.number, "cycle_id": str(row.id), "said": dict(said), "via": via}
    return Meant(row.conversation_id, content)


async def take(session: AsyncSession, messages: Sequence[UUID]) -> None:
    """What stored messages say counts, once; of an older receipt than the newest, or against what was said before, it is
    only kept."""
    for row in (await session.execute(_GIVEN, {"ids": list(messages)})).all():
        conversation = await queries.lock(session, row.conversation_id)
        cycle = await queries.newest_cycle(session, conversation)
        given = row.answer
        if cycle is None or str(cycle.id) != given["cycle_id"] or not given["said"]:
            continue
        await offers.hold_concerned(session, conversation)
        answer = Answer.model_validate(given["said"])
        try:
            await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via=given["via"])
        except AlreadyAnswered:
            continue
