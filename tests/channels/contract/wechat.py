"""WeChat Official Account to the contract kit."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx

from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS
from tests.support.wechat import Account

AES_KEY = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"
PROOF = Proof(secrets=("token", "encoding_aes_key"), query=("msg_signature", "timestamp", "nonce"))
ERRORS = {
    SendFailure.PERMANENT: 45002,
    SendFailure.RETRY: -1,
    SendFailure.REAUTH: 40001,
    SendFailure.RECIPIENT: 40003,
    SendFailure.CONFIG: 48001,
    SendFailure.WINDOW: 45015,
    SendFailure.QUOTA: 45009,
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    account = Account(token=config["token"], aes_key=config["encoding_aes_key"], receiver=config["app_id"])
    return replace(account.push(payload, at), url=WEBHOOK)


def push(kind: str, /, **fields: Any) -> bytes:
    whole = {"ToUserName": "gh_1", "FromUserName": "oOpenId", "CreateTime": "1795334400", "MsgType": kind, **fields}
    parts = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in whole.items())
    return f"<xml>{parts}</xml>".encode()


def accept(request: httpx.Request) -> Answer:
    if request.url.path.endswith(("/stable_token", "/gettoken")):
        return Answer(200, b'{"access_token":"ISSUED_TOKEN_1","expires_in":7200}')
    return Answer(200, b'{"errcode":0,"errmsg":"ok","media_id":"M1"}')


def said(code: int, words: str = "no") -> Answer:
    return Answer(200, json.dumps({"errcode": code, "errmsg": words}).encode(), {"content-type": "application/json"})


DESCRIPTION = Description(
    adapter=ADAPTERS["wechat"],
    config=lambda base: {
        "app_id": "wx49f0ab532d5d035a",
        "app_secret": "wechat-app-secret",
        "token": "hooktoken",
        "encoding_aes_key": AES_KEY,
        "api_base": base,
    },
    incoming=Incoming(
        sign=sign,
        proof=PROOF,
        message=lambda key, text: push("text", Content=text, MsgId=key),
        unknown=push("something_new"),
        samples=(
            push("image", PicUrl="http://mmbiz.qpic.cn/1", MediaId="m1", MsgId="2"),
            push("voice", MediaId="m2", Format="amr", Recognition="hello", MsgId="3"),
            push("location", Location_X="23.1", Location_Y="113.3", Scale="20", Label="here", MsgId="4"),
            push("link", Title="t", Description="d", Url="https://x.example", MsgId="5"),
            push("event", Event="CLICK", EventKey="help"),
            push("event", Event="subscribe", EventKey=""),
            b'{"ToUserName":"gh_1","FromUserName":"o","CreateTime":1795334400,"MsgType":"text","Content":"x","MsgId":9}',
        ),
    ),
    outward=Outward(
        address={"openid": "oOpenId"},
        accept=accept,
        is_send=lambda request: request.url.path.endswith("/message/custom/send"),
        texts=lambda request: [json.loads(request.content)["text"]["content"]],
        refusal=lambda failure, words: said(ERRORS[failure], words) if failure in ERRORS else None,
        retry_after=Answer(429, b"", {"retry-after": "7"}),
        check_refused=said(40125, "invalid appsecret"),
        issued=("ISSUED_TOKEN_1",),
    ),
    files=Files(
        file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"media_id": "m1"}),
        is_content=lambda request: request.url.path.endswith("/media/get"),
        gone=said(40007, "invalid media_id"),
        before=accept,
    ),
)
