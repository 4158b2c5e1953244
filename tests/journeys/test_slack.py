"""A customer writes in a Slack channel that both companies share."""

from __future__ import annotations

import secrets
import time
from typing import Any

import httpx
import orjson

from app.clock import now
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.steps import Customer, Told
from tests.support.providers import Answer
from tests.support.slack import SlackServer, sign

SECRET, TOKEN = "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-secret"


class Person(Customer):
    busy: Answer = (429, {"retry-after": "1"}, b'{"ok":false,"error":"ratelimited"}')
    broken: Answer = (503, {}, b'{"ok":false,"error":"service_unavailable"}')

    def __init__(self, provider: SlackServer, webhook: str) -> None:
        super().__init__(provider, webhook)
        self.channel, self.user = f"C{secrets.token_hex(5).upper()}", f"U{secrets.token_hex(5).upper()}"
        self.ts = f"{int(time.time())}.{secrets.randbelow(10**6):06}"

    def call(self, body: dict[str, Any]) -> Told:
        raw = orjson.dumps(body)
        return Told(raw, {**sign(SECRET, raw, now()), "x-slack-retry-num": "1"})

    def event(self, **event: object) -> Told:
        around = {"type": "event_callback", "team_id": "T1", "event_id": f"Ev{secrets.token_hex(5)}"}
        bot = {"team_id": "T1", "user_id": "UB", "is_bot": True}
        whole = {"type": "message", "channel": self.channel, "channel_type": "channel", **event}
        return self.call({**around, "authorizations": [bot], "event": whole})

    def said(self, text: str) -> Told:
        return self.event(user=self.user, text=text, ts=self.ts)

    def text_of(self, raw: bytes) -> str:
        return str(orjson.loads(raw)["text"]).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def wanted(self, text: str, message_id: str) -> bytes:
        return orjson.dumps(
            {
                "channel": self.channel,
                "thread_ts": self.ts,
                "text": text,
                "mrkdwn": False,
                "unfurl_links": False,
                "unfurl_media": False,
                "metadata": {"event_type": "roundtrip_message", "event_payload": {"message_id": message_id}},
            }
        )

    def settles(self, number: int, message_id: str) -> Told:
        """The event of our own message, which the channel sends to everybody in it."""
        told = {"event_type": "roundtrip_message", "event_payload": {"message_id": message_id}}
        return self.event(bot_id="B1", user="UB", text="x", ts=f"1795334400.{number:06}", metadata=told)


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    slack = SlackServer(TOKEN)
    await slack.start()
    given = {"signing_secret": SECRET, "bot_token": TOKEN, "api_base": f"{slack.base}/api"}
    channel = await team.server.make_channel("slack", given, queue_id=team.queue_id)
    person = Person(slack, channel["webhook_url"])
    slack.people[person.user] = {"id": person.user, "locale": "de-DE", "profile": {"display_name": "Grace at Slack"}}
    async with httpx.AsyncClient() as client:
        test = person.call({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"})
        answer = await client.post(person.webhook, content=test.body, headers=test.headers)
        assert (answer.status_code, answer.content) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY")
        forged = {**test.headers, "x-slack-signature": "v0=00"}
        assert (await client.post(person.webhook, content=test.body, headers=forged)).status_code == 401
    await steps.walk(team, person)
    names = [item["name"] for item in (await team.server.api("GET", "/contacts?limit=200"))["items"]]
    assert "Grace at Slack" in names
    await slack.stop()
