"""Telephone systems that tell us of their calls by signed events, and are asked to place some."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import signatures
from app.channels.base import Call, CallUpdate, Parsed, RemoteFile, SendError, SendFailure, Situation, Unparseable
from app.channels.provider import FetchError
from app.channels.voice import VoiceAdapter
from app.channels.voice_config import VoiceConfig
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, NOW, call, outgoing
from tests.support.providers import HttpServer, PartnerSystem

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = signatures.webhook_key(SECRET)
ADAPTER = VoiceAdapter()
STARTED = {
    "event": "call.started",
    "call_id": "pbx-1",
    "direction": "inbound",
    "from": "+44 7700 900123",
    "to": "+442079460018",
    "at": "2026-11-22T08:00:00Z",
}


def configured(**more: Any) -> VoiceConfig:
    return VoiceConfig.model_validate({"provider": "generic", "secret": SECRET, **more})


CONFIG = configured()


def signed(body: bytes, *, key: bytes = KEY, at: datetime = NOW) -> Call:
    return call(body, signatures.sign_webhook(key, "wh_1", body, at=at))


def parse(*items: Any) -> Parsed:
    return ADAPTER.parse(CONFIG, signed(orjson.dumps(items[0] if len(items) == 1 else list(items))))


def told(**fields: Any) -> CallUpdate:
    parsed = parse({**STARTED, **fields})
    assert (parsed.errors, parsed.ignored) == ((), ())
    (update,) = parsed.calls
    return update


def refused(given_: Call, config: VoiceConfig = CONFIG) -> bool:
    try:
        ADAPTER.verify(config, given_)
    except NotGenuine:
        return True
    return False


def test_signed_like_a_partner_and_every_flipped_bit_refused() -> None:
    good = signed(orjson.dumps(STARTED))
    assert not refused(good)
    for place in range(len(good.body) * 8):
        body = bytearray(good.body)
        body[place // 8] ^= 1 << (place % 8)
        assert refused(call(bytes(body), good.headers))
    assert refused(signed(good.body, key=KEY[:-1] + bytes([KEY[-1] ^ 1])))
    for age in (-301, 301):
        assert refused(signed(good.body, at=NOW + timedelta(seconds=age)))
    assert refused(call(good.body))
    old = configured(secret="whsec_" + "b" * 32, previous_secrets=[SECRET])
    assert not refused(good, old)


@pytest.mark.parametrize(
    ("event", "state"),
    [("started", "ringing"), ("answered", "answered"), ("ended", "ended"), ("voicemail", "voicemail"), ("dtmf", None)],
)
def test_each_event_with_and_without_its_prefix(event: str, state: str | None) -> None:
    for name in (event, f"call.{event}"):
        update = told(event=name, text="5" if event == "dtmf" else None)
        assert (update.state, update.call_id, update.direction) == (state, "pbx-1", "inbound")
        assert update.at is not None
        assert update.at.isoformat() == "2026-11-22T08:00:00+00:00"


def test_who_calls_is_kept_raw_and_normalised() -> None:
    update = told()
    assert update.sender is not None
    assert (update.sender.value, update.sender.phone, update.caller) == (
        "+447700900123",
        "+447700900123",
        "+44 7700 900123",
    )
    national = ADAPTER.parse(configured(country="GB"), signed(orjson.dumps({**STARTED, "from": "07700 900123"}))).calls[
        0
    ]
    assert national.sender is not None
    assert national.sender.value == "+447700900123"
    out = told(direction="outbound")
    assert out.sender is not None
    assert (out.sender.value, out.direction) == ("+442079460018", "outbound")
    named = told(**{"from": {"number": "+447700900123", "name": "Grace"}})
    assert named.sender is not None
    assert (named.sender.name, named.sender.value) == ("Grace", "+447700900123")


@pytest.mark.parametrize("number", [None, "", "anonymous", "Withheld"])
def test_a_withheld_number_is_anonymous(number: str | None) -> None:
    sender = told(**{"from": number}).sender
    assert sender is not None
    assert (sender.kind, sender.value) == ("anonymous", "pbx-1")


def test_an_event_that_does_not_say_who_waits_for_one_that_does() -> None:
    rest = {name: value for name, value in STARTED.items() if name not in ("from", "to")}
    assert parse({**rest, "event": "call.ended"}).calls[0].sender is None
    begun = parse(rest).calls[0].sender
    assert begun is not None
    assert begun.kind == "anonymous"


def test_recording_transcript_digits_and_cause() -> None:
    by_url = told(
        event="call.recording", recording={"url": "https://pbx/r.wav", "duration_s": 61.5, "mime": "audio/x-wav"}
    )
    assert by_url.recording is not None
    assert (by_url.recording.media_type, by_url.recording.ref["duration_s"]) == ("audio/x-wav", 61.5)
    assert by_url.recording.ref["url"] == "https://pbx/r.wav"
    blob = told(event="call.voicemail", recording={"blob_id": str(MESSAGE_ID)}, text="Call me back.")
    assert blob.recording is not None
    assert (blob.recording.ref["blob_id"], blob.transcript, blob.state) == (
        str(MESSAGE_ID),
        "Call me back.",
        "voicemail",
    )
    assert told(event="call.transcript", text="Hello.").transcript == "Hello."
    assert [told(event="call.dtmf", **{name: "#"}).digits for name in ("digits", "digit", "text")] == ["#"] * 3
    assert told(event="call.ended", cause=16).cause == "16"
    nothing = told(event="call.recording", recording={"url": "ftp://x"})
    assert (nothing.recording, nothing.content["recording_failed"]) == (None, "neither blob_id nor an http(s) url")


def test_the_same_event_has_the_same_key_and_others_have_others() -> None:
    assert told().key == told().key
    events = [
        told(event=event, text="1") for event in ("started", "answered", "dtmf", "ended", "transcript", "voicemail")
    ]
    again = told(event="dtmf", text="1", at="2026-11-22T08:00:01Z")
    assert len({update.key for update in [*events, again]}) == 7


def test_many_at_once_and_in_an_envelope() -> None:
    parsed = parse(STARTED, {**STARTED, "event": "call.answered"}, "nonsense", {"event": "call.ended"})
    assert [update.state for update in parsed.calls] == ["ringing", "answered"]
    assert len(parsed.errors) == 2
    inner = {name: value for name, value in STARTED.items() if name not in ("event", "at")}
    (update,) = parse({"type": "call.ended", "timestamp": "2026-11-22T08:01:00Z", "data": inner}).calls
    assert update.at is not None
    assert (update.state, update.at.minute) == ("ended", 1)
    assert parse({**STARTED, "event": "call.parked"}).ignored == ("event call.parked",)
    with pytest.raises(Unparseable):
        ADAPTER.parse(CONFIG, signed(b"{"))


def test_a_call_that_we_asked_for_goes_by_our_name() -> None:
    assert told(direction="outbound", call_id=str(MESSAGE_ID)).our_id == str(MESSAGE_ID)
    assert told(call_id=str(MESSAGE_ID)).our_id is None


def test_the_answer_says_what_to_do() -> None:
    given_ = signed(orjson.dumps(STARTED))
    assert ADAPTER.asks(CONFIG, given_) == "pbx-1"
    shown = [
        orjson.loads(ADAPTER.direct(CONFIG, given_, situation).body)
        for situation in (
            Situation("waiting", position=2),
            Situation("taken", agent_phone="sip:ada@pbx.example"),
            Situation("waiting", closed=True),
            Situation("over"),
            None,
        )
    ]
    assert {answer["status"] for answer in shown} == {"stored"}
    assert [answer["call"] for answer in shown] == [
        {"do": "wait", "position": 2},
        {"do": "connect", "to": "sip:ada@pbx.example"},
        {"do": "voicemail"},
        {"do": "hang_up"},
        {"do": "wait"},
    ]


WANTED = outgoing(kind="call", call={"to": "+447700900123", "agent": "sip:ada@pbx.example", "webhook": "https://x"})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as client:
        yield client


async def test_the_other_system_is_asked_to_place_a_call(http: httpx.AsyncClient) -> None:
    async with PartnerSystem() as pbx:
        config = configured(secret=pbx.secret, callback_url=f"{pbx.base}/calls")
        sent = await ADAPTER.send(config, WANTED, http)
        assert sent.provider_message_id == str(MESSAGE_ID)
        [(path, headers, body)] = pbx.requests
        asked = json.loads(body)
        assert (path, headers["webhook-id"], asked["type"]) == ("/calls", str(MESSAGE_ID), "call.requested")
        assert asked["data"]["call_id"] == str(MESSAGE_ID)
        assert (asked["data"]["to"], asked["data"]["agent"]) == ("+447700900123", "sip:ada@pbx.example")


@pytest.mark.parametrize(
    ("status", "failure"),
    [(403, SendFailure.REAUTH), (429, SendFailure.RETRY), (500, SendFailure.UNKNOWN), (400, SendFailure.PERMANENT)],
)
async def test_its_refusals(http: httpx.AsyncClient, status: int, failure: SendFailure) -> None:
    async def refuse(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        return status, {}, b"no"

    async with HttpServer() as pbx:
        pbx.answer = refuse
        with pytest.raises(SendError) as failed:
            await ADAPTER.send(configured(callback_url=pbx.base), WANTED, http)
    assert failed.value.failure is failure
    with pytest.raises(SendError) as alone:
        await ADAPTER.send(CONFIG, WANTED, http)
    assert alone.value.failure is SendFailure.CONFIG


async def test_recordings_come_from_where_the_operator_says(http: httpx.AsyncClient) -> None:
    seen: list[str | None] = []

    async def serve(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        seen.append(headers.get("authorization"))
        return 200, {}, b"RIFF"

    async with HttpServer() as pbx:
        pbx.answer = serve
        file = RemoteFile("a.wav", "audio/wav", None, {"id": "1", "url": f"{pbx.base}/a.wav"})
        assert await ADAPTER.fetch(CONFIG, file, http, limit=100) == b"RIFF"
        known = configured(recording_hosts=["127.0.0.1"], recording_login="ari:secret")
        assert await ADAPTER.fetch(known, file, http, limit=100) == b"RIFF"
        assert seen == [None, "Basic YXJpOnNlY3JldA=="]
        with pytest.raises(FetchError, match="recording_hosts"):
            await ADAPTER.fetch(configured(recording_hosts=["pbx.example"]), file, http, limit=100)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
NAMES = [
    "event",
    "call_id",
    "direction",
    "from",
    "to",
    "at",
    "cause",
    "recording",
    "text",
    "digits",
    "duration_s",
    "data",
]
EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["call.started", "call.recording", "call.dtmf", "x"]), "call_id": st.just("c")},
    optional=dict.fromkeys(NAMES[2:], JSON),
)


@given(st.one_of(JSON, EVENTS, st.lists(EVENTS, max_size=3)))
def test_no_event_breaks_the_reading(body: Any) -> None:
    given_ = call(json.dumps(body).encode())
    try:
        parsed = ADAPTER.parse(CONFIG, given_)
        ADAPTER.asks(CONFIG, given_)
    except Unparseable:
        return
    for update in parsed.calls:
        json.dumps([update.key, update.caller, update.callee, dict(update.content), update.transcript]).encode()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(body: bytes) -> None:
    with contextlib.suppress(Unparseable):
        ADAPTER.parse(CONFIG, call(body))
