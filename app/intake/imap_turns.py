"""Whose turn it is to read a mailbox, and how far it was read: the statements on the rows of `mailbox`.

A turn is guarded by its lease: who lost it can neither move the cursor nor tell a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.ids import new_id
from app.models.mailboxes import MailboxState
from app.wakeups import wake

TOPIC = "mailboxes"
_ENSURE = text(
    "INSERT INTO mailbox(channel_id, source, last_uid, state, attempts) "
    "SELECT c.id, '', 0, 'new', 0 FROM channel c WHERE c.id = ANY(CAST(:ids AS uuid[])) "
    "AND NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.channel_id = c.id) ON CONFLICT DO NOTHING"
)
_CLAIM = text(
    "WITH due AS MATERIALIZED (SELECT channel_id FROM mailbox WHERE channel_id = ANY(CAST(:ids AS uuid[])) "
    "AND due_at <= now() AND (lease_until IS NULL OR lease_until <= now()) "
    "ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED) "
    "UPDATE mailbox m SET lease = :lease, lease_until = clock_timestamp() + make_interval(secs => :lease_s) "
    "FROM due WHERE m.channel_id = due.channel_id "
    "RETURNING m.channel_id, m.lease, m.source, m.uid_validity, m.last_uid, m.since, m.attempts, m.state"
)
_NEXT = text(
    "SELECT CAST(extract(epoch FROM min(greatest(due_at, coalesce(lease_until, due_at))) - now()) AS float8) "
    "FROM mailbox WHERE channel_id = ANY(CAST(:ids AS uuid[]))"
)
_RENEW = text(
    "UPDATE mailbox m SET lease_until = clock_timestamp() + make_interval(secs => :lease_s) "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[])) AS mine(id, lease) "
    "WHERE m.channel_id = mine.id AND m.lease = mine.lease RETURNING m.channel_id"
)
_MINE = "WHERE channel_id = :channel AND lease = :lease"
_BEGIN = text(
    "UPDATE mailbox SET source = :source, uid_validity = :validity, last_uid = :uid, since = :since, "
    f"state = 'reading', detail = NULL, state_at = now() {_MINE} RETURNING 1"
)
_ADVANCE = text(f"UPDATE mailbox SET last_uid = :uid {_MINE} RETURNING 1")
_TELL = text(
    "UPDATE mailbox SET state = :state, detail = :detail, state_at = now(), "
    f"attempts = CASE WHEN :state = 'watching' THEN 0 ELSE attempts END {_MINE} RETURNING 1"
)
_RELEASE = text(
    "UPDATE mailbox SET lease = NULL, lease_until = NULL, due_at = now() + make_interval(secs => :seconds), "
    "attempts = :attempts, state = :state, detail = :detail, "
    f"state_at = CASE WHEN state = :state THEN state_at ELSE now() END {_MINE}"
)
_NOW = text("SELECT now()")


class LostTurn(Exception):
    """Somebody else reads this mailbox now."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A mailbox that we alone read while the lease lasts, and where its reading stands."""

    channel_id: UUID
    lease: UUID
    source: str
    uid_validity: int | None
    last_uid: int
    since: datetime
    attempts: int
    state: str

    def mine(self) -> dict[str, object]:
        return {"channel": self.channel_id, "lease": self.lease}


async def claim(session: AsyncSession, ids: Sequence[UUID], *, limit: int, lease_s: float) -> list[Turn]:
    """Those of the channels' mailboxes that are due and nobody reads; rows are made where there are none."""
    await session.execute(_ENSURE, {"ids": list(ids)})
    values = {"ids": list(ids), "limit": limit, "lease": new_id(), "lease_s": lease_s}
    return [Turn(*row) for row in (await session.execute(_CLAIM, values)).all()]


async def next_due_s(session: AsyncSession, ids: Sequence[UUID]) -> float | None:
    """Seconds until one of these may be read: its time has come, or the lease of its reader ends."""
    seconds: float | None = (await session.execute(_NEXT, {"ids": list(ids)})).scalar()
    return seconds


async def renew(session: AsyncSession, turns: Sequence[Turn], *, lease_s: float) -> set[UUID]:
    """The channels whose turn is still ours."""
    values = {"ids": [t.channel_id for t in turns], "leases": [t.lease for t in turns], "lease_s": lease_s}
    return set((await session.execute(_RENEW, values)).scalars())


async def begin(session: AsyncSession, turn: Turn, *, source: str, uid_validity: int, last_uid: int) -> Turn:
    """Another mailbox, or the same one numbered anew: `last_uid` counts as read. Raises LostTurn."""
    since = turn.since
    if turn.source not in ("", source):
        since = (await session.execute(_NOW)).scalar_one()
    new = replace(turn, source=source, uid_validity=uid_validity, last_uid=last_uid, since=since)
    values = {"source": source, "validity": uid_validity, "uid": last_uid, "since": since}
    _require((await session.execute(_BEGIN, {**turn.mine(), **values})).scalar())
    return new


async def advance(session: AsyncSession, turn: Turn, uid: int) -> None:
    """Call in the transaction that stores or parks the mail. Raises LostTurn."""
    _require((await session.execute(_ADVANCE, {**turn.mine(), "uid": uid})).scalar())


async def tell(session: AsyncSession, turn: Turn, state: MailboxState) -> None:
    """Raises LostTurn."""
    _require((await session.execute(_TELL, {**turn.mine(), "state": state.value, "detail": None})).scalar())


async def release(
    session: AsyncSession, turn: Turn, *, state: MailboxState | None, detail: str | None, attempts: int, again_s: float
) -> None:
    """The turn is over; others may have it from `again_s` on. `state` None leaves what is told of it."""
    told = state.value if state is not None else turn.state
    values = {"state": told, "detail": detail, "attempts": attempts, "seconds": again_s}
    await session.execute(_RELEASE, {**turn.mine(), **values})
    await wake(session, TOPIC)


def _require(found: object) -> None:
    if found is None:
        raise LostTurn
