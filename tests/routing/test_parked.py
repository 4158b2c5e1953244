"""What an agent's work costs them: nothing while it is parked, and always what its category costs now."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import clock
from app.conversations import assignment, classification, closing, pausing
from app.db import Database
from app.errors import Problem
from app.events.log import SYSTEM, Actor
from app.models import Agent, Conversation
from app.models.words import Role
from app.routing import endings, manual, queues, transfers
from app.wakeups import CHANNEL
from tests.routing.world import World

WEIGHTS = {"routine": 1, "urgent": 2, "complex": 2}
PARKED = ("on_hold", "waiting_on_customer", "snoozed")


async def park(session: AsyncSession, held: Conversation, how: str) -> None:
    if how == "snoozed":
        until = clock.now() + timedelta(hours=1)
        await pausing.snooze(session, held, until=until, now=clock.now(), actor=SYSTEM)
    else:
        await pausing.hold(session, held, waiting_on_customer=how == "waiting_on_customer", actor=SYSTEM)


async def classify(session: AsyncSession, held: Conversation, category: str) -> None:
    await classification.apply(
        session,
        held,
        category=category,
        matter="enquiry",
        severity=None,
        complaint_type=None,
        source="agent",
    )


async def resolve(session: AsyncSession, held: Conversation) -> None:
    await endings.rescind(session, held, reason="resolved")
    await closing.resolve(
        session, held, agent=None, problem="p", resolution="r", commitment="c", link=lambda cycle: f"http://x/{cycle}"
    )


async def taken(world: World, queue: UUID, *, category: str = "routine") -> UUID:
    """A conversation that an agent has accepted."""
    conversation = await world.waits(queue, weight=WEIGHTS[category])
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    if category != "routine":
        async with world.database.begin() as session:
            await session.execute(
                text("UPDATE conversation SET category = :c WHERE id = :id"), {"c": category, "id": conversation}
            )
    return conversation


async def cost(world: World, conversation: UUID) -> int:
    async with world.holding(conversation) as (session, held):
        found = await assignment.current(session, held)
        assert found is not None
        return found.weight


@pytest.mark.parametrize("how", PARKED)
async def test_parked_work_leaves_room_for_other_work(world: World, how: str) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=2)
    first = await taken(world, queue, category="complex")
    second = await world.waits(queue, weight=2)
    await world.dispatch()
    assert await world.offers(second) == [], "there is no room"
    heard = await world.database.connect()
    topics: list[str] = []
    await heard.add_listener(CHANNEL, lambda *found: topics.append(str(found[3])))
    async with world.holding(first) as (session, held):
        await park(session, held, how)
    await heard.fetchval("SELECT 1")
    await heard.close()
    assert "dispatch" in topics
    assert (await world.load(agent), await cost(world, first)) == (0, 0)
    assert (await world.conversation(first)).assignee_id == agent.id
    await world.dispatch()
    await world.accept(await world.offered(second))
    async with world.holding(first) as (session, held):
        await pausing.resume(session, held, actor=SYSTEM)
    assert (await world.load(agent), await cost(world, first)) == (4, 2), "it is taken again, beyond the capacity"
    async with world.holding(first) as (session, held):
        await resolve(session, held)
    assert await world.load(agent) == 2
    assert await world.broken() == []


async def test_an_operator_may_let_parked_work_cost(world: World) -> None:
    world.settings.parked_work_costs = True
    queue = await world.queue()
    agent = await world.agent(queue, capacity=2)
    conversation = await taken(world, queue)
    async with world.holding(conversation) as (session, held):
        await park(session, held, "on_hold")
    assert await world.load(agent) == 1
    async with world.holding(conversation) as (session, held):
        await pausing.resume(session, held, actor=SYSTEM)
    assert await world.load(agent) == 1


async def test_parked_work_that_changes_hands_still_costs_nothing(world: World) -> None:
    """Given by a supervisor to somebody without room, or transferred, offered and accepted."""
    queue, other = await world.queue(), await world.queue("another")
    agent, full = await world.agent(queue), await world.agent(queue, capacity=0)
    colleague = await world.agent(other)
    conversation = await taken(world, queue)
    async with world.holding(conversation) as (session, held):
        await park(session, held, "on_hold")
        await manual.assign(session, held, agent_id=full.id, actor=Actor("agent", uuid4()))
    assert (await world.load(agent), await world.load(full)) == (0, 0)
    async with world.holding(conversation) as (session, held):
        await transfers.transfer(session, held, actor=SYSTEM, queue_id=other, catalog=await world.catalog())
    await world.dispatch()
    assert await world.load(colleague) == 1, "an offer holds its room while the agent is asked"
    await world.accept(await world.offered(conversation))
    assert (await world.load(full), await world.load(colleague), await cost(world, conversation)) == (0, 0, 0)
    async with world.holding(conversation) as (session, held):
        await pausing.resume(session, held, actor=SYSTEM)
    assert await world.load(colleague) == 1
    assert await world.broken() == []


async def test_a_corrected_category_changes_the_cost(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=2)
    conversation, other = await taken(world, queue), await taken(world, queue)
    for category, load in (("complex", 3), ("urgent", 3), ("routine", 2)):
        async with world.holding(conversation) as (session, held):
            await classify(session, held, category)
        assert await world.load(agent) == load
    async with world.holding(conversation) as (session, held):
        await park(session, held, "snoozed")
        await classify(session, held, "complex")
    assert (await world.load(agent), await cost(world, conversation)) == (1, 0)
    async with world.holding(conversation) as (session, held):
        await pausing.resume(session, held, actor=SYSTEM)
    assert (await world.load(agent), await cost(world, conversation), await cost(world, other)) == (3, 2, 1)


async def test_who_has_little_room_pays_all_of_it(world: World) -> None:
    """As an offer holds it: nobody pays more for one conversation than they can carry."""
    queue = await world.queue()
    agent = await world.agent(queue, capacity=1)
    conversation = await taken(world, queue, category="complex")
    for change in (pausing.hold, pausing.resume):
        async with world.holding(conversation) as (session, held):
            more = {"waiting_on_customer": False} if change is pausing.hold else {}
            await change(session, held, actor=SYSTEM, **more)
    assert await world.load(agent) == 1


async def test_many_wake_up_while_their_agents_are_offered_others(world: World) -> None:
    """Snoozed conversations of many agents wake in the order of the conversations, offers lock the agents in theirs."""
    queue = await world.queue()
    agents = await world.agents(6, queue, capacity=500)
    databases = [Database(world.settings) for _ in range(3)]
    for round_ in range(6):
        dice = random.Random(round_)
        for agent in dice.sample(agents, len(agents)):
            for conversation in await world.waiting(queue, 3):
                async with world.holding(conversation) as (session, held):
                    await manual.assign(session, held, agent_id=agent.id, actor=SYSTEM)
                    await park(session, held, "snoozed")
        await world.waiting(queue, 40)
        async with world.database.begin() as session:
            await session.execute(text("UPDATE conversation SET snoozed_until = now() WHERE snoozed_until IS NOT NULL"))
        async with asyncio.timeout(30):
            dispatchers = [await world.dispatcher(database) for database in databases]
            await asyncio.gather(
                *(pausing.Waker(database).step() for database in databases), *(one.step() for one in dispatchers)
            )
        assert await world.broken() == []
    for database in databases:
        await database.close()


_WRONG = text("""
    WITH held AS (
        SELECT agent_id, sum(weight) AS weight FROM (
            SELECT agent_id, weight FROM offer WHERE status = 'pending'
            UNION ALL SELECT agent_id, weight FROM assignment WHERE ended_at IS NULL
        ) both_kinds GROUP BY agent_id
    )
    SELECT 'load ' || a.load || ', held ' || coalesce(h.weight, 0)
    FROM agent a LEFT JOIN held h ON h.agent_id = a.id WHERE a.load <> coalesce(h.weight, 0)
    UNION ALL
    SELECT c.status || ' ' || c.category || ' costs ' || s.weight
    FROM assignment s JOIN conversation c ON c.id = s.conversation_id JOIN agent a ON a.id = s.agent_id
    WHERE s.ended_at IS NULL AND (c.status IN ('resolved', 'closed') OR (s.weight = 0) <> (c.status <> 'open'))
