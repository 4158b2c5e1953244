"""Pigeon to the contract kit: how it signs, what it sends, how it answers."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Call, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Incoming, Outward, Proof
from app.channels.kit.description import Config
from roundtrip_pigeon.adapter import STATUSES, PigeonAdapter

REFUSED = {
    SendFailure.PERMANENT: 422,
    SendFailure.RETRY: 500,
    SendFailure.REAUTH: 401,
    SendFailure.CONFIG: 403,
    SendFailure.RECIPIENT: 410,
}
WORDS = {status: word for word, status in STATUSES.items()}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    time = str(int(at.timestamp()))
    mac = hmac.new(config["signing_key"].encode(), f"{time}.".encode() + payload, hashlib.sha256).hexdigest()
    headers = {"pigeon-time": time, "pigeon-signature": mac, "content-type": "application/json"}
    return Call("POST", WEBHOOK, {}, headers, payload, at)


def event(kind: str, **more: Any) -> bytes:
    whole = {"kind": kind, "at": 1795334400, "from": {"id": "u1", "name": "Mei"}, **more}
    return json.dumps({"events": [whole]}).encode()


def batch(payloads: Sequence[bytes]) -> bytes:
    return json.dumps({"events": [one for payload in payloads for one in json.loads(payload)["events"]]}).encode()


def refusal(failure: SendFailure, words: str) -> Answer | None:
    return Answer(REFUSED[failure], json.dumps({"error": words}).encode()) if failure in REFUSED else None


def accept(request: httpx.Request) -> Answer:
    return Answer(200, b'{"id":"out-1"}')


DESCRIPTION = Description(
    adapter=PigeonAdapter(),
    config=lambda base: {"signing_key": "pigeon-signing-key", "api_key": "pigeon-api-key", "api_base": base},
    incoming=Incoming(
        sign=sign,
        proof=Proof(secrets=("signing_key",), headers=("pigeon-time", "pigeon-signature"), window_s=300),
        message=lambda key, text: event("message", id=key, text=text),
        batch=batch,
        bad=event("message", text="without an id"),
        unknown=event("feather", id="f1"),
        edit=lambda key, text: event("edit", id="e1", message=key, text=text),
        status=lambda provider_id, word: event("status", message=provider_id, status=WORDS[word]),
        statuses=("sent", "delivered", "read", "failed"),
    ),
    outward=Outward(
        address={"to": "u1"},
        accept=accept,
        is_send=lambda request: request.url.path == "/v1/messages",
        texts=lambda request: [json.loads(request.content)["text"]],
        refusal=refusal,
        retry_after=Answer(429, b'{"error":"too many"}', {"retry-after": "7"}),
        idempotency_key=lambda request: request.headers.get("idempotency-key"),
        check_refused=Answer(401, b'{"error":"who are you"}'),
    ),
)
