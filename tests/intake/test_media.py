"""Files that messages only name are brought here: once, whatever fails on the way, and never inside a transaction."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import col, select

from app import catalog as catalogs
from app import main
from app.background import Loop
from app.catalog import CatalogCache
from app.channels.base import InboundMessage, RemoteFile, Sender
from app.channels.telegram import TelegramAdapter
from app.channels.telegram_updates import parse_update
from app.context import Context
from app.db import Database
from app.delivery.backoff import Schedule
from app.events import shapes
from app.intake import media
from app.intake.ingest import Intake, Stored
from app.intake.media import Fetcher
from app.intake.store import FileStore
from app.models import Attachment, Channel, Event, MediaFetch, Message
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups
from tests.desk.house import House as Desk
from tests.desk.house import build_app, build_client, build_context
from tests.intake.conftest import Door
from tests.support.providers import Answer, HttpServer

LIMIT = 1000
PHOTO = b"\xff\xd8 a photo of a scratched door"
AT_ONCE = Schedule(steps_s=(0.01,), total_s=3600)
_NUMBERS = itertools.count(1)


class FileServer(HttpServer):
    """Telegram's getFile and its file downloads. `statuses` are given out first, `held` keeps downloads waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.serve
        self.data = PHOTO
        self.statuses: list[int] = []
        self.held: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.downloads: list[str] = []

    async def serve(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path == "/bot1:token/getFile":
            file_id = orjson.loads(body)["file_id"]
            answer = {"ok": True, "result": {"file_id": file_id, "file_path": f"photos/{file_id}.jpg"}}
            return 200, {"content-type": "application/json"}, orjson.dumps(answer)
        assert path.startswith("/file/bot1:token/photos/")
        self.downloads.append(path.rpartition("/")[2])
        self.asked.set()
        if self.held is not None:
            await self.held.wait()
        if self.statuses:
            return self.statuses.pop(0), {}, b"no"
        return 200, {"content-type": "image/jpeg"}, self.data


def photo_update() -> dict[str, Any]:
    number = next(_NUMBERS)
    sizes = [{"file_id": f"f{number}", "width": 90, "height": 90, "file_size": len(PHOTO)}]
    person, chat = {"id": 4711, "is_bot": False, "first_name": "Li"}, {"id": 4711, "type": "private"}
    return {"update_id": number, "message": {"message_id": number, "from": person, "chat": chat, "photo": sizes}}


@dataclass
class Room:
    """A Telegram channel with its intake, and as many fetchers as a test wants."""

    database: Database
    settings: Settings
    catalog: CatalogCache
    http: httpx.AsyncClient
    files: FileStore
    door: Door
    telegram: FileServer
    fetchers: list[Fetcher] = field(default_factory=list)

    def fetcher(
        self, *, schedule: Schedule = AT_ONCE, lease_s: float = 60, poke: Callable[[], None] = lambda: None
    ) -> Fetcher:
        made = Fetcher(
            self.database, self.catalog, self.settings, self.http, self.files,
            poke=poke, schedule=schedule, lease_s=lease_s,
        )  # fmt: skip
        self.fetchers.append(made)
        return made

    async def photo(self) -> Stored:
        [stored] = await self.door.come_in(*parse_update(photo_update()).messages)
        return stored

    async def file_of(self, stored: Stored) -> dict[str, Any]:
        """Its one attachment, as the message remembers it."""
        async with self.database.begin() as session:
            message = await session.get(Message, stored.message_id)
        assert message is not None
        [item] = message.attachments
        return item

    async def rows(self, table: Any, *where: Any) -> list[Any]:
        async with self.database.begin() as session:
            return list((await session.exec(select(table).where(*where))).all())

    async def updates(self) -> list[Event]:
        return await self.rows(Event, col(Event.type) == "conversation.updated")

    async def run(self, fetcher: Fetcher, statement: str) -> None:
        await fetcher.idle()
        async with self.database.begin() as session:
            await session.execute(text(statement))
        await fetcher.step()
        await fetcher.idle()


@pytest.fixture
async def room(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Room]:
    async with FileServer() as telegram, httpx.AsyncClient() as http:
        settings = settings.model_copy(update={"attachment_limit": LIMIT})
        sealed = catalogs.seal_secrets(vault, {"bot_token": "1:token", "secret_token": "hook"})
        async with database.begin() as session:
            session.add(Channel(type="telegram", name="bot", config={"api_base": telegram.base}, secrets=sealed))
        catalog = CatalogCache(database, vault, Wakeups(database))
        files = FileStore(settings.attachments_dir, limit=LIMIT)
        intake = Intake(database, catalog, vault, settings, files)
        intake.start()
        channels = (await catalog.current()).channels.values()
        [account] = [channel for channel in channels if channel.type == "telegram"]
        room = Room(database, settings, catalog, http, files, Door(intake, account), telegram)
        yield room
        for fetcher in room.fetchers:
            await fetcher.drain(within_s=0)
        await intake.stop()


async def test_a_photo_is_stored_shown_and_downloaded(room: Room, vault: Vault) -> None:
    stored = await room.photo()
    before = await room.file_of(stored)
    assert (before["sha256"], shapes.attachment(before)["url"]) == (None, None)
    fetcher = room.fetcher()
    await fetcher.step()
    await fetcher.idle()

    item = await room.file_of(stored)
    assert "remote" not in item
    shape = {"id": item["id"], "name": "photo.jpg", "media_type": "image/jpeg", "size": len(PHOTO)}
    assert shapes.attachment(item) == {**shape, "url": f"/api/v1/attachments/{item['id']}"}
    assert room.files.open_path(item["sha256"]).read_bytes() == PHOTO
    [row] = await room.rows(Attachment)
    assert (str(row.id), row.sha256, row.size, row.message_id) == (
        item["id"], item["sha256"], len(PHOTO), stored.message_id,
    )  # fmt: skip
    assert await room.rows(MediaFetch) == []
    [event] = await room.updates()
    assert (event.conversation_id, event.to_customer) == (stored.conversation_id, False)
    assert event.payload["conversation"]["id"] == str(stored.conversation_id)
    told = {name: event.payload[name] for name in ("changed", "message_id", "attachments")}
    assert told == {
        "changed": ["attachments"],
        "message_id": str(stored.message_id),
        "attachments": [shapes.attachment(item)],
    }
    context = build_context(room.database, vault, room.settings)
    async with build_client(build_app(context)) as http:
        caller = await Desk(context, http).caller()
        page = (await caller.call("GET", f"/conversations/{stored.conversation_id}/messages", expect=200)).json()
        assert page["items"][0]["attachments"] == [shapes.attachment(item)], "no error is shown where there is none"
        got = await caller.call("GET", f"/attachments/{item['id']}", expect=200)
        assert (got.content, got.headers["content-type"]) == (PHOTO, "image/jpeg")
    await context.http.aclose()


async def test_the_loop_is_woken_by_the_message_and_only_by_files(room: Room) -> None:
    """Wakeups come in the order in which they were sent: a `media` of the first message would be here by then."""
    wakeups = Wakeups(room.database)
    woken, told = wakeups.subscribe(media.TOPIC), wakeups.subscribe("events")
    await wakeups.start()
    woken.clear()
    told.clear()
    await room.door.come_in(InboundMessage("plain", Sender("telegram", "1"), "no file"))
    await asyncio.wait_for(told.wait(), 5)
    assert not woken.is_set()
    await room.photo()
    await asyncio.wait_for(woken.wait(), 5)
    await wakeups.stop()


async def test_a_running_process_brings_it_long_before_its_sweep(database: Database, settings: Settings) -> None:
    secret = SecretStr("a key for this test alone, 0123456789")
    app = main.build(settings.model_copy(update={"secret_key": secret}))
    async with FileServer() as telegram, app.router.lifespan_context(app):
        context: Context = app.state.context
        sealed = catalogs.seal_secrets(context.vault, {"bot_token": "1:token", "secret_token": "hook"})
        async with database.begin() as session:
            channel = Channel(type="telegram", name="bot", config={"api_base": telegram.base}, secrets=sealed)
            session.add(channel)
            await context.catalog.changed(session)
        headers = {"x-telegram-bot-api-secret-token": "hook"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://house") as client:
            answer = await client.post(f"/channels/{channel.id}/webhook", json=photo_update(), headers=headers)
        assert answer.status_code == 200
        async with asyncio.timeout(60):
            while True:
                async with database.begin() as session:
                    found = (await session.exec(select(Attachment))).all()
                if found:
                    break
                await asyncio.sleep(0.05)
        assert context.files.open_path(found[0].sha256).read_bytes() == PHOTO


async def test_a_server_error_is_tried_again(room: Room) -> None:
    room.telegram.statuses = [500, 503]
    stored = await room.photo()
    wake = asyncio.Event()
    fetcher = room.fetcher(poke=wake.set)
    loop, stopping = Loop("fetcher", fetcher.step, wake, tick_s=30), asyncio.Event()
    running = asyncio.create_task(loop.run(stopping))
    try:
        async with asyncio.timeout(60):
            while not (await room.file_of(stored))["sha256"]:
                await asyncio.sleep(0.02)
    finally:
        stopping.set()
        wake.set()
        await running
    assert len(room.telegram.downloads) == 3
    assert len(await room.updates()) == 1, "a try that failed is nobody's business yet"
    assert loop.failures == 0


@pytest.mark.parametrize(
    ("status", "size", "error"),
    [
        (200, LIMIT + 1, f"the file has more than {LIMIT} bytes"),
        (404, 1, "the file's server answered 404"),
    ],
)
async def test_what_will_not_work_later_either_is_an_error(room: Room, status: int, size: int, error: str) -> None:
    room.telegram.data, room.telegram.statuses = b"x" * size, [status] if status != 200 else []
    stored = await room.photo()
    fetcher = room.fetcher()
    await fetcher.step()
    await fetcher.idle()
    item = await room.file_of(stored)
    assert (item["error"], item["sha256"]) == (error, None)
    assert item["remote"], "the reference stays, for whoever can make use of it"
    assert await room.rows(MediaFetch) == []
    assert await room.rows(Attachment) == []
    [event] = await room.updates()
    assert event.payload["attachments"] == [shapes.attachment(item)]
    assert (event.payload["attachments"][0]["error"], event.payload["attachments"][0]["url"]) == (error, None)


async def test_after_a_day_it_is_given_up(room: Room) -> None:
    room.telegram.statuses = [500, 500]
    stored = await room.photo()
    fetcher = room.fetcher(schedule=Schedule())
    await fetcher.step()
    await fetcher.idle()
    [row] = await room.rows(MediaFetch)
    assert (row.attempts, row.lease_until) == (1, None)
    assert "error" not in await room.file_of(stored)
    await room.run(fetcher, "UPDATE media_fetch SET due_at = now(), first_attempt_at = now() - interval '25 hours'")
    item = await room.file_of(stored)
    assert item["error"] == "given up after 2 attempts: the file's server answered 500"
    assert await room.rows(MediaFetch) == []


async def test_a_crash_in_flight_is_found_by_its_lease(room: Room) -> None:
    room.telegram.held = asyncio.Event()
    stored = await room.photo()
    dying, next_one = room.fetcher(), room.fetcher()
    await dying.step()
    await asyncio.wait_for(room.telegram.asked.wait(), 5)
    await dying.drain(within_s=0)
    room.telegram.held.set()

    delay = await next_one.step()
    await next_one.idle()
    assert (await room.file_of(stored))["sha256"] is None, "it is leased to another"
    assert delay is not None
    assert 50 < delay <= 60, "the end of the lease is when to look again"
    await room.run(next_one, "UPDATE media_fetch SET lease_until = now()")
    assert (await room.file_of(stored))["sha256"]
    assert await room.rows(MediaFetch) == []
    assert len(room.telegram.downloads) == 2


async def test_the_overtaken_changes_nothing(room: Room) -> None:
    """The first is so slow that its lease runs out; the second brings the file, the first then fails, or brings it."""
    for late in (404, 200):
        room.telegram.held, room.telegram.asked = asyncio.Event(), asyncio.Event()
        stored = await room.photo()
        slow, quick = room.fetcher(lease_s=0.001), room.fetcher()
        await slow.step()
        await asyncio.wait_for(room.telegram.asked.wait(), 5)
        held, room.telegram.held = room.telegram.held, None
        async with asyncio.timeout(5):
            while not (await room.file_of(stored))["sha256"]:
                await quick.step()
                await quick.idle()
        room.telegram.statuses = [late] if late != 200 else []
        before = len(await room.updates())
        held.set()
        await slow.idle()
        item = await room.file_of(stored)
        assert item["sha256"]
        assert "error" not in item
        assert len(await room.updates()) == before
    assert len(await room.rows(Attachment)) == 2


async def test_two_fetchers_bring_each_file_once(room: Room) -> None:
    photos = [await room.photo() for _ in range(20)]
    fetchers = [room.fetcher(), room.fetcher()]
    async with asyncio.timeout(20):
        while await room.rows(MediaFetch):
            await asyncio.gather(*(fetcher.step() for fetcher in fetchers for _ in range(2)))
            assert all(len(fetcher._flight) <= 8 for fetcher in fetchers)
            await asyncio.gather(*(fetcher.idle() for fetcher in fetchers))
    assert len(room.telegram.downloads) == len(set(room.telegram.downloads)) == 20
    assert len(await room.rows(Attachment)) == len(await room.updates()) == 20
    assert all([(await room.file_of(photo))["sha256"] for photo in photos])


async def test_several_files_of_one_message_do_not_overwrite_each_other(room: Room) -> None:
    files = [RemoteFile(f"{n}.jpg", "image/jpeg", None, {"file_id": f"x{n}"}) for n in range(4)]
    [stored] = await room.door.come_in(InboundMessage("many", Sender("telegram", "1"), "look", files=files))
    fetcher = room.fetcher()
    await fetcher.step()
    await fetcher.idle()
    async with room.database.begin() as session:
        message = await session.get(Message, stored.message_id)
    assert message is not None
    assert all(item["sha256"] and "remote" not in item for item in message.attachments)
    assert len(await room.rows(Attachment)) == 4


async def test_the_network_is_never_called_inside_a_transaction(room: Room) -> None:
    room.telegram.held = asyncio.Event()
    stored = await room.photo()
    fetcher = room.fetcher()
    await fetcher.step()
    await asyncio.wait_for(room.telegram.asked.wait(), 5)
    async with room.database.begin() as session:
        locked = text("SELECT id FROM conversation WHERE id = :id FOR UPDATE NOWAIT")
        await session.execute(locked, {"id": stored.conversation_id})
        await session.execute(text("SELECT 1 FROM media_fetch FOR UPDATE NOWAIT"))
    room.telegram.held.set()
    await fetcher.idle()
    assert (await room.file_of(stored))["sha256"]


async def test_a_channel_type_without_fetch_says_so(room: Room) -> None:
    async with room.database.begin() as session:
        made = Channel(type="form", name="shop", config={}, secrets="")
        session.add(made)
    room.catalog._stale.set()
    account = await room.catalog.channel(made.id)
    assert account is not None
    file = RemoteFile("bill.pdf", "application/pdf", 12, {"url": f"{room.telegram.base}/bill.pdf"})
    message = InboundMessage("p1", Sender("form", "grace"), "my bill", files=[file])
    [stored] = await Door(room.door.intake, account).come_in(message)
    fetcher = room.fetcher()
    await fetcher.step()
    await fetcher.idle()
    assert (await room.file_of(stored))["error"] == media.NO_FETCH
    assert room.telegram.requests == [], "nobody has said yet which addresses we may call"
    assert await room.rows(MediaFetch) == []


async def test_a_channel_that_is_switched_off_waits(room: Room) -> None:
    stored = await room.photo()
    async with room.database.begin() as session:
        await session.execute(text("UPDATE channel SET active = false"))
    room.catalog._stale.set()
    fetcher = room.fetcher(schedule=Schedule())
    await fetcher.step()
    await fetcher.idle()
    [row] = await room.rows(MediaFetch)
    assert (row.attempts, row.lease_until) == (1, None)
    async with room.database.begin() as session:
        await session.execute(text("UPDATE channel SET active = true"))
    room.catalog._stale.set()
    await room.run(fetcher, "UPDATE media_fetch SET due_at = now()")
    assert (await room.file_of(stored))["sha256"]


async def test_code_that_fails_is_tried_again_and_names_no_secret(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("https://api.example/bot1:token/")

    monkeypatch.setattr(TelegramAdapter, "fetch", broken)
    stored = await room.photo()
    fetcher = room.fetcher(schedule=Schedule(total_s=0))
    await fetcher.step()
    await fetcher.idle()
    error = (await room.file_of(stored))["error"]
    assert error == "given up after 1 attempts: the channel's code failed (RuntimeError)"


async def test_a_full_disk_is_tried_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: FileStore, data: bytes) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FileStore, "put", full)
        stored = await room.photo()
        fetcher = room.fetcher()
        await fetcher.step()
        await fetcher.idle()
    [row] = await room.rows(MediaFetch)
    assert row.attempts == 1
    await room.run(fetcher, "UPDATE media_fetch SET due_at = now()")
    assert (await room.file_of(stored))["sha256"]
