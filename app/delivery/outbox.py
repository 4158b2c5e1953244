"""What waits to be sent, and what becomes of it: the only writers of an outbound message's status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery import states, unreached
from app.events import log as events
from app.events.log import SYSTEM, Actor
from app.models import Conversation, Message
from app.models.words import DeliveryStatus
from app.wakeups import wake

TOPIC = "outbox"

# Behind a message that waits for its next attempt, not before it: blocked rows stay out of the index of what is due.
_ENQUEUE = text(
    "INSERT INTO outbox(message_id, conversation_id, channel_id, identity_id, attempts, waived, due_at) "
    "SELECT :message, :conversation, :channel, CAST(:identity AS uuid), 0, 0, "
    "greatest(now(), (SELECT max(due_at) FROM outbox WHERE conversation_id = :conversation))"
)

# The same as `status_changed`, for many messages in one round trip (one by one: 2 statements each).
_CHANGE = text("""
    WITH wanted AS (
        SELECT w.*, EXISTS (
                   SELECT 1 FROM unnest(CAST(:olds AS text[]), CAST(:news AS text[])) AS step(old, new)
                   WHERE step.old = m.status AND step.new = w.status
               ) AS forward,
               m.status = w.status AND m.error IS DISTINCT FROM w.error AS reworded
        FROM unnest(CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:errors AS text[]),
                    CAST(:provider_ids AS text[]), CAST(:thread_keys AS text[]), CAST(:codes AS text[]))
             WITH ORDINALITY AS w(id, status, error, provider_id, thread_key, code, n)
        JOIN message m ON m.id = w.id
    ), changed AS (
        UPDATE message m
        SET status = CASE WHEN w.forward THEN w.status ELSE m.status END,
            error = CASE WHEN w.forward OR w.reworded THEN w.error ELSE m.error END,
            error_code = CASE WHEN w.forward OR w.reworded THEN w.code ELSE m.error_code END,
            provider_message_id = coalesce(w.provider_id, m.provider_message_id),
            thread_key = coalesce(w.thread_key, m.thread_key)
        FROM wanted w WHERE m.id = w.id
        RETURNING m.id, m.conversation_id, m.seq, m.status, m.error, m.error_code, m.client_message_id, m.correlation_id,
                  w.forward OR w.reworded AS told, w.n
    ), ordered AS (
        SELECT c.id AS conversation_id, array_remove(ARRAY[c.queue_id], NULL) AS queues,
               array_remove(ARRAY[c.assignee_id, nullif(c.owner_id, c.assignee_id)], NULL) AS agents,
               changed.correlation_id,
               jsonb_build_object('message_id', changed.id, 'seq', changed.seq, 'status', changed.status,
                                  'error', changed.error, 'client_message_id', changed.client_message_id)
               || CASE WHEN changed.error_code IS NULL THEN '{}' ELSE jsonb_build_object('error_code', changed.error_code) END
               AS payload
        FROM changed JOIN conversation c ON c.id = changed.conversation_id
        WHERE changed.told ORDER BY changed.n
    )
    SELECT count(append_event_v1(conversation_id, 'message.status', 'conversation', queues, agents, true,
                                 :actor_type, :actor, correlation_id, payload))
    FROM ordered
""")
_OLDS, _NEWS = zip(*((old.value, new.value) for new in DeliveryStatus for old in states.before(new)), strict=True)


@dataclass(frozen=True, slots=True)
class Change:
    """News of one message. The provider's ids are kept even when the status is older than what is known.

    `error` is for people, `error_code` is stable.
    """

    message_id: UUID
    status: DeliveryStatus
    error: str | None = None
    provider_message_id: str | None = None
    thread_key: str | None = None
    error_code: str | None = None


async def enqueue(session: AsyncSession, message: Message, *, identity_id: UUID | None = None) -> None:
    """Queue a stored outbound message for sending, to `identity_id` where that is not the conversation's own. The caller
    holds the conversation."""
    await session.flush()
    await session.execute(
        _ENQUEUE,
        {
            "message": message.id,
            "conversation": message.conversation_id,
            "channel": message.channel_id,
            "identity": identity_id,
        },
    )
    await wake(session, TOPIC)


async def status_changed(
    session: AsyncSession,
    conversation: Conversation,
    message: Message,
    status: DeliveryStatus,
    *,
    error: str | None = None,
    error_code: str | None = None,
    provider_message_id: str | None = None,
    thread_key: str | None = None,
    actor: Actor = SYSTEM,
) -> bool:
    """Take in news of one message and tell of it; False when the status is older than what is known.

    The caller holds the conversation and has read the message after that.
    """
    message.provider_message_id = provider_message_id or message.provider_message_id
    message.thread_key = thread_key or message.thread_key
    session.add(message)
    if message.status is None or states.advance(DeliveryStatus(message.status), status) is None:
        return False
    message.status, message.error, message.error_code = status, error, error_code
    await tell_status(session, conversation, message, actor=actor)
    if error_code in unreached.CODES:
        await unreached.note(session, [message.id])
    return True


async def tell_status(
    session: AsyncSession, conversation: Conversation, message: Message, *, actor: Actor = SYSTEM
) -> None:
    """As it is now, on both sides."""
    payload = {
        "message_id": str(message.id),
        "seq": message.seq,
        "status": message.status,
        "error": message.error,
        "client_message_id": message.client_message_id,
        **({"error_code": message.error_code} if message.error_code else {}),
    }
    await events.append(session, conversation, "message.status", payload, actor=actor, to_customer=True)


async def change_many(session: AsyncSession, changes: Sequence[Change], *, actor: Actor = SYSTEM) -> int:
    """Take in news of many messages, each at most once; the number of events told. The caller holds the conversations.

    The same status with another error is told as well: why a message is still being sent. Messages that the session
    has loaded do not see the change.
    """
    if not changes:
        return 0
    await session.flush()
    counted = await session.execute(
        _CHANGE,
        {
            "ids": [change.message_id for change in changes],
            "statuses": [change.status.value for change in changes],
            "errors": [change.error for change in changes],
            "provider_ids": [change.provider_message_id for change in changes],
            "thread_keys": [change.thread_key for change in changes],
            "codes": [change.error_code for change in changes],
            "olds": _OLDS,
            "news": _NEWS,
            "actor_type": actor.type,
            "actor": actor.id,
        },
    )
    await unreached.note(session, [change.message_id for change in changes if change.error_code in unreached.CODES])
    return int(counted.scalar_one())
