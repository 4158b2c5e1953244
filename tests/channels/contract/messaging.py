"""What Messenger and Instagram say to the contract kit in the same way: their `messaging` events and the Send API."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.channels.base import RemoteFile
from app.channels.kit import Answer, Description, Files, Incoming, Outward
from app.channels.registry import ADAPTERS
from tests.channels.contract import graph

_FROM_CUSTOMER = {"sender": {"id": "77"}, "recipient": {"id": "222"}}
_BETWEEN = {**_FROM_CUSTOMER, "timestamp": 1795334400000}


@dataclass(frozen=True)
class Messaging:
    """`object` is what Meta calls the product in its webhooks."""

    object: str

    def envelope(self, *events: Any) -> bytes:
        entry = {"id": "222", "time": 1795334400000, "messaging": list(events)}
        return json.dumps({"object": self.object, "entry": [entry]}).encode()

    def event(self, **more: Any) -> bytes:
        return self.envelope({**_BETWEEN, **more})

    def batch(self, payloads: Sequence[bytes]) -> bytes:
        entries = [entry for payload in payloads for entry in json.loads(payload)["entry"]]
        return json.dumps({"object": self.object, "entry": entries}).encode()

    def described(self, type: str, *, status: Callable[[str, str], bytes], statuses: Sequence[str]) -> Description:
        return Description(
            adapter=ADAPTERS[type],
            config=lambda base: {**graph.SECRETS, "account_id": "222", "api_base": base},
            incoming=Incoming(
                sign=graph.sign,
                proof=graph.PROOF,
                message=lambda key, text: self.event(message={"mid": key, "text": text}),
                batch=self.batch,
                bad=self.envelope("not an object", {**_FROM_CUSTOMER, "message": {"text": "no mid"}}),
                unknown=self.event(something_new={"a": 1}),
                edit=lambda key, text: self.event(message_edit={"mid": key, "text": text, "num_edit": 1}),
                delete=lambda key: self.event(message={"mid": key, "is_deleted": True}),
                status=status,
                statuses=statuses,
                samples=self._samples(),
            ),
            outward=OUTWARD,
            files=Files(file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"url": f"{base}/cdn/a.jpg"})),
        )

    def _samples(self) -> tuple[bytes, ...]:
        photo = {"type": "image", "payload": {"url": "https://x.fbcdn.net/a.jpg"}}
        story = {"type": "story_mention", "payload": {"url": "https://x"}}
        answer = {"text": "yes", "quick_reply": {"payload": "Y"}, "reply_to": {"mid": "m1"}}
        echo = {"sender": {"id": "222"}, "recipient": {"id": "77"}, "timestamp": 1}
        comment = {"id": "222", "changes": [{"field": "feed", "value": {"item": "comment"}}]}
        return (
            self.event(message={"mid": "m2", "attachments": [photo]}),
            self.event(message={"mid": "m3", **answer}),
            self.event(message={"mid": "m4", "attachments": [story]}),
            self.event(postback={"title": "Start", "payload": "GO", "mid": "m5"}),
            self.event(reaction={"mid": "m1", "action": "react", "emoji": "\U0001f44d", "reaction": "love"}),
            self.envelope({**echo, "message": {"mid": "e", "is_echo": True, "text": "x"}}),
            json.dumps({"object": self.object, "entry": [comment]}).encode(),
        )


def accept(request: httpx.Request) -> Answer:
    return Answer(200, b'{"message_id":"m_out","recipient_id":"77","attachment_id":"a1","id":"222"}')


OUTWARD = Outward(
    address={"id": "77"},
    accept=accept,
    is_send=lambda request: request.url.path.endswith("/messages"),
    texts=lambda request: [json.loads(request.content)["message"]["text"]],
    refusal=graph.send_api_refusal,
    retry_after=graph.RETRY_AFTER,
    check_refused=graph.REFUSED,
)
