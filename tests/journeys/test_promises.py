"""What holds with several processes, under races and under kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from websockets.exceptions import WebSocketException

from tests.support.providers import PartnerSystem
from tests.support.server import Server
from tests.support.sockets import Desk

KILLS = 20


@pytest.fixture
async def pair(empty_database: str, server: Server, tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """Two server processes on one database."""
    other = Server(empty_database, tmp_path, admin=server.admin)
    await other.start()
    yield server, other
    assert await other.stop() == 0


class Shop:
    """A partner channel in a queue of its own, with a supervisor who sees everything that happens there."""

    def __init__(self, server: Server, partner: PartnerSystem, path: str, watcher: str) -> None:
        self.server, self.partner, self.path, self.watcher = server, partner, path, watcher

    @classmethod
    async def open(cls, server: Server) -> Shop:
        partner = PartnerSystem()
        queue = await server.api("POST", "/queues", {"name": f"Shop {secrets.token_hex(3)}"})
        channel = await server.make_channel("partner", {"secret": partner.secret}, queue_id=queue["id"])
        watcher = await server.make_agent("Wanda Watcher", role="supervisor", queue_ids=[queue["id"]])
        return cls(server, partner, f"/channels/{channel['id']}/webhook", watcher["token"])

    async def post(self, client: httpx.AsyncClient, server: Server, number: Any, sender: str = "one") -> int:
        item = {"id": f"call-{number}", "from": {"id": sender}, "text": f"message {number}"}
        return (await self.partner.post(client, server.base + self.path, item)).status_code

    async def messages(self, connection: asyncpg.Connection) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await connection.fetch(
            "SELECT conversation_id, seq, external_id FROM message WHERE channel_id = $1 ORDER BY conversation_id, seq",
            self.path.split("/")[2],
        )
        return rows


async def test_the_same_call_fifty_times_at_once_is_one_message(pair: tuple[Server, Server]) -> None:
    shop = await Shop.open(pair[0])
    async with httpx.AsyncClient(timeout=20) as client:
        answers = await asyncio.gather(*(shop.post(client, pair[n % 2], "same") for n in range(50)))
    assert answers == [200] * 50
    connection = await asyncpg.connect(pair[0].database_url)
    rows = await shop.messages(connection)
    await connection.close()
    assert [(row["seq"], row["external_id"]) for row in rows] == [(1, "call-same")]


async def test_two_hundred_first_messages_at_once_are_one_conversation(pair: tuple[Server, Server]) -> None:
    shop = await Shop.open(pair[0])
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=200)) as client:
        answers = await asyncio.gather(*(shop.post(client, pair[n % 2], n) for n in range(200)))
    assert answers == [200] * 200
    connection = await asyncpg.connect(pair[0].database_url)
    rows = await shop.messages(connection)
    await connection.close()
    assert len({row["conversation_id"] for row in rows}) == 1
    assert [row["seq"] for row in rows] == list(range(1, 201))
    assert {row["external_id"] for row in rows} == {f"call-{n}" for n in range(200)}


async def test_a_transaction_held_open_hides_nothing_from_a_cursor(server: Server) -> None:
    """A writer that has its place in the order and does not commit for a while: nobody's cursor passes it."""
    shop = await Shop.open(server)
    holder = await asyncpg.connect(server.database_url)
    async with httpx.AsyncClient(timeout=20) as client:
        await shop.post(client, server, "first", sender="held")
        [row] = await shop.messages(holder)
        desk = await Desk(server.socket_base, shop.watcher).open()
        cursor = desk.cursor
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(
            "SELECT append_event_v1($1, 'agent.joined', 'conversation', '{}', '{}', false, 'system', NULL, NULL, "
            "jsonb_build_object('agent', jsonb_build_object('id', gen_random_uuid(), 'name', 'held back')))",
            row["conversation_id"],
        )
        others = [await shop.post(client, server, f"during {n}", sender=f"other {n}") for n in range(20)]
        assert others == [200] * 20
        await desk.close()
        during = await Desk(server.socket_base, shop.watcher, cursor=cursor).open()
        await asyncio.sleep(5)  # the length of the stall is what is tested
        assert not during.events, "nothing may be handed out from behind a transaction that could still add before it"
        cursor = during.cursor
        await during.close()
        await transaction.commit()
        await shop.post(client, server, "last", sender="held")
    async with Desk(server.socket_base, shop.watcher, cursor=cursor) as back:
        await back.expect("message.created", lambda frame: frame["message"]["text"] == "message last")
        texts = [frame["message"]["text"] for frame in back.events if frame["type"] == "message.created"]
        assert sorted(texts) == sorted([*(f"message during {n}" for n in range(20)), "message last"])
        assert sum(frame["type"] == "agent.joined" for frame in back.events) == 1
        cursors = [frame["cursor"] for frame in back.events]
        assert cursors == sorted(set(cursors))
    await holder.close()


