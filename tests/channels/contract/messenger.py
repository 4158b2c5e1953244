"""Messenger to the contract kit."""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from app.channels.base import RemoteFile
from app.channels.kit import Answer, Description, Files, Incoming, Outward
from app.channels.registry import ADAPTERS
from tests.channels.contract import graph


def envelope(*events: Any) -> bytes:
    entry = {"id": "222", "time": 1795334400000, "messaging": list(events)}
    return json.dumps({"object": "page", "entry": [entry]}).encode()


def event(**more: Any) -> bytes:
    return envelope({"sender": {"id": "77"}, "recipient": {"id": "222"}, "timestamp": 1795334400000, **more})


def batch(payloads: Sequence[bytes]) -> bytes:
    entries = [entry for payload in payloads for entry in json.loads(payload)["entry"]]
    return json.dumps({"object": "page", "entry": entries}).encode()


def edit(key: str, text: str) -> bytes:
    return event(message_edit={"mid": key, "text": text, "num_edit": 1})


def status(provider_id: str, word: str) -> bytes:
    """Each in its own words, and "sent" by the echo of what we sent."""
    if word == "delivered":
        return event(delivery={"mids": [provider_id]})
    return event(read={"watermark": 4102444800000})


def accept(request: httpx.Request) -> Answer:
    return Answer(200, b'{"message_id":"m_out","recipient_id":"77","attachment_id":"a1","id":"222"}')


DESCRIPTION = Description(
    adapter=ADAPTERS["messenger"],
    config=lambda base: {**graph.SECRETS, "account_id": "222", "api_base": base},
    incoming=Incoming(
        sign=graph.sign,
        proof=graph.PROOF,
        message=lambda key, text: event(message={"mid": key, "text": text}),
        batch=batch,
        bad=envelope(
            "not an object", {"sender": {"id": "77"}, "recipient": {"id": "222"}, "message": {"text": "no mid"}}
        ),
        unknown=event(something_new={"a": 1}),
        edit=edit,
        delete=lambda key: event(message={"mid": key, "is_deleted": True}),
        status=status,
        statuses=("delivered", "read"),
        samples=(
            event(
                message={
                    "mid": "m2",
                    "attachments": [{"type": "image", "payload": {"url": "https://x.fbcdn.net/a.jpg"}}],
                }
            ),
            event(message={"mid": "m3", "text": "yes", "quick_reply": {"payload": "Y"}, "reply_to": {"mid": "m1"}}),
            event(message={"mid": "m4", "attachments": [{"type": "story_mention", "payload": {"url": "https://x"}}]}),
            event(postback={"title": "Start", "payload": "GO", "mid": "m5"}),
            event(reaction={"mid": "m1", "action": "react", "emoji": "\U0001f44d", "reaction": "love"}),
            envelope(
                {
                    "sender": {"id": "222"},
                    "recipient": {"id": "77"},
                    "timestamp": 1,
                    "message": {"mid": "e", "is_echo": True, "text": "x"},
                }
            ),
            b'{"object":"page","entry":[{"id":"222","changes":[{"field":"feed","value":{"item":"comment"}}]}]}',
        ),
    ),
    outward=Outward(
        address={"id": "77"},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/messages"),
        texts=lambda request: [json.loads(request.content)["message"]["text"]],
        refusal=graph.send_api_refusal,
        retry_after=graph.RETRY_AFTER,
        check_refused=graph.REFUSED,
    ),
    files=Files(file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"url": f"{base}/cdn/a.jpg"})),
)
