"""Bells, and the messages that are fetched after them: each once, whoever dies, however many processes read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.background import Loop
from app.catalog import ChannelAccount
from app.channels.base import Adapter, Call, Parsed, Pulled, SendError, SendFailure
from app.channels.partner import PartnerAdapter
from app.db import Database
from app.errors import Conflict
from app.intake.ingest import Intake
from app.intake.pulling import Claimed, Puller
from app.models import ChannelCursor, InboundJournal, Message
from app.settings import Settings
from tests.delivery.house import FixedCatalog
from tests.intake.conftest import Door, message

SOURCE = "kf"


@dataclass
class Provider(PartnerAdapter):
    """Messages that lie at the provider, pages of `size` of them; the cursor is a number."""

    waiting: list[str] = field(default_factory=list)
    size: int = 2
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str], Awaitable[None]] | None = None
    at_once: int = 0
    most_at_once: int = 0

    def bell(self, config: Any, call: Call) -> Mapping[str, str] | None:
        return {"source": SOURCE}

    async def pull(self, config: Any, bell: Mapping[str, str], cursor: str, http: httpx.AsyncClient) -> Pulled:
        self.asked.append((bell.get("token", ""), cursor))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.01)  # room for somebody who reads the same source at the same time
            if self.before is not None:
                await self.before(cursor)
            start = int(cursor or 0)
            page = self.waiting[start : start + self.size]
            end = start + len(page)
            return Pulled(Parsed(messages=[message(key) for key in page]), str(end), end < len(self.waiting))
        finally:
            self.at_once -= 1


@dataclass
class House:
    database: Database
    door: Door
    provider: Provider
    account: ChannelAccount
    http: httpx.AsyncClient

    def puller(
        self, kind: type[Puller] = Puller, *, database: Database | None = None, intake: Intake | None = None
    ) -> Puller:
        catalog = FixedCatalog({self.account.id: self.account})
        return kind(database or self.database, catalog, intake or self.door.intake, self.http, poke=lambda: None)

    async def ring(self, token: str = "t") -> None:
        bell = {"source": SOURCE, "token": token}
        await self.door.intake.store(
            self.account, transport="webhook", headers={}, body=b"bell", parsed=Parsed(), bell=bell
        )

    async def row(self) -> ChannelCursor:
        async with self.database.begin() as session:
            return (await session.exec(select(ChannelCursor))).one()

    async def make(self, statement: str) -> None:
        async with self.database.begin() as session:
            await session.execute(text(f"UPDATE channel_cursor SET {statement}"))

    async def keys(self) -> list[str | None]:
        async with self.database.begin() as session:
            return list((await session.exec(select(Message.external_id).order_by(col(Message.seq)))).all())

    async def in_s(self) -> float:
        """Seconds until it is due."""
        async with self.database.begin() as session:
            found = await session.execute(text("SELECT extract(epoch FROM due_at - now()) FROM channel_cursor"))
            return float(found.scalar_one())


@pytest.fixture
async def house(database: Database, door: Door) -> AsyncIterator[House]:
    provider = Provider()
    account = replace(door.account, adapter=cast(Adapter, provider))
    async with httpx.AsyncClient() as http:
        yield House(database, door, provider, account, http)


@asynccontextmanager
async def reading(puller: Puller) -> AsyncIterator[None]:
    """As the loop does it, but quicker."""

    wake, stopping = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(Loop("pull", puller.step, wake, tick_s=0.005).run(stopping))
    try:
        yield
    finally:
        stopping.set()
        wake.set()
        await task
        await puller.drain(5)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.01)


async def step(puller: Puller) -> float | None:
    delay = await puller.step()
    await puller.idle()
    return delay


async def test_page_by_page_until_there_is_no_more(house: House) -> None:
    house.provider.waiting = [f"m{number}" for number in range(5)]
    await house.ring("first")
    puller = house.puller()
    await step(puller)
    assert house.provider.asked == [("first", ""), ("first", "2"), ("first", "4")]
    assert await house.keys() == ["m0", "m1", "m2", "m3", "m4"]
    row = await house.row()
    assert (row.cursor, row.due_at, row.lease_until, row.attempts) == ("5", None, None, 0)
    assert await step(puller) is None
    house.provider.waiting.append("m5")
    await house.ring("second")
    await step(puller)
    assert house.provider.asked[3:] == [("second", "5")]
    assert (await house.keys())[5:] == ["m5"]


async def test_a_bell_is_stored_with_its_call(house: House) -> None:
    await asyncio.gather(*(house.ring(str(number)) for number in range(30)))
    row = await house.row()
    assert (row.source, row.cursor, row.channel_id) == (SOURCE, "", house.account.id)
    async with house.database.begin() as session:
        calls = (await session.exec(select(InboundJournal))).all()
    assert [call.status for call in calls] == ["stored"] * 30
    assert row.due_at is not None


async def test_rung_while_the_last_page_is_read(house: House) -> None:
    house.provider.waiting = ["m0"]

    async def more(cursor: str) -> None:
        if len(house.provider.asked) == 1:
            await house.ring("again")

    house.provider.before = more
    await house.ring()
    puller = house.puller()
    await step(puller)
    await step(puller)
    assert house.provider.asked == [("t", ""), ("again", "1")]
    assert (await house.row()).due_at is None


async def test_many_processes_read_a_source_one_at_a_time(house: House, settings: Settings) -> None:
    databases = [Database(settings) for _ in range(3)]
    async with asyncio.timeout(30):
        async with (
            reading(house.puller(database=databases[0])),
            reading(house.puller(database=databases[1])),
            reading(house.puller(database=databases[2])),
        ):
            for number in range(40):
                house.provider.waiting.append(f"m{number}")
                await house.ring(str(number))

            async def done() -> bool:
                return (await house.row()).due_at is None

            await until(done)
    assert await house.keys() == [f"m{number}" for number in range(40)]
    assert house.provider.most_at_once == 1
    for database in databases:
        await database.close()


class Dies(Puller):
    """Stops for good after the first page was stored and before the cursor moved; `go` lets it go on as a ghost."""

    go: asyncio.Event

    async def _store(self, account: ChannelAccount, item: Claimed, pulled: Pulled) -> None:
        await super()._store(account, item, pulled)
        await self.go.wait()


async def test_a_death_between_page_and_cursor_repeats_the_page_harmlessly(house: House) -> None:
    house.provider.waiting = [f"m{number}" for number in range(6)]
    await house.ring()
    dying = house.puller(Dies)
    dying.go = asyncio.Event()  # type: ignore[attr-defined]
    await dying.step()

    async def stored() -> bool:
        return len(await house.keys()) == 2

    await until(stored)
    other = house.puller()
    await step(other)
    assert (await house.row()).cursor == "", "the lease holds"
    await house.make("lease_until = now() - interval '1 s'")
    await step(other)
    assert [cursor for _, cursor in house.provider.asked] == ["", "", "2", "4"]
    assert await house.keys() == [f"m{number}" for number in range(6)]
    dying.go.set()  # type: ignore[attr-defined]
    await dying.idle()
    row = await house.row()
    assert (row.cursor, row.due_at) == ("6", None), "a ghost moves nothing"
    assert len(house.provider.asked) == 4


@pytest.mark.parametrize(
    ("failure", "retry_after_s", "least", "most"),
    [
        (SendFailure.RETRY, None, 0.5, 1.5),
        (SendFailure.RETRY, 90.0, 88, 110),
        (SendFailure.QUOTA, 3600.0, 3590, 4400),
        (SendFailure.REAUTH, None, 235, 365),
        (SendFailure.CONFIG, None, 235, 365),
    ],
)
async def test_a_failure_is_put_off_and_rings_do_not_hurry_it(
    house: House, failure: SendFailure, retry_after_s: float | None, least: float, most: float
) -> None:
    house.provider.waiting = ["m0"]

    async def fails(cursor: str) -> None:
        if len(house.provider.asked) == 1:
            raise SendError(failure, "no", retry_after_s=retry_after_s)

    house.provider.before = fails
    await house.ring("old")
    puller = house.puller()
    await step(puller)
    await house.ring("new")
    row = await house.row()
    assert (row.attempts, row.lease_until, row.bell["token"]) == (1, None, "new")
    assert least < await house.in_s() < most
    await house.make("due_at = now()")
    await step(puller)
    row = await house.row()
    assert (row.attempts, row.due_at, row.cursor) == (0, None, "1")
    assert house.provider.asked == [("old", ""), ("new", "")]
    assert await house.keys() == ["m0"]


async def test_what_the_adapter_gets_wrong_and_what_is_switched_off_are_put_off(house: House) -> None:
    async def wrong(cursor: str) -> None:
        raise RuntimeError("a mistake")

    house.provider.before = wrong
    await house.ring()
    await step(house.puller())
    assert (await house.row()).attempts == 1
    await house.make("due_at = now()")
    nobody = Puller(house.database, FixedCatalog({}), house.door.intake, house.http, poke=lambda: None)
    await step(nobody)
    assert (await house.row()).attempts == 2
    assert house.provider.asked == [("t", "")]


async def test_what_was_not_stored_is_pulled_again(house: House) -> None:
    class Full(Intake):
        async def store(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("the database does not answer")

    house.provider.waiting = ["m0"]
    await house.ring()
    full = object.__new__(Full)
    await step(house.puller(intake=full))
    assert (await house.row()).cursor == ""
    await house.make("due_at = now()")
    await step(house.puller())
    assert await house.keys() == ["m0"]


async def test_a_large_page_goes_in_in_pieces_and_an_empty_one_leaves_no_trace(house: House) -> None:
    house.provider.size, house.provider.waiting = 250, [f"m{number}" for number in range(250)]
    await house.ring()
    await step(house.puller())
    await house.ring()
    await step(house.puller())
    assert await house.keys() == house.provider.waiting
    async with house.database.begin() as session:
        pulled = (
            await session.exec(
                select(InboundJournal).where(InboundJournal.transport == "pull").order_by(col(InboundJournal.id))
            )
        ).all()
    assert len(pulled) == 3
    with pytest.raises(Conflict):
        await house.door.intake.replay(pulled[0].id)


async def test_a_bell_that_is_read_again_rings_again(house: House) -> None:
    await house.ring()
    await step(house.puller())
    async with house.database.begin() as session:
        [call] = (await session.exec(select(InboundJournal))).all()
    ids: dict[UUID, ChannelAccount] = {house.account.id: house.account}
    house.door.intake._catalog = FixedCatalog(ids)
    house.provider.parse = lambda config, call: Parsed()  # type: ignore[method-assign]
    await house.door.intake.replay(call.id)
    assert (await house.row()).due_at is not None
