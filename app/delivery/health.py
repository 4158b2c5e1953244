"""The loop that tries refused credentials again, without sending anything, until the provider takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import httpx
from sqlalchemy import text

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import Checking, SendError
from app.db import Database
from app.delivery import accounts
from app.delivery.accounts import OUTBOX, Verdict
from app.models.words import AccountState
from app.settings import Settings
from app.wakeups import wake

_PATIENCE_S = 15.0
_BATCH = 20
_logger = log.get("delivery")

# Taken by one process at a time: the next try is put off before this one begins.
_DUE = text("""
    UPDATE channel_state s SET until = now() + make_interval(secs => :lease_s) FROM (
        SELECT channel_id FROM channel_state
        WHERE state = 'reauth' AND NOT half_open AND until <= now()
        ORDER BY until LIMIT :limit FOR UPDATE SKIP LOCKED) due
    WHERE s.channel_id = due.channel_id RETURNING s.channel_id
""")
_NEXT = text(
    "SELECT CAST(extract(epoch FROM min(until) - now()) AS float8) FROM channel_state "
    "WHERE state = 'reauth' AND NOT half_open"
)
# Where nothing can be tried without sending, one message finds out.
_HALF_OPEN = text(
    "UPDATE channel_state SET half_open = true, until = now() WHERE channel_id = :channel AND state = 'reauth'"
)


class Health:
    """One per process, stepped by a background loop on the topic `accounts`."""

    def __init__(self, database: Database, catalog: CatalogCache, settings: Settings, http: httpx.AsyncClient) -> None:
        self._database, self._catalog, self._http = database, catalog, http
        self._lease_s = settings.reauth_probe_s + _PATIENCE_S

    async def step(self) -> float | None:
        """Try what is due; seconds until the next one is."""
        async with self._database.begin() as session:
            given = {"lease_s": self._lease_s, "limit": _BATCH}
            due: Sequence[UUID] = (await session.execute(_DUE, given)).scalars().all()
        if due:
            catalog = await self._catalog.current()
            await asyncio.gather(*(self._look(channel_id, catalog.channels.get(channel_id)) for channel_id in due))
        async with self._database.begin() as session:
            delay: float | None = (await session.execute(_NEXT)).scalar()
        return None if delay is None else max(delay, 0.02)

    async def _look(self, channel_id: UUID, account: ChannelAccount | None) -> None:
        if account is None:  # switched off: nothing is sent on it either
            return
        if not isinstance(account.adapter, Checking):
            async with self._database.begin() as session:
                await session.execute(_HALF_OPEN, {"channel": channel_id})
                await wake(session, OUTBOX)
            return
        fault = await self._fault(account, account.adapter)
        async with self._database.begin() as session:
            if fault is None:
                await accounts.cleared(session, channel_id)
            else:
                refused = Verdict(channel_id, account.type, AccountState.REAUTH, fault)
                await accounts.note(session, [refused])
        _logger.info("credentials tried again", channel_id=channel_id, channel_type=account.type, fault=fault)

    async def _fault(self, account: ChannelAccount, adapter: Checking) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await adapter.check(account.config, self._http)
        except SendError as error:
            return error.detail
        except Exception as error:
            return f"the credentials could not be tried ({type(error).__name__})"
        return None
