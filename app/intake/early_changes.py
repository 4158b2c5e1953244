"""What was done to a message before it was here: kept a while, and applied when it is.

Nobody who stores a message looks for it but by one index (ingest.sql), and wakes this. Storing and keeping do not wait
for each other: what they miss of each other is found at the next step, because nothing is forgotten before it is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.base import Change, ChangeKind, Sender
from app.db import Database
from app.ids import new_id
from app.intake import changes

TOPIC = "early-changes"
SWEEP_S = 5
KEPT_PER_CHANNEL = 10_000
_BATCH = 200
_KEEP = text("""
    INSERT INTO early_change (id, channel_id, key, external_id, provider_message_id, change)
    SELECT :id, :channel, :key, :external, :provider, CAST(:change AS jsonb)
    WHERE NOT EXISTS (SELECT 1 FROM early_change WHERE channel_id = :channel OFFSET :limit)
    ON CONFLICT (channel_id, key) DO NOTHING
    RETURNING id
""")
# Each message by its own index, and only while something waits.
_READY = text("""
    SELECT e.id, e.channel_id, e.key, e.external_id, e.provider_message_id, e.change FROM early_change e
    WHERE EXISTS (SELECT 1 FROM message m WHERE m.channel_id = e.channel_id AND m.external_id = e.external_id)
    OR EXISTS (SELECT 1 FROM message m WHERE m.channel_id = e.channel_id AND m.external_id = e.provider_message_id)
    OR EXISTS (SELECT 1 FROM message m WHERE m.channel_id = e.channel_id AND m.provider_message_id = e.provider_message_id)
    ORDER BY e.created_at, e.id LIMIT :limit
""")
_DONE = text("DELETE FROM early_change WHERE id = :id")
_EXPIRE = text("DELETE FROM early_change WHERE created_at < now() - make_interval(secs => :seconds)")


async def take(database: Database, channel_id: UUID, change: Change) -> bool:
    """`changes.apply` in a transaction of its own; what is here before its message is kept for that. False when it
    changes nothing now."""
    async with database.begin() as session:
        applied = await changes.apply(session, channel_id, change)
    if applied is None:
        async with database.begin() as session:
            await keep(session, channel_id, change)
        async with database.begin() as session:  # it may have come meanwhile
            applied = await changes.apply(session, channel_id, change)
    return bool(applied)


async def keep(session: AsyncSession, channel_id: UUID, change: Change) -> bool:
    """False when it is kept already, or when the channel has too many."""
    kept = await session.execute(
        _KEEP,
        {
            "id": new_id(),
            "channel": channel_id,
            "key": change.key,
            "external": change.external_id,
            "provider": change.provider_message_id,
            "change": orjson.dumps(_written(change)).decode(),
            "limit": KEPT_PER_CHANNEL - 1,
        },
    )
    return kept.first() is not None


async def step(database: Database) -> float | None:
    """Apply those whose message is here by now, the oldest first: a change and its disappearance from here are one commit."""
    async with database.begin() as session:
        ready = (await session.execute(_READY, {"limit": _BATCH})).all()
    for row in ready:
        async with database.begin() as session:
            # Not applicable to this message, or known by its key: it is done with either way.
            await changes.apply(session, row.channel_id, _read(row))
            await session.execute(_DONE, {"id": row.id})
    return 0 if len(ready) == _BATCH else None


async def expire(session: AsyncSession, *, after_s: float) -> None:
    await session.execute(_EXPIRE, {"seconds": after_s})


def _written(change: Change) -> dict[str, Any]:
    sender = {"kind": change.sender.kind, "value": change.sender.value}
    return {"kind": change.kind.value, "sender": sender, "text": change.text, "at": change.at}


def _read(row: Any) -> Change:
    given: Mapping[str, Any] = row.change
    return Change(
        key=row.key,
        kind=ChangeKind(given["kind"]),
        sender=Sender(given["sender"]["kind"], given["sender"]["value"]),
        external_id=row.external_id,
        provider_message_id=row.provider_message_id,
        text=given["text"],
        at=datetime.fromisoformat(given["at"]) if given["at"] else None,
    )
