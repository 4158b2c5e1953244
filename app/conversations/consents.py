"""What a contact agreed to: kept with its words, shown with the contact, withdrawn at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import database_now
from app.errors import NotFound
from app.ids import new_id
from app.models import Consent, Message

# What the message was stored with counts once, however often the message comes.
_GIVE = text(
    "INSERT INTO consent(id, contact_id, purpose, version, text, digest, channel_id, message_id) "
    "SELECT :id, c.contact_id, :purpose, :version, :text, :digest, m.channel_id, m.id "
    "FROM message m JOIN conversation c ON c.id = m.conversation_id WHERE m.id = :message AND NOT EXISTS ("
    "SELECT 1 FROM consent k WHERE k.message_id = m.id AND k.purpose = :purpose)"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is agreed to, in which version of which words."""

    purpose: str
    version: str
    text: str
    digest: str


async def give(session: AsyncSession, message: Message, terms: Sequence[Terms]) -> None:
    """The contact of a stored message agreed with it."""
    for each in terms:
        values = {"purpose": each.purpose, "version": each.version, "text": each.text, "digest": each.digest}
        await session.execute(_GIVE, {**values, "id": new_id(), "message": message.id})


async def of(session: AsyncSession, contact_id: UUID) -> Sequence[Consent]:
    """The newest first, those that were withdrawn too."""
    found = await session.exec(
        select(Consent).where(col(Consent.contact_id) == contact_id).order_by(col(Consent.id).desc())
    )
    return found.all()


async def withdraw(session: AsyncSession, contact_id: UUID, consent_id: UUID, *, by: str) -> Consent:
    """From now on it does not hold. It stays to show that it did; again changes nothing. Raises NotFound."""
    consent = await session.get(Consent, consent_id, with_for_update=True, populate_existing=True)
    if consent is None or consent.contact_id != contact_id:
        raise NotFound("there is no such consent")
    if consent.withdrawn_at is None:
        consent.withdrawn_at, consent.withdrawn_by = database_now(), by
        session.add(consent)
        await session.flush()
        await session.refresh(consent)
    return consent
