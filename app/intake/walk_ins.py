"""Matters that an agent enters by hand, for somebody who stood at the counter, rang, or wrote a letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, ChannelAccount
from app.channels.base import InboundMessage, Parsed, Sender
from app.channels.form_read import telephone
from app.channels.walk_in import WalkInAdapter
from app.context import Context
from app.conversations import assignment, classification, contacts, queries
from app.conversations.entering import Entered, Entry
from app.errors import Conflict, Invalid, NotFound
from app.intake import people
from app.models import Agent, Contact, ContactIdentity, Conversation, Message
from app.models.words import ComplaintType, Matter
from app.routing import manual, offers, queues

KIND = WalkInAdapter.type
_BY_HAND = "entered by hand"


class WalkIns:
    """One per process."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def enter(self, entry: Entry) -> Entered:
        """A conversation of its own, in transactions of its own; the same entry again finds it. Raises Invalid, Conflict
        (no channel takes walk-ins), CapacityExceeded when its agent has no room to keep it."""
        catalog = await self._context.catalog.current()
        account = _account(catalog)
        _require_known(catalog, entry)
        async with self._context.inner.begin() as session:
            sender = await _customer(session, account.id, entry)
        message = InboundMessage(
            external_id=entry.key,
            sender=sender,
            text=entry.text,
            subject=entry.subject,
            sent_at=entry.occurred_at,
            content={"entered": _entered(entry)},
            category=entry.category,
        )

        async def also(session: AsyncSession) -> None:
            await _finish(session, account.id, entry, catalog)

        placed = replace(account, queue_id=entry.queue_id) if entry.queue_id else account
        [stored] = await self._context.intake.store_with(
            placed, transport="desk", headers={}, body=b"", parsed=Parsed(messages=[message]), also=also
        )
        return Entered(stored.conversation_id, stored.message_id)


def _account(catalog: Catalog) -> ChannelAccount:
    found = sorted((one for one in catalog.channels.values() if one.type == KIND), key=lambda one: one.id)
    if not found:
        raise Conflict("no active channel takes walk-ins; make one of the type walk_in, or switch it on")
    return found[0]


def _require_known(catalog: Catalog, entry: Entry) -> None:
    """Raises Invalid."""
    if entry.queue_id is not None and catalog.queue(entry.queue_id) is None:
        raise Invalid("there is no such queue, or it is not active", field="queue_id")
    if entry.reply_channel_id is not None:
        answering = catalog.channels.get(entry.reply_channel_id)
        if answering is None or not answering.adapter.capabilities.answers:
            raise Invalid("there is no such channel, or it carries no answers", field="reply_channel_id")


def _entered(entry: Entry) -> dict[str, Any]:
    by = {"id": str(entry.agent.id), "name": entry.agent.name} if entry.agent else None
    return {"by": by, "channel": entry.came_by}


async def _customer(session: AsyncSession, channel_id: UUID, entry: Entry) -> Sender:
    """Whoever is meant, found by id, address or number, or made. Each entry has a name of its own on the channel, so that
    each is a conversation of its own."""
    found = await session.exec(
        select(ContactIdentity).where(
            col(ContactIdentity.channel_id) == channel_id,
            col(ContactIdentity.kind) == KIND,
            col(ContactIdentity.value) == entry.key,
        )
    )
    phone = telephone(entry.phone) if entry.phone else None
    if (before := found.one_or_none()) is not None:
        contact = await session.get_one(Contact, before.contact_id)
        address = before.address
    else:
        contact = await _contact(session, entry, phone)
        given = {"email": entry.email or contact.email, "phone": phone or contact.phone}
        address = {name: value for name, value in given.items() if value}
        await people.join(session, contact.id, channel_id, KIND, entry.key, address)
    name = entry.name or contact.name
    return Sender(KIND, entry.key, name, entry.email, phone, entry.language, address)


async def _contact(session: AsyncSession, entry: Entry, phone: str | None) -> Contact:
    """Raises Invalid."""
    await contacts.one_merge_at_a_time(session)
    contact: Contact | None
    if entry.contact_id is not None:
        try:
            return await contacts.resolved(session, entry.contact_id)
        except NotFound:
            raise Invalid("there is no such contact", field="contact.id") from None
    contact = await people.known_by(session, email=entry.email, phone=phone)
    if contact is None:
        contact = Contact(name=entry.name, email=entry.email, phone=phone, language=entry.language)
        session.add(contact)
        await session.flush()
    return contact


async def _finish(session: AsyncSession, channel_id: UUID, entry: Entry, catalog: Catalog) -> None:
    """What the agent knows of a matter that was stored by this transaction: where it is answered, what it is, who has it."""
    message = (
        await session.exec(
            select(Message).where(col(Message.channel_id) == channel_id, col(Message.external_id) == entry.key)
        )
    ).one()
    conversation = await queries.lock(session, message.conversation_id)
    if conversation.created_at != (await session.execute(text("SELECT now()"))).scalar_one():
        return  # it was entered before
    conversation.reply_channel_id = entry.reply_channel_id
    session.add(conversation)
    if entry.category or entry.matter or entry.severity:
        await _classify(session, conversation, entry, catalog)
    if entry.queue_id is not None and conversation.queue_id != entry.queue_id:
        await assignment.move_to_queue(session, conversation, entry.queue_id)
        await queues.enqueue(session, conversation, queue_id=entry.queue_id)
    if entry.keep and entry.agent is not None:
        await manual.keep(session, conversation, agent=await session.get_one(Agent, entry.agent.id))
    await session.flush()


async def _classify(session: AsyncSession, conversation: Conversation, entry: Entry, catalog: Catalog) -> None:
    """The agent has heard the customer: the rules leave it alone from now on."""
    matter = entry.matter or conversation.matter
    kind = conversation.complaint_type if matter == Matter.COMPLAINT else None
    if matter == Matter.COMPLAINT and kind is None:
        kind = ComplaintType.OTHER
    await offers.hold_concerned(session, conversation)
    await classification.apply(
        session,
        conversation,
        category=entry.category or conversation.category,
        matter=matter,
        severity=entry.severity or conversation.severity,
        complaint_type=kind,
        source="agent",
        agent_id=entry.agent.id if entry.agent else None,
        reason=_BY_HAND,
    )
    await queues.reclassified(session, conversation, catalog)
