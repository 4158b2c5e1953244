"""Somebody who says who they are by a mail address or a number: whoever goes by it already is the same contact."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, or_, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.addresses import REACHING, identity_on
from app.channels.base import Sender
from app.conversations import contacts
from app.ids import new_id
from app.models import Channel, Contact, ContactIdentity

ANONYMOUS = "form"
_JOIN = text(
    "INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address) "
    "VALUES (:id, :contact, :channel, :kind, :value, :address) ON CONFLICT (channel_id, kind, value) DO UPDATE "
    "SET address = contact_identity.address || excluded.address "
    "WHERE NOT contact_identity.address @> excluded.address"
).bindparams(bindparam("address", type_=JSONB))


async def known_by(session: AsyncSession, *, email: str | None, phone: str | None) -> Contact | None:
    """The contact who writes from this address, else who has it in their record; an address counts before a number, and
    the oldest contact before younger ones."""
    for given in ({"email": email, "phone": None}, {"email": None, "phone": phone}):
        contact = await _writing_from(session, **given) or await _recorded(session, **given)
        if contact is not None:
            return contact
    return None


async def _writing_from(session: AsyncSession, *, email: str | None, phone: str | None) -> Contact | None:
    names = [named for kind in REACHING if (named := identity_on(kind, email=email, phone=phone)) is not None]
    for kind, value, _ in names:
        found = await session.exec(
            select(Contact)
            .join(ContactIdentity, col(ContactIdentity.contact_id) == col(Contact.id))
            .where(
                col(ContactIdentity.channel_id).in_(select(Channel.id).where(col(Channel.type) == kind)),
                col(ContactIdentity.kind) == kind,
                col(ContactIdentity.value) == value,
                col(Contact.merged_into).is_(None),
            )
            .order_by(col(Contact.id))
            .limit(1)
        )
        if (contact := found.first()) is not None:
            return contact
    return None


async def _recorded(session: AsyncSession, *, email: str | None, phone: str | None) -> Contact | None:
    same: list[ColumnElement[bool]] = [col(Contact.email).in_({email, email.lower()})] if email else []
    same += [col(Contact.phone) == phone] if phone else []
    if not same:
        return None
    found = await session.exec(
        select(Contact).where(or_(*same), col(Contact.merged_into).is_(None)).order_by(col(Contact.id)).limit(1)
    )
    return found.first()


async def place(session: AsyncSession, channel_id: UUID, sender: Sender) -> None:
    """Before their first message: the name they go by on this channel becomes the known contact's. Nobody known: the
    message makes the contact. Merging waits, so that the contact stays who they are."""
    if sender.kind == ANONYMOUS:
        return
    await contacts.one_merge_at_a_time(session)
    found = await session.exec(
        select(ContactIdentity.contact_id).where(
            col(ContactIdentity.channel_id) == channel_id,
            col(ContactIdentity.kind) == sender.kind,
            col(ContactIdentity.value) == sender.value,
        )
    )
    contact_id = found.one_or_none()
    if contact_id is None:
        contact = await known_by(session, email=sender.email, phone=sender.phone)
        contact_id = contact.id if contact else None
    if contact_id is not None:
        await join(session, contact_id, channel_id, sender.kind, sender.value, dict(sender.address))


async def join(
    session: AsyncSession, contact_id: UUID, channel_id: UUID, kind: str, value: str, address: dict[str, Any]
) -> None:
    """A name of a contact; one that somebody goes by stays theirs, and learns the address."""
    values = {"contact": contact_id, "channel": channel_id, "kind": kind, "value": value, "address": address}
    await session.execute(_JOIN, {**values, "id": new_id()})
