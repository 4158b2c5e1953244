"""Viber's ends of the wire: calls signed as it signs them, and a small REST API that misbehaves as told."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson

from tests.support.providers import Answer, HttpServer


def sign(token: str, body: bytes) -> dict[str, str]:
    mac = hmac.new(token.encode(), body, hashlib.sha256).hexdigest()
    return {"x-viber-content-signature": mac, "content-type": "application/json"}


def refusal(status: int, message: str = "no", *, http: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http, named, orjson.dumps({"status": status, "status_message": message})


class ViberServer(HttpServer):
    """`script` holds answers to the next messages: an answer, None to accept, or "drop" to take it and hang up."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.answer = self.api
        self.token = token
        self.script: list[Answer | str | None] = []
        self.sent: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.webhook = "https://desk.example/x"

    def token_of(self, number: int) -> int:
        """The token of the message sent as `number`, from 1: larger than what a float can hold."""
        return 5_741_311_803_571_721_000 + number

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path in self.files:
            return 200, {}, self.files[path]
        if headers.get("x-viber-auth-token") != self.token:
            return refusal(2, f"invalidAuthToken {headers.get('x-viber-auth-token')}")
        assert headers["content-type"] == "application/json"
        asked = orjson.loads(body)
        if path == "/pa/get_account_info":
            return 200, {}, orjson.dumps({"status": 0, "status_message": "ok", "webhook": self.webhook})
        if path == "/pa/get_user_details":
            user = self.users.get(asked["id"])
            return (200, {}, orjson.dumps({"status": 0, "user": user})) if user else refusal(6, "receiverNotSubscribed")
        assert path == "/pa/send_message"
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        assert len(body) <= 30_000
        self.sent.append(asked)
        self.raw.append(body)
        if told == "drop":
            self.arrived.set()
            raise ConnectionError("hung up")
        answer = {"status": 0, "status_message": "ok", "message_token": self.token_of(len(self.sent))}
        return 200, {"content-type": "application/json"}, orjson.dumps(answer)
