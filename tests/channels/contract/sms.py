"""SMS by Twilio to the contract kit."""

import base64
import hashlib
import hmac
import json
from datetime import datetime
from urllib.parse import parse_qs, parse_qsl, urlencode

import httpx

from app.channels.base import Call, RemoteFile, SendFailure
from app.channels.kit import WEBHOOK, Answer, Description, Files, Incoming, Outward, Proof
from app.channels.kit.description import Config
from app.channels.registry import ADAPTERS

ERRORS = {
    SendFailure.PERMANENT: (400, 21602),
    SendFailure.RETRY: (429, 20429),
    SendFailure.REAUTH: (401, 20003),
    SendFailure.RECIPIENT: (400, 21211),
    SendFailure.CONFIG: (400, 21606),
    SendFailure.WINDOW: (400, 63016),
    SendFailure.QUOTA: (429, 63038),
}


def sign(config: Config, payload: bytes, at: datetime) -> Call:
    values: dict[str, set[str]] = {}
    text = payload.decode("utf-8", "surrogateescape")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
        values.setdefault(name, set()).add(value)
    signed = WEBHOOK + "".join(
        name + value for name in sorted(values, key=_bytes) for value in sorted(values[name], key=_bytes)
    )
    mac = base64.b64encode(hmac.new(config["auth_token"].encode(), _bytes(signed), hashlib.sha1).digest()).decode()
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": mac}
    return Call("POST", WEBHOOK, {}, headers, payload, at)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def form(**fields: str) -> bytes:
    basics = {"MessageSid": "SM1", "AccountSid": "AC0123", "From": "+14133881111", "To": "+12028831111"}
    return urlencode({**basics, **fields}).encode()


def accept(request: httpx.Request) -> Answer:
    if request.method == "GET":
        return Answer(200, b'{"sid":"AC0123","status":"active"}')
    return Answer(201, b'{"sid":"SM2","status":"queued"}')


def refusal(failure: SendFailure, words: str) -> Answer | None:
    if failure not in ERRORS:
        return None
    status, code = ERRORS[failure]
    return Answer(status, json.dumps({"code": code, "message": words, "status": status}).encode())


DESCRIPTION = Description(
    adapter=ADAPTERS["sms"],
    config=lambda base: {
        "account_sid": "AC0123",
        "auth_token": "twilio-auth-secret",
        "number": "+12028831111",
        "api_base": base,
    },
    incoming=Incoming(
        sign=sign,
        proof=Proof(secrets=("auth_token",), headers=("x-twilio-signature",), url=True),
        message=lambda key, text: form(MessageSid=key, SmsStatus="received", Body=text, NumMedia="0"),
        unknown=form(MessageStatus="something-new"),
        status=lambda provider_id, word: form(MessageSid=provider_id, MessageStatus=word),
        samples=(
            form(NumMedia="2", MediaUrl0="https://api.twilio.com/a", MediaContentType0="image/jpeg", MediaUrl1="b.pdf"),
            form(
                From="whatsapp:+8613800000001",
                To="whatsapp:+12028831111",
                ProfileName="Mei",
                Latitude="1",
                Longitude="2",
            ),
            form(MessageStatus="undelivered", ErrorCode="30003", ErrorMessage="Unreachable"),
            form(Body="STOP", OptOutType="STOP"),
            form(ButtonText="Yes", ButtonPayload="y", Body="yes", OriginalRepliedMessageSid="SM0", Forwarded="true"),
        ),
    ),
    outward=Outward(
        address={"to": "+14133881111"},
        accept=accept,
        is_send=lambda request: request.method == "POST",
        texts=lambda request: parse_qs(request.content.decode(), keep_blank_values=True)["Body"],
        refusal=refusal,
        retry_after=Answer(429, b'{"code":20429,"message":"Too Many Requests"}', {"retry-after": "7"}),
        check_refused=Answer(401, b'{"code":20003,"message":"Authenticate"}'),
    ),
    files=Files(file=lambda base: RemoteFile("a.jpg", "image/jpeg", None, {"url": f"{base}/2010-04-01/Media/ME1"})),
)
