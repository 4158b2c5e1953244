"""An intake of its own on the test database, with one partner channel."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from app import catalog as catalogs
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import InboundMessage, Parsed, Sender
from app.db import Database
from app.intake.ingest import Intake, Stored
from app.intake.store import FileStore
from app.models import Channel
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups
from tests.conftest import sibling
from tests.intake.sites import Site, open_site
from tests.support.server import Server

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Door:
    """The way in, as an edge sees it."""

    intake: Intake
    account: ChannelAccount

    async def come_in(
        self, *messages: InboundMessage, errors: Sequence[str] = (), ignored: Sequence[str] = ()
    ) -> list[Stored]:
        parsed = Parsed(messages=messages, errors=errors, ignored=ignored)
        return await self.intake.store(self.account, transport="test", headers={}, body=b"raw", parsed=parsed)


def message(key: str, sender: str = "grace", text: str = "hello", *, automatic: bool = False) -> InboundMessage:
    return InboundMessage(
        external_id=key, sender=Sender("partner", sender, name=sender), text=text, automatic=automatic
    )


async def open_door(database: Database, vault: Vault, settings: Settings) -> Door:
    catalog = CatalogCache(database, vault, Wakeups(database))
    intake = Intake(database, catalog, vault, settings, FileStore(settings.attachments_dir, limit=1_000_000))
    intake.start()
    channels = (await catalog.current()).channels.values()
    account = next(channel for channel in channels if channel.type != "walk_in")
    return Door(intake, account)


@pytest.fixture
async def channel(database: Database, vault: Vault) -> Channel:
    sealed = catalogs.seal_secrets(vault, {"secret": SECRET})
    async with database.begin() as session:
        made = Channel(type="partner", name="shop", config={}, secrets=sealed)
        session.add(made)
    return made


@pytest.fixture
async def door(database: Database, vault: Vault, settings: Settings, channel: Channel) -> AsyncIterator[Door]:
    door = await open_door(database, vault, settings)
    yield door
    await door.intake.stop()


@pytest.fixture(scope="session")
def own_database(cluster_url: str) -> Iterator[str]:
    """A database that live servers of this folder migrate and share."""
    name = f"widgets_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    yield sibling(cluster_url, name)
    asyncio.run(run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def server(own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes on one port: what one tab does, another tab may be told by the other process."""
    live = Server(own_database, tmp_path_factory.mktemp("server"), workers=2)
    asyncio.run(live.start())
    yield live
    assert asyncio.run(live.stop()) == 0, "SIGTERM must drain and exit 0"


@pytest.fixture
async def site(server: Server) -> Site:
    """A shop of its own: its channel knows its users by a secret."""
    return await open_site(server)
