"""Partner systems to the contract kit."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from app.channels import signatures
from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

STATUS = {SendFailure.PERMANENT: 422, SendFailure.RETRY: 500, SendFailure.REAUTH: 401}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    headers = signatures.sign_webhook(signatures.webhook_key(config["secret"]), "msg_1", payload, at=at)
    return Call("POST", WEBHOOK, {}, headers, payload, at)


def item(**more: Any) -> bytes:
    return json.dumps({"id": "m1", "from": {"id": "c1", "name": "Mei"}, "text": "hello", **more}).encode()


def batch(payloads: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(payloads) + b"]"


def refusal(failure: SendFailure, words: str) -> Answer | None:
    return Answer(STATUS[failure], words.encode()) if failure in STATUS else None


def accept(request: httpx.Request) -> Answer:
    return Answer(204, b"")


DESCRIPTION = Description(
    adapter=ADAPTERS["partner"],
    config=lambda base: {
        "secret": "whsec_" + base64.b64encode(b"a partner's secret of 32 bytes!!").decode(),
        "callback_url": f"{base}/hook",
    },
    incoming=Incoming(
        sign=sign,
        proof=Proof(
            secrets=("secret",),
            headers=("webhook-id", "webhook-timestamp", "webhook-signature"),
            window_s=300,
        ),
        message=lambda key, text: item(id=key, text=text),
        batch=batch,
        bad=b'{"from":{},"text":"nobody"}',
        unknown=b'{"type":"something.new","timestamp":"2026-11-22T08:00:00Z","data":{"a":1}}',
        samples=(
            item(subject="s", category="urgent", sent_at="2026-11-22T08:00:00Z", conversation_ref="order-7"),
            item(
                attachments=[
                    {"name": "a.txt", "content_type": "text/plain", "data": "aGk="},
                    {"url": "https://x.example/a"},
                ]
            ),
            b'{"type":"message.created","timestamp":"2026-11-22T08:00:00Z","data":[%s]}' % item(),
        ),
    ),
    outward=Outward(
        address={"id": "c1"},
        accept=accept,
        is_send=lambda request: True,
        texts=lambda request: [json.loads(request.content)["data"]["message"]["text"]],
        refusal=refusal,
        retry_after=Answer(429, b"", {"retry-after": "7"}),
        idempotency_key=lambda request: request.headers.get("webhook-id"),
        body_counts=False,
        takes=frozenset({"no address", "no text", "too long"}),
    ),
    files=Files(file=lambda base: RemoteFile("a.png", "image/png", None, {"url": f"{base}/a.png?signed=1"})),
    not_checked={
        "files_lie_at_the_provider_only": "a partner's files may lie anywhere; the house's client keeps them out of its own "
        "networks: tests/intake/test_partner_files.py",
        "odd_references_are_refused": "the same: an odd address is fetched like any other, or cannot be",
        "check": "a partner's callback does something: there is no call that tries the secret alone",
        "long_texts_are_split_where_people_read": "a partner gets the text whole, however long",
    },
)
