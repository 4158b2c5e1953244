"""A small LINE Messaging API: takes each retry key once, keeps what we send, misbehaves as told."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import orjson

from tests.support.providers import Answer, HttpServer


def sign(secret: str, body: bytes) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {"x-line-signature": base64.b64encode(mac).decode(), "content-type": "application/json"}


def refusal(status: int, message: str, **headers: str) -> Answer:
    return (
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        orjson.dumps({"message": message}),
    )


class LineServer(HttpServer):
    """`script` holds answers to the next pushes: an answer, None to accept, or "drop" to take it and hang up."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.answer = self.api
        self.token = token
        self.script: list[Answer | str | None] = []
        self.accepted: dict[str, dict[str, Any]] = {}
        self.raw: list[bytes] = []
        self.keys: list[str] = []
        self.content: dict[str, Answer] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self._ids = 0

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, f"Authentication failed: {headers.get('authorization')} is not a valid access token")
        if path.startswith("/v2/bot/message/") and path.endswith("/content"):
            return self.content[path.split("/")[4]]
        if path == "/v2/bot/info":
            return 200, {}, b'{"userId":"U1","basicId":"@x","displayName":"Help"}'
        if path.startswith(("/v2/bot/profile/", "/v2/bot/group/", "/v2/bot/room/")):
            person = self.people.get(path.removeprefix("/v2/bot/profile/"))
            return (200, {}, orjson.dumps(person)) if person else refusal(404, "Not found")
        assert path == "/v2/bot/message/push"
        assert headers["content-type"] == "application/json"
        retry_key = headers["x-line-retry-key"]
        self.keys.append(retry_key)
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        payload = orjson.loads(body)
        assert 1 <= len(payload["messages"]) <= 5
        if retry_key in self.accepted:
            known = {"message": "The retry key is already accepted", "sentMessages": self.accepted[retry_key]["ids"]}
            return 409, {"x-line-accepted-request-id": "r1"}, orjson.dumps(known)
        ids = [{"id": str(self._next()), "quoteToken": "q"} for _ in payload["messages"]]
        self.accepted[retry_key] = {"ids": ids, **payload}
        self.raw.append(body)
        if told == "drop":
            self.arrived.set()
            raise ConnectionError("hung up")
        return 200, {"x-line-request-id": "r1"}, orjson.dumps({"sentMessages": ids})

    def _next(self) -> int:
        self._ids += 1
        return 460000000000000000 + self._ids
