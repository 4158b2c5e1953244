"""Migrations go up from empty, agree with the models, come down again, and are safe from several processes at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import asyncpg
import pytest
from alembic import command
from sqlalchemy import text

from app import migrate
from app.db import Database
from app.settings import Settings
from tests.conftest import sibling


@pytest.fixture
def empty(cluster_url: str) -> Iterator[Settings]:
    name = f"migrations_{secrets.token_hex(4)}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(cluster_url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f'CREATE DATABASE "{name}"'))
    yield Settings(DATABASE_URL=sibling(cluster_url, name))
    asyncio.run(run(f'DROP DATABASE "{name}" WITH (FORCE)'))


async def test_up_from_empty_by_four_at_once_and_models_agree(empty: Settings) -> None:
    databases = [Database(empty) for _ in range(4)]
    await asyncio.gather(*(migrate.upgrade(database) for database in databases))
    async with databases[0].engine.connect() as connection:
        assert await connection.run_sync(migrate.differences) == []
        assert await connection.run_sync(migrate.revision_of) == migrate.head()
    for database in databases:
        await database.close()


async def test_down_to_nothing_and_up_again(empty: Settings) -> None:
    database = Database(empty)
    await migrate.upgrade(database)
    async with database.engine.connect() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrate._config(sync), "base"))
        await connection.commit()
        left = (
            (await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))
            .scalars()
            .all()
        )
        assert left == ["alembic_version"]
    await migrate.upgrade(database)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(migrate.differences) == []
    await database.close()
