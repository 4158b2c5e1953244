"""Which conversation a mail belongs to, by which rule, and whether its sender may come in (docs/email-reading.md).

Who knows the reply address of a conversation may write into it, and is named as a new participant; a Message-ID is no
secret: by it only those come in who take part already. Nothing of the conversation goes to whoever comes in: our answers
go to the customer whose conversation it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, ChannelAccount
from app.channels.base import InboundMessage
from app.channels.mail_config import MailConfig
from app.channels.mail_threading import same_subject
from app.db import Database
from app.vault import Vault

RULES = Counter("roundtrip_mail_threads_total", "Mails by the rule that found their conversation", ["rule"])
_TOKENS_LIMIT = 10
_CANDIDATES = 50
_OPEN = "c.status <> 'closed'"
_CONVERSATION = text("SELECT c.id, c.contact_id, c.status FROM conversation c WHERE c.id = :id")
_BY_ID = text(
    "SELECT wanted.n, c.id, c.contact_id, c.status FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS wanted(id, n) "
    "JOIN message m ON m.channel_id = :channel AND m.thread_key = wanted.id JOIN conversation c ON c.id = m.conversation_id "
    "ORDER BY wanted.n, m.id LIMIT 1"
)
_CONTACT = text(
    "SELECT contact_id FROM contact_identity WHERE channel_id = :channel AND kind = :kind AND value = :value"
)
_TAKES_PART = text(
    "SELECT EXISTS (SELECT 1 FROM message m WHERE m.conversation_id = :conversation AND m.direction = 'inbound' AND ("
    "m.author_id = :contact OR m.content->'to' @> CAST(:box AS jsonb) OR m.content->'cc' @> CAST(:box AS jsonb)))"
)
# Only mails of the same contact: what everybody can copy must not lead a stranger into a conversation.
_BY_INDEX = text(
    "SELECT c.id, c.contact_id, c.status FROM conversation c JOIN message m ON m.conversation_id = c.id "
    f"WHERE c.contact_id = :contact AND c.channel_id = :channel AND {_OPEN} AND m.direction = 'inbound' "
    "AND m.content->'thread'->>'index' = :index AND m.content->'thread'->>'topic' IS NOT DISTINCT FROM :topic "
    "ORDER BY m.id DESC LIMIT 1"
)
_BY_SUBJECT = text(
    "SELECT c.id, c.contact_id, c.status, m.subject FROM conversation c JOIN message m ON m.conversation_id = c.id "
    f"WHERE c.contact_id = :contact AND c.channel_id = :channel AND {_OPEN} AND m.direction = 'inbound' "
    "AND c.last_inbound_at > now() - make_interval(days => :days) AND m.subject IS NOT NULL "
    "ORDER BY m.id DESC LIMIT :limit"
)
_LAST = text(
    "SELECT c.id, c.contact_id, c.status FROM conversation c WHERE c.contact_id = :contact AND c.channel_id = :channel "
    f"ORDER BY ({_OPEN}) DESC, c.id DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class _Found:
    rule: str
    conversation_id: UUID
    contact_id: UUID
    closed: bool


async def place(
    database: Database, vault: Vault, catalog: Catalog, account: ChannelAccount, message: InboundMessage
) -> tuple[InboundMessage, UUID | None]:
    """The message with `content.threading`, and the conversation it names; None: its sender's open one, else a new one.

    `threading` is `{"rule", "participant", "follows"}`: which rule matched (ingest.sql adds `sender` or `new` where none did),
    whether the sender is `known` there or `new`, and the conversation that it names but cannot join.
    """
    if not isinstance(account.config, MailConfig):
        return message, None
    message = _own(catalog, message)
    async with database.begin() as session:
        contact = (await session.execute(_CONTACT, _who(account, message))).scalar_one_or_none()
        found = await _find(session, vault, account, message, contact)
        known = found is not None and await _takes_part(session, message, contact, found)
    facts: dict[str, Any] = {}
    target = None
    if found is not None:
        enters = known or message.automatic or found.rule == "token"
        target = found.conversation_id if enters and (message.automatic or not found.closed) else None
        facts = {"rule": found.rule if target else None, "participant": "known" if known else "new"}
        if target is None:
            facts |= {
                "follows": str(found.conversation_id),
                "by": found.rule,
                "why": "closed" if enters else "stranger",
            }
    RULES.labels(facts.get("rule") or ("refused" if facts.get("why") == "stranger" else "none")).inc()
    threading = message.threading
    thread = {"index": threading.thread_index, "topic": threading.thread_topic} if threading.thread_index else None
    content = {**message.content, "threading": facts, **({"thread": thread} if thread else {})}
    return replace(message, content=content), target


def _own(catalog: Catalog, message: InboundMessage) -> InboundMessage:
    """A mail from one of our mailboxes to another is no customer's: two of them could write to each other for ever."""
    ours = {each.config.address for each in catalog.channels.values() if isinstance(each.config, MailConfig)}
    if message.automatic or message.sender.value not in ours:
        return message
    content = {"automatic": "sent from an address of ours", "automatic_kind": "loop"}
    return replace(message, automatic=True, content={**message.content, **content})