def workers_of(server: Server) -> list[int]:
    """The worker processes below the launcher; one that dies while we look is none of them."""
    assert server.process is not None
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if b"worker" in _command_line(pid)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class Watch:
    """A console that reconnects with its cursor whenever its process was killed."""

    def __init__(self, server: Server, token: str) -> None:
        self._server, self._token = server, token
        self.cursor: str | None = None
        self.events: list[dict[str, Any]] = []
        self.started = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                desk = Desk(self._server.socket_base, self._token, **({"cursor": self.cursor} if self.cursor else {}))
                await desk.open()
                self.started.set()
                try:
                    await desk.wait_closed(within=600)
                finally:
                    self.events += desk.events
                    self.cursor = desk.cursor
            except (OSError, WebSocketException, AssertionError):
                await asyncio.sleep(0.02)


@pytest.mark.timeout(300)
async def test_nothing_acknowledged_is_lost_by_kill_9(empty_database: str, server: Server, tmp_path: Path) -> None:
    busy = await Server(empty_database, tmp_path, admin=server.admin, workers=2).start()
    shop = await Shop.open(busy)
    watch = Watch(busy, shop.watcher)
    watching = asyncio.create_task(watch.run())
    await watch.started.wait()
    acknowledged: set[str] = set()
    numbers, stop, progress = itertools.count(), asyncio.Event(), asyncio.Event()

    async def customer(name: str) -> None:
        async with httpx.AsyncClient(timeout=5) as client:
            while not stop.is_set():
                number = next(numbers)
                while True:
                    with contextlib.suppress(httpx.HTTPError):
                        if await shop.post(client, busy, number, sender=name) == 200:
                            acknowledged.add(f"call-{number}")
                            progress.set()
                            break
                    await asyncio.sleep(0.01)

    customers = [asyncio.create_task(customer(f"customer {n}")) for n in range(8)]
    for _ in range(KILLS):
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            progress.clear()
            await progress.wait()
        victims = workers_of(busy)
        os.kill(victims[secrets.randbelow(len(victims))], signal.SIGKILL)
    stop.set()
    await asyncio.gather(*customers)
    connection = await asyncpg.connect(empty_database)
    rows = await shop.messages(connection)
    await connection.close()
    stored = [row["external_id"] for row in rows]
    assert len(stored) == len(set(stored)), "every message is there once"
    assert acknowledged <= set(stored), "every acknowledged message is there"
    for _, group in itertools.groupby(rows, key=lambda row: row["conversation_id"]):
        seqs = [row["seq"] for row in group]
        assert seqs == list(range(1, len(seqs) + 1)), "seq has no gap"
    await busy.ready()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    async with Desk(busy.socket_base, shop.watcher, **({"cursor": watch.cursor} if watch.cursor else {})) as desk:
        async with httpx.AsyncClient(timeout=5) as client:
            await shop.post(client, busy, "really the end")
        await desk.expect("message.created", lambda frame: frame["message"]["text"] == "message really the end")
        events = watch.events + desk.events
    texts = [event["message"]["text"] for event in events if event["type"] == "message.created"]
    assert len(texts) == len(set(texts)), "the agent saw each message once"
    assert {f"message {call.removeprefix('call-')}" for call in stored} <= set(texts), "the agent saw every message"
    cursors = [event["cursor"] for event in events]
    assert cursors == sorted(cursors), "in the order of the log"
    assert await busy.stop() == 0
