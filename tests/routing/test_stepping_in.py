"""What is for seniors reaches one: while others are being asked, and after one of these took it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from app.conversations import assignment, classification
from app.errors import OfferExpired
from app.events.log import SYSTEM
from app.models import Agent, Assignment, Queue, QueueEntry
from app.models.words import Availability, QueueAssignment, Role
from app.routing import endings, manual, queues
from tests.routing.world import World

CRITICAL = {"matter": "complaint", "severity": "critical"}


async def general(world: World, how: QueueAssignment = QueueAssignment.OFFER) -> UUID:
    """The queue that takes every category, so that nothing moves."""
    queue_id = (await world.catalog()).default_queue.id
    async with world.database.begin() as session:
        (await session.get_one(Queue, queue_id)).assignment = how
    return queue_id


async def becomes(world: World, conversation: UUID, **facts: Any) -> None:
    """Classified anew, by a message or by an agent."""
    async with world.holding(conversation) as (session, held):
        for name, value in facts.items():
            setattr(held, name, value)
        session.add(held)
        await queues.reclassified(session, held, await world.catalog())


async def offered_to_one(world: World, queue: UUID, **agent: Any) -> tuple[UUID, Agent]:
    one = await world.agent(queue, **agent)
    conversation = await world.waits(queue)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == one.id
    return conversation, one


async def comes_online(world: World, agent: Agent) -> None:
    async with world.database.begin() as session:
        (await session.get_one(Agent, agent.id)).availability = Availability.ONLINE


async def asked(world: World, conversation: UUID) -> QueueEntry:
    """It is on somebody's desk, and seniors are asked all the same."""
    entry = await world.entry(conversation)
    assert entry is not None
    assert (entry.state, entry.escalated, entry.target_agent_id) == ("waiting", True, None)
    return entry


async def assigned(world: World, conversation: UUID) -> Assignment:
    async with world.database.begin() as session:
        found = select(Assignment).where(
            col(Assignment.conversation_id) == conversation, col(Assignment.ended_at).is_(None)
        )
        return (await session.exec(found)).one()


async def test_an_offer_gives_way_to_a_senior_who_is_free(world: World) -> None:
    queue = await general(world)
    conversation, agent = await offered_to_one(world, queue)
    supervisor = await world.agent(role=Role.SUPERVISOR)
    await becomes(world, conversation, **CRITICAL)
    offer = await world.offered(conversation)
    assert (offer.status, offer.reason) == ("rescinded", "reclassified")
    assert await world.load(agent) == 0
    with pytest.raises(OfferExpired):
        await world.accept(offer)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id
    assert await world.broken() == []


@pytest.mark.parametrize("better", ["away", "full", "declined"])
async def test_an_offer_stays_while_no_senior_is_free(world: World, better: str) -> None:
    queue = await general(world)
    conversation, agent = await offered_to_one(world, queue)
    supervisor = await world.agent(
        role=Role.SUPERVISOR,
        availability=Availability.AWAY if better == "away" else Availability.ONLINE,
        capacity=0 if better == "full" else 6,
    )
    if better == "declined":
        async with world.database.begin() as session:
            (await session.get_one(QueueEntry, conversation)).excluded = [str(supervisor.id)]
    await becomes(world, conversation, **CRITICAL)
    assert (await world.offered(conversation)).status == "pending"
    await world.accept(await world.offered(conversation))
    await asked(world, conversation)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (agent.id, agent.id)
    assert await world.broken() == []


async def test_one_that_became_urgent_while_offered_is_left_to_seniors_and_specialists(world: World) -> None:
    queue = await general(world)
    conversation, agent = await offered_to_one(world, queue)
    expert = await world.agent(queue, skills=["technical_support"], availability=Availability.AWAY)
    await becomes(world, conversation, category="urgent")
    await world.accept(await world.offered(conversation))
    await asked(world, conversation)
    await comes_online(world, expert)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == expert.id
    assert (await world.conversation(conversation)).assignee_id == agent.id, "until the other accepts"
    await world.accept(await world.offered(conversation))
    assert (await world.conversation(conversation)).assignee_id == expert.id
    assert await world.entry(conversation) is None
    assert (await world.load(agent), await world.load(expert)) == (0, 2)
    assert await world.broken() == []


