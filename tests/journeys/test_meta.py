"""Customers on WhatsApp, Messenger and Instagram: the address is tested, they write, are answered, and what arrived is known."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.meta import VERSION, GraphServer

TOKEN = "EAAtokenofthejourney"
SECRET = "secret of the app"
Json = dict[str, Any]
_IDS = itertools.count(1)


@dataclass
class Kind:
    """What differs between the three: who is told apart by what, how a call looks, and what we must have sent."""

    type: str
    config: Json
    said: Callable[[str, str], Json]
    status: Callable[[str, str, str, Json], Json]
    path: str
    wanted: Callable[[str, str, str], Json]
    news: tuple[str, ...]


def _whatsapp(**value: Any) -> Json:
    change = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "111"}, **value}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "waba", "changes": [{"field": "messages", "value": change}]}],
    }


def _messaging(kind: str, account: str, **event: Any) -> Json:
    now = int(time.time() * 1000)
    whole = {"recipient": {"id": account}, "timestamp": now, **event}
    return {"object": kind, "entry": [{"id": account, "time": now, "messaging": [whole]}]}


def _whatsapp_said(person: str, text: str) -> Json:
    contact = {"profile": {"name": "Ana Ng"}, "wa_id": person}
    message = {"from": person, "id": f"wamid.in{next(_IDS)}", "timestamp": str(int(time.time())), "type": "text"}
    return _whatsapp(contacts=[contact], messages=[{**message, "text": {"body": text}}])


def _whatsapp_status(person: str, message_id: str, word: str, sent: Json) -> Json:
    carried = {"biz_opaque_callback_data": sent["biz_opaque_callback_data"]}
    item = {"id": message_id, "status": word, "timestamp": str(int(time.time())), "recipient_id": person}
    return _whatsapp(statuses=[{**item, **carried}])


def _whatsapp_wanted(person: str, text: str, message_id: str) -> Json:
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": person,
        "type": "text",
        "text": {"body": text, "preview_url": False},
        "biz_opaque_callback_data": message_id,
    }


def _messenger_status(person: str, message_id: str, word: str, sent: Json) -> Json:
    told: Json = {"watermark": int(time.time() * 1000) + 1000}
    if word == "delivered":
        return _messaging("page", "222", sender={"id": person}, delivery={**told, "mids": [message_id]})
    return _messaging("page", "222", sender={"id": person}, read=told)


KINDS = [
    Kind(
        "whatsapp",
        {"phone_number_id": "111"},
        _whatsapp_said,
        _whatsapp_status,
        "111/messages",
        _whatsapp_wanted,
        ("delivered", "read"),
    ),
    Kind(
        "messenger",
        {"account_id": "222"},
        lambda person, text: _messaging(
            "page", "222", sender={"id": person}, message={"mid": f"m_in{next(_IDS)}", "text": text}
        ),
        _messenger_status,
        "222/messages",
        lambda person, text, message_id: {
            "recipient": {"id": person},
            "messaging_type": "RESPONSE",
            "message": {"text": text, "metadata": f"roundtrip:{message_id}"},
        },
        ("delivered", "read"),
    ),
    Kind(
        "instagram",
        {"account_id": "333"},
        lambda person, text: _messaging(
            "instagram", "333", sender={"id": person}, message={"mid": f"m_in{next(_IDS)}", "text": text}
        ),
        lambda person, message_id, word, sent: _messaging(
            "instagram", "333", sender={"id": person}, read={"mid": message_id}
        ),
        "333/messages",
        lambda person, text, message_id: {
            "recipient": {"id": person},
            "messaging_type": "RESPONSE",
            "message": {"text": text},
        },
        ("read",),
    ),
]


async def post(client: httpx.AsyncClient, url: str, told: Json, *, secret: str = SECRET) -> int:
    body = orjson.dumps(told)
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return (await client.post(url, content=body, headers={"x-hub-signature-256": signature})).status_code


async def shake_hands(client: httpx.AsyncClient, url: str) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "our token", "hub.challenge": "1158201444"}
    answer = await client.get(url, params=asked)
    assert (answer.status_code, answer.content) == (200, b"1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    refused = await client.get(url, params={**asked, "hub.verify_token": "guessed"})
    assert (refused.status_code, refused.json()["code"]) == (401, "not-genuine")


async def heard(team: Team, sent: Json, status: str) -> Json:
    return await team.desk.expect(
        "message.status", lambda frame: frame["message_id"] == sent["message_id"] and frame["status"] == status
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
async def test_from_the_first_message_to_the_confirmation(team: Team, kind: Kind) -> None:
    graph = GraphServer(TOKEN)
    await graph.start()
    given = {"app_secret": SECRET, "verify_token": "our token", "access_token": TOKEN, "api_base": graph.base}
    channel = await team.server.make_channel(kind.type, {**given, **kind.config}, queue_id=team.queue_id)
    url, person = channel["webhook_url"], str(10_000_000_000 + secrets.randbelow(10**9))
    question, answer = f"Wo bleibt mein Schrank? {person}", 'Er kommt am Montag \U0001f69a – "versprochen".'
    async with httpx.AsyncClient() as client:
        await shake_hands(client, url)
        message = kind.said(person, question)
        assert await post(client, url, message, secret="another") == 401
        assert [await post(client, url, message) for _ in range(2)] == [200, 200]
        conversation = await steps.take(team, question)
        sent = await steps.reply(team, conversation["id"], answer)
        await graph.expect(lambda body: answer in orjson.dumps(body).decode().replace('\\"', '"'))
        path, payload = graph.sent[0]
        assert (path, payload) == (f"/{VERSION}/{kind.path}", kind.wanted(person, answer, sent["message_id"]))
        await steps.delivered(team, sent)
        provider_id = "wamid.1" if kind.type == "whatsapp" else "mid.1"
        for word in kind.news:
            assert await post(client, url, kind.status(person, provider_id, word, payload)) == 200
            await heard(team, sent, word)
    await steps.resolve(team, conversation["id"])
    receipt = await graph.expect(lambda body: "/f/" in orjson.dumps(body).decode())
    shown = receipt["interactive"]["body"] if kind.type == "whatsapp" else receipt["message"]
    await steps.confirm(team, steps.link_in(shown["text"]))
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    assert [item["text"] for item in messages if item["direction"] == "inbound"] == [question]
    await graph.stop()


async def test_a_refusal_that_comes_later_is_seen_at_the_desk(team: Team) -> None:
    """WhatsApp takes the message, hangs up before it says so, and then says that it cannot be delivered."""
    kind, graph = KINDS[0], GraphServer(TOKEN)
    await graph.start()
    given = {"app_secret": SECRET, "verify_token": "our token", "access_token": TOKEN, "api_base": graph.base}
    channel = await team.server.make_channel(kind.type, {**given, **kind.config}, queue_id=team.queue_id)
    url, person = channel["webhook_url"], str(20_000_000_000 + secrets.randbelow(10**9))
    async with httpx.AsyncClient() as client:
        assert await post(client, url, kind.said(person, f"Hello? {person}")) == 200
        conversation = await steps.take(team, person)
        graph.script = ["drop"]
        sent = await steps.reply(team, conversation["id"], "Here we are.")
        await heard(team, sent, "unknown")
        payload = graph.sent[0][1]
        assert await post(client, url, kind.status(person, "wamid.9", "sent", payload)) == 200
        await heard(team, sent, "sent")
        refused = kind.status(person, "wamid.9", "failed", payload)
        refused["entry"][0]["changes"][0]["value"]["statuses"][0]["errors"] = [
            {"code": 131026, "title": "Undeliverable"}
        ]
        assert await post(client, url, refused) == 200
        assert "131026" in (await heard(team, sent, "failed"))["error"]
    await graph.stop()


async def test_what_is_changed_and_what_is_written_elsewhere_is_seen_at_the_desk(team: Team) -> None:
    """Instagram: the answer got lost and its echo settles it; a colleague answers in the app; the customer takes back."""
    kind, graph = KINDS[2], GraphServer(TOKEN)
    await graph.start()
    given = {"app_secret": SECRET, "verify_token": "our token", "access_token": TOKEN, "api_base": graph.base}
    channel = await team.server.make_channel(kind.type, {**given, **kind.config}, queue_id=team.queue_id)
    url, person = channel["webhook_url"], str(30_000_000_000 + secrets.randbelow(10**9))

    def echo(mid: str, text: str) -> Json:
        told = {"mid": mid, "text": text, "is_echo": True}
        return _messaging("instagram", "333", sender={"id": "333"}, recipient={"id": person}, message=told)

    async with httpx.AsyncClient() as client:
        question = kind.said(person, f"My card is 4111 {person}")
        mid = question["entry"][0]["messaging"][0]["message"]["mid"]
        assert await post(client, url, question) == 200
        conversation = await steps.take(team, person)
        graph.script = ["drop"]
        sent = await steps.reply(team, conversation["id"], "Here we are.")
        await heard(team, sent, "unknown")
        assert [await post(client, url, echo("mid.echo", "Here we are.")) for _ in range(2)] == [200, 200]
        await heard(team, sent, "sent")
        assert [await post(client, url, echo("mid.app", "And from the shop.")) for _ in range(2)] == [200, 200]
        created = await team.desk.expect("message.created", lambda frame: "shop" in frame["message"]["text"])
        assert created["message"]["author"] == {"type": "system", "id": None, "name": "elsewhere"}
        now = int(time.time() * 1000)
        unsent = _messaging("instagram", "333", sender={"id": person}, message={"mid": mid, "is_deleted": True})
        heart = {"mid": "mid.echo", "action": "react", "reaction": "love", "emoji": "\u2764"}
        liked = _messaging("instagram", "333", sender={"id": person}, timestamp=now, reaction=heart)
        for told in (unsent, liked):
            assert [await post(client, url, told) for _ in range(2)] == [200, 200]
        deleted = await team.desk.expect("message.updated", lambda frame: frame["change"]["kind"] == "delete")
        assert (deleted["seq"], deleted["change"]["text"]) == (1, None)
        reacted = await team.desk.expect("message.updated", lambda frame: frame["change"]["kind"] == "reaction")
        assert (reacted["message_id"], reacted["change"]["text"]) == (sent["message_id"], "\u2764")
    messages = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
    assert [(item["text"], item.get("deleted"), item.get("reactions")) for item in messages] == [
        ("", True, None),
        ("Here we are.", None, ["\u2764"]),
        ("And from the shop.", None, None),
    ]
    await graph.stop()
