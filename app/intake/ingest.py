"""Store exactly once, join or open a conversation: the one way in for every edge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.base import (
    Call,
    InboundFile,
    InboundMessage,
    Parsed,
    RemoteFile,
)
from app.clock import now
from app.db import Database, driver
from app.errors import Conflict, NotFound, Problem
from app.ids import new_id
from app.intake import answers, besides, bounces, calls, imap_parking, mail_threads, presses
from app.intake import lane as lanes
from app.intake.lane import Entry, Lane, Outcome
from app.intake.names import Names
from app.intake.prepare import Prepared, Preparer, language
from app.intake.profiles import Wanted
from app.intake.reading import QUERY, bell_of, read
from app.intake.readying import hear
from app.intake.store import FileStore
from app.models import InboundJournal, ParkedMail
from app.models.words import JournalStatus
from app.settings import Settings
from app.vault import Vault

PULL = "pull"
_SLOW_ATTEMPTS = 20
_logger = log.get("intake")


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a message is. `outcome` is `stored` or `duplicate`."""

    outcome: str
    message_id: UUID
    conversation_id: UUID
    seq: int


class Intake:
    """One per process: the lanes to the database and what a message needs on its way there."""

    def __init__(
        self, database: Database, catalog: CatalogCache, vault: Vault, settings: Settings, files: FileStore
    ) -> None:
        self._database, self._catalog, self._vault, self._settings, self._files = (
            database,
            catalog,
            vault,
            settings,
            files,
        )
        self._lanes = [
            Lane(database, batch=settings.ingest_batch, backlog=settings.ingest_backlog)
            for _ in range(settings.ingest_lanes)
        ]
        self._preparer: Preparer | None = None
        self._names = Names(database)
        self.wanted = Wanted()

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    async def store(
        self,
        account: ChannelAccount,
        *,
        transport: str,
        headers: Mapping[str, str],
        body: bytes,
        parsed: Parsed,
        bell: Mapping[str, str] | None = None,
    ) -> list[Stored]:
        """Journal the raw call and store its messages and its bell, all in one commit; returns after it.

        A call without messages is journalled all the same: `ignored`, or `failed` with what could not be read.
        Raises Unavailable; then nothing of it is stored and the provider has to send it again.
        """
        parsed = await bounces.proven(self._database, account, calls.dated(parsed, now()))
        parsed = await presses.own(self._database, account.id, parsed)
        entry = await self._entry(account, transport, headers, body, parsed, bell)
        outcomes = await min(self._lanes, key=lambda lane: lane.load).submit(entry)
        stored = await self._finish(account, entry, outcomes)
        await self._take_answers(entry, stored)
        await self._apply_besides(account, parsed)
        return self._told(account, entry, parsed, stored)

    async def store_with(
        self,
        account: ChannelAccount,
        *,
        transport: str,
        headers: Mapping[str, str],
        body: bytes,
        parsed: Parsed,
        also: Callable[[AsyncSession], Awaitable[None]],
    ) -> list[Stored]:
        """Like `store`, with `also` in the transaction of the journal row and the messages: for who keeps a cursor.

        What the call says of other messages is applied before that, because it may be applied twice and must not be lost.
        """
        parsed = await bounces.proven(self._database, account, calls.dated(parsed, now()))
        parsed = await presses.own(self._database, account.id, parsed)
        await self._apply_besides(account, parsed)
        entry = await self._entry(account, transport, headers, body, parsed, None)
        waiting: list[tuple[UUID, Prepared]] = []
        for _ in range(_SLOW_ATTEMPTS):
            try:
                async with self._database.begin() as session:
                    ready = sorted(waiting, key=lambda pair: pair[0])
                    heard = [
                        said for pair in ready if (said := await hear(session, entry, *pair, catalog=self._catalog))
                    ]
                    rows = await (await driver(session)).fetch(lanes.STATEMENT, *lanes.arguments([entry]))
                    outcomes = lanes.group([entry], rows)[0]
                    _require_stored(entry, outcomes)
                    for said in heard:
                        await answers.take(session, said)
                    await presses.take(session, _answering(entry, [_stored(outcome) for outcome in outcomes]))
                    await also(session)
            except _NotReady as error:
                waiting = error.waiting
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError):
                continue
            else:
                return self._told(account, entry, parsed, [_stored(outcome) for outcome in outcomes])
        raise Problem("the conversation changes faster than the message can be stored")

    async def take_parked(self, channel_id: UUID, parked_id: UUID) -> list[Stored]:
        """A mail that could not be taken in, with today's code. Raises NotFound, or Conflict when it still cannot."""
        async with self._database.begin() as session:
            row = await session.get(ParkedMail, parked_id)
        account = await self._catalog.channel(channel_id)
        if row is None or account is None or row.channel_id != channel_id:
            raise NotFound("there is no such parked mail, or its channel is inactive")
        headers, parsed = await imap_parking.reread(account, row)
        settle = partial(imap_parking.taken, parked_id=parked_id)
        return await self.store_with(
            account, transport="parked", headers=headers, body=row.raw, parsed=parsed, also=settle
        )

    async def _entry(
        self,
        account: ChannelAccount,
        transport: str,
        headers: Mapping[str, str],
        body: bytes,
        parsed: Parsed,
        bell: Mapping[str, str] | None,
    ) -> Entry:
        correlation_id = log.correlation.get() or new_id().hex
        begun = await calls.openings(self._database, account.id, parsed.calls) if parsed.calls else []
        messages = [*parsed.messages, *begun]
        prepared = [await self._prepare(account, message, correlation_id) for message in messages]
        entry = Entry(account.id, transport, headers, body, correlation_id, prepared, bell=bell)
        if parsed.errors:
            entry.status, entry.error = JournalStatus.FAILED, "; ".join(parsed.errors)
        elif bell is not None or ((parsed.changes or parsed.echoes or parsed.calls or parsed.people) and not prepared):
            entry.status = JournalStatus.STORED
        elif not prepared:
            entry.status, entry.error = JournalStatus.IGNORED, _unused(parsed)
        return entry

    async def _apply_besides(self, account: ChannelAccount, parsed: Parsed) -> None:
        await besides.apply(self._database, account, parsed, names=self._names, catalog=self._catalog, keep=self._keep)

    def _told(self, account: ChannelAccount, entry: Entry, parsed: Parsed, stored: list[Stored]) -> list[Stored]:
        for message, item in zip(parsed.messages, stored, strict=False):  # what calls begin with comes after these
            if item.seq == 1 and item.outcome == "stored":
                self.wanted.note(account, message.sender)
        _logger.info(
            "call stored",
            correlation_id=entry.correlation_id,
            channel_id=account.id,
            transport=entry.transport,
            messages=[item.message_id for item in stored],
            failed=len(parsed.errors),
        )
        return stored

    async def replay(self, journal_id: UUID) -> list[Stored]:
        """Read a journalled call again with today's code. Messages that are stored already stay one row."""
        async with self._database.begin() as session:
            row = await session.get(InboundJournal, journal_id)
        account = await self._catalog.channel(row.channel_id) if row else None
        if row is None or account is None:
            raise NotFound("there is no such journal row, or its channel is inactive")
        headers = {str(name): str(value) for name, value in row.headers.items()}
        query = {name.removeprefix(QUERY): value for name, value in headers.items() if name.startswith(QUERY)}
        if row.transport == PULL:
            raise Conflict("these messages were pulled, not sent to us: there is no call to read again")
        call = Call("POST", "", query, headers, row.body, row.received_at)
        stored = await self.store(
            account,
            transport="replay",
            headers=call.headers,
            body=row.body,
            parsed=read(account, call),
            bell=bell_of(account, call),
        )
        async with self._database.begin() as session:
            row = await session.get(InboundJournal, journal_id, with_for_update=True)
            if row is not None and row.status == JournalStatus.FAILED:
                row.status = JournalStatus.REPLAYED
                session.add(row)
        return stored

    async def _prepare(self, account: ChannelAccount, message: InboundMessage, correlation_id: str) -> Prepared:
        catalog = await self._catalog.current()
        if self._preparer is None or self._preparer.catalog is not catalog:
            self._preparer = Preparer(catalog)
        if message.sender.also:
            await self._names.learn(account.id, message.sender, language=language(message))
        files = [await self._keep(file) for file in message.files]
        message, target = await mail_threads.place(self._database, self._vault, catalog, account, message)
        meant = await presses.meant(self._database, account.id, message) if target is None else None
        return self._preparer.prepare(
            account,
            message,
            target=meant.conversation_id if meant else target,
            files=files,
            correlation_id=correlation_id,
            answer=meant.content if meant else None,
        )

    async def _take_answers(self, entry: Entry, stored: Sequence[Stored]) -> None:
        """After they are stored, in a transaction of its own: done again it changes nothing."""
        if given := _answering(entry, stored):
            async with self._database.begin() as session:
                await presses.take(session, given)

    async def _keep(self, file: InboundFile | RemoteFile) -> dict[str, Any]:
        """A file as the message remembers it; one that is elsewhere keeps its reference."""
        base = {"id": str(new_id()), "name": file.name, "media_type": file.media_type}
        if isinstance(file, RemoteFile) and file.error is not None:
            return {**base, "size": file.size, "sha256": None, "error": file.error}
        if isinstance(file, RemoteFile):
            return {**base, "size": file.size, "sha256": None, "remote": dict(file.ref)}
        sha256 = await self._files.put(file.data)
        return {**base, "size": len(file.data), "sha256": sha256, "content_id": file.content_id}

    async def _finish(self, account: ChannelAccount, entry: Entry, outcomes: Sequence[Outcome]) -> list[Stored]:
        """Messages whose conversation has to change first are stored one by one, each in its own transaction."""
        stored, again = [], False
        for prepared, outcome in zip(entry.messages, outcomes, strict=True):
            if outcome.outcome in ("slow", "retry") or outcome.message_id is None:
                outcome, again = await self._store_slowly(entry, prepared, outcome), True
            stored.append(_stored(outcome))
        if again:
            async with self._database.begin() as session:
                await session.execute(
                    text("UPDATE inbound_journal SET status = 'stored' WHERE id = :id AND status = 'received'"),
                    {"id": entry.journal_id},
                )
        return stored

    async def _store_slowly(self, entry: Entry, prepared: Prepared, outcome: Outcome) -> Outcome:
        """Wake, reopen or re-classify the conversation and store the message, in one transaction."""
        for _ in range(_SLOW_ATTEMPTS):
            try:
                outcome = await self._store_alone(entry, prepared, outcome)
            except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):  # their contact was merged meanwhile
                continue
            if outcome.outcome in ("stored", "duplicate") and outcome.message_id is not None:
                return outcome
        raise Problem("the conversation changes faster than the message can be stored")

    async def _store_alone(self, entry: Entry, prepared: Prepared, outcome: Outcome) -> Outcome:
        async with self._database.begin() as session:
            alone = Entry(entry.channel_id, entry.transport, {}, b"", entry.correlation_id, [prepared])
            known = outcome.conversation_id
            heard = await hear(session, alone, known, prepared, catalog=self._catalog) if known is not None else None
            connection = await driver(session)
            values = lanes.arguments([alone])
            rows = await connection.fetch(lanes.STATEMENT, [], [], *values[2:])
            stored = lanes.group([alone], rows)[0][0]
            if heard is not None and stored.outcome == "stored":
                await answers.take(session, heard)
            return stored


