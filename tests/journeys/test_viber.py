"""A customer writes to a Viber bot."""

from __future__ import annotations

import secrets
from datetime import datetime

import httpx
import orjson

from app.clock import now
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.steps import Customer, Told
from tests.support.providers import Answer
from tests.support.viber import ViberServer, refusal, sign

TOKEN = "44dafb7e0f40021e-61a47a1e6778d187"


def stamp(at: datetime) -> int:
    return int(at.timestamp() * 1000)


class Person(Customer):
    news, highest = ("delivered", "seen"), "read"
    busy = refusal(12, "tooManyRequests", http=429, retry_after="1")
    broken: Answer = (503, {"content-type": "text/html"}, b"<html>")

    def __init__(self, provider: ViberServer, webhook: str) -> None:
        super().__init__(provider, webhook)
        self.viber = provider
        self.id = f"{secrets.token_urlsafe(12)}+/=="
        self.token = 4_912_661_846_655_238_145 + secrets.randbelow(10**9)

    def call(self, event: str, **body: object) -> Told:
        raw = orjson.dumps({"event": event, "timestamp": stamp(now()), **body})
        return Told(raw, sign(TOKEN, raw))

    def said(self, text: str, **message: object) -> Told:
        person = {"id": self.id, "name": "Grace", "avatar": "https://viber.example/a"}
        written = {"type": "text", "text": text, **message}
        return self.call("message", message_token=self.token, sender=person, message=written)

    def text_of(self, raw: bytes) -> str:
        return str(orjson.loads(raw).get("text", ""))

    def wanted(self, text: str, message_id: str) -> bytes:
        return orjson.dumps(
            {
                "receiver": self.id,
                "min_api_version": 1,
                "sender": {"name": "Möbelhaus"},
                "tracking_data": f"roundtrip:{message_id}",
                "type": "text",
                "text": text,
            }
        )

    def status(self, word: str, number: int, message_id: str) -> Told:
        return self.call(word, message_token=self.viber.token_of(number), user_id=self.id)

    def settles(self, number: int, message_id: str) -> Told:
        """The next message of whoever has ours carries our tracking data."""
        self.token += 1
        return self.said("Danke!", tracking_data=f"roundtrip:{message_id}")


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    viber = ViberServer(TOKEN)
    await viber.start()
    given = {"auth_token": TOKEN, "api_base": viber.base, "sender_name": "Möbelhaus", "welcome": "Guten Tag!"}
    channel = await team.server.make_channel("viber", given, queue_id=team.queue_id)
    assert TOKEN not in str(await team.server.api("GET", f"/channels/{channel['id']}"))
    person = Person(viber, channel["webhook_url"])
    viber.users[person.id] = {"name": "Grace Hopper", "language": "de", "avatar": "https://viber.example/a"}
    opened = person.call("conversation_started", user={"id": person.id}, type="open", message_token=1)
    async with httpx.AsyncClient() as client:
        answer = await client.post(person.webhook, content=opened.body, headers=opened.headers)
        assert answer.json() == {"sender": {"name": "Möbelhaus"}, "type": "text", "text": "Guten Tag!"}
        forged = {**opened.headers, "x-viber-content-signature": "0" * 64}
        assert (await client.post(person.webhook, content=opened.body, headers=forged)).status_code == 401
    await steps.walk(team, person)
    await viber.stop()
