"""Who sits behind the widget: visitors who log in, who change, and contacts that turn out to be one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.intake.visitors import BadIdentity, Claims, read_identity
from tests.intake.sites import SECRET, Site, passport, said
from tests.support.sockets import Desk, Refused, Widget


@pytest.fixture
async def tabs() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_who_logs_in_for_the_first_time_goes_on_with_their_chat(site: Site, tabs: AsyncExitStack) -> None:
    user = f"user-{secrets.token_hex(4)}"
    anonymous = await tabs.enter_async_context(site.tab())
    assert anonymous.welcome["contact"] is None
    first = await anonymous.command("message.send", client_message_id="1", text="hello")
    token, cursor = anonymous.welcome["visitor_token"], anonymous.cursor
    identity = passport(user, name="Grace", email="grace@example.org")
    named = await tabs.enter_async_context(site.tab(visitor_token=token, identity=identity, cursor=cursor))
    assert named.welcome["visitor_token"] == token
    assert named.welcome["contact"]["name"] == "Grace"
    assert named.welcome["conversation"]["id"] == first["conversation_id"]
    second = await named.command("message.send", client_message_id="2", text="it is me")
    third = await anonymous.command("message.send", client_message_id="3", text="from the tab that does not know")
    assert [second["conversation_id"], third["conversation_id"]] == [first["conversation_id"]] * 2
    await anonymous.expect("message.created", said("it is me"))
    await named.expect("message.created", said("from the tab that does not know"))
    contact = await site.server.api("GET", f"/contacts/{named.welcome['contact']['id']}")
    assert contact["email"] == "grace@example.org"
    assert {item["kind"] for item in contact["identities"]} == {"visitor", "user"}
    assert not [frame for frame in named.frames if frame["type"] == "resync_required"]


async def test_who_is_known_already_gets_what_they_wrote_without_a_name(site: Site, tabs: AsyncExitStack) -> None:
    user = f"user-{secrets.token_hex(4)}"
    at_home = await tabs.enter_async_context(site.tab(identity=passport(user, name="Grace")))
    home = at_home.welcome["contact"]
    assert home["name"] == "Grace", "greeted before the first message"
    anonymous = [await tabs.enter_async_context(site.tab())]
    token = anonymous[0].welcome["visitor_token"]
    anonymous += [await tabs.enter_async_context(site.tab(visitor_token=token)) for _ in range(4)]
    first = await anonymous[0].command("message.send", client_message_id="1", text="hello from the café")
    stranger = anonymous[0].frames[-1]
    for tab in anonymous:
        seen = await tab.expect("message.created", said("hello from the café"))
        stranger = seen["message"]["author"]["id"]
    assert stranger != home["id"]
    named = await tabs.enter_async_context(
        site.tab(visitor_token=token, identity=passport(user), cursor=anonymous[0].cursor)
    )
    assert named.frames[0]["type"] == "resync_required"
    assert named.welcome["contact"] == home
    for tab in (*anonymous, at_home):
        await tab.expect("resync_required")
        welcome = await tab.expect("welcome", lambda frame: frame["contact"] == home)
        assert welcome["conversation"]["id"] == first["conversation_id"]
        assert [message["text"] for message in welcome["conversation"]["messages"]] == ["hello from the café"]
    again = await anonymous[1].command("message.send", client_message_id="2", text="and on")
    assert again["conversation_id"] == first["conversation_id"]
    await site.answer(first["conversation_id"], "welcome back")
    for tab in (*anonymous, at_home, named):
        for text in ("and on", "welcome back"):
            await tab.expect("message.created", said(text))
        texts = [frame["message"]["text"] for frame in tab.events if frame["type"] == "message.created"]
        assert texts.count("welcome back") == texts.count("and on") == 1
    assert await site.texts(first["conversation_id"]) == ["hello from the café", "and on", "welcome back"]
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {site.server.admin}"}) as client:
        moved = await client.get(f"{site.server.base}/api/v1/contacts/{stranger}")
    assert (moved.status_code, moved.json()["id"]) == (200, home["id"])
    assert moved.headers["content-location"] == f"/api/v1/contacts/{home['id']}"


async def test_the_chat_one_is_in_goes_on_and_the_other_stays_open(site: Site, tabs: AsyncExitStack) -> None:
    user = f"user-{secrets.token_hex(4)}"
    at_home = await tabs.enter_async_context(site.tab(identity=passport(user)))
    before = await at_home.command("message.send", client_message_id="1", text="the older matter")
    anonymous = await tabs.enter_async_context(site.tab())
    now_here = await anonymous.command("message.send", client_message_id="1", text="the matter at hand")
    token = anonymous.welcome["visitor_token"]
    named = await tabs.enter_async_context(site.tab(visitor_token=token, identity=passport(user)))
    assert named.welcome["conversation"]["id"] == now_here["conversation_id"]
    next_one = await named.command("message.send", client_message_id="2", text="more on it")
    assert next_one["conversation_id"] == now_here["conversation_id"]
    found = await site.conversations(named.welcome["contact"]["id"])
    assert {item["id"]: item["status"] for item in found} == {
        before["conversation_id"]: "open",
        now_here["conversation_id"]: "open",
    }
    await site.answer(before["conversation_id"], "about the older matter")
    await named.expect("message.created", said("about the older matter"))


async def test_somebody_else_in_the_same_browser_sees_nothing(site: Site, tabs: AsyncExitStack) -> None:
    first, second = f"user-{secrets.token_hex(4)}", f"user-{secrets.token_hex(4)}"
    one = await tabs.enter_async_context(site.tab(identity=passport(first)))
    await one.command("message.send", client_message_id="1", text="a secret")
    token, cursor = one.welcome["visitor_token"], one.welcome["cursor"]
    other = await tabs.enter_async_context(
        site.tab(visitor_token=token, identity=passport(second, name="Bob"), cursor=cursor)
    )
    assert other.welcome["visitor_token"] != token
    assert other.welcome["conversation"] is None
    assert other.welcome["contact"]["name"] == "Bob"
    await other.command("message.send", client_message_id="1", text="mine")
    await other.expect("message.created", said("mine"))
    assert "a secret" not in str(other.frames)
    back = await tabs.enter_async_context(site.tab(visitor_token=token))
    assert back.welcome["contact"]["id"] == one.welcome["contact"]["id"], "the token itself stays who it was"
    assert "mine" not in str(one.frames) + str(back.frames)


async def test_identities_that_are_refused(site: Site) -> None:
    for identity in (
        passport("x", secret="another secret, just as long as the real one"),
        passport("x", valid_s=-5),
        passport("x", valid_s=3 * 24 * 3600),
        passport(""),
        "not a token",
    ):
        async with site.tab(identity=identity).knocking() as widget:
            assert (await widget.expect("error"))["code"] == "identity-invalid"
            assert await widget.wait_closed() == 4401


async def test_a_message_at_the_very_moment_of_the_login(site: Site) -> None:
    """Nothing is lost, and there is one conversation, whoever comes first; also when it is the first message."""
    for turn in range(6):
        user = f"user-{secrets.token_hex(4)}"
        if turn % 3:
            async with site.tab(identity=passport(user)):
                pass  # known already
        async with (
            site.tab() as one,
            site.tab(visitor_token=one.welcome["visitor_token"]) as two,
            AsyncExitStack() as later,
        ):
            token, sent = one.welcome["visitor_token"], []
            if turn % 2:
                sent.append(await one.command("message.send", client_message_id="0", text="0"))
            named = site.tab(visitor_token=token, identity=passport(user))
            talk = [
                tab.command("message.send", client_message_id=f"{name}{number}", text=f"{name}{number}")
                for number in range(4)
                for name, tab in (("a", one), ("b", two))
            ]
            answers, _ = await asyncio.gather(asyncio.gather(*talk), later.enter_async_context(named))
            sent += answers
            last = await named.command("message.send", client_message_id="z", text="z")
            assert {answer["conversation_id"] for answer in sent} == {last["conversation_id"]}
            texts = await site.texts(last["conversation_id"])
            assert sorted(texts) == sorted(
                [*(["0"] if turn % 2 else []), *(f"{n}{i}" for n in "ab" for i in range(4)), "z"]
            )
            for tab in (one, two, named):
                await tab.expect("message.created", said("z"))
            contact = (await site.server.api("GET", f"/conversations/{last['conversation_id']}"))["contact"]
            assert {item["kind"] for item in await _identities(site, contact["id"])} == {"user", "visitor"}
            assert len(await site.conversations(contact["id"])) == 1


async def _identities(site: Site, contact_id: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (await site.server.api("GET", f"/contacts/{contact_id}"))["identities"]
    return found


async def test_several_browsers_log_in_as_one_at_once(site: Site, tabs: AsyncExitStack) -> None:
    user = f"user-{secrets.token_hex(4)}"
    browsers = [await tabs.enter_async_context(site.tab()) for _ in range(5)]
    for number, browser in enumerate(browsers[:4]):
        await browser.command("message.send", client_message_id="1", text=f"from {number}")
    named = [
        site.tab(visitor_token=browser.welcome["visitor_token"], identity=passport(user))
        for browser in browsers
        for _ in range(2)
    ]
    await asyncio.gather(*(tabs.enter_async_context(tab) for tab in named))
    contacts = {tab.welcome["contact"]["id"] for tab in named}
    final = await named[0].command("message.send", client_message_id="z", text="the last one")
    for tab in (*browsers, *named):
        await tab.expect("message.created", said("the last one"))
    [contact] = {(await site.server.api("GET", f"/contacts/{contact_id}"))["id"] for contact_id in contacts}
    found = await site.conversations(contact)
    assert len(found) == 4
    assert final["conversation_id"] in {item["id"] for item in found}
    assert len([item for item in await _identities(site, contact) if item["kind"] == "visitor"]) == 5


async def _supervisor(site: Site) -> str:
    made = await site.server.make_agent("Sue Supervisor", role="supervisor", queue_ids=[site.queue_id])
    return str(made["token"])


async def test_a_supervisor_merges_two_contacts(site: Site, tabs: AsyncExitStack) -> None:
    token = await _supervisor(site)
    desk = await tabs.enter_async_context(Desk(site.server.socket_base, token))
    one, two = [await tabs.enter_async_context(site.tab()) for _ in range(2)]
    first = await one.command("message.send", client_message_id="1", text="from the phone")
    second = await two.command("message.send", client_message_id="1", text="from the laptop")
    source, target = [
        (await site.server.api("GET", f"/conversations/{sent['conversation_id']}"))["contact"]["id"]
        for sent in (first, second)
    ]
    await site.server.api("PATCH", f"/contacts/{source}", {"name": "Grace"}, expect=428)
    merge = f"/contacts/{source}/merge"
    merged = await site.server.api("POST", merge, {"into": target}, token=token)
    assert merged["id"] == target
    assert len(merged["identities"]) == 2
    told = await desk.expect(
        "conversation.updated",
        lambda frame: frame["conversation_id"] == first["conversation_id"] and frame["changed"] == ["contact_id"],
    )
    assert told["conversation"]["contact_id"] == target
    for widget in (one, two):
        await widget.expect("resync_required")
        welcome = await widget.expect("welcome", lambda frame: (frame["contact"] or {}).get("id") == target)
        assert welcome["visitor_token"] == widget.welcome["visitor_token"]
    for widget, sent in ((one, first), (two, second)):
        again = await widget.command("message.send", client_message_id="2", text="still here")
        assert again["conversation_id"] == sent["conversation_id"], "each goes on with their own"
    assert (await site.server.api("POST", merge, {"into": target}, token=token))["id"] == target, "again is no change"
    assert (await site.server.api("GET", f"/contacts/{source}"))["id"] == target
    assert source not in [item["id"] for item in (await site.server.api("GET", "/contacts?limit=200"))["items"]]
    await site.server.api("POST", f"/contacts/{target}/merge", {"into": target}, expect=409)
    await site.server.api("POST", f"/contacts/{target}/merge", {"into": source}, expect=409)
    await site.server.api("POST", f"/contacts/{target}/merge", {"into": secrets.token_hex(16)}, expect=422)
    agent = await site.server.make_agent("Abe Agent", queue_ids=[site.queue_id])
    await site.server.api("POST", merge, {"into": target}, token=agent["token"], expect=403)


async def test_merges_in_every_direction_at_once(site: Site, tabs: AsyncExitStack) -> None:
    """With messages coming in: one contact is left, everything is there, nobody is merged in a circle."""
    widgets = [await tabs.enter_async_context(site.tab()) for _ in range(4)]
    contacts, places = [], []
    for widget in widgets:
        sent = await widget.command("message.send", client_message_id="0", text="0")
        places.append(sent["conversation_id"])
        contacts.append((await site.server.api("GET", f"/conversations/{places[-1]}"))["contact"]["id"])

    async def try_merge(source: str, target: str) -> int:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {site.server.admin}"}) as client:
            answer = await client.post(
                f"{site.server.base}/api/v1/contacts/{source}/merge", json={"into": target}, timeout=20
            )
        return answer.status_code

    pairs = [(a, b) for a in contacts for b in contacts if a != b]
    talk = [
        widget.command("message.send", client_message_id=str(number), text=str(number))
        for number in range(1, 6)
        for widget in widgets
    ]
    outcomes = await asyncio.gather(*(try_merge(*pair) for pair in pairs), *talk)
    assert set(outcomes[: len(pairs)]) <= {200, 409}
    while len({(await site.server.api("GET", f"/contacts/{one}"))["id"] for one in contacts}) > 1:
        for pair in pairs:
            await try_merge(*pair)
    [left] = {(await site.server.api("GET", f"/contacts/{one}"))["id"] for one in contacts}
    assert {item["id"] for item in await site.conversations(left)} == set(places)
    for place in places:
        assert sorted(await site.texts(place)) == sorted(map(str, range(6)))
    await site.answer(places[0], "to all of you")
    for widget in widgets:
        await widget.expect("message.created", said("to all of you"))


async def test_a_cursor_from_before_a_merge(site: Site, tabs: AsyncExitStack) -> None:
    """Neither a gap nor another person's events: a fresh snapshot, and from there on the stream."""
    token = await _supervisor(site)
    one, two = [await tabs.enter_async_context(site.tab()) for _ in range(2)]
    stranger = await tabs.enter_async_context(site.tab())
    await stranger.command("message.send", client_message_id="1", text="nobody's business")
    sent = [await tab.command("message.send", client_message_id="1", text="hello") for tab in (one, two)]
    contacts = []
    for tab, answer in zip((one, two), sent, strict=True):
        await tab.expect("message.created", said("hello"))
        contacts.append((await site.server.api("GET", f"/conversations/{answer['conversation_id']}"))["contact"]["id"])
        await tab.close()
    await site.answer(sent[0]["conversation_id"], "before")
    await stranger.command("message.send", client_message_id="2", text="nobody's business either")
    await site.server.api("POST", f"/contacts/{contacts[0]}/merge", {"into": contacts[1]}, token=token)
    await site.answer(sent[0]["conversation_id"], "after")
    for tab, answer, texts in ((one, sent[0], ["hello", "before", "after"]), (two, sent[1], ["hello"])):
        browser = {"visitor_token": tab.welcome["visitor_token"]}
        back = await tabs.enter_async_context(site.tab(**browser, cursor=tab.cursor))
        await back.expect("resync_required")
        fresh = await back.expect("welcome")
        assert fresh["conversation"]["id"] == answer["conversation_id"]
        assert [message["text"] for message in fresh["conversation"]["messages"]] == texts
        await site.answer(answer["conversation_id"], "and now")
        await back.expect("message.created", said("and now"))
        assert "business" not in str(back.frames)
        resumed = await tabs.enter_async_context(site.tab(**browser, cursor=fresh["cursor"]))
        await resumed.expect("message.created", said("and now"))
        assert not [frame for frame in resumed.frames if frame["type"] == "resync_required"]


