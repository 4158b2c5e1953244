"""Many at once on the real database: one outcome for each offer, no capacity given twice, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import assignment, closing, queries
from app.db import Database
from app.desk.auth import Principal
from app.desk.endpoints.leaving import hand_back
from app.errors import Conflict, Invalid, OfferExpired
from app.events.log import Actor
from app.models import Agent, Conversation, Offer
from app.models.words import Availability, Role
from app.routing import endings, manual, offers, presence, queues, transfers
from app.routing.dispatcher import Dispatcher
from app.routing.patience import Patience
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
        await endings.reject(session, offer_id=offer.id, agent=agent, again_s=0.05)


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
                return await tried(lambda: endings.expire_due(database, misses_until_away=0))
            return await tried(lambda: (accept if deed == "accept" else reject)(database, offer))

        results = await asyncio.gather(*(do(n, deed) for n, deed in enumerate(deeds)))
        while await endings.expire_due(world.database, misses_until_away=0) == endings.RETRY_S:
            pass
        outcome = (await world.offered(conversation)).status
        outcomes[outcome] += 1
        expected = {"accepted": "accept", "rejected": "reject"}.get(outcome)
        for deed, result in zip(deeds, results, strict=True):
            if deed != "expire" and outcome != "pending":
                assert result == ("ok" if deed == expected else "offer-expired"), (outcome, deed)
        assert await world.broken() == []
        async with world.holding(conversation) as (session, held):
            await endings.rescind(session, held, reason="over")
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
        while not stopping.is_set() or looks <= 10:
            broken.extend(await world.broken())
            looks += 1

    task = asyncio.create_task(look())
    try:
        yield broken
    finally:
        stopping.set()
        await task


async def test_three_dispatchers_never_give_a_unit_twice(world: World, processes: list[Database]) -> None:
    """300 conversations, 40 agents who accept, decline, miss and finish, three of each loop."""
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
            await endings.expire_due(database, misses_until_away=0, again_s=0.05)
            await asyncio.sleep(0.005)

    async def wait(database: Database) -> None:
        patience = Patience(database, catalog)
        while not done.is_set():
            await patience.step()
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
            await endings.rescind(session, held, reason="resolved")
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
        await asyncio.gather(work(), *map(dispatch, processes), *map(expire, processes), *map(wait, processes))
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
        await endings.expire_due(world.database)


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


# What agents, supervisors and the customer's matter itself do at the same time: whoever is first wins, the others are
# told why, and nothing is left half done.

REFUSALS = (Conflict, Invalid)


async def outcome_of(action: Callable[[], Awaitable[object]]) -> str:
    try:
        await action()
    except REFUSALS as problem:
        return problem.code if problem.detail else "not told why"
    return "ok"


async def in_hand(
    database: Database, conversation_id: UUID, verb: Callable[..., Awaitable[object]], **options: Any
) -> None:
    """A verb on a conversation that it holds, as an endpoint does it."""
    async with database.begin() as session:
        held = await queries.lock(session, conversation_id)
        if isinstance(agent := options.get("agent"), Agent):
            options["agent"] = await session.get_one(Agent, agent.id)
        await verb(session, held, **options)


async def raced(dice: random.Random, deeds: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, str]:
    """All at once, in any order, each a little later than the one before; name -> `ok` or the code of the refusal."""
    names = dice.sample(sorted(deeds), len(deeds))

    async def late(place: int, name: str) -> str:
        await asyncio.sleep(place * dice.choice([0, 0, 0.001, 0.003]))
        return await outcome_of(deeds[name])

    async with asyncio.timeout(20):
        results = await asyncio.gather(*(late(place, name) for place, name in enumerate(names)))
    return dict(zip(names, results, strict=True))


async def resolve(session: AsyncSession, conversation: Conversation, *, agent: Agent) -> None:
    """What the endpoint does, in its order."""
    await endings.rescind(session, conversation, reason="resolved")
    await closing.resolve(
        session,
        conversation,
        agent=agent,
        problem="p",
        resolution="r",
        commitment="c",
        link=lambda id: f"http://x/{id}",
    )


async def finished(world: World, conversation_id: UUID) -> None:
    async with world.holding(conversation_id) as (session, held):
        await endings.rescind(session, held, reason="over")
        await assignment.release(session, held)
        held.status = "closed"
        session.add(held)


async def test_accept_against_accept_of_two_sockets(world: World, processes: list[Database]) -> None:
    """An agent presses the button in two windows: one acceptance, both are told yes."""
    queue = await world.queue()
    agent = await world.agent(queue)
    for _ in range(10):
        conversation = await world.waits(queue, weight=2)
        await world.dispatch()
        offer = await world.offered(conversation)
        results = await asyncio.gather(*(tried(partial(accept, database, offer)) for database in processes * 4))
        assert set(results) == {"ok"}
        assert await world.load(agent) == 2
        assert await world.broken() == []
        await finished(world, conversation)
    assert len(await world.told("offer.accepted")) == len(await world.told("conversation.assigned")) == 10


async def test_pick_up_against_accept(world: World, processes: list[Database]) -> None:
    """Two members pick it up while a third is offered it: one has it."""
    queue = await world.queue()
    dice, seen = random.Random(1), Counter[str]()
    first, second, third = await world.agents(3, queue, capacity=2)
    for _ in range(25):
        conversation = await world.waits(queue, target_agent_id=None)
        if dice.random() < 0.6:
            await world.dispatch()
        found = await world.offers(conversation)
        deeds: dict[str, Callable[[], Awaitable[object]]] = {
            str(agent.id): partial(in_hand, processes[n], conversation, manual.pick_up, agent=agent)
            for n, agent in enumerate((first, second, third))
        }
        if found:
            deeds["accept"] = partial(accept, processes[2], found[0])
        else:
            dispatcher = await world.dispatcher(processes[2])
            deeds["dispatch"] = dispatcher.step
        results = await raced(dice, deeds)
        held = await world.conversation(conversation)
        offer = found[0] if found else None
        if held.assignee_id is None:  # the dispatcher was first, with an offer to an agent who had asked before
            assert (await world.entry(conversation)).state == "offered"  # type: ignore[union-attr]
            assert {results[str(a.id)] for a in (first, second, third)} <= {"offered-to-another"}
            seen["offered"] += 1
        else:
            winners = {name for name in results if results[name] == "ok"} - {"dispatch", "accept"}
            assert winners <= {str(held.assignee_id)}, results
            losers = {results[name] for name in results} - {"ok"}
            assert losers <= {"already-assigned", "offered-to-another"}, results
            seen["picked" if offer is None else "accepted"] += 1
            if offer is not None:
                assert held.assignee_id == offer.agent_id
                assert results["accept"] == "ok"
        assert await world.broken() == []
        await finished(world, conversation)
    assert len(seen) >= 2, seen


async def test_assign_against_accept(world: World, processes: list[Database]) -> None:
    """A supervisor gives it to one agent while another accepts: what comes last holds, and the offer had one end."""
    queue = await world.queue()
    dice, seen = random.Random(2), Counter[str]()
    asked, other = await world.agent(queue), await world.agent(queue, availability=Availability.BUSY)
    boss = await world.agent(role=Role.SUPERVISOR, availability=Availability.BUSY, capacity=1)
    for number in range(250):
        if number >= 25 and len(seen) == 2:
            break  # on a busy machine one of them is nearly always first
        conversation = await world.waits(queue, weight=dice.choice([1, 2]))
        await world.dispatch()
        offer = await world.offered(conversation)
        assert offer.agent_id == asked.id
        deeds: dict[str, Callable[[], Awaitable[object]]] = {
            "accept": partial(accept, processes[0], offer),
            "assign": partial(
                in_hand, processes[1], conversation, manual.assign, agent_id=other.id, actor=Actor("agent", boss.id)
            ),
            "take": partial(in_hand, processes[2], conversation, manual.take, agent=boss),
        }
        results = await raced(dice, deeds)
        assert (results["assign"], results["take"]) == ("ok", "ok")
        held, ended = await world.conversation(conversation), await world.offered(conversation)
        assert held.assignee_id in (other.id, boss.id)
        assert (ended.status, results["accept"]) in (("accepted", "ok"), ("rescinded", "offer-expired"))
        assert held.owner_id == asked.id if ended.status == "accepted" else held.owner_id in (other.id, boss.id)
        assert await world.entry(conversation) is None
        assert await world.load(asked) == 0
        assert await world.broken() == []
        seen[ended.status] += 1
        await finished(world, conversation)
    assert set(seen) == {"accepted", "rescinded"}, seen


async def test_transfer_against_resolve(world: World, processes: list[Database]) -> None:
    """To an agent, to a queue, and done, all at once: either it waits or it is resolved, never both."""
    here, there = await world.queue(), await world.queue()
    dice, seen = random.Random(4), Counter[str]()
    mine, other = await world.agent(here), await world.agent(there)
    catalog = await world.catalog()
    for _ in range(25):
        conversation = await world.waits(here, target_agent_id=mine.id)
        await world.dispatch()
        await world.accept(await world.offered(conversation))
        move = partial(transfers.transfer, actor=Actor("agent", mine.id), catalog=catalog)
        results = await raced(
            dice,
            {
                "agent": partial(in_hand, processes[0], conversation, move, agent_id=other.id),
                "queue": partial(in_hand, processes[1], conversation, move, queue_id=there),
                "resolve": partial(in_hand, processes[2], conversation, resolve, agent=mine),
                "dispatch": (await world.dispatcher()).step,
            },
        )
        held, entry = await world.conversation(conversation), await world.entry(conversation)
        assert held.status == "resolved"
        assert entry is None
        assert results["resolve"] == "ok"
        assert {results["agent"], results["queue"]} <= {"ok", "conflict"}
        assert not [offer for offer in await world.offers(conversation) if offer.status == "pending"]
        assert (await world.load(mine), await world.load(other)) == (0, 0)
        assert await world.broken() == []
        seen[results["agent"] + results["queue"]] += 1
    assert len(seen) >= 2, seen


async def test_leaving_against_everything(world: World, processes: list[Database]) -> None:
    """Agents are deactivated and lost while what they have is escalated, offered to the others, accepted and assigned."""
    world.settings.presence_grace_s = 0
    queue = await world.queue()
    dice = random.Random(5)
    catalog = FixedCatalog(await world.catalog())
    chief = await world.agent(role=Role.ADMIN, availability=Availability.BUSY)
    admin = Principal("agent", Role.ADMIN, chief, chief.id)
    for _ in range(12):
        agents = await world.agents(2, queue)
        bosses = await world.agents(2, role=Role.SUPERVISOR, capacity=9)
        conversations = await world.waiting(queue, 6, channel="webchat")
        await world.dispatch()
        for conversation in conversations:
            await world.accept(await world.offered(conversation))
        for conversation in conversations[::2]:
            async with world.holding(conversation) as (session, held):
                await queues.requeue(session, held, catalog.fixed, escalated=True)
        await world.dispatch()
        pending = [offer for offer in await world.offers() if offer.status == "pending"]
        async with world.database.begin() as session:
            await session.execute(
                text("UPDATE agent_session SET closed_at = now() WHERE agent_id = :a"), {"a": agents[1].id}
            )

        async def leave(agent: Agent = agents[0]) -> None:
            async with processes[0].begin() as session:
                await hand_back(session, admin, agent.id, catalog.fixed)

        async def lose() -> None:
            while await presence.reap(processes[1], catalog, world.settings) in (0, presence.RETRY_S):
                pass

        deeds: dict[str, Callable[[], Awaitable[object]]] = {"leave": leave, "lose": lose}
        for n, offer in enumerate(pending):
            deeds[f"accept{n}"] = partial(accept, processes[2], offer)
        for n, conversation in enumerate(conversations[1::2]):
            deeds[f"take{n}"] = partial(in_hand, processes[n % 3], conversation, manual.take, agent=bosses[n % 2])
        results = await raced(dice, deeds)
        assert set(results.values()) == {"ok"}, results
        assert [await world.load(agent) for agent in agents] == [0, 0]
        assert await world.broken() == []
        for conversation in conversations:
            await finished(world, conversation)
        async with world.database.begin() as session:
            await session.execute(text("UPDATE agent SET availability = 'offline'"))


async def test_two_who_take_from_each_other(world: World, processes: list[Database]) -> None:
    """Each has what the other takes, or accepts: without one order of the agents' locks both would wait for ever."""
    queue = await world.queue()
    dice = random.Random(6)
    catalog = await world.catalog()
    first, second = await world.agents(2, queue, role=Role.SUPERVISOR)
    for round_ in range(25):
        of_first, of_second = await world.waiting(queue, 2)
        async with world.database.begin() as session:
            await session.execute(text("UPDATE agent SET missed_offers = 1"))
        for conversation, agent in ((of_first, first), (of_second, second)):
            await in_hand(processes[0], conversation, manual.take, agent=agent)
        if round_ % 2:
            deeds: dict[str, Callable[[], Awaitable[object]]] = {
                "first": partial(in_hand, processes[1], of_second, manual.take, agent=first),
                "second": partial(in_hand, processes[2], of_first, manual.take, agent=second),
            }
        else:
            for conversation, agent in ((of_first, second), (of_second, first)):
                async with world.holding(conversation) as (session, held):
                    await transfers.transfer(session, held, actor=Actor("system"), agent_id=agent.id, catalog=catalog)
            await world.dispatch()
            deeds = {
                "first": partial(accept, processes[1], await world.offered(of_second)),
                "second": partial(accept, processes[2], await world.offered(of_first)),
            }
        assert set((await raced(dice, deeds)).values()) == {"ok"}
        assert (await world.conversation(of_first)).assignee_id == second.id
        assert await world.broken() == []
        for conversation in (of_first, of_second):
            await finished(world, conversation)
