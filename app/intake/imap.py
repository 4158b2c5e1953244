"""The mailboxes of all channels, each read by exactly one process: whoever holds its lease, and another when that one dies."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from random import Random
from uuid import UUID

from prometheus_client import Gauge

from app import log
from app.catalog import CatalogCache, ChannelAccount
from app.channels.mail_config import MailConfig
from app.channels.mail_imap_server import ImapError, ImapRefused, ImapSetup, server_of
from app.db import Database
from app.delivery.backoff import Schedule, wait_s
from app.intake import imap_turns
from app.intake.imap_reader import HouseDown, Reader
from app.intake.imap_turns import LostTurn, Turn
from app.intake.ingest import Intake
from app.models.mailboxes import MailboxState
from app.settings import Settings

READ = Gauge("roundtrip_mailboxes_read", "Mailboxes that this process reads")
SOON = Schedule(steps_s=(1, 2, 5, 15, 60, 300), total_s=math.inf)
# A wrong password does not get right by itself, and servers lock accounts that try too often.
LATER = Schedule(steps_s=(300, 900, 3600), total_s=math.inf)
_AT_ONCE = 200
_CLAIM_AT_ONCE = 20
_STOP_S = 5
_BUSY_S = 0.05
_logger = log.get("imap")


class Mailboxes:
    """One per process, stepped by a background loop on the topics `mailboxes` and `catalog`; `poke` wakes that loop."""

    def __init__(
        self,
        database: Database,
        catalog: CatalogCache,
        intake: Intake,
        settings: Settings,
        *,
        poke: asyncio.Event,
        soon: Schedule = SOON,
        later: Schedule = LATER,
    ) -> None:
        self._database, self._catalog, self._intake, self._settings = database, catalog, intake, settings
        self._poke, self._soon, self._later = poke, soon, later
        self._readers: dict[UUID, tuple[Reader, asyncio.Task[None]]] = {}
        self._stepping = asyncio.Lock()
        self._draining = False
        self._rng = Random()

    async def step(self) -> float | None:
        """Keep our turns, end those whose channel has changed, begin what is due and nobody reads."""
        async with self._stepping:
            wanted = _with_mailbox((await self._catalog.current()).channels.values())
            await self._end_changed(wanted)
            if self._draining or not (wanted or self._readers):
                return None
            await self._renew()
            free = [id for id in wanted if id not in self._readers]
            delay = self._settings.imap_lease_s / 3 if self._readers else None
            room = min(_AT_ONCE - len(self._readers), _CLAIM_AT_ONCE)
            if free and room > 0:
                async with self._database.begin() as session:
                    turns = await imap_turns.claim(session, free, limit=room, lease_s=self._settings.imap_lease_s)
                for turn in turns:
                    self._launch(wanted[turn.channel_id], turn)
                free = [id for id in free if id not in self._readers]
                if free:
                    async with self._database.begin() as session:
                        due_s = await imap_turns.next_due_s(session, free)
                    delay = min((seconds for seconds in (delay, due_s) if seconds is not None), default=None)
            READ.set(len(self._readers))
            return delay if delay is None else max(delay, _BUSY_S)

    async def drain(self, within_s: float) -> None:
        """Take in the mails in hand and give the turns back, so that another process goes on at once."""
        self._draining = True
        async with self._stepping:
            readers = [reader for reader, _ in self._readers.values()]
            await asyncio.gather(*(self._stop(reader.account.id, within_s) for reader in readers))

    async def _renew(self) -> None:
        if not self._readers:
            return
        readers = dict(self._readers)
        async with self._database.begin() as session:
            turns = [reader.turn for reader, _ in readers.values()]
            ours = await imap_turns.renew(session, turns, lease_s=self._settings.imap_lease_s)
        for id, known in readers.items():
            if id not in ours and self._readers.get(id) is known:  # it may have ended by itself meanwhile
                await self._stop(id, 0)

    async def _end_changed(self, wanted: dict[UUID, ChannelAccount]) -> None:
        for id, (reader, _) in list(self._readers.items()):
            account = wanted.get(id)
            if account is None or account.config != reader.account.config:
                await self._stop(id, _STOP_S)

    async def _stop(self, id: UUID, within_s: float) -> None:
        """Between two mails where that is soon enough."""
        if (known := self._readers.pop(id, None)) is None:
            return
        reader, task = known
        try:
            async with asyncio.timeout(within_s), reader.hands:
                task.cancel()
        except TimeoutError:
            task.cancel()
        await asyncio.wait([task])

    def _launch(self, account: ChannelAccount, turn: Turn) -> None:
        assert isinstance(account.config, MailConfig)
        assert account.config.imap_url is not None
        server = server_of(account.config.imap_url.get_secret_value())
        reader = Reader(account, turn, server, self._database, self._intake, mail_limit=self._settings.mail_limit)
        task = asyncio.create_task(self._run(reader), name=f"mailbox {account.id}")
        self._readers[account.id] = (reader, task)

        def ended(task: asyncio.Task[None]) -> None:
            if self._readers.get(account.id, (None, None))[1] is task:
                del self._readers[account.id]
            self._poke.set()

        task.add_done_callback(ended)

    async def _run(self, reader: Reader) -> None:
        """Reads until something ends it, and gives the turn back with what is to be told of it."""
        state: MailboxState | None = None
        detail: str | None = None
        again_s, attempts = 0.0, 0
        try:
            await reader.run()
        except asyncio.CancelledError:
            state = MailboxState.NEW
        except LostTurn:
            _logger.warning("mailbox was taken over", channel_id=reader.account.id)
            return
        except (ImapError, HouseDown) as error:
            attempts = 1 if reader.watching else reader.turn.attempts + 1
            refused = isinstance(error, ImapRefused | ImapSetup)
            state, detail = (MailboxState.REFUSED if refused else MailboxState.UNREACHABLE), str(error)
            again_s = self._wait_s(attempts, refused=refused)
            tell = _logger.error if refused else _logger.warning
            tell("mailbox not read", channel_id=reader.account.id, detail=detail, attempt=attempts, seconds=again_s)
        except Exception as error:
            attempts = reader.turn.attempts + 1
            state, detail = MailboxState.UNREACHABLE, f"our reading of the mailbox failed: {type(error).__name__}"
            again_s = self._wait_s(attempts, refused=False)
            _logger.error("mailbox reader failed", channel_id=reader.account.id, error=repr(error), exc_info=True)
        await self._give_back(reader.turn, state, detail, attempts, again_s)

    def _wait_s(self, attempts: int, *, refused: bool) -> float:
        seconds = wait_s(self._later if refused else self._soon, attempts, elapsed_s=0, rng=self._rng)
        assert seconds is not None, "these schedules never give up"
        return seconds

    async def _give_back(
        self, turn: Turn, state: MailboxState | None, detail: str | None, attempts: int, again_s: float
    ) -> None:
        try:
            async with self._database.begin() as session:
                await imap_turns.release(session, turn, state=state, detail=detail, attempts=attempts, again_s=again_s)
        except Exception as error:
            _logger.error(
                "turn not given back, its lease ends by itself", channel_id=turn.channel_id, error=repr(error)
            )


def _with_mailbox(accounts: Iterable[ChannelAccount]) -> dict[UUID, ChannelAccount]:
    return {
        account.id: account
        for account in accounts
        if isinstance(account.config, MailConfig) and account.config.imap_url is not None
    }
