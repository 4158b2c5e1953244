"""The pages in a minimal application on the real database."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app import problems
from app.db import Database
from app.settings import Settings
from app.vault import Vault
from app.web import pages
from tests.conftest import sibling
from tests.support.server import Server
from tests.web import matter as matters
from tests.web.matter import Matter

QUICK = {"ROUNDTRIP_HEARTBEAT_S": "1", "ROUNDTRIP_PRESENCE_GRACE_S": "30"}


@pytest.fixture
def app(database: Database, vault: Vault, settings: Settings) -> FastAPI:
    app = FastAPI()
    problems.install(app)
    pages.mount(app)
    app.state.context = SimpleNamespace(database=database, vault=vault, settings=settings)
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, as far as its Accept header goes."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


@pytest.fixture
async def matter(database: Database, vault: Vault) -> Matter:
    """Resolved, waiting for the customer's word."""
    made = await matters.make(database, vault)
    await made.resolve()
    return made


@pytest.fixture(scope="module")
def live_database(cluster_url: str) -> Iterator[str]:
    name = f"live_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    yield sibling(cluster_url, name)
    asyncio.run(run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture(scope="module")
def server(live_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(live_database, tmp_path_factory.mktemp("live"), environment=QUICK)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
