"""Every described adapter in the whole house, on the real database: what a provider may do at any time, and its secrets."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.channels.kit.mutate import GARBAGE
from app.channels.kit.values import configured, secret_values
from app.delivery.states import RANK
from app.models import Message
from app.models.words import DeliveryStatus
from tests.channels.contract import DESCRIPTIONS
from tests.channels.contract.places import NOWHERE, place
from tests.desk.house import House

# Forms have an edge of their own (tests/web), bells are pulled (tests/journeys/test_wechat.py), calls grow (tests of voice).
CALLED = [name for name, one in DESCRIPTIONS.items() if one.incoming is not None and name != "form"]
WRITTEN = [name for name in CALLED if (given := DESCRIPTIONS[name].incoming) and given.message and not given.pulled]
CHANGED = [name for name in WRITTEN if (can := DESCRIPTIONS[name].adapter.capabilities) and (can.edits or can.deletes)]
TOLD = [name for name in WRITTEN if (given := DESCRIPTIONS[name].incoming) and given.status is not None]


async def test_secrets_are_sealed_and_never_returned(house: House) -> None:
    """Of every type, in one database: neither rows nor events nor answers hold one."""
    admin = await house.caller()
    told = []
    for name, description in DESCRIPTIONS.items():
        body = {"type": description.adapter.type, "name": name, "config": dict(description.config(NOWHERE))}
        if description.adapter.type == "walk_in":
            continue  # there is one already, and never two
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
