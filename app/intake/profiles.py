"""Whose ids these are: asked of the provider once per identity, after the message is stored, a few at a time per account."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import Profile, Profiling, Sender, SendError, SendFailure
from app.conversations import queries
from app.db import Database, new_version
from app.delivery.backoff import Schedule, wait_s
from app.events import log as events
from app.events import shapes
from app.models import Contact, Conversation
from app.models.words import ConversationStatus
from app.settings import Settings

TOPIC = "profiles"
AVATAR = "avatar_url"
SCHEDULE = Schedule(steps_s=(60, 600, 3600, 6 * 3600), total_s=48 * 3600)
LOOKUPS = Counter("roundtrip_profile_lookups_total", "Providers asked who somebody is, by outcome", ["outcome"])

_BACKLOG = 10_000
_AT_ONCE = 500
_TIMEOUT_S = 15.0
_LEASE_S = 4 * _TIMEOUT_S
_FINAL = (SendFailure.RECIPIENT, SendFailure.PERMANENT, SendFailure.WINDOW)
_logger = log.get("intake")

_WANT = text(
    "INSERT INTO profile_lookup(identity_id, channel_id, attempts, due_at) "
    "SELECT i.id, i.channel_id, 0, now() FROM contact_identity i "
    "JOIN unnest(CAST(:channels AS uuid[]), CAST(:kinds AS text[]), CAST(:values AS text[])) AS w(channel, kind, value) "
    "ON i.channel_id = w.channel AND i.kind = w.kind AND i.value = w.value "
    "ON CONFLICT DO NOTHING"
)
# A claim moves the row out of the way for as long as an attempt can take: a process that dies leaves it to the next one.
_CLAIM = text(
    "WITH due AS MATERIALIZED (SELECT one.identity_id FROM "
    "(SELECT DISTINCT channel_id FROM profile_lookup WHERE due_at <= now()) AS account "
    "CROSS JOIN LATERAL (SELECT p.identity_id FROM profile_lookup p "
    "WHERE p.channel_id = account.channel_id AND p.due_at <= now() "
    "ORDER BY p.due_at LIMIT :each FOR UPDATE SKIP LOCKED) AS one) "
    "UPDATE profile_lookup p SET attempts = p.attempts + 1, due_at = now() + make_interval(secs => :lease_s) "
    "FROM due, contact_identity i WHERE p.identity_id = due.identity_id AND i.id = p.identity_id "
    "RETURNING p.identity_id, p.channel_id, p.attempts, i.contact_id, i.kind, i.value, i.address, "
    "CAST(extract(epoch FROM now() - p.created_at) AS float8) AS age_s"
).columns(address=JSONB)
_NEXT = text(
    "SELECT CAST(extract(epoch FROM min(due_at) - now()) AS float8) FROM profile_lookup WHERE due_at IS NOT NULL"
)
_SETTLE = text(
    "UPDATE profile_lookup SET error = :error, "
    "due_at = CASE WHEN CAST(:seconds AS float8) IS NULL THEN NULL ELSE now() + make_interval(secs => :seconds) END "
    "WHERE identity_id = :identity AND attempts = :attempt RETURNING identity_id"
)
# What one person was refused for the account's sake, the others would be refused as well.
# In one order, so that two who are refused at the same moment wait for each other, never in a ring.
_HOLD = text(
    "SELECT identity_id FROM profile_lookup WHERE channel_id = :channel AND due_at IS NOT NULL "
    "ORDER BY identity_id FOR NO KEY UPDATE"
)
_PAUSE = text(
    "UPDATE profile_lookup SET due_at = greatest(due_at, now() + make_interval(secs => :seconds)) "
    "WHERE channel_id = :channel AND due_at IS NOT NULL"
)


class Wanted:
    """Senders whom the provider names by an id only, noted by the intake. What a crash loses is noted again when the person
    comes with another matter."""

    def __init__(self) -> None:
        self._noted: deque[tuple[UUID, str, str]] = deque(maxlen=_BACKLOG)
        self.poke: Callable[[], None] = lambda: None

    def note(self, account: ChannelAccount, sender: Sender) -> None:
        if _profiles(type(account.adapter)) and (sender.name is None or sender.language is None):
            self._noted.append((account.id, sender.kind, sender.value))
            self.poke()

    def take(self) -> list[tuple[UUID, str, str]]:
        taken: list[tuple[UUID, str, str]] = []
        with suppress(IndexError):
            while len(taken) < _AT_ONCE:
                taken.append(self._noted.popleft())
        return taken

    def give_back(self, taken: Iterable[tuple[UUID, str, str]]) -> None:
        self._noted.extendleft(reversed(list(taken)))


@cache
def _profiles(adapter: type[object]) -> bool:
    """Looking a protocol up is too slow for every message."""
    return issubclass(adapter, Profiling)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whom to ask for; `age_s` counts from when that was first wanted."""

    identity_id: UUID
    channel_id: UUID
    contact_id: UUID
    sender: Sender
    attempt: int
    age_s: float


