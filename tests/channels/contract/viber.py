"""Viber to the contract kit."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

HEADER = "x-viber-content-signature"
NUMBERS = {
    SendFailure.PERMANENT: 3,
    SendFailure.RETRY: 12,
    SendFailure.REAUTH: 2,
    SendFailure.RECIPIENT: 6,
    SendFailure.CONFIG: 10,
    SendFailure.QUOTA: 23,
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    mac = hmac.new(config["auth_token"].encode(), payload, hashlib.sha256).hexdigest()
    return Call("POST", WEBHOOK, {}, {HEADER: mac}, payload, at)


def event(kind: str, /, **more: Any) -> bytes:
    return json.dumps(
        {"event": kind, "timestamp": 1795334400000, "message_token": 4912661846655238145, **more}
    ).encode()


def message(key: str = "k", /, **more: Any) -> bytes:
    token = int.from_bytes(key.encode()[-6:], "big")
    return event(
        "message", message_token=token, sender={"id": "xy5/5y6O81==", "name": "ET3", "language": "en"}, message=more
    )


def status(provider_id: str, word: str) -> bytes:
    return event({"read": "seen"}.get(word, word), message_token=provider_id, user_id="xy5/5y6O81==", desc="no")


def accept(request: httpx.Request) -> Answer:
    return Answer(200, b'{"status":0,"status_message":"ok","message_token":5741311803571721087,"webhook":"https://x"}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    number = NUMBERS.get(failure)
    return Answer(200, json.dumps({"status": number, "status_message": words}).encode()) if number else None


DESCRIPTION = Description(
    adapter=ADAPTERS["viber"],
    config=lambda base: {"auth_token": "445da6az1s345z78-dazcczb2542zv51a", "api_base": base},
    incoming=Incoming(
        sign=sign,
        proof=Proof(secrets=("auth_token",), headers=(HEADER,)),
        message=lambda key, text: message(key, type="text", text=text, tracking_data="x"),
        unknown=event("something_new"),
        status=status,
        statuses=("delivered", "read", "failed"),
        samples=(
            message(type="picture", text="look", media="https://dl-media.viber.com/a.jpg?x=1", thumbnail="t"),
            message(type="file", media="https://dl-media.viber.com/a.pdf", file_name="a.pdf", size=100),
            message(type="location", location={"lat": 37.7, "lon": -122.4, "address": "here"}),
            message(type="contact", contact={"name": "Bo", "phone_number": "+12", "avatar": ""}),
            event("subscribed", user={"id": "01234567890A=", "name": "yarden", "language": "en"}),
            event("unsubscribed", user_id="01234567890A="),
            event("conversation_started", type="open", user={"id": "01234567890A="}, subscribed=False),
        ),
    ),
    outward=Outward(
        address={"receiver": "xy5/5y6O81=="},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/send_message"),
        texts=lambda request: [json.loads(request.content)["text"]],
        refusal=refusal,
        retry_after=Answer(429, b"", {"retry-after": "7"}),
        check_refused=Answer(200, b'{"status":2,"status_message":"invalidAuthToken"}'),
    ),
    files=Files(file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"url": f"{base}/a.jpg"})),
)
