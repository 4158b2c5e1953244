"""Offers: made with the capacity they hold, ended in exactly one way."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from app.errors import NotFound, OfferExpired
from app.events.log import Actor
from app.models import Agent
from app.models.words import Availability, Role
from app.routing import availability, endings, offers, queues, transfers
from app.wakeups import EPHEMERAL
from tests.routing.world import World


async def test_an_offer_holds_capacity_and_tells_the_agent(world: World) -> None:
    queue = await world.queue(offer_timeout_s=45)
    agent = await world.agent(queue)
    conversation = await world.waits(queue, weight=2, note="she is in a hurry")
    await world.dispatch()

    offer = await world.offered(conversation)
    assert (offer.agent_id, offer.status, offer.weight) == (agent.id, "pending", 2)
    assert round((offer.expires_at - offer.created_at).total_seconds()) == 45
    assert await world.load(agent) == 2
    assert (await world.entry(conversation)).state == "offered"  # type: ignore[union-attr]
    [told] = await world.told("offer.created")
    assert (told.scope, told.agents, told.conversation_id) == ("agents", [agent.id], conversation)
    shown = told.payload
    assert shown["offer_id"] == str(offer.id)
    assert shown["note"] == "she is in a hurry"
    assert shown["conversation"]["contact_name"] == "Mei"
    assert shown["conversation"]["id"] == str(conversation)
    assert len(shown["conversation"]["last_message"]) == 200
    async with world.database.begin() as session:
        [pending] = await offers.pending_of(session, agent_id=agent.id)
    for either in (pending, shown):
        del either["conversation"]["updated_at"]
    assert pending == shown


@pytest.mark.parametrize(
    ("channel", "own", "expected"), [("webchat", None, 20), ("partner", None, 60), ("webchat", 7, 7)]
)
async def test_the_time_to_answer(world: World, channel: str, own: float | None, expected: float) -> None:
    queue = await world.queue(offer_timeout_s=own)
    await world.agent(queue)
    conversation = await world.waits(queue, channel=channel)
    await world.dispatch()
    offer = await world.offered(conversation)
    assert round((offer.expires_at - offer.created_at).total_seconds()) == expected


async def test_accepting_assigns_and_owns(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    conversation = await world.waits(queue, weight=3)
    await world.dispatch()
    offer = await world.offered(conversation)

    got = await world.accept(offer)
    assert (got.assignee_id, got.owner_id) == (agent.id, agent.id)
    assert await world.entry(conversation) is None
    assert await world.load(agent) == 3
    assert await world.broken() == []
    again = await world.accept(offer)
    assert again.id == conversation
    assert [event.payload["how"] for event in await world.told("conversation.assigned")] == ["offer"]
    assert len(await world.told("offer.accepted")) == 1


async def test_an_offer_is_only_for_its_agent_and_its_time(world: World) -> None:
    queue = await world.queue()
    await world.agent(queue)
    other = await world.agent(queue, present=False)
    conversation = await world.waits(queue)
    await world.dispatch()
    offer = await world.offered(conversation)
    async with world.database.begin() as session:
        stranger = await session.get_one(Agent, other.id)
        with pytest.raises(OfferExpired):
            await offers.accept(session, offer_id=offer.id, agent=stranger)
        with pytest.raises(NotFound):
            await offers.accept(session, offer_id=uuid4(), agent=stranger)
    await world.let_expire(offer)
    with pytest.raises(OfferExpired, match="the time to answer is over"):
        await world.accept(offer)


async def test_a_rejected_one_goes_to_the_next_with_its_age(world: World) -> None:
    queue = await world.queue()
    agents = {agent.id for agent in await world.agents(2, queue)}
    conversation = await world.waits(queue, weight=2, boost_s=60)
    before = await world.entry(conversation)
    await world.dispatch()
    first = await world.offered(conversation)
    await world.reject(first, "lunch")

    entry = await world.entry(conversation)
    assert entry is not None
    assert before is not None
    assert (entry.state, entry.excluded) == ("waiting", [str(first.agent_id)])
    assert (entry.enqueued_at, entry.order_at) == (before.enqueued_at, before.order_at)
    assert await world.load(first.agent_id) == 0
    [told] = await world.told("offer.rescinded")
    assert (told.payload, told.agents) == ({"offer_id": str(first.id), "reason": "rejected"}, [first.agent_id])
    assert (await world.offered(conversation)).reason == "lunch"
    await world.reject(first)
    assert len(await world.told("offer.rescinded")) == 1
    with pytest.raises(OfferExpired, match="declined"):
        await world.accept(first)

    await world.dispatch()
    second = await world.offered(conversation)
    assert {first.agent_id, second.agent_id} == agents


async def test_when_all_have_declined_they_are_asked_again_after_a_while(world: World) -> None:
    queue = await world.queue()
    await world.agents(3, queue)
    conversation = await world.waits(queue)
    asked = []
    for _ in range(2):
        for _ in range(3):
            await world.dispatch()
            offer = await world.offered(conversation)
            asked.append(offer.agent_id)
            await world.reject(offer)
        await world.dispatch()
        assert (await world.entry(conversation)).state == "waiting"  # type: ignore[union-attr]
        await world.let_wait(30, conversation)
        assert await world.patience() is None
    assert len(set(asked[:3])) == len(set(asked[3:])) == 3
    [first, _] = await world.decisions(conversation)
    assert (first.kind, first.explanation) == ("round", {"asked_again": [str(agent) for agent in asked[:3]]})


async def test_one_who_is_alone_is_not_asked_over_and_over(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    conversation = await world.waits(queue)
    before = await world.entry(conversation)
    await world.dispatch()
    await world.reject(await world.offered(conversation))
    for _ in range(3):
        await world.dispatch()
    assert len(await world.offers(conversation)) == 1
    assert await world.patience() == pytest.approx(30, abs=2)
    await world.let_wait(30, conversation)
    assert await world.patience() is None
    await world.dispatch()
    assert [offer.agent_id for offer in await world.offers(conversation)] == [agent.id, agent.id]
    entry = await world.entry(conversation)
    assert entry is not None
    assert before is not None
    assert (entry.enqueued_at, entry.order_at) == (before.enqueued_at, before.order_at)


async def test_each_decline_makes_the_round_longer(world: World) -> None:
    """While others are being asked, nobody is asked twice."""
    queue = await world.queue()
    await world.agents(2, queue)
    conversation = await world.waits(queue)
    await world.dispatch()
    await world.reject(await world.offered(conversation))
    await world.let_wait(29, conversation)
    await world.dispatch()
    await world.reject(await world.offered(conversation))
    assert await world.patience() == pytest.approx(30, abs=2)
    assert len((await world.entry(conversation)).excluded) == 2  # type: ignore[union-attr]


async def missed(world: World, queue: UUID, count: int) -> None:
    for _ in range(count):
        conversation = await world.waits(queue)
        await world.dispatch()
        await world.let_expire(await world.offered(conversation))
        await endings.expire_due(world.database)


async def test_who_misses_three_in_a_row_is_away(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    heard = await world.database.connect()
    facts: list[dict[str, Any]] = []
    await heard.add_listener(EPHEMERAL, lambda *found: facts.append(orjson.loads(found[3])))
    await missed(world, queue, 2)
    assert (await world.agent_now(agent)).missed_offers == 2
    assert (await world.agent_now(agent)).availability == "online"
    await missed(world, queue, 1)
    now = await world.agent_now(agent)
    assert (now.availability, now.missed_offers, now.load) == ("away", 3, 0)
    [told] = await world.told("agent.availability")
    assert told.scope == "audit"
    assert told.payload == {
        "agent_id": str(agent.id), "from": "online", "to": "away", "reason": "missed_offers", "missed": 3,
    }  # fmt: skip
    await heard.fetchval("SELECT 1")
    await heard.close()
    assert [fact["frame"]["agent"]["availability"] for fact in facts] == ["away"]
    assert facts[0]["agents"] == [str(agent.id)]
    assert facts[0]["queues"] == [str(queue)]
    async with world.database.begin() as session:
        await availability.set_availability(session, agent.id, "online")
    assert (await world.agent_now(agent)).missed_offers == 0


@pytest.mark.parametrize("word", ["accept", "reject", "availability"])
async def test_a_word_of_the_agent_ends_the_count(world: World, word: str) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    await missed(world, queue, 2)
    if word == "availability":
        async with world.database.begin() as session:
            await availability.set_availability(session, agent.id, "online")
    else:
        conversation = await world.waits(queue)
        await world.dispatch()
        await (world.accept if word == "accept" else world.reject)(await world.offered(conversation))
    assert (await world.agent_now(agent)).missed_offers == 0
    await missed(world, queue, 2)
    assert (await world.agent_now(agent)).availability == "online"


async def test_misses_do_not_count_where_they_are_not_to(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    for conversation in await world.waiting(queue, 5):
        await world.dispatch()
        await world.let_expire(await world.offered(conversation))
        await endings.expire_due(world.database, misses_until_away=0)
    assert (await world.agent_now(agent)).availability == "online"


async def test_a_queue_that_assigns_directly(world: World) -> None:
    queue = await world.queue(assignment="direct")
    agent = await world.agent(queue)
    conversation = await world.waits(queue, weight=2)
    await world.dispatch()
    offer = await world.offered(conversation)
    assert (offer.status, offer.agent_id) == ("accepted", agent.id)
    held = await world.conversation(conversation)
    assert (held.assignee_id, held.owner_id) == (agent.id, agent.id)
    assert await world.entry(conversation) is None
    assert await world.load(agent) == 2
    kinds = [event.type for event in await world.events(conversation)]
    assert kinds == ["offer.created", "offer.accepted", "conversation.assigned"]
    assert (await world.told("conversation.assigned"))[0].payload["how"] == "direct"
    assert await world.broken() == []


async def test_a_transfer_has_to_be_accepted_in_a_direct_queue_too(world: World) -> None:
    queue = await world.queue(assignment="direct")
    agent = await world.agent(queue)
    conversation = await world.waits(queue, target_agent_id=agent.id)
    await world.dispatch()
    assert (await world.offered(conversation)).status == "pending"


async def test_expired_ones_go_back_with_their_age(world: World) -> None:
    queue = await world.queue()
    await world.agents(2, queue)
    conversations = await world.waiting(queue, 5)
    ages = [(await world.entry(conversation)).order_at for conversation in conversations]  # type: ignore[union-attr]
    await world.dispatch()
    made = await world.offers()
    assert await endings.expire_due(world.database) == pytest.approx(60, abs=2)
    await world.let_expire(*made[:4])
    assert await endings.expire_due(world.database) == pytest.approx(60, abs=2)

    assert [offer.status for offer in await world.offers()] == ["expired"] * 4 + ["pending"]
    assert await world.broken() == []
    assert [(await world.entry(conversation)).order_at for conversation in conversations] == ages  # type: ignore[union-attr]
    assert {event.payload["offer_id"] for event in await world.told("offer.expired")} == {str(o.id) for o in made[:4]}
    await world.let_expire(made[4])
    assert await endings.expire_due(world.database) is None
    with pytest.raises(OfferExpired):
        await world.accept(made[4])


async def test_rescinding_takes_it_out_of_routing(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue)
    conversation = await world.waits(queue)
    await world.dispatch()
    offer = await world.offered(conversation)
    async with world.holding(conversation) as (session, held):
        await endings.rescind(session, held, reason="closed")
    assert await world.entry(conversation) is None
    assert await world.load(agent) == 0
    assert (await world.offered(conversation)).status == "rescinded"
    assert (await world.told("offer.rescinded"))[0].payload["reason"] == "closed"
    with pytest.raises(OfferExpired, match="withdrawn"):
        await world.accept(offer)


async def test_several_offers_to_one_agent_are_added_up_in_one_batch(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, capacity=6)
    await world.waiting(queue, 8, weight=2)
    await world.dispatch()
    assert [offer.weight for offer in await world.offers()] == [2, 2, 2]
    assert await world.load(agent) == 6
    assert await world.broken() == []


async def test_a_transfer_that_is_declined_stays_with_the_assignee(world: World) -> None:
    queue = await world.queue()
    mine, other = await world.agent(queue), await world.agent(queue)
    conversation = await world.waits(queue, target_agent_id=mine.id)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    async with world.holding(conversation) as (session, held):
        await transfers.transfer(
            session,
            held,
            actor=Actor("agent", mine.id),
            agent_id=other.id,
            note="your field",
            catalog=await world.catalog(),
        )
    await world.dispatch()
    offer = await world.offered(conversation)
    assert (offer.agent_id, offer.status) == (other.id, "pending")
    await world.reject(offer)
    assert await world.entry(conversation) is None
    assert (await world.conversation(conversation)).assignee_id == mine.id
    told = (await world.told("conversation.updated"))[-1]
    assert told.payload["transfer"] == {"agent_id": str(other.id), "outcome": "rejected"}
    assert mine.id in told.agents
    assert await world.broken() == []


async def transferred(world: World) -> tuple[UUID, Agent, Agent]:
    """One that was escalated; `mine` has it and gives it to `other`."""
    queue = await world.queue()
    mine, other = await world.agent(queue), await world.agent(queue)
    conversation = await world.waits(queue, target_agent_id=mine.id)
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    async with world.holding(conversation) as (session, held):
        await queues.requeue(session, held, await world.catalog(), escalated=True)
        await transfers.transfer(
            session, held, actor=Actor("agent", mine.id), agent_id=other.id, catalog=await world.catalog()
        )
    return conversation, mine, other


async def test_a_transfer_of_an_escalated_one_that_fails_stays_escalated(world: World) -> None:
    conversation, mine, other = await transferred(world)
    await world.dispatch()
    offer = await world.offered(conversation)
    assert offer.agent_id == other.id
    await world.reject(offer)
    entry = await world.entry(conversation)
    assert entry is not None
    assert (entry.escalated, entry.target_agent_id, entry.state) == (True, None, "waiting")
    assert (await world.conversation(conversation)).assignee_id == mine.id
    assert (await world.told("conversation.updated"))[-1].payload["transfer"]["outcome"] == "rejected"
    supervisor = await world.agent(role=Role.SUPERVISOR)
    await world.dispatch()
    assert (await world.offered(conversation)).agent_id == supervisor.id


async def test_an_agent_who_went_away_before_the_offer_gets_none(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, availability=Availability.AWAY)
    supervisor = await world.agent(role=Role.SUPERVISOR)
    conversation = await world.waits(queue)
    await world.dispatch()
    assert await world.offers(conversation) == []
    assert (await world.load(agent), await world.load(supervisor)) == (0, 0)