class Profiles:
    """One per process, stepped by a background loop."""

    def __init__(
        self,
        database: Database,
        catalog: CatalogCache,
        settings: Settings,
        http: httpx.AsyncClient,
        wanted: Wanted,
        *,
        schedule: Schedule = SCHEDULE,
    ) -> None:
        self._database, self._catalog, self._http, self._wanted = database, catalog, http, wanted
        self._each, self._schedule = settings.profile_lookups, schedule
        self._rng = Random()

    async def step(self) -> float | None:
        """Write down who is wanted, and ask for those who are due; seconds until the next one is."""
        noted = self._wanted.take()
        if self._each == 0:
            return None
        try:
            async with self._database.begin() as session:
                if noted:
                    await _want(session, noted)
                claimed = await _claim(session, each=self._each)
        except BaseException:
            self._wanted.give_back(noted)
            raise
        await asyncio.gather(*(self._ask(item) for item in claimed))
        if claimed or len(noted) == _AT_ONCE:
            return 0
        async with self._database.begin() as session:
            delay: float | None = (await session.execute(_NEXT)).scalar()
        return delay if delay is None else max(delay, 0.05)

    async def _ask(self, item: Claimed) -> None:
        account = (await self._catalog.current()).channels.get(item.channel_id)
        failure: SendError | None = None
        profile = Profile()
        try:
            profile = await self._profile(account, item)
        except SendError as error:
            failure = error
        seconds, final = None, failure is None or failure.failure in _FINAL
        if failure is not None and not final:
            seconds = wait_s(
                self._schedule, item.attempt, elapsed_s=item.age_s, retry_after_s=failure.retry_after_s, rng=self._rng
            )
        async with self._database.begin() as session:
            await settle(session, item, profile, error=failure.detail if failure else None, retry_in_s=seconds)
        if failure is not None and failure.retry_after_s is not None and not final:
            async with self._database.begin() as session:
                await session.execute(_HOLD, {"channel": item.channel_id})
                await session.execute(_PAUSE, {"channel": item.channel_id, "seconds": failure.retry_after_s})
        outcome = failure.failure.value if failure else "told"
        LOOKUPS.labels(outcome).inc()
        _logger.info(
            "profile asked",
            channel_id=item.channel_id,
            contact_id=item.contact_id,
            attempt=item.attempt,
            outcome=outcome,
            detail=failure.detail if failure else None,
        )

    async def _profile(self, account: ChannelAccount | None, item: Claimed) -> Profile:
        """Raises SendError, whatever goes wrong."""
        if account is None:
            raise SendError(SendFailure.RETRY, "the channel is switched off or cannot be read")
        if not isinstance(account.adapter, Profiling):
            raise SendError(SendFailure.PERMANENT, "this channel type tells no profiles")
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await account.adapter.profile(account.config, item.sender, self._http)
        except SendError:
            raise
        except TimeoutError:
            raise SendError(SendFailure.RETRY, f"no answer within {_TIMEOUT_S:g} s") from None
        except Exception as error:
            _logger.error("adapter failed", channel_type=account.type, error=repr(error), exc_info=True)
            raise SendError(SendFailure.RETRY, f"the channel's code failed ({type(error).__name__})") from None


async def _want(session: AsyncSession, noted: list[tuple[UUID, str, str]]) -> None:
    channels, kinds, values = (list(column) for column in zip(*noted, strict=True))
    await session.execute(_WANT, {"channels": channels, "kinds": kinds, "values": values})


async def _claim(session: AsyncSession, *, each: int) -> list[Claimed]:
    rows = (await session.execute(_CLAIM, {"each": each, "lease_s": _LEASE_S})).all()
    return [
        Claimed(
            identity_id=row.identity_id,
            channel_id=row.channel_id,
            contact_id=row.contact_id,
            sender=Sender(row.kind, row.value, address=row.address),
            attempt=row.attempts,
            age_s=row.age_s,
        )
        for row in rows
    ]


async def settle(
    session: AsyncSession, item: Claimed, profile: Profile, *, error: str | None, retry_in_s: float | None
) -> None:
    """Write down what the provider told. What we know already stays; desks hear of it by the contact's open conversations,
    which are locked before the contact."""
    contact_id = item.contact_id
    open_ones = select(Conversation.id).where(
        col(Conversation.contact_id) == contact_id, col(Conversation.status) != ConversationStatus.CLOSED
    )
    held = []
    if _tells(profile):
        ids = (await session.exec(open_ones.order_by(col(Conversation.id)))).all()
        held = [await queries.lock(session, conversation_id) for conversation_id in ids]
    mine = {"identity": item.identity_id, "attempt": item.attempt, "error": error, "seconds": retry_in_s}
    if (await session.execute(_SETTLE, mine)).scalar() is None or not _tells(profile):
        return
    contact = await session.get(Contact, contact_id, with_for_update=True, populate_existing=True)
    if contact is not None and contact.merged_into is not None:
        contact = await session.get(Contact, contact.merged_into, with_for_update=True, populate_existing=True)
    if contact is None or not fill(contact, profile):
        return
    session.add(contact)
    await session.flush()
    for conversation in held:
        if conversation.contact_id == contact.id and conversation.status != ConversationStatus.CLOSED:
            payload = {"conversation": shapes.conversation(conversation), "changed": ["contact"]}
            await events.append(session, conversation, "conversation.updated", payload)


def _tells(profile: Profile) -> bool:
    return bool(profile.name or profile.language or profile.avatar_url)


def fill(contact: Contact, profile: Profile) -> bool:
    """What nobody knew before; False when that is nothing. The picture stays where it is: we keep its address only."""
    known = bool(contact.name), bool(contact.language), AVATAR in contact.attributes
    avatar = profile.avatar_url if profile.avatar_url and _is_web(profile.avatar_url) else None
    if not any(new and not old for new, old in zip((profile.name, profile.language, avatar), known, strict=True)):
        return False
    contact.name, contact.language = contact.name or profile.name, contact.language or profile.language
    if avatar and AVATAR not in contact.attributes:
        contact.attributes = {**contact.attributes, AVATAR: avatar}
    new_version(contact)
    return True


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False
