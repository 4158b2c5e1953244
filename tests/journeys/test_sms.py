"""A customer sends text messages, by way of Twilio."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

import httpx

from app.channels.sms_parse import OURS
from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.journeys.steps import Customer, Told
from tests.support.providers import Answer
from tests.support.twilio import TwilioServer, refusal, sign

SID, TOKEN, NUMBER = "AC" + "0" * 32, "twiliotoken", "+4930123456"
CALLBACK = "https://desk.example/sms"


class Person(Customer):
    news, highest = ("sent", "delivered"), "delivered"
    busy = refusal(20429, 429, "Too Many Requests", retry_after="1")
    broken: Answer = (503, {}, b"")

    def __init__(self, provider: TwilioServer, webhook: str) -> None:
        super().__init__(provider, webhook)
        self.number, self.first = f"+49151{secrets.randbelow(10**8):08}", f"SM{secrets.token_hex(16)}"

    def call(self, query: str = "", /, **form: str) -> Told:
        pairs = [("AccountSid", SID), ("ApiVersion", "2010-04-01"), *form.items()]
        signature = sign(TOKEN, self.webhook + query, pairs)
        headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8", "x-twilio-signature": signature}
        return Told(urlencode(pairs).encode(), headers, query)

    def said(self, text: str) -> Told:
        ends = {"From": self.number, "To": NUMBER}
        return self.call(MessageSid=self.first, SmsStatus="received", Body=text, NumMedia="0", **ends)

    def text_of(self, raw: bytes) -> str:
        return str(httpx.QueryParams(raw.decode()).get("Body", ""))

    def wanted(self, text: str, message_id: str) -> bytes:
        told = f"{CALLBACK}?{urlencode({OURS: message_id})}"
        form = {"To": self.number, "From": NUMBER, "Body": text, "StatusCallback": told}
        return urlencode(form).encode()

    def status(self, word: str, number: int, message_id: str) -> Told:
        ours = "?" + urlencode({OURS: message_id})
        return self.call(ours, MessageSid=f"SM{number}", MessageStatus=word, From=NUMBER, To=self.number)

    def settles(self, number: int, message_id: str) -> Told:
        return self.status("sent", number, message_id)


async def test_from_the_first_message_to_the_confirmation(team: Team) -> None:
    twilio = TwilioServer(SID, TOKEN)
    await twilio.start()
    given = {
        "account_sid": SID,
        "auth_token": TOKEN,
        "number": NUMBER,
        "status_callback": CALLBACK,
        "api_base": twilio.base,
    }
    channel = await team.server.make_channel("sms", given, queue_id=team.queue_id)
    person = Person(twilio, channel["webhook_url"])
    async with httpx.AsyncClient() as client:
        test = person.said("forged")
        forged = {**test.headers, "x-twilio-signature": "AAAA"}
        assert (await client.post(person.webhook, content=test.body, headers=forged)).status_code == 401
    await steps.walk(team, person)
    await twilio.stop()
