"""Slack to the contract kit."""

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

ERRORS = {
    SendFailure.PERMANENT: "msg_too_long",
    SendFailure.RETRY: "ratelimited",
    SendFailure.REAUTH: "token_revoked",
    SendFailure.RECIPIENT: "channel_not_found",
    SendFailure.CONFIG: "missing_scope",
    SendFailure.QUOTA: "message_limit_exceeded",
    SendFailure.UNKNOWN: "internal_error",
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    time = str(int(at.timestamp()))
    mac = hmac.new(config["signing_secret"].encode(), f"v0:{time}:".encode() + payload, hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": time, "x-slack-signature": f"v0={mac}", "content-type": "application/json"}
    return Call("POST", WEBHOOK, {}, headers, payload, at)


def callback(type: str = "message", /, **more: Any) -> bytes:
    event = {"type": type, "channel": "C1", "user": "U1", "channel_type": "channel", **more}
    who = [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}]
    whole = {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "authorizations": who, "event": event}
    return json.dumps(whole).encode()


def ts(key: str) -> str:
    return f"1795334400.{sum(key.encode()):06}"


def edit(key: str, text: str) -> bytes:
    edited = {"user": "U1", "ts": "1795334500.000000"}
    message = {"type": "message", "user": "U1", "ts": ts(key), "text": text, "edited": edited}
    before = {"type": "message", "user": "U1", "ts": ts(key), "text": "before"}
    return callback(subtype="message_changed", ts="1795334500.1", message=message, previous_message=before)


def delete(key: str) -> bytes:
    before = {"type": "message", "user": "U1", "ts": ts(key), "text": "before"}
    return callback(subtype="message_deleted", deleted_ts=ts(key), previous_message=before, ts="1795334500.1")


def accept(request: httpx.Request) -> Answer:
    if request.url.path.endswith("/files.info"):
        return Answer(200, b'{"ok":true,"file":{"id":"F1"}}')
    return Answer(200, b'{"ok":true,"channel":"C1","ts":"1795334400.000001","team_id":"T1"}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    """`needed` is the one place where Slack says something in its own words."""
    name = ERRORS.get(failure)
    return Answer(200, json.dumps({"ok": False, "error": name, "needed": words}).encode()) if name else None


DESCRIPTION = Description(
    adapter=ADAPTERS["slack"],
    config=lambda base: {
        "signing_secret": "8f742231b10e8888",
        "bot_token": "xoxb-bot-secret",
        "api_base": base + "/api",
    },
    incoming=Incoming(
        sign=sign,
        proof=Proof(
            secrets=("signing_secret",),
            headers=("x-slack-signature", "x-slack-request-timestamp"),
            window_s=300,
        ),
        message=lambda key, text: callback(ts=ts(key), text=text),
        unknown=callback("something_new"),
        edit=edit,
        delete=delete,
        samples=(
            callback(ts="1.2", subtype="file_share", files=[{"id": "F1", "url_private": "https://files.slack.com/a"}]),
            callback(ts="1.3", text="in a thread", thread_ts="1.2", blocks=[{"type": "rich_text", "elements": []}]),
            callback(
                ts="1.4",
                bot_id="B1",
                metadata={"event_type": "roundtrip_message", "event_payload": {"message_id": "m"}},
            ),
            callback(
                "reaction_added",
                reaction="thumbsup",
                item={"type": "message", "channel": "C1", "ts": "1.2"},
                event_ts="2",
            ),
            callback("app_mention", ts="1.5", text="<@UBOT> hello"),
            b'{"type":"url_verification","challenge":"3eZb"}',
            b"payload=%7B%22type%22%3A%22block_actions%22%7D",
            b"command=%2Fhelp&text=me",
        ),
    ),
    outward=Outward(
        address={"team": "T1", "channel": "C1", "thread_ts": "1795334400.000001"},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/chat.postMessage"),
        texts=lambda request: [json.loads(request.content)["text"]],
        refusal=refusal,
        retry_after=Answer(429, b'{"ok":false,"error":"ratelimited"}', {"retry-after": "7"}),
        check_refused=Answer(200, b'{"ok":false,"error":"invalid_auth"}'),
    ),
    files=Files(file=lambda base: RemoteFile("a.png", "image/png", None, {"url": f"{base}/files-pri/T1-F1/a.png"})),
)
