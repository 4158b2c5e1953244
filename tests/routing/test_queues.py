"""Which queue, at which place, and back with the age it had."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.catalog import Catalog
from app.conversations import assignment
from app.errors import Conflict, ConversationClosed, Invalid
from app.events.log import Actor
from app.models import Agent, Conversation, Queue, QueueEntry, QueueMember, ResolutionCycle
from app.routing import endings, queues, transfers
from tests.routing.world import World

T0 = datetime(2026, 11, 22, tzinfo=UTC)


def queue(n: int, category: str | None = None, *, default: bool = False) -> Queue:
    return Queue(id=UUID(int=n), name="q", category=category, is_default=default, created_at=T0 + timedelta(hours=n))


GENERAL, URGENT, URGENT_TOO, ROUTINE = (
    queue(1, default=True),
    queue(2, "urgent"),
    queue(3, "urgent"),
    queue(4, "routine"),
)


@pytest.mark.parametrize(
    ("known", "own", "category", "expected"),
    [
        ([GENERAL], None, "urgent", GENERAL),
        ([GENERAL, URGENT], None, "urgent", URGENT),
        ([GENERAL, URGENT_TOO, URGENT], None, "urgent", URGENT),
        ([GENERAL, URGENT, URGENT_TOO], URGENT_TOO, "urgent", URGENT_TOO),
        ([GENERAL, URGENT], GENERAL, "urgent", GENERAL),
        ([GENERAL, URGENT, ROUTINE], ROUTINE, "urgent", URGENT),
        ([GENERAL, URGENT], URGENT, "complex", URGENT),
        ([GENERAL, URGENT], ROUTINE, "complex", GENERAL),
    ],
)
def test_the_queue_of_a_category(known: list[Queue], own: Queue | None, category: str, expected: Queue) -> None:
    catalog = Catalog(1, {}, known, {}, (), ())
    assert queues.choose_queue(catalog, own.id if own else None, category) is expected


async def entry_of(world: World, conversation: UUID) -> QueueEntry:
    entry = await world.entry(conversation)
    assert entry is not None
    return entry


async def assigned(world: World, queue_id: UUID, **options: object) -> tuple[UUID, Agent]:
    """A conversation that somebody has."""
    agent = await world.agent(queue_id)
    conversation = await world.waits(queue_id, target_agent_id=agent.id, **options)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    return conversation, agent


async def transfer(world: World, conversation: UUID, **to: object) -> None:
    async with world.holding(conversation) as (session, held):
        await transfers.transfer(session, held, actor=Actor("system"), catalog=await world.catalog(), **to)  # type: ignore[arg-type]


async def test_a_transfer_to_a_queue_keeps_the_age_and_frees_the_assignee(world: World) -> None:
    here, there = await world.queue(), await world.queue()
    conversation, agent = await assigned(world, here, weight=2, age_s=500)
    async with world.database.begin() as session:
        session.add(QueueMember(queue_id=there, agent_id=agent.id))
    other = await world.agent(there)
    await transfer(world, conversation, queue_id=there, note="needs a technician")

    entry, held = await entry_of(world, conversation), await world.conversation(conversation)
    assert (entry.queue_id, entry.enqueued_at, entry.note) == (there, held.created_at, "needs a technician")
    assert (held.assignee_id, held.owner_id, held.queue_id) == (None, agent.id, there)
    assert await world.load(agent) == 0
    told = await world.told("conversation.updated")
    assert told[0].payload["transfer"]["queue_id"] == str(there)
    assert agent.id in told[0].agents
    assert set(told[1].queues) == {here, there}
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == other.id, "not back to the one who gave it away"
    assert await world.broken() == []


async def test_a_transfer_to_an_agent_waits_for_their_acceptance(world: World) -> None:
    here = await world.queue()
    conversation, mine = await assigned(world, here, weight=2)
    outsider = await world.agent()
    await transfer(world, conversation, agent_id=outsider.id, note="yours")
    await world.dispatch()
    offer = await world.offered(conversation)
    assert offer.agent_id == outsider.id
    assert (await world.conversation(conversation)).assignee_id == mine.id
    assert await world.load(mine) == 2
    await world.accept(offer)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (outsider.id, mine.id)
    assert (await world.load(mine), await world.load(outsider)) == (0, offer.weight)
    assert (await world.told("conversation.assigned"))[-1].payload["how"] == "transfer"
    assert await world.broken() == []


async def test_transfers_that_cannot_be(world: World) -> None:
    here = await world.queue()
    conversation, agent = await assigned(world, here)
    gone = await world.agent(active=False)
    for to, named in (
        ({"agent_id": uuid4()}, "agent_id"),
        ({"agent_id": gone.id}, "agent_id"),
        ({"agent_id": agent.id}, "agent_id"),
        ({"queue_id": uuid4()}, "queue_id"),
        ({}, "agent_id"),
        ({"queue_id": here, "agent_id": gone.id}, "queue_id"),
    ):
        with pytest.raises(Invalid) as refused:
            await transfer(world, conversation, **to)
        assert refused.value.extra["field"] == named
    for status, problem in (("resolved", Conflict), ("closed", ConversationClosed)):
        async with world.database.begin() as session:
            await session.execute(text("UPDATE conversation SET status = :s"), {"s": status})
        with pytest.raises(problem):
            await transfer(world, conversation, queue_id=here)


async def test_waiting_again_keeps_the_age_and_withdraws_the_offer(world: World) -> None:
    here = await world.queue()
    agent = await world.agent(here)
    conversation = await world.waits(here, age_s=400, boost_s=10)
    before = await entry_of(world, conversation)
    await world.dispatch()
    async with world.database.begin() as session:
        await session.execute(text("UPDATE conversation SET category = 'urgent'"))
    await world.enqueue(conversation, queue_id=here, escalated=True)
    after = await entry_of(world, conversation)
    assert (after.state, after.weight, after.escalated) == ("waiting", 2, True)
    assert (after.enqueued_at, after.order_at) == (before.enqueued_at, before.enqueued_at - timedelta(minutes=10))
    assert after.boosts == {"category:urgent": 600}
    assert (await world.offered(conversation)).status == "rescinded"
    assert await world.load(agent) == 0
    given = before.enqueued_at + timedelta(seconds=5)
    await world.enqueue(conversation, queue_id=here, weight=5, enqueued_at=given)
    again = await entry_of(world, conversation)
    assert (again.order_at, again.weight, again.escalated) == (given - timedelta(minutes=10), 5, True)


async def test_a_reopened_matter_is_as_old_as_its_reopening(world: World) -> None:
    here = await world.queue()
    conversation = await world.waits(here, age_s=100_000)
    reopened = T0 + timedelta(days=1)
    async with world.holding(conversation) as (session, held):
        session.add(
            ResolutionCycle(
                conversation_id=held.id, channel_id=held.channel_id, number=1, state="rejected", problem="p", resolution="r",
                commitment="c", decided_at=reopened,
            )
        )  # fmt: skip
        held.cycle = 2
        session.add(held)
        await queues.leave(session, held)
        await queues.requeue(session, held, await world.catalog())
    assert (await entry_of(world, conversation)).enqueued_at == reopened


async def reclassify(world: World, conversation: UUID, category: str) -> None:
    async with world.holding(conversation) as (session, held):
        held.category = category
        session.add(held)
        await queues.reclassified(session, held, await world.catalog())


async def test_a_new_category_moves_it_with_its_age(world: World) -> None:
    here, urgent = await world.queue(category="routine"), await world.queue(category="urgent")
    agent = await world.agent(here)
    conversation = await world.waits(here)
    before = await entry_of(world, conversation)
    await world.dispatch()
    assert await world.load(agent) == 1
    setting = (await world.catalog()).categories["urgent"]
    await reclassify(world, conversation, "urgent")

    after = await entry_of(world, conversation)
    assert (after.queue_id, after.weight, after.state) == (urgent, setting.weight, "waiting")
    assert after.enqueued_at == before.enqueued_at
    assert after.order_at == before.enqueued_at - timedelta(seconds=setting.boost_s)
    assert (await world.conversation(conversation)).queue_id == urgent
    assert (await world.offered(conversation)).reason == "reclassified"
    assert await world.load(agent) == 0
    assert set((await world.told("conversation.updated"))[-1].queues) == {here, urgent}


async def test_a_new_category_in_the_same_queue_keeps_the_offer(world: World) -> None:
    here = await world.queue(category="complex")
    agent = await world.agent(here)
    conversation = await world.waits(here)
    await world.dispatch()
    await reclassify(world, conversation, "complex")
    assert (await world.offered(conversation)).status == "pending"
    assert (await entry_of(world, conversation)).weight == 3
    assert await world.load(agent) == 3
    await world.reject(await world.offered(conversation))
    assert await world.broken() == []


async def test_a_new_category_leaves_what_somebody_has(world: World) -> None:
    here = await world.queue(category="routine")
    await world.queue(category="complex")
    conversation, agent = await assigned(world, here)
    await reclassify(world, conversation, "complex")
    held = await world.conversation(conversation)
    assert (held.queue_id, held.assignee_id) == (here, agent.id)
    assert await world.entry(conversation) is None


async def test_a_new_grade_of_what_somebody_has_lets_others_step_in(world: World) -> None:
    """Urgent: supervisors or technical support, while its agent has it."""
    here = await world.queue(category="routine")
    await world.queue(category="urgent")
    conversation, agent = await assigned(world, here, age_s=500)
    await reclassify(world, conversation, "urgent")
    held, entry = await world.conversation(conversation), await entry_of(world, conversation)
    assert (held.queue_id, held.assignee_id, entry.queue_id) == (here, agent.id, here)
    assert (entry.escalated, entry.specialists, entry.weight) == (True, ["technical_support"], 2)
    assert entry.enqueued_at == held.created_at
    other, supervisor = await world.agent(here), await world.agent(role="supervisor")
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id
    await world.reject(await world.offered(conversation))
    await world.dispatch()
    assert await world.load(other) == 0
    await reclassify(world, conversation, "routine")
    assert (await entry_of(world, conversation)).escalated, "they were asked; it ends when one accepts"
    assert await world.broken() == []


async def test_a_new_grade_is_nothing_new_to_who_may_handle_it(world: World) -> None:
    here = await world.queue(category="routine")
    agent = await world.agent(here, skills=["technical_support"])
    conversation = await world.waits(here, target_agent_id=agent.id)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    await reclassify(world, conversation, "urgent")
    assert await world.entry(conversation) is None


async def test_a_new_grade_of_what_waits(world: World) -> None:
    here = await world.queue(category="routine")
    conversation = await world.waits(here, excluded=["somebody"])
    async with world.holding(conversation) as (session, held):
        held.matter, held.severity = "complaint", "critical"
        session.add(held)
        await queues.reclassified(session, held, await world.catalog())
    entry = await entry_of(world, conversation)
    assert (entry.escalated, entry.specialists, entry.boosts) == (True, [], {"severity:critical": 3600})
    assert entry.order_at == entry.enqueued_at - timedelta(hours=1)
    assert entry.excluded == ["somebody"]
    async with world.holding(conversation) as (session, held):
        held.severity = "minor"
        session.add(held)
        await queues.reclassified(session, held, await world.catalog())
    entry = await entry_of(world, conversation)
    assert (entry.escalated, entry.boosts, entry.order_at) == (False, {}, entry.enqueued_at)


async def test_resolving_one_that_is_also_offered_to_a_supervisor(world: World) -> None:
    """The escalation ends with the matter; both agents' capacity comes back."""
    here = await world.queue()
    conversation, agent = await assigned(world, here)
    supervisor = await world.agent(role="supervisor")
    async with world.holding(conversation) as (session, held):
        await queues.requeue(session, held, await world.catalog(), escalated=True)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id
    async with world.holding(conversation) as (session, held):
        await endings.rescind(session, held, reason="resolved")
        await assignment.free(session, held)
        held.status = "resolved"
        session.add(held)
    assert (await world.load(agent), await world.load(supervisor)) == (0, 0)
    assert await world.entry(conversation) is None
    assert isinstance(held, Conversation)
    assert await world.broken() == []
