"""What all processes know together of a form's latest submissions: how many there were, and which ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import TooManyRequests
from app.ids import new_id

SUBMISSION_MEMORY_S = 86_400.0
AGAIN = "again"
_KEPT_H = 48

_COUNT = text("""
    INSERT INTO form_count AS c (channel_id, source, hits) VALUES (:channel, :source, 1)
    ON CONFLICT (channel_id, source) DO UPDATE
    SET hits = CASE WHEN c.since <= now() - make_interval(secs => :window) THEN 1 ELSE least(c.hits + 1, 1000000000) END,
        since = CASE WHEN c.since <= now() - make_interval(secs => :window) THEN now() ELSE c.since END
    RETURNING hits, CAST(extract(epoch FROM c.since - now()) AS float8) + :window AS left_s
""")
# The first one within the window names the key; whoever comes at the same time waits here for it.
_SEE = text("""
    INSERT INTO form_seen AS s (channel_id, digest, key) VALUES (:channel, :digest, :key)
    ON CONFLICT (channel_id, digest) DO UPDATE
    SET key = CASE WHEN s.since <= now() - make_interval(secs => :window) THEN excluded.key ELSE s.key END,
        since = CASE WHEN s.since <= now() - make_interval(secs => :window) THEN now() ELSE s.since END
    RETURNING key
""")
_KNOWN = text("""
    SELECT EXISTS (SELECT 1 FROM form_seen s WHERE s.channel_id = :channel AND s.digest = :digest
                   AND s.since > now() - make_interval(secs => :window))
""")
_FORGET = [
    text(f"DELETE FROM {table} WHERE since < now() - make_interval(hours => {_KEPT_H})")
    for table in ("form_count", "form_seen")
]


async def count(session: AsyncSession, channel_id: UUID, source: str, *, limit: int, window_s: float) -> None:
    """One more of a channel (`source` is empty) or from an address. Raises TooManyRequests; it counts all the same."""
    values = {"channel": channel_id, "source": source, "window": window_s}
    row = (await session.execute(_COUNT, values)).one()
    if row.hits > limit:
        raise TooManyRequests(
            "too many submissions; please try again later", retry_after=max(round(row.left_s, 1), 1.0)
        )


async def key_of(session: AsyncSession, channel_id: UUID, marks: Sequence[tuple[str, float]]) -> str:
    """The key of the first submission that has one of these `(digest, seconds that it is remembered)`."""
    key = new_id().hex
    for digest, window_s in marks:
        values = {"channel": channel_id, "digest": digest, "key": key, "window": window_s}
        key = (await session.execute(_SEE, values)).scalar_one()
    return key


async def is_known(session: AsyncSession, channel_id: UUID, marks: Sequence[tuple[str, float]]) -> bool:
    """Whether one of these was there before, as `key_of` would find; nothing is written."""
    found = [
        (await session.execute(_KNOWN, {"channel": channel_id, "digest": digest, "window": window_s})).scalar_one()
        for digest, window_s in marks
    ]
    return any(found)


def source_of(address: str) -> str:
    """Addresses are counted, not kept."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


async def forget(session: AsyncSession) -> None:
    """What no window looks back at any more."""
    for statement in _FORGET:
        await session.execute(statement)
