"""A customer writes to a LINE official account."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import orjson

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.steps import Customer, Told
from tests.support.line import LineServer, refusal, sign
from tests.support.providers import Answer

SECRET, TOKEN = "linesecret", "averysecrettoken"


class Person(Customer):
    idempotent = True
    busy = refusal(429, "The API rate limit has been exceeded.", retry_after="1")
    broken: Answer = (502, {}, b"")

    def __init__(self, provider: LineServer, webhook: str) -> None:
        super().__init__(provider, webhook)
        self.id = f"U{secrets.token_hex(16)}"
        self.first = str(secrets.randbelow(2**62))

    def call(self, *events: dict[str, Any]) -> Told:
        around = {
            "mode": "active",
            "timestamp": 1795334400000,
            "source": {"type": "user", "userId": self.id},
            "deliveryContext": {"isRedelivery": False},
        }
        raw = orjson.dumps({"destination": "U0", "events": [{**around, **event} for event in events]})
        return Told(raw, sign(SECRET, raw))

    def said(self, text: str) -> Told:
        return self.call({"type": "message", "message": {"id": self.first, "type": "text", "text": text}})

    def text_of(self, raw: bytes) -> str:
        return "\n".join(message["text"] for message in orjson.loads(raw)["messages"])

    def wanted(self, text: str, message_id: str) -> bytes:
        return orjson.dumps({"to": self.id, "messages": [{"type": "text", "text": text}]})


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    line = LineServer(TOKEN)
    await line.start()
    given = {"channel_secret": SECRET, "access_token": TOKEN, "api_base": line.base}
    channel = await team.server.make_channel("line", given, queue_id=team.queue_id)
    person = Person(line, channel["webhook_url"])
    line.people[person.id] = {"userId": person.id, "displayName": f"Grace {person.id}", "language": "de"}
    async with httpx.AsyncClient() as client:
        test = person.call()
        assert (await client.post(person.webhook, content=test.body, headers=test.headers)).status_code == 200
        forged = {**test.headers, "x-line-signature": "AAAA"}
        assert (await client.post(person.webhook, content=test.body, headers=forged)).status_code == 401
    await steps.walk(team, person)
    assert len(set(line.keys)) == len(line.accepted), "each message has a key of its own, the same at every attempt"
    assert len(line.keys) > len(line.accepted), "what was refused or lost was pushed again"
    everybody = (await team.server.api("GET", "/contacts?limit=200"))["items"]
    (contact,) = [item for item in everybody if item["name"] == f"Grace {person.id}"]
    assert contact["language"] == "de"
    await line.stop()
