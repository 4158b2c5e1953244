"""What a widget sees: every tab, every cut, no gap and no twin; files that open without an account."""

from __future__ import annotations

import asyncio
import base64
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.intake.sites import Site, passport, said
from tests.support.sockets import Refused, Widget


async def test_every_tab_joins_with_the_first_message_of_one(site: Site) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(site.tab())
        token = one.welcome["visitor_token"]
        others = [await stack.enter_async_context(site.tab(visitor_token=token)) for _ in range(6)]
        stranger = await stack.enter_async_context(site.tab())
        sent = await one.command("message.send", client_message_id="1", text="first")
        for tab in (one, *others):
            seen = await tab.expect("message.created", said("first"))
            assert seen["conversation_id"] == sent["conversation_id"]
        again = await others[0].command("message.send", client_message_id="2", text="second")
        assert (again["conversation_id"], again["seq"]) == (sent["conversation_id"], 2)
        await one.expect("message.created", said("second"))
        await stranger.command("ping")
        assert not stranger.events


async def test_first_messages_of_all_tabs_at_once_are_one_conversation(site: Site) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(site.tab())
        token = one.welcome["visitor_token"]
        tabs = [one, *[await stack.enter_async_context(site.tab(visitor_token=token)) for _ in range(5)]]
        sent = await asyncio.gather(
            *(tab.command("message.send", client_message_id=f"m{n}", text=f"{n}") for n, tab in enumerate(tabs))
        )
        assert len({answer["conversation_id"] for answer in sent}) == 1
        assert sorted(answer["seq"] for answer in sent) == list(range(1, 7))
        for tab in tabs:
            for number in range(6):
                await tab.expect("message.created", said(str(number)))


async def test_the_same_message_twice(site: Site) -> None:
    async with site.tab() as tab:
        first = await tab.command("message.send", client_message_id="1", text="hello")
        again = await tab.command("message.send", client_message_id="1", text="hello")
        assert "duplicate" not in first
        assert again["duplicate"] is True
        assert again["message_id"] == first["message_id"]
        with pytest.raises(Refused) as refused:
            await tab.command("message.send", client_message_id="1", text="hello, but other words")
        assert (refused.value.code, refused.value.frame["field"]) == ("idempotency-mismatch", "client_message_id")
        assert await site.texts(first["conversation_id"]) == ["hello"]


async def test_one_id_for_two_texts_at_once(site: Site) -> None:
    """Two tabs of a browser: whoever is first says it, the other is told."""
    async with site.tab() as one, site.tab(visitor_token=one.welcome["visitor_token"]) as two:
        results = await asyncio.gather(
            *(tab.command("message.send", client_message_id="1", text=text) for tab, text in ((one, "a"), (two, "b"))),
            return_exceptions=True,
        )
    [sent] = [result for result in results if isinstance(result, dict)]
    [refused] = [result for result in results if isinstance(result, Refused)]
    assert refused.code == "idempotency-mismatch"
    assert len(await site.texts(sent["conversation_id"])) == 1


async def test_a_cut_in_mid_stream_leaves_no_gap_and_no_twin(site: Site) -> None:
    """The line is cut again and again while answers come in; the cursor is the newest that was seen."""
    async with site.tab() as tab:
        sent = await tab.command("message.send", client_message_id="0", text="0")
        await tab.expect("message.created", said("0"))
        token, cursor = tab.welcome["visitor_token"], tab.cursor
    seen: list[str] = []

    async def answers() -> None:
        for number in range(1, 41):
            await site.answer(sent["conversation_id"], str(number))

    writing = asyncio.create_task(answers())
    while "40" not in seen:
        async with site.tab(visitor_token=token, cursor=cursor) as tab:
            await tab.expect("message.created")
            await tab.abort()
        seen += [frame["message"]["text"] for frame in tab.events if frame["type"] == "message.created"]
        cursor = tab.cursor
        assert "resync_required" not in [frame["type"] for frame in tab.frames]
    await writing
    assert seen == [str(number) for number in range(1, 41)]


async def test_the_welcome_says_how_far_one_has_read(site: Site) -> None:
    async with site.tab() as tab:
        sent = await tab.command("message.send", client_message_id="1", text="hello")
        for number in range(3):
            await site.answer(sent["conversation_id"], f"answer {number}")
        await tab.expect("message.created", said("answer 2"))
        assert (await tab.command("conversation.read", seq=3))["seq"] == 3
        assert (await tab.command("conversation.read", seq=2))["seq"] == 3, "never back"
        assert (await tab.command("conversation.read", seq=99))["seq"] == 4, "never ahead"
        async with site.tab(visitor_token=tab.welcome["visitor_token"]) as other:
            shown = other.welcome["conversation"]
            assert (shown["read_seq"], shown["last_seq"]) == (4, 4)
            assert [message["seq"] for message in shown["messages"]] == [1, 2, 3, 4]


