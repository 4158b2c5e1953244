"""Conversations given by hand: picked up, assigned, taken; who may, with what room, and who is told."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.errors import (
    AlreadyAssigned,
    CapacityExceeded,
    Conflict,
    ConversationClosed,
    Forbidden,
    Invalid,
    OfferedToAnother,
)
from app.events.log import Actor
from app.models import Agent
from app.models.words import Availability, Role
from app.routing import manual
from tests.routing.world import World


async def pick_up(world: World, conversation: UUID, agent: Agent) -> None:
    async with world.holding(conversation) as (session, held):
        await manual.pick_up(session, held, agent=await session.get_one(Agent, agent.id))


async def assign(world: World, conversation: UUID, agent: Agent | UUID, **options: Any) -> None:
    agent_id = agent if isinstance(agent, UUID) else agent.id
    async with world.holding(conversation) as (session, held):
        await manual.assign(session, held, agent_id=agent_id, actor=Actor("agent", uuid4()), **options)


async def take(world: World, conversation: UUID, agent: Agent) -> None:
    async with world.holding(conversation) as (session, held):
        await manual.take(session, held, agent=await session.get_one(Agent, agent.id))


async def test_a_member_picks_it_up(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, availability=Availability.BUSY, missed_offers=2)
    conversation = await world.waits(queue, weight=2)
    await pick_up(world, conversation, agent)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (agent.id, agent.id)
    assert await world.entry(conversation) is None
    now = await world.agent_now(agent)
    assert (now.load, now.missed_offers) == (2, 0)
    [told] = await world.told("conversation.assigned")
    assert told.payload["how"] == "pick_up"
    await pick_up(world, conversation, agent)
    assert len(await world.told("conversation.assigned")) == 1
    assert await world.broken() == []


async def test_picking_up_what_one_is_offered_accepts_it(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=2)
    conversation = await world.waits(queue, weight=2)
    await world.dispatch()
    await pick_up(world, conversation, agent)
    assert (await world.offered(conversation)).status == "accepted"
    assert await world.load(agent) == 2
    assert await world.broken() == []


async def test_picking_up_what_one_has_just_missed(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=2)
    conversation = await world.waits(queue, weight=2)
    await world.dispatch()
    await world.let_expire(await world.offered(conversation))
    await pick_up(world, conversation, agent)
    assert (await world.offered(conversation)).status == "rescinded"
    assert (await world.conversation(conversation)).assignee_id == agent.id
    assert await world.broken() == []


async def test_what_cannot_be_picked_up(world: World) -> None:
    queue = await world.queue()
    asked, mine = await world.agent(queue), await world.agent(queue, capacity=1, availability=Availability.BUSY)
    outsider = await world.agent()
    offered = await world.waits(queue)
    await world.dispatch()
    with pytest.raises(OfferedToAnother) as refused:
        await pick_up(world, offered, mine)
    assert refused.value.extra["agent_id"] == str(asked.id)
    await world.accept(await world.offered(offered))
    with pytest.raises(AlreadyAssigned) as taken:
        await pick_up(world, offered, mine)
    assert taken.value.extra["assignee_id"] == str(asked.id)
    meant = await world.waits(queue, target_agent_id=asked.id)
    with pytest.raises(OfferedToAnother):
        await pick_up(world, meant, mine)
    conversation, heavy = await world.waits(queue), await world.waits(queue)
    with pytest.raises(Forbidden):
        await pick_up(world, conversation, outsider)
    await pick_up(world, conversation, mine)
    with pytest.raises(CapacityExceeded) as full:
        await pick_up(world, heavy, mine)
    assert full.value.extra == {"field": "agent_id", "weight": 1, "capacity": 1, "load": 1}
    assert (await world.entry(heavy)).state == "waiting"  # type: ignore[union-attr]
    for status, problem in (("resolved", Conflict), ("closed", ConversationClosed)):
        async with world.database.begin() as session:
            await session.execute(
                text("UPDATE conversation SET status = :s WHERE id = :id"), {"s": status, "id": heavy}
            )
        with pytest.raises(problem):
            await pick_up(world, heavy, mine)
    assert await world.broken() == []


async def test_a_supervisor_picks_up_from_any_queue(world: World) -> None:
    supervisor = await world.agent(role=Role.SUPERVISOR)
    conversation = await world.waits(await world.queue())
    await pick_up(world, conversation, supervisor)
    assert (await world.conversation(conversation)).assignee_id == supervisor.id


async def test_assigning_withdraws_what_is_offered_and_tells_who_loses_it(world: World) -> None:
    queue = await world.queue()
    asked = await world.agent(queue)
    other, third = await world.agents(2, present=False)
    conversation = await world.waits(queue)
    await world.dispatch()
    await assign(world, conversation, other)
    assert [event.agents for event in await world.told("offer.rescinded")] == [[asked.id]]
    assert (await world.told("offer.rescinded"))[0].payload["reason"] == "assigned"
    await assign(world, conversation, third)
    await assign(world, conversation, third)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (third.id, other.id), "who took it first answers for it"
    assert [await world.load(agent) for agent in (asked, other, third)] == [0, 0, 1]
    first, second = await world.told("conversation.assigned")
    assert (first.payload["how"], set(second.agents)) == ("supervisor", {other.id, third.id})
    assert await world.broken() == []


async def test_an_owner_who_has_left_is_followed(world: World) -> None:
    queue = await world.queue()
    first, second = await world.agents(2, queue)
    conversation = await world.waits(queue)
    await assign(world, conversation, first)
    async with world.database.begin() as session:
        await session.execute(text("UPDATE agent SET active = false WHERE id = :id"), {"id": first.id})
    await assign(world, conversation, second)
    assert (await world.conversation(conversation)).owner_id == second.id


async def test_over_capacity_only_by_force(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=3, load=0, present=False)
    first, second = await world.waiting(queue, 2, weight=2)
    await assign(world, first, agent)
    with pytest.raises(CapacityExceeded):
        await assign(world, second, agent)
    assert (await world.entry(second)).state == "waiting"  # type: ignore[union-attr]
    await assign(world, second, agent, force=True)
    assert await world.load(agent) == 4
    with pytest.raises(Invalid) as refused:
        await assign(world, second, uuid4())
    assert refused.value.extra["field"] == "agent_id"


async def test_taking_over(world: World) -> None:
    queue = await world.queue()
    agent, boss = await world.agent(queue), await world.agent(role=Role.SUPERVISOR, capacity=0)
    conversation = await world.waits(queue)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    await take(world, conversation, boss)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (boss.id, agent.id)
    assert (await world.load(agent), await world.load(boss)) == (0, 1)
    assert agent.id in (await world.told("conversation.assigned"))[-1].agents
