"""WeCom customer service to the contract kit: calls are bells, payloads are pages."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.channels import wecom_parse
from app.channels.base import Call, Parsed, RemoteFile, SendFailure, Unparseable
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS
from app.channels.text import JSONDecodeError, loads
from tests.channels.contract import wechat
from tests.channels.contract.wechat import push, said
from tests.support.wechat import Account

KF, PERSON = "wkAJ2GCAAASSm4_FhToWMFea0xAFfd3Q", "wmAJ2GCAAAme1XQRC"
ERRORS = {
    SendFailure.PERMANENT: 45002,
    SendFailure.RETRY: -1,
    SendFailure.REAUTH: 40001,
    SendFailure.RECIPIENT: 40096,
    SendFailure.CONFIG: 48002,
    SendFailure.WINDOW: 95001,
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    account = Account(token=config["token"], aes_key=config["encoding_aes_key"], receiver=config["corp_id"])
    return replace(account.push(payload, at), url=WEBHOOK)


def page(kind: str, key: str = "msgid_1", /, **fields: Any) -> bytes:
    item = {
        "msgid": key,
        "open_kfid": KF,
        "external_userid": PERSON,
        "send_time": 1795334400,
        "origin": 3,
        "msgtype": kind,
    }
    return json.dumps([{**item, **fields}]).encode()


def event(type: str, /, **fields: Any) -> bytes:
    return page("event", event={"event_type": type, "open_kfid": KF, "external_userid": PERSON, **fields})


def batch(payloads: Sequence[bytes]) -> bytes:
    return json.dumps([item for payload in payloads for item in json.loads(payload)]).encode()


def pulled(payload: bytes) -> Parsed:
    try:
        return wecom_parse.parse_page(loads(payload))
    except JSONDecodeError as error:
        raise Unparseable(str(error)) from None


DESCRIPTION = Description(
    adapter=ADAPTERS["wecom"],
    config=lambda base: {
        "corp_id": "ww6a112864f8022910",
        "secret": "wecom-corp-secret",
        "open_kfid": KF,
        "token": "hooktoken",
        "encoding_aes_key": wechat.AES_KEY,
        "api_base": base,
    },
    incoming=Incoming(
        sign=sign,
        proof=wechat.PROOF,
        bells=(push("event", Event="kf_msg_or_event", Token="T", OpenKfId=KF), push("event", Event="x"), push("text")),
        pulled=pulled,
        message=lambda key, text: page("text", key, text={"content": text}),
        batch=batch,
        bad=b'[{"msgtype":"text"},"not an object",null]',
        unknown=event("something_new"),
        delete=lambda key: event("user_recall_msg", recall_msgid=key),
        status=lambda provider_id, word: event("msg_send_fail", fail_msgid=provider_id, fail_type=4),
        statuses=("failed",),
        samples=(
            page("image", image={"media_id": "m1"}),
            page("location", location={"latitude": 23.1, "longitude": 113.3, "name": "n", "address": "a"}),
            page("text", "m2", text={"content": "x", "menu_id": "101"}, origin=5, servicer_userid="Z"),
            page("link", link={"title": "t", "desc": "d", "url": "https://x.example"}),
            event("enter_session", welcome_code="a", scene="1"),
        ),
    ),
    outward=Outward(
        address={"external_userid": PERSON},
        accept=wechat.accept,
        is_send=lambda request: request.url.path.endswith("/kf/send_msg"),
        texts=lambda request: [json.loads(request.content)["text"]["content"]],
        refusal=lambda failure, words: said(ERRORS[failure], words) if failure in ERRORS else None,
        retry_after=Answer(429, b"", {"retry-after": "7"}),
        idempotency_key=lambda request: json.loads(request.content).get("msgid"),
        check_refused=said(40001, "invalid credential"),
        issued=("ISSUED_TOKEN_1",),
    ),
    files=Files(
        file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"media_id": "m1"}),
        is_content=lambda request: request.url.path.endswith("/media/get"),
        gone=said(40007, "invalid media_id"),
        before=wechat.accept,
    ),
)
