"""One mailbox, read for as long as the turn lasts: what is there, then whatever comes, each mail exactly once.

A mail and the cursor are one transaction. What cannot be taken in is parked, and the reading goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime

import asyncpg
import sqlalchemy.exc
from prometheus_client import Counter
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.catalog import ChannelAccount
from app.channels.mail import envelope_headers
from app.channels.mail_config import MailConfig
from app.channels.mail_imap import Imap, Selected
from app.channels.mail_imap_server import ImapError, ImapServer
from app.db import Database
from app.errors import Unavailable
from app.ids import new_id
from app.intake import imap_parking, imap_turns
from app.intake.imap_parking import Unreadable
from app.intake.imap_turns import LostTurn, Turn
from app.intake.ingest import Intake
from app.models.mailboxes import MailboxState

MAILS = Counter("roundtrip_imap_mails_total", "Mails read by IMAP, by outcome", ["outcome"])
_WINDOW = 20_000  # UIDs searched at once
_DATES = 200
_HEADER_LIMIT = 65_536
_TRIES_S = (0.2, 1.0)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HOUSE = (
    Unavailable,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
)
_logger = log.get("imap")


class HouseDown(Exception):
    """It is not the mail's fault that it could not be stored."""


class Reader:
    """`hands` is held while a mail is taken in: who wants to stop the reader between two mails waits for it."""

    def __init__(
        self,
        account: ChannelAccount,
        turn: Turn,
        server: ImapServer,
        database: Database,
        intake: Intake,
        *,
        mail_limit: int,
    ) -> None:
        assert isinstance(account.config, MailConfig)
        self.account, self.turn, self._server = account, turn, server
        self._config: MailConfig = account.config
        self._database, self._intake, self._limit = database, intake, mail_limit
        self.hands = asyncio.Lock()
        self._last, self._uid_next = turn.last_uid, 0
        self.watching = False

    async def run(self) -> None:
        """Until it is cancelled. Raises ImapError, LostTurn, HouseDown."""
        literals = max(2 * self._limit, 1_000_000)
        async with Imap(self._server, literal_limit=literals) as imap:
            await self._find_place(imap)
            while True:
                imap.news = False
                selected_again = await self._catch_up(imap)
                await self._tell_watching()
                if selected_again:
                    continue
                if imap.can_idle:
                    await imap.idle(self._config.imap_idle_s)
                else:
                    await asyncio.sleep(self._config.imap_poll_s)
                    await imap.noop()

    async def _tell_watching(self) -> None:
        if not self.watching:
            async with self._database.begin() as session:
                await imap_turns.tell(session, self.turn, MailboxState.WATCHING)
            self.watching = True
            _logger.info("mailbox watched", channel_id=self.account.id, last_uid=self._last)

    # Where to begin

    async def _find_place(self, imap: Imap) -> None:
        """Go on behind the cursor; in a mailbox that is new, or numbered anew, begin where `imap_since` says."""
        selected = await imap.select(self._server.folder)
        self._uid_next = selected.uid_next or 0
        known = self.turn.source == self._server.source and self.turn.uid_validity == selected.uid_validity
        uid = self.turn.last_uid if known else await self._first(imap, selected) - 1
        if not known:
            _logger.info("mailbox begun", channel_id=self.account.id, uid_validity=selected.uid_validity, last_uid=uid)
        async with self._database.begin() as session:
            self.turn = await imap_turns.begin(
                session, self.turn, source=self._server.source, uid_validity=selected.uid_validity, last_uid=uid
            )
        self._last = uid

    async def _first(self, imap: Imap, selected: Selected) -> int:
        """The UID of the first mail to be read."""
        since = self._config.imap_since
        if since == "all":
            return 1
        another = self.turn.source not in ("", self._server.source)
        if since == "new" and another:
            return await _end(imap, selected)
        floor = _midnight(since) if since != "new" else self.turn.since.replace(microsecond=0)
        day = (floor - timedelta(days=1)).date()  # the server compares days, in a zone of its own
        found = await imap.search(f"SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}")
        for part in _chunks(found, _DATES):
            dated = await imap.fetch(part, "INTERNALDATE")
            for uid in sorted(dated):
                moment = _moment(dated[uid].date)
                if moment is None or moment >= floor:
                    return uid
        return await _end(imap, selected)

    # Reading on

    async def _catch_up(self, imap: Imap) -> bool:
        """Everything behind the cursor, in bounded pieces. True when there may be more at once."""
        while True:
            first, end = self._last + 1, self._uid_next
            windowed = first + _WINDOW < end
            last = first + _WINDOW - 1 if windowed else None
            found = [uid for uid in await imap.search(f"UID {first}:{last or '*'}") if uid >= first]
            for part in _chunks(found, self._config.imap_batch):
                await self._take_batch(imap, part)
            if last is None:
                return imap.news
            self._last = max(self._last, last)

    async def _take_batch(self, imap: Imap, uids: Sequence[int]) -> None:
        sizes = {uid: one.size for uid, one in (await imap.fetch(uids, "RFC822.SIZE")).items()}
        for group in _groups(sizes, limit=self._limit):
            bodies = await imap.fetch(group, f"BODY.PEEK[]<0.{self._limit + 1}>")
            for uid in group:
                found = bodies.get(uid)
                if found is None or found.body is None:
                    MAILS.labels("gone").inc()
                elif len(found.body) > self._limit:
                    await self._park_large(imap, uid, max(sizes[uid], len(found.body)))
                else:
                    await self._take(imap, uid, found.body)

    async def _take(self, imap: Imap, uid: int, raw: bytes) -> None:
        log.correlation.set(new_id().hex)
        async with self.hands:
            fault = await self._store(uid, raw)
            if fault is not None:
                await self._park(Unreadable(self._validity, uid, len(raw), True, raw, fault))
            self._last = uid
        if fault is None:
            await self._put_away(imap, uid)

    async def _store(self, uid: int, raw: bytes) -> str | None:
        """None, or why the mail cannot be taken in. Raises LostTurn, HouseDown."""
        headers = {**envelope_headers(None, []), "x-imap-uid": f"{self._validity}.{uid}"}
        parsed = await imap_parking.parse(self.account, headers, raw)
        if imap_parking.is_lost(parsed):
            return "; ".join(parsed.errors)

        async def move(session: AsyncSession) -> None:
            await imap_turns.advance(session, self.turn, uid)

        for pause_s in (*_TRIES_S, None):
            try:
                stored = await self._intake.store_with(
                    self.account, transport="imap", headers=headers, body=raw, parsed=parsed, also=move
                )
            except LostTurn:
                raise
            except _HOUSE as error:
                raise HouseDown(repr(error)) from error
            except Exception as error:
                if pause_s is None:
                    _logger.error("mail cannot be stored", channel_id=self.account.id, uid=uid, exc_info=True)
                    return f"it cannot be stored: {type(error).__name__}: {error}"
                await asyncio.sleep(pause_s)
            else:
                duplicate = bool(stored) and all(one.outcome == "duplicate" for one in stored)
                MAILS.labels("duplicate" if duplicate else "stored").inc()
                return None
        return None

    async def _park_large(self, imap: Imap, uid: int, size: int) -> None:
        found = (await imap.fetch([uid], f"BODY.PEEK[HEADER]<0.{_HEADER_LIMIT}>")).get(uid)
        header = found.body if found is not None and found.body else b""
        reason = f"it has {size} bytes or more; {self._limit} are allowed (ROUNDTRIP_MAIL_LIMIT)"
        async with self.hands:
            await self._park(Unreadable(self._validity, uid, size, False, header, reason))
            self._last = uid

    async def _park(self, mail: Unreadable) -> None:
        try:
            async with self._database.begin() as session:
                await imap_parking.park(session, self.account.id, mail)
                await imap_turns.advance(session, self.turn, mail.uid)
        except _HOUSE as error:
            raise HouseDown(repr(error)) from error
        MAILS.labels("parked").inc()

    async def _put_away(self, imap: Imap, uid: int) -> None:
        """It is stored, whatever comes of this: a server that will not mark or move it is only noted."""
        try:
            if self._config.imap_seen:
                await imap.mark_seen(uid)
            if self._config.imap_move_to is not None:
                await imap.move(uid, self._config.imap_move_to)
        except ImapError as error:
            _logger.warning("mail not put away", channel_id=self.account.id, uid=uid, detail=str(error))

    @property
    def _validity(self) -> int:
        assert self.turn.uid_validity is not None
        return self.turn.uid_validity


async def _end(imap: Imap, selected: Selected) -> int:
    """The UID that the next new mail has at least."""
    if selected.uid_next is not None:
        return selected.uid_next
    return max(await imap.search("UID *"), default=0) + 1 if selected.exists else 1


def _groups(sizes: dict[int, int], *, limit: int) -> Iterator[list[int]]:
    """UIDs in order, so many at once as fit into one mail's limit together; at least one."""
    group: list[int] = []
    total = 0
    for uid in sorted(sizes):
        size = min(sizes[uid], limit)
        if group and total + size > limit:
            yield group
            group, total = [], 0
        group.append(uid)
        total += size
    if group:
        yield group


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _moment(internal: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime((internal or "").strip())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
