"""Checks that an operator can run before and while serving."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from pydantic import SecretStr
from sqlalchemy import text

from app import embedded, keys
from app import migrate as migrations
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import Checking, SendError
from app.channels.registry import ADDED, FAULTS
from app.db import MIN_SERVER_VERSION, Database, wait_until_up
from app.server import prepare
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups

_PATIENCE_S = 15.0


@contextmanager
def _with_database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that answers: the given one, or the embedded one started for the while."""
    if settings.database_url is not None:
        yield settings
        return
    server = embedded.start(settings.data_dir)
    try:
        update = {"database_url": server.url, "secret_key": SecretStr(keys.key_file(settings.data_dir))}
        yield settings.model_copy(update=update if settings.secret_key is None else {"database_url": server.url})
    finally:
        server.stop()


def migrate(settings: Settings) -> int:
    """Exit code 0 when the database is at this version."""
    with _with_database(settings) as ready:
        asyncio.run(prepare(ready))
    print(f"the database is at {migrations.head()}")
    return 0


def run(settings: Settings) -> int:
    """Print a line per check; exit code 1 when one fails."""
    with _with_database(settings) as ready:
        findings = asyncio.run(_check(ready))
    for name, fault in findings:
        print(f"{'ok  ' if fault is None else 'FAIL'}  {name}" + (f": {fault}" if fault else ""))
    return 0 if all(fault is None for _, fault in findings) else 1


async def _check(settings: Settings) -> list[tuple[str, str | None]]:
    assert settings.database_url is not None
    findings = _packages()
    try:
        version = await wait_until_up(settings.database_url, timeout_s=3)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}; is DATABASE_URL right?"
        return [*findings, ("database answers", fault)]
    old = f"it is {version // 10_000}, 15 or newer is needed" if version < MIN_SERVER_VERSION else None
    findings.append(("database answers and is new enough", old))
    database = Database(settings)
    try:
        async with database.engine.connect() as connection:
            revision = await connection.run_sync(migrations.revision_of)
            behind = (
                None if revision == migrations.head() else f"at {revision}, need {migrations.head()}: roundtrip migrate"
            )
            findings.append(("migrations are current", behind))
            if behind:
                return findings
            differences = await connection.run_sync(migrations.differences)
            findings.append(("tables are as the models say", "; ".join(differences) or None))
            findings.append(("clocks agree within 5 s", await _skew(connection)))
        try:
            vault = await keys.open_vault(database, settings)
            findings.append(("the secret key is this database's", None))
            findings.extend(await _channels(database, vault))
        except Exception as error:
            findings.append(("the secret key is this database's", str(error)))
    finally:
        await database.close()
    return findings


def _packages() -> list[tuple[str, str | None]]:
    """The channel types that other packages bring, and those that could not be taken."""
    return [
        *((f"channel type {one.adapter.type}, of {one.package}", None) for one in ADDED),
        *((f"channel type {fault.name}, of {fault.package}", fault.why) for fault in FAULTS),
    ]


async def _skew(connection: object) -> str | None:
    from app.clock import now

    moment = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()  # type: ignore[attr-defined]
    skew = abs((moment - now()).total_seconds())
    return f"the database's clock is {skew:.1f} s away from this machine's" if skew > 5 else None


async def _channels(database: Database, vault: Vault) -> list[tuple[str, str | None]]:
    async with database.begin() as session:
        statement = text("SELECT id, name, type FROM channel WHERE active ORDER BY type, name, id")
        active = (await session.execute(statement)).all()
    readable = (await CatalogCache(database, vault, Wakeups(database)).current()).channels
    findings: list[tuple[str, str | None]] = []
    async with httpx.AsyncClient(follow_redirects=False, timeout=_PATIENCE_S) as http:
        for id, name, kind in active:
            account = readable.get(id)
            fault = "its configuration cannot be read; see the log" if account is None else await _try(account, http)
            findings.append((f"channel {name} ({kind}{_tried(account)})", fault))
    return findings


def _tried(account: ChannelAccount | None) -> str:
    """So that nobody takes a channel that was not tried for one that works."""
    return ", nothing to try" if account is not None and not isinstance(account.adapter, Checking) else ""


async def _try(account: ChannelAccount, http: httpx.AsyncClient) -> str | None:
    """What the provider says of the channel's credentials, where they can be tried without sending anything."""
    if not isinstance(account.adapter, Checking):
        return None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await account.adapter.check(account.config, http)
    except SendError as error:
        return f"{error.failure.value}: {error.detail}"
    except Exception as error:
        return f"its credentials could not be tried: {type(error).__name__}"
    return None
