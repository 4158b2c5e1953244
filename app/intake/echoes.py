"""What one of us wrote in the provider's own app: it belongs to the conversation like any answer of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import ChannelAccount
from app.channels.base import Echo, StatusUpdate
from app.clock import now
from app.conversations import queries
from app.delivery import receipts
from app.events import log as events
from app.events import shapes
from app.ids import new_id
from app.intake.media import TOPIC as MEDIA
from app.models import Attachment, Conversation, MediaFetch, Message
from app.models.words import AuthorType, ConversationStatus, DeliveryStatus, Direction, MessageKind
from app.sla import clocks
from app.wakeups import wake

ELSEWHERE = "elsewhere"
_OURS_WITHIN = timedelta(hours=1)
_LOOKED_AT = 20
_LONG = 60  # characters: nobody types that much of an answer of ours once more
_logger = log.get("intake")
_CONVERSATION = text(
    "SELECT c.id FROM contact_identity i JOIN conversation c ON c.identity_id = coalesce(i.same_as, i.id) "
    "WHERE i.channel_id = :channel AND i.kind = :kind AND i.value = :value AND c.channel_id = :channel "
    "AND c.status <> 'closed'"
)


async def apply(
    session: AsyncSession, account: ChannelAccount, echo: Echo, files: Sequence[Mapping[str, Any]]
) -> Message | None:
    """Store it as sent, exactly once; None when it is of a message that we sent, or of no open conversation.

    `files` are its files as the message remembers them. Locks the conversation, so it has to be the first lock of the
    transaction.
    """
    recipient = {"channel": account.id, "kind": echo.recipient.kind, "value": echo.recipient.value}
    conversation_id = (await session.execute(_CONVERSATION, recipient)).scalar()
    if conversation_id is None:
        _logger.warning("echo without an open conversation", channel_id=account.id, external_id=echo.external_id)
        return None
    conversation = await queries.lock(session, conversation_id)
    if await _is_known(session, account.id, echo.external_id):
        return None
    limit = account.adapter.capabilities.text_limit
    for message in await _lately(session, conversation):
        match = ours(echo, message, limit=limit)
        if match == "same":
            update = StatusUpdate(echo.external_id, "sent", our_id=str(message.id))
            await receipts.apply(session, account.id, update)
        if match is not None:
            return None
    return await _store(session, conversation, echo, files)


def ours(echo: Echo, message: Message, *, limit: int) -> str | None:
    """Whether an echo whose id we do not know is of a message that we sent: `same`, `part` (of one that was split), None.

    Some providers carry no id of ours, and name only the last part in their answer; and their call may be here before
    that answer was written down.
    """
    said, text = echo.text.strip(), message.text.strip()
    unnamed = message.provider_message_id is None and message.status in (DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN)
    if said and said == text:
        return "same" if unnamed and not message.attachments else "part" if message.attachments else None
    if len(said) >= _LONG and said in text and len(text.encode()) > limit:
        return "part"
    if not said and echo.files and message.attachments:
        alone = len(message.attachments) == 1 and not text
        return "part" if unnamed or not alone else None
    return None


async def _is_known(session: AsyncSession, channel_id: UUID, external_id: str) -> bool:
    for column in (Message.external_id, Message.provider_message_id):
        found = select(Message.id).where(col(Message.channel_id) == channel_id, col(column) == external_id).limit(1)
        if (await session.exec(found)).first() is not None:
            return True
    return False


async def _lately(session: AsyncSession, conversation: Conversation) -> Sequence[Message]:
    found = await session.exec(
        select(Message)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.direction) == Direction.OUTBOUND,
            col(Message.external_id).is_(None),
            col(Message.created_at) > now() - _OURS_WITHIN,
        )
        .order_by(col(Message.seq).desc())
        .limit(_LOOKED_AT)
    )
    return found.all()


async def _store(
    session: AsyncSession, conversation: Conversation, echo: Echo, files: Sequence[Mapping[str, Any]]
) -> Message:
    works = conversation.status != ConversationStatus.RESOLVED
    conversation.last_seq += 1
    if works and conversation.first_replied_at is None:
        conversation.first_replied_at = now()
    message = Message(
        id=new_id(),
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        channel_id=conversation.channel_id,
        direction=Direction.OUTBOUND,
        kind=MessageKind.REPLY,
        author_type=AuthorType.SYSTEM,
        author_name=ELSEWHERE,
        text=echo.text,
        content={**echo.content, ELSEWHERE: True},
        attachments=[dict(item) for item in files],
        external_id=echo.external_id,
        status=DeliveryStatus.SENT,
        correlation_id=log.correlation.get() or conversation.correlation_id,
        sent_at=echo.sent_at,
        created_at=now(),
    )
    session.add(conversation)
    session.add(message)
    await session.flush()
    await _keep_files(session, message)
    payload = {"message": shapes.stored_message(message)}
    await events.append(session, conversation, "message.created", payload, to_customer=True)
    if works:
        await clocks.replied(session, conversation)
    return message


async def _keep_files(session: AsyncSession, message: Message) -> None:
    for item in message.attachments:
        if item.get("sha256"):
            row: Attachment | MediaFetch = Attachment(
                id=UUID(item["id"]),
                sha256=item["sha256"],
                size=item["size"],
                media_type=item["media_type"],
                name=item["name"],
                message_id=message.id,
            )
        else:
            row = MediaFetch(
                attachment_id=UUID(item["id"]),
                message_id=message.id,
                conversation_id=message.conversation_id,
                channel_id=message.channel_id,
                ref=item["remote"],
            )
            await wake(session, MEDIA)
        session.add(row)
