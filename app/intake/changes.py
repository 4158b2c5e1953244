"""What becomes of a stored message: edited, deleted, reacted to. What was said before stays in storage, in its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import and_, col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Change, ChangeKind
from app.conversations import queries
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.models import Message
from app.models.words import Direction

_logger = log.get("intake")


async def apply(session: AsyncSession, channel_id: UUID, change: Change) -> bool | None:
    """Take in a change of a message that we have, exactly once by its key; False when it tells nothing new, None when the
    message is not here.

    A customer edits and deletes what is theirs; to what is ours they only react, and one of us may have changed it
    elsewhere. Locks the conversation, so it has to be the first lock of the transaction.
    """
    known = await _find(session, channel_id, change)
    if known is None:
        _logger.info("change of a message that is not here", channel_id=channel_id, kind=change.kind.value)
        return None
    message_id, conversation_id = known
    conversation = await queries.lock(session, conversation_id)
    message = await session.get_one(Message, message_id, populate_existing=True)
    text, content, shows = changed(message.text, message.content, change)
    if content is message.content:
        return False
    message.text, message.content = text, content
    session.add(message)
    if not shows:
        return True
    payload = {
        "message_id": str(message.id),
        "seq": message.seq,
        "change": {
            "kind": change.kind.value,
            "text": None if change.kind is ChangeKind.DELETE else change.text,
            "at": shapes.moment(change.at),
        },
    }
    actor = SYSTEM if _by_us(change) else Actor("contact", conversation.contact_id)
    await events.append(session, conversation, "message.updated", payload, actor=actor, to_customer=True)
    return True


async def _find(session: AsyncSession, channel_id: UUID, change: Change) -> tuple[UUID, UUID] | None:
    """`(message, conversation)`; of two that the same id fits, the older one."""
    named = []
    if change.external_id:
        theirs = col(Message.external_id) == change.external_id
        reaction = change.kind is ChangeKind.REACTION
        named.append(theirs if reaction else and_(theirs, col(Message.direction) == Direction.INBOUND))
    if change.provider_message_id:
        sent = col(Message.provider_message_id) == change.provider_message_id
        echo = col(Message.external_id) == change.provider_message_id
        named.append(and_(col(Message.direction) == Direction.OUTBOUND, or_(sent, echo)))
    if not named:
        return None
    wanted = select(Message.id, Message.conversation_id).where(col(Message.channel_id) == channel_id, or_(*named))
    return (await session.exec(wanted.order_by(col(Message.id)).limit(1))).one_or_none()


def _by_us(change: Change) -> bool:
    """Done in the provider's app to a message of ours; a customer's change of their own names their `external_id`."""
    return change.kind is not ChangeKind.REACTION and not change.external_id


def changed(text: str, content: dict[str, Any], change: Change) -> tuple[str, dict[str, Any], bool]:
    """`(text, content, shows)` after a change; the very same `content` when the change is known already.

    An entry of `history` keeps what the change brought (`text`) and what it replaced (`was`). Changes that overtake
    each other end at the newest; nothing brings a deleted message back. `shows`: people see something new.
    """
    history = list(content.get("history") or ())
    if any(entry["key"] == change.key for entry in history):
        return text, content, False
    at = shapes.moment(change.at)
    by = "us" if _by_us(change) else change.sender.value
    entry = {"key": change.key, "kind": change.kind.value, "by": by, "text": change.text, "at": at}
    after = {**content, "history": [*history, entry]}
    if change.kind is ChangeKind.REACTION:
        if _is_late(change, [old for old in history if (old["kind"], old["by"]) == ("reaction", entry["by"])]):
            return text, after, False
        others = {who: what for who, what in (content.get("reactions") or {}).items() if who != entry["by"]}
        after["reactions"] = {**others, entry["by"]: change.text} if change.text else others
        return text, after, True
    if content.get("deleted"):
        return text, after, False
    if change.kind is ChangeKind.DELETE:
        entry["was"], after["deleted"] = text, at or True
        return "", after, True
    if _is_late(change, [old for old in history if old["kind"] == "edit"]):
        return text, after, False
    entry["was"], after["edited"] = text, at or True
    return change.text or "", after, True


def _is_late(change: Change, before: list[Mapping[str, Any]]) -> bool:
    """Something newer of its kind was heard of already."""
    moments = [datetime.fromisoformat(old["at"]) for old in before if old["at"]]
    return change.at is not None and any(moment > change.at for moment in moments)
