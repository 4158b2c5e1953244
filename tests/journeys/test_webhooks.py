"""Other systems hear of a whole matter, typed and in order; and of everything when the process that tells them is killed."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from app.desk.endpoints.webhook_payloads import PAYLOADS
from tests.conftest import sibling
from tests.delivery.webhook_house import Receiver
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import Answer, PartnerSystem
from tests.support.server import Server

CONVERSATIONS = 12
ROUNDS = 10


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    server = Receiver()
    await server.start()
    yield server
    await server.stop()


def item(customer: str, text: str) -> dict[str, Any]:
    return {"id": f"p-{secrets.token_hex(6)}", "from": {"id": customer, "name": "Grace"}, "text": text}


async def test_a_matter_from_its_first_message_to_the_confirmation(
    team: Team, partner: PartnerSystem, receiver: Receiver
) -> None:
    config = {"secret": partner.secret, "callback_url": partner.base}
    channel = await team.server.make_channel("partner", config, queue_id=team.queue_id)
    wish = {"url": receiver.base, "events": ["*"], "channel_ids": [channel["id"]]}
    endpoint = await team.server.api("POST", "/webhook-endpoints", wish)
    receiver.secrets = [endpoint["secret"]]
    tested = await team.server.api("POST", f"/webhook-endpoints/{endpoint['id']}/test")
    await receiver.expect(lambda body: bool(body["type"] == "ping"))
    assert receiver.ids == [tested["id"]]

    async with httpx.AsyncClient() as client:
        posted = await partner.post(client, channel["webhook_url"], item("grace", "The drawer is stuck."))
        assert posted.status_code == 200
        conversation = await steps.take(team, "drawer")
        noted = {"kind": "note", "text": "between us", "client_message_id": "n"}
        await team.desk.command("message.send", conversation_id=conversation["id"], **noted)
        sent = await steps.reply(team, conversation["id"], "Lift it a little.")
        await steps.delivered(team, sent)
        await steps.resolve(team, conversation["id"])
        receipt = await partner.expect(lambda body: body["data"].get("receipt") is not None)
        link = steps.link_in(receipt["data"]["message"]["text"])
        rejected = await client.post(link, data={"outcome": "rejected", "comment": "still stuck"})
        assert rejected.status_code in (200, 303)
    await team.desk.expect("conversation.reopened")
    await steps.resolve(team, conversation["id"])
    second = await partner.expect(
        lambda body: body["data"].get("receipt") is not None and steps.link_in(body["data"]["message"]["text"]) != link
    )
    await steps.confirm(team, steps.link_in(second["data"]["message"]["text"]))
    await receiver.expect(lambda body: bool(body["type"] == "conversation.closed"))

    told = receiver.bodies[1:]
    for body in told:
        PAYLOADS[body["type"]].model_validate(body)
        assert body["data"]["conversation_id"] == conversation["id"]
    types = [body["type"] for body in told]
    assert types[:2] == ["conversation.created", "message.created"]
    wanted = [
        "conversation.updated",
        "message.status",
        "conversation.resolved",
        "feedback.received",
        "conversation.reopened",
        "conversation.resolved",
        "conversation.closed",
    ]
    rest = iter(types)
    assert all(kind in rest for kind in wanted), f"{wanted} in this order: {types}"
    assigned = [body["data"] for body in told if body["data"].get("changed") == ["assignee_id"]]
    assert assigned[0]["assignee"]["id"] == team.agent["id"]
    assert "between us" not in str(told)
    assert receiver.repeats == 0
    log = team.server.log.read_text()
    assert endpoint["secret"] not in log
    shown = await team.server.api("GET", f"/webhook-endpoints/{endpoint['id']}")
    assert (shown["state"], shown["dead"]) == ("ok", 0)
    await team.server.api("DELETE", f"/webhook-endpoints/{endpoint['id']}")


@pytest.fixture
async def url(cluster_url: str) -> AsyncIterator[str]:
    """An empty database."""
    name = f"webhooks_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(cluster_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    yield sibling(cluster_url, name)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


class Holding(Receiver):
    """From its `after`th call on it keeps calls waiting until `go`; they have arrived all the same."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.go, self.held = after, asyncio.Event(), asyncio.Event()
        self.answer = self.hold
        self.seen: list[tuple[str, str, int]] = []

    async def hold(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.check(headers, body)
        data = orjson.loads(body)["data"]
        self.seen.append((headers["webhook-id"], data["conversation_id"], data["message"]["seq"]))
        if len(self.seen) > self.after and not self.go.is_set():
            self.held.set()
            await self.go.wait()
        return 200, {}, b""

    def told(self) -> dict[str, list[int]]:
        found, known = defaultdict[str, list[int]](list), set[str]()
        for call_id, conversation, seq in self.seen:
            if call_id not in known:
                known.add(call_id)
                found[conversation].append(seq)
        return found


async def test_a_process_that_tells_is_killed(url: str, tmp_path: Path, partner: PartnerSystem) -> None:
    receiver = Holding(after=40)
    await receiver.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(receiver.stop)
        stack.callback(receiver.go.set)
        killed = await Server(url, tmp_path).start()
        stack.push_async_callback(killed.kill)
        channel = await killed.make_channel("partner", {"secret": partner.secret})
        wish = {"url": receiver.base, "events": ["message.created"]}
        endpoint = await killed.api("POST", "/webhook-endpoints", wish)
        receiver.secrets = [endpoint["secret"]]
        async with httpx.AsyncClient(timeout=30) as client:
            for n in range(ROUNDS):
                posts = [
                    partner.post(client, channel["webhook_url"], item(f"c-{who}", f"message {n}"))
                    for who in range(CONVERSATIONS)
                ]
                assert {answer.status_code for answer in await asyncio.gather(*posts)} == {200}
        await asyncio.wait_for(receiver.held.wait(), 60)
        await killed.kill()
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        assert await connection.fetchval("SELECT count(*) FROM webhook_lane WHERE lease_until > now()") > 0
        await connection.execute("UPDATE webhook_lane SET lease_until = now()")
        receiver.go.set()

        after = await Server(url, tmp_path, admin=killed.admin).start()
        stack.push_async_callback(after.kill)
        async with asyncio.timeout(90):
            while await _delivered(connection) < CONVERSATIONS * ROUNDS:
                await asyncio.sleep(0.2)
        told = receiver.told()
        assert len(told) == CONVERSATIONS
        assert all(seqs == list(range(1, ROUNDS + 1)) for seqs in told.values()), told
        assert len(receiver.seen) > CONVERSATIONS * ROUNDS, "those in flight were told again, with the ids they had"


async def _delivered(connection: asyncpg.Connection) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM webhook_delivery WHERE state = 'delivered'")
    return found
