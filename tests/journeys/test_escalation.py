"""A late matter on a live server: who is told, who is asked, which system is called, and what the reports say."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import orjson
import pytest

from app.channels.signatures import verify_webhook, webhook_key
from app.clock import now
from tests.conftest import sibling
from tests.support.providers import HttpServer, PartnerSystem
from tests.support.server import Server
from tests.support.sockets import Desk


@pytest.fixture
async def private(cluster_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A server of its own that may call this machine."""
    name = f"escalation_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(cluster_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    live = Server(sibling(cluster_url, name), tmp_path, environment={"ROUNDTRIP_WEBHOOK_PRIVATE": "true"})
    try:
        yield await live.start()
        assert await live.stop() == 0
    finally:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.close()


async def test_a_late_answer(private: Server) -> None:
    server, partner, system = private, PartnerSystem(), await HttpServer().start()
    url = f"{system.base}/late"
    policy = {
        "code": "quick",
        "name": "Quick",
        "position": 0,
        "match": {"channel_type": ["partner"]},
        "first_response_s": 2,
        "warnings": [{"percent": 50, "do": [{"notify": "supervisor"}]}],
        "escalations": [
            {"after_s": 0, "do": [{"priority": 7}, {"requeue": True}, {"webhook": url}]},
            {"after_s": 1, "do": [{"notify": "manager"}, {"webhook": url}]},
        ],
    }
    await server.api("POST", "/sla-policies", policy)
    queue = await server.api("POST", "/queues", {"name": "Shop"})
    channel = await server.make_channel("partner", {"secret": partner.secret}, queue_id=queue["id"])
    path = f"{server.base}/channels/{channel['id']}/webhook"
    boss = await server.make_agent("Mona Manager", role="admin", capacity=0)
    head = await server.make_agent("Sue Supervisor", role="supervisor")
    async with Desk(server.socket_base, boss["token"]) as manager, Desk(server.socket_base, head["token"]) as desk:
        await desk.online()
        async with httpx.AsyncClient() as client:
            item = {"id": "1", "from": {"id": "grace"}, "text": "Where is my table?"}
            assert (await partner.post(client, path, item)).status_code == 200
        warned = await desk.expect("sla.notified")
        assert (warned["notify"], warned["stage"], warned["clock"]["level"]) == ("supervisor", "warned", 0)
        offer = await desk.expect("offer.created")
        assert offer["escalated"]
        escalated = await manager.expect("sla.notified")
        assert (escalated["notify"], escalated["stage"], escalated["clock"]["level"]) == ("manager", "escalated", 2)
        await system.expect(lambda call: call["type"] == "sla.escalated")
        await desk.command("offer.accept", offer_id=offer["offer_id"])
        conversation = offer["conversation_id"]
        await desk.command(
            "message.send", conversation_id=conversation, kind="reply", text="Here.", client_message_id="1"
        )
    key = webhook_key((await server.api("GET", "/webhook-secret"))["secret"])
    for _, headers, body in system.requests:
        verify_webhook([key], headers, body, at=now())
    calls = {headers["webhook-id"]: orjson.loads(body) for _, headers, body in system.requests}
    assert sorted((call["type"], call["data"]["clock"]["level"]) for call in calls.values()) == [
        ("sla.breached", 1),
        ("sla.escalated", 2),
    ]
    assert {call["data"]["conversation"]["id"] for call in calls.values()} == {conversation}
    found = await server.api("GET", f"/conversations/{conversation}")
    assert (found["priority"], found["assignee_id"]) == (7, head["id"])
    done = await server.api("GET", f"/sla-actions?conversation_id={conversation}")
    async with asyncio.timeout(10):
        while {item["state"] for item in done["items"]} != {"done"}:
            await asyncio.sleep(0.05)
            done = await server.api("GET", f"/sla-actions?conversation_id={conversation}")
    assert len(done["items"]) == 6
    report = await server.api("GET", "/reports/sla?by=metric&policy=quick")
    [row] = report["items"]
    assert (row["metric"], row["met"], row["breached"], row["late"], row["attainment"]) == (
        "first_response",
        0,
        1,
        1,
        0,
    )
    assert row["average_s"] > 3
    await system.stop()
