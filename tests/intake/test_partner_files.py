"""Files that a partner names by address: fetched from the internet, never from networks of our own, however we are led."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from sqlmodel import select

from app.catalog import CatalogCache
from app.channels.base import Call, InboundMessage, RemoteFile, Sender
from app.channels.partner import PartnerAdapter
from app.channels.provider import FetchError
from app.clock import now
from app.db import Database
from app.delivery.guard import GuardedTransport
from app.events import shapes
from app.intake.ingest import Stored
from app.intake.media import Fetcher
from app.intake.store import FileStore
from app.main import outgoing_client
from app.models import Channel, InboundJournal, MediaFetch, Message
from app.settings import Settings, networks
from app.vault import Vault
from app.wakeups import Wakeups
from tests.channels.test_partner import CONFIG
from tests.intake.conftest import Door
from tests.support.providers import Answer, HttpServer

LIMIT = 1000
PRIVATE = "the address is private; ROUNDTRIP_FETCH_NETWORKS names private networks that are allowed"


class Files(HttpServer):
    """Serves `/bill`, sends on from `/to/...`, and goes round in circles at `/round`."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.serve
        self.beyond = ""

    async def serve(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        places = {
            "/moved": "/bill",
            "/round": "/round",
            "/inside": self.beyond,
            "/odd": "gopher://x/",
            "/bare": "http://",
        }
        if path in places:
            return 302, {"location": places[path]}, b""
        if path == "/large":
            return 200, {}, b"x" * (LIMIT + 1)
        return (200, {"content-type": "application/pdf"}, b"%PDF") if path == "/bill" else (404, {}, b"")


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    async with Files() as server:
        yield server


@dataclass
class Room:
    """A partner's channel with its intake; a fetcher per look."""

    database: Database
    settings: Settings
    catalog: CatalogCache
    store: FileStore
    door: Door
    http: httpx.AsyncClient

    async def sent(self, url: str) -> Stored:
        """A message that names a file at this address."""
        file = RemoteFile("bill.pdf", "application/pdf", 12, {"url": url})
        message = InboundMessage(url, Sender("partner", "grace"), "my bill", files=[file])
        [stored] = await self.door.come_in(message)
        return stored

    async def become(self, stored: Stored, *, allowed: str = "") -> dict[str, Any]:
        """What became of the file, as its message remembers it."""
        settings = self.settings.model_copy(update={"fetch_networks": allowed})
        fetcher = Fetcher(self.database, self.catalog, settings, self.http, self.store, poke=lambda: None)
        await fetcher.step()
        await fetcher.idle()
        await fetcher.drain(within_s=0)
        async with self.database.begin() as session:
            message = await session.get_one(Message, stored.message_id)
        item: dict[str, Any] = message.attachments[0]
        return item


@pytest.fixture
async def room(
    database: Database, vault: Vault, settings: Settings, channel: Channel, door: Door
) -> AsyncIterator[Room]:
    settings = settings.model_copy(update={"attachment_limit": LIMIT})
    catalog = CatalogCache(database, vault, Wakeups(database))
    async with httpx.AsyncClient() as http:
        store = FileStore(settings.attachments_dir, limit=LIMIT)
        yield Room(database, settings, catalog, store, door, http)


async def test_a_file_on_this_machine_is_not_fetched_unless_its_network_is_named(room: Room, files: Files) -> None:
    stored = await room.sent(f"{files.base}/bill")
    assert (await room.become(stored))["error"] == PRIVATE
    assert files.requests == []
    again = await room.sent(f"{files.base}/moved")
    item = await room.become(again, allowed="127.0.0.0/8, ::1/128")
    assert (item["size"], room.store.open_path(item["sha256"]).read_bytes()) == (4, b"%PDF")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/round", "the file's server sends us round in circles"),
        ("/none", "the file's server answered 404"),
        ("/large", f"the file has more than {LIMIT} bytes"),
    ],
)
async def test_what_cannot_be_fetched_says_why_once(room: Room, files: Files, path: str, error: str) -> None:
    stored = await room.sent(files.base + path)
    assert (await room.become(stored, allowed="127.0.0.0/8"))["error"] == error


