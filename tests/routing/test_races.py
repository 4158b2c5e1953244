"""Many at once on the real database: one outcome for each offer, no capacity given twice, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from app.conversations import assignment, queries
from app.db import Database
from app.errors import OfferExpired
from app.models import Agent, Offer
from app.models.words import Role
from app.routing import offers, presence, queues
from app.routing.dispatcher import Dispatcher
from tests.routing.world import FixedCatalog, World

TASKS = 64


@pytest.fixture
async def processes(world: World) -> AsyncIterator[list[Database]]:
    """Three server processes, as far as the database can tell."""
    databases = [Database(world.settings) for _ in range(3)]
    yield databases
    for database in databases:
        await database.close()


async def tried(action: Callable[[], Awaitable[object]]) -> str:
    try:
        await action()
    except OfferExpired:
        return "offer-expired"
    return "ok"


async def accept(database: Database, offer: Offer) -> None:
    async with database.begin() as session:
        agent = await session.get_one(Agent, offer.agent_id)
        await offers.accept(session, offer_id=offer.id, agent=agent)


async def reject(database: Database, offer: Offer) -> None:
    async with database.begin() as session:
        agent = await session.get_one(Agent, offer.agent_id)
        await offers.reject(session, offer_id=offer.id, agent=agent)


async def test_accept_against_reject_against_expiry(world: World, processes: list[Database]) -> None:
    """64 tasks on one offer whose time is just running out, many times over: one outcome, the losers are told."""
    queue = await world.queue()
    await world.agents(2, queue)
    outcomes: Counter[str] = Counter()
    for round_ in range(15):
        dice = random.Random(round_)
        conversation = await world.waits(queue)
        await world.dispatch()
        offer = await world.offered(conversation)
        async with world.database.begin() as session:
            await session.execute(
                text("UPDATE offer SET expires_at = clock_timestamp() + make_interval(secs => :s) WHERE id = :id"),
                {"s": dice.choice([-0.001, 0.005, 0.01, 0.02, 60]), "id": offer.id},
            )
        deeds = [dice.choice(["accept", "reject", "expire"]) for _ in range(TASKS)]
        if round_ % 3 == 0:
            deeds = ["expire" if deed == "reject" else deed for deed in deeds]

        async def do(n: int, deed: str, offer: Offer = offer) -> str:
            database = processes[n % 3]
            if deed == "expire":
                return await tried(lambda: offers.expire_due(database))
            return await tried(lambda: (accept if deed == "accept" else reject)(database, offer))

        results = await asyncio.gather(*(do(n, deed) for n, deed in enumerate(deeds)))
        while await offers.expire_due(world.database) == offers.RETRY_S:
            pass
        outcome = (await world.offered(conversation)).status
        outcomes[outcome] += 1
        expected = {"accepted": "accept", "rejected": "reject"}.get(outcome)
        for deed, result in zip(deeds, results, strict=True):
            if deed != "expire" and outcome != "pending":
                assert result == ("ok" if deed == expected else "offer-expired"), (outcome, deed)
        assert await world.broken() == []
        async with world.holding(conversation) as (session, held):
            await offers.rescind(session, held, reason="over")
            await assignment.release(session, held)
            held.status = "closed"
            session.add(held)
    assert {"accepted", "expired"} <= set(outcomes), outcomes
    told = [event.payload["offer_id"] for kind in ENDS for event in await world.told(kind)]
    assert set(Counter(told).values()) == {1}


ENDS = ("offer.accepted", "offer.expired", "offer.rescinded")


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[list[str]]:
    """Looks again and again whether what must hold in every moment does; the list is what did not."""
    broken: list[str] = []
    looks = 0
    stopping = asyncio.Event()

    async def look() -> None:
        nonlocal looks
        while not stopping.is_set():
            broken.extend(await world.broken())
            looks += 1

    task = asyncio.create_task(look())
    yield broken
    stopping.set()
    await task
    assert looks > 10


async def test_three_dispatchers_never_give_a_unit_twice(world: World, processes: list[Database]) -> None:
    """300 conversations, 40 agents who accept, decline, miss and finish, three dispatchers and three expiry loops."""
    first, second = await world.queue(), await world.queue()
    both = await world.agents(20, first, second, capacity=6)
    await world.agents(18, first, capacity=4)
    await world.agents(2, second, role=Role.SUPERVISOR, capacity=3)
    dice = random.Random(7)
    weights = [dice.choice([1, 1, 1, 2, 3]) for _ in range(300)]
    await world.waiting(first, 200, weight=lambda n: weights[n])
    await world.waiting(second, 70, weight=lambda n: weights[200 + n])
    await world.waiting(second, 30, weight=lambda n: weights[270 + n], escalated=True)
    catalog = FixedCatalog(await world.catalog())
    done = asyncio.Event()

    async def dispatch(database: Database) -> None:
        dispatcher = Dispatcher(database, catalog, world.settings)
        while not done.is_set():
            if await dispatcher.step() is None:
                await asyncio.sleep(0.002)

    async def expire(database: Database) -> None:
        while not done.is_set():
            await offers.expire_due(database)
            await asyncio.sleep(0.005)

    async def handle(offer: Offer) -> int:
        database, deed = dice.choice(processes), dice.random()
        if deed < 0.15:
            await tried(lambda: reject(database, offer))
            return 0
        if deed < 0.25:
            await world.let_expire(offer)
            return 0
        if await tried(lambda: accept(database, offer)) != "ok":
            return 0
        async with database.begin() as session:
            held = await queries.lock(session, offer.conversation_id)
            await offers.rescind(session, held, reason="resolved")
            held.status = "closed"
            session.add(held)
            await assignment.free(session, held)
        return 1

    async def work() -> None:
        finished = 0
        while finished < 300:
            pending = [offer for offer in await world.offers() if offer.status == "pending"]
            finished += sum(await asyncio.gather(*map(handle, dice.sample(pending, min(16, len(pending))))))
        done.set()

    async with watched(world) as broken, asyncio.timeout(150):
        await asyncio.gather(work(), *map(dispatch, processes), *map(expire, processes))
    assert broken == []
    assert await world.broken() == []
    assert {await world.load(agent) for agent in both} == {0}
    accepted = Counter(o.conversation_id for o in await world.offers() if o.status == "accepted")
    assert (len(accepted), set(accepted.values())) == (300, {1})


async def test_the_oldest_are_offered_first_whoever_dispatches(world: World, processes: list[Database]) -> None:
    queue = await world.queue()
    await world.agents(40, queue, capacity=1)
    conversations = await world.waiting(queue, 300)
    catalog = FixedCatalog(await world.catalog())
    dispatchers = [Dispatcher(database, catalog, world.settings) for database in processes for _ in range(2)]

    async def until_done(dispatcher: Dispatcher) -> None:
        while await dispatcher.step() is not None:
            pass

    async with watched(world) as broken:
        await asyncio.gather(*map(until_done, dispatchers))
        await asyncio.sleep(0.05)
    assert broken == []
    assert {offer.conversation_id for offer in await world.offers()} == set(conversations[:40])


async def test_one_agent_and_many_dispatchers(world: World, processes: list[Database]) -> None:
    """Everybody wants the same few units."""
    queue = await world.queue()
    agent = await world.agent(queue, capacity=5)
    catalog = FixedCatalog(await world.catalog())
    for _ in range(10):
        await world.waiting(queue, 12, weight=lambda n: 1 + n % 2)
        dispatchers = [Dispatcher(database, catalog, world.settings) for database in processes for _ in range(3)]
        await asyncio.gather(*(dispatcher.step() for dispatcher in dispatchers))
        assert await world.broken() == []
        assert await world.load(agent) <= 5
        for offer in await world.offers():
            if offer.status == "pending":
                await world.let_expire(offer)
        await offers.expire_due(world.database)


async def test_agent_loss_against_accept(world: World, processes: list[Database]) -> None:
    """Who is lost while they accept: the offer is withdrawn, or the conversation is taken back. Never both, never none."""
    world.settings.presence_grace_s = 0
    queue = await world.queue()
    catalog = FixedCatalog(await world.catalog())
    outcomes: Counter[str] = Counter()
    for round_ in range(20):
        agent = await world.agent(queue)
        conversation = await world.waits(queue, channel="webchat")
        await world.dispatch()
        offer = await world.offered(conversation)
        async with world.database.begin() as session:
            await session.execute(
                text("UPDATE agent_session SET closed_at = now() WHERE agent_id = :a"), {"a": agent.id}
            )

        async def reap(database: Database) -> None:
            again: float | None = 0
            while again is not None:
                again = await presence.reap(database, catalog, world.settings)

        deeds = [tried(lambda offer=offer: accept(processes[0], offer)), *map(reap, processes)]  # type: ignore[misc]
        if round_ % 2:
            deeds.reverse()
        results = await asyncio.gather(*deeds)
        await reap(world.database)
        held = await world.conversation(conversation)
        assert held.assignee_id is None
        assert (await world.entry(conversation)).state == "waiting"  # type: ignore[union-attr]
        status = (await world.offered(conversation)).status
        assert status == ("accepted" if "ok" in results else "rescinded")
        outcomes[status] += 1
        assert await world.broken() == []
        async with world.holding(conversation) as (session, held):
            await queues.leave(session, held)
            held.status = "closed"
            session.add(held)
    assert sum(outcomes.values()) == 20
