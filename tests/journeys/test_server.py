"""The server as an operator meets it: probes, draining, workers, bad settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.journeys.test_promises import workers_of
from tests.support.server import ROOT, Server
from tests.support.sockets import Desk


async def test_probes_and_metrics(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.base) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        ready = (await client.get("/readyz")).json()
        assert ready["status"] == "ready"
        assert set(ready["checks"]) == {"database", "migrations", "loops", "draining"}
        metrics = (await client.get("/metrics")).text
        for name in (
            "ingest_messages",
            "webhook_calls",
            "deliveries",
            "offers",
            "sockets",
            "sla_lag",
            "loop_runs",
            "http_requests",
        ):
            assert f"roundtrip_{name}" in metrics, name
        given = await client.get("/healthz", headers={"x-request-id": "from-the-proxy"})
        assert given.headers["x-request-id"] == "from-the-proxy"
        for path in ("/f/x/", "/c/x/", "/healthz/", "/api/v1/complaints/", f"/channels/{uuid4()}/webhook/"):
            lost = await client.get(path, headers={"host": "evil.example"})
            assert (lost.status_code, lost.headers.get("location")) == (404, None), path


async def test_sigterm_tells_the_sockets_and_ends_with_0(empty_database: str, server: Server, tmp_path: Path) -> None:
    other = await Server(empty_database, tmp_path, admin=server.admin).start()
    agent = await other.make_agent("Drained")
    desk = await Desk(other.socket_base, agent["token"]).open()
    stopping = asyncio.create_task(other.stop())
    await desk.expect("draining")
    assert await desk.wait_closed() == 1012
    assert await stopping == 0
    async with Desk(server.socket_base, agent["token"], cursor=desk.cursor) as back:
        assert back.welcome["agent"]["id"] == agent["id"]


async def test_a_worker_that_dies_is_replaced(empty_database: str, server: Server, tmp_path: Path) -> None:
    pair = await Server(empty_database, tmp_path, admin=server.admin, workers=2).start()
    before = workers_of(pair)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    async with asyncio.timeout(30):
        while len(set(workers_of(pair)) - set(before)) < 1:
            await asyncio.sleep(0.05)
    await pair.ready()
    assert await pair.stop() == 0


async def test_the_correlation_id_goes_from_the_call_into_the_log(server: Server) -> None:
    partner = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    channel = await server.make_channel("partner", partner)
    from tests.support.providers import PartnerSystem

    system = PartnerSystem()
    system.secret = partner["secret"]
    import base64

    system.key = base64.b64decode(partner["secret"].removeprefix("whsec_"))
    body = b'{"id":"log-1","from":{"id":"log"},"text":"hello"}'
    async with httpx.AsyncClient() as client:
        headers = {**system.headers("log-1", body), "x-request-id": "trace-me"}
        assert (await client.post(channel["webhook_url"], content=body, headers=headers)).status_code == 200
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith('{"')]
    assert any(line.get("correlation_id") == "trace-me" and line["event"] == "call stored" for line in lines)
    assert partner["secret"] not in server.log.read_text()


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"ROUNDTRIP_PORT": "x"}, "ROUNDTRIP_PORT"), ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL")],
)
def test_wrong_settings_stop_the_start_with_a_clear_line(environment: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
