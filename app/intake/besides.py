"""What a call says besides its messages, each in a transaction of its own; applied twice it changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import InboundFile, Parsed, RemoteFile
from app.db import Database
from app.delivery import receipts, refusals
from app.intake import calls, early_changes, echoes
from app.intake.names import Names

Keep = Callable[[InboundFile | RemoteFile], Awaitable[dict[str, Any]]]


async def apply(
    database: Database, account: ChannelAccount, parsed: Parsed, *, names: Names, catalog: CatalogCache, keep: Keep
) -> None:
    """`keep` makes of a file what the message remembers."""
    for person in (*parsed.people, *(echo.recipient for echo in parsed.echoes)):
        await names.learn(account.id, person, make=False)
    for echo in parsed.echoes:
        files = [await keep(file) for file in echo.files]
        async with database.begin() as session:
            await echoes.apply(session, account, echo, files)
    for change in parsed.changes:
        await early_changes.take(database, account.id, change)
    for update in parsed.calls:
        await calls.apply(database, account, update, await catalog.current())
    for status in parsed.statuses:
        await receipts.take(database, account.id, status)
    for refusal in parsed.refusals:
        async with database.begin() as session:
            await refusals.apply(session, account.id, refusal)