def _who(account: ChannelAccount, message: InboundMessage) -> dict[str, Any]:
    return {"channel": account.id, "kind": message.sender.kind, "value": message.sender.value}


async def _find(
    session: AsyncSession, vault: Vault, account: ChannelAccount, message: InboundMessage, contact: UUID | None
) -> _Found | None:
    """The first rule that hits."""
    threading = message.threading
    for token in threading.reply_tokens[:_TOKENS_LIMIT]:
        if (named := vault.read_reply_token(token)) is not None:
            row = (await session.execute(_CONVERSATION, {"id": named})).one_or_none()
            if row is not None:
                return _Found("token", row.id, row.contact_id, row.status == "closed")
    if threading.references:
        ids = {"ids": list(threading.references), "channel": account.id}
        if (row := (await session.execute(_BY_ID, ids)).one_or_none()) is not None:
            rule = "in_reply_to" if row.n <= threading.answers else "references"
            return _Found(rule, row.id, row.contact_id, row.status == "closed")
    return None if contact is None else await _find_of_contact(session, account, message, contact)


async def _find_of_contact(
    session: AsyncSession, account: ChannelAccount, message: InboundMessage, contact: UUID
) -> _Found | None:
    threading, theirs = message.threading, {"contact": contact, "channel": account.id}
    if threading.thread_index:
        thread = {"index": threading.thread_index, "topic": threading.thread_topic}
        if (row := (await session.execute(_BY_INDEX, {**theirs, **thread})).one_or_none()) is not None:
            return _Found("thread_index", row.id, row.contact_id, closed=False)
    assert isinstance(account.config, MailConfig)
    if threading.subject and account.config.subject_days:
        asked = {**theirs, "days": account.config.subject_days, "limit": _CANDIDATES}
        for row in (await session.execute(_BY_SUBJECT, asked)).all():
            if same_subject(row.subject) == threading.subject:
                return _Found("subject", row.id, row.contact_id, closed=False)
    if message.automatic and (row := (await session.execute(_LAST, theirs)).one_or_none()) is not None:
        return _Found("last", row.id, row.contact_id, row.status == "closed")
    return None


async def _takes_part(session: AsyncSession, message: InboundMessage, contact: UUID | None, found: _Found) -> bool:
    """The customer whose conversation it is, under whatever address, who has written in it, or was named in its mails."""
    if contact is not None and contact == found.contact_id:
        return True
    box = orjson.dumps([{"email": message.sender.value}]).decode()
    asked = {"conversation": found.conversation_id, "contact": contact, "box": box}
    return bool((await session.execute(_TAKES_PART, asked)).scalar_one())
