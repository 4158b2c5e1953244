"""What is heard of a message after it was sent: the provider's word, and the customer's eyes on the widget."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import StatusUpdate
from app.db import Database
from app.delivery import orphans, outbox, refusals, settle, states
from app.delivery.outbox import Change
from app.events.log import Actor
from app.models import Conversation, Message
from app.models.words import DeliveryStatus, Direction

_logger = log.get("delivery")
_KEPT = frozenset({DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ, DeliveryStatus.FAILED})
_DROP = text("DELETE FROM outbox WHERE message_id = :message")
# Only those with something to tell of: a customer of years has many conversations.
_LOCK_THEIRS = text(
    "SELECT c.id FROM conversation c WHERE c.channel_id = :channel AND c.identity_id = ("
    "SELECT coalesce(i.same_as, i.id) FROM contact_identity i "
    "WHERE i.channel_id = :channel AND i.kind = :kind AND i.value = :value) "
    "AND EXISTS (SELECT 1 FROM message m WHERE m.conversation_id = c.id AND m.direction = 'outbound' "
    "AND m.status IN ('sent', 'delivered')) ORDER BY c.id FOR UPDATE"
)


async def take(database: Database, channel_id: UUID, update: StatusUpdate) -> bool:
    """`apply` in a transaction of its own. A status that is here before its message's id is kept for that; one that says
    that its recipient refuses us is remembered of them."""
    async with database.begin() as session:
        applied = await apply(session, channel_id, update)
    if not applied and _may_be_early(update) and await _park_or_apply(database, channel_id, update):
        applied = True
    if applied and update.refusal is not None:
        async with database.begin() as session:
            known = await _find(session, channel_id, update)
            if known is not None:
                status, key = DeliveryStatus(update.status), f"status:{known[0]}:{update.status}"
                detail = update.detail
                await refusals.learnt(session, known[0], update.refusal, key=key, detail=detail, status=status)
    return applied


def _may_be_early(update: StatusUpdate) -> bool:
    """One that carries our own id, or is of everything until a moment, would have found its message."""
    return bool(update.provider_message_id) and not update.our_id and update.upto is None and update.status in _KEPT


async def _park_or_apply(database: Database, channel_id: UUID, update: StatusUpdate) -> bool:
    async with database.begin() as session:
        await orphans.lock(session, channel_id, update.provider_message_id)
        if await _find(session, channel_id, update) is None:
            status, detail, code = DeliveryStatus(update.status), update.detail, _code(update)
            await orphans.park(session, channel_id, update.provider_message_id, status, detail=detail, error_code=code)
            return False
    async with database.begin() as session:
        return await apply(session, channel_id, update)


def _code(update: StatusUpdate) -> str | None:
    if update.status != DeliveryStatus.FAILED:
        return None
    return settle.error_code(update.failure) if update.failure is not None else "failed"


async def apply(session: AsyncSession, channel_id: UUID, update: StatusUpdate) -> bool:
    """Take in a provider's status of what we sent; False when we know no such message or status.

    Locks the conversation, so it has to be the first lock of the transaction.
    """
    try:
        status = DeliveryStatus(update.status)
    except ValueError:
        _logger.warning("status not known", channel_id=channel_id, status=update.status)
        return False
    known = await _find(session, channel_id, update)
    if known is None:
        return await _apply_upto(session, channel_id, update, status)
    message_id, conversation_id = known
    conversation = await session.get_one(Conversation, conversation_id, with_for_update=True, populate_existing=True)
    message = await session.get_one(Message, message_id, populate_existing=True)
    error = update.detail if status in (DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN) else None
    if message.provider_message_id is None:
        # Its sender has not heard of it: the provider took it all the same, and must not get it again.
        await session.execute(_DROP, {"message": message_id})
    await outbox.status_changed(
        session,
        conversation,
        message,
        status,
        error=error,
        error_code=_code(update),
        provider_message_id=message.provider_message_id or update.provider_message_id or None,
    )
    return True


async def _find(session: AsyncSession, channel_id: UUID, update: StatusUpdate) -> tuple[UUID, UUID] | None:
    """`(message, conversation)`: by the provider's id, else by our own that the provider carries back."""
    outbound = (col(Message.channel_id) == channel_id, col(Message.direction) == Direction.OUTBOUND)
    known = select(Message.id, Message.conversation_id).where(*outbound)
    if update.provider_message_id:
        by_theirs = known.where(col(Message.provider_message_id) == update.provider_message_id)
        if found := (await session.exec(by_theirs.order_by(col(Message.id).desc()).limit(1))).one_or_none():
            return found
    try:
        ours = UUID(update.our_id or "")
    except ValueError:
        return None
    return (await session.exec(known.where(col(Message.id) == ours))).one_or_none()


async def _apply_upto(session: AsyncSession, channel_id: UUID, update: StatusUpdate, status: DeliveryStatus) -> bool:
    """News of everything that its recipient was sent until a moment. What may not have been sent at all is left out."""
    if update.upto is None or update.recipient is None or status not in (DeliveryStatus.DELIVERED, DeliveryStatus.READ):
        return False
    values = {"channel": channel_id, "kind": update.recipient.kind, "value": update.recipient.value}
    held = (await session.execute(_LOCK_THEIRS, values)).scalars().all()
    arrived = [old for old in states.before(status) if old in (DeliveryStatus.SENT, DeliveryStatus.DELIVERED)]
    found = await session.exec(
        select(Message.id)
        .where(
            col(Message.conversation_id).in_(held),
            col(Message.channel_id) == channel_id,
            col(Message.direction) == Direction.OUTBOUND,
            col(Message.created_at) <= update.upto,
            col(Message.status).in_(arrived),
        )
        .order_by(col(Message.conversation_id), col(Message.seq))
    )
    return await outbox.change_many(session, [Change(message_id, status) for message_id in found.all()]) > 0


async def mark_read(session: AsyncSession, conversation: Conversation, seq: int) -> int:
    """The customer has seen everything up to `seq`; the number of messages that became `read` by it.

    The caller holds the conversation. `conversation.contact_read_seq` is the caller's to keep.
    """
    found = await session.exec(
        select(Message.id)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.seq) <= seq,
            col(Message.direction) == Direction.OUTBOUND,
            col(Message.status).in_(states.before(DeliveryStatus.READ)),
        )
        .order_by(col(Message.seq))
    )
    changes = [Change(message_id, DeliveryStatus.READ) for message_id in found.all()]
    return await outbox.change_many(session, changes, actor=Actor("contact", conversation.contact_id))
