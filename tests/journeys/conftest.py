"""One live server for all journeys, on a database of its own; each journey makes its own queue, agents and channel."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.conftest import sibling
from tests.support.providers import MailSink, PartnerSystem
from tests.support.server import Server, free_port
from tests.support.sockets import Desk


@pytest.fixture(scope="session")
def empty_database(cluster_url: str) -> Iterator[str]:
    """A database without a single table: the server migrates it."""
    name = f"journeys_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    yield sibling(cluster_url, name)
    asyncio.run(run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def server(empty_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home: Path = tmp_path_factory.mktemp("server")
    live = Server(empty_database, home, smtp_port=free_port(), environment={"ROUNDTRIP_OFFER_AGAIN_S": "2"})
    asyncio.run(live.start())
    yield live
    assert asyncio.run(live.stop()) == 0, "SIGTERM must drain and exit 0"


@dataclass
class Team:
    """A queue of its own with one agent at the desk."""

    server: Server
    queue_id: str
    agent: dict[str, Any]
    desk: Desk


@pytest.fixture
async def team(server: Server) -> AsyncIterator[Team]:
    queue = await server.api("POST", "/queues", {"name": f"Queue {secrets.token_hex(3)}"})
    agent = await server.make_agent("Ada Agent", queue_ids=[queue["id"]])
    async with Desk(server.socket_base, agent["token"]) as desk:
        await desk.online()
        yield Team(server, queue["id"], agent, desk)
        await desk.command("availability.set", availability="offline")


@pytest.fixture
async def sink() -> AsyncIterator[MailSink]:
    """Where our mails go."""
    async with MailSink() as sink:
        yield sink


@pytest.fixture
async def partner() -> AsyncIterator[PartnerSystem]:
    """A partner's system that we call back."""
    async with PartnerSystem() as partner:
        yield partner


@pytest.fixture
async def chief(team: Team) -> AsyncIterator[Desk]:
    """A supervisor of the queue, who listens."""
    made = await team.server.make_agent("Sue Pervisor", role="supervisor", queue_ids=[team.queue_id])
    async with Desk(team.server.socket_base, made["token"]) as desk:
        yield desk
