"""Twilio's ends of the wire: calls signed as it signs them, and a small Messaging API that misbehaves as told."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

import orjson

from app.channels.base import Call
from tests.channels.makers import NOW
from tests.support.providers import Answer, HttpServer

URL = "https://desk.example/channels/x/webhook"
Pairs = Sequence[tuple[str, str]]


def sign(token: str, url: str, pairs: Pairs) -> str:
    known: dict[str, set[str]] = {}
    for name, value in pairs:
        known.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(known) for value in sorted(known[name]))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def form_call(token: str, pairs: Pairs, *, url: str = URL, query: Mapping[str, str] | None = None) -> Call:
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
        "x-twilio-signature": sign(token, url, pairs),
    }
    return Call("POST", url, query or {}, headers, urlencode(list(pairs)).encode(), NOW)


def refusal(code: int, status: int = 400, message: str = "no", **headers: str) -> Answer:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(body)


class TwilioServer(HttpServer):
    """`script` holds answers to the next messages: an answer, None to accept, or "drop" to take it and hang up."""

    def __init__(self, account_sid: str, token: str) -> None:
        super().__init__()
        self.answer = self.api
        self.root = f"/2010-04-01/Accounts/{account_sid}"
        self.login = "Basic " + base64.b64encode(f"{account_sid}:{token}".encode()).decode()
        self.script: list[Answer | str | None] = []
        self.sent: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.media: dict[str, Answer] = {}
        self.seen: list[tuple[str, str | None]] = []

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.seen.append((path, headers.get("authorization")))
        if headers.get("authorization") != self.login:
            return refusal(20003, 401, "Authenticate")
        if path in self.media:
            return self.media[path]
        if path == f"{self.root}.json":
            return 200, {}, orjson.dumps({"sid": "AC1", "status": "active"})
        assert path == f"{self.root}/Messages.json"
        assert headers["content-type"] == "application/x-www-form-urlencoded"
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        self.raw.append(body)
        self.sent.append(dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)))
        if told == "drop":
            self.arrived.set()
            raise ConnectionError("hung up")
        return 201, {}, orjson.dumps({"sid": f"SM{len(self.sent)}", "status": "queued", "error_code": None})
