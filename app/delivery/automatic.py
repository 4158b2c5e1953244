"""Not more automatic mails to one address in a day than its channel allows: what ends every loop that nothing else sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import ChannelAccount
from app.channels.base import Outgoing

CAPPED = Counter("roundtrip_automatic_mails_capped_total", "Automatic mails not sent because their address had enough")
WHY = "not sent: {count} automatic mails went to this address within 24 hours, and more could be a loop"
CODE = "too-many-automatic"
# A receipt goes out because a person said that the work is done, once per cycle: what answers to it by itself moves
# nothing, so it makes no loop, and a matter that is closed four times in a day is asked about four times.
_BY_HAND = ("reply", "receipt")
# One at a time per address, whichever process asks; then what this one takes is counted.
_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended('automatic mail ' || :channel || ' ' || :address, 0))")
_COUNT = text(
    "SELECT count(*) FROM automatic_mail WHERE channel_id = :channel AND address = :address "
    "AND at > now() - interval '24 hours' AND message_id <> :message"
)
_NOTE = text(
    "INSERT INTO automatic_mail(message_id, channel_id, address) VALUES (:message, :channel, :address) "
    "ON CONFLICT (message_id) DO NOTHING"
)
_SWEEP = text(
    "DELETE FROM automatic_mail WHERE channel_id = :channel AND address = :address AND at < now() - interval '48 hours'"
)


class Due(Protocol):
    """What a message about to be sent tells."""

    @property
    def channel_id(self) -> UUID: ...

    @property
    def account(self) -> ChannelAccount | None: ...

    @property
    def outgoing(self) -> Outgoing: ...


async def capped(session: AsyncSession, items: Sequence[Due]) -> dict[UUID, str]:
    """Messages that must not go out, with the reason; the others are counted from now on, each once however often tried."""
    found: dict[UUID, str] = {}
    for address, limit, item in sorted(_automatic(items), key=lambda each: (str(each[2].channel_id), each[0])):
        asked = {"channel": item.channel_id, "address": address}
        await session.execute(_HOLD, {"channel": str(item.channel_id), "address": address})
        message = {"message": item.outgoing.message_id}
        count = (await session.execute(_COUNT, {**asked, **message})).scalar_one()
        if count >= limit:
            CAPPED.inc()
            found[item.outgoing.message_id] = WHY.format(count=count)
            continue
        await session.execute(_SWEEP, asked)
        await session.execute(_NOTE, {**asked, **message})
    return found


def _automatic(items: Sequence[Due]) -> list[tuple[str, int, Due]]:
    """`(address, limit, message)` of those that no person caused, on channels that have a limit."""
    found = []
    for item in items:
        limit = getattr(item.account.config, "automatic_per_day", None) if item.account is not None else None
        address = item.outgoing.address.get("email")
        if limit is not None and isinstance(address, str) and item.outgoing.kind not in _BY_HAND:
            found.append((address.lower(), int(limit), item))
    return found
