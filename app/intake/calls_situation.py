"""How a call stands with us, read at once for whoever waits on the line for our answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.channels.base import Situation
from app.db import Database
from app.intake.calls import external_id
from app.models.words import Availability, ConversationStatus
from app.routing import hours

# By the places in its queue, in the order in which they are served: callers who are still on the line. Mails and forms
# there keep nobody waiting at a telephone, and neither do calls that are over, messages that they left included.
_READ = text("""
    SELECT now() AS at, m.content->'call' AS call, k.over, c.status, c.queue_id, c.assignee_id,
           CAST(extract(epoch FROM now() - m.created_at) AS float8) AS waited_s, e.queue_id AS waits_in,
           a.phone, a.name AS agent_name, a.availability, a.active, t.language,
           CASE WHEN e.conversation_id IS NOT NULL THEN 1 + (
               SELECT count(*) FROM queue_entry b WHERE b.queue_id = e.queue_id
               AND (b.order_at, b.conversation_id) < (e.order_at, e.conversation_id)
               AND EXISTS (SELECT 1 FROM call o JOIN message n ON n.id = o.message_id
                           WHERE o.conversation_id = b.conversation_id AND NOT o.over
                           AND n.content->'call'->>'answered_at' IS NULL
                           AND n.content->'call'->>'direction' = 'inbound')) END AS position
    FROM message m
    JOIN conversation c ON c.id = m.conversation_id
    JOIN contact t ON t.id = c.contact_id
    LEFT JOIN call k ON k.message_id = m.id
    LEFT JOIN queue_entry e ON e.conversation_id = c.id
    LEFT JOIN agent a ON a.id = c.assignee_id
    WHERE m.channel_id = :channel AND m.external_id = :key
""")
_AT_WORK = (Availability.ONLINE.value, Availability.BUSY.value)


async def read(database: Database, channel_id: UUID, call_id: str, catalog: Catalog) -> Situation | None:
    """None for a call that is not known."""
    async with database.begin() as session:
        return await of(session, channel_id, call_id, catalog)


async def of(session: AsyncSession, channel_id: UUID, call_id: str, catalog: Catalog) -> Situation | None:
    found = await session.execute(_READ, {"channel": channel_id, "key": external_id(call_id)})
    row = found.one_or_none()
    if row is None:
        return None
    queue = catalog.queue(row.waits_in or row.queue_id)
    closed, _ = hours.closed(queue, catalog, _utc(row.at))
    call: dict[str, Any] = row.call or {}
    return Situation(
        stage=_stage(row, call),
        position=row.position,
        waited_s=max(row.waited_s, 0.0),
        closed=closed,
        patience_s=queue.max_wait_s if queue is not None else None,
        agent_phone=row.phone,
        agent_name=row.agent_name,
        attempts=call.get("attempts") or 0,
        language=row.language,
        caller=call.get("from"),
    )


def _stage(row: Any, call: dict[str, Any]) -> str:
    """Whoever has the matter is rung while they are at work; a caller whom they do not hear waits for anybody."""
    if row.over or call.get("ended_at"):
        return "over"
    if call.get("answered_at"):
        return "talked"
    if row.waits_in is None and row.assignee_id is not None and row.active and row.availability in _AT_WORK:
        return "taken"
    return "over" if row.status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED) else "waiting"


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