async def test_an_offer_to_a_specialist_is_a_good_one(world: World) -> None:
    queue = await general(world)
    conversation, _ = await offered_to_one(world, queue, skills=["technical_support"])
    await world.agent(role=Role.SUPERVISOR)
    await becomes(world, conversation, category="urgent")
    await world.accept(await world.offered(conversation))
    assert await world.entry(conversation) is None
    assert await world.broken() == []


async def test_an_offer_holds_what_it_costs_now(world: World) -> None:
    queue = await general(world)
    conversation, agent = await offered_to_one(world, queue)
    for category, weight in (("complex", 3), ("routine", 1), ("complex", 3)):
        await becomes(world, conversation, category=category)
        assert (await world.offered(conversation)).status == "pending"
        assert ((await world.offered(conversation)).weight, await world.load(agent)) == (weight, weight)
        assert await world.broken() == []
    await world.accept(await world.offered(conversation))
    assert ((await assigned(world, conversation)).weight, await world.load(agent)) == (3, 3)
    assert await world.broken() == []


async def test_an_offer_that_costs_more_than_there_is_room_for_is_withdrawn(world: World) -> None:
    queue = await general(world)
    agent = await world.agent(queue, capacity=3)
    other = await world.waits(queue)
    await world.dispatch()
    conversation = await world.waits(queue)
    await world.dispatch()
    assert await world.load(agent) == 2
    await becomes(world, conversation, category="complex")
    assert (await world.offered(conversation)).reason == "reclassified"
    assert (await world.offered(other)).status == "pending"
    assert await world.load(agent) == 1
    assert await world.broken() == []


async def test_no_agent_is_kept_free_for_what_only_seniors_are_asked_for(world: World) -> None:
    queue = await general(world)
    await world.agent(queue, capacity=2)
    conversation = await world.waits(queue, age_s=100)
    await becomes(world, conversation, category="urgent", **CRITICAL)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    assert (await asked(world, conversation)).weight == 2
    colleague = await world.agent(queue, capacity=2)
    for room in (1, 2):
        other = await world.waits(queue)
        await world.dispatch()
        assert (await world.offered(other)).agent_id == colleague.id
        assert await world.load(colleague) == room


async def taken(world: World, queue: UUID, how: str, *, facts: dict[str, Any]) -> tuple[UUID, Agent]:
    """By an agent, of what seniors were asked for in vain."""
    agent = await world.agent(queue)
    conversation = await world.waits(queue)
    await becomes(world, conversation, **facts)
    if how == "picked up":
        async with world.holding(conversation) as (session, held):
            await manual.pick_up(session, held, agent=await session.get_one(Agent, agent.id))
        return conversation, agent
    await world.dispatch()
    if how == "accepted":
        await world.accept(await world.offered(conversation))
    assert (await world.offered(conversation)).status == "accepted"
    return conversation, agent


@pytest.mark.parametrize("how", ["accepted", "picked up", "direct"])
async def test_a_grave_one_that_an_agent_took_still_reaches_a_senior(world: World, how: str) -> None:
    queue = await general(world, QueueAssignment.DIRECT if how == "direct" else QueueAssignment.OFFER)
    conversation, agent = await taken(world, queue, how, facts=CRITICAL)
    before = await asked(world, conversation)
    colleague = await world.agent(queue)
    await world.dispatch()
    assert (await world.conversation(conversation)).assignee_id == agent.id
    assert await world.load(colleague) == 0, "only seniors are asked"
    supervisor = await world.agent(role=Role.SUPERVISOR)
    await world.dispatch()
    if how != "direct":
        offer = await world.offered(conversation)
        assert offer.agent_id == supervisor.id
        await world.reject(offer)
        await world.dispatch()
        assert len(await world.offers(conversation)) == (2 if how == "accepted" else 1), (
            "passed over until the round ends"
        )
        await world.let_wait(31, conversation)
        await world.patience()
        assert (await asked(world, conversation)).enqueued_at == before.enqueued_at
        await world.dispatch()
        await world.accept(await world.offered(conversation))
    assert (await world.conversation(conversation)).assignee_id == supervisor.id
    assert await world.entry(conversation) is None
    assert (await world.load(agent), await world.load(supervisor)) == (0, 1)
    assert await world.broken() == []


