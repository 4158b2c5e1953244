"""Take what is due from the outbox: at most one message per conversation, the oldest, and never twice at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import and_, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.delivery import automatic
from app.delivery.claimed import Claimed, load
from app.delivery.outbox import Change, change_many
from app.models import Outbox
from app.models.words import DeliveryStatus
from app.vault import Vault

LOST = "it may have been sent: the sender stopped before the channel's answer was recorded"

_DUE = "outbox.due_at <= now() AND (outbox.lease_until IS NULL OR outbox.lease_until <= now())"
_HEAD = (
    "NOT EXISTS (SELECT 1 FROM outbox earlier "
    "WHERE earlier.conversation_id = outbox.conversation_id AND earlier.id < outbox.id)"
)
# Channel by channel, each up to its free slots: the backlog of one is not read to find the messages of another. An account
# that is not well (accounts.py) has none until its time, and then perhaps one, to find out.
_CHANNELS = (
    "WITH RECURSIVE channels(id) AS ("
    "(SELECT channel_id FROM outbox ORDER BY channel_id LIMIT 1) UNION ALL "
    "SELECT (SELECT channel_id FROM outbox WHERE channel_id > channels.id ORDER BY channel_id LIMIT 1) "
    "FROM channels WHERE channels.id IS NOT NULL), "
    "free AS MATERIALIZED (SELECT channels.id, a.until, a.channel_id IS NOT NULL AS ailing, "
    "coalesce(a.half_open, false) AS half_open, "
    "CASE WHEN a.half_open THEN 1 ELSE coalesce(s.slots, :slots) END AS slots FROM channels "
    "LEFT JOIN unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[])) AS s(id, slots) ON s.id = channels.id "
    "LEFT JOIN channel_state a ON a.channel_id = channels.id "
    "WHERE channels.id IS NOT NULL AND coalesce(s.slots, :slots) > 0 AND {well}) "
)
_WELL_NOW = "(a.until IS NULL OR (a.until <= now() AND (a.state <> 'reauth' OR a.half_open)))"
_WELL_LATER = "(a.until IS NULL OR a.state <> 'reauth' OR a.half_open)"
_CANDIDATES = text(
    f"{_CHANNELS.format(well=_WELL_NOW)} "
    "SELECT due.id, due.conversation_id, due.channel_id, due.ailing, due.half_open FROM free, LATERAL ("
    "SELECT outbox.id, outbox.conversation_id, outbox.channel_id, outbox.due_at, free.ailing, free.half_open FROM outbox "
    f"WHERE outbox.channel_id = free.id AND {_DUE} AND {_HEAD} ORDER BY outbox.due_at, outbox.id LIMIT free.slots"
    ") AS due ORDER BY due.due_at, due.id LIMIT :limit"
)
# Whoever gets the row lets the one message through; nobody else does until its lease ends.
_LET_THROUGH = text(
    "UPDATE channel_state SET until = now() + make_interval(secs => :lease_s) "
    "WHERE channel_id = ANY(CAST(:channels AS uuid[])) AND half_open AND until <= now() RETURNING channel_id"
)
_NOT_TRIED = text(
    "UPDATE channel_state SET until = now() WHERE channel_id = ANY(CAST(:channels AS uuid[])) AND half_open"
)
# Heads only: what stands behind another message can go when that one is settled, and whoever settles it wakes us.
# A row in flight counts with the end of its lease, because its sender may have died; such rows are the longest due.
_NEXT = text(
    f"{_CHANNELS.format(well=_WELL_LATER)} "
    "SELECT CAST(extract(epoch FROM min(greatest(next.at, free.until)) - now()) AS float8) FROM free, LATERAL ("
    "(SELECT outbox.due_at AS at FROM outbox "
    f"WHERE outbox.channel_id = free.id AND outbox.lease_until IS NULL AND {_HEAD} "
    "ORDER BY outbox.due_at, outbox.id LIMIT 1) UNION ALL "
    "(SELECT min(front.lease_until) FROM (SELECT outbox.lease_until FROM outbox "
    "WHERE outbox.channel_id = free.id AND outbox.due_at <= now() "
    "ORDER BY outbox.due_at, outbox.id LIMIT 100) AS front)) AS next WHERE next.at IS NOT NULL"
)
_LOCK = text("SELECT id FROM conversation WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR UPDATE SKIP LOCKED")
_START = text(
    "WITH leased AS ("
    "UPDATE outbox SET attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, now()), "
    "lease_until = now() + make_interval(secs => :lease_s) "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:messages AS uuid[])) AS start(id, message) "
    "WHERE outbox.message_id = start.message RETURNING start.id, outbox.message_id, outbox.attempts) "
    "INSERT INTO delivery_attempt(id, message_id, number) SELECT * FROM leased"
)
_END_CRASHED = text(
    "UPDATE delivery_attempt SET ended_at = now(), outcome = 'unknown', detail = :detail "
    "WHERE message_id = ANY(CAST(:messages AS uuid[])) AND ended_at IS NULL"
)
_DROP = text("DELETE FROM outbox WHERE message_id = ANY(CAST(:messages AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Limits:
    """`batch` rows per claim; `total` and `per_channel` messages in flight in this process.

    A live channel has no provider that could be slow, and no limit of its own.
    """

    batch: int = 50
    total: int = 64
    per_channel: int = 8

    def room(self, in_flight: Mapping[UUID, int]) -> int:
        return min(self.batch, self.total - sum(in_flight.values()))

    def slots(self, catalog: Catalog, in_flight: Mapping[UUID, int]) -> dict[str, Any]:
        """How many more each channel takes, as the statements want it."""
        counts = {channel_id: self.per_channel - count for channel_id, count in in_flight.items()}
        counts |= {
            account.id: self.room(in_flight)
            for account in catalog.channels.values()
            if account.adapter.capabilities.live
        }
        slots = [max(count, 0) for count in counts.values()]
        return {"ids": list(counts), "counts": slots, "slots": self.per_channel}


@dataclass(slots=True)
class Taken:
    """What one claim found. `lost` may have been sent by a sender that died, and must not be sent again; `capped` are
    automatic and their address has had enough.

    `more`: there may be more to take now.
    """

    claimed: list[Claimed] = field(default_factory=list)
    lost: list[Claimed] = field(default_factory=list)
    capped: list[Claimed] = field(default_factory=list)
    more: bool = False


async def take(
    session: AsyncSession,
    *,
    catalog: Catalog,
    vault: Vault,
    limits: Limits,
    in_flight: Mapping[UUID, int],
    lease_s: float,
    resend_within_s: float,
) -> Taken:
    """Lease due messages, write their attempts, make them `sending`. They may go out once this is committed.

    A row whose lease ran out was in flight when its sender died: it is taken again where a second send is harmless and
    the first attempt is younger than `resend_within_s`; everywhere else it becomes `unknown`.
    """
    room = max(limits.room(in_flight), 0)
    found = await session.execute(_CANDIDATES, {**limits.slots(catalog, in_flight), "limit": room})
    rows = found.all()
    ailing = {row.channel_id for row in rows if row.ailing}
    rows = await _let_through(session, rows, lease_s)
    wanted = {row.id: row.conversation_id for row in rows}
    if not wanted:
        return Taken()
    held = (await session.execute(_LOCK, {"ids": list(wanted.values())})).scalars().all()
    taken = Taken(more=len(wanted) == room)
    still_due = and_(col(Outbox.id).in_(list(wanted)), col(Outbox.conversation_id).in_(held), text(_DUE), text(_HEAD))
    due = await load(session, still_due, catalog=catalog, vault=vault, ailing=ailing) if held else []
    capped = await automatic.capped(session, due)
    for item in due:
        _place(taken, item, capped, resend_within_s)
    tried = {row.channel_id for row in rows if row.half_open} - {item.channel_id for item in taken.claimed}
    if tried:  # its conversation is held by someone just now: the next look may let it through
        await session.execute(_NOT_TRIED, {"channels": sorted(tried)})
    await _end_crashed(session, taken)
    await _start(session, taken.claimed, lease_s)
    if capped:
        await session.execute(_DROP, {"messages": list(capped)})
    await change_many(session, _changes(taken, capped))
    return taken


def _place(taken: Taken, item: Claimed, capped: Collection[UUID], resend_within_s: float) -> None:
    if item.outgoing.message_id in capped:
        taken.capped.append(item)
    elif item.crashed and not (item.idempotent and item.age_s < resend_within_s):
        taken.lost.append(item)
    else:
        taken.claimed.append(item)


def _changes(taken: Taken, capped: Mapping[UUID, str]) -> list[Change]:
    """What the messages become."""
    failed = [Change(id, DeliveryStatus.FAILED, why, error_code=automatic.CODE) for id, why in capped.items()]
    lost = [Change(item.outgoing.message_id, DeliveryStatus.UNKNOWN, LOST) for item in taken.lost]
    queued = [item for item in taken.claimed if item.status == DeliveryStatus.QUEUED]
    return [*failed, *lost, *(Change(item.outgoing.message_id, DeliveryStatus.SENDING) for item in queued)]


async def _let_through(session: AsyncSession, rows: Sequence[Any], lease_s: float) -> Sequence[Any]:
    """Of the channels that are tried with one message, those that nobody else is trying."""
    tried = sorted({row.channel_id for row in rows if row.half_open})
    if not tried:
        return rows
    mine = set((await session.execute(_LET_THROUGH, {"channels": tried, "lease_s": lease_s})).scalars())
    return [row for row in rows if not row.half_open or row.channel_id in mine]


async def next_due_s(
    session: AsyncSession, *, catalog: Catalog, limits: Limits, in_flight: Mapping[UUID, int]
) -> float | None:
    """Seconds until a message can be taken, by the database's clock; None when nothing waits for its time.

    Channels that are full do not count: the end of a send wakes the loop.
    """
    found = await session.execute(_NEXT, limits.slots(catalog, in_flight))
    seconds: float | None = found.scalar_one()
    return None if seconds is None else max(0.0, seconds)


async def _end_crashed(session: AsyncSession, taken: Taken) -> None:
    crashed = [item.outgoing.message_id for item in (*taken.lost, *taken.claimed) if item.crashed]
    if crashed:
        await session.execute(_END_CRASHED, {"messages": crashed, "detail": LOST})
    if taken.lost:
        await session.execute(_DROP, {"messages": [item.outgoing.message_id for item in taken.lost]})


async def _start(session: AsyncSession, items: Sequence[Claimed], lease_s: float) -> None:
    if items:
        attempts = [item.attempt_id for item in items]
        messages = [item.outgoing.message_id for item in items]
        await session.execute(_START, {"ids": attempts, "messages": messages, "lease_s": lease_s})
