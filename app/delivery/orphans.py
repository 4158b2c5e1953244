"""What a provider said of a message before its own answer had told us the message's id: kept a while, and applied then."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery.outbox import Change, change_many
from app.models.words import DeliveryStatus

KEPT_PER_CHANNEL = 10_000
# Both sides of the race take this lock before they look (orphans.sql).
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:channel AS uuid)::text || ' ' || :id, 8))")
_PARK = text("""
    INSERT INTO orphan_status (id, channel_id, provider_message_id, status, detail, error_code)
    SELECT gen_random_uuid(), :channel, :provider_id, :status, :detail, :code
    WHERE NOT EXISTS (SELECT 1 FROM orphan_status WHERE channel_id = :channel OFFSET :limit)
    ON CONFLICT (channel_id, provider_message_id, status) DO NOTHING
""")
_ADOPT = text(
    "SELECT o_message, o_status, o_detail, o_code "
    "FROM adopt_orphans_v1(CAST(:channels AS uuid[]), CAST(:ids AS text[]), CAST(:messages AS uuid[]))"
)
_EXPIRE = text("DELETE FROM orphan_status WHERE created_at < now() - make_interval(secs => :seconds)")


async def lock(session: AsyncSession, channel_id: UUID, provider_message_id: str) -> None:
    """Taken by whoever is about to park; the conversation may not be held, nor locked after it."""
    await session.execute(_LOCK, {"channel": channel_id, "id": provider_message_id})


async def park(
    session: AsyncSession,
    channel_id: UUID,
    provider_message_id: str,
    status: DeliveryStatus,
    *,
    detail: str | None,
    error_code: str | None,
) -> None:
    """Under `lock`, once it is sure that no message has this id. When a channel has too many, it is not kept."""
    given = {"channel": channel_id, "provider_id": provider_message_id, "status": status.value}
    rest = {"detail": detail, "code": error_code, "limit": KEPT_PER_CHANNEL - 1}
    await session.execute(_PARK, {**given, **rest})


async def adopt(session: AsyncSession, sent: Sequence[tuple[UUID, str, UUID]]) -> int:
    """Apply what was said of these `(channel, provider's id, message)`, whose ids were written in this transaction.

    The caller holds the conversations.
    """
    if not sent:
        return 0
    named = {"channels": [channel for channel, _, _ in sent], "ids": [id for _, id, _ in sent]}
    found = (await session.execute(_ADOPT, {**named, "messages": [message for _, _, message in sent]})).all()
    # One status per message and statement; the ranks decide what stays.
    for row in found:
        status = DeliveryStatus(row.o_status)
        error = row.o_detail if status is DeliveryStatus.FAILED else None
        await change_many(session, [Change(row.o_message, status, error, error_code=row.o_code)])
    return len(found)


async def expire(session: AsyncSession, *, after_s: float) -> None:
    await session.execute(_EXPIRE, {"seconds": after_s})
