"""The walk that every channel's journey shares; each journey brings the customer's side."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from tests.journeys.conftest import Team
from tests.support.providers import Answer

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
    accepted = await team.desk.command("offer.accept", offer_id=offer["offer_id"])
    await team.desk.expect("conversation.assigned")
    conversation = await team.server.api("GET", f"/conversations/{created['conversation_id']}")
    assert accepted["conversation"]["answers"] == conversation["answers"]
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


@dataclass(frozen=True)
class Told:
    """A call of the provider's, as it puts it on the wire. `url` is below the channel's own address."""

    body: bytes
    headers: dict[str, str]
    url: str = ""


class Provider(Protocol):
    """A small server in a provider's place (tests/support): `raw` are the messages that it took, `script` its moods."""

    raw: list[bytes]
    script: list[Answer | str | None]
    arrived: asyncio.Event


class Customer(ABC):
    """Somebody on their phone, and the provider between us. `news` are its words for a message in their order, the last one
    of which is our `highest`; `busy` and `broken` what it answers on a bad day."""

    news: tuple[str, ...] = ()
    highest = "sent"
    idempotent = False
    busy: Answer
    broken: Answer

    def __init__(self, provider: Provider, webhook: str) -> None:
        self.provider, self.webhook = provider, webhook

    @abstractmethod
    def said(self, text: str) -> Told:
        """The call that brings it, the same each time for the same text."""

    @abstractmethod
    def text_of(self, raw: bytes) -> str:
        """What the customer reads of a message that the provider took."""

    @abstractmethod
    def wanted(self, text: str, message_id: str) -> bytes:
        """Every byte of the call that carries it."""

    def status(self, word: str, number: int, message_id: str) -> Told:
        """The provider's word about the message that it took as `number`, from 1."""
        raise AssertionError("this provider tells no statuses")

    def settles(self, number: int, message_id: str) -> Told:
        """How we come to know that a message went out whose answer was lost."""
        raise AssertionError("a retry with the same key settles it")


async def tell(customer: Customer, *told: Told) -> None:
    """All of them at once, as a provider does it that does not wait for our answers."""
    async with httpx.AsyncClient() as client:
        posted = (client.post(customer.webhook + one.url, content=one.body, headers=one.headers) for one in told)
        for answer in await asyncio.gather(*posted):
            assert answer.status_code == 200, answer.text


async def got(customer: Customer, text: str, *, after: int = 0) -> bytes:
    """The first message with these words that the provider took, not counting the first `after` of all."""
    async with asyncio.timeout(40):
        while True:
            customer.provider.arrived.clear()
            for raw in customer.provider.raw[after:]:
                if text in customer.text_of(raw):
                    return raw
            await customer.provider.arrived.wait()


def times(customer: Customer, text: str) -> int:
    return sum(text in customer.text_of(raw) for raw in customer.provider.raw)


async def heard(team: Team, answer: dict[str, Any], *statuses: str) -> None:
    await team.desk.expect(
        "message.status",
        lambda frame: frame["message_id"] == answer["message_id"] and frame["status"] in statuses,
        within=40,
    )


async def walk(team: Team, customer: Customer) -> None:
    """From the first message to the confirmed close, on a day on which the provider repeats, mixes up and breaks off."""
    person = secrets.token_hex(4)
    question, answer = f"Wo bleibt mein Schrank? {person}", 'Er kommt am Montag \U0001f69a – "versprochen".'
    await tell(customer, *[customer.said(question)] * 3)
    conversation = await take(team, question)
    sent = await reply(team, conversation["id"], answer)
    assert await got(customer, answer) == customer.wanted(answer, sent["message_id"])
    await heard(team, sent, "sent")
    await _news(team, customer, sent)
    await _bad_day(team, customer, conversation["id"])
    await _not_solved(team, customer, conversation["id"])
    kept = (await team.server.api("GET", f"/conversations/{conversation['id']}/messages?limit=100"))["items"]
    assert [item["text"] for item in kept].count(question) == 1


async def _news(team: Team, customer: Customer, sent: dict[str, Any]) -> None:
    """Each word twice and in any order: the highest counts."""
    if not customer.news:
        return
    words = [*customer.news, *customer.news]
    random.Random(5).shuffle(words)
    await tell(customer, *(customer.status(word, 1, sent["message_id"]) for word in words))
    await heard(team, sent, customer.highest)


async def _bad_day(team: Team, customer: Customer, conversation_id: str) -> None:
    """Too many calls, an error of theirs, and a connection that breaks off once they have it: the customer reads it once."""
    moods: tuple[tuple[str, Answer | str], ...] = (
        ("busy", customer.busy),
        ("broken", customer.broken),
        ("breaks off", "drop"),
    )
    for word, mood in moods:
        customer.provider.script.append(mood)
        text = f"On a day when it is {word}: {secrets.token_hex(4)}"
        sent = await reply(team, conversation_id, text)
        await got(customer, text)
        if mood == "drop" and not customer.idempotent:
            await heard(team, sent, "unknown")
            await tell(customer, customer.settles(len(customer.provider.raw), sent["message_id"]))
        await heard(team, sent, "sent", "delivered")
        assert times(customer, text) == 1


async def _not_solved(team: Team, customer: Customer, conversation_id: str) -> None:
    """The receipt, "not solved", the same owner again, and the second receipt confirmed."""
    before = len(customer.provider.raw)
    await resolve(team, conversation_id)
    link = link_in(customer.text_of(await got(customer, "/f/", after=before)))
    async with httpx.AsyncClient() as browser:
        url = team.server.base + urlsplit(link).path
        answer = await browser.post(url, data={"outcome": "rejected", "comment": "still scratched"})
        assert answer.status_code in (200, 303), answer.text
    await team.desk.expect("conversation.reopened", lambda frame: frame["conversation_id"] == conversation_id)
    again = await team.server.api("GET", f"/conversations/{conversation_id}")
    assert again["owner_id"] == team.agent["id"]
    before = len(customer.provider.raw)
    await resolve(team, conversation_id)
    receipt = customer.text_of(await got(customer, "/f/", after=before))
    await confirm(team, link_in(receipt))
