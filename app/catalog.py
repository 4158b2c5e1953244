"""The operator's set-up as each process keeps it in memory: channels with their secrets open, queues, rules, policies.

A change wakes the topic `catalog` on commit; the next reader loads the new one before it goes on, so nobody decides on
an old set-up after the change was answered (other processes: after the NOTIFY, a fraction of a millisecond).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ValidationError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Adapter
from app.channels.config import STORED
from app.channels.registry import ADAPTERS
from app.db import Database, after_commit
from app.models import (
    AnnouncementPolicy,
    AnnouncementText,
    Calendar,
    CategorySetting,
    Channel,
    ClassificationRule,
    GradedResponse,
    Queue,
    SlaPolicy,
)
from app.sla.calendar import Calendar as Hours
from app.sla.calendar import from_row
from app.sla.hours import CalendarError
from app.vault import BadToken, Vault
from app.wakeups import Wakeups, wake

TOPIC = "catalog"
_MISS_GAP_S = 0.1
_logger = log.get("catalog")


@dataclass(frozen=True, slots=True)
class ChannelAccount:
    """One channel, ready to use: its adapter and its validated configuration."""

    id: UUID
    type: str
    name: str
    queue_id: UUID | None
    adapter: Adapter
    config: BaseModel


@dataclass(frozen=True, slots=True)
class Catalog:
    """An immutable snapshot; `version` grows with each load."""

    version: int
    channels: Mapping[UUID, ChannelAccount]
    queues: Sequence[Queue]
    categories: Mapping[str, CategorySetting]
    rules: Sequence[ClassificationRule]
    policies: Sequence[SlaPolicy]
    graded: Sequence[GradedResponse] = ()
    calendars: Mapping[UUID, Hours] = field(default_factory=dict)
    announcements: Sequence[AnnouncementPolicy] = ()
    announcement_texts: Sequence[AnnouncementText] = ()

    @property
    def default_queue(self) -> Queue:
        return next(queue for queue in self.queues if queue.is_default)

    def queue(self, queue_id: UUID | None) -> Queue | None:
        return next((queue for queue in self.queues if queue.id == queue_id), None)


class CatalogCache:
    """One per process."""

    def __init__(self, database: Database, vault: Vault, wakeups: Wakeups) -> None:
        self._database, self._vault = database, vault
        self._stale = wakeups.subscribe(TOPIC)
        self._stale.set()
        self._lock = asyncio.Lock()
        self._current: Catalog | None = None
        self._loaded_at = 0.0

    async def current(self) -> Catalog:
        """The newest catalog; costs nothing unless it has changed."""
        if self._current is not None and not self._stale.is_set():
            return self._current
        async with self._lock:
            if self._current is None or self._stale.is_set():
                self._stale.clear()
                self._loaded_at = time.monotonic()
                try:
                    self._current = await self._load()
                except BaseException:
                    self._stale.set()
                    raise
            return self._current

    async def channel(self, channel_id: UUID) -> ChannelAccount | None:
        """The channel, if it is active. One that is not in the catalog may have been made through another process a
        moment ago: only a load that began after the question says no."""
        account = (await self.current()).channels.get(channel_id)
        return account or (await self.newest()).channels.get(channel_id)

    async def newest(self) -> Catalog:
        """A catalog whose loading began after this call; askers share it, and loads keep a little apart."""
        asked = time.monotonic()
        while self._loaded_at < asked:
            await asyncio.sleep(self._loaded_at + _MISS_GAP_S - time.monotonic())
            if self._loaded_at < asked:
                self._stale.set()
            await self.current()
        return await self.current()

    async def changed(self, session: AsyncSession) -> None:
        """Call in the transaction that changes the set-up."""
        await wake(session, TOPIC)
        after_commit(session, self._stale.set)

    async def _load(self) -> Catalog:
        async with self._database.begin() as session:
            channels = (await session.exec(select(Channel).where(col(Channel.active)))).all()
            queues = (await session.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id)))).all()
            categories = (await session.exec(select(CategorySetting))).all()
            rules = (
                await session.exec(
                    select(ClassificationRule)
                    .where(col(ClassificationRule.active))
                    .order_by(col(ClassificationRule.position), col(ClassificationRule.code))
                )
            ).all()
            policies = (
                await session.exec(
                    select(SlaPolicy)
                    .where(col(SlaPolicy.retired_at).is_(None))
                    .order_by(col(SlaPolicy.position), col(SlaPolicy.code))
                )
            ).all()
            graded = (
                await session.exec(
                    select(GradedResponse)
                    .where(col(GradedResponse.active))
                    .order_by(col(GradedResponse.position), col(GradedResponse.code))
                )
            ).all()
            calendars = (await session.exec(select(Calendar))).all()
            announcements = (await session.exec(select(AnnouncementPolicy).where(col(AnnouncementPolicy.active)))).all()
            announcement_texts = (await session.exec(select(AnnouncementText))).all()
        accounts = [account for channel in channels if (account := self._account(channel))]
        return Catalog(
            version=self._current.version + 1 if self._current else 1,
            channels={account.id: account for account in accounts},
            queues=queues,
            categories={setting.category: setting for setting in categories},
            rules=rules,
            policies=policies,
            graded=graded,
            calendars={row.id: hours for row in calendars if (hours := _hours(row))},
            announcements=announcements,
            announcement_texts=announcement_texts,
        )

    def _account(self, channel: Channel) -> ChannelAccount | None:
        """A channel that this version cannot read is left out with an error in the log; the others go on."""
        adapter = ADAPTERS.get(channel.type)
        if adapter is None:
            _logger.error("channel of an unknown type", channel_id=channel.id, type=channel.type)
            return None
        try:
            config = adapter.config_model.model_validate(
                {**channel.config, **open_secrets(self._vault, channel.secrets)}, context=STORED
            )
        except (ValidationError, BadToken) as error:
            _logger.error("channel cannot be read", channel_id=channel.id, type=channel.type, error=_why(error))
            return None
        return ChannelAccount(channel.id, channel.type, channel.name, channel.queue_id, adapter, config)


def _why(error: ValidationError | BadToken) -> str:
    """Without the values: a package's configuration may not hide them, and some are secrets."""
    if isinstance(error, BadToken):
        return str(error)
    listed = error.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in listed)


def _hours(row: Calendar) -> Hours | None:
    try:
        return from_row(row)
    except CalendarError as error:
        _logger.error("calendar cannot be read", calendar_id=row.id, error=str(error))
        return None


def seal_secrets(vault: Vault, secrets: Mapping[str, Any]) -> str:
    return vault.seal(orjson.dumps(secrets).decode())


def open_secrets(vault: Vault, sealed: str) -> dict[str, Any]:
    """Nothing sealed is no secrets: a channel that was seeded. Raises BadToken."""
    if not sealed:
        return {}
    opened: dict[str, Any] = orjson.loads(vault.open(sealed))
    return opened
