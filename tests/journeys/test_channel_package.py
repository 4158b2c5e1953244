"""A channel that another package brings: from the first message to the receipt, on a server that knows nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from tests.conftest import sibling
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support import packages
from tests.support.providers import Answer, HttpServer
from tests.support.server import ROOT, Server
from tests.support.sockets import Desk

SIGNING_KEY, API_KEY = "pigeon-signing-key", "pigeon-api-key"


class PigeonServer(HttpServer):
    """Pigeon's API: knows our key, keeps what we send, refuses a message that it has already."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.api
        self.sent: dict[str, dict[str, Any]] = {}

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != f"Bearer {API_KEY}":
            return 401, {}, b'{"error":"who are you"}'
        if path == "/v1/messages":
            payload = self.sent.setdefault(headers["idempotency-key"], orjson.loads(body))
            assert payload == orjson.loads(body)
        return 200, {}, orjson.dumps({"id": f"out-{len(self.sent)}"})


def signed(*events: dict[str, Any]) -> dict[str, Any]:
    body, at = orjson.dumps({"events": list(events)}), str(int(time.time()))
    mac = hmac.new(SIGNING_KEY.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"content": body, "headers": {"pigeon-time": at, "pigeon-signature": mac}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packaged")


@pytest.fixture(scope="module")
def installed(home: Path) -> str:
    """The PYTHONPATH of an installation with one good package and one bad one."""
    beside = home / "beside"
    packages.broken(beside)
    packages.install(packages.EXAMPLE, beside)
    return os.pathsep.join((str(ROOT), str(beside)))


@pytest.fixture(scope="module")
def server(cluster_url: str, home: Path, installed: str) -> Iterator[Server]:
    name = f"packages_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    live = Server(sibling(cluster_url, name), home, environment={"PYTHONPATH": installed})
    asyncio.run(live.start())
    yield live
    assert asyncio.run(live.stop()) == 0
    asyncio.run(run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture
async def team(server: Server) -> AsyncIterator[Team]:
    queue = await server.api("POST", "/queues", {"name": f"Queue {secrets.token_hex(3)}"})
    agent = await server.make_agent("Ada Agent", queue_ids=[queue["id"]])
    async with Desk(server.socket_base, agent["token"]) as desk:
        await desk.online()
        yield Team(server, queue["id"], agent, desk)


@pytest.fixture
async def pigeon() -> AsyncIterator[PigeonServer]:
    provider = PigeonServer()
    await provider.start()
    yield provider
    await provider.stop()


async def test_from_the_first_message_to_the_confirmation(team: Team, pigeon: PigeonServer) -> None:
    config = {"signing_key": SIGNING_KEY, "api_key": API_KEY, "api_base": pigeon.base}
    channel = await team.server.make_channel("pigeon", config, queue_id=team.queue_id)
    assert SIGNING_KEY not in str(channel)
    assert API_KEY not in str(channel)
    assert channel["secrets_set"] == ["api_key", "signing_key"]
    first = {"kind": "message", "id": "m1", "from": {"id": "u1", "name": "Mei"}, "text": "My chair wobbles"}
    async with httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.post(channel["webhook_url"], **signed(first)) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        forged = await client.post(channel["webhook_url"], **{**signed(first), "content": b"{}"})
        assert forged.status_code == 401
        conversation = await steps.take(team, "wobbles")
        assert (conversation["channel_type"], conversation["last_seq"]) == ("pigeon", 1)
        edit = {"kind": "edit", "id": "e1", "message": "m1", "from": {"id": "u1"}, "text": "My table wobbles"}
        assert (await client.post(channel["webhook_url"], **signed(edit))).status_code == 200
        await team.desk.expect("message.updated")
        sent = await steps.reply(team, conversation["id"], "A new screw is on its way.")
        await steps.delivered(team, sent)
        assert [message["text"] for message in pigeon.sent.values()] == ["A new screw is on its way."]
        read = {"kind": "status", "message": "out-1", "status": "opened"}
        assert (await client.post(channel["webhook_url"], **signed(read))).status_code == 200
        await team.desk.expect("message.status", lambda frame: frame["status"] == "read")
    await steps.resolve(team, conversation["id"])
    receipt = await pigeon.expect(lambda body: "/f/" in body.get("text", ""))
    await steps.confirm(team, steps.link_in(receipt["text"]))


async def test_a_wrong_configuration_names_the_field(server: Server) -> None:
    body = {"type": "pigeon", "name": "x", "config": {"signing_key": "a-secret-value", "api_key": ["a-secret-value"]}}
    refused = await server.api("POST", "/channels", body, expect=422)
    assert refused["field"] == "config.api_key"
    assert "a-secret-value" not in str(refused)
    unknown = await server.api("POST", "/channels", {"type": "clash", "name": "x", "config": {}}, expect=422)
    assert "pigeon" in unknown["detail"]


async def test_the_log_and_doctor_name_what_is_installed(server: Server, installed: str) -> None:
    await server.make_channel("pigeon", {"signing_key": "k", "api_key": "k", "api_base": "http://127.0.0.1:9"})
    assert "channel type left out" in server.log.read_text()
    assert "there is a channel type 'telegram' already" in server.log.read_text()
    environment = {
        **os.environ,
        "DATABASE_URL": server.database_url,
        "ROUNDTRIP_SECRET_KEY": "a key for the journeys, long enough",
        "PYTHONPATH": installed,
    }
    command = [sys.executable, "-m", "app.cli", "doctor", "--data-dir", str(server.data_dir)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ok    channel type pigeon, of roundtrip-channel-pigeon 1.0.0" in lines
    assert "FAIL  channel type clash, of broken-channels 0.1: there is a channel type 'telegram' already" in lines
    assert "FAIL  channel pigeon (pigeon): retry: the provider could not be reached (ConnectError)" in lines
