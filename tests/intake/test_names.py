"""Several names of one person: whichever comes first, next, or at the same time, it is one contact in one conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import Echo, InboundMessage, Parsed, Sender
from app.clock import now
from app.conversations import contacts
from app.db import STATEMENTS, Database
from app.events.log import SYSTEM
from app.intake import names
from app.intake.ingest import Stored
from app.models import Contact, ContactIdentity, Conversation, Message
from tests.intake.conftest import Door
from tests.intake.test_recognition import _blocked

PHONE, USER, PARENT = "15550100", "US.1", "US.ENT.2"


def person(value: str, *also: str, to: str | None = None, name: str | None = None) -> Sender:
    return Sender(
        "whatsapp",
        value,
        name=name,
        phone=f"+{value}" if value.isdigit() else None,
        address={"to": to} if to else {},
        also=[("whatsapp", other) for other in also],
    )


async def says(door: Door, sender: Sender, words: str) -> Stored:
    [stored] = await door.come_in(InboundMessage(external_id=f"{sender.value}:{words}", sender=sender, text=words))
    return stored


async def identities(database: Database) -> dict[str, ContactIdentity]:
    async with database.begin() as session:
        return {row.value: row for row in (await session.exec(select(ContactIdentity))).all()}


async def one_person(database: Database, *values: str) -> UUID:
    """All the names lead to the same identity, whose contact and open conversation are the only ones."""
    known = await identities(database)
    assert {row.same_as or row.id for row in known.values() if row.kind == "whatsapp"} == {
        known[values[0]].same_as or known[values[0]].id
    }
    assert set(values) <= set(known)
    (contact_id,) = {row.contact_id for row in known.values()}
    async with database.begin() as session:
        left = (await session.exec(select(Contact).where(col(Contact.merged_into).is_(None)))).all()
        assert [contact.id for contact in left] == [contact_id]
        of = {row.contact_id for row in (await session.exec(select(Conversation))).all()}
        assert of == {contact_id}
    return contact_id


@pytest.mark.parametrize("order", [(PHONE, USER, PARENT), (USER, PARENT, PHONE), (PARENT, PHONE, USER)])
async def test_whichever_comes_next_is_the_same_person(database: Database, door: Door, order: Sequence[str]) -> None:
    first = await says(door, person(order[0], *order[1:]), "one")
    for value in order:
        next_one = await says(door, person(value), f"by {value}")
        assert next_one.conversation_id == first.conversation_id
    await one_person(database, *order)


async def test_a_name_that_is_learnt_later(database: Database, door: Door) -> None:
    first = await says(door, person(USER), "one")
    both = await says(door, person(PHONE, USER, to=PHONE, name="Ana"), "two")
    assert both.conversation_id == first.conversation_id
    await one_person(database, PHONE, USER)
    known = await identities(database)
    assert known[PHONE].same_as == known[USER].id
    assert known[USER].address == {"to": PHONE}, "an answer reaches the number that is known now"
    async with database.begin() as session:
        contact = await session.get_one(Contact, known[USER].contact_id)
        assert (contact.name, contact.phone) == ("Ana", f"+{PHONE}")


async def test_two_people_turn_out_to_be_one(database: Database, door: Door) -> None:
    await says(door, person(PHONE), "by phone")
    newer = await says(door, person(USER), "by user")
    both = await says(door, person(PHONE, USER), "both")
    await one_person(database, PHONE, USER)
    assert both.conversation_id == newer.conversation_id, "the conversation that was written in last goes on"
    again = await says(door, person(USER), "again")
    assert again.conversation_id == both.conversation_id
    third = await says(door, person(USER, "US.3"), "another name of an alias")
    assert third.conversation_id == both.conversation_id
    assert (await says(door, person("US.3"), "by it")).conversation_id == both.conversation_id


async def test_families_of_names_meet(database: Database, door: Door) -> None:
    await says(door, person(PHONE, USER), "a")
    await says(door, person("15550200", "US.9"), "b")
    both = await says(door, person(USER, "US.9"), "the same")
    for value in (PHONE, USER, "15550200", "US.9"):
        assert (await says(door, person(value), "again")).conversation_id == both.conversation_id
    await one_person(database, PHONE, USER, "15550200", "US.9")


async def test_a_changed_number_is_the_same_person_and_is_answered_there(database: Database, door: Door) -> None:
    first = await says(door, person(PHONE, to=PHONE), "one")
    changed = Parsed(people=[person("15550999", PHONE, to="15550999")])
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=changed)
    stored = await says(door, person("15550999", to="15550999"), "from my new number")
    assert stored.conversation_id == first.conversation_id
    assert (await identities(database))[PHONE].address == {"to": "15550999"}
    await one_person(database, PHONE, "15550999")


async def test_nobody_is_made_by_news_of_somebody_unknown(database: Database, door: Door) -> None:
    changed = Parsed(people=[person("15550999", PHONE)])
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=changed)
    assert await identities(database) == {}


async def test_an_answer_written_elsewhere_names_them_otherwise(database: Database, door: Door) -> None:
    first = await says(door, person(USER), "one")
    echo = Echo("echo", person(PHONE, USER, to=PHONE), "from the phone app", sent_at=now())
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=Parsed(echoes=[echo]))
    async with database.begin() as session:
        texts = select(Message.text).where(col(Message.conversation_id) == first.conversation_id)
        assert (await session.exec(texts.order_by(col(Message.seq)))).all() == ["one", "from the phone app"]


async def test_a_thing_said_twice_costs_nothing(database: Database, door: Door) -> None:
    await says(door, person(PHONE, USER), "one")
    plain, named = [], []
    for number in range(3):
        before = STATEMENTS._value.get()
        await says(door, person(PHONE), f"plain {number}")
        between = STATEMENTS._value.get()
        await says(door, person(PHONE, USER), f"named {number}")
        plain.append(between - before)
        named.append(STATEMENTS._value.get() - between)
    assert named == plain


@pytest.mark.parametrize("turn", range(8))
async def test_two_first_messages_by_two_names_at_once(database: Database, door: Door, turn: int) -> None:
    """Really at once: the one by the user id alone, the other by both, in several processes' worth of memories."""
    senders = [person(USER), person(PHONE, USER), person(USER, PARENT), person(PHONE, PARENT, USER)]
    senders = senders[turn % 4 :] + senders[: turn % 4]
    door.intake._names._together.clear()
    stored = await asyncio.gather(*(says(door, sender, f"{n}") for n, sender in enumerate(senders)))
    assert len({item.conversation_id for item in stored}) == 1
    assert sorted(item.seq for item in stored) == [1, 2, 3, 4]
    await one_person(database, PHONE, USER, PARENT)


