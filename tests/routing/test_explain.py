"""`GET .../routing`: each decision with its candidates and who was left out, and how it stands now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.conversations import queries
from app.models import RoutingDecision
from app.models.words import Availability, DecisionKind
from app.routing import explain
from app.routing.choose import LOOK, choose
from app.routing.views import AgentView, Decision, LeftOut, Waiting
from tests.routing.test_dispatcher import closed_queue
from tests.routing.world import World


async def routing(world: World, conversation: UUID) -> dict[str, Any]:
    async with world.database.begin() as session:
        return await explain.routing(session, await queries.get(session, conversation), await world.catalog())


def reasons(shown: dict[str, Any]) -> dict[str, str]:
    return {item["agent_id"]: item["reason"] for item in shown["exclusions"]}


async def test_each_decision_and_its_end(world: World) -> None:
    queue = await world.queue()
    away = await world.agent(queue, availability=Availability.AWAY)
    absent = await world.agent(queue, present=False)
    full = await world.agent(queue, capacity=0)
    one, two = await world.agent(queue, capacity=2, load=1), await world.agent(queue, capacity=4)
    conversation = await world.waits(queue)
    await world.dispatch()
    first = await world.offered(conversation)
    await world.reject(first, "not my field")
    await world.dispatch()

    shown = await routing(world, conversation)
    before, after = shown["decisions"]
    assert [candidate["agent_id"] for candidate in before["candidates"]] == [str(two.id), str(one.id)]
    assert [candidate["utilisation"] for candidate in before["candidates"]] == [0, 0.5]
    assert reasons(before) == {
        str(away.id): "not_online",
        str(absent.id): "no_live_socket",
        str(full.id): "no_free_capacity",
    }
    assert before["left_out"] == {"not_online": 1, "no_live_socket": 1, "no_free_capacity": 1}
    assert (before["kind"], before["decided_by"], before["ring"]) == ("offer", "utilisation", 0)
    assert (before["offer"]["status"], before["offer"]["reason"]) == ("rejected", "not my field")
    assert (after["agent_id"], after["offer"]["status"]) == (str(one.id), "pending")
    assert reasons(after)[str(two.id)] == "declined_or_missed"
    assert (shown["entry"]["state"], shown["now"]) == ("offered", None)


async def test_why_it_still_waits(world: World) -> None:
    queue, other = await world.queue(skills=["visa"]), await world.queue()
    unskilled, elsewhere = await world.agent(queue), await world.agent(other)
    conversation = await world.waits(queue)
    await world.dispatch()
    shown = await routing(world, conversation)
    assert shown["decisions"] == []
    assert shown["now"]["agent_id"] is None
    assert reasons(shown["now"]) == {str(unskilled.id): "lacks_skill", str(elsewhere.id): "not_in_queue"}


async def test_what_ranks_and_what_hurried_it_is_kept(world: World) -> None:
    rings = [{"after_s": 5, "drop_skills": ["visa"], "max_level": 2}]
    queue = await world.queue(skills=["visa", "en"], rings=rings)
    outside = await world.agent(queue, skills=["en"], level=3)
    one = await world.agent(queue, skills=["en"], level=2)
    unskilled = await world.agent(queue, level=1)
    boosts = {"tier:vip": 900.0, "category:urgent": 600.0}
    conversation = await world.waits(queue, ring=1, boosts=boosts, boost_s=1500, escalated=True, specialists=["tech"])
    now = (await routing(world, conversation))["now"]
    await world.dispatch()
    shown = await routing(world, conversation)
    (decision,) = shown["decisions"]
    for found in (decision, now):
        assert (found["agent_id"], found["ring"], found["max_level"], found["skills"]) == (str(one.id), 1, 2, ["en"])
        assert (found["escalated"], found["specialists"]) == (True, ["tech"])
        assert found["boosts"] == boosts
        assert found["candidates"] == [
            {
                "agent_id": str(one.id),
                "graded": False,
                "preferred": False,
                "speaks": True,
                "level": 2,
                "utilisation": 0,
                "idle_since": None,
            }
        ]
        assert reasons(found) == {str(outside.id): "outside_ring", str(unskilled.id): "lacks_skill"}
        assert found["left_out"] == {"outside_ring": 1, "lacks_skill": 1}
    assert shown["entry"]["boosts"] == boosts


async def test_what_else_was_done_is_told_with_its_kind(world: World) -> None:
    queue = await world.queue()
    conversation = await world.waits(queue)
    async with world.database.begin() as session:
        session.add(
            RoutingDecision(
                conversation_id=conversation, queue_id=queue, kind=DecisionKind.RING, explanation={"ring": 1}
            )
        )
    (shown,) = (await routing(world, conversation))["decisions"]
    assert (shown["kind"], shown["ring"], shown["agent_id"], shown["offer"]) == ("ring", 1, None, None)


async def test_why_it_waits_for_one(world: World) -> None:
    queue = await world.queue(sticky_wait_s=60)
    owner = await world.agent(queue, capacity=1)
    await world.waits(queue)
    await world.dispatch()
    other = await world.agent(queue)
    conversation = await world.waits(queue)
    async with world.database.begin() as session:
        await session.execute(
            text("UPDATE conversation SET owner_id = :o WHERE id = :id"), {"o": owner.id, "id": conversation}
        )
    shown = (await routing(world, conversation))["now"]
    assert (shown["agent_id"], shown["awaited_agent_id"]) == (None, str(owner.id))
    assert shown["preferred_agent_id"] == str(owner.id)
    assert reasons(shown) == {str(owner.id): "no_free_capacity", str(other.id): "waiting_for_preferred"}


async def test_a_thousand_who_stand_aside_are_counted(world: World) -> None:
    queue = await world.queue()
    await world.agents(300, queue, availability=Availability.AWAY)
    await world.agent(queue)
    conversation = await world.waits(queue)
    await world.dispatch()
    (decision,) = (await routing(world, conversation))["decisions"]
    assert decision["left_out"] == {"not_online": 300}
    assert len(decision["exclusions"]) == 50


async def test_a_closed_queue_says_so(world: World) -> None:
    queue = await closed_queue(world)
    agent, expert = await world.agent(queue), await world.agent(queue, skills=["tech"])
    conversation = await world.waits(queue, specialists=["tech"])
    found = await routing(world, conversation)
    assert (found["now"]["agent_id"], found["now"]["closed"], found["now"]["eligible"]) == (None, True, 0)
    assert found["now"]["opens_at"] is not None
    assert reasons(found["now"]) == {str(agent.id): "queue_closed", str(expert.id): "queue_closed"}
    urgent = await world.waits(queue, specialists=["tech"], escalated=True)
    found = await routing(world, urgent)
    assert (found["now"]["agent_id"], found["now"]["closed"]) == (str(expert.id), True)
    assert reasons(found["now"]) == {str(agent.id): "queue_closed"}
    found = await routing(world, await world.waits(await world.queue()))
    assert (found["now"]["closed"], found["now"]["opens_at"]) == (False, None)


def test_long_lists_are_cut_and_counted() -> None:
    queue = UUID(int=1)
    team = [AgentView(UUID(int=n), "agent", {queue: 1}, 1, 0) for n in range(100)]
    entry = Waiting(UUID(int=2), queue, 1, excluded=frozenset(UUID(int=n) for n in range(70)))
    decision: Decision = choose(entry, team)
    shown = explain.explanation(entry, decision, {LeftOut.NOT_ONLINE: (900, [UUID(int=500)])})
    assert (shown["eligible"], len(shown["candidates"]), len(shown["exclusions"])) == (30, LOOK, 50)
    assert shown["left_out"] == {"declined_or_missed": 70, "not_online": 900}
