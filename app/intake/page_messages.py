"""Messages from the page of a matter: by the one way in, as if its customer had written on the matter's own channel."""

from __future__ import annotations

import hashlib
from uuid import UUID

from prometheus_client import Counter
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import ChannelAccount
from app.channels.base import InboundMessage, Parsed, Sender
from app.channels.text import blank, clean
from app.context import Context
from app.conversations import queries
from app.conversations.writing_in import WrittenIn
from app.errors import Conflict, Invalid, Problem
from app.intake import form_marks
from app.models import Contact, ContactIdentity, Conversation, Message

MESSAGES = Counter("roundtrip_page_messages_total", "Messages from the pages of matters, by what became of them", ["outcome"])  # fmt: skip
TRANSPORT = "page"


class PageMessages:
    """One per process."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def take(self, conversation_id: UUID, *, text: str, key: str) -> WrittenIn:
        """Answered after the commit. The same text under the same `key` is one message, and counts once, however often it
        comes.

        Raises NotFound, Invalid for an empty or too long text, Conflict when the channel takes no messages any more,
        TooManyRequests.
        """
        text = clean(text.replace("\r\n", "\n"), self._context.settings.page_text_limit + 1).strip()
        self._check(text)
        external_id = _id_of(conversation_id, key=key, text=text)
        async with self._context.database.begin() as session:
            conversation = await queries.get(session, conversation_id)
            if (known := await _stored(session, conversation, external_id)) is not None:
                return known
            contact = await session.get_one(Contact, conversation.contact_id)
            identity = await session.get_one(ContactIdentity, conversation.identity_id)
        account = await self._context.catalog.channel(conversation.channel_id)
        if account is None:
            raise Conflict("this channel takes no messages any more")
        await self._count(conversation)
        return await self._store(account, conversation, contact, identity, text=text, external_id=external_id)

    def _check(self, text: str) -> None:
        if blank(text):
            raise Invalid("a message needs a text", field="text")
        if len(text) > (limit := self._context.settings.page_text_limit):
            raise Invalid(f"longer than {limit} characters", field="text", limit=limit)

    async def _count(self, conversation: Conversation) -> None:
        """By all processes together. Raises TooManyRequests."""
        settings, refused = self._context.settings, None
        async with self._context.database.begin() as session:
            try:
                await form_marks.count(
                    session,
                    conversation.channel_id,
                    f"page:{conversation.id.hex}",
                    limit=settings.page_messages,
                    window_s=settings.page_messages_window_s,
                )
            except Problem as problem:
                refused = problem  # after the commit: it counts
        if refused is not None:
            MESSAGES.labels("refused").inc()
            raise refused

    async def _store(
        self,
        account: ChannelAccount,
        conversation: Conversation,
        contact: Contact,
        identity: ContactIdentity,
        *,
        text: str,
        external_id: str,
    ) -> WrittenIn:
        message = InboundMessage(
            external_id=external_id,
            sender=Sender(
                identity.kind, identity.value, contact.name, language=contact.language, address=identity.address
            ),
            text=text,
            content={"page": str(conversation.id)},
        )
        [stored] = await self._context.intake.store(
            account, transport=TRANSPORT, headers={}, body=b"", parsed=Parsed(messages=[message])
        )
        MESSAGES.labels(stored.outcome).inc()
        return _written(conversation, stored.conversation_id, stored.message_id, stored.seq)


def _id_of(conversation_id: UUID, *, key: str, text: str) -> str:
    digest = hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()[:32]
    return f"page:{conversation_id.hex}:{digest}"


async def _stored(session: AsyncSession, conversation: Conversation, external_id: str) -> WrittenIn | None:
    """Where it is, when it came before."""
    found = await session.exec(
        select(Message.conversation_id, Message.id, Message.seq).where(
            col(Message.channel_id) == conversation.channel_id, col(Message.external_id) == external_id
        )
    )
    row = found.one_or_none()
    return _written(conversation, *row) if row is not None else None


def _written(page: Conversation, conversation_id: UUID, message_id: UUID, seq: int) -> WrittenIn:
    return WrittenIn(conversation_id, message_id, opened=seq == 1 and conversation_id != page.id)
