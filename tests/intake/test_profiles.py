"""Whose ids these are: asked once, later, a few at a time, and told to the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import InboundMessage, Parsed, Profile, Sender, SendError, SendFailure
from app.channels.partner import PartnerAdapter
from app.conversations import contacts
from app.db import Database
from app.delivery.backoff import Schedule
from app.events.log import SYSTEM
from app.intake.profiles import Profiles, fill
from app.models import Contact, ContactIdentity, Event, ProfileLookup
from app.settings import Settings
from tests.intake.conftest import Door

ANA = Profile("Ana Ng", "zh", "https://cdn.example/a.png")


class Telling(PartnerAdapter):
    """Knows who its ids are: tells `told`, raises what is an exception, or waits for `may_answer`."""

    told: ClassVar[Any] = ANA

    def __init__(self) -> None:
        self.asked: list[Sender] = []
        self.at_once = self.most = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def profile(self, config: Any, sender: Sender, http: httpx.AsyncClient) -> Profile:
        self.asked.append(sender)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.may_answer.wait()
            if isinstance(self.told, Exception):
                raise self.told
            assert isinstance(self.told, Profile)
            return self.told
        finally:
            self.at_once -= 1


@pytest.fixture
def telling() -> Telling:
    return Telling()


@pytest.fixture
async def profiles(database: Database, door: Door, settings: Settings, telling: Telling) -> AsyncIterator[Profiles]:
    door.account = replace(door.account, adapter=telling)
    known = (await door.intake._catalog.current()).channels
    known[door.account.id] = door.account  # type: ignore[index]
    async with httpx.AsyncClient() as http:
        yield Profiles(
            database,
            door.intake._catalog,
            settings,
            http,
            door.intake.wanted,
            schedule=Schedule(steps_s=(3600,), total_s=7200),
        )


async def says(door: Door, value: str, words: str, **known: Any) -> UUID:
    sender = Sender("line", value, address={"to": value}, **known)
    [stored] = await door.come_in(InboundMessage(external_id=f"{value}:{words}", sender=sender, text=words))
    return stored.conversation_id


async def contact_of(database: Database, value: str) -> Contact:
    async with database.begin() as session:
        identity = (await session.exec(select(ContactIdentity).where(col(ContactIdentity.value) == value))).one()
        return await session.get_one(Contact, identity.contact_id)


async def lookups(database: Database) -> list[ProfileLookup]:
    async with database.begin() as session:
        return list((await session.exec(select(ProfileLookup))).all())


async def all_due(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE profile_lookup SET due_at = now() WHERE due_at IS NOT NULL"))


async def test_a_name_is_asked_once_and_told_to_the_desk(
    database: Database, door: Door, profiles: Profiles, telling: Telling
) -> None:
    conversation_id = await says(door, "U1", "hello")
    assert telling.asked == [], "nothing is asked on the way in"
    assert await profiles.step() == 0
    assert [(sender.value, sender.address) for sender in telling.asked] == [("U1", {"to": "U1"})]
    contact = await contact_of(database, "U1")
    assert (contact.name, contact.attributes) == ("Ana Ng", {"avatar_url": "https://cdn.example/a.png"})
    async with database.begin() as session:
        told = select(Event).where(col(Event.conversation_id) == conversation_id)
        told = told.where(col(Event.type) == "conversation.updated")
        (event,) = (await session.exec(told)).all()
        assert event.payload["changed"] == ["contact"]
    async with database.begin() as session:
        await session.execute(text("UPDATE conversation SET status = 'closed'"))
    await says(door, "U1", "another matter")
    assert await profiles.step() is None
    assert len(telling.asked) == 1
    (row,) = await lookups(database)
    assert (row.due_at, row.error, row.attempts) == (None, None, 1)


async def test_only_whom_nobody_named_is_asked_for_and_only_at_first(
    database: Database, door: Door, profiles: Profiles, telling: Telling
) -> None:
    await says(door, "U1", "hello", name="Bo", language="en")
    await says(door, "U2", "hello", name="Bo")
    await says(door, "U2", "again", name="Bo")
    await profiles.step()
    assert [sender.value for sender in telling.asked] == ["U2"]
    contact = await contact_of(database, "U2")
    assert contact.name == "Bo", "what is known stays"
    assert contact.language == "zh"


@pytest.mark.parametrize("failure", [SendFailure.RECIPIENT, SendFailure.PERMANENT])
async def test_who_cannot_be_named_stays_an_id(
    database: Database, door: Door, profiles: Profiles, telling: Telling, failure: SendFailure
) -> None:
    Telling.told = SendError(failure, "never heard of them")
    try:
        await says(door, "U1", "hello")
        await profiles.step()
    finally:
        Telling.told = ANA
    (row,) = await lookups(database)
    assert (row.due_at, row.error) == (None, "never heard of them")
    assert (await contact_of(database, "U1")).name is None


@pytest.mark.parametrize(
    "error", [SendError(SendFailure.RETRY, "busy"), SendError(SendFailure.REAUTH, "token"), RuntimeError("a bug")]
)
async def test_a_failure_is_tried_again_later(
    database: Database, door: Door, profiles: Profiles, telling: Telling, error: Exception
) -> None:
    Telling.told = error
    try:
        await says(door, "U1", "hello")
        await profiles.step()
    finally:
        Telling.told = ANA
    delay = await profiles.step()
    assert delay is not None
    assert delay > 60, "it waits as the schedule says"
    assert len(telling.asked) == 1
    await all_due(database)
    await profiles.step()
    assert (await contact_of(database, "U1")).name == "Ana Ng"


async def test_it_is_given_up_at_last(database: Database, door: Door, profiles: Profiles, telling: Telling) -> None:
    Telling.told = SendError(SendFailure.RETRY, "busy")
    try:
        await says(door, "U1", "hello")
        await profiles.step()
        async with database.begin() as session:
            old = "UPDATE profile_lookup SET due_at = now(), created_at = now() - interval '3 hours'"
            await session.execute(text(old))
        await profiles.step()
    finally:
        Telling.told = ANA
    (row,) = await lookups(database)
    assert (row.due_at, row.attempts, row.error) == (None, 2, "busy")


async def test_an_account_that_asks_us_to_wait_is_left_alone(
    database: Database, door: Door, profiles: Profiles, telling: Telling
) -> None:
    Telling.told = SendError(SendFailure.RETRY, "slow down", retry_after_s=900)
    try:
        for number in range(6):
            await says(door, f"U{number}", "hello")
        await profiles.step()
        delay = await profiles.step()
    finally:
        Telling.told = ANA
    assert len(telling.asked) == 2, "those that were in flight, and nobody of the other four"
    assert delay is not None
    assert delay > 600


async def test_few_at_a_time(database: Database, door: Door, profiles: Profiles, telling: Telling) -> None:
    for number in range(7):
        await says(door, f"U{number}", "hello")
    telling.may_answer.clear()
    asking = asyncio.create_task(profiles.step())
    while telling.at_once < 2:
        await asyncio.sleep(0)
    telling.may_answer.set()
    assert await asking == 0
    assert len(telling.asked) == 2
    while await profiles.step() == 0:
        pass
    assert (len(telling.asked), telling.most) == (7, 2)
    assert {row.due_at for row in await lookups(database)} == {None}


async def test_two_processes_ask_once(
    database: Database, door: Door, profiles: Profiles, telling: Telling, settings: Settings
) -> None:
    other = Profiles(database, door.intake._catalog, settings, profiles._http, door.intake.wanted)
    for number in range(4):
        await says(door, f"U{number}", "hello")
    await asyncio.gather(profiles.step(), other.step())
    while await profiles.step() == 0 or await other.step() == 0:
        pass
    assert sorted(sender.value for sender in telling.asked) == ["U0", "U1", "U2", "U3"]


async def test_messages_come_in_while_a_provider_is_slow(
    database: Database, door: Door, profiles: Profiles, telling: Telling
) -> None:
    telling.may_answer.clear()
    await says(door, "U1", "hello")
    asking = asyncio.create_task(profiles.step())
    while not telling.asked:
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await says(door, "U1", "still here?")
    telling.may_answer.set()
    await asking
    assert (await contact_of(database, "U1")).name == "Ana Ng"


async def test_who_was_merged_meanwhile(database: Database, door: Door, profiles: Profiles, telling: Telling) -> None:
    telling.may_answer.clear()
    await says(door, "U1", "hello")
    asking = asyncio.create_task(profiles.step())
    while not telling.asked:
        await asyncio.sleep(0)
    await says(door, "U2", "hello", name="Bo", language="en")
    gone, kept = await contact_of(database, "U1"), await contact_of(database, "U2")
    async with database.begin() as session:
        await contacts.merge(session, source=gone.id, target=kept.id, actor=SYSTEM)
    telling.may_answer.set()
    await asking
    merged = await contact_of(database, "U1")
    assert (merged.id, merged.name, merged.attributes) == (kept.id, "Bo", {"avatar_url": "https://cdn.example/a.png"})


async def test_nobody_is_asked_where_the_operator_does_not_want_it(
    database: Database, door: Door, profiles: Profiles, telling: Telling, settings: Settings
) -> None:
    silent = settings.model_copy(update={"profile_lookups": 0})
    none = Profiles(database, door.intake._catalog, silent, profiles._http, door.intake.wanted)
    await says(door, "U1", "hello")
    assert await none.step() is None
    assert (telling.asked, await lookups(database)) == ([], [])


def test_what_is_known_stays() -> None:
    contact = Contact(name="Bo", language=None, attributes={"vip": True}, version=3)
    assert not fill(contact, Profile(name="Other", avatar_url="javascript:alert(1)"))
    assert fill(contact, Profile(name="Other", language="fr", avatar_url="https://x.example/a"))
    assert (contact.name, contact.language, contact.version) == ("Bo", "fr", 4)
    assert contact.attributes == {"vip": True, "avatar_url": "https://x.example/a"}
    assert not fill(contact, Profile("A", "de", "https://x.example/b"))
    assert not fill(contact, Profile())


async def test_a_call_without_messages_asks_nobody(door: Door, profiles: Profiles) -> None:
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=Parsed(ignored=["x"]))
    assert door.intake.wanted.take() == []
