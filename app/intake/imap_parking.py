"""Mails that could not be taken in: parked with their raw bytes and the reason, tried again or discarded by a person."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import ChannelAccount
from app.channels.base import Call, Parsed
from app.channels.mail import envelope_headers
from app.clock import now
from app.errors import Conflict
from app.ids import new_id
from app.intake.reading import read
from app.models import ParkedMail
from app.models.mailboxes import ParkedState

PARSE_S = 60
REASON_LIMIT = 1_000
_PARK = text(
    "INSERT INTO parked_mail(id, channel_id, uid_validity, uid, digest, size, whole, raw, reason, state) "
    "VALUES (:id, :channel, :validity, :uid, :digest, :size, :whole, :raw, :reason, 'parked') "
    "ON CONFLICT (channel_id, digest) DO NOTHING"
)
_logger = log.get("imap")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """`raw` is the mail, or only its header when it is not `whole`; `size` is what the server says."""

    uid_validity: int
    uid: int
    size: int
    whole: bool
    raw: bytes
    reason: str


async def park(session: AsyncSession, channel_id: UUID, mail: Unreadable) -> None:
    """One mail is parked once, whatever its number in the mailbox is."""
    digest = hashlib.sha256(mail.raw + (b"" if mail.whole else str(mail.size).encode())).hexdigest()
    reason = mail.reason[:REASON_LIMIT].replace("\0", "")
    values = {"id": new_id(), "channel": channel_id, "validity": mail.uid_validity, "uid": mail.uid}
    kept = {"digest": digest, "size": mail.size, "whole": mail.whole, "raw": mail.raw, "reason": reason}
    await session.execute(_PARK, {**values, **kept})
    _logger.warning("mail parked", channel_id=channel_id, uid=mail.uid, size=mail.size, reason=reason)


async def parse(account: ChannelAccount, headers: dict[str, str], raw: bytes) -> Parsed:
    """In a thread, with a limit: what is wrong comes as an entry of `errors`."""
    call = Call("IMAP", "", {}, headers, raw, now())
    try:
        async with asyncio.timeout(PARSE_S):
            return await asyncio.to_thread(read, account, call)
    except TimeoutError:
        return Parsed(errors=[f"it could not be read within {PARSE_S} s"])


def is_lost(parsed: Parsed) -> bool:
    """Nothing of the mail could be read."""
    return bool(parsed.errors) and not (parsed.messages or parsed.statuses or parsed.refusals)


async def reread(account: ChannelAccount, row: ParkedMail) -> tuple[dict[str, str], Parsed]:
    """A parked mail with today's code, as `(headers, parsed)`. Raises Conflict when it still cannot be read."""
    if not row.whole:
        raise Conflict(f"only its header was kept; the mail is in the mailbox under UID {row.uid}")
    headers = {**envelope_headers(None, []), "x-imap-uid": str(row.uid)}
    parsed = await parse(account, headers, row.raw)
    if is_lost(parsed):
        raise Conflict("; ".join(parsed.errors))
    return headers, parsed


async def taken(session: AsyncSession, parked_id: UUID) -> None:
    """Call in the transaction that stores it. Raises Conflict when somebody has done that already."""
    row = await session.get_one(ParkedMail, parked_id, with_for_update=True)
    if row.state == ParkedState.STORED:
        raise Conflict("it is stored already")
    row.state, row.settled_at = ParkedState.STORED, now()
    session.add(row)
