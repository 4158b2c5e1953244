"""Who does not want to hear from us on a channel, or cannot be reached there: kept by the name they go by."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Refusal, RefusalReason, Sender
from app.clock import now
from app.delivery import reach
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import ContactIdentity, Conversation, Message
from app.models.words import DeliveryStatus

_logger = log.get("delivery")

# The newest word of each reason counts, whichever comes first; the same word again changes nothing.
_KEEP = text("""
    INSERT INTO contact_refusal AS r (channel_id, kind, value, reason, refused, key, at, detail)
    VALUES (:channel, :kind, :value, :reason, :refused, :key, :at, :detail)
    ON CONFLICT (channel_id, kind, value, reason) DO UPDATE
    SET refused = excluded.refused, key = excluded.key, at = excluded.at, detail = excluded.detail, created_at = now()
    WHERE r.key <> excluded.key AND (r.at < excluded.at OR (r.at = excluded.at AND NOT r.refused))
    RETURNING refused
""")
_LOCK_THEIRS = text(
    "SELECT c.id FROM contact_identity i JOIN conversation c "
    "ON c.identity_id = coalesce(i.same_as, i.id) AND c.contact_id = i.contact_id "
    "WHERE i.channel_id = :channel AND i.kind = :kind AND i.value = :value "
    "AND c.channel_id = :channel AND c.status <> 'closed' ORDER BY c.id FOR UPDATE OF c"
)


async def apply(session: AsyncSession, channel_id: UUID, refusal: Refusal) -> bool:
    """Take in a provider's word on one person; False when it tells nothing new, or is older than what is known.

    Those who see their open conversations are told. Locks these, so it has to be the first lock of the transaction.
    """
    who = {"channel": channel_id, "kind": refusal.sender.kind, "value": refusal.sender.value}
    held = (await session.execute(_LOCK_THEIRS, who)).scalars().all()
    at = refusal.at or now()
    kept = await session.execute(
        _KEEP,
        {
            **who,
            "reason": refusal.reason.value,
            "refused": refusal.on,
            "key": refusal.key,
            "at": min(at, now()),
            "detail": refusal.detail,
        },
    )
    if kept.first() is None:
        return False
    _logger.info("refusal" if refusal.on else "refusal taken back", channel_id=channel_id, reason=refusal.reason.value)
    for conversation_id in held:
        conversation = await session.get_one(Conversation, conversation_id, populate_existing=True)
        await _tell(session, conversation)
    return True


async def _tell(session: AsyncSession, conversation: Conversation) -> None:
    known = await reach.of(session, conversation)
    payload = {
        "conversation": shapes.conversation(conversation),
        "changed": ["refusals"],
        "refusals": reach.refusals_shape(known.refusals),
    }
    actor = Actor("contact", conversation.contact_id)
    await events.append(session, conversation, "conversation.updated", payload, actor=actor)


async def learnt(
    session: AsyncSession,
    message_id: UUID,
    reason: RefusalReason,
    *,
    key: str,
    detail: str | None,
    status: DeliveryStatus = DeliveryStatus.FAILED,
) -> bool:
    """A provider refused a message of ours because of its recipient; nothing is learnt from that where the message has
    another `status` by now: it arrived all the same. The first lock of the transaction, as `apply`."""
    found = await session.exec(
        select(Message.channel_id, ContactIdentity.kind, ContactIdentity.value)
        .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
        .join(ContactIdentity, col(ContactIdentity.id) == col(Conversation.identity_id))
        .where(col(Message.id) == message_id, col(Message.status) == status)
    )
    row = found.one_or_none()
    if row is None:
        return False
    channel_id, kind, value = row
    refusal = Refusal(key=key, sender=Sender(kind, value), reason=reason, detail=detail)
    return await apply(session, channel_id, refusal)
