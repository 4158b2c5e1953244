"""A customer calls: from the ringing to the confirmed close, and every way in which nobody talks to them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import httpx
import orjson
import pytest

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.phone import Caller, PhoneServer, one, query_of, spoken, verbs
from tests.support.providers import PartnerSystem

ACCOUNT, TOKEN = "AC1", "the-line's-token"


@dataclass
class Line:
    """A number at a Twilio of our own, and its callers."""

    team: Team
    twilio: PhoneServer
    channel: dict[str, Any]
    client: httpx.AsyncClient

    def caller(self, number: str = "+447700900123") -> Caller:
        return Caller(self.channel["webhook_url"], TOKEN, f"CA{secrets.token_hex(16)}", From=number)

    async def wait_until(self, caller: Caller, twiml: Any, where: Callable[[Any], bool]) -> Any:
        """The caller listens to music, and Twilio asks again, until it is told something else."""
        async with asyncio.timeout(60):
            while not where(twiml):
                again = one(twiml, "Redirect").text
                assert again is not None
                await asyncio.sleep(0.1)
                twiml = await caller.say(self.client, again, CallStatus="in-progress")
        return twiml


async def open_line(team: Team, number: str, **more: Any) -> Line:
    twilio = PhoneServer(ACCOUNT, TOKEN)
    await twilio.start()
    login = {"account_sid": ACCOUNT, "auth_token": TOKEN, "number": number, "api_base": twilio.base}
    channel = await team.server.make_channel("voice", {"provider": "twilio", **login, **more}, queue_id=team.queue_id)
    return Line(team, twilio, channel, httpx.AsyncClient(timeout=30))


async def close_line(line: Line) -> None:
    await line.team.server.api("DELETE", f"/channels/{line.channel['id']}")
    await line.client.aclose()
    await line.twilio.stop()


@pytest.fixture
async def line(team: Team) -> AsyncIterator[Line]:
    made = await open_line(team, "+442079460018", poll_s=1, record=True)
    yield made
    await close_line(made)


async def give_phone(team: Team, phone: str | None) -> None:
    path = f"/agents/{team.agent['id']}"
    shown = await team.server.api("GET", path)
    async with httpx.AsyncClient(timeout=20) as client:
        changed = await client.patch(
            f"{team.server.base}/api/v1{path}",
            json={"phone": phone},
            headers={"Authorization": f"Bearer {team.server.admin}", "If-Match": f'"{shown["version"]}"'},
        )
    assert changed.status_code == 200, changed.text
    assert changed.json()["phone"] == phone


async def call_of(line: Line, conversation_id: str, place: int = 0) -> dict[str, Any]:
    found = (await line.team.server.api("GET", f"/conversations/{conversation_id}/messages"))["items"]
    return dict([message for message in found if message["kind"] == "call"][place])


async def ring(line: Line, caller: Caller) -> tuple[Any, str]:
    """The greeting, and the conversation."""
    twiml = await caller.say(line.client, CallStatus="ringing")
    number = caller.form["From"]
    created = await line.team.desk.expect(
        "message.created", lambda frame: (frame["message"].get("call") or {}).get("from") == number
    )
    assert created["message"]["call"]["state"] == "ringing"
    return twiml, created["conversation_id"]


async def accept(line: Line, conversation_id: str) -> None:
    offer = await line.team.desk.expect("offer.created", lambda frame: frame["conversation_id"] == conversation_id)
    await line.team.desk.command("offer.accept", offer_id=offer["offer_id"])


def stamp() -> str:
    return formatdate(time.time(), usegmt=True)


async def test_from_the_ringing_to_the_confirmation(line: Line) -> None:
    team, client = line.team, line.client
    sms = await team.server.make_channel(
        "sms", {"account_sid": ACCOUNT, "auth_token": TOKEN, "number": "+442079460018", "api_base": line.twilio.base}
    )
    await give_phone(team, "+442079460999")
    caller = line.caller()
    forged = await Caller(line.channel["webhook_url"], "another", "CAx").post(client, CallStatus="ringing")
    assert forged.status_code == 401
    greeting, conversation_id = await ring(line, caller)
    assert "Thank you for calling." in spoken(greeting)
    assert "You are number 1 in the queue." in spoken(greeting)
    assert verbs(greeting)[-1] == "Redirect"
    await accept(line, conversation_id)
    connected = await line.wait_until(caller, greeting, lambda twiml: "Dial" in verbs(twiml))
    dial = one(connected, "Dial")
    assert one(dial, "Number").text == "+442079460999"
    leg = one(dial, "Number").get("statusCallback")
    child = {"CallSid": f"{caller.form['CallSid']}x", "ParentCallSid": caller.form["CallSid"]}
    for status in ("ringing", "in-progress"):
        await caller.say(client, leg, **child, CallStatus=status, Direction="outbound-dial", Timestamp=stamp())
    answered = await team.desk.expect(
        "message.updated", lambda frame: (frame["change"].get("call") or {}).get("state") == "answered"
    )
    assert answered["seq"] == 1
    clocks = {clock["metric"]: clock for clock in (await detail(team, conversation_id))["sla"]}
    assert (clocks["first_response"]["state"], clocks["first_response"]["target_s"]) == ("met", 15)
    assert clocks["handling"]["state"] == "running"
    over = await caller.say(
        client, dial.get("action"), DialCallStatus="completed", DialCallDuration="61", DialCallSid="CAx"
    )
    assert verbs(over) == ["Hangup"]
    done = await caller.post(client, CallStatus="completed", CallDuration="75", Timestamp=stamp(), CallbackSource="call-progress-events")  # fmt: skip
    assert done.status_code == 200
    await recorded(line, caller, dial.get("recordingStatusCallback") or "")
    await caller.say(
        client,
        f"{line.channel['webhook_url']}?step=transcription",
        TranscriptionSid="TR1",
        TranscriptionStatus="completed",
        TranscriptionText="The door came scratched.",
    )
    await team.desk.expect(
        "message.updated", lambda frame: (frame["change"].get("call") or {}).get("transcript") is not None
    )
    message = await call_of(line, conversation_id)
    call = message["call"]
    assert (call["state"], call["duration_s"], call["talk_s"], call["cause"]) == ("ended", 75, 61, "completed")
    assert "The door came scratched." in message["text"]
    await heard(line, call)
    await steps.resolve(team, conversation_id)
    receipt = await line.twilio.expect(lambda form: "/f/" in form.get("Body", ""))
    assert (receipt["To"], receipt["From"]) == ("+447700900123", "+442079460018")
    await steps.confirm(team, steps.link_in(receipt["Body"]))
    await team.server.api("DELETE", f"/channels/{sms['id']}")


async def detail(team: Team, conversation_id: str) -> dict[str, Any]:
    return dict(await team.server.api("GET", f"/conversations/{conversation_id}"))


async def recorded(line: Line, caller: Caller, url: str) -> None:
    path = f"{line.twilio.root}/Recordings/RE1"
    line.twilio.files[f"{path}.mp3"] = b"ID3 the talk"
    line.twilio.missing = 1
    assert query_of(url)["step"] == "recording"
    fields = {"RecordingSid": "RE1", "RecordingUrl": line.twilio.base + path, "RecordingDuration": "60"}
    await caller.say(line.client, url, **fields, RecordingStatus="completed", RecordingSource="DialVerb")
    stored = await line.team.desk.expect(
        "conversation.updated", lambda frame: "attachments" in frame["changed"], within=60
    )
    assert stored["attachments"][0]["url"] is not None


async def heard(line: Line, call: dict[str, Any]) -> None:
    recording = call["recording"]
    assert (recording["name"], recording["duration_s"]) == ("RE1.mp3", 60)
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.get(
            line.team.server.base + recording["url"], headers={"Authorization": f"Bearer {line.team.server.admin}"}
        )
    assert answer.content == b"ID3 the talk"


async def test_the_agent_does_not_pick_up_and_the_caller_waits_on(line: Line) -> None:
    team, client = line.team, line.client
    await give_phone(team, "sip:ada@pbx.example")
    caller = line.caller("+447700900201")
    greeting, conversation_id = await ring(line, caller)
    await accept(line, conversation_id)
    connected = await line.wait_until(caller, greeting, lambda twiml: "Dial" in verbs(twiml))
    dial = one(connected, "Dial")
    assert one(dial, "Sip").text == "sip:ada@pbx.example"
    again = await caller.say(client, dial.get("action"), DialCallStatus="no-answer", CallStatus="in-progress")
    assert verbs(again)[-1] == "Redirect", "nobody hangs up on the caller"
    shown = await detail(team, conversation_id)
    assert (shown["assignee_id"], shown["status"], shown["owner_id"]) == (None, "open", team.agent["id"])
    await accept(line, conversation_id)
    twice = await line.wait_until(caller, again, lambda twiml: "Dial" in verbs(twiml))
    assert one(twice, "Sip").text == "sip:ada@pbx.example"
    await caller.post(client, CallStatus="completed", CallDuration="40")
    assert (await call_of(line, conversation_id))["call"]["attempts"] == 1


async def test_a_caller_hangs_up_and_the_offer_is_withdrawn(line: Line) -> None:
    team = line.team
    caller = line.caller("+447700900202")
    _, conversation_id = await ring(line, caller)
    offer = await team.desk.expect("offer.created", lambda frame: frame["conversation_id"] == conversation_id)
    await caller.post(line.client, CallStatus="completed", CallDuration="4")
    gone = await team.desk.expect("offer.rescinded", lambda frame: frame["offer_id"] == offer["offer_id"])
    assert gone["reason"] == "the caller hung up"
    message = await call_of(line, conversation_id)
    assert (message["call"]["state"], message["text"]) == ("missed", "Missed call from +447700900202")
    back = await team.desk.expect("offer.created", lambda frame: frame["conversation_id"] == conversation_id)
    assert back["conversation"]["last_message"] == "Missed call from +447700900202", "somebody has to call back"
    await team.desk.command("offer.accept", offer_id=back["offer_id"])


async def test_out_of_hours_there_is_a_voicemail(line: Line) -> None:
    team, client = line.team, line.client
    calendar = await team.server.api("POST", "/calendars", {"name": f"never {secrets.token_hex(3)}", "weekly": {}})
    path = f"/queues/{team.queue_id}"
    shown = await team.server.api("GET", path)
    async with httpx.AsyncClient(timeout=20) as admin:
        changed = await admin.patch(
            f"{team.server.base}/api/v1{path}",
            json={"calendar_id": calendar["id"]},
            headers={"Authorization": f"Bearer {team.server.admin}", "If-Match": f'"{shown["version"]}"'},
        )
    assert changed.status_code == 200, changed.text
    caller = line.caller("+447700900203")
    twiml, conversation_id = await ring(line, caller)
    assert "We are closed at the moment." in spoken(twiml)
    record = one(twiml, "Record")
    fields = {"RecordingUrl": f"{line.twilio.base}{line.twilio.root}/Recordings/RE2", "RecordingDuration": "8"}
    line.twilio.files[f"{line.twilio.root}/Recordings/RE2.mp3"] = b"ID3 please call me"
    bye = await caller.say(client, record.get("action"), **fields, CallStatus="in-progress", Digits="hangup")
    assert verbs(bye) == ["Say", "Hangup"]
    await caller.say(client, record.get("recordingStatusCallback"), **fields, RecordingSid="RE2", RecordingStatus="completed", RecordingSource="RecordVerb")  # fmt: skip
    await caller.say(client, record.get("transcribeCallback"), TranscriptionSid="TR2", TranscriptionStatus="completed", TranscriptionText="Please call me back.")  # fmt: skip
    await caller.post(client, CallStatus="completed", CallDuration="20")
    message = await call_of(line, conversation_id)
    assert message["call"]["state"] == "voicemail"
    assert message["text"] == "Voicemail from +447700900203\n\nPlease call me back."
    assert len(message["attachments"]) == 1
    shown = await detail(team, conversation_id)
    assert (shown["status"], shown["assignee_id"]) == ("open", None)
    clocks = {clock["metric"]: clock["state"] for clock in shown["sla"]}
    assert clocks["first_response"] != "met", "a machine is no answer"


async def test_nobody_takes_it_within_the_time(team: Team) -> None:
    await team.desk.command("availability.set", availability="away")
    line = await open_line(team, "+442079460019", poll_s=1, max_wait_s=10, when_nobody="goodbye")
    caller = line.caller("+447700900204")
    twiml = await caller.say(line.client, CallStatus="ringing")
    assert "number 1 in the queue" in spoken(twiml)
    bye = await line.wait_until(caller, twiml, lambda twiml: "Hangup" in verbs(twiml))
    assert "All our colleagues are busy." in spoken(bye)
    await caller.post(line.client, CallStatus="completed", CallDuration="11")
    await team.desk.command("availability.set", availability="online")
    offer = await team.desk.expect(
        "offer.created", lambda frame: "900204" in (frame["conversation"]["last_message"] or "")
    )
    assert offer["conversation"]["last_message"] == "Missed call from +447700900204"
    await team.desk.command("offer.accept", offer_id=offer["offer_id"])
    await close_line(line)


async def test_an_agent_calls_back(line: Line) -> None:
    team, client = line.team, line.client
    caller = line.caller("+447700900205")
    _, conversation_id = await ring(line, caller)
    await team.desk.expect("offer.created", lambda frame: frame["conversation_id"] == conversation_id)
    await caller.post(client, CallStatus="completed", CallDuration="4")
    await team.desk.expect("offer.rescinded", lambda frame: frame["conversation_id"] == conversation_id)
    await accept(line, conversation_id)
    refused = await team.server.api(
        "POST", f"/conversations/{conversation_id}/call", {}, token=team.agent["token"], expect=409
    )
    assert "telephone" in refused["detail"]
    await give_phone(team, "+442079460999")
    line.twilio.script.append((400, {}, orjson.dumps({"code": 21211, "message": "not valid"})))
    first = await team.server.api("POST", f"/conversations/{conversation_id}/call", {}, token=team.agent["token"])
    failed = await team.desk.expect(
        "message.status", lambda frame: frame["message_id"] == first["id"] and frame["status"] == "failed"
    )
    assert "not valid" in failed["error"]
    placed = await team.desk.command("conversation.call", conversation_id=conversation_id, client_message_id="call 2")
    again = await team.desk.command("conversation.call", conversation_id=conversation_id, client_message_id="call 2")
    assert placed["message_id"] == again["message_id"]
    form = await line.twilio.expect(lambda form: form.get("To") == ["+442079460999"])
    ours = query_of(form["StatusCallback"][0])["rt_call"]
    assert ours == placed["message_id"]
    agent = Caller(line.channel["webhook_url"], TOKEN, "CAout1", From="+442079460018", To="+442079460999")
    agent.form["Direction"] = "outbound-api"
    told, leg = form["StatusCallback"][0], f"{line.channel['webhook_url']}?step=leg&rt_call={ours}"
    child = {"CallSid": "CAout1x", "ParentCallSid": "CAout1", "Direction": "outbound-dial", "To": "+447700900205"}
    await agent.post(client, told, CallStatus="completed", CallDuration="50", SequenceNumber="3", Timestamp=stamp())
    await agent.post(client, leg, **child, CallStatus="in-progress", Timestamp=stamp())
    await agent.post(client, told, CallStatus="ringing", SequenceNumber="1", Timestamp=stamp())
    await team.desk.expect(
        "message.updated",
        lambda frame: frame["message_id"] == ours and frame["change"]["call"]["answered_at"] is not None,
    )
    message = await call_of(line, conversation_id, 2)
    call = message["call"]
    assert (message["direction"], message["author"]["id"], message["status"]) == ("outbound", team.agent["id"], "sent")
    assert (call["state"], call["to"], call["from"]) == ("ended", "+447700900205", "+442079460018")
    assert call["duration_s"] == 50
    clocks = {clock["metric"]: clock["state"] for clock in (await detail(team, conversation_id))["sla"]}
    assert clocks["first_response"] == "met"
    await lost_on_the_way(line, conversation_id)


async def lost_on_the_way(line: Line, conversation_id: str) -> None:
    """Twilio took the call and its answer never came: it is not placed twice, and the telephone itself tells us of it."""
    line.twilio.script.append("drop")
    placed = await line.team.desk.command("conversation.call", conversation_id=conversation_id)

    async def status(word: str) -> None:
        await line.team.desk.expect(
            "message.status", lambda frame: frame["message_id"] == placed["message_id"] and frame["status"] == word
        )

    await status("unknown")
    form = await line.twilio.expect(
        lambda form: query_of(form.get("StatusCallback", [""])[0]).get("rt_call") == placed["message_id"]
    )
    agent = Caller(line.channel["webhook_url"], TOKEN, "CAlost", From="+442079460018", To="+442079460999")
    await agent.post(line.client, form["StatusCallback"][0], CallStatus="ringing", Timestamp=stamp())
    await status("sent")
    assert (await call_of(line, conversation_id, 3))["call"]["state"] == "ringing"
    assert len([form for form in line.twilio.placed if placed["message_id"] in form["StatusCallback"][0]]) == 1


async def test_another_telephone_system_by_signed_events(team: Team) -> None:
    pbx = PartnerSystem()
    await pbx.start()
    channel = await team.server.make_channel(
        "voice", {"provider": "generic", "secret": pbx.secret, "callback_url": pbx.base}, queue_id=team.queue_id
    )
    await give_phone(team, "sip:ada@pbx.example")
    common = {"call_id": "pbx-7", "direction": "inbound", "from": "+447700900206", "to": "+442079460018"}

    async def tell(client: httpx.AsyncClient, event: str, **more: Any) -> dict[str, Any]:
        body = orjson.dumps({"event": event, **common, "at": f"2026-11-22T08:00:{len(sent):02}Z", **more})
        sent.append(body)
        answer = await client.post(
            channel["webhook_url"], content=body, headers=pbx.headers(f"e{secrets.token_hex(4)}", body)
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    sent: list[bytes] = []
    async with httpx.AsyncClient(timeout=20) as client:
        begun = await tell(client, "call.started")
        assert begun == {"status": "stored", "call": {"do": "wait", "position": 1}}
        offer = await team.desk.expect(
            "offer.created", lambda frame: "900206" in (frame["conversation"]["last_message"] or "")
        )
        await team.desk.command("offer.accept", offer_id=offer["offer_id"])
        asked = await client.post(channel["webhook_url"], content=sent[0], headers=pbx.headers("again", sent[0]))
        assert asked.json()["call"] == {"do": "connect", "to": "sip:ada@pbx.example"}
        await tell(client, "call.answered")
        await tell(client, "call.ended", cause="16")
        await tell(client, "call.transcript", text="A short talk.")
    conversation_id = offer["conversation_id"]
    found = (await team.server.api("GET", f"/conversations/{conversation_id}/messages"))["items"]
    assert [(message["kind"], message["call"]["state"]) for message in found] == [("call", "ended")]
    assert found[0]["call"]["transcript"] == "A short talk."
    placed = await team.desk.command("conversation.call", conversation_id=conversation_id)
    wanted = await pbx.expect(lambda body: body.get("type") == "call.requested")
    assert (wanted["data"]["call_id"], wanted["data"]["to"]) == (placed["message_id"], "+447700900206")
    await steps.resolve(team, conversation_id)
    lost = await team.desk.expect("message.created", lambda frame: frame["message"]["kind"] == "receipt")
    assert lost["message"]["status"] == "failed", (
        "nobody reads on a telephone, and there is no other way to this customer"
    )
    await team.server.api("DELETE", f"/channels/{channel['id']}")
    await pbx.stop()