async def test_the_senior_who_declined_before_an_agent_took_it_is_asked_again(world: World) -> None:
    queue = await general(world)
    conversation = await world.waits(queue)
    await becomes(world, conversation, **CRITICAL)
    supervisor, agent = await world.agent(role=Role.SUPERVISOR), await world.agent(queue)
    await world.dispatch()
    await world.reject(await world.offered(conversation))
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == agent.id
    await world.accept(await world.offered(conversation))
    await world.dispatch()
    assert (await world.offered(conversation)).status == "accepted"
    await world.let_wait(31, conversation)
    await world.patience()
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id
    assert await world.broken() == []


@pytest.mark.parametrize("facts", [{"category": "urgent"}, {"matter": "complaint", "severity": "minor"}])
async def test_others_are_fine_with_the_agent_who_took_them(world: World, facts: dict[str, Any]) -> None:
    conversation, _ = await taken(world, await general(world), "accepted", facts=facts)
    assert await world.entry(conversation) is None


async def test_a_supervisor_who_gives_it_to_an_agent_has_heard_of_it(world: World) -> None:
    queue = await general(world)
    conversation, _ = await taken(world, queue, "accepted", facts=CRITICAL)
    other = await world.agent(queue)
    async with world.holding(conversation) as (session, held):
        await manual.assign(session, held, agent_id=other.id, actor=SYSTEM)
    assert await world.entry(conversation) is None


async def test_it_ends_when_it_is_resolved(world: World) -> None:
    conversation, agent = await taken(world, await general(world), "accepted", facts=CRITICAL)
    async with world.holding(conversation) as (session, held):
        await endings.rescind(session, held, reason="resolved")
        await assignment.free(session, held)
        held.status = "resolved"
        session.add(held)
    assert await world.entry(conversation) is None
    assert await world.load(agent) == 0


async def test_one_that_was_urgent_becomes_grave_in_an_agents_hands(world: World) -> None:
    """Supervisors were asked for the urgent one and it was fine with an agent; the complaint is not."""
    conversation, agent = await taken(world, await general(world), "accepted", facts={"category": "urgent"})
    async with world.holding(conversation) as (session, held):
        await classification.apply(
            session, held, category="urgent", matter="enquiry", severity=None, complaint_type=None, source="rules"
        )
    async with world.holding(conversation) as (session, held):
        await classification.apply(
            session,
            held,
            category="urgent",
            matter="complaint",
            severity="critical",
            complaint_type="other",
            source="rules",
        )
        await queues.reclassified(session, held, await world.catalog())
    await asked(world, conversation)
    assert (await world.conversation(conversation)).assignee_id == agent.id


async def test_accepting_while_it_becomes_grave(world: World) -> None:
    """Whichever comes first: seniors are asked, and what is held is what it costs."""
    queue = await general(world)
    for _ in range(8):
        conversation, agent = await offered_to_one(world, queue)
        offer = await world.offered(conversation)
        await asyncio.gather(world.accept(offer), becomes(world, conversation, category="complex", **CRITICAL))
        await asked(world, conversation)
        assert (await world.conversation(conversation)).assignee_id == agent.id
        assert await world.broken() == []
        async with world.holding(conversation) as (session, held):
            await endings.rescind(session, held, reason="resolved")
            await assignment.free(session, held)
            held.status = "resolved"
            session.add(held)
            (await session.get_one(Agent, agent.id)).active = False