class _NotReady(Exception):
    """Conversations have to change before their messages can be stored."""

    def __init__(self, waiting: list[tuple[UUID, Prepared]]) -> None:
        self.waiting = waiting


def _answering(entry: Entry, stored: Sequence[Stored]) -> list[UUID]:
    """Those that name the receipt that they answer."""
    pairs = zip(entry.messages, stored, strict=True)
    return [item.message_id for prepared, item in pairs if prepared.answers]


def _require_stored(entry: Entry, outcomes: Sequence[Outcome]) -> None:
    """Raises _NotReady."""
    pairs = zip(entry.messages, outcomes, strict=True)
    late = [(outcome, prepared) for prepared, outcome in pairs if outcome.outcome not in ("stored", "duplicate")]
    if late:
        raise _NotReady([(known, prepared) for outcome, prepared in late if (known := outcome.conversation_id)])


def _unused(parsed: Parsed) -> str | None:
    """Names of what the call held besides, and nobody acts on."""
    return "; ".join(parsed.ignored) or None


def _stored(outcome: Outcome) -> Stored:
    assert outcome.message_id is not None
    assert outcome.conversation_id is not None
    assert outcome.seq is not None
    return Stored(outcome.outcome, outcome.message_id, outcome.conversation_id, outcome.seq)
