"""Telephone lines to the contract kit: at Twilio, and of another system."""

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import httpx

from app.channels.base import RemoteFile, SendFailure
from app.channels.kit import Answer, Description, Files, Incoming, Outward, Proof
from app.channels.registry import ADAPTERS
from tests.channels.contract import partner, sms

WANTED = {"kind": "call", "call": {"agent": "+442079460001", "to": "+442079460002", "webhook": "https://desk.test/x"}}
NO_TEXT = "only calls are placed: there is no text"
STATUS = {SendFailure.PERMANENT: 422, SendFailure.RETRY: 503, SendFailure.REAUTH: 401}
NOT_CHECKED = {
    "message": "a call is no message: it grows, update by update",
    "a_message_goes_out": NO_TEXT,
    "long_texts_are_split_where_people_read": NO_TEXT,
    "half_a_message_is_not_sent_again": NO_TEXT,
}
ERRORS = {
    SendFailure.PERMANENT: (400, 20001),
    SendFailure.RETRY: (429, 20429),
    SendFailure.REAUTH: (401, 20003),
    SendFailure.RECIPIENT: (400, 21211),
    SendFailure.CONFIG: (400, 21210),
}


def form(**fields: str) -> bytes:
    basics = {
        "CallSid": "CA1",
        "AccountSid": "AC0123",
        "From": "+14133881111",
        "To": "+12028831111",
        "Direction": "inbound",
    }
    return urlencode({**basics, **fields}).encode()


def refusal(failure: SendFailure, words: str) -> Answer | None:
    if failure not in ERRORS:
        return None
    status, code = ERRORS[failure]
    return Answer(status, json.dumps({"code": code, "message": words}).encode())


def event(kind: str, /, **fields: Any) -> bytes:
    call = {"event": kind, "call_id": "c1", "from": "+8613800000001", "to": "400", "at": "2026-11-22T08:00:00Z"}
    return json.dumps({**call, **fields}).encode()


def batch(payloads: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(payloads) + b"]"


def accept(request: httpx.Request) -> Answer:
    return Answer(201, b'{"sid":"CA2","status":"active"}')


TWILIO = Description(
    adapter=ADAPTERS["voice"],
    config=lambda base: {
        "provider": "twilio",
        "account_sid": "AC0123",
        "auth_token": "twilio-auth-secret",
        "number": "+12028831111",
        "api_base": base,
    },
    incoming=Incoming(
        sign=sms.sign,
        proof=Proof(secrets=("auth_token",), headers=("x-twilio-signature",), url=True),
        unknown=form(CallStatus="something-new"),
        samples=(
            form(CallStatus="ringing", CallerName="MEI", FromCountry="US", StirVerstat="TN-Validation-Passed-A"),
            form(CallStatus="completed", CallDuration="39", SequenceNumber="3", CallbackSource="call-progress-events"),
            form(
                RecordingSid="RE1",
                RecordingUrl="https://api.twilio.com/RE1",
                RecordingStatus="completed",
                RecordingDuration="3",
            ),
            form(
                TranscriptionSid="TR1", TranscriptionText="hello", TranscriptionStatus="completed", RecordingSid="RE1"
            ),
            form(CallStatus="ringing", From="sip:mei@shop.example", To=""),
            form(CallStatus="in-progress", Digits="1", From="anonymous"),
        ),
    ),
    outward=Outward(
        address={"to": "+442079460002"},
        fields=WANTED,
        accept=accept,
        is_send=lambda request: request.method == "POST",
        texts=lambda request: [],
        refusal=refusal,
        retry_after=Answer(429, b'{"code":20429,"message":"Too Many Requests"}', {"retry-after": "7"}),
        check_refused=Answer(401, b'{"code":20003,"message":"Authenticate"}'),
        takes=frozenset({"no address", "no text", "too long", "a file"}),
    ),
    files=Files(
        file=lambda base: RemoteFile("a.mp3", "audio/mpeg", None, {"url": f"{base}/Recordings/RE1"}),
        gone=Answer(410, b""),
    ),
    not_checked=NOT_CHECKED,
)
GENERIC = Description(
    adapter=ADAPTERS["voice"],
    config=lambda base: {
        "provider": "generic",
        "secret": "whsec_" + base64.b64encode(b"a switchboard's secret, 32 bytes").decode(),
        "callback_url": f"{base}/calls",
    },
    incoming=Incoming(
        sign=partner.sign,
        proof=partner.DESCRIPTION.incoming.proof if partner.DESCRIPTION.incoming else Proof(secrets=()),
        unknown=event("call.something_new"),
        batch=batch,
        samples=(
            event("call.started", name="Mei"),
            event("call.answered", agent="ada"),
            event("call.ended", duration_s=39.5, cause="normal"),
            event("call.dtmf", digits="12"),
            event("call.recording", recording={"url": "https://pbx.example/a.wav", "duration_s": 3}),
            event("call.transcript", text="hello"),
            event("call.voicemail", text="please ring me", recording={"blob_id": "b1"}),
        ),
    ),
    outward=Outward(
        address={"to": "+442079460002"},
        fields=WANTED,
        accept=accept,
        is_send=lambda request: True,
        texts=lambda request: [],
        refusal=lambda failure, words: Answer(STATUS[failure], words.encode()) if failure in STATUS else None,
        retry_after=Answer(429, b"", {"retry-after": "7"}),
        body_counts=False,
        takes=frozenset({"no address", "no text", "too long", "a file"}),
    ),
    not_checked={
        **NOT_CHECKED,
        "credentials_can_be_tried": "another system's secret cannot be tried without telling it something",
        "files": "recordings lie in the operator's own network: tests/channels/test_voice_generic.py",
    },
)
DESCRIPTIONS = {"voice": TWILIO, "voice.generic": GENERIC}
