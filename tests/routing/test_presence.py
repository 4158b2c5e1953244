"""Leases of sockets, the grace, and what goes back when an agent is gone."""

from __future__ import annotations

import asyncio
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from app.catalog import CatalogCache
from app.db import Database
from app.errors import Invalid, NotFound
from app.ids import new_id
from app.models import Agent
from app.models.words import Role
from app.routing import presence, queues
from app.wakeups import CHANNEL, EPHEMERAL
from tests.routing.world import FixedCatalog, World


async def catalog_of(world: World) -> CatalogCache:
    return FixedCatalog(await world.catalog())


async def reap(world: World, database: Database | None = None) -> float | None:
    return await presence.reap(database or world.database, await catalog_of(world), world.settings)


async def open_socket(world: World, agent: Agent, process: str = "p1") -> UUID:
    async with world.database.begin() as session:
        return await presence.open(session, agent.id, process)


async def close_socket(world: World, session_id: UUID) -> None:
    async with world.database.begin() as session:
        await presence.close(session, session_id)


async def is_present(world: World, agent: Agent) -> bool:
    async with world.database.begin() as session:
        return await presence.is_present(session, agent.id)


async def ago(world: World, seconds: float) -> None:
    """Let time pass for every socket."""
    async with world.database.begin() as session:
        await session.execute(
            text(
                "UPDATE agent_session SET lease_until = lease_until - make_interval(secs => :s), "
                "closed_at = closed_at - make_interval(secs => :s) WHERE lease_until > 'epoch'"
            ),
            {"s": seconds},
        )


async def test_present_while_one_socket_is_there(world: World) -> None:
    agent = await world.agent(present=False)
    assert not await is_present(world, agent)
    one, two = await open_socket(world, agent), await open_socket(world, agent, "p2")
    await close_socket(world, one)
    await close_socket(world, one)
    assert await is_present(world, agent)
    await close_socket(world, two)
    assert not await is_present(world, agent)


async def test_a_process_renews_all_its_sockets_at_once(world: World) -> None:
    here, there = await world.agent(present=False), await world.agent(present=False)
    await open_socket(world, here, "p1")
    await open_socket(world, there, "p2")
    await ago(world, 31)
    assert await presence.renew(world.database, "p1", lease_s=30) == 10
    assert (await is_present(world, here), await is_present(world, there)) == (True, False)


async def test_within_the_grace_nothing_happens(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    session_id = await open_socket(world, agent)
    conversation = await world.waits(queue)
    await world.dispatch()
    await close_socket(world, session_id)
    await ago(world, 50)
    assert await reap(world) == pytest.approx(10, abs=1)
    assert (await world.offered(conversation)).status == "pending"
    await open_socket(world, agent)
    await ago(world, 20)
    assert await reap(world) == pytest.approx(70, abs=1)
    assert (await world.offered(conversation)).status == "pending"


async def test_what_a_lost_agent_held_goes_back_with_its_age(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent)
    chat = await world.waits(queue, channel="webchat", age_s=300, weight=2)
    mail = await world.waits(queue, channel="email", age_s=200)
    paused = await world.waits(queue, channel="webchat", age_s=100)
    await world.dispatch()
    for conversation in (chat, mail, paused):
        await world.accept(await world.offered(conversation))
    async with world.database.begin() as session:
        await session.execute(text("UPDATE conversation SET status = 'on_hold' WHERE id = :id"), {"id": paused})
    offered = await world.waits(queue, age_s=50)
    before = await world.entry(offered)
    await world.dispatch()
    await ago(world, 91)
    assert await reap(world) is None

    assert (await world.offered(offered)).reason == "agent_lost"
    back = await world.entry(offered)
    assert back is not None
    assert before is not None
    assert (back.state, back.order_at, back.excluded) == ("waiting", before.order_at, [])
    entry, held = await world.entry(chat), await world.conversation(chat)
    assert entry is not None
    assert (entry.state, entry.enqueued_at, held.assignee_id, held.owner_id) == (
        "waiting",
        held.created_at,
        None,
        agent.id,
    )
    assert (await world.conversation(mail)).assignee_id == agent.id
    assert (await world.conversation(paused)).assignee_id == agent.id
    assert await world.load(agent) == 2
    told = (await world.told("conversation.updated"))[-1]
    assert (told.payload["reason"], told.conversation_id) == ("agent_lost", chat)
    assert agent.id in told.agents
    assert await world.broken() == []


@pytest.mark.parametrize(("policy", "back"), [("all", {"webchat", "email"}), ("live", {"webchat"}), ("none", set())])
async def test_policy(world: World, policy: str, back: set[str]) -> None:
    world.settings.requeue_on_agent_loss = policy  # type: ignore[assignment]
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent)
    conversations = {kind: await world.waits(queue, channel=kind) for kind in ("webchat", "email")}
    await world.dispatch()
    for conversation in conversations.values():
        await world.accept(await world.offered(conversation))
    await ago(world, 91)
    await reap(world)
    assert {kind for kind, conversation in conversations.items() if await world.entry(conversation)} == back


