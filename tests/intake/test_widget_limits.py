"""A script cannot flood us with visitors, hellos, messages or signals; an office behind one address can work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import connect

from app.errors import TooManyRequests
from app.intake.limits import Buckets, require
from tests.intake.sites import Site, open_site, passport
from tests.support.server import Server
from tests.support.sockets import Refused, Widget

_TIGHT = {
    "ROUNDTRIP_WIDGET_RATE_PER_S": "0.001",
    "ROUNDTRIP_WIDGET_BURST": "3",
    "ROUNDTRIP_WIDGET_HELLOS_PER_S": "0.001",
    "ROUNDTRIP_WIDGET_HELLO_BURST": "8",
    "ROUNDTRIP_WIDGET_NEWCOMERS_PER_S": "0.001",
    "ROUNDTRIP_WIDGET_NEWCOMER_BURST": "4",
}


def _serve(beside: Server, home: Any, **more: str) -> Iterator[Server]:
    live = Server(beside.database_url, home, admin=beside.admin, environment={**_TIGHT, **more})
    asyncio.run(live.start())
    yield live
    asyncio.run(live.stop())


@pytest.fixture(scope="module")
def tight(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Narrow limits, behind a proxy on this machine; `server` has migrated the database."""
    yield from _serve(server, tmp_path_factory.mktemp("tight"))


@pytest.fixture
def nobody_trusted(server: Server, tmp_path: Any) -> Iterator[Server]:
    yield from _serve(server, tmp_path, ROUNDTRIP_TRUSTED_PROXIES="")


class Far(Widget):
    """Comes through a proxy that says from where."""

    def __init__(self, site: Site, address: str, **hello: Any) -> None:
        super().__init__(site.server.socket_base, site.channel_id, **hello)
        self.address = address

    async def connect(self, *, origin: Any = None) -> None:
        self._socket = await connect(
            self.base + self.path, compression=None, additional_headers={"X-Forwarded-For": self.address}
        )
        self._reader = asyncio.create_task(self._read())
        await self.send({"type": "hello", **self.hello})


async def _visitors(url: str, channel_id: str) -> int:
    connection = await asyncpg.connect(url)
    count: int = await connection.fetchval("SELECT count(*) FROM visitor WHERE channel_id = $1", channel_id)
    await connection.close()
    return count


async def _refused(widget: Widget) -> dict[str, Any]:
    async with widget.knocking():
        error = await widget.expect("error")
        assert (error["code"], error["retry_after"] > 0) == ("rate-limited", True)
        assert await widget.wait_closed() == 1013
    return error


async def test_new_visitors_and_hellos_are_counted_by_address(tight: Server, own_database: str) -> None:
    site = await open_site(tight)
    tokens = []
    for _ in range(4):
        async with Far(site, "203.0.113.7") as widget:
            tokens.append(widget.welcome["visitor_token"])
    await _refused(Far(site, "203.0.113.7"))
    await _refused(Far(site, "203.0.113.7", identity=passport("somebody")))
    assert await _visitors(own_database, site.channel_id) == 4
    async with Far(site, "203.0.113.7", visitor_token=tokens[0]) as known:
        assert known.welcome["visitor_token"] == tokens[0], "who has been here before still comes in"
    async with Far(site, "198.51.100.1") as elsewhere:
        assert elsewhere.welcome["visitor_token"]
    async with Far(site, "203.0.113.7", visitor_token=tokens[1]):
        pass
    error = await _refused(Far(site, "203.0.113.7", visitor_token=tokens[0], id="mine"))
    assert error["re"] == "mine"


async def test_a_network_of_ipv6_is_one_address(tight: Server) -> None:
    site = await open_site(tight)
    for number in range(4):
        async with Far(site, f"2001:db8:1:2:{number}::1"):
            pass
    await _refused(Far(site, "2001:db8:1:2:ffff::1"))
    async with Far(site, "2001:db8:1:3::1"):
        pass


async def test_a_proxy_that_is_not_trusted_says_nothing(nobody_trusted: Server) -> None:
    site = await open_site(nobody_trusted)
    for number in range(4):
        async with Far(site, f"203.0.113.{number}"):
            pass
    await _refused(Far(site, "203.0.113.200"))


async def test_messages_and_signals_of_a_visitor(tight: Server) -> None:
    site = await open_site(tight)
    async with Far(site, "203.0.113.9") as widget:
        for number in range(3):
            await widget.command("message.send", client_message_id=str(number), text="hello")
        with pytest.raises(Refused) as refused:
            await widget.command("message.send", client_message_id="3", text="hello")
        assert (refused.value.code, refused.value.frame["retry_after"] > 0) == ("rate-limited", True)
        await widget.command("typing")
        await widget.command("conversation.read", seq=1)
        await widget.command("typing", on=False)
        for command in ("typing", "feedback.submit"):
            with pytest.raises(Refused) as refused:
                await widget.command(command)
            assert refused.value.code == "rate-limited"
        assert (await widget.command("ping"))["type"] == "pong"


def test_buckets_fill_again_and_forget_the_oldest() -> None:
    buckets = Buckets(1000, 2, size=2)
    assert [buckets.take("a") for _ in range(2)] == [0, 0]
    slow = Buckets(0.5, 1)
    assert slow.take("a") == 0
    assert 1.9 < slow.take("a") <= 2
    for key in ("b", "c"):
        buckets.take(key)
    assert list(buckets._buckets) == ["b", "c"]
    with pytest.raises(TooManyRequests) as refused:
        require(0, 2.04)
    assert refused.value.extra == {"retry_after": 2.0}
    require(0, 0)
