"""Bring the database to this version: migrations, SQL functions, shipped defaults. Safe from many processes at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app import log
from app.db import Database
from app.models import metadata

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = (
    "events/append.sql",
    "routing/boosts.sql",
    "routing/next_at.sql",
    "routing/enqueue.sql",
    "routing/lanes.sql",
    "intake/ingest.sql",
    "delivery/orphans.sql",
    "sla/fire.sql",
    "routing/counts.sql",
    "complaints/register.sql",
)
_LOCK = 7_266_514_312
_logger = log.get("migrate")


def _config(connection: Connection | None = None) -> Config:
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision this code needs."""
    current = ScriptDirectory.from_config(_config()).get_current_head()
    assert current is not None
    return current


async def upgrade(database: Database) -> None:
    """Run under an advisory lock: the first process does the work, the others wait and find it done."""
    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        try:
            await connection.run_sync(lambda sync: command.upgrade(_config(sync), "head"))
            await connection.commit()
            for name in FUNCTIONS:
                await _install(connection, name)
            await connection.commit()
        finally:
            await connection.rollback()
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            await connection.commit()


async def _install(connection: AsyncConnection, name: str) -> None:
    """Functions are code: replaced when their file changed. A change of signature takes a new name, so that an older
    process in a rolling upgrade keeps its own."""
    source = (ROOT / "app" / name).read_text()
    digest = hashlib.sha256(source.encode()).hexdigest()
    found = await connection.execute(text("SELECT value FROM instance WHERE name = :name"), {"name": f"sql:{name}"})
    if found.scalar() == digest:
        return
    raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None
    await raw.driver_connection.execute(source)  # several statements; in the transaction of the one above
    await connection.execute(
        text(
            "INSERT INTO instance(name, value) VALUES (:name, :value) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()"
        ),
        {"name": f"sql:{name}", "value": digest},
    )
    _logger.info("sql functions installed", file=name)


def differences(connection: Connection) -> list[str]:
    """What autogenerate would still change: empty when models and migrations agree."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return [str(item) for item in compare_metadata(context, metadata)]


def revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
