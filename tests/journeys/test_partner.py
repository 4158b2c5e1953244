"""A partner's system posts signed calls and is answered at its callback."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import PartnerSystem


@pytest.fixture
async def channel(team: Team, partner: PartnerSystem) -> dict[str, Any]:
    config = {"secret": partner.secret, "callback_url": partner.base + "/callback"}
    return await team.server.make_channel("partner", config, queue_id=team.queue_id)


def item(text: str, **more: Any) -> dict[str, Any]:
    sender = {"id": "customer-7", "name": "Grace", "email": "grace@customer.example"}
    return {"id": f"p-{secrets.token_hex(6)}", "from": sender, "text": text, "conversation_ref": "order-77", **more}


async def test_from_the_first_message_to_the_confirmation(
    team: Team, partner: PartnerSystem, channel: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as client:
        answer = await partner.post(client, channel["webhook_url"], item("Where is my order 77?"))
    assert answer.status_code == 200
    conversation = await steps.take(team, "order 77")
    assert conversation["external_ref"] == "order-77"
    sent = await steps.reply(team, conversation["id"], "It left our warehouse today.")
    call = await partner.expect(lambda body: body["data"]["message"]["text"] == "It left our warehouse today.")
    assert call["type"] == "message.created"
    assert call["data"]["conversation_ref"] == "order-77"
    await steps.delivered(team, sent)
    await steps.resolve(team, conversation["id"])
    receipt = await partner.expect(lambda body: body["data"].get("receipt") is not None)
    await steps.confirm(team, steps.link_in(receipt["data"]["message"]["text"]))


async def test_not_solved_reopens_to_the_same_owner(
    team: Team, partner: PartnerSystem, channel: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as client:
        await partner.post(client, channel["webhook_url"], item("The hinge is missing."))
        conversation = await steps.take(team, "hinge")
        await steps.resolve(team, conversation["id"])
        receipt = await partner.expect(lambda body: body["data"].get("receipt") is not None)
        link = steps.link_in(receipt["data"]["message"]["text"])
        rejected = await client.post(link, data={"outcome": "rejected", "comment": "still missing"})
    assert rejected.status_code in (200, 303)
    await team.desk.expect("conversation.reopened")
    again = await team.server.api("GET", f"/conversations/{conversation['id']}")
    assert again["status"] == "open"
    assert again["assignee_id"] == again["owner_id"] == team.agent["id"]
    assert again["cycle"] == 2


async def test_a_call_that_is_not_genuine_is_refused(
    team: Team, partner: PartnerSystem, channel: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as client:
        headers = partner.headers("x", b"{}")
        answer = await client.post(channel["webhook_url"], content=b'{"id":"forged"}', headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "not-genuine"


async def test_what_cannot_be_read_is_kept_and_can_be_replayed(
    team: Team, partner: PartnerSystem, channel: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as client:
        body = b'[{"id":"a1","from":{"id":"c-1"},"text":"a good one"},{"text":"a bad one"}]'
        answer = await client.post(channel["webhook_url"], content=body, headers=partner.headers("batch", body))
        assert answer.status_code == 200
        cut = (
            b'[{"id":"b1","from":{"id":"c-1"},"text":"neighbour"},{"id":"b2","from":{"id":"c-1"},"text":"cut \\ud83d"}]'
        )
        assert (
            await client.post(channel["webhook_url"], content=cut, headers=partner.headers("cut", cut))
        ).status_code == 200
        garbage = b"\xff\xfenot json"
        answer = await client.post(channel["webhook_url"], content=garbage, headers=partner.headers("bad", garbage))
        assert answer.status_code == 200
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "a good one")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "neighbour")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"].startswith("cut "))
    failed = (await team.server.api("GET", f"/inbound-journal?status=failed&channel_id={channel['id']}"))["items"]
    assert len(failed) == 2
    await team.server.api("POST", f"/inbound-journal/{failed[0]['id']}/replay")
    messages = await team.server.api("GET", f"/conversations?queue_id={team.queue_id}")
    assert len(messages["items"]) == 1, "the good neighbour is still one message"
