"""Every described adapter in the whole house, on the real database: what a provider may do at any time, and its secrets."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app import problems
from app.channels.base import Call
from app.channels.kit import Description
from app.channels.kit.mutate import GARBAGE
from app.channels.kit.values import CHANNEL_ID, configured, secret_values
from app.clock import now
from app.db import Database
from app.delivery.states import RANK
from app.ids import new_id
from app.intake import webhooks
from app.models import Conversation, Event, InboundJournal, Message
from app.models.words import DeliveryStatus, Direction
from app.settings import Settings
from app.vault import Vault
from tests.channels.contract import DESCRIPTIONS
from tests.delivery.house import message_of
from tests.desk.house import Caller, House, build_app, build_client, build_context

NOWHERE = "http://127.0.0.1:9"
# Forms have an edge of their own (tests/web), bells are pulled (tests/journeys/test_wechat.py), calls grow (tests of voice).
CALLED = [name for name, one in DESCRIPTIONS.items() if one.incoming is not None and name != "form"]
WRITTEN = [name for name in CALLED if (given := DESCRIPTIONS[name].incoming) and given.message and not given.pulled]
CHANGED = [name for name in WRITTEN if (can := DESCRIPTIONS[name].adapter.capabilities) and (can.edits or can.deletes)]
TOLD = [name for name in WRITTEN if (given := DESCRIPTIONS[name].incoming) and given.status is not None]


@dataclass
class Place:
    """One channel of a described type in a house without loops."""

    house: House
    admin: Caller
    description: Description

    @property
    def database(self) -> Database:
        return self.house.database

    async def open(self) -> dict[str, Any]:
        """Made by the API, then given the id that the described calls are signed for."""
        type = self.description.adapter.type
        config = dict(self.description.config(NOWHERE))
        made = await self.admin.post("/channels", {"type": type, "name": type, "config": config})
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE channel SET id = :new WHERE id = :old"), {"new": CHANNEL_ID, "old": made["id"]}
            )
            await self.house.context.catalog.changed(session)
        return dict(made)

    def call(self, payload: bytes) -> Call:
        assert self.description.incoming is not None
        return self.description.incoming.sign(self.description.config(NOWHERE), payload, now())

    async def take(self, call: Call) -> int:
        where = urlsplit(call.url)
        answer = await self.house.http.request(
            call.method,
            where.path,
            params=dict(call.query) or None,
            content=call.body,
            headers=dict(call.headers),
        )
        return answer.status_code

    async def hear(self, payload: bytes) -> int:
        return await self.take(self.call(payload))

    async def messages(self, direction: Direction = Direction.INBOUND) -> Sequence[Message]:
        async with self.database.begin() as session:
            found = select(Message).where(col(Message.direction) == direction).order_by(col(Message.id))
            return (await session.exec(found)).all()

    async def journal(self) -> Sequence[InboundJournal]:
        async with self.database.begin() as session:
            return (await session.exec(select(InboundJournal).order_by(col(InboundJournal.id)))).all()

    async def events(self, type: str) -> list[dict[str, Any]]:
        async with self.database.begin() as session:
            found = select(Event).where(col(Event.type) == type).order_by(col(Event.pos), col(Event.id))
            return [event.payload for event in (await session.exec(found)).all()]

    async def sent(self, provider_id: str) -> Message:
        """An answer that the provider has taken, in the conversation that there is."""
        async with self.database.begin() as session:
            [conversation] = (await session.exec(select(Conversation).with_for_update())).all()
            message = message_of(
                conversation,
                seq=conversation.last_seq + 1,
                id=new_id(),
                status=DeliveryStatus.SENT,
                provider_message_id=provider_id,
                sent_at=now(),
            )
            conversation.last_seq += 1
            session.add_all([conversation, message])
        return message


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    """The edge that providers call, and the API, in one application."""
    given = settings.model_copy(update={"public_url": "https://desk.test"})
    context = build_context(database, vault, given)
    app = build_app(context)
    app.include_router(webhooks.router)
    problems.install(app)
    context.intake.start()
    async with build_client(app) as http:
        yield House(context, http)
    await context.intake.stop()
    await context.http.aclose()


async def place(house: House, name: str) -> Place:
    return Place(house, await house.caller(), DESCRIPTIONS[name])


async def test_secrets_are_sealed_and_never_returned(house: House) -> None:
    """Of every type, in one database: neither rows nor events nor answers hold one."""
    admin = await house.caller()
    told = []
    for name, description in DESCRIPTIONS.items():
        body = {"type": description.adapter.type, "name": name, "config": dict(description.config(NOWHERE))}
        made = await admin.post("/channels", body)
        told += [str(made), str(await admin.get(f"/channels/{made['id']}"))]
    told.append(str(await admin.all("/channels")))
    async with house.database.begin() as session:
        for table in ("channel", "event"):
            rows = await session.execute(text(f"SELECT to_jsonb(t)::text FROM {table} t"))
            told += rows.scalars().all()
    for description in DESCRIPTIONS.values():
        for secret in secret_values(configured(description, NOWHERE)):
            assert not [text for text in told if secret in text], description.adapter.type


@pytest.mark.parametrize("name", WRITTEN)
async def test_the_same_call_twice_and_fifty_times_at_once_is_one_message(house: House, name: str) -> None:
    here = await place(house, name)
    await here.open()
    assert here.description.incoming is not None
    assert here.description.incoming.message is not None
    call = here.call(here.description.incoming.message("k1", "hello"))
    assert [await here.take(call), await here.take(call)] == [200, 200]
    assert set(await asyncio.gather(*(here.take(call) for _ in range(50)))) == {200}
    assert [message.text for message in await here.messages()] == ["hello"]
    assert len(await here.events("conversation.created")) == 1
    other = here.description.incoming.message("k2", "hello")
    assert set(await asyncio.gather(*(here.hear(other) for _ in range(50)))) == {200}
    assert len(await here.messages()) == 2


@pytest.mark.parametrize("name", CALLED)
async def test_unknown_kinds_and_garbage_are_stored_and_forgeries_are_not(house: House, name: str) -> None:
    here = await place(house, name)
    await here.open()
    incoming = here.description.incoming
    assert incoming is not None
    payloads = [incoming.bells[-1] if incoming.bells else incoming.unknown, *random.Random(name).sample(GARBAGE[1:], 8)]
    stored = 0
    for payload in payloads:
        status = await here.hear(payload)
        assert status in (200, 401), f"{payload[:80]!r} is answered {status}"
        stored += status == 200
    assert stored, "an unknown kind is stored"
    assert len(await here.journal()) == stored
    genuine = here.call(payloads[0])
    bare = replace(genuine, headers={}, query={})
    assert await here.take(bare) == 401
    assert len(await here.journal()) == stored
    assert await here.messages() == []


@pytest.mark.parametrize("name", TOLD)
async def test_shuffled_statuses_end_at_the_highest(house: House, name: str) -> None:
    here = await place(house, name)
    await here.open()
    incoming = here.description.incoming
    assert incoming is not None
    assert incoming.message is not None
    assert incoming.status is not None
    assert await here.hear(incoming.message("k1", "hello")) == 200
    words = [word for word in incoming.statuses if word != "failed"] or list(incoming.statuses)
    highest = max(words, key=lambda word: RANK[DeliveryStatus(word)])
    for number, order in enumerate(itertools.permutations(words)):
        provider_id = f"100{number}"
        message = await here.sent(provider_id)
        for word in order:
            assert await here.hear(incoming.status(provider_id, word)) == 200
        async with here.database.begin() as session:
            assert (await session.get_one(Message, message.id)).status == highest, order


@pytest.mark.parametrize("name", CHANGED)
async def test_edits_and_deletions_are_events(house: House, name: str) -> None:
    here = await place(house, name)
    await here.open()
    incoming, can = here.description.incoming, here.description.adapter.capabilities
    assert incoming is not None
    assert incoming.message is not None
    assert await here.hear(incoming.message("k1", "hello")) == 200
    wanted: list[tuple[str, str | None]] = []
    if can.edits:
        assert incoming.edit is not None
        assert [await here.hear(incoming.edit("k1", "changed")) for _ in range(2)] == [200, 200]
        wanted.append(("edit", "changed"))
    if can.deletes:
        assert incoming.delete is not None
        assert [await here.hear(incoming.delete("k1")) for _ in range(2)] == [200, 200]
        wanted.append(("delete", None))
    told = [payload["change"] for payload in await here.events("message.updated")]
    assert [(change["kind"], change["text"]) for change in told] == wanted