async def test_a_first_message_on_its_way_is_waited_for(database: Database, door: Door) -> None:
    """It has made the name and the conversation, and is not committed, when the other one comes with both names."""
    async with database.begin() as session:
        await session.execute(text("SELECT 1 FROM queue FOR UPDATE"))
        coming = asyncio.create_task(says(door, person(USER), "by user"))
        await _blocked(database)
        both = asyncio.create_task(says(door, person(PHONE, USER), "by both"))
        await _blocked(database, many=2)
    assert (await coming).conversation_id == (await both).conversation_id
    await one_person(database, PHONE, USER)


async def test_names_are_told_while_their_contact_is_merged(database: Database, door: Door) -> None:
    await says(door, person(USER), "one")
    other = await says(door, Sender("partner", "grace"), "two")
    known = await identities(database)
    async with database.begin() as session:
        await contacts.merge(session, source=known[USER].contact_id, target=known["grace"].contact_id, actor=SYSTEM)
        both = asyncio.create_task(says(door, person(PHONE, USER), "three"))
        await _blocked(database)
    await both
    known = await identities(database)
    assert len({row.contact_id for row in known.values()}) == 1
    assert other.conversation_id != (await both).conversation_id


async def test_one_attempt_says_when_somebody_was_faster(database: Database, door: Door) -> None:
    async with database.begin() as session:
        assert await names.join(session, door.account.id, person(PHONE, USER), make=False) is False
        assert await names.join(session, door.account.id, person(PHONE, USER)) is True
