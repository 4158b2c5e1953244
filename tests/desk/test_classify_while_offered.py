"""A correction of what somebody has while another is being asked: both pay what it costs now, and are locked in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import col, select

from app.clock import now
from app.models import Agent, Offer, QueueEntry
from app.models.words import Role
from tests.desk.house import House

_HOLD = text("SELECT id FROM agent WHERE id = :id FOR NO KEY UPDATE")
_WAITS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def test_agents_are_locked_in_order(house: House) -> None:
    queue = await house.default_queue()
    boss = await house.agent(role=Role.SUPERVISOR)
    agent = await house.agent(queue)
    assert boss.id < agent.id
    conversation = await house.conversation(queue, assignee=agent)
    offer = Offer(
        conversation_id=conversation,
        agent_id=boss.id,
        queue_id=queue,
        weight=1,
        escalated=True,
        expires_at=now() + timedelta(minutes=1),
        status="pending",
    )
    entry = QueueEntry(conversation_id=conversation, queue_id=queue, weight=1, escalated=True, state="offered")
    await house.add(entry, offer)
    async with house.database.begin() as session:
        (await session.get_one(Agent, boss.id)).load += 1

    async with house.database.begin() as other:
        await other.execute(_HOLD, {"id": boss.id})
        body = {"category": "complex", "reason": "several teams"}
        correcting = asyncio.create_task(agent.post(f"/conversations/{conversation}/classify", body, expect=200))
        async with house.database.begin() as looking:
            while not (await looking.execute(_WAITS)).scalar():
                await asyncio.sleep(0.01)
                await looking.execute(text("SELECT pg_stat_clear_snapshot()"))
        await other.execute(_HOLD, {"id": agent.id})
    await correcting
    async with house.database.begin() as session:
        assert (await session.exec(select(Offer.weight).where(col(Offer.id) == offer.id))).one() == 3
        assert [(await session.get_one(Agent, one.id)).load for one in (boss, agent)] == [3, 3]