async def test_once_on_many_processes(world: World) -> None:
    queue = await world.queue()
    for _ in range(5):
        agent = await world.agent(queue, present=False)
        await open_socket(world, agent)
        for conversation in await world.waiting(queue, 4, channel="webchat"):
            await world.dispatch()
            await world.accept(await world.offered(conversation))
        await ago(world, 91)
    databases = [Database(world.settings) for _ in range(3)]

    async def until_done(database: Database) -> None:
        again: float | None = 0
        while again is not None:
            again = await reap(world, database)

    await asyncio.gather(*(until_done(database) for database in databases * 2))
    for database in databases:
        await database.close()
    assert len([event for event in await world.told("conversation.updated") if event.payload.get("reason")]) == 20
    assert await world.broken() == []


async def test_a_process_that_was_only_slow_has_its_agents_back(world: World) -> None:
    agent = await world.agent(present=False)
    await open_socket(world, agent)
    await ago(world, 91)
    assert await reap(world) is None
    await presence.renew(world.database, "p1", lease_s=30)
    assert await is_present(world, agent)
    assert await reap(world) == pytest.approx(90, abs=1)


async def chatting(world: World, queue: UUID, process: str = "p1") -> tuple[Agent, UUID]:
    """An agent at a socket of the process, who has accepted a chat."""
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent, process)
    conversation = await world.waits(queue, channel="webchat")
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    return agent, conversation


async def test_an_outage_is_no_part_of_the_grace(world: World) -> None:
    """All processes were dead for ten minutes: whoever could not come back has the whole grace from the start on."""
    agent, chat = await chatting(world, await world.queue())
    _, left = await chatting(world, await world.queue())
    async with world.database.begin() as session:  # gone in good order: the server was stopped by hand
        await session.execute(text("UPDATE agent_session SET closed_at = now() WHERE agent_id <> :a"), {"a": agent.id})
    await ago(world, 600)
    await world.awake(since_s=86_400, seen_s=590)
    assert await reap(world) == pytest.approx(60, abs=10)
    await presence.renew(world.database, "p2", lease_s=30)
    assert await reap(world) == pytest.approx(60, abs=10), "time goes on from the start of the first process"
    assert [(await world.conversation(one)).assignee_id is None for one in (chat, left)] == [False, False]
    await open_socket(world, agent, "p2")
    await world.awake(since_s=61)
    assert await reap(world) == pytest.approx(90, abs=10)
    assert [(await world.conversation(one)).assignee_id is None for one in (chat, left)] == [False, True]


async def test_processes_that_start_together_agree_on_when(world: World) -> None:
    _, chat = await chatting(world, await world.queue())
    await ago(world, 600)
    await world.awake(since_s=86_400, seen_s=600)
    databases = [Database(world.settings) for _ in range(4)]
    starts = [presence.renew(database, f"n{n}", lease_s=30) for n, database in enumerate(databases)]
    await asyncio.gather(*starts, *(reap(world, database) for database in databases))
    for database in databases:
        await database.close()
    assert await reap(world) == pytest.approx(60, abs=10)
    assert (await world.conversation(chat)).assignee_id is not None


async def test_one_of_two_processes_is_killed(world: World) -> None:
    """The other one was there all the time, and so was a place to come back to: the grace counts from the lease's end."""
    _, chat = await chatting(world, await world.queue(), "killed")
    await ago(world, 70)
    await world.awake(since_s=86_400, seen_s=10)
    await presence.renew(world.database, "alive", lease_s=30)
    assert await reap(world) == pytest.approx(20, abs=10)
    await ago(world, 21)
    await reap(world)
    assert (await world.conversation(chat)).assignee_id is None


async def test_ended_sockets_are_not_kept_for_ever(world: World) -> None:
    agent = await world.agent(present=False)
    for _ in range(5):
        await close_socket(world, await open_socket(world, agent))
    await open_socket(world, agent)
    await reap(world)
    async with world.database.begin() as session:
        assert (await session.execute(text("SELECT count(*) FROM agent_session"))).scalar_one() == 1