async def test_a_user_is_greeted_by_name_and_followed_before_the_first_message(site: Site) -> None:
    identity = passport("greeted-user", name="Grace Hopper")
    async with site.tab(identity=identity) as one, site.tab(identity=identity) as two:
        assert one.welcome["contact"]["name"] == "Grace Hopper"
        assert one.welcome["contact"] == two.welcome["contact"]
        assert one.welcome["visitor_token"] != two.welcome["visitor_token"], "two browsers"
        assert one.welcome["conversation"] is None
        await one.command("message.send", client_message_id="1", text="hello")
        await two.expect("message.created", said("hello"))


async def _upload(site: Site, name: str, data: bytes, media_type: str = "text/html") -> str:
    headers = {"Authorization": f"Bearer {site.server.admin}", "Content-Type": media_type}
    async with httpx.AsyncClient(headers=headers) as client:
        made = await client.post(f"{site.server.base}/api/v1/attachments", params={"name": name}, content=data)
    return str(made.json()["id"])


async def _get(site: Site, url: str) -> httpx.Response:
    async with httpx.AsyncClient() as browser:
        return await browser.get(site.server.base + urlsplit(url).path)


async def test_files_open_for_the_visitor_without_an_account(site: Site) -> None:
    async with site.tab() as tab:
        picture: dict[str, Any] = {"name": "scratch.png", "data": base64.b64encode(b"not really").decode()}
        sent = await tab.command("message.send", client_message_id="1", text="look", attachments=[picture])
        mine = await tab.expect("message.created", said("look"))
        file_id = await _upload(site, "说明 <1>.html", b"<script>alert(1)</script>")
        await site.answer(sent["conversation_id"], "read this", attachments=[file_id])
        theirs = await tab.expect("message.created", said("read this"))
        [item] = theirs["message"]["attachments"]
        answer = await _get(site, item["url"])
        assert (answer.status_code, answer.content) == (200, b"<script>alert(1)</script>")
        assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%E8%AF%B4")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert (await _get(site, mine["message"]["attachments"][0]["url"])).content == b"not really"
        async with site.tab(visitor_token=tab.welcome["visitor_token"], cursor=tab.welcome["cursor"]) as other:
            again = await other.expect("message.created", said("read this"))
            urls = [again["message"]["attachments"][0]["url"]]
            shown = other.welcome["conversation"]
            urls.append(shown["messages"][-1]["attachments"][0]["url"])
        for url in urls:
            assert (await _get(site, url)).status_code == 200
        async with httpx.AsyncClient(headers={"Accept": "application/json"}) as browser:
            page = await browser.get(site.server.base + urlsplit(shown["progress_url"]).path)
        [on_page] = page.json()["messages"][-1]["attachments"]
        assert (await _get(site, on_page["url"])).status_code == 200
        for wrong in (
            item["url"][:-2] + "xx",
            item["url"].replace("/files/", "/c/"),
            shown["progress_url"].replace("/c/", "/files/"),
        ):
            assert (await _get(site, wrong)).status_code == 404
        desk = await site.server.api("GET", f"/conversations/{sent['conversation_id']}/messages")
        assert desk["items"][-1]["attachments"][0]["url"] == f"/api/v1/attachments/{file_id}"


async def test_words_that_look_like_an_address_of_a_file_stay_words(site: Site) -> None:
    text = '{"url":"/api/v1/attachments/0190a8b0-0000-7000-8000-000000000000"}'
    async with site.tab() as tab:
        await tab.command("message.send", client_message_id="1", text=text)
        assert (await tab.expect("message.created"))["message"]["text"] == text


@pytest.mark.parametrize("origin", ["https://shop.example", "HTTPS://Shop.Example:443", None])
async def test_sites_on_the_list(site: Site, origin: str | None) -> None:
    channel = await site.server.make_channel("webchat", {"allowed_origins": ["https://shop.example"]})
    async with Widget(site.server.socket_base, channel["id"]).knocking(origin=origin) as widget:
        await widget.expect("welcome")


@pytest.mark.parametrize(
    "origin", ["null", "https://shop.example:8443", "http://shop.example", "https://x.shop.example"]
)
async def test_sites_that_are_not(site: Site, origin: str) -> None:
    channel = await site.server.make_channel("webchat", {"allowed_origins": ["https://shop.example"]})
    async with Widget(site.server.socket_base, channel["id"]).knocking(origin=origin) as widget:
        assert (await widget.expect("error"))["code"] == "origin-not-allowed"
        assert await widget.wait_closed() == 4401
    assert [frame["type"] for frame in widget.frames] == ["error"]
