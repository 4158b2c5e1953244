"""What a delivery report may claim: it comes from anybody, so it counts only for mails of ours that it knows by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy import Row, text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import ChannelAccount
from app.channels.base import Parsed, Refusal, StatusUpdate
from app.channels.mail_config import MailConfig
from app.channels.mail_news import BOUNCE, COMPLAINT, DELAY, RECEIPT
from app.db import Database

REPORTS = Counter(
    "roundtrip_mail_reports_total", "Delivery reports and complaints by kind and outcome", ["kind", "outcome"]
)
_NAMES_LIMIT = 50
_KINDS = (BOUNCE, COMPLAINT, DELAY, RECEIPT)
# To whom a mail of ours may have gone: the addresses on this channel of the contact it was written to.
_SENT = text(
    "SELECT m.id, i.value, lower(i.address->>'email') AS answered, i.address->'cc' AS cc FROM message m "
    "JOIN conversation c ON c.id = m.conversation_id "
    "LEFT JOIN contact_identity i ON i.contact_id = c.contact_id AND i.channel_id = m.channel_id "
    "WHERE m.channel_id = :channel AND m.direction = 'outbound' AND (m.provider_message_id = :theirs OR m.id = :ours) "
    "ORDER BY m.id LIMIT :limit"
)


async def proven(database: Database, account: ChannelAccount, parsed: Parsed) -> Parsed:
    """A report with only those statuses that are about our mails, and refusals of those whom such a mail went to.

    Everything else stays in the journal, where `ignored` names it, and is counted. Other calls are returned as they are.
    """
    if not isinstance(account.config, MailConfig) or not set(parsed.ignored) & set(_KINDS):
        return parsed
    statuses: list[StatusUpdate] = []
    reached: dict[str, str] = {}
    async with database.begin() as session:
        for status in parsed.statuses:
            rows = await _sent(session, account.id, status)
            if not rows:
                continue
            reached |= {name: row.value for row in rows for name in (row.answered, row.value) if name}
            if _is_copy(status, rows, account.config, reached):
                continue
            if str(rows[0].id) not in {known.our_id for known in statuses}:
                statuses.append(replace(status, our_id=str(rows[0].id)))
    kind = next(name for name in _KINDS if name in parsed.ignored)
    matched = bool(statuses)
    REPORTS.labels(kind, "matched" if matched else "unmatched").inc()
    refusals = [
        _of_identity(item, reached[item.sender.value]) for item in parsed.refusals if item.sender.value in reached
    ]
    word = kind if matched or kind == DELAY else f"{kind} that names no mail of ours"
    return replace(parsed, statuses=tuple(statuses), refusals=tuple(refusals), ignored=(word,))


def _is_copy(status: StatusUpdate, rows: Sequence[Row[Any]], config: MailConfig, reached: dict[str, str]) -> bool:
    """Somebody who only got a copy: the customer may have got the mail all the same."""
    if status.recipient is None or status.recipient.value in reached:
        return False
    listed = [each for row in rows for each in (row.cc if isinstance(row.cc, list) else ())]
    return status.recipient.value in {str(each).lower() for each in (*listed, *config.copies_to)}


def _of_identity(refusal: Refusal, value: str) -> Refusal:
    """By the name the person goes by here, where the mail went to another address of theirs."""
    return replace(refusal, sender=replace(refusal.sender, value=value))


async def _sent(session: AsyncSession, channel_id: UUID, status: StatusUpdate) -> Sequence[Row[Any]]:
    ours = UUID(status.our_id) if status.our_id else None
    found = await session.execute(
        _SENT, {"channel": channel_id, "theirs": status.provider_message_id, "ours": ours, "limit": _NAMES_LIMIT}
    )
    return found.all()
