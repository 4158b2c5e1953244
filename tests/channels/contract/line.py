"""LINE to the contract kit."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

SOURCE = {"type": "user", "userId": "u206d25c2"}
STATUS = {
    SendFailure.PERMANENT: 400,
    SendFailure.RETRY: 500,
    SendFailure.REAUTH: 401,
    SendFailure.CONFIG: 403,
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    mac = base64.b64encode(hmac.new(config["channel_secret"].encode(), payload, hashlib.sha256).digest())
    return Call("POST", WEBHOOK, {}, {"x-line-signature": mac.decode()}, payload, at)


def event(type: str, **more: Any) -> bytes:
    whole = {"type": type, "timestamp": 1795334400000, "mode": "active", "source": SOURCE, **more}
    return json.dumps({"destination": "U1", "events": [whole]}).encode()


def batch(payloads: Sequence[bytes]) -> bytes:
    return json.dumps({"events": [event for payload in payloads for event in json.loads(payload)["events"]]}).encode()


def message(key: str, text: str) -> bytes:
    return event("message", replyToken="r", message={"id": key, "type": "text", "text": text})


def accept(request: httpx.Request) -> Answer:
    if request.method == "GET":
        return Answer(200, b'{"userId":"U1"}')
    return Answer(200, b'{"sentMessages":[{"id":"461230966842064897"}]}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    status = STATUS.get(failure)
    return Answer(status, json.dumps({"message": words}).encode()) if status else None


DESCRIPTION = Description(
    adapter=ADAPTERS["line"],
    config=lambda base: {"channel_secret": "8c570fa6dd201bb3", "access_token": "line-access-token", "api_base": base},
    incoming=Incoming(
        sign=sign,
        proof=Proof(secrets=("channel_secret",), headers=("x-line-signature",)),
        message=message,
        batch=batch,
        bad=event("message", message={"type": "text"}),
        unknown=event("something-new", thing={"a": 1}),
        edit=lambda key, text: event(
            "messageEdited", webhookEventId="e1", message={"id": key, "type": "text", "text": text}
        ),
        delete=lambda key: event("unsend", unsend={"messageId": key}),
        samples=(
            event("postback", postback={"data": "action=buy", "params": {"date": "2026-11-22"}}),
            event("message", message={"id": "1", "type": "image", "contentProvider": {"type": "line"}}),
            event("message", message={"id": "2", "type": "sticker", "keywords": ["bed"], "packageId": "1"}),
            event(
                "message", message={"id": "3", "type": "location", "title": "x", "latitude": 35.6, "longitude": 139.7}
            ),
            event("follow", replyToken="r"),
        ),
    ),
    outward=Outward(
        address={"to": "u206d25c2"},
        accept=accept,
        is_send=lambda request: request.method == "POST",
        texts=lambda request: [item["text"] for item in json.loads(request.content)["messages"]],
        refusal=refusal,
        retry_after=Answer(429, b'{"message":"The API rate limit has been exceeded."}', {"retry-after": "7"}),
        idempotency_key=lambda request: request.headers.get("x-line-retry-key"),
        check_refused=Answer(401, b'{"message":"Authentication failed"}'),
        pieces_per_call=5,
    ),
    files=Files(file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"message_id": "100001"})),
)
