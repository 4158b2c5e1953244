"""By which channel an answer goes: the conversation's own, or the one that stands in for a channel that carries none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.addresses import REACHING, identity_on
from app.channels.form_config import RepliesElsewhere
from app.channels.registry import ADAPTERS
from app.errors import NoReplyChannel
from app.ids import new_id
from app.models import Channel, Contact, ContactIdentity, Conversation

_CLAIM = text(
    "INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address) "
    "VALUES (:id, :contact, :channel, :kind, :value, :address) ON CONFLICT (channel_id, kind, value) DO NOTHING"
).bindparams(bindparam("address", type_=JSONB))

_OTHERS = text("""
    SELECT DISTINCT ON (ch.id) i.id AS identity_id, ch.id AS channel_id, ch.type, ch.name
    FROM contact_identity i
    JOIN channel ch ON ch.id = i.channel_id AND ch.active
    LEFT JOIN channel_state s ON s.channel_id = ch.id
    WHERE i.contact_id = :contact AND i.same_as IS NULL AND ch.type = ANY(CAST(:order AS text[]))
    AND ch.id <> ALL(CAST(:passed AS uuid[])) AND coalesce(s.state, 'ok') NOT IN ('reauth', 'broken')
    ORDER BY ch.id, i.created_at DESC, i.id DESC
""")


@dataclass(frozen=True, slots=True)
class Way:
    """`identity_id` is None on the conversation's own channel: whom it came from is whom it goes to."""

    channel_id: UUID
    identity_id: UUID | None = None
    channel_type: str | None = None
    name: str | None = None


async def find(session: AsyncSession, conversation: Conversation, *, claim: bool = False) -> Way | None:
    """None when its channel carries no answers and nothing stands in for it. With `claim` an address that nobody has
    written from yet becomes the contact's on that channel; without it, nothing is written."""
    adapter = ADAPTERS.get(conversation.channel_type)
    if adapter is None or adapter.capabilities.answers:
        return Way(conversation.channel_id)
    own = await session.get(Channel, conversation.channel_id)
    if own is None or not issubclass(adapter.config_model, RepliesElsewhere):
        return None
    config = _elsewhere(adapter.config_model, own.config)
    wanted = conversation.reply_channel_id or (UUID(config.reply_channel_id) if config.reply_channel_id else None)
    if wanted is not None:
        channel = await session.get(Channel, wanted)
        return await _by(session, conversation, channel, claim=claim) if channel and channel.active else None
    return await _known(session, conversation, claim=claim) if config.reply_by_identities else None


async def others(
    session: AsyncSession, conversation: Conversation, *, order: Sequence[str], passed: Collection[UUID]
) -> AsyncIterator[Way]:
    """By which other channels the contact is known, in the `order` of channel types, newest first; without the channels
    `passed`. Where they are not known yet by mail or text message, at the address or number that we have of them. An account
    that does not work is left out. An address that nobody wrote from becomes the contact's when it is yielded."""
    values = {"contact": conversation.contact_id, "order": list(order), "passed": list(passed)}
    found = (await session.execute(_OTHERS, values)).all()
    for kind in order:
        known = [Way(row.channel_id, row.identity_id, row.type, row.name) for row in found if row.type == kind]
        for way in known:
            yield way
        if known or kind not in REACHING:
            continue
        channels = (await session.exec(select(Channel).where(col(Channel.type) == kind, col(Channel.active)))).all()
        if len(channels) == 1 and channels[0].id not in passed:
            told = await _by(session, conversation, channels[0], claim=True)
            if told is not None:
                yield told


def _elsewhere(model: type[RepliesElsewhere], given: Mapping[str, Any]) -> RepliesElsewhere:
    """That part of a configuration: the whole of it may need secrets."""
    known = {"reply_by_identities": model.model_fields["reply_by_identities"].default, **given}
    return RepliesElsewhere.model_validate(
        {name: known[name] for name in RepliesElsewhere.model_fields if name in known}
    )


async def require(session: AsyncSession, conversation: Conversation) -> Way:
    """Raises NoReplyChannel, which says what is possible instead."""
    way = await find(session, conversation, claim=True)
    if way is None:
        detail = await _why_none(session, conversation)
        raise NoReplyChannel(detail, allowed=["note"], channel_type=conversation.channel_type)
    return way


