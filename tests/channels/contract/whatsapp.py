"""WhatsApp to the contract kit."""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from app.channels.base import RemoteFile, SendFailure
from app.channels.kit import Answer, Description, Files, Incoming, Outward
from app.channels.registry import ADAPTERS
from tests.channels.contract import graph

CODES = {
    SendFailure.PERMANENT: 131008,
    SendFailure.RETRY: 131000,
    SendFailure.REAUTH: 190,
    SendFailure.RECIPIENT: 131026,
    SendFailure.CONFIG: 131042,
    SendFailure.WINDOW: 131047,
}


def envelope(field: str = "messages", /, **value: Any) -> bytes:
    contacts = [{"profile": {"name": "Ana Ng"}, "wa_id": "8613800000001"}]
    around = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "49301", "phone_number_id": "111"}}
    change = {"field": field, "value": {**around, "contacts": contacts, **value}}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "9", "changes": [change]}]}).encode()


def message(key: str = "wamid.1", /, **more: Any) -> bytes:
    return envelope(messages=[{"from": "8613800000001", "id": key, "timestamp": "1795334400", **more}])


def batch(payloads: Sequence[bytes]) -> bytes:
    entries = [entry for payload in payloads for entry in json.loads(payload)["entry"]]
    return json.dumps({"object": "whatsapp_business_account", "entry": entries}).encode()


def status(provider_id: str, word: str) -> bytes:
    return envelope(
        statuses=[{"id": provider_id, "status": word, "timestamp": "1795334401", "recipient_id": "8613800000001"}]
    )


def edit(key: str, text: str) -> bytes:
    changed = {"original_message_id": key, "message": {"type": "text", "text": {"body": text}}}
    return message("wamid.edit", type="edit", edit=changed)


def accept(request: httpx.Request) -> Answer:
    if request.method == "GET":
        return Answer(
            200, json.dumps({"id": "111", "url": f"https://{request.url.host}/cdn/1", "file_size": 1}).encode()
        )
    return Answer(200, b'{"messages":[{"id":"wamid.out"}],"id":"upload1"}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    return graph.refusal(words, CODES[failure]) if failure in CODES else None


DESCRIPTION = Description(
    adapter=ADAPTERS["whatsapp"],
    config=lambda base: {**graph.SECRETS, "phone_number_id": "111", "api_base": base},
    incoming=Incoming(
        sign=graph.sign,
        proof=graph.PROOF,
        message=lambda key, text: message(key, type="text", text={"body": text}),
        batch=batch,
        bad=envelope(messages=["not an object", 5]),
        unknown=envelope("something_new", event="x"),
        edit=edit,
        delete=lambda key: message("wamid.del", type="revoke", revoke={"original_message_id": key}),
        status=status,
        samples=(
            message(type="image", image={"mime_type": "image/jpeg", "sha256": "x", "id": "65", "caption": "look"}),
            message(type="document", document={"filename": "a.pdf", "id": "12", "mime_type": "application/pdf"}),
            message(type="location", location={"latitude": 37.4, "longitude": -122.2, "name": "HQ"}),
            message(type="contacts", contacts=[{"name": {"formatted_name": "Bo"}, "phones": [{"phone": "+1 2"}]}]),
            message(type="interactive", interactive={"type": "list_reply", "list_reply": {"id": "1", "title": "One"}}),
            message(type="reaction", reaction={"message_id": "wamid.0", "emoji": "\U0001f62e"}),
            envelope(
                messages=[
                    {
                        "from_user_id": "US.1349",
                        "id": "wamid.b",
                        "timestamp": "1",
                        "type": "text",
                        "text": {"body": "x"},
                    }
                ]
            ),
            envelope(
                "calls",
                calls=[{"id": "c1", "event": "terminate", "from": "86138", "duration": 3, "status": "COMPLETED"}],
            ),
            envelope(
                "smb_message_echoes",
                message_echoes=[{"from": "49301", "to": "86138", "id": "e", "type": "text", "text": {"body": "y"}}],
            ),
            envelope(
                statuses=[
                    {"id": "w", "status": "failed", "errors": [{"code": 131047, "title": "t"}], "recipient_id": "8"}
                ]
            ),
        ),
    ),
    outward=Outward(
        address={"to": "8613800000001"},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/messages"),
        texts=lambda request: [json.loads(request.content)["text"]["body"]],
        refusal=refusal,
        retry_after=graph.RETRY_AFTER,
        check_refused=graph.REFUSED,
    ),
    files=Files(
        file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"media_id": "6546"}),
        is_content=lambda request: request.url.path == "/cdn/1",
        before=accept,
    ),
)
