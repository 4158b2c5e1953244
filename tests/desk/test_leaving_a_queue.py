"""Who serves a queue no more is not asked any more: what they are being asked already is withdrawn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from app.clock import now
from app.models import Agent, Offer, QueueEntry
from app.models.words import Role
from tests.desk.house import Caller, House


async def offer(house: House, agent: Caller, queue: UUID, **entry: Any) -> UUID:
    """A conversation of the queue that the agent is being asked to take."""
    conversation = await house.conversation(queue)
    async with house.database.begin() as session:
        waiting = await session.get_one(QueueEntry, conversation)
        for name, value in {"state": "offered", **entry}.items():
            setattr(waiting, name, value)
        (await session.get_one(Agent, agent.id)).load += 1
        session.add(
            Offer(
                conversation_id=conversation,
                agent_id=agent.id,
                queue_id=queue,
                weight=1,
                escalated=waiting.escalated,
                status="pending",
                expires_at=now() + timedelta(minutes=1),
            )
        )
    return conversation


async def outcome(house: House, conversation: UUID) -> tuple[str, str | None, str]:
    """Of its offer, why; and of its entry."""
    async with house.database.begin() as session:
        [made] = (await session.exec(select(Offer).where(col(Offer.conversation_id) == conversation))).all()
        entry = await session.get_one(QueueEntry, conversation)
    return made.status, made.reason, entry.state


GONE = ("rescinded", "not_in_queue", "waiting")
STAYS = ("pending", None, "offered")


@pytest.mark.parametrize("how", ["member", "agent", "team member", "team of queue", "team", "teams of agent"])
async def test_offers_of_a_queue_that_one_leaves(house: House, admin: Caller, how: str) -> None:
    queue, other = await house.queue(), await house.queue("Other")
    agent, colleague = await house.agent(other), await house.agent(queue)
    team = (await admin.post("/teams", {"name": "T"}))["id"]
    if how in ("member", "agent"):
        await admin.call("PUT", f"/queues/{queue}/members/{agent.id}", expect=204)
    else:
        await admin.call("PUT", f"/teams/{team}/members/{agent.id}", expect=204)
        await admin.call("PUT", f"/queues/{queue}/teams/{team}", expect=204)
    left, kept, meant = (
        await offer(house, agent, queue),
        await offer(house, agent, other),
        await offer(house, agent, queue, target_agent_id=agent.id),
    )
    theirs = await offer(house, colleague, queue)
    match how:
        case "member":
            await admin.call("DELETE", f"/queues/{queue}/members/{agent.id}", expect=204)
        case "agent":
            changed = await admin.patch(f"/agents/{agent.id}", 1, {"queue_ids": [str(other)]})
            assert changed["load"] == 2
        case "team member":
            await admin.call("DELETE", f"/teams/{team}/members/{agent.id}", expect=204)
        case "team of queue":
            await admin.call("DELETE", f"/queues/{queue}/teams/{team}", expect=204)
        case "team":
            await admin.call("DELETE", f"/teams/{team}", expect=204)
        case _:
            await admin.patch(f"/agents/{agent.id}", 1, {"team_ids": []})
    assert await outcome(house, left) == GONE
    for conversation in (kept, meant, theirs):
        assert await outcome(house, conversation) == STAYS
    async with house.database.begin() as session:
        assert (await session.get_one(Agent, agent.id)).load == 2


async def test_who_serves_it_in_another_way_is_asked_still(house: House, admin: Caller) -> None:
    queue = await house.queue()
    agent = await house.agent(queue)
    team = (await admin.post("/teams", {"name": "T"}))["id"]
    await admin.call("PUT", f"/teams/{team}/members/{agent.id}", expect=204)
    await admin.call("PUT", f"/queues/{queue}/teams/{team}", expect=204)
    conversation = await offer(house, agent, queue)
    await admin.call("DELETE", f"/queues/{queue}/members/{agent.id}", expect=204)
    assert await outcome(house, conversation) == STAYS


async def test_a_supervisor_needs_no_queue_for_what_is_escalated(house: House, admin: Caller) -> None:
    queue = await house.queue()
    boss = await house.agent(queue, role=Role.SUPERVISOR)
    escalated, ordinary = await offer(house, boss, queue, escalated=True), await offer(house, boss, queue)
    await admin.call("DELETE", f"/queues/{queue}/members/{boss.id}", expect=204)
    assert (await outcome(house, escalated), await outcome(house, ordinary)) == (STAYS, GONE)
    await admin.patch(f"/agents/{boss.id}", 1, {"role": "agent"})
    assert await outcome(house, escalated) == GONE


@pytest.mark.parametrize("given", [{"tier": "VIP"}, {"attributes": {"risk": "high"}}])
async def test_another_tier_or_risk_counts_at_once_for_what_waits(
    house: House, supervisor: Caller, given: dict[str, Any]
) -> None:
    queue = await house.queue()
    first, second = await house.conversation(queue), await house.conversation(queue)
    [before, after] = await supervisor.all(f"/queues/{queue}/entries")
    contact = after["conversation"]["contact_id"]
    await supervisor.patch(f"/contacts/{contact}", 1, given)
    [ahead, behind] = await supervisor.all(f"/queues/{queue}/entries")
    assert ahead["conversation"]["id"] == after["conversation"]["id"] == str(second)
    assert behind["conversation"]["id"] == before["conversation"]["id"] == str(first)
    assert sum(ahead["boosts"].values()) in (600, 900)
    assert ahead["enqueued_at"] == after["enqueued_at"] != ahead["order_at"]
    await supervisor.patch(f"/contacts/{contact}", 2, {"tier": "standard", "attributes": {}})
    assert [item["boosts"] for item in await supervisor.all(f"/queues/{queue}/entries")] == [{}, {}]


async def test_who_gave_it_away_is_passed_over_for_as_long_as_is_set(house: House) -> None:
    house.context.settings.offer_again_s = 600
    here, there = await house.queue(), await house.queue("There")
    agent = await house.agent(here, there)
    conversation = await house.conversation(here, assignee=agent)
    await agent.post(f"/conversations/{conversation}/transfer", {"queue_id": str(there)}, expect=200)
    async with house.database.begin() as session:
        entry = await session.get_one(QueueEntry, conversation)
    assert entry.excluded == [str(agent.id)]
    assert entry.round_at is not None
    assert entry.round_at - now() > timedelta(seconds=500)
