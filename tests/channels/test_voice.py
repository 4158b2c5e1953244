"""A telephone line at Twilio: real calls in, TwiML out of how a call stands, and calls that we place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.channels import voice_direct, voice_numbers, voice_parse
from app.channels.base import (
    Answering,
    Call,
    CallUpdate,
    Checking,
    Directing,
    Fetching,
    Parsed,
    RemoteFile,
    SendError,
    SendFailure,
    Situation,
    Unparseable,
)
from app.channels.config import split
from app.channels.provider import FetchError
from app.channels.voice import VoiceAdapter
from app.channels.voice_config import VoiceConfig
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, NOW, call, outgoing
from tests.support.phone import PhoneServer, one, query_of, spoken, verbs
from tests.support.twilio import URL, form_call, refusal, sign

SID, TOKEN, NUMBER = "AC0123456789abcdef", "averysecrettoken", "+442079460018"
BASICS = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN, "number": NUMBER}
ADAPTER = VoiceAdapter()
PLAIN = {
    "CallSid": "CA1",
    "AccountSid": SID,
    "From": "+447700900123",
    "To": NUMBER,
    "Direction": "inbound",
    "CallStatus": "ringing",
}


def configured(**more: Any) -> VoiceConfig:
    return VoiceConfig.model_validate({**BASICS, **more})


CONFIG = configured()


def request(form: dict[str, str], query: dict[str, str] | None = None) -> Call:
    url = f"{URL}?{urlencode(query)}" if query else URL
    return form_call(TOKEN, list(form.items()), url=url, query=query)


def parse(form: dict[str, str], query: dict[str, str] | None = None) -> Parsed:
    return ADAPTER.parse(CONFIG, request(form, query))


def told(query: dict[str, str] | None = None, **fields: str) -> CallUpdate:
    parsed = parse({**PLAIN, **fields}, query)
    assert (parsed.errors, parsed.ignored, parsed.messages) == ((), (), ())
    (update,) = parsed.calls
    return update


def test_what_it_can() -> None:
    for protocol in (Answering, Fetching, Checking, Directing):
        assert isinstance(ADAPTER, protocol)
    assert not ADAPTER.capabilities.answers


# --- configuration --------------------------------------------------------------------------------------------------


def test_secrets_are_apart_and_all_comes_back() -> None:
    public, secrets = split(configured(hold_music_url="https://x/y.mp3", texts={"en": {"greeting": "Hi."}}))
    assert (set(secrets), secrets["auth_token"]) == ({"auth_token", "previous_secrets"}, TOKEN)
    json.dumps(public)
    assert VoiceConfig.model_validate({**public, **secrets}).texts == {"en": {"greeting": "Hi."}}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"provider": "twilio"}, "account_sid is needed"),
        ({**BASICS, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret is of no use"),
        ({**BASICS, "number": "02079460018"}, "with its country"),
        ({**BASICS, "texts": {"en": {"greting": "Hi"}}}, "there is no text greting"),
        ({**BASICS, "texts": {"en": {"position": "You are {number}"}}}, "only {position}"),
        ({**BASICS, "poll_s": 0}, "poll_s"),
        ({"provider": "generic"}, "secret is needed"),
        ({"provider": "generic", "secret": "nonsense!"}, "whsec_"),
        ({"provider": "skype"}, "provider"),
    ],
)
def test_what_cannot_be_a_line_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        VoiceConfig.model_validate(given)
    assert why in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"provider": "twilio"}, {"account_sid", "auth_token", "number"}),
        ({"provider": "twilio", "account_sid": SID, "number": NUMBER}, {"auth_token"}),
        ({"provider": "generic"}, {"secret"}),
        ({"provider": "generic", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "number": NUMBER}, {"number"}),
        (
            {"provider": "generic", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "recording_login": "a:b"},
            {"recording_login"},
        ),
    ],
)
def test_what_is_missing_or_of_no_use_is_named(given: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        VoiceConfig.model_validate(given)
    assert {item["loc"] for item in refused.value.errors()} == {(field,) for field in fields}


# --- verify ---------------------------------------------------------------------------------------------------------


def vectors(fixtures: Path) -> list[tuple[dict[str, Any], Call]]:
    found = []
    for path in sorted((fixtures / "twilio_voice" / "vectors").glob("*.json")):
        vector = json.loads(path.read_text())
        body = (vector["form"] if "form" in vector else urlencode(vector["params"])).encode()
        headers = {
            "x-twilio-signature": vector["signature"],
            "content-type": "application/x-www-form-urlencoded",
        }
        found.append((vector, Call("POST", vector["url"], {}, headers, body, NOW)))
    return found


def genuine(given_: Call, token: str, account: str = SID) -> bool:
    try:
        ADAPTER.verify(configured(auth_token=token, account_sid=account), given_)
    except NotGenuine:
        return False
    return True


def test_published_vectors_and_every_flipped_bit(fixtures: Path) -> None:
    known = vectors(fixtures)
    assert len(known) == 3
    for vector, good in known:
        token = vector["auth_token"]
        account = dict(parse_qsl(good.body.decode())).get("AccountSid", SID)
        assert genuine(good, token, account) is vector["valid"]
        for place in range(len(good.body) * 8):
            body = bytearray(good.body)
            body[place // 8] ^= 1 << (place % 8)
            same = parse_qsl(bytes(body).decode("latin-1"), keep_blank_values=True) == parse_qsl(
                good.body.decode("latin-1"), keep_blank_values=True
            )
            assert genuine(Call("POST", good.url, {}, good.headers, bytes(body), NOW), token, account) is same
        for place in range(len(vector["signature"])):
            flipped = list(vector["signature"])
            flipped[place] = chr(ord(flipped[place]) ^ 1)
            headers = {**good.headers, "x-twilio-signature": "".join(flipped)}
            assert not genuine(Call("POST", good.url, {}, headers, good.body, NOW), token, account)
        assert not genuine(good, token[:-1] + chr(ord(token[-1]) ^ 1), account)
        assert not genuine(Call("POST", good.url + "x", {}, good.headers, good.body, NOW), token, account)


def test_a_step_is_signed_with_its_query() -> None:
    good = request(PLAIN, {"step": "wait", "n": "2"})
    ADAPTER.verify(CONFIG, good)
    with pytest.raises(NotGenuine):
        ADAPTER.verify(CONFIG, Call("POST", good.url.replace("n=2", "n=3"), {}, good.headers, good.body, NOW))


# --- parse ----------------------------------------------------------------------------------------------------------


def test_every_file_of_the_fixtures(fixtures: Path) -> None:
    seen = 0
    for path in sorted((fixtures / "twilio_voice").glob("*/*.form")):
        form = dict(parse_qsl(path.read_text().strip(), keep_blank_values=True))
        given_ = request(form)
        parsed = ADAPTER.parse(CONFIG, given_)
        assert (parsed.errors, len(parsed.calls)) == ((), 1), path
        situation = Situation("waiting", position=1)
        if ADAPTER.asks(CONFIG, given_) is not None:
            ElementTree.fromstring(ADAPTER.direct(CONFIG, given_, situation).body)
        ElementTree.fromstring(ADAPTER.answer(CONFIG, given_, parsed).body)
        seen += 1
    assert seen >= 9


def of_fixture(fixtures: Path, name: str) -> CallUpdate:
    form = dict(parse_qsl((fixtures / "twilio_voice" / name).read_text().strip(), keep_blank_values=True))
    (update,) = parse(form).calls
    return update


def test_what_the_fixtures_say(fixtures: Path) -> None:
    gb = of_fixture(fixtures, "incoming/idx7561854933_incoming_gb.form")
    assert (gb.state, gb.direction, gb.call_id) == ("ringing", "inbound", "yahoor")
    assert gb.sender is not None
    assert (gb.sender.kind, gb.sender.value, gb.sender.phone) == ("phone", "+447700900169", "+447700900169")
    sip = of_fixture(fixtures, "incoming/idx18347986647_sip_domain.form")
    assert sip.sender is not None
    assert sip.sender.kind == "sip"
    client = of_fixture(fixtures, "incoming/idx566624719_client_incoming.form")
    assert client.sender is not None
    assert (client.sender.kind, client.sender.value) == ("client", "client:joey_ramone")
    done = of_fixture(fixtures, "status/idx16691189916_status_completed.form")
    assert (done.state, done.cause, done.duration_s) == ("ended", "completed", 39)
    assert done.sender is not None
    assert done.sender.name == "CITY VOICE"
    out = of_fixture(fixtures, "status/idx8177646696_outbound_in_progress.form")
    assert (out.state, out.direction) == ("answered", "outbound")
    assert out.sender is not None
    assert out.sender.value == "+819000000015"
    heard = of_fixture(fixtures, "recording/idx1645900563_recording_completed.form")
    assert (heard.state, heard.sender) == ("voicemail", None)
    assert heard.recording is not None
    assert (heard.recording.ref["id"], heard.recording.ref["duration_s"]) == ("RE0ff7ecec483bcbbeb0d76eb8bfe5b6e0", 3)
    action = of_fixture(fixtures, "recording/idx3219792283_record_verb_action.form")
    assert action.recording is not None
    assert (action.state, action.recording.ref["id"]) == ("voicemail", "RE96fdf689bb33eb57cc24de20e2b5f670")
    words = of_fixture(fixtures, "transcription/mindbridge_transcription_completed.form")
    expected = json.loads(
        (fixtures / "twilio_voice/transcription/expected_mindbridge_transcription.expected.json").read_text()
    )[0]
    assert (words.call_id, words.transcript) == (expected["CallSid"], expected["TranscriptionText"])


def test_the_agents_telephone_answers_and_is_no_call_of_its_own() -> None:
    leg = {"step": "leg", "call": "CA1"}
    child = {"CallSid": "CAchild", "ParentCallSid": "CA1", "Direction": "outbound-dial", "To": "+442079460999"}
    update = told(leg, **child, CallStatus="in-progress", Timestamp="Sun, 22 Nov 2026 08:00:09 +0000")
    assert (update.call_id, update.state, update.sender, update.direction) == ("CA1", "answered", None, "inbound")
    assert update.at is not None
    assert update.at.second == 9
    assert told(leg, **child, CallStatus="ringing").state is None
    machine = told(leg, **child, CallStatus="in-progress", AnsweredBy="machine_start")
    assert (machine.state, machine.content["answered_by"]) == (None, "machine_start")
    listening = configured(machine_detection=True)
    heard = [
        ADAPTER.parse(listening, request({**PLAIN, **child, **more}, leg)).calls[0].state
        for more in (
            {"CallStatus": "in-progress"},
            {"CallStatus": "", "AnsweredBy": "human"},
            {"CallStatus": "", "AnsweredBy": "machine_start"},
            {"CallStatus": "in-progress", "To": "sip:ada@pbx.example"},
        )
    ]
    assert heard == [None, "answered", None, "answered"], "only Twilio's ear tells a person from a machine"
    rang = told({"step": "dialled", "call": "CA1"}, DialCallStatus="no-answer", CallStatus="in-progress")
    assert (rang.unanswered, rang.state) == ("no-answer", None)
    spoke = told({"step": "dialled", "call": "CA1"}, DialCallStatus="completed", DialCallDuration="42")
    assert (spoke.unanswered, spoke.talk_s) == (None, 42)


def test_a_call_that_we_placed_goes_by_our_message() -> None:
    ours = {"step": "status", "rt_call": str(MESSAGE_ID)}
    parsed = parse({**PLAIN, "Direction": "outbound-api", "CallStatus": "in-progress"}, ours)
    (update,) = parsed.calls
    assert (update.our_id, update.state, update.direction, update.sender) == (str(MESSAGE_ID), None, "outbound", None)
    (status,) = parsed.statuses
    assert (status.status, status.our_id, status.provider_message_id) == ("sent", str(MESSAGE_ID), "CA1")
    leg = told(
        {"step": "leg", "rt_call": str(MESSAGE_ID)}, CallSid="CA2", ParentCallSid="CA1", CallStatus="in-progress"
    )
    assert (leg.state, leg.our_id) == ("answered", str(MESSAGE_ID))
    busy = parse({**PLAIN, "CallStatus": "busy"}, ours).calls[0]
    assert (busy.state, busy.cause) == ("ended", "agent: busy")


def test_what_nobody_acts_on_is_named() -> None:
    assert parse({"CallSid": "CA1", "CallStatus": "teleported"}).ignored == ("call status teleported",)
    assert parse({"MessageSid": "SM1"}).ignored
    assert parse({"Something": "new"}).errors == ("call: CallSid is missing",)
    with pytest.raises(Unparseable):
        ADAPTER.parse(CONFIG, call(b""))


@pytest.mark.parametrize(
    "number", ["", "anonymous", "+266696687", "Restricted", "sip:anonymous@x.example", "+7378742833"]
)
def test_a_withheld_number_is_nobodys(number: str) -> None:
    sender = told(From=number, Caller=number).sender
    assert sender is not None
    assert (sender.kind, sender.value, sender.phone) == ("anonymous", "CA1", None)


@pytest.mark.parametrize(
    ("raw", "country", "e164"),
    [
        ("+44 7700 900123", None, "+447700900123"),
        ("07700 900123", "GB", "+447700900123"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("138 0013 8000", "CN", "+8613800138000"),
        ("07700 900123", None, None),
        ("1001", "GB", None),
        ("not a number", "GB", None),
        ("+1 555-0100", None, "+15550100"),
        ("+0441234567", "GB", None),
    ],
)
def test_numbers_as_their_countries_write_them(raw: str, country: str | None, e164: str | None) -> None:
    assert voice_numbers.e164(raw, country) == e164


def test_where_an_agent_is_rung() -> None:
    assert voice_numbers.agent_phone(" +44 20 7946 0018 ") == "+442079460018"
    assert voice_numbers.agent_phone("sip:ada@pbx.example") == "sip:ada@pbx.example"
    for wrong in ("02079460018", "ada@pbx.example", "+1", "sip:", "sip:a b@c", "sip:a<b>"):
        with pytest.raises(ValueError, match="must be a number"):
            voice_numbers.agent_phone(wrong)


# --- what a caller hears --------------------------------------------------------------------------------------------


def answer(
    now_: Situation | None, query: dict[str, str] | None = None, config: VoiceConfig = CONFIG, **form: str
) -> Any:
    given_ = request({**PLAIN, **form}, query)
    assert ADAPTER.asks(config, given_) == "CA1"
    return ElementTree.fromstring(ADAPTER.direct(config, given_, now_).body)


def test_a_caller_is_greeted_and_waits_at_their_place() -> None:
    heard = answer(Situation("waiting", position=2))
    assert verbs(heard) == ["Say", "Say", "Pause", "Redirect"]
    assert "number 2 in the queue" in spoken(heard)
    again = one(heard, "Redirect").text or ""
    assert again.startswith(URL)
    assert query_of(again) == {"step": "wait", "n": "1"}
    later = answer(Situation("waiting", position=2, waited_s=3), {"step": "wait", "n": "1"})
    assert verbs(later) == ["Pause", "Redirect"]
    told_again = answer(Situation("waiting", position=1, waited_s=30), {"step": "wait", "n": "10"})
    assert "number 1 in the queue" in spoken(told_again)
    music = answer(
        Situation("waiting", position=1), config=configured(hold_music_url="https://m.example/a.mp3?x=1&y=2")
    )
    assert one(music, "Play").text == "https://m.example/a.mp3?x=1&y=2"


def test_in_the_callers_language_and_the_operators_words() -> None:
    heard = answer(Situation("waiting", position=3, language="zh-CN"))
    assert "第3位" in spoken(heard)
    assert one(heard, "Say").get("language") == "zh-CN"
    own = configured(texts={"fr": {"greeting": "Bonjour <vous> & merci."}}, language="fr", voices={"fr": "Polly.Lea"})
    heard = answer(Situation("waiting", position=1), config=own)
    assert spoken(heard).startswith("Bonjour <vous> & merci.")
    assert (one(heard, "Say").get("language"), one(heard, "Say").get("voice")) == ("fr-FR", "Polly.Lea")


def test_who_is_taken_is_connected() -> None:
    situation = Situation("taken", agent_phone="+442079460999", agent_name="Ada")
    heard = answer(situation, {"step": "wait", "n": "4"}, config=configured(record=True))
    dial = one(heard, "Dial")
    number = one(dial, "Number")
    assert (number.text, dial.get("timeout"), dial.get("callerId")) == ("+442079460999", "20", PLAIN["From"])
    assert query_of(dial.get("action") or "") == {"step": "dialled", "call": "CA1"}
    assert query_of(number.get("statusCallback") or "") == {"step": "leg", "call": "CA1"}
    assert query_of(dial.get("recordingStatusCallback") or "") == {"step": "recording", "call": "CA1"}
    assert dial.get("record") == "record-from-answer-dual"
    assert "may be recorded" in spoken(heard)
    sip = answer(Situation("taken", agent_phone="sip:ada@pbx.example"), {"step": "wait"}, From="anonymous")
    assert one(sip, "Sip").text == "sip:ada@pbx.example"
    assert one(sip, "Dial").get("callerId") == NUMBER


@pytest.mark.parametrize(
    ("situation", "more", "do"),
    [
        (Situation("waiting", closed=True), {}, "voicemail"),
        (Situation("waiting", closed=True), {"when_closed": "goodbye"}, "goodbye"),
        (Situation("waiting", position=1, closed=True), {"when_closed": "queue"}, "wait"),
        (Situation("waiting", position=1, waited_s=300), {}, "voicemail"),
        (Situation("waiting", position=1, waited_s=20, patience_s=20), {}, "voicemail"),
        (Situation("waiting", position=1, waited_s=20, patience_s=20), {"when_nobody": "goodbye"}, "goodbye"),
        (Situation("waiting", position=1, attempts=3), {}, "voicemail"),
        (Situation("taken", agent_phone="+44", attempts=2), {}, "connect"),
        (Situation("taken", agent_phone="+44", attempts=3), {}, "voicemail"),
        (Situation("taken"), {}, "voicemail"),
        (Situation("talked"), {}, "hang_up"),
        (Situation("over"), {}, "hang_up"),
        (None, {}, "goodbye"),
    ],
)
def test_what_is_done_next(situation: Situation | None, more: dict[str, Any], do: str) -> None:
    assert voice_direct.decide(configured(**more), situation, step="wait").do == do


def test_out_of_hours_a_message_can_be_left() -> None:
    heard = answer(Situation("waiting", closed=True))
    assert verbs(heard) == ["Say", "Say", "Say", "Record", "Say", "Hangup"]
    record = one(heard, "Record")
    assert (record.get("maxLength"), record.get("playBeep"), record.get("transcribe")) == ("120", "true", "true")
    steps = {
        name: query_of(record.get(name) or "") for name in ("action", "recordingStatusCallback", "transcribeCallback")
    }
    assert steps == {
        "action": {"step": "voicemail"},
        "recordingStatusCallback": {"step": "recording"},
        "transcribeCallback": {"step": "transcription"},
    }
    silent = one(answer(Situation("waiting", closed=True), config=configured(transcribe=False)), "Record")
    assert silent.get("transcribe") is None
    after = answer(Situation("over"), {"step": "voicemail"}, RecordingUrl="https://api.twilio.com/x/RE1")
    assert verbs(after) == ["Say", "Hangup"]


def test_after_the_talk_the_line_is_closed() -> None:
    assert verbs(answer(Situation("talked"), {"step": "dialled", "call": "CA1"}, DialCallStatus="completed")) == [
        "Hangup"
    ]
    again = answer(Situation("waiting", position=1), {"step": "dialled", "call": "CA1"}, DialCallStatus="no-answer")
    assert verbs(again)[-1] == "Redirect"


def test_a_callback_asks_nothing() -> None:
    for query, form in (
        ({}, {"CallStatus": "completed"}),
        ({"step": "leg", "call": "CA1"}, {"CallStatus": "in-progress"}),
        ({"step": "recording"}, {"RecordingStatus": "completed", "CallStatus": "in-progress"}),
        ({"step": "status", "rt_call": str(MESSAGE_ID)}, {"CallStatus": "ringing"}),
        ({"step": "dialled", "rt_call": str(MESSAGE_ID)}, {"CallStatus": "in-progress"}),
        ({}, {"CallStatus": "ringing", "Direction": "outbound-api"}),
    ):
        given_ = request({**PLAIN, **form}, query)
        assert ADAPTER.asks(CONFIG, given_) is None, (query, form)
        root = ElementTree.fromstring(ADAPTER.answer(CONFIG, given_, Parsed()).body)
        assert root.tag == "Response"


# --- calls that we place --------------------------------------------------------------------------------------------


@pytest.fixture
async def twilio() -> AsyncIterator[PhoneServer]:
    async with PhoneServer(SID, TOKEN) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


WANTED = outgoing(kind="call", call={"to": "+447700900123", "agent": "+442079460999", "webhook": URL})


async def test_the_agent_is_rung_first_then_the_customer(twilio: PhoneServer, http: httpx.AsyncClient) -> None:
    config = configured(api_base=twilio.base)
    sent = await ADAPTER.send(config, WANTED, http)
    assert sent.provider_message_id == "CAout1"
    [form] = twilio.placed
    twiml = ElementTree.fromstring(form.pop("Twiml")[0])
    assert form == {
        "To": ["+442079460999"],
        "From": [NUMBER],
        "Timeout": ["20"],
        "StatusCallback": [f"{URL}?step=status&rt_call={MESSAGE_ID}"],
        "StatusCallbackMethod": ["POST"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    }
    assert one(twiml, "Number").text == "+447700900123"
    assert one(twiml, "Dial").get("callerId") == NUMBER
    assert query_of(one(twiml, "Number").get("statusCallback") or "") == {"step": "leg", "rt_call": str(MESSAGE_ID)}


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (refusal(21211, message="not valid"), SendFailure.RECIPIENT),
        (refusal(21210, message="not verified"), SendFailure.CONFIG),
        (refusal(20003, 401), SendFailure.REAUTH),
        (refusal(20429, 429, retry_after="7"), SendFailure.RETRY),
        (refusal(0, 500), SendFailure.UNKNOWN),
        ("drop", SendFailure.UNKNOWN),
        ((201, {}, b"<html>"), SendFailure.UNKNOWN),
        ((302, {"location": "https://x"}, b""), SendFailure.CONFIG),
    ],
)
async def test_failures_are_told_apart(
    twilio: PhoneServer, http: httpx.AsyncClient, said: Any, failure: SendFailure
) -> None:
    twilio.script.append(said)
    with pytest.raises(SendError) as failed:
        await ADAPTER.send(configured(api_base=twilio.base), WANTED, http)
    assert failed.value.failure is failure
    assert TOKEN not in failed.value.detail
    if failure is SendFailure.RETRY:
        assert failed.value.retry_after_s == 7


async def test_nobody_reads_on_a_telephone(http: httpx.AsyncClient) -> None:
    with pytest.raises(SendError) as failed:
        await ADAPTER.send(CONFIG, outgoing(kind="receipt"), http)
    assert failed.value.failure is SendFailure.RECIPIENT


async def test_credentials_are_tried(twilio: PhoneServer, http: httpx.AsyncClient) -> None:
    await ADAPTER.check(configured(api_base=twilio.base), http)
    with pytest.raises(SendError) as failed:
        await ADAPTER.check(configured(api_base=twilio.base, auth_token="other"), http)
    assert failed.value.failure is SendFailure.REAUTH


async def test_a_recording_is_fetched_with_our_login(twilio: PhoneServer, http: httpx.AsyncClient) -> None:
    config, path = configured(api_base=twilio.base), f"{twilio.root}/Recordings/RE1"
    twilio.files[f"{path}.mp3"] = b"ID3 talk"
    twilio.missing = 1
    file = RemoteFile("RE1.mp3", "audio/mpeg", None, {"id": "RE1", "url": twilio.base + path})
    with pytest.raises(FetchError) as early:
        await ADAPTER.fetch(config, file, http, limit=100)
    assert early.value.retry, "right after the call it may not be there yet"
    assert await ADAPTER.fetch(config, file, http, limit=100) == b"ID3 talk"
    with pytest.raises(FetchError) as large:
        await ADAPTER.fetch(config, file, http, limit=3)
    assert not large.value.retry
    elsewhere = RemoteFile("x", "audio/mpeg", None, {"id": "RE1", "url": "https://evil.example/RE1"})
    with pytest.raises(FetchError, match="does not lie at the provider"):
        await ADAPTER.fetch(config, elsewhere, http, limit=100)


# --- anything -------------------------------------------------------------------------------------------------------

FIELDS = (
    "CallSid", "ParentCallSid", "CallStatus", "Direction", "From", "To", "Caller", "CallerName", "CallDuration", "Timestamp",
    "SequenceNumber", "RecordingUrl", "RecordingSid", "RecordingStatus", "RecordingSource", "RecordingDuration", "Digits",
    "TranscriptionSid", "TranscriptionStatus", "TranscriptionText", "DialCallStatus", "DialCallDuration", "AnsweredBy",
    "ErrorCode", "MessageSid",
)  # fmt: skip
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "ringing",
            "in-progress",
            "completed",
            "busy",
            "failed",
            "outbound-api",
            "outbound-dial",
            "CA1",
            "7",
            "-1",
            "anonymous",
        ]
    ),
    st.just("https://api.twilio.com/RE1"),
)
STEPS = st.sampled_from(["", "wait", "dialled", "leg", "status", "voicemail", "recording", "transcription", "?"])


@given(st.dictionaries(st.sampled_from(FIELDS), WORDS), STEPS, st.booleans(), WORDS)
def test_no_form_breaks_the_reading(form: dict[str, str], step: str, ours: bool, n: str) -> None:
    query = {"step": step, "n": n, **({"rt_call": str(MESSAGE_ID)} if ours else {})}
    body = urlencode(form).encode("utf-8", "surrogatepass") if form else b"a=b"
    given_ = Call("POST", URL, query, {}, body, NOW)
    parsed = ADAPTER.parse(CONFIG, given_)
    assert parsed.calls or parsed.ignored or parsed.errors
    for update in parsed.calls:
        assert update.key
        assert "\0" not in f"{update.key}{update.transcript}{update.caller}{update.content}"
        json.dumps([update.key, update.caller, update.transcript, dict(update.content)]).encode()
    ADAPTER.asks(CONFIG, given_)
    for stage in ("waiting", "taken", "talked", "over"):
        situation = Situation(stage, position=1, agent_phone="sip:\x00<a&b>\"'", language=n)
        ElementTree.fromstring(ADAPTER.direct(CONFIG, given_, situation).body)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    try:
        parsed = ADAPTER.parse(CONFIG, call(body))
    except Unparseable:
        return
    assert parsed.calls or parsed.ignored or parsed.errors


@given(st.text(max_size=60), st.sampled_from([None, "GB", "CN", "US"]))
def test_no_number_breaks_the_reading(raw: str, country: str | None) -> None:
    sender = voice_numbers.party(raw, call_id="C", country=country)
    assert sender.value
    hashlib.sha256(sender.value.encode())


def test_signing_in_the_tests_is_twilios() -> None:
    vector_token = "12345"
    pairs = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("To", "+18005551212"),
        ("Caller", "+14158675309"),
    ]
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sign(vector_token, url, pairs) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_the_parsers_steps_are_those_of_our_addresses() -> None:
    assert {voice_parse.WAIT, voice_parse.DIALLED, voice_parse.LEG, voice_parse.STATUS} == {
        "wait",
        "dialled",
        "leg",
        "status",
    }