async def test_a_site_without_a_secret_knows_nobody(site: Site) -> None:
    channel = await site.server.make_channel("webchat", {"allowed_origins": []}, queue_id=site.queue_id)
    async with Widget(
        site.server.socket_base, channel["id"], identity=passport("x", secret=SECRET)
    ).knocking() as widget:
        assert (await widget.expect("error"))["code"] == "identity-invalid"
    with pytest.raises(Refused):
        async with site.tab() as tab:
            await tab.command("typing")


@pytest.mark.parametrize(
    ("claims", "field"),
    [
        ({"name": 7}, "name"),
        ({"name": ["Grace"]}, "name"),
        ({"first_name": {"a": "b"}}, "first_name"),
        ({"name": "Grace", "last_name": True}, "last_name"),
        ({"email": 0}, "email"),
        ({"email": ["grace@example.org"]}, "email"),
        ({"email": "grace"}, "email"),
        ({"email": "grace@"}, "email"),
        ({"email": "grace @example.org"}, "email"),
        ({"email": "grace@example.org, mei@example.org"}, "email"),
        ({"email": f"{'g' * 250}@example.org"}, "email"),
    ],
)
def test_claims_that_are_not_what_they_should_be(claims: dict[str, Any], field: str) -> None:
    with pytest.raises(BadIdentity) as refused:
        read_identity(SecretStr(SECRET), passport("x", **claims))
    assert (refused.value.extra, field in refused.value.detail) == ({"field": field}, True)


def test_claims_that_are_not_given() -> None:
    nothing = passport("x", name=None, first_name="Grace", last_name=None, email=" ")
    assert read_identity(SecretStr(SECRET), nothing) == Claims("x", "Grace", None)
    both = passport("x", name="", first_name="Grace", last_name="Hopper\0", email="grace@example.org")
    assert read_identity(SecretStr(SECRET), both) == Claims("x", "Grace Hopper", "grace@example.org")


async def test_a_named_user_has_the_language_they_write_in(site: Site) -> None:
    """Their contact is made by the greeting, not by the first message."""
    async with site.tab(identity=passport("mei", name="Mei")) as tab:
        for number, text in enumerate(("hi", "我的订单还没到", "ありがとう")):
            await tab.command("message.send", client_message_id=str(number), text=text)
        contact = await site.server.api("GET", f"/contacts/{tab.welcome['contact']['id']}")
    assert contact["language"] == "zh"


async def test_a_wrong_claim_is_named_to_the_site(site: Site) -> None:
    async with site.tab(identity=passport("x", email="nobody")).knocking() as widget:
        error = await widget.expect("error")
    assert (error["code"], error["field"]) == ("identity-invalid", "email")