async def test_a_conversation_in_others_hands_is_taken_back_later(world: World) -> None:
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent)
    conversation = await world.waits(queue, channel="webchat")
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    await ago(world, 91)
    async with world.holding(conversation):
        assert await reap(world) == presence.RETRY_S
    assert await reap(world) is None
    assert (await world.entry(conversation)) is not None


async def test_availability_is_audited(world: World) -> None:
    agent = await world.agent()
    for wanted in ("away", "away", "online"):
        async with world.database.begin() as session:
            await presence.set_availability(session, agent_id=agent.id, availability=wanted)
    told = await world.told("agent.availability")
    assert [(event.payload["from"], event.payload["to"]) for event in told] == [("online", "away"), ("away", "online")]
    assert {event.scope for event in told} == {"audit"}
    async with world.database.begin() as session:
        with pytest.raises(Invalid):
            await presence.set_availability(session, agent.id, "asleep")
        with pytest.raises(NotFound):
            await presence.set_availability(session, new_id(), "away")


async def test_a_process_that_was_only_slow_wakes_the_dispatcher(world: World) -> None:
    agent, there = await world.agent(present=False), await world.agent(present=False)
    await open_socket(world, agent)
    await open_socket(world, there, "p2")
    await ago(world, 20)
    heard = await world.database.connect()
    topics: list[str] = []
    facts: list[str] = []
    await heard.add_listener(CHANNEL, lambda *found: topics.append(str(found[3])))
    await heard.add_listener(EPHEMERAL, lambda *found: facts.append(str(found[3])))
    await presence.renew(world.database, "p1", lease_s=30)
    await heard.fetchval("SELECT 1")
    assert (topics, facts) == ([], []), "the lease had not run out"
    await ago(world, 40)
    await presence.renew(world.database, "p1", lease_s=30)
    await heard.fetchval("SELECT 1")
    await heard.close()
    assert topics == ["dispatch"]
    [fact] = [orjson.loads(fact) for fact in facts]
    assert fact["frame"]["agent"]["id"] == str(agent.id)
    assert fact["frame"]["agent"]["present"] is True


async def test_with_another_socket_nobody_is_lost(world: World) -> None:
    """The same agent at two windows of two processes: one dies, what they hold stays."""
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent, "p1")
    await open_socket(world, agent, "p2")
    conversation = await world.waits(queue, channel="webchat")
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    await ago(world, 91)
    await presence.renew(world.database, "p2", lease_s=30)
    await reap(world)
    assert (await world.conversation(conversation)).assignee_id == agent.id
    assert await world.entry(conversation) is None


async def test_others_are_told_that_an_agent_is_lost(world: World) -> None:
    agent = await world.agent(present=False)
    await open_socket(world, agent)
    await ago(world, 91)
    heard = await world.database.connect()
    facts: list[str] = []
    await heard.add_listener(EPHEMERAL, lambda *found: facts.append(str(found[3])))
    await reap(world)
    await heard.fetchval("SELECT 1")
    await heard.close()
    assert [orjson.loads(fact)["frame"]["agent"]["present"] for fact in facts] == [False]


async def test_who_is_asked_about_what_a_lost_agent_had_goes_on_being_asked(world: World) -> None:
    """An escalated conversation of a lost agent is out to a supervisor: their offer stays, and its age."""
    queue = await world.queue()
    agent = await world.agent(queue, present=False)
    await open_socket(world, agent)
    conversation = await world.waits(queue, channel="webchat")
    await world.dispatch()
    await world.accept(await world.offered(conversation))
    supervisor = await world.agent(role=Role.SUPERVISOR)
    async with world.holding(conversation) as (session, held):
        await queues.requeue(session, held, await world.catalog(), escalated=True)
    await world.dispatch()
    before = await world.entry(conversation)
    await ago(world, 91)
    async with world.database.begin() as session:  # the supervisor is there all the time
        await session.execute(
            text("UPDATE agent_session SET lease_until = now() + interval '1 min' WHERE agent_id = :a"),
            {"a": supervisor.id},
        )
    await reap(world)
    assert (await world.conversation(conversation)).assignee_id is None
    offer, entry = await world.offered(conversation), await world.entry(conversation)
    assert entry is not None
    assert before is not None
    assert (offer.status, offer.agent_id) == ("pending", supervisor.id)
    assert (entry.state, entry.order_at, entry.escalated) == ("offered", before.order_at, True)
    assert await world.broken() == []
