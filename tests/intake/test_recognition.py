"""A message and a login of its visitor meet in the database: each order of the two, made to happen."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import InboundMessage, Sender
from app.clock import now
from app.conversations import contacts
from app.db import Database
from app.errors import Conflict
from app.events.log import SYSTEM
from app.ids import new_id, token_hash
from app.intake import recognition
from app.intake.ingest import Stored
from app.models import Contact, ContactIdentity, Conversation, Message, Visitor
from tests.intake.conftest import Door


async def _visitor(database: Database, door: Door) -> Visitor:
    visitor_id = new_id()
    visitor = Visitor(
        id=visitor_id,
        channel_id=door.account.id,
        digest=token_hash(str(visitor_id)),
        identity_value=str(visitor_id),
        expires_at=now(),
    )
    async with database.begin() as session:
        session.add(visitor)
    return visitor


async def _says(door: Door, kind: str, value: str, words: str, *, contact_id: UUID | None = None) -> Stored:
    sender = Sender(kind, value, contact_id=contact_id)
    [stored] = await door.come_in(InboundMessage(external_id=f"{value}:{words}", sender=sender, text=words))
    return stored


async def _blocked(database: Database, *, many: int = 1) -> None:
    """Until so many wait for a row."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while True:
            async with database.begin() as session:
                if (await session.execute(waiting)).scalar_one() >= many:
                    return
            await asyncio.sleep(0.01)


async def _close(database: Database, conversation_id: UUID) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE conversation SET status = 'closed' WHERE id = :id"), {"id": conversation_id})


@pytest.mark.parametrize("known", [False, True])
async def test_a_message_that_makes_a_conversation_waits_for_the_login(
    database: Database, door: Door, known: bool
) -> None:
    visitor = await _visitor(database, door)
    before = await _says(door, "visitor", visitor.identity_value, "0", contact_id=visitor.id)
    await _close(database, before.conversation_id)
    theirs = await _says(door, "user", "grace", "from elsewhere") if known else None
    async with database.begin() as session:
        held = await session.get_one(Visitor, visitor.id)
        assert await recognition.recognise(session, door.account.id, held, user="grace")
        await session.flush()
        coming = asyncio.create_task(_says(door, "visitor", visitor.identity_value, "1", contact_id=visitor.id))
        await _blocked(database)
    stored = await coming
    again = await _says(door, "user", "grace", "2")
    assert stored.conversation_id == again.conversation_id
    assert (stored.conversation_id == theirs.conversation_id) if theirs else stored.seq == 1
    async with database.begin() as session:
        everything = (await session.exec(select(Conversation))).all()
        assert len({conversation.contact_id for conversation in everything}) == 1


@pytest.mark.parametrize("known", [False, True])
async def test_a_first_message_that_is_on_its_way_is_taken_along(database: Database, door: Door, known: bool) -> None:
    visitor = await _visitor(database, door)
    if known:
        await _says(door, "user", "grace", "from elsewhere")

    async def log_in() -> bool:
        async with database.begin() as session:
            held = await session.get_one(Visitor, visitor.id)
            return await recognition.recognise(session, door.account.id, held, user="grace")

    async with database.begin() as session:
        # The queue's row is what making a conversation needs last: the message is stored, and not committed yet.
        await session.execute(text("SELECT 1 FROM queue FOR UPDATE"))
        coming = asyncio.create_task(_says(door, "visitor", visitor.identity_value, "1", contact_id=visitor.id))
        await _blocked(database)
        login = asyncio.create_task(log_in())
        await _blocked(database, many=2)
    stored = await coming
    assert await login
    again = await _says(door, "user", "grace", "2")
    assert again.conversation_id == stored.conversation_id, "the conversation that they were in goes on"
    async with database.begin() as session:
        conversation = await session.get_one(Conversation, stored.conversation_id)
        identity = await session.get_one(ContactIdentity, conversation.identity_id)
        assert (identity.kind, identity.contact_id) == ("user", conversation.contact_id)


async def test_a_message_of_a_contact_that_is_being_merged(database: Database, door: Door) -> None:
    """By a supervisor: it waits, and its conversation is the target's."""
    one = await _says(door, "partner", "grace", "0")
    two = await _says(door, "partner", "g.hopper", "0")
    await _close(database, one.conversation_id)
    async with database.begin() as session:
        source, target = [
            (await session.get_one(Conversation, stored.conversation_id)).contact_id for stored in (one, two)
        ]
        await contacts.merge(session, source=source, target=target, actor=SYSTEM)
        coming = asyncio.create_task(_says(door, "partner", "grace", "1"))
        await _blocked(database)
    stored = await coming
    async with database.begin() as session:
        made = await session.get_one(Conversation, stored.conversation_id)
        assert made.contact_id == target
        with pytest.raises(Conflict):
            await contacts.merge(session, source=target, target=source, actor=SYSTEM)
        assert (await contacts.resolved(session, source)).id == target
        left = await session.exec(select(Conversation.id).where(col(Conversation.contact_id) == source))
        assert left.all() == []


async def test_what_the_target_has_stays_and_what_it_lacks_is_filled(database: Database) -> None:
    one = Contact(name="Grace", email="old@example.org", phone="1", tier="vip", attributes={"a": 1, "b": 1})
    two = Contact(name="Grace Hopper", attributes={"b": 2})
    third = Contact(name="G.", language="en")
    async with database.begin() as session:
        session.add_all((one, two, third))
    async with database.begin() as session:
        await contacts.merge(session, source=third.id, target=one.id, actor=SYSTEM)
        kept = await contacts.merge(session, source=one.id, target=two.id, actor=SYSTEM)
        assert (kept.name, kept.email, kept.phone, kept.language) == ("Grace Hopper", "old@example.org", "1", "en")
        assert (kept.tier, kept.attributes, kept.version) == ("vip", {"a": 1, "b": 2}, 2)
        assert (await contacts.resolved(session, third.id)).id == two.id, "chains are cut short"


async def test_a_visitor_whom_a_supervisor_made_somebody_else_comes_anew(database: Database, door: Door) -> None:
    """Two people with names are never merged by a login."""
    visitor = await _visitor(database, door)
    chat = await _says(door, "visitor", visitor.identity_value, "hello", contact_id=visitor.id)
    mail = await _says(door, "mail", "ada@example.org", "hello")
    await _says(door, "user", "grace", "hello")
    async with database.begin() as session:
        target = (await session.get_one(Conversation, mail.conversation_id)).contact_id
        await contacts.merge(session, source=visitor.id, target=target, actor=SYSTEM)
    async with database.begin() as session:
        held = await session.get_one(Visitor, visitor.id)
        assert not await recognition.recognise(session, door.account.id, held, user="grace")
        assert held.identity_kind == "visitor"
    async with database.begin() as session:
        held = await session.get_one(Visitor, visitor.id)
        assert await recognition.recognise(session, door.account.id, held, user="ada"), "a user nobody knew is welcome"
        conversation = await session.get_one(Conversation, chat.conversation_id)
        assert conversation.contact_id == target
        assert len((await session.exec(select(Message))).all()) == 3
