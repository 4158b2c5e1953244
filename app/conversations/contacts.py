"""Two contacts that turn out to be one person: everything the one had is the other's."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import orjson
from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.conversations import queries
from app.db import new_version
from app.errors import Conflict, NotFound
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.events.stream import CONTACT_MERGED
from app.models import Consent, Contact, ContactIdentity, Conversation
from app.models.words import ConversationStatus
from app.wakeups import wake

_MERGING = 7_266_514_313
_FILLED = ("name", "email", "phone", "language")
_STANDARD = "standard"
# In the stream after everything that the contact had before (docs/decisions/0004), and told to no desk: the widgets of
# `contact` see there that their stream ends, or that it has more of a past than it had.
_MARK = text(
    "WITH told AS (INSERT INTO event(pos, type, contact_id, scope, queues, agents, to_customer, actor_type, actor_id, "
    "correlation_id, payload) "
    "VALUES (greatest(CAST(CAST(pg_current_xact_id() AS text) AS bigint), :pos), :type, :contact, 'audit', "
    "'{}', '{}', false, :actor_type, :actor, :correlation, CAST(:payload AS jsonb)) RETURNING pos, id) "
    "SELECT pos, id, pg_notify('roundtrip', 'events') FROM told"
)

_WAITING = text(
    "SELECT c.id FROM conversation c JOIN queue_entry e ON e.conversation_id = c.id WHERE c.contact_id = :contact ORDER BY c.id"
)
# The age stays, the head start is that of the contact as they are now (routing/boosts.sql).
_BOOST = text(
    "UPDATE queue_entry e SET boosts = b.boosts, order_at = e.enqueued_at - make_interval(secs => b.boost_s) "
    "FROM conversation c CROSS JOIN LATERAL "
    "boosts_v1(c.category, c.matter, c.severity, c.channel_type, c.contact_id, c.id, c.created_at) b "
    "WHERE e.conversation_id = c.id AND c.id = ANY(CAST(:ids AS uuid[])) AND e.boosts <> b.boosts RETURNING e.conversation_id"
)


async def hold_waiting(session: AsyncSession, contact_id: UUID) -> list[Conversation]:
    """The conversations of a contact that need an agent, locked: before their contact is."""
    ids = (await session.execute(_WAITING, {"contact": contact_id})).scalars().all()
    return [await queries.lock(session, conversation_id) for conversation_id in ids]


async def boost_again(session: AsyncSession, held: Collection[Conversation]) -> None:
    """The contact of these conversations, held by the caller, has changed: those that wait stand where that puts them."""
    await session.flush()
    moved = await session.execute(_BOOST, {"ids": [conversation.id for conversation in held]})
    if moved.first() is not None:
        await wake(session, "dispatch")


async def one_merge_at_a_time(session: AsyncSession) -> None:
    """Held until the transaction ends. The first lock of whoever is going to merge: it makes all the others simple."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MERGING})


async def resolved(session: AsyncSession, contact_id: UUID) -> Contact:
    """The contact, or the one it was merged into. Raises NotFound."""
    contact = await session.get(Contact, contact_id, populate_existing=True)
    if contact is not None and contact.merged_into is not None:
        contact = await session.get(Contact, contact.merged_into, populate_existing=True)
    if contact is None:
        raise NotFound("there is no such contact")
    return contact


async def merge(session: AsyncSession, *, source: UUID, target: UUID, actor: Actor) -> Contact:
    """Make everything of `source` the `target`'s: identities, conversations; name and the like where it has none.

    Returns the target; what is merged already stays as it is. Identities are held before conversations, as the intake
    does it: a message that makes a conversation is either before us, and moves along, or finds the target after us.
    Raises NotFound, Conflict for a contact with itself or one that was merged elsewhere.
    """
    await one_merge_at_a_time(session)
    if source == target:
        raise Conflict("a contact cannot be merged into itself")
    gone, kept = await _contact(session, source), await _contact(session, target)
    if gone.merged_into == kept.id:
        return kept
    for contact in (gone, kept):
        if contact.merged_into is not None:
            raise Conflict(f"{contact.id} was merged already", merged_into=str(contact.merged_into))
    identities = col(ContactIdentity.contact_id)
    await session.exec(
        select(ContactIdentity.id)
        .where(identities.in_((source, target)))
        .order_by(col(ContactIdentity.id))
        .with_for_update()
    )
    held = await _hold(session, source, target)
    moving = [conversation for conversation in held if conversation.contact_id == source]
    await session.execute(update(ContactIdentity).where(identities == source).values(contact_id=target))
    await session.execute(update(Consent).where(col(Consent.contact_id) == source).values(contact_id=target))
    await session.execute(update(Contact).where(col(Contact.merged_into) == source).values(merged_into=target))
    _fill(kept, gone)
    for conversation in moving:
        conversation.contact_id = target
        session.add(conversation)
        shown = {"conversation": shapes.conversation(conversation), "changed": ["contact_id"]}
        await events.append(session, conversation, "conversation.updated", shown, actor=actor)
    session.add_all((kept, gone))
    await boost_again(session, held)
    for contact_id in (target, source):
        await mark(session, contact_id, into=target, source=source, actor=actor)
    await session.refresh(kept)
    return kept


async def mark(session: AsyncSession, contact_id: UUID, *, into: UUID, source: UUID, actor: Actor) -> None:
    """Tell the widgets that follow `contact_id` to start anew as `into`, whichever process they are connected to."""
    await session.flush()
    newest = select(func.coalesce(func.max(col(Conversation.stream_pos)), 0)).where(
        col(Conversation.contact_id).in_((contact_id, into))
    )
    await session.execute(
        _MARK,
        {
            "type": CONTACT_MERGED,
            "pos": (await session.exec(newest)).one(),
            "contact": contact_id,
            "actor_type": actor.type,
            "actor": actor.id,
            "correlation": log.correlation.get(),
            "payload": orjson.dumps({"source": str(source), "into": str(into)}).decode(),
        },
    )


async def _contact(session: AsyncSession, contact_id: UUID) -> Contact:
    contact = await session.get(Contact, contact_id, populate_existing=True)
    if contact is None:
        raise NotFound("there is no such contact")
    return contact


async def _hold(session: AsyncSession, source: UUID, target: UUID) -> list[Conversation]:
    """Lock what moves and what is open on either side."""
    contact, status = col(Conversation.contact_id), col(Conversation.status)
    found = await session.exec(
        select(Conversation)
        .where((contact == source) | ((contact == target) & (status != ConversationStatus.CLOSED)))
        .order_by(col(Conversation.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(found.all())


def _fill(kept: Contact, gone: Contact) -> None:
    for name in _FILLED:
        if not getattr(kept, name):
            setattr(kept, name, getattr(gone, name))
    if kept.tier == _STANDARD:
        kept.tier = gone.tier
    kept.attributes = {**gone.attributes, **kept.attributes}
    gone.merged_into = kept.id
    for contact in (kept, gone):
        new_version(contact)
