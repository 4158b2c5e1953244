"""Mailboxes of a real Dovecot: each mail once, whoever dies, whatever lies in between."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import catalog as catalogs
from app.catalog import CatalogCache
from app.channels.config import split
from app.channels.mail_config import MailConfig
from app.db import Database
from app.delivery.backoff import Schedule
from app.errors import Conflict
from app.intake import imap_reader
from app.intake.imap import Mailboxes
from app.intake.ingest import Intake
from app.intake.store import FileStore
from app.models import Channel, InboundJournal, Mailbox, Message, ParkedMail
from app.models.mailboxes import MailboxState, ParkedState
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups
from tests.support.mailservers import Dovecot
from tests.support.tcp import Wire

QUICK = Schedule(steps_s=(0.05,), total_s=float("inf"))
POISON = b"Content-Type: message/rfc822\r\n\r\n" * 3_000


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    server = Dovecot().start()
    yield server
    server.stop()


def mail(words: str, *, sender: str = "grace@customer.example") -> bytes:
    return (
        f"From: {sender}\r\nTo: care@shop.example\r\nSubject: {words}\r\n"
        f"Message-ID: <{secrets.token_hex(8)}@customer.example>\r\n\r\n{words}\r\n"
    ).encode()


class Slow(Intake):
    """An intake whose storing a test can hold, break or watch."""

    before: Callable[[bytes], Awaitable[None]] | None = None

    async def store_with(self, account: Any, *, body: bytes, **more: Any) -> Any:
        if self.before is not None:
            await self.before(body)
        return await super().store_with(account, body=body, **more)


@dataclass
class Process:
    """What one server process has of it."""

    intake: Slow
    mailboxes: Mailboxes
    poke: asyncio.Event
    wakeups: Wakeups

    async def run(self) -> None:
        while True:
            self.poke.clear()
            delay = await self.mailboxes.step()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(0.2 if delay is None else delay, 0.2)):  # wait_for can swallow the end
                    await self.poke.wait()


@dataclass
class House:
    database: Database
    vault: Vault
    settings: Settings
    dovecot: Dovecot
    users: list[str] = field(default_factory=list)

    async def channel(self, *, url: str | None = None, **config: Any) -> tuple[UUID, str]:
        """`(channel, user of its mailbox)`."""
        user = f"care-{secrets.token_hex(3)}@shop.example"
        given = {"address": user, "imap_url": url or self.dovecot.url(user), "imap_idle_s": 60, **config}
        public, hidden = split(MailConfig.model_validate(given))
        row = Channel(type="email", name=user, config=public, secrets=catalogs.seal_secrets(self.vault, hidden))
        async with self.database.begin() as session:
            session.add(row)
        return row.id, user

    @asynccontextmanager
    async def process(self, *, later: Schedule = QUICK) -> AsyncIterator[Process]:
        wakeups = Wakeups(self.database)
        catalog = CatalogCache(self.database, self.vault, wakeups)
        files = FileStore(self.settings.attachments_dir, limit=1_000_000)
        intake = Slow(self.database, catalog, self.vault, self.settings, files)
        poke = wakeups.subscribe("mailboxes", "catalog")
        boxes = Mailboxes(self.database, catalog, intake, self.settings, poke=poke, soon=QUICK, later=later)
        intake.start()
        await wakeups.start()
        process = Process(intake, boxes, poke, wakeups)
        task = asyncio.create_task(process.run())
        try:
            yield process
        finally:
            task.cancel()
            await asyncio.wait([task])
            await boxes.drain(5)
            await intake.stop()
            await wakeups.stop()

    async def texts(self, channel: UUID) -> list[str]:
        async with self.database.begin() as session:
            found = await session.exec(
                select(Message.text).where(col(Message.channel_id) == channel).order_by(col(Message.id))
            )
            return list(found.all())

    async def row(self, channel: UUID) -> Mailbox | None:
        async with self.database.begin() as session:
            return await session.get(Mailbox, channel)

    async def parked(self, channel: UUID) -> list[ParkedMail]:
        async with self.database.begin() as session:
            found = await session.exec(select(ParkedMail).where(col(ParkedMail.channel_id) == channel))
            return list(found.all())

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(150):
            while not await holds():
                await asyncio.sleep(0.02)

    async def has(self, channel: UUID, *texts: str) -> None:
        """Wait until these are stored, in this order and nothing besides."""

        async def holds() -> bool:
            return len(await self.texts(channel)) >= len(texts)

        await self.until(holds)
        assert await self.texts(channel) == list(texts)

    async def is_(self, channel: UUID, state: MailboxState) -> Mailbox:
        async def holds() -> bool:
            row = await self.row(channel)
            return row is not None and row.state == state

        await self.until(holds)
        row = await self.row(channel)
        assert row is not None
        return row


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings, dovecot: Dovecot) -> House:
    return House(database, vault, settings.model_copy(update={"imap_lease_s": 1.0, "mail_limit": 100_000}), dovecot)


async def deliver(house: House, user: str, *mails: bytes) -> None:
    await asyncio.to_thread(house.dovecot.deliver, user, *mails)


async def test_new_mails_come_while_it_waits(house: House) -> None:
    channel, user = await house.channel()
    async with house.process():
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("one"))
        await house.has(channel, "one")
        await deliver(house, user, mail("two"), mail("three"))
        await house.has(channel, "one", "two", "three")
    async with house.database.begin() as session:
        rows = (await session.exec(select(InboundJournal).where(col(InboundJournal.channel_id) == channel))).all()
    assert [(row.transport, row.status) for row in rows] == [("imap", "stored")] * 3
    assert await asyncio.to_thread(house.dovecot.flags, user) != []
    assert not any("Seen" in line for line in await asyncio.to_thread(house.dovecot.flags, user))


@pytest.mark.parametrize(
    ("since", "expected"),
    [("new", ["now"]), ("all", ["old", "now"]), ("2026-01-01", ["now"]), ("2019-01-01", ["old", "now"])],
)
async def test_where_reading_begins(house: House, since: str, expected: list[str]) -> None:
    channel, user = await house.channel(imap_since=since)
    old = datetime(2020, 5, 1, tzinfo=UTC)
    await asyncio.to_thread(house.dovecot.append, user, mail("old"), at=old)
    # Between the making of the channel and its first connection: it belongs to the channel.
    now = datetime.now(UTC) + timedelta(seconds=3)
    async with house.process():
        await house.is_(channel, MailboxState.WATCHING)
        await asyncio.to_thread(house.dovecot.append, user, mail("now"), at=now)
        await house.has(channel, *expected)


async def test_what_came_before_the_first_connection_and_after_the_channel(house: House) -> None:
    channel, user = await house.channel(url=house.dovecot.url("x", port=9))
    async with house.process():
        await house.is_(channel, MailboxState.UNREACHABLE)
    await asyncio.to_thread(house.dovecot.append, user, mail("early"), at=datetime.now(UTC) + timedelta(seconds=2))
    await _point_to(house, channel, user)
    async with house.process():
        await house.has(channel, "early")


async def _point_to(house: House, channel: UUID, user: str, **more: Any) -> None:
    public, hidden = split(MailConfig.model_validate({"address": user, "imap_url": house.dovecot.url(user), **more}))
    async with house.database.begin() as session:
        row = await session.get_one(Channel, channel)
        row.config, row.secrets = public, catalogs.seal_secrets(house.vault, hidden)
        session.add(row)


async def test_poison_is_parked_and_the_reading_goes_on(house: House) -> None:
    channel, user = await house.channel(imap_batch=2)
    large = mail("large") + b"x" * 200_000
    async with house.process() as process:
        await house.is_(channel, MailboxState.WATCHING)
        for one in (mail("before"), POISON, large, mail("after")):
            await asyncio.to_thread(house.dovecot.append, user, one)
        await house.has(channel, "before", "after")
        poison, too_large = sorted(await house.parked(channel), key=lambda row: row.uid)
        assert poison.raw == POISON
        assert "cannot be parsed" in poison.reason
        assert (too_large.whole, b"Subject: large" in too_large.raw, len(too_large.raw) < 1000) == (False, True, True)
        assert "100000 are allowed" in too_large.reason
        with pytest.raises(Conflict, match="cannot be parsed"):
            await process.intake.take_parked(channel, poison.id)
        with pytest.raises(Conflict, match="only its header"):
            await process.intake.take_parked(channel, too_large.id)


async def test_a_mail_that_cannot_be_stored_is_parked_and_taken_in_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_reader, "_TRIES_S", (0.0, 0.0))
    channel, user = await house.channel()
    tries = 0

    async def refuse(body: bytes) -> None:
        nonlocal tries
        if b"stubborn" in body:
            tries += 1
            raise ValueError("no room for this one")

    async with house.process() as process:
        process.intake.before = refuse
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("first"), mail("stubborn"), mail("last"))
        await house.has(channel, "first", "last")
        [parked] = await house.parked(channel)
        assert (tries, "no room for this one" in parked.reason) == (3, True)
        process.intake.before = None
        await process.intake.take_parked(channel, parked.id)
        await house.has(channel, "first", "last", "stubborn")
        with pytest.raises(Conflict, match="stored already"):
            await process.intake.take_parked(channel, parked.id)
    assert [row.state for row in await house.parked(channel)] == [ParkedState.STORED]


async def test_a_mailbox_numbered_anew_brings_nothing_twice(house: House) -> None:
    channel, user = await house.channel()
    async with house.process():
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("one"), mail("two"))
        await house.has(channel, "one", "two")
    before = await house.row(channel)
    await asyncio.to_thread(house.dovecot.number_anew, user, without="one")
    await deliver(house, user, mail("three"))
    async with house.process():
        await house.has(channel, "one", "two", "three")
        after = await house.is_(channel, MailboxState.WATCHING)
    assert before is not None
    assert after.uid_validity == (before.uid_validity or 0) + 1
    assert after.last_uid == before.last_uid == 2  # by its number alone, the new mail would count as read


async def test_a_cut_connection_is_made_again(house: House) -> None:
    async with Wire(house.dovecot.imap_port) as wire:
        user = f"care-{secrets.token_hex(3)}@shop.example"
        channel, _ = await house.channel(url=house.dovecot.url(user, port=wire.port))
        async with house.process():
            await house.is_(channel, MailboxState.WATCHING)
            wire.refusing = True
            wire.cut()
            await house.is_(channel, MailboxState.UNREACHABLE)
            await deliver(house, user, mail("meanwhile"))
            wire.refusing = False
            await house.has(channel, "meanwhile")
            await house.is_(channel, MailboxState.WATCHING)
            await deliver(house, user, mail("later"))
            await house.has(channel, "meanwhile", "later")


async def test_a_server_without_idle_is_asked_now_and_then(house: House) -> None:
    async with Wire(house.dovecot.imap_port, lambda said: said.replace(b" IDLE", b" XDLE")) as wire:
        user = f"care-{secrets.token_hex(3)}@shop.example"
        channel, _ = await house.channel(url=house.dovecot.url(user, port=wire.port), imap_poll_s=1)
        async with house.process():
            await house.is_(channel, MailboxState.WATCHING)
            await deliver(house, user, mail("asked for"))
            await house.has(channel, "asked for")


async def test_two_processes_share_nothing_but_the_mailbox(house: House) -> None:
    channel, user = await house.channel(imap_batch=3)
    expected = [f"mail {number:02}" for number in range(30)]
    async with house.process(), house.process():
        await house.is_(channel, MailboxState.WATCHING)
        for word in expected:
            await deliver(house, user, mail(word))
        await house.has(channel, *expected)


async def test_another_process_takes_over_from_one_that_died(house: House) -> None:
    """The first stops in the middle of a mail, as after kill -9: it neither finishes nor gives its turn back."""
    channel, user = await house.channel()
    reached = asyncio.Event()

    async def die(body: bytes) -> None:
        if b"second" in body:
            reached.set()
            await asyncio.Event().wait()

    async with house.process() as first:
        first.intake.before = die
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("first"), mail("second"), mail("third"))
        await asyncio.wait_for(reached.wait(), 60)

        async def dead(*_: Any, **__: Any) -> None:
            return None

        first.mailboxes._renew = dead  # type: ignore[method-assign]
        first.mailboxes._give_back = dead  # type: ignore[method-assign]
        async with house.process():
            await house.has(channel, "first", "second", "third")


async def test_who_lost_its_turn_stores_nothing(house: House) -> None:
    channel, user = await house.channel()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(body: bytes) -> None:
        reached.set()
        await go_on.wait()

    async def unaware() -> None:
        """Only the cursor itself can tell it."""

    async with house.process() as process:
        process.intake.before = wait
        await house.is_(channel, MailboxState.WATCHING)
        process.mailboxes._renew = unaware  # type: ignore[method-assign]
        await deliver(house, user, mail("held"))
        await asyncio.wait_for(reached.wait(), 60)
        async with house.database.begin() as session:
            await session.execute(
                text("UPDATE mailbox SET lease = gen_random_uuid(), lease_until = now() + interval '1 hour'")
            )
        go_on.set()

        async def given_up() -> bool:
            return not process.mailboxes._readers

        await house.until(given_up)
        assert await house.texts(channel) == []


async def test_the_cursor_is_in_the_transaction_of_the_mail(house: House) -> None:
    channel, _ = await house.channel()
    async with house.process() as process:
        account = (await process.intake._catalog.current()).channels[channel]
        parsed = account.adapter.parse(account.config, _call(mail("torn")))

        async def fail(_: AsyncSession) -> None:
            raise RuntimeError("the power is gone")

        with pytest.raises(RuntimeError, match="power"):
            await process.intake.store_with(account, transport="imap", headers={}, body=b"", parsed=parsed, also=fail)
        assert await house.texts(channel) == []


def _call(raw: bytes) -> Any:
    from tests.channels.makers import call

    return call(raw, {"x-envelope-to": ""})


async def test_a_wrong_password_is_told_and_tried_rarely(house: House) -> None:
    wrong, _ = await house.channel(url=f"imap://nobody:hunter2@127.0.0.1:{house.dovecot.imap_port}?starttls=never")
    good, user = await house.channel()
    async with house.process(later=Schedule(steps_s=(300,), total_s=float("inf"))):
        row = await house.is_(wrong, MailboxState.REFUSED)
        assert (row.due_at - row.state_at).total_seconds() > 200
        assert row.detail
        assert "hunter2" not in row.detail
        await house.is_(good, MailboxState.WATCHING)
        await deliver(house, user, mail("fine"))
        await house.has(good, "fine")


async def test_a_new_password_is_tried_when_it_is_set(house: House) -> None:
    channel, user = await house.channel(url=f"imap://x:wrong@127.0.0.1:{house.dovecot.imap_port}?starttls=never")
    async with house.process() as process:
        await house.is_(channel, MailboxState.REFUSED)
        await _point_to(house, channel, user)
        async with house.database.begin() as session:
            await process.intake._catalog.changed(session)
        await house.is_(channel, MailboxState.WATCHING)


async def test_mails_are_marked_and_moved_when_wished(house: House) -> None:
    channel, user = await house.channel(imap_seen=True, imap_move_to="Erledigt ü & mehr")
    folder = '"Erledigt &APw- &- mehr"'
    await asyncio.to_thread(house.dovecot.append, user, mail("x"), folder=folder)
    async with house.process():
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("put me away"))
        await house.has(channel, "put me away")

        async def empty() -> bool:
            return not await asyncio.to_thread(house.dovecot.mails, user)

        await house.until(empty)
    moved = await asyncio.to_thread(house.dovecot.mails, user, folder)
    assert [one["subject"] for one in moved] == ["x", "put me away"]


async def test_a_folder_that_is_not_there(house: House) -> None:
    user = f"care-{secrets.token_hex(3)}@shop.example"
    channel, _ = await house.channel(url=house.dovecot.url(user, more="/No%20such%20folder?starttls=never"))
    async with house.process():
        row = await house.is_(channel, MailboxState.REFUSED)
    assert row.detail is not None
    assert "folder" in row.detail


@pytest.mark.parametrize("kind", ["imaps", "starttls"])
async def test_encrypted(house: House, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    user = f"care-{secrets.token_hex(3)}@shop.example"
    url = (
        house.dovecot.url(user, scheme="imaps") if kind == "imaps" else house.dovecot.url(user, more="?starttls=always")
    )
    channel, _ = await house.channel(url=url)
    async with house.process():
        row = await house.is_(channel, MailboxState.REFUSED)
        assert row.detail is not None
        assert "certificate" in row.detail
        monkeypatch.setenv("SSL_CERT_FILE", str(house.dovecot.home / "cert.pem"))
        await house.is_(channel, MailboxState.WATCHING)
        await deliver(house, user, mail("sealed"))
        await house.has(channel, "sealed")


async def test_a_channel_that_is_switched_off_is_read_no_more(house: House) -> None:
    channel, _ = await house.channel()
    async with house.process() as process:
        await house.is_(channel, MailboxState.WATCHING)
        async with house.database.begin() as session:
            await session.execute(text("UPDATE channel SET active = false"))
            await process.intake._catalog.changed(session)
        row = await house.is_(channel, MailboxState.NEW)
        assert row.lease is None


async def test_nothing_is_asked_of_the_database_without_a_mailbox(house: House) -> None:
    async with house.process() as process:
        assert await process.mailboxes.step() is None