async def _why_none(session: AsyncSession, conversation: Conversation) -> str | None:
    """What stands in the way of the channel that was named for answers; None where none was."""
    adapter, own = ADAPTERS[conversation.channel_type], await session.get(Channel, conversation.channel_id)
    if own is None or not issubclass(adapter.config_model, RepliesElsewhere):
        return None
    named = _elsewhere(adapter.config_model, own.config).reply_channel_id
    wanted = conversation.reply_channel_id or (UUID(named) if named else None)
    if wanted is None:
        return None
    channel = await session.get(Channel, wanted)
    if channel is None or not channel.active:
        return "The channel by which answers to this one go is not active."
    return f"Answers go by {channel.name}, and no address of the customer is known for it."


async def _known(session: AsyncSession, conversation: Conversation, *, claim: bool) -> Way | None:
    """By mail or text message, where the contact is known there; the newest way first. An address that we were told and
    they have not written from is answered by the oldest such channel: a later one changes nothing for who waits."""
    found = await session.exec(
        select(Channel, ContactIdentity.id)
        .join(ContactIdentity, col(ContactIdentity.channel_id) == col(Channel.id))
        .where(
            col(ContactIdentity.contact_id) == conversation.contact_id,
            col(ContactIdentity.same_as).is_(None),
            col(Channel.type).in_(REACHING),
            col(Channel.active),
        )
        .order_by(col(ContactIdentity.created_at).desc(), col(ContactIdentity.id).desc())
        .limit(1)
    )
    known = found.first()
    if known is not None:
        channel, identity_id = known
        return Way(channel.id, identity_id, channel.type, channel.name)
    for kind in REACHING:
        oldest = (
            select(Channel).where(col(Channel.type) == kind, col(Channel.active)).order_by(col(Channel.id)).limit(1)
        )
        first = (await session.exec(oldest)).first()
        if first is not None and (way := await _by(session, conversation, first, claim=claim)):
            return way
    return None


async def _by(session: AsyncSession, conversation: Conversation, channel: Channel, *, claim: bool) -> Way | None:
    """By this channel: at the address that came with the matter, else where the contact is known on it."""
    adapter = ADAPTERS.get(channel.type)
    if adapter is None or not adapter.capabilities.answers:
        return None
    named = await _their_address(session, conversation, channel)
    if named is not None and claim:
        return Way(channel.id, await _claimed(session, conversation, channel, *named), channel.type, channel.name)
    if named is not None:
        return Way(channel.id, await _at(session, channel, *named[:2]), channel.type, channel.name)
    found = await session.exec(
        select(ContactIdentity.id)
        .where(
            col(ContactIdentity.channel_id) == channel.id,
            col(ContactIdentity.contact_id) == conversation.contact_id,
            col(ContactIdentity.same_as).is_(None),
        )
        .order_by(col(ContactIdentity.created_at).desc(), col(ContactIdentity.id).desc())
        .limit(1)
    )
    identity_id = found.first()
    return Way(channel.id, identity_id, channel.type, channel.name) if identity_id is not None else None


async def _their_address(
    session: AsyncSession, conversation: Conversation, channel: Channel
) -> tuple[str, str, Mapping[str, Any]] | None:
    """What the customer gave with the matter, else what is known of them."""
    identity = await session.get(ContactIdentity, conversation.identity_id)
    contact = await session.get(Contact, conversation.contact_id)
    given: dict[str, Any] = identity.address if identity is not None else {}
    email = given.get("email") or (contact.email if contact else None)
    phone = given.get("phone") or (contact.phone if contact else None)
    return identity_on(channel.type, email=email, phone=phone)


async def _claimed(
    session: AsyncSession,
    conversation: Conversation,
    channel: Channel,
    kind: str,
    value: str,
    address: Mapping[str, Any],
) -> UUID:
    """The identity at that address; nobody's yet, it becomes the contact's: what comes from there is theirs."""
    await session.execute(
        _CLAIM,
        {
            "id": new_id(),
            "contact": conversation.contact_id,
            "channel": channel.id,
            "kind": kind,
            "value": value,
            "address": dict(address),
        },
    )
    claimed = await _at(session, channel, kind, value)
    assert claimed is not None, "it was there, or is now"
    return claimed


async def _at(session: AsyncSession, channel: Channel, kind: str, value: str) -> UUID | None:
    found = await session.exec(
        select(ContactIdentity.id).where(
            col(ContactIdentity.channel_id) == channel.id,
            col(ContactIdentity.kind) == kind,
            col(ContactIdentity.value) == value,
        )
    )
    return found.one_or_none()
