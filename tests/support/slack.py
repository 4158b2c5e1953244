"""Slack's ends of the wire: events signed as it signs them, and a small Web API that misbehaves as told."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import orjson

from tests.support.providers import Answer, HttpServer


def sign(secret: str, body: bytes, at: datetime) -> dict[str, str]:
    timestamp = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={mac}",
    }


def refusal(error: str, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, orjson.dumps({"ok": False, "error": error})


class SlackServer(HttpServer):
    """`script` holds answers to the next messages: an answer, None to accept, or "drop" to take it and hang up."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.answer = self.api
        self.token = token
        self.script: list[Answer | str | None] = []
        self.sent: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.upload_base = ""
        self.files: dict[str, Answer] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.uploads: list[tuple[str, str, bytes]] = []
        self.shared: list[dict[str, Any]] = []
        self.seen: list[tuple[str, str | None]] = []

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.seen.append((path, headers.get("authorization")))
        if path.startswith("/upload/"):
            assert "authorization" not in headers
            self.uploads.append((path, headers["content-type"], body))
            return self.files.get(path, (200, {}, b"OK"))
        if headers.get("authorization") != f"Bearer {self.token}":
            return refusal("invalid_auth")
        if path in self.files:
            return self.files[path]
        if path == "/api/auth.test":
            return 200, {}, b'{"ok":true,"team_id":"T1","user_id":"UB"}'
        if path == "/api/users.info":
            person = self.people.get(parse_qs(body.decode())["user"][0])
            return (200, {}, orjson.dumps({"ok": True, "user": person})) if person else refusal("user_not_found")
        if path == "/api/files.info":
            assert body == b"file=F1"
            file = {"id": "F1", "url_private_download": f"{self.base}/files-pri/T1-F1/a.png"}
            return 200, {}, orjson.dumps({"ok": True, "file": file})
        if path == "/api/files.getUploadURLExternal":
            number = len(self.uploads) + 1
            place = {
                "ok": True,
                "upload_url": f"{self.upload_base or self.base}/upload/v1/{number}",
                "file_id": f"F{number}",
            }
            return 200, {}, orjson.dumps(place)
        if path == "/api/files.completeUploadExternal":
            self.shared.append(orjson.loads(body))
            return 200, {}, b'{"ok":true,"files":[]}'
        assert path == "/api/chat.postMessage"
        assert headers["content-type"] == "application/json; charset=utf-8"
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        payload = orjson.loads(body)
        self.sent.append(payload)
        self.raw.append(body)
        if told == "drop":
            self.arrived.set()
            raise ConnectionError("hung up")
        ts = f"1795334400.{len(self.sent):06}"
        return 200, {}, orjson.dumps({"ok": True, "channel": payload["channel"], "ts": ts, "message": {}})
