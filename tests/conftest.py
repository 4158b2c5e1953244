"""The real parts that tests stand on: a real Postgres, a migrated database, live server processes."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from _pytest.unraisableexception import collect_unraisable
from sqlalchemy import text

from app import embedded, migrate, seed
from app.db import Database
from app.models import metadata
from app.settings import Settings
from app.vault import Vault

FIXTURES = Path(__file__).resolve().parent.parent.parent / "shared" / "fixtures"


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A Postgres of our own (or the one in DATABASE_URL)."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="roundtrip-test-", dir="/tmp"))
    home.chmod(0o755)
    server = embedded.start(home)
    try:
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def sibling(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + "/" + name


@pytest.fixture(scope="session")
def database_url(cluster_url: str) -> Iterator[str]:
    """A migrated database that this test run alone uses."""
    name = f"test_{secrets.token_hex(6)}"
    url = sibling(cluster_url, name)

    async def make() -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()
        database = Database(Settings(DATABASE_URL=url))
        await migrate.upgrade(database)
        await database.close()

    async def drop() -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.close()

    asyncio.run(make())
    yield url
    asyncio.run(drop())


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(DATABASE_URL=database_url, data_dir=tmp_path, log_level="warning")


async def truncate(database: Database) -> None:
    tables = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables if table.name != "instance")
    async with database.begin() as session:
        await session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        await session.execute(text("DELETE FROM instance WHERE name NOT LIKE 'sql:%'"))


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Empty but for the shipped defaults."""
    database = Database(settings)
    await truncate(database)
    async with database.begin() as session:
        await seed.ensure_defaults(session)
    yield database
    await database.close()


@pytest.fixture
def vault() -> Vault:
    return Vault(b"a key for the tests, 32 bytes...")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The real payloads beside the checkout."""
    if not FIXTURES.is_dir():
        pytest.skip("the real payloads (../shared/fixtures) are not beside this checkout")
    return FIXTURES


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is loaded by now stays: the search for leftovers need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """A socket that a file's tests left open is that file's failure, not the failure of whichever runs when it is found."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
        collect_unraisable(item.config)
