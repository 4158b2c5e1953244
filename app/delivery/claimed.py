"""A message that was claimed, with all that its sending takes: read in a few statements for the whole batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Float, cast, extract, func, text
from sqlalchemy import select as select_rows
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, ChannelAccount
from app.channels.base import Choice, Outgoing, Template, TemplateButton
from app.ids import new_id
from app.models import Contact, ContactIdentity, Conversation, Message, Outbox
from app.vault import Vault

_THREADED = frozenset({"email"})
_REFERENCES = 20
_THREAD = text(
    "SELECT wanted.id, array(SELECT thread_key FROM (SELECT m.thread_key, m.seq FROM message m "
    "WHERE m.conversation_id = wanted.conversation AND m.seq < wanted.seq AND m.thread_key IS NOT NULL "
    f"ORDER BY m.seq DESC LIMIT {_REFERENCES}) newest ORDER BY seq) "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:conversations AS uuid[]), CAST(:seqs AS int[])) "
    "AS wanted(id, conversation, seq)"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that we alone may send until the lease ends. `age_s` counts from its first attempt.

    `account` is None while the channel is switched off. `outgoing` has no files yet: `files` names them. `crashed`: it
    was in flight when its sender died. `waived` of its attempts do not count. `ailing`: something is noted about the
    account, which a success changes.
    """

    attempt_id: UUID
    channel_id: UUID
    channel_type: str
    account: ChannelAccount | None
    outgoing: Outgoing
    files: Sequence[Mapping[str, Any]]
    status: str | None
    age_s: float
    crashed: bool
    correlation_id: str | None
    waived: int = 0
    ailing: bool = False

    @property
    def idempotent(self) -> bool:
        return self.account is not None and self.account.adapter.capabilities.idempotent_send


async def load(
    session: AsyncSession,
    which: ColumnElement[bool],
    *,
    catalog: Catalog,
    vault: Vault,
    ailing: Collection[UUID],
) -> list[Claimed]:
    """Those `which` the caller holds, the longest due first. Something is noted about the channels in `ailing`."""
    age = func.coalesce(cast(extract("epoch", func.now() - col(Outbox.first_attempt_at)), Float), 0.0)
    statement = (
        select_rows(Outbox, Message, Conversation, col(ContactIdentity.address), col(Contact.name), age)
        .join(Message, col(Message.id) == col(Outbox.message_id))
        .join(Conversation, col(Conversation.id) == col(Outbox.conversation_id))
        .join(ContactIdentity, col(ContactIdentity.id) == func.coalesce(Outbox.identity_id, Conversation.identity_id))
        .join(Contact, col(Contact.id) == col(Conversation.contact_id))
        .where(which)
        .order_by(col(Outbox.due_at), col(Outbox.id))
    )
    rows = (await session.execute(statement)).all()
    threads = await _threads(
        session,
        [message for outbox, message, conversation, *_ in rows if _type(catalog, outbox, conversation) in _THREADED],
    )
    return [
        Claimed(
            attempt_id=new_id(),
            channel_id=outbox.channel_id,
            channel_type=_type(catalog, outbox, conversation),
            account=catalog.channels.get(outbox.channel_id),
            outgoing=_outgoing(
                message,
                conversation,
                address=address,
                recipient_name=name,
                references=threads.get(message.id, ()),
                reply_token=vault.reply_token(conversation.id),
                attempt=outbox.attempts + 1,
            ),
            files=message.attachments,
            status=message.status,
            age_s=age_s,
            crashed=outbox.lease_until is not None,
            correlation_id=message.correlation_id,
            waived=outbox.waived,
            ailing=outbox.channel_id in ailing,
        )
        for outbox, message, conversation, address, name, age_s in rows
    ]


def _outgoing(message: Message, conversation: Conversation, **more: Any) -> Outgoing:
    content = message.content
    return Outgoing(
        message_id=message.id,
        conversation_id=conversation.id,
        seq=message.seq,
        kind=message.kind,
        text=message.text,
        author_name=message.author_name,
        subject=message.subject or conversation.subject,
        external_ref=conversation.external_ref,
        receipt=content.get("receipt"),
        template=_template(message),
        call=content.get("dial"),
        created_at=message.created_at,
        choices=[Choice(**item) for item in content.get("choices", ())],
        question=content.get("question", ""),
        **more,
    )


def _template(message: Message) -> Template | None:
    kept = message.content.get("template")
    if not kept:
        return None
    buttons = tuple(TemplateButton(**item) for item in message.content.get("buttons", ()))
    return Template(kept["name"], kept["language"], tuple(kept["parameters"]), buttons)


def _type(catalog: Catalog, outbox: Outbox, conversation: Conversation) -> str:
    """Of the channel that it goes out by, which need not be the conversation's own."""
    account = catalog.channels.get(outbox.channel_id)
    return account.type if account is not None else conversation.channel_type


async def _threads(session: AsyncSession, mails: Sequence[Message]) -> dict[UUID, list[str]]:
    """The Message-IDs that a mail refers to: the newest ones of its conversation, oldest first."""
    if not mails:
        return {}
    found = await session.execute(
        _THREAD,
        {
            "ids": [mail.id for mail in mails],
            "conversations": [mail.conversation_id for mail in mails],
            "seqs": [mail.seq for mail in mails],
        },
    )
    return {message_id: list(keys) for message_id, keys in found.all()}
