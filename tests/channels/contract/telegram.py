"""Telegram to the contract kit."""

import json
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

HEADER = "x-telegram-bot-api-secret-token"
PERSON = {"id": 3527065, "first_name": "Nic", "username": "nic", "language_code": "en"}
CODES = {
    SendFailure.PERMANENT: (400, "Bad Request: "),
    SendFailure.RETRY: (502, "Bad Gateway: "),
    SendFailure.REAUTH: (401, "Unauthorized: "),
    SendFailure.RECIPIENT: (403, "Forbidden: bot was blocked by the user "),
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    return Call("POST", WEBHOOK, {}, {HEADER: config["secret_token"]}, payload, at)


def update(kind: str = "message", /, **more: Any) -> bytes:
    item = {"message_id": 41, "from": PERSON, "chat": {**PERSON, "type": "private"}, "date": 1795334400, **more}
    return json.dumps({"update_id": 174114370, kind: item}).encode()


def number(key: str) -> int:
    """Telegram's ids are numbers."""
    return int.from_bytes(key.encode()[-6:], "big")


def accept(request: httpx.Request) -> Answer:
    if request.url.path.endswith("/getFile"):
        return Answer(200, b'{"ok":true,"result":{"file_path":"photos/file_1.jpg"}}')
    if request.url.path.endswith("/getMe"):
        return Answer(200, b'{"ok":true,"result":{"id":1,"is_bot":true,"username":"shop_bot"}}')
    return Answer(200, b'{"ok":true,"result":{"message_id":1001,"chat":{"id":3527065}}}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    if failure not in CODES:
        return None
    code, said = CODES[failure]
    return Answer(code, json.dumps({"ok": False, "error_code": code, "description": said + words}).encode())


DESCRIPTION = Description(
    adapter=ADAPTERS["telegram"],
    config=lambda base: {"bot_token": "12345:AAFbotsecret", "secret_token": "hook-secret-token", "api_base": base},
    incoming=Incoming(
        sign=sign,
        proof=Proof(secrets=("secret_token",), headers=(HEADER,), body=False),
        message=lambda key, text: update(message_id=number(key), text=text),
        unknown=update("something_new", text="x"),
        edit=lambda key, text: update("edited_message", message_id=number(key), text=text, edit_date=1795334500),
        samples=(
            update(photo=[{"file_id": "AgAD", "file_size": 1140, "width": 51, "height": 90}], caption="look"),
            update(voice={"file_id": "AwAD", "duration": 1, "mime_type": "audio/ogg", "file_size": 4288}),
            update(contact={"phone_number": "+250788531116", "first_name": "Nic", "user_id": 3527065}),
            update(venue={"location": {"latitude": -2.89, "longitude": -79.0}, "title": "Market", "address": "Cuenca"}),
            update(poll={"question": "Which?", "options": [{"text": "this"}, {"text": "that"}]}),
            update(
                text="yes", reply_to_message={"message_id": 4, "text": "really?"}, media_group_id="9", dice={"value": 6}
            ),
            update("message_reaction", old_reaction=[], new_reaction=[{"type": "emoji", "emoji": "\U0001f32d"}]),
            update("my_chat_member", new_chat_member={"status": "kicked"}),
        ),
    ),
    outward=Outward(
        address={"chat_id": 3527065},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/sendMessage"),
        texts=lambda request: [json.loads(request.content)["text"]],
        refusal=refusal,
        retry_after=Answer(
            429, b'{"ok":false,"error_code":429,"description":"Too Many","parameters":{"retry_after":7}}'
        ),
        check_refused=Answer(401, b'{"ok":false,"error_code":401,"description":"Unauthorized"}'),
    ),
    files=Files(
        file=lambda base: RemoteFile("photo.jpg", "image/jpeg", 1140, {"file_id": "AgAD"}),
        is_content=lambda request: "/file/bot" in request.url.path,
        before=accept,
    ),
)
