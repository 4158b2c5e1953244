"""The dispatcher: order, escalation, nobody blocked, batches, and how often it asks the database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.clock import now
from app.models import Agent, Assignment, Calendar, QueueTeam, Team, TeamMember
from app.models.words import Availability, QueueAssignment, Role
from app.routing import endings, reading
from app.routing.choose import PATIENCE_S
from app.sla.calendar import from_row
from tests.routing.world import World


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
    await world.enqueue(conversation, queue_id=queue, weight=1, escalated=True)
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
            await endings.rescind(session, held, reason="closed")
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
    real, changed = reading.aside, asyncio.Event()

    async def meanwhile(*arguments: object) -> object:
        async with world.database.begin() as session:
            await session.execute(text("UPDATE queue_entry SET queue_id = :q"), {"q": other})
        changed.set()
        return await real(*arguments)  # type: ignore[arg-type]

    reading.aside = meanwhile  # type: ignore[assignment]
    try:
        await dispatcher.step()
    finally:
        reading.aside = real
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


async def test_rings_widen_who_is_asked(world: World) -> None:
    rings = [{"after_s": 30, "max_level": 2}, {"after_s": 60, "drop_skills": ["visa"], "max_level": 3}]
    queue = await world.queue(skills=["visa"], rings=rings)
    second = await world.agent(queue, level=2, skills=["visa"])
    untaught = await world.agent(queue, level=3)
    narrow, wider, widest = [await world.waits(queue, ring=ring) for ring in range(3)]
    await world.dispatch()
    assert await world.offers(narrow) == []
    assert (await world.offered(wider)).agent_id == second.id
    assert (await world.offered(widest)).agent_id == second.id, "the lower level is asked first in every ring"
    first = await world.agent(queue, level=1, skills=["visa"])
    await world.dispatch()
    assert (await world.offered(narrow)).agent_id == first.id
    await world.reject(await world.offered(widest))
    async with world.database.begin() as session:
        await session.execute(text("UPDATE agent SET availability = 'away' WHERE id <> :id"), {"id": untaught.id})
    await world.dispatch()
    assert (await world.offered(widest)).agent_id == untaught.id


async def test_a_team_serves_as_members_do(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent()
    team = Team(name="Returns")
    async with world.database.begin() as session:
        session.add(team)
        await session.flush()
        session.add_all([TeamMember(team_id=team.id, agent_id=agent.id), QueueTeam(queue_id=queue, team_id=team.id)])
    conversation = await world.waits(queue)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == agent.id


async def test_specialists_come_before_others_and_after_nobody(world: World) -> None:
    queue = await world.queue()
    await world.agent(queue)
    expert = await world.agent(queue, capacity=2, load=0, skills=["technical_support"], level=2)
    conversations = await world.waiting(queue, 3, escalated=True, specialists=["technical_support"])
    await world.dispatch()
    assert [(await world.offered(one)).agent_id == expert.id for one in conversations] == [True, True, False]


async def _had(world: World, conversation: UUID, agent: Agent, *, ago_s: float) -> None:
    """The agent was through with this conversation so many seconds ago."""
    async with world.database.begin() as session:
        ended = now() - timedelta(seconds=ago_s)
        session.add(Assignment(conversation_id=conversation, agent_id=agent.id, weight=1, how="offer", ended_at=ended))


async def test_whoever_had_the_contact_last_is_first(world: World) -> None:
    queue = await world.queue(sticky_window_s=600)
    known, idle = await world.agent(queue, load=0), await world.agent(queue)
    busy = await world.waits(queue)
    await world.dispatch()
    first = (await world.offered(busy)).agent_id
    other = idle if first == known.id else known
    again, forgotten = await world.waiting(queue, 2)
    working = await world.agent(queue, role=Role.SUPERVISOR, availability=Availability.AWAY)
    assert working.id not in (known.id, idle.id)
    used = known if first == known.id else idle
    await _had(world, again, other, ago_s=500)
    await _had(world, again, used, ago_s=50)
    await _had(world, forgotten, used, ago_s=700)
    await world.dispatch()
    assert (await world.offered(again)).agent_id == used.id
    assert (await world.offered(forgotten)).agent_id == other.id


async def test_the_queue_waits_for_the_owner_who_is_full(world: World) -> None:
    queue = await world.queue(sticky_wait_s=40)
    owner = await world.agent(queue, capacity=1)
    first = await world.waits(queue)
    await world.dispatch()
    other = await world.agent(queue)
    conversation, stranger = await world.waiting(queue, 2)
    async with world.database.begin() as session:
        await session.execute(
            text("UPDATE conversation SET owner_id = :o WHERE id = :id"), {"o": owner.id, "id": conversation}
        )
    dispatcher = await world.dispatcher()
    delay = await dispatcher.step()
    assert delay is not None
    assert 30 < delay <= 40, "looks again when the wait is over"
    assert await world.offers(conversation) == []
    assert (await world.offered(stranger)).agent_id == other.id
    await world.reject(await world.offered(first))
    assert await dispatcher.step() is None
    assert (await world.offered(conversation)).agent_id == owner.id


async def test_when_that_wait_is_over_others_are_asked(world: World) -> None:
    queue = await world.queue(sticky_wait_s=40)
    owner = await world.agent(queue, capacity=1)
    await world.waits(queue)
    await world.dispatch()
    other = await world.agent(queue)
    conversation = await world.waits(queue, entered_at=now() - timedelta(seconds=41))
    async with world.database.begin() as session:
        await session.execute(
            text("UPDATE conversation SET owner_id = :o WHERE id = :id"), {"o": owner.id, "id": conversation}
        )
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == other.id


async def test_a_closed_queue_makes_no_offers_until_it_opens(world: World) -> None:
    later = now() + timedelta(minutes=30)
    day = later.strftime("%Y-%m-%d")
    shut = Calendar(name="later", exceptions={day: [[later.strftime("%H:%M"), "24:00"]]})
    async with world.database.begin() as session:
        session.add(shut)
    closed, open_queue = await world.queue(calendar_id=shut.id), await world.queue()
    agent = await world.agent(closed, open_queue)
    waits, served = await world.waits(closed, age_s=900), await world.waits(open_queue)
    mine = await world.waits(closed, target_agent_id=agent.id)
    dispatcher = await world.dispatcher()
    catalog = await world.catalog()
    dispatcher._catalog.fixed = type(catalog)(  # type: ignore[attr-defined]
        catalog.version, {}, catalog.queues, catalog.categories, (), (), (), {shut.id: from_row(shut)}
    )
    delay = await dispatcher.step()
    assert delay is not None
    assert 29 * 60 - 1 < delay <= 30 * 60
    assert {offer.conversation_id for offer in await world.offers()} == {served, mine}
    assert await world.offers(waits) == []


async def closed_queue(world: World, **fields: Any) -> UUID:
    """It opens in an hour or so."""
    later = now() + timedelta(minutes=90)
    hours = [[later.strftime("%H:%M"), "24:00"]] if later.date() == now().date() else []
    shut = Calendar(name="later", exceptions={now().strftime("%Y-%m-%d"): hours})
    async with world.database.begin() as session:
        session.add(shut)
    return await world.queue(calendar_id=shut.id, **fields)


async def test_what_is_escalated_reaches_seniors_and_specialists_of_a_closed_queue(world: World) -> None:
    queue = await closed_queue(world)
    await world.agent(queue)
    ordinary = await world.waits(queue, specialists=["tech"])
    held, urgent = (
        await world.waits(queue, escalated=True),
        await world.waits(queue, escalated=True, specialists=["tech"]),
    )
    await world.dispatch()
    assert await world.offers() == [], "its members are off"
    expert = await world.agent(queue, skills=["tech"])
    await world.dispatch()
    assert {offer.conversation_id: offer.agent_id for offer in await world.offers()} == {urgent: expert.id}
    supervisor = await world.agent(role=Role.SUPERVISOR)
    await world.dispatch()
    assert (await world.offered(held)).agent_id == supervisor.id
    assert await world.offers(ordinary) == []
    assert await world.broken() == []


async def test_who_waits_too_long_in_a_closed_queue_reaches_a_supervisor(world: World) -> None:
    queue = await closed_queue(world, max_wait_s=60)
    await world.agent(queue)
    supervisor = await world.agent(role=Role.SUPERVISOR)
    conversation = await world.waits(queue)
    async with world.database.begin() as session:
        await session.execute(text("UPDATE queue_entry SET next_at = now() + interval '60 s'"))
    await world.dispatch()
    assert await world.offers() == []
    await world.let_wait(61, conversation)
    await world.patience()
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id


async def test_a_direct_queue_asks_nobody(world: World) -> None:
    queue = await world.queue(assignment=QueueAssignment.DIRECT)
    agent = await world.agent(queue)
    conversation = await world.waits(queue)
    await world.dispatch()
    assert (await world.conversation(conversation)).assignee_id == agent.id
    assert (await world.offered(conversation)).status == "accepted"
    assert await world.broken() == []


async def test_pages_of_many_lanes_keep_one_order(world: World) -> None:
    """Lanes of one, of hundreds and of some who are lighter: the oldest are served, whichever lane they stand in."""
    queues = [await world.queue() for _ in range(3)]
    agents = await world.agents(10, *queues, capacity=10)
    crowd = await world.waiting(queues[0], 300, age_s=500)
    few = [await world.waits(queues[1], age_s=500 - n / 20) for n in range(5)]
    mixed = await world.waiting(queues[2], 40, age_s=499.9, weight=lambda n: 1 + n % 2)
    await world.dispatch()
    offers = await world.offers()
    assert sum(offer.weight for offer in offers) == sum(agent.capacity for agent in agents)
    entries = [await world.entry(one) for one in (*crowd, *few, *mixed)]
    order = sorted((entry for entry in entries if entry), key=lambda entry: (entry.order_at, entry.conversation_id))
    got = [entry.state == "offered" for entry in order]
    assert got.index(False) >= len(offers) - 1, "at most the last unit of room goes to a lighter one"
    assert await world.broken() == []
