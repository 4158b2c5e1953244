"""`GET .../routing`: each decision with its candidates and who was left out, and how it stands now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.conversations import queries
from app.models.words import Availability
from app.routing import explain
from app.routing.choose import AgentView, Decision, LeftOut, Waiting, choose
from tests.routing.world import World


async def routing(world: World, conversation: UUID) -> dict[str, Any]:
    async with world.database.begin() as session:
        return await explain.routing(session, await queries.get(session, conversation))


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


def test_long_lists_are_cut_and_counted() -> None:
    queue = UUID(int=1)
    team = [AgentView(UUID(int=n), "agent", frozenset({queue}), 1, 0) for n in range(100)]
    entry = Waiting(UUID(int=2), queue, 1, excluded=frozenset(UUID(int=n) for n in range(70)))
    decision: Decision = choose(entry, team)
    shown = explain.explanation(entry, decision, {UUID(int=500): LeftOut.NOT_ONLINE})
    assert (shown["eligible"], len(shown["candidates"]), len(shown["exclusions"])) == (30, 20, 50)
    assert shown["left_out"] == {"declined_or_missed": 70, "not_online": 1}