def guarded(names: dict[str, Sequence[str]], *, allowed: str) -> httpx.AsyncClient:
    """Names as the test wants them: every look-up takes the next answer."""
    answers = {name: list(found) for name, found in names.items()}

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = answers.get(host, [host])
        return [found.pop(0) if len(found) > 1 else found[0]]

    transport = GuardedTransport(private=False, resolve=resolve, allowed=networks(allowed))
    return httpx.AsyncClient(transport=transport, trust_env=False)


async def fetch(http: httpx.AsyncClient, url: str) -> bytes:
    async with http:
        return await PartnerAdapter().fetch(CONFIG, RemoteFile("f", "a/b", None, {"url": url}), http, limit=100)


@pytest.mark.parametrize(
    "inside", ["http://169.254.169.254/latest", "http://[::1]:1/", "http://10.0.0.1/", "http://intern/"]
)
async def test_a_redirect_leads_nowhere_private(files: Files, inside: str) -> None:
    files.beyond = inside
    http = guarded({"intern": ["192.168.1.1"]}, allowed="127.0.0.1/32")
    with pytest.raises(FetchError, match="private") as refused:
        await fetch(http, f"{files.base}/inside")
    assert refused.value.retry is False
    assert len(files.requests) == 1


async def test_a_name_that_means_something_else_a_moment_later_is_looked_up_once(files: Files) -> None:
    """The first answer is the one that is called: the second would be a private address."""
    http = guarded({"shop.example": ["127.0.0.1", "10.0.0.1"]}, allowed="127.0.0.1/32")
    assert await fetch(http, f"http://shop.example:{files.port}/bill") == b"%PDF"
    turned = guarded({"shop.example": ["127.0.0.1", "10.0.0.1"]}, allowed="127.0.0.1/32")
    with pytest.raises(FetchError, match="private"):
        await fetch(turned, f"http://shop.example:{files.port}/moved")


@pytest.mark.parametrize("path", ["/odd", "/bare"])
async def test_other_schemes_are_not_followed(files: Files, path: str) -> None:
    with pytest.raises(FetchError) as refused:
        await fetch(guarded({}, allowed="127.0.0.1/32"), files.base + path)
    assert refused.value.retry is False


async def test_channels_of_administrators_may_be_kept_out_of_private_networks(settings: Settings, files: Files) -> None:
    async with outgoing_client(settings) as http:
        assert (await http.get(f"{files.base}/bill")).content == b"%PDF"
    async with outgoing_client(settings.model_copy(update={"channel_private": False})) as http:
        with pytest.raises(httpx.TransportError, match="ROUNDTRIP_CHANNEL_PRIVATE"):
            await http.get(f"{files.base}/bill")


async def test_what_cannot_be_read_stays_with_the_message_and_in_the_journal(database: Database, door: Door) -> None:
    body = {"id": "m1", "from": {"id": "grace"}, "text": "", "attachments": [{"name": "x", "data": "!!!"}, "http://x"]}
    call = Call("POST", "", {}, {}, orjson.dumps(body), now())
    parsed = PartnerAdapter().parse(CONFIG, call)
    [stored] = await door.intake.store(door.account, transport="test", headers={}, body=call.body, parsed=parsed)
    async with database.begin() as session:
        row = await session.get_one(Message, stored.message_id)
        journal = (await session.exec(select(InboundJournal))).one()
        assert (await session.exec(select(MediaFetch))).all() == [], "there is nothing to be fetched"
    shown = [(item["name"], item["url"], item["error"]) for item in shapes.stored_message(row)["attachments"]]
    assert shown == [("x", None, "data is not base64"), ("file-2", None, "not an object")]
    assert (journal.status, journal.error) == (
        "failed",
        "attachment x: data is not base64; attachment file-2: not an object",
    )
