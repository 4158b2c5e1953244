"""What the desk is told before it sends, what is refused at once, and accounts that pause until they are mended."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.test_meta import KINDS, SECRET, TOKEN, heard, post
from tests.support.meta import GraphServer, refusal
from tests.support.providers import PartnerSystem
from tests.support.sockets import Desk, Refused

WHATSAPP = KINDS[0]


@pytest.fixture
async def graph() -> AsyncIterator[GraphServer]:
    async with GraphServer(TOKEN) as graph:
        yield graph


async def whatsapp(team: Team, graph: GraphServer, *, token: str = TOKEN) -> dict[str, Any]:
    given = {"app_secret": SECRET, "verify_token": "our token", "access_token": token, "api_base": graph.base}
    return await team.server.make_channel("whatsapp", {**given, **WHATSAPP.config}, queue_id=team.queue_id)


async def test_outside_the_window_a_template_goes_and_nothing_else(team: Team, graph: GraphServer) -> None:
    channel = await whatsapp(team, graph)
    person = str(30_000_000_000 + secrets.randbelow(10**9))
    async with httpx.AsyncClient() as client:
        assert await post(client, channel["webhook_url"], WHATSAPP.said(person, f"Hello {person}")) == 200
        conversation = await steps.take(team, person)
        assert conversation["capabilities"]["window"]["open"]
        template = {"name": "delivery", "language": "de", "body": "{{1}} kommt."}
        await team.server.api("POST", f"/channels/{channel['id']}/templates", template)

        # The provider knows better than we do, and what it says holds until the customer writes.
        graph.script = [refusal(131047)]
        sent = await steps.reply(team, conversation["id"], "Just a moment.")
        status = await heard(team, sent, "failed")
        assert status["error_code"] == "window-closed"
        with pytest.raises(Refused) as caught:
            await steps.reply(team, conversation["id"], "Are you still there?")
        error = caught.value.frame
        assert (error["code"], error["window"]["why"], error["allowed"]) == ("window-closed", "provider", ["template"])
        assert error["templates"] == [template]
        use = {"name": "delivery", "language": "de", "parameters": ["Ihr Schrank"]}
        sent = await team.desk.command("message.send", conversation_id=conversation["id"], template=use)
        await heard(team, sent, "sent")
        assert graph.sent[-1][1] == {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": person,
            "type": "template",
            "template": {
                "name": "delivery",
                "language": {"code": "de"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ihr Schrank"}]}],
            },
            "biz_opaque_callback_data": sent["message_id"],
        }
        assert await post(client, channel["webhook_url"], WHATSAPP.said(person, f"Back {person}")) == 200
        await team.desk.expect("message.created", lambda frame: f"Back {person}" in frame["message"]["text"])
        sent = await steps.reply(team, conversation["id"], "Welcome back.")
        await heard(team, sent, "sent")
        log = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
        assert [item["text"] for item in log if item["direction"] == "outbound"] == [
            "Just a moment.",
            "Ihr Schrank kommt.",
            "Welcome back.",
        ]
        # What failed is sent again because an agent wants it.
        failed = next(item for item in log if item["status"] == "failed")
        await team.desk.command("message.resend", conversation_id=conversation["id"], message_id=failed["id"])
        await team.desk.expect(
            "message.status", lambda frame: frame["message_id"] == failed["id"] and frame["status"] == "sent"
        )
        await the_receipt_goes_by_a_template(team, graph, channel, person, conversation["id"])


async def the_receipt_goes_by_a_template(
    team: Team, graph: GraphServer, channel: dict[str, Any], person: str, conversation_id: str
) -> None:
    """The provider refuses our own words, takes those that it has approved, and brings the press of a button in them."""
    kept = {"name": "solved", "language": "en", "body": "We did this: {{1}} Is it solved?"}
    await team.server.api("POST", f"/channels/{channel['id']}/templates", kept)
    buttons = {"variables": ["resolution"], "buttons": ["confirmed", "rejected", "link"]}
    named = {"name": "solved", "language": "en", **buttons}
    own = {"language": "en", "channel_type": "whatsapp", "text": "{link}", "provider_template": named}
    await team.server.api("POST", "/receipt-templates", own)
    graph.script, before = [refusal(131047)], len(graph.raw)
    await steps.resolve(team, conversation_id)
    async with asyncio.timeout(60):
        while len(graph.raw) == before:
            graph.arrived.clear()
            await graph.arrived.wait()
    log = (await team.server.api("GET", f"/conversations/{conversation_id}/messages"))["items"]
    refused, sent = [item for item in log if item["kind"] == "receipt"]
    assert (refused["text"].startswith("http"), refused["error_code"]) == (True, "window-closed")
    assert sent["text"] == f"We did this: {steps.RECEIPT['resolution']} Is it solved?"
    answers = graph.sent[-1][1]["template"]["components"][1]["parameters"][0]["payload"]
    assert (
        graph.raw[-1]
        == (
            f'{{"messaging_product":"whatsapp","recipient_type":"individual","to":"{person}","type":"template","template":'
            f'{{"name":"solved","language":{{"code":"en"}},"components":[{{"type":"body","parameters":'
            f'[{{"type":"text","text":"{steps.RECEIPT["resolution"]}"}}]}},'
            f'{{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{{"type":"payload","payload":"{answers}"}}]}},'
            f'{{"type":"button","sub_type":"quick_reply","index":"1","parameters":[{{"type":"payload","payload":'
            f'"{answers.replace(":y:", ":n:")}"}}]}},'
            f'{{"type":"button","sub_type":"url","index":"2","parameters":[{{"type":"text","text":'
            f'"{refused["text"].rpartition("/")[2]}"}}]}}]}},"biz_opaque_callback_data":"{sent["id"]}"}}'
        ).encode()
    )
    told = WHATSAPP.said(person, "Yes, solved")
    [message] = told["entry"][0]["changes"][0]["value"]["messages"]
    message |= {"type": "button", "button": {"payload": answers, "text": "Yes, solved"}}
    del message["text"]
    async with httpx.AsyncClient() as client:
        assert await post(client, channel["webhook_url"], told) == 200
    await team.desk.expect("conversation.closed", lambda frame: frame["conversation_id"] == conversation_id)


async def test_refused_credentials_pause_the_account_until_they_are_mended(team: Team, graph: GraphServer) -> None:
    channel = await whatsapp(team, graph, token="EAAanothertoken")
    boss = await team.server.make_agent("Bo Boss", role="supervisor")
    person = str(40_000_000_000 + secrets.randbelow(10**9))
    async with httpx.AsyncClient() as client, Desk(team.server.socket_base, boss["token"]) as desk:
        assert channel["id"] in {shown["id"] for shown in desk.welcome["channels"]}
        assert await post(client, channel["webhook_url"], WHATSAPP.said(person, f"Hello {person}")) == 200
        conversation = await steps.take(team, person)
        sent = await steps.reply(team, conversation["id"], "Here we are.")
        news = await desk.expect("channel.updated", lambda frame: frame["channel"]["id"] == channel["id"])
        assert news["channel"]["account"]["state"] == "reauth"
        shown = await team.server.api("GET", f"/channels/{channel['id']}")
        assert shown["account"]["state"] == "reauth"
        assert (await client.get(f"{team.server.base}/readyz")).status_code == 200
        await team.server.change(f"/channels/{channel['id']}", config={"access_token": TOKEN})
        await heard(team, sent, "sent")
        news = await desk.expect("channel.updated", lambda frame: frame["channel"]["id"] == channel["id"])
        assert news["channel"]["account"]["state"] == "ok"
    assert len(graph.sent) == 1


async def test_a_file_goes_as_a_link_that_is_good_for_it_alone(team: Team, partner: PartnerSystem) -> None:
    config = {"secret": partner.secret, "callback_url": partner.base + "/callback"}
    channel = await team.server.make_channel("partner", config, queue_id=team.queue_id)
    said = {
        "id": f"p-{secrets.token_hex(6)}",
        "from": {"id": "c7", "name": "Grace"},
        "text": "A photo, please, of oak7",
    }
    async with httpx.AsyncClient() as client:
        assert (await partner.post(client, channel["webhook_url"], said)).status_code == 200
        conversation = await steps.take(team, "oak7")
        headers = {"Authorization": f"Bearer {team.agent['token']}", "content-type": "image/png"}
        url = f"{team.server.base}/api/v1/attachments?name=oak.png"
        uploaded = (await client.post(url, content=b"\x89PNG oak", headers=headers)).json()
        await team.desk.command(
            "message.send", conversation_id=conversation["id"], text="oak", attachments=[uploaded["id"]]
        )
        call = await partner.expect(lambda body: bool(body["data"]["message"].get("attachments")))
        [item] = call["data"]["message"]["attachments"]
        assert (item["name"], item["content_type"], item["size"]) == ("oak.png", "image/png", 8)
        token = item["url"].rpartition("/m/")[2]
        link = f"{team.server.base}/m/{token}"
        fetched = await client.get(link)
        assert (fetched.status_code, fetched.content, fetched.headers["content-type"]) == (
            200,
            b"\x89PNG oak",
            "image/png",
        )
        assert fetched.headers["x-content-type-options"] == "nosniff"
        assert (await client.head(link)).headers["content-length"] == "8"
        forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
        assert (await client.get(f"{team.server.base}/m/{forged}")).status_code == 404
        for other in ("files", "f", "c"):
            assert (await client.get(f"{team.server.base}/{other}/{token}")).status_code == 404
    assert orjson.dumps(call)
