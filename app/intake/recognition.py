"""A visitor says who they are: what they wrote without a name becomes that person's, in one transaction.

Three rows meet here: the visitor's identity, made by their first message; the identity of the user, who may have written
from elsewhere; and the contacts behind them. Afterwards the visitor's identity goes by the user's (`same_as`), so that
a message of another tab that does not know yet is the user's all the same.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import contacts
from app.db import new_version
from app.events.log import Actor
from app.ids import new_id
from app.models import Contact, ContactIdentity, Conversation, Visitor
from app.models.words import ConversationStatus

_ANONYMOUS, _USER, _PARKED = "visitor", "user", "parked"
# In one statement, as ingest.sql does it: a first message of the same visitor that comes now waits, and is theirs.
_CLAIM = text(
    "WITH identity AS (INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address, same_as) "
    "VALUES (:id, :contact, :channel, :kind, :value, '{}', :same_as) "
    "ON CONFLICT (channel_id, kind, value) DO NOTHING RETURNING contact_id) "
    "INSERT INTO contact(id, tier, attributes, version) SELECT contact_id, 'standard', '{}', 1 FROM identity WHERE :make"
)


async def introduce(session: AsyncSession, channel_id: UUID, visitor: Visitor, *, user: str) -> None:
    """A visitor nobody has seen before comes with a name: the user has a contact from now on, before any message."""
    visitor.identity_kind, visitor.identity_value = _USER, user
    if await _identity(session, channel_id, _USER, user) is None:
        await _claim(session, channel_id, _USER, user, contact_id=visitor.id)


async def recognise(session: AsyncSession, channel_id: UUID, visitor: Visitor, *, user: str) -> bool:
    """An anonymous visitor turns out to be `user`. False when that would join two people who both have a name (a
    supervisor merged the visitor into somebody else, say): then nothing is changed, and they come as a new visitor."""
    await contacts.one_merge_at_a_time(session)
    await session.refresh(visitor)
    if visitor.identity_kind == _USER:  # another tab was faster
        return visitor.identity_value == user
    wrote_before = await session.get(Contact, visitor.id) is not None
    theirs = await _identity(session, channel_id, _USER, user)
    mine = await _identity(session, channel_id, _ANONYMOUS, visitor.identity_value)
    if mine is None and wrote_before:
        return False
    if mine is None:
        await _claim(session, channel_id, _ANONYMOUS, visitor.identity_value, contact_id=visitor.id, same_as=theirs)
        mine = await _identity(session, channel_id, _ANONYMOUS, visitor.identity_value)
    assert mine is not None, "claimed just now, by us or by their first message"
    if await _is_somebody_else(session, mine, theirs):
        return False
    actor = Actor("contact", theirs.contact_id if theirs else mine.contact_id)
    if theirs is None:
        await _claim(session, channel_id, _USER, user, contact_id=mine.contact_id, make=False)
        theirs = await _identity(session, channel_id, _USER, user)
        assert theirs is not None, "claimed just now"
    if mine.contact_id != theirs.contact_id:
        await contacts.merge(session, source=mine.contact_id, target=theirs.contact_id, actor=actor)
    elif visitor.id != theirs.contact_id:
        await contacts.mark(session, visitor.id, into=theirs.contact_id, source=visitor.id, actor=actor)
    await go_by(session, mine.id, theirs)
    visitor.identity_kind, visitor.identity_value = _USER, user
    return True


def fill(contact: Contact, *, name: str | None, email: str | None) -> None:
    """What the site says of them, where we know nothing yet."""
    if (name and not contact.name) or (email and not contact.email):
        contact.name, contact.email = contact.name or name, contact.email or email
        new_version(contact)


async def _identity(session: AsyncSession, channel_id: UUID, kind: str, value: str) -> ContactIdentity | None:
    found = await session.exec(
        select(ContactIdentity)
        .where(
            col(ContactIdentity.channel_id) == channel_id,
            col(ContactIdentity.kind) == kind,
            col(ContactIdentity.value) == value,
        )
        .execution_options(populate_existing=True)
    )
    return found.one_or_none()


async def _claim(
    session: AsyncSession,
    channel_id: UUID,
    kind: str,
    value: str,
    *,
    contact_id: UUID,
    same_as: ContactIdentity | None = None,
    make: bool = True,
) -> None:
    """Make the identity, with its contact unless it has one (`make`), where nobody else has."""
    await session.execute(
        _CLAIM,
        {
            "id": new_id(),
            "contact": same_as.contact_id if same_as else contact_id,
            "channel": channel_id,
            "kind": kind,
            "value": value,
            "same_as": same_as.id if same_as else None,
            "make": make and same_as is None,
        },
    )


async def _is_somebody_else(session: AsyncSession, mine: ContactIdentity, theirs: ContactIdentity | None) -> bool:
    """Whether the visitor's contact has a name of its own: a user's on this channel, or, when the user has a contact
    already, any at all."""
    if theirs is not None and mine.contact_id == theirs.contact_id:
        return False
    named = select(ContactIdentity.id).where(col(ContactIdentity.contact_id) == mine.contact_id)
    if theirs is None:
        named = named.where(col(ContactIdentity.kind) == _USER, col(ContactIdentity.channel_id) == mine.channel_id)
    else:
        named = named.where(col(ContactIdentity.kind).notin_((_ANONYMOUS, _PARKED)))
    return (await session.exec(named.limit(1))).one_or_none() is not None


async def go_by(session: AsyncSession, mine: UUID, theirs: ContactIdentity) -> None:
    """The identity `mine` is `theirs` from now on, and so is the conversation that goes on. The contact is theirs already."""
    identity = await session.get_one(ContactIdentity, mine, with_for_update=True, populate_existing=True)
    found = await session.exec(
        select(Conversation)
        .where(
            col(Conversation.identity_id).in_((mine, theirs.id)),
            col(Conversation.channel_id) == theirs.channel_id,
            col(Conversation.status) != ConversationStatus.CLOSED,
        )
        .order_by(col(Conversation.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    by_identity = {conversation.identity_id: conversation for conversation in found.all()}
    identity.same_as = theirs.id
    session.add(identity)
    await session.flush()
    now_here, before = by_identity.get(mine), by_identity.get(theirs.id)
    if now_here is None:
        return
    if before is not None:
        if _last_word(before) > _last_word(now_here):
            return
        await _park(session, before)
    now_here.identity_id = theirs.id
    session.add(now_here)
    await session.flush()


def _last_word(conversation: Conversation) -> float:
    return conversation.last_inbound_at.timestamp() if conversation.last_inbound_at else 0.0


async def _park(session: AsyncSession, conversation: Conversation) -> None:
    """It stays open and theirs, but what they write next does not join it: they have been talking elsewhere since."""
    place = ContactIdentity(
        contact_id=conversation.contact_id,
        channel_id=conversation.channel_id,
        kind=_PARKED,
        value=str(conversation.id),
    )
    session.add(place)
    await session.flush()
    conversation.identity_id = place.id
    session.add(conversation)
    await session.flush()
