"""The dispatcher: order, escalation, nobody blocked, batches, and how often it asks the database."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from app.models.words import Role
from app.routing import dispatcher as module
from app.routing import offers
from app.routing.choose import PATIENCE_S
from tests.routing.world import World, statements


async def test_the_order_of_service_is_age_less_head_start(world: World) -> None:
    queue = await world.queue()
    await world.agent(queue, capacity=3)
    young = await world.waits(queue, age_s=5, boost_s=600)
    old = await world.waits(queue, age_s=300)
    middle = await world.waits(queue, age_s=100)
    last = await world.waits(queue, age_s=50)
    await world.dispatch()
    assert [offer.conversation_id for offer in await world.offers()] == [young, old, middle]
    assert (await world.entry(last)).state == "waiting"  # type: ignore[union-attr]


async def test_the_least_used_agent_is_first_then_the_longest_idle(world: World) -> None:
    queue = await world.queue()
    busy, idle = await world.agent(queue, capacity=2), await world.agent(queue, capacity=4)
    conversations = await world.waiting(queue, 5)
    await world.dispatch()
    made = [(await world.offered(conversation)).agent_id for conversation in conversations]
    assert sorted(map(str, made)) == sorted(map(str, [busy.id, busy.id, idle.id, idle.id, idle.id]))


async def test_an_escalated_one_goes_to_a_supervisor_outside_the_queue(world: World) -> None:
    queue = await world.queue()
    member = await world.agent(queue)
    supervisor = await world.agent(role=Role.SUPERVISOR, capacity=1)
    first, second = await world.waiting(queue, 2, escalated=True)
    await world.dispatch()
    assert (await world.offered(first)).agent_id == supervisor.id
    assert (await world.offered(second)).agent_id == member.id


async def test_an_escalated_one_that_somebody_has_is_only_for_supervisors(world: World) -> None:
    queue = await world.queue()
    await world.agents(2, queue)
    conversation = await world.waits(queue)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    await world.enqueue(conversation, queue_id=queue, weight=1, boost_s=0, escalated=True)
    await world.dispatch()
    assert len(await world.offers(conversation)) == 1
    supervisor = await world.agent(role=Role.SUPERVISOR)
    await world.dispatch()
    offer = await world.offered(conversation)
    assert (offer.agent_id, offer.escalated) == (supervisor.id, True)
    taken = await world.accept(offer)
    assert taken.assignee_id == supervisor.id
    assert taken.owner_id != supervisor.id
    assert await world.broken() == []


async def test_one_meant_for_an_agent_waits_for_them(world: World) -> None:
    queue = await world.queue()
    await world.agent(queue)
    busy = await world.agent(queue, capacity=1)
    other = await world.waits(queue, target_agent_id=busy.id, age_s=100)
    mine = await world.waits(queue, target_agent_id=busy.id)
    await world.dispatch()
    assert (await world.offered(other)).agent_id == busy.id
    assert await world.offers(mine) == []


async def test_what_nobody_can_take_blocks_nobody(world: World) -> None:
    """Hundreds at the head that lack an agent for five different reasons; whoever can be served behind them, is."""
    empty, skilled, open_queue = await world.queue(), await world.queue(skills=["visa"]), await world.queue()
    agent = await world.agent(skilled, open_queue, capacity=4, load=1)
    await world.waiting(empty, 250, age_s=900)
    await world.waiting(skilled, 250, age_s=800)
    await world.waiting(open_queue, 250, age_s=700, excluded=[str(agent.id)])
    await world.waiting(open_queue, 250, age_s=PATIENCE_S / 2, weight=4)
    await world.waiting(open_queue, 50, age_s=500, escalated=True, excluded=[str(agent.id)])
    served = await world.waiting(open_queue, 3, age_s=1)
    await world.agents(1, capacity=1)
    await world.dispatch()
    assert {offer.conversation_id for offer in await world.offers()} == set(served)


async def test_a_heavy_one_is_not_overtaken_for_ever(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=3)
    light = await world.waiting(queue, 3, age_s=200)
    await world.dispatch()
    heavy = await world.waits(queue, weight=3, age_s=100)
    later = await world.waiting(queue, 3, age_s=90)
    for conversation in light:
        await world.dispatch()
        assert await world.offers(later[0]) == []
        async with world.holding(conversation) as (session, held):
            await offers.rescind(session, held, reason="closed")
            held.status = "closed"
            session.add(held)
    await world.dispatch()
    assert (await world.offered(heavy)).agent_id == agent.id


async def test_a_conversation_in_others_hands_is_taken_later(world: World) -> None:
    queue = await world.queue()
    await world.agent(queue, capacity=1)
    held, free = await world.waiting(queue, 2)
    dispatcher = await world.dispatcher()
    async with world.holding(held):
        delay = await dispatcher.step()
        assert delay is not None
        assert 0 < delay < 0.1
        assert await world.offers(held) == []
        assert len(await world.offers(free)) == 1
    assert await dispatcher.step() is None


async def test_an_entry_that_changed_since_the_choice_is_left_alone(world: World) -> None:
    """Between the choice and the offer the entry's queue, target or list of those who declined may change."""
    queue, other = await world.queue(), await world.queue()
    await world.agent(queue)
    conversation = await world.waits(queue)
    dispatcher = await world.dispatcher()
    real, changed = module._aside, asyncio.Event()

    async def meanwhile(*arguments: object) -> object:
        async with world.database.begin() as session:
            await session.execute(text("UPDATE queue_entry SET queue_id = :q"), {"q": other})
        changed.set()
        return await real(*arguments)  # type: ignore[arg-type]

    module._aside = meanwhile  # type: ignore[assignment]
    try:
        await dispatcher.step()
    finally:
        module._aside = real
    assert changed.is_set()
    assert await world.offers(conversation) == []
    assert await world.broken() == []


async def test_a_pending_offer_of_another_spoils_only_its_own_conversation(world: World) -> None:
    """The unique index decides; the other offers of the batch are made, and no capacity is held for nothing."""
    queue = await world.queue()
    agent = await world.agent(queue, capacity=6)
    conversations = await world.waiting(queue, 3)
    await world.dispatch()
    async with world.database.begin() as session:
        await session.execute(
            text("UPDATE queue_entry SET state = 'waiting' WHERE conversation_id = :id"), {"id": conversations[1]}
        )
    more = await world.waiting(queue, 2)
    await (await world.dispatcher()).step()
    assert await world.load(agent) == 5
    for conversation in (*conversations, *more):
        assert [offer.status for offer in await world.offers(conversation)] == ["pending"]


async def test_questions_to_the_database(world: World) -> None:
    queue = await world.queue()
    dispatcher = await world.dispatcher()
    await dispatcher.step()
    with statements(world.database) as idle:
        await dispatcher.step()
    await world.agents(40, queue, capacity=6)
    with statements(world.database) as nothing_waits:
        await dispatcher.step()
    await world.waiting(queue, 1)
    with statements(world.database) as one:
        await dispatcher.step()
    await world.waiting(queue, 200)
    with statements(world.database) as batch:
        await dispatcher.step()
    assert len(await world.offers()) == 201
    assert (len(idle), len(nothing_waits)) == (1, 1)
    assert len(one) == 8
    assert len(batch) == 9, "one more: a look for a next page"
