"""The database: engine, transactions, pinned connections. The only file that commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol, cast

import asyncpg
from prometheus_client import Counter
from sqlalchemy import event, func
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.ext.asyncio import AsyncSession as AlchemySession
from sqlmodel.ext.asyncio.session import AsyncSession

from app.errors import Unavailable
from app.settings import Settings

SLOT = "after_commit"
_SETTINGS = "settings"
MIN_SERVER_VERSION = 150_000
_SESSION = {"application_name": "roundtrip", "timezone": "UTC", "jit": "off"}


STATEMENTS = Counter("roundtrip_db_statements_total", "Statements sent to the database")


def _count(*_: object) -> None:
    STATEMENTS.inc()


class Session(AsyncSession):
    """SQLModel's session; `execute` is for hand SQL and rows that are not models, so it is no mistake here."""

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        return await AlchemySession.execute(self, *arguments, **options)


class Database:
    """An SQLAlchemy pool for the calm paths, and connections of their own for the hot ones.

    A process has two: who holds a connection and waits for the intake, which needs one too, must not wait for somebody
    who holds one and waits for the intake.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None, "the launcher sets the URL"
        self.dsn = _plain(settings.database_url)
        self.engine: AsyncEngine = create_async_engine(
            _for_sqlalchemy(self.dsn),
            pool_size=settings.pool_size,
            max_overflow=settings.pool_size,
            hide_parameters=True,
            connect_args={"server_settings": _SESSION},
        )
        event.listen(self.engine.sync_engine, "before_cursor_execute", _count)
        self._sessions = async_sessionmaker(
            self.engine, class_=Session, expire_on_commit=False, info={_SETTINGS: settings}
        )

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Functions registered with `after_commit` run once it is durable, never when it was rolled back.
        """
        async with self._sessions() as session:
            try:
                async with session.begin():
                    yield session
            except PoolTimeout:
                raise Unavailable("too much to do at this moment; try again") from None
            for callback in session.info.get(SLOT, ()):
                callback()

    async def connect(self) -> asyncpg.Connection:
        """A connection outside the pool, for a loop that keeps it: the ingest lane, the tail, LISTEN.

        Each statement on it is a transaction of its own.
        """
        return await asyncpg.connect(self.dsn, server_settings=_SESSION)

    async def close(self) -> None:
        await self.engine.dispose()


@asynccontextmanager
async def part_of(session: AsyncSession) -> AsyncIterator[None]:
    """A part of the transaction that may fail alone: what it did is undone when it raises, the rest stands."""
    async with session.begin_nested():
        yield


def after_commit(session: AsyncSession, callback: Callable[[], None]) -> None:
    """Run `callback` (quick, synchronous) when the session's transaction has been committed."""
    session.info.setdefault(SLOT, []).append(callback)


def database_now() -> Any:
    """What a time of a row is set to where the database's clock decides. It is a time once the row is read again."""
    return func.now()


class Versioned(Protocol):
    version: int
    updated_at: datetime


def new_version(row: Versioned) -> None:
    """What is changed about the row is its next version, as of now by the database's clock."""
    row.version += 1
    row.updated_at = database_now()


def settings_of(session: AsyncSession) -> Settings:
    """What the operator set, for a verb that has only its session."""
    found: Settings = session.info[_SETTINGS]
    return found


async def driver(session: AsyncSession) -> asyncpg.Connection:
    """The asyncpg connection under a session, in the same transaction: for hand-tuned statements on arrays.

    SQLAlchemy sends BEGIN with its own first statement; where ours comes first it would commit by itself.
    """
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    adapted: Any = raw.dbapi_connection
    if adapted._transaction is None:
        await adapted._start_transaction()
    return cast(asyncpg.Connection, raw.driver_connection)


async def wait_until_up(dsn: str, timeout_s: float = 15) -> int:
    """The server's version number once it answers; raises the last error when it does not within `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            connection = await asyncpg.connect(_plain(dsn), timeout=5)
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
            continue
        try:
            return int(await connection.fetchval("show server_version_num"))
        finally:
            await connection.close()


def _plain(url: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{scheme.split('+')[0]}://{rest}"


def _for_sqlalchemy(url: str) -> str:
    return "postgresql+asyncpg://" + url.split("://", 1)[1]