""")


@pytest.mark.parametrize("seed", range(2))
async def test_load_is_what_is_held_after_anything(world: World, seed: int) -> None:
    """Random verbs on few conversations of few agents: load is offers plus assignments, and only what is open costs."""
    dice = random.Random(seed)
    places = [await world.queue("one"), await world.queue("two", assignment="direct")]
    agents = [
        *await world.agents(3, *places, capacity=3),
        await world.agent(*places, capacity=1),
        await world.agent(*places, capacity=5, role=Role.SUPERVISOR),
    ]
    conversations = await world.waiting(places[0], 8, weight=lambda n: 1 + n % 2)
    catalog = await world.catalog()
    done: Counter[str] = Counter()

    async def act(session: AsyncSession, held: Conversation, verb: str) -> None:
        somebody = dice.choice(agents)
        if verb in PARKED:
            await park(session, held, verb)
        elif verb == "resume" and held.status != "resolved":  # the endpoints see to that
            await pausing.resume(session, held, actor=SYSTEM)
        elif verb == "classify":
            await classify(session, held, dice.choice(sorted(WEIGHTS)))
            await queues.reclassified(session, held, catalog)
        elif verb == "to_queue":
            await transfers.transfer(session, held, actor=SYSTEM, queue_id=dice.choice(places), catalog=catalog)
        elif verb == "to_agent":
            await transfers.transfer(session, held, actor=SYSTEM, agent_id=somebody.id, catalog=catalog)
        elif verb == "assign":
            await manual.assign(session, held, agent_id=somebody.id, actor=SYSTEM, force=dice.random() < 0.5)
        elif verb == "pick_up":
            await manual.pick_up(session, held, agent=await session.get_one(Agent, somebody.id))
        elif verb == "give_back" and held.assignee_id:
            await assignment.release(session, held)
            await queues.back(session, held, catalog)
        elif verb == "resolve":
            await resolve(session, held)
        elif verb == "reopen" and held.status == "resolved":
            await closing.reopen(session, held, actor=SYSTEM, reason="again")

    verbs = [*PARKED, "resume", "resume", "classify", "to_queue", "to_agent", "assign", "pick_up", "give_back"]
    verbs += ["resolve", "reopen", "reopen", "dispatch", "accept", "accept", "reject", "expire"]
    for _ in range(90):
        verb = dice.choice(verbs)
        pending = [offer for offer in await world.offers() if offer.status == "pending"]
        try:
            if verb == "dispatch":
                await world.dispatch()
            elif verb in ("accept", "reject"):
                await getattr(world, verb)(dice.choice(pending or await world.offers()))
            elif verb == "expire":
                await world.let_expire(*pending[:1])
                await endings.expire_due(world.database, misses_until_away=0)
            else:
                async with world.holding(dice.choice(conversations)) as (session, held):
                    await act(session, held, verb)
        except (Problem, IndexError):
            continue
        done[verb] += 1
        async with world.database.begin() as session:
            assert list((await session.execute(_WRONG)).scalars()) == [], verb
    assert len(done) >= len(set(verbs)) - 3, done
