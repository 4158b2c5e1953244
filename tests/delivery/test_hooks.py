"""Webhooks of SLA policies: signed, at least once with one id, retried for a day, never into private networks unasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from app.channels.signatures import verify_webhook
from app.clock import now
from app.db import Database
from app.delivery.hooks import Hooks
from app.models import SlaAction
from app.models.words import ClockMetric
from app.settings import Settings
from app.sla.watcher import Watcher
from app.vault import Vault
from tests.sla.matters import Matters
from tests.support.providers import Answer, HttpServer

HOUR = 3_600


class Receiver(HttpServer):
    """Answers with `answers` in turn, then 200."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = []
        self.answer = self.next

    async def next(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        return self.answers.pop(0) if self.answers else (200, {}, b"")

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


class Place:
    """Matters whose breaches call webhooks, and the loops that call them."""

    def __init__(self, database: Database, vault: Vault, settings: Settings) -> None:
        self.database, self.vault = database, vault
        self.settings = settings.model_copy(update={"webhook_private": True, "send_timeout_s": 5})
        self.matters = Matters(database)
        self.made: list[Hooks] = []

    def hooks(self, database: Database | None = None, **options: Any) -> Hooks:
        settings = self.settings.model_copy(update=options.pop("settings", {}))
        poke = options.pop("poke", lambda: None)
        made = Hooks(database or self.database, self.vault, settings, poke=poke, **options)
        self.made.append(made)
        return made

    async def breached(self, *urls: str, count: int = 1) -> list[UUID]:
        """Conversations whose first response is late, under a policy that wants these called."""
        do = [{"webhook": url} for url in urls]
        escalations = [{"after_s": 0, "level": 1, "do": do}]
        await self.matters.policy("hooked", first_response_s=HOUR, warnings=[], escalations=escalations)
        ids = await self.matters.open(count, policy="hooked")
        await self.matters.pass_time(2 * HOUR, metric=ClockMetric.FIRST_RESPONSE)
        await Watcher(self.database).step()
        return ids

    async def call(self, hooks: Hooks) -> float | None:
        delay = await hooks.step()
        await hooks.idle()
        return delay

    async def actions(self) -> list[SlaAction]:
        return await self.matters.actions()

    async def make_due(self) -> None:
        async with self.database.begin() as session:
            await session.execute(text("UPDATE sla_action SET due_at = now(), lease_until = NULL"))


@pytest.fixture
async def place(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Place]:
    made = Place(database, vault, settings)
    yield made
    for hooks in made.made:
        await hooks.drain(0)


async def test_a_breach_is_told_signed(place: Place, receiver: Receiver) -> None:
    [conversation_id] = await place.breached(f"{receiver.base}/late?x=1")
    await place.call(place.hooks())
    [(path, headers, body)] = receiver.requests
    assert path == "/late?x=1"
    verify_webhook([place.vault.webhook_key], headers, body, at=now())
    told = orjson.loads(body)
    [event] = await place.matters.told(conversation_id, "sla.breached")
    assert told == {"type": "sla.breached", "timestamp": told["timestamp"], "data": event.payload}
    [action] = await place.actions()
    assert headers["webhook-id"] == str(action.id)
    assert (action.state, action.attempts, action.error, action.lease_until) == ("done", 1, None, None)
    assert action.done_at is not None
    assert await place.call(place.hooks()) is None
    assert len(receiver.requests) == 1


async def test_a_failure_is_tried_again_with_the_same_id(place: Place, receiver: Receiver) -> None:
    await place.breached(receiver.base)
    receiver.answers = [(500, {}, b"broken"), (302, {"location": f"{receiver.base}/else"}, b""), (400, {}, b"no")]
    hooks = place.hooks()
    errors = []
    for _ in range(3):
        await place.call(hooks)
        [action] = await place.actions()
        assert (action.state, action.lease_until) == ("pending", None)
        assert action.due_at > action.created_at
        errors.append(action.error)
        await place.make_due()
    await place.call(hooks)
    [action] = await place.actions()
    assert (action.state, action.attempts, action.error) == ("done", 4, None)
    assert errors == ["answered 500: broken", "answered 302: redirects are not followed", "answered 400: no"]
    assert receiver.ids == [str(action.id)] * 4
    assert {path for path, _, _ in receiver.requests} == {"/"}
    assert len({body for _, _, body in receiver.requests}) == 1


async def test_it_sleeps_until_the_next_try(place: Place, receiver: Receiver) -> None:
    await place.breached(receiver.base)
    receiver.answers = [(503, {"retry-after": "50"}, b"")]
    hooks = place.hooks()
    await place.call(hooks)
    delay = await place.call(hooks)
    assert delay is not None
    assert 45 < delay < 61


async def test_after_a_day_it_is_dead(place: Place, receiver: Receiver) -> None:
    await place.breached(receiver.base)
    async with place.database.begin() as session:
        await session.execute(text("UPDATE sla_action SET created_at = now() - interval '24 hours 1 second'"))
    receiver.answers = [(500, {}, b"")]
    await place.call(place.hooks())
    [action] = await place.actions()
    assert (action.state, action.error) == ("dead", "answered 500")
    assert await place.call(place.hooks()) is None
    assert len(receiver.requests) == 1


async def test_who_is_gone_is_called_no_more(place: Place, receiver: Receiver) -> None:
    await place.breached(receiver.base)
    receiver.answers = [(410, {}, b"")]
    await place.call(place.hooks())
    assert [action.state for action in await place.actions()] == ["dead"]


async def test_a_private_address_is_refused_unless_wanted(place: Place, receiver: Receiver) -> None:
    await place.breached(receiver.base)
    await place.call(place.hooks(settings={"webhook_private": False}))
    [action] = await place.actions()
    assert action.state == "dead"
    assert action.error is not None
    assert "ROUNDTRIP_WEBHOOK_PRIVATE" in action.error
    assert receiver.requests == []


async def test_a_process_that_died_with_a_call_in_flight(place: Place, receiver: Receiver) -> None:
    """It may have been taken: it is made again, with the id by which the receiver knows it."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def hang(path: str, headers: dict[str, str], body: bytes) -> Answer:
        arrived.set()
        await go.wait()
        return 200, {}, b""

    await place.breached(receiver.base)
    receiver.answer = hang
    dying = place.hooks()
    await dying.step()
    await arrived.wait()
    await dying.drain(0)
    go.set()
    await receiver.arrived.wait()
    receiver.answer = receiver.next
    delay = await place.call(place.hooks())
    assert len(receiver.requests) == 1, "the lease still holds"
    assert delay is not None
    assert 25 < delay <= 35
    async with place.database.begin() as session:
        await session.execute(text("UPDATE sla_action SET lease_until = now()"))
    await place.call(place.hooks())
    [action] = await place.actions()
    assert receiver.ids == [str(action.id)] * 2
    assert (action.state, action.attempts) == ("done", 2)


async def test_many_processes_call_once(place: Place, receiver: Receiver, settings: Settings) -> None:
    await place.breached(receiver.base, count=60)
    databases = [Database(settings) for _ in range(3)]
    try:
        callers = [place.hooks(database, per_url=8) for database in databases]

        async def work(hooks: Hooks) -> None:
            while any(action.state == "pending" for action in await place.actions()):
                await place.call(hooks)

        await asyncio.gather(*(work(hooks) for hooks in callers))
        assert sorted(receiver.ids) == sorted(str(action.id) for action in await place.actions())
        assert {(action.state, action.attempts) for action in await place.actions()} == {("done", 1)}
    finally:
        for database in databases:
            await database.close()


async def test_one_that_hangs_does_not_hold_up_the_others(place: Place, receiver: Receiver) -> None:
    go = asyncio.Event()

    async def wait(path: str, headers: dict[str, str], body: bytes) -> Answer:
        await go.wait()
        return 200, {}, b""

    async with Receiver() as slow:
        slow.answer = wait
        await place.breached(slow.base, receiver.base, count=10)
        async with place.database.begin() as session:  # those that hang come first
            await session.execute(
                text("UPDATE sla_action SET due_at = due_at - interval '1 s' WHERE action->>'webhook' LIKE :url"),
                {"url": slow.base + "%"},
            )
        ended = asyncio.Event()
        hooks = place.hooks(total=6, per_url=2, settings={"send_timeout_s": 60}, poke=ended.set)
        async with asyncio.timeout(20):
            while len(receiver.requests) < 10:
                ended.clear()
                await hooks.step()
                await ended.wait()
        go.set()
        while any(one.state == "pending" for one in await place.actions()):
            await place.call(hooks)
        assert len(slow.requests) == 10
