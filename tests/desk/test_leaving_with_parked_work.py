"""Who leaves for good keeps nothing, though what is parked does not show in their load."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from app.conversations import pausing, queries
from app.events.log import SYSTEM
from app.models import Agent
from app.routing import manual
from tests.desk.house import Caller, House

_WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def test_what_is_parked_goes_back(house: House, admin: Caller) -> None:
    queue = await house.queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    await agent.post(f"/conversations/{conversation}/hold", {}, expect=200)
    assert (await admin.get(f"/agents/{agent.id}"))["load"] == 0
    await admin.patch(f"/agents/{agent.id}", 1, {"active": False})
    shown = await admin.get(f"/conversations/{conversation}")
    assert (shown["assignee_id"], shown["status"]) == (None, "on_hold")


async def test_what_is_parked_and_given_at_this_very_moment(house: House, admin: Caller) -> None:
    """It comes after the look at what they hold, and before their row is locked."""
    queue = await house.queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue)
    async with house.database.begin() as session:
        held = await queries.lock(session, conversation)
        await pausing.hold(session, held, waiting_on_customer=False, actor=SYSTEM)
        await session.execute(text("SELECT 1 FROM agent WHERE id = :a FOR UPDATE"), {"a": agent.id})
        leaving = asyncio.create_task(
            admin.call("PATCH", f"/agents/{agent.id}", json={"active": False}, headers={"If-Match": '"1"'})
        )
        watching = await house.database.connect()
        async with asyncio.timeout(10):
            while not await watching.fetchval(_WAITS):
                await asyncio.sleep(0.01)
        await watching.close()
        given = await session.get_one(Agent, agent.id)
        await manual.assign(session, held, agent_id=given.id, actor=SYSTEM, force=True)
    answer = await leaving
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    await admin.patch(f"/agents/{agent.id}", 1, {"active": False})
    assert (await admin.get(f"/conversations/{conversation}"))["assignee_id"] is None
