"""Alembic's entry: always online, on the connection that `app.migrate` hands over, or on DATABASE_URL."""

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app import settings
from app.models import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_by_itself() -> None:
    url = settings.load().database_url
    if url is None:
        raise SystemExit("set DATABASE_URL to make a migration; `roundtrip migrate` runs them")
    engine = create_async_engine("postgresql+asyncpg://" + url.split("://", 1)[1])
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(run_by_itself())
else:
    run(given)
