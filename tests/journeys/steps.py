"""The walk that every channel's journey shares; each journey brings the customer's side."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.journeys.conftest import Team

RECEIPT = {
    "problem": "The door of the wardrobe came scratched.",
    "resolution": "A new door is on its way to you.",
    "commitment": "We call you the day after it arrived.",
}


async def take(team: Team, text: str) -> dict[str, Any]:
    """The agent is offered the message and accepts; the conversation is theirs."""
    created = await team.desk.expect("message.created", lambda frame: text in frame["message"]["text"])
    offer = await team.desk.expect(
        "offer.created", lambda frame: frame["conversation_id"] == created["conversation_id"]
    )
    await team.desk.command("offer.accept", offer_id=offer["offer_id"])
    await team.desk.expect("conversation.assigned")
    conversation = await team.server.api("GET", f"/conversations/{created['conversation_id']}")
    assert conversation["assignee_id"] == conversation["owner_id"] == team.agent["id"]
    assert created["seq"] == 1
    return dict(conversation)


async def reply(team: Team, conversation_id: str, text: str) -> dict[str, Any]:
    return await team.desk.command(
        "message.send", conversation_id=conversation_id, kind="reply", text=text, client_message_id=f"reply {text}"
    )


async def delivered(team: Team, answer: dict[str, Any]) -> None:
    """The desk hears that the channel took it."""
    await team.desk.expect(
        "message.status",
        lambda frame: frame["message_id"] == answer["message_id"] and frame["status"] in ("sent", "delivered", "read"),
    )


async def resolve(team: Team, conversation_id: str) -> None:
    await team.desk.command("conversation.resolve", conversation_id=conversation_id, **RECEIPT)
    await team.desk.expect("conversation.resolved")


def link_in(text: str) -> str:
    found = re.search(r"https?://\S+/f/[\w-]+", text)
    assert found, f"no link to the receipt in: {text}"
    return found.group(0)


async def confirm(team: Team, link: str) -> None:
    """The customer opens the page, says that it is solved and rates; the conversation closes."""
    url = team.server.base + urlsplit(link).path
    async with httpx.AsyncClient() as browser:
        page = await browser.get(url)
        assert page.status_code == 200
        assert RECEIPT["resolution"] in page.text
        answer = await browser.post(url, data={"outcome": "confirmed", "csat": "5", "nps": "9", "attitude": "5"})
        assert answer.status_code in (200, 303), answer.text
    closed = await team.desk.expect("conversation.closed")
    conversation = await team.server.api("GET", f"/conversations/{closed['conversation_id']}")
    assert conversation["status"] == "closed"
    types = [
        event["type"]
        for event in (await team.server.api("GET", f"/conversations/{conversation['id']}/events?limit=200"))["items"]
    ]
    assert types[:2] == ["conversation.created", "message.created"]
    for wanted in (
        "offer.created",
        "offer.accepted",
        "conversation.assigned",
        "conversation.resolved",
        "feedback.received",
        "conversation.closed",
    ):
        assert wanted in types, f"{wanted} is missing in {types}"
