"""Processes are killed while agents chat: after an outage all come back to what they had; beside a process that lives
on, the grace counts from the end of the lease."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tests.conftest import sibling
from tests.support.server import Server
from tests.support.sockets import Desk, Widget


@pytest.fixture
async def url(cluster_url: str) -> AsyncIterator[str]:
    """An empty database."""
    name = f"outage_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(cluster_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    yield sibling(cluster_url, name)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


@pytest.fixture
async def servers() -> AsyncIterator[AsyncExitStack]:
    """Kills those that were started with `serve`."""
    async with AsyncExitStack() as stack:
        yield stack


async def serve(servers: AsyncExitStack, url: str, home: Path, **more: Any) -> Server:
    server = await Server(url, home, **more).start()
    servers.push_async_callback(server.kill)
    return server


async def chatting(server: Server, seat: Server) -> tuple[dict[str, Any], str]:
    """An agent at a socket of `seat`, who has accepted a chat, and the conversation."""
    queue = await server.api("POST", "/queues", {"name": f"Chats {secrets.token_hex(3)}"})
    agent = await server.make_agent("Ada", queue_ids=[queue["id"]])
    channel = await server.make_channel("webchat", {"allowed_origins": []}, queue_id=queue["id"])
    desk = await Desk(seat.socket_base, agent["token"]).open()
    await desk.online()
    async with Widget(server.socket_base, channel["id"]) as tab:
        sent = await tab.command("message.send", client_message_id="1", text="hello")
    offer = await desk.expect("offer.created")
    await desk.command("offer.accept", offer_id=offer["offer_id"])
    await desk.expect("conversation.assigned")
    return agent, sent["conversation_id"]


async def run(url: str, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def let_leases_end(url: str, seconds: float) -> None:
    await run(url, "UPDATE agent_session SET lease_until = lease_until - make_interval(secs => $1)", seconds)


async def looked_for_the_lost(server: Server) -> None:
    """Until this process has done so once."""
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        while True:
            found = (await client.get(server.base + "/metrics")).text
            runs = [line for line in found.splitlines() if 'loop_runs_total{loop="presence-reaper"}' in line]
            if runs and not runs[0].endswith(" 0.0"):
                return
            await asyncio.sleep(0.05)


async def test_after_an_outage_agents_come_back_to_what_they_had(
    url: str, tmp_path: Path, servers: AsyncExitStack
) -> None:
    before = await serve(servers, url, tmp_path)
    agent, conversation = await chatting(before, before)
    await before.kill()
    await let_leases_end(url, 3_600)
    await run(
        url, "UPDATE instance SET updated_at = updated_at - interval '1 hour' WHERE name = 'awake_since' RETURNING name"
    )
    after = await serve(servers, url, tmp_path, admin=before.admin)
    await looked_for_the_lost(after)
    async with Desk(after.socket_base, agent["token"]) as desk:
        assert [item["id"] for item in desk.welcome["conversations"]] == [conversation]
        assert desk.welcome["conversations"][0]["assignee_id"] == agent["id"]
    assert await run(url, "SELECT count(*) FROM queue_entry") == 0


async def test_who_sat_at_the_one_of_two_that_was_killed_has_the_usual_grace(
    url: str, tmp_path: Path, servers: AsyncExitStack
) -> None:
    killed = await serve(servers, url, tmp_path)
    stays = await serve(servers, url, tmp_path, admin=killed.admin)
    _, conversation = await chatting(stays, killed)
    await killed.kill()
    await let_leases_end(url, 95)
    await run(  # the other one has been there for an hour
        url,
        "UPDATE instance SET value = (value::timestamptz - interval '1 hour')::text WHERE name = 'awake_since' "
        "RETURNING name",
    )
    await run(url, "SELECT pg_notify('roundtrip', 'presence')")
    async with asyncio.timeout(10):
        while await run(url, "SELECT assignee_id FROM conversation WHERE id = $1", UUID(conversation)):
            await asyncio.sleep(0.05)
    assert await run(url, "SELECT state FROM queue_entry WHERE conversation_id = $1", UUID(conversation)) == "waiting"
