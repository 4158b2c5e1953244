"""WeChat's and WeCom's ends of the wire: pushes sealed as they seal them, and a small API server that misbehaves as told."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from app.channels.base import Call
from tests.support.providers import Answer, HttpServer

RANDOM = b"1234567890123456"


def seal(aes_key: str, receiver: str, content: bytes, random: bytes = RANDOM) -> str:
    plain = random + len(content).to_bytes(4, "big") + content + receiver.encode()
    count = 32 - len(plain) % 32
    return encrypt(aes_key, plain + bytes([count]) * count)


def encrypt(aes_key: str, padded: bytes) -> str:
    key = base64.b64decode(aes_key + "=")
    encryptor = Cipher(AES(key), CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def sign(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


@dataclass
class Account:
    """What the operator and the provider both know."""

    token: str = "hooktoken"
    aes_key: str = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"
    receiver: str = "wx49f0ab532d5d035a"

    def query(self, sealed: str, at: datetime, nonce: str = "n0nce") -> dict[str, str]:
        timestamp = str(int(at.timestamp()))
        return {
            "signature": sign(self.token, timestamp, nonce),
            "timestamp": timestamp,
            "nonce": nonce,
            "encrypt_type": "aes",
            "msg_signature": sign(self.token, timestamp, nonce, sealed),
        }

    def push(self, content: bytes | str, at: datetime, *, beside: str = "") -> Call:
        """A POST as it arrives. `beside` stands in the clear next to the encrypted part."""
        raw = content.encode() if isinstance(content, str) else content
        sealed = seal(self.aes_key, self.receiver, raw)
        body = f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName>{beside}<Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
        return Call("POST", "https://desk.example/hook", self.query(sealed, at), {}, body.encode(), at)


@dataclass
class Upload:
    kind: str
    name: str
    media_type: str
    data: bytes


@dataclass
class Asked:
    """One call after the token: its path, its query and its body."""

    path: str
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def said(code: int, message: str = "no", **more: Any) -> Answer:
    body = orjson.dumps({"errcode": code, "errmsg": message, **more})
    return 200, {"content-type": "application/json; encoding=utf-8"}, body


@dataclass
class Script:
    """Answers to the next calls, each once: an answer, or "drop" to take the call and hang up."""

    answers: list[Answer | str] = field(default_factory=list)

    def next(self) -> Answer | None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, str):
            raise ConnectionResetError
        return answer


class WechatServer(HttpServer):
    """Gives tokens, takes calls that carry the newest one, keeps media. `tokens` counts how many were asked for."""

    def __init__(self, owner: str, secret: str) -> None:
        super().__init__()
        self.answer = self.api
        self.owner, self.secret = owner, secret
        self.tokens = 0
        self.good = "TOKEN_1"
        self.expires_in = 7200
        self.token_script, self.script, self.media_script = Script(), Script(), Script()
        self.asked: list[Asked] = []
        self.uploads: list[Upload] = []
        self.media: dict[str, bytes] = {}
        self.media_type = "image/jpeg"
        self.people: list[Any] = []
        self.pages: list[dict[str, Any]] = []

    async def api(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        where = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        name = where.path.removeprefix("/cgi-bin/")
        if name in ("stable_token", "gettoken"):
            return self._token(name, query, body)
        if name == "/video.mp4":
            return 200, {"content-type": "video/mp4"}, self.media["video"]
        if query.get("access_token") != self.good:
            return said(40001, "invalid credential, access_token is invalid or not latest")
        if name == "media/get":
            return self._media(query)
        if name == "media/upload":
            return self._upload(query, headers, body)
        if name == "user/info":
            return said(0, "ok", subscribe=1, openid=query["openid"], nickname="", language="zh_CN", headimgurl="")
        assert headers["content-type"] == "application/json"
        self.asked.append(Asked(name, query, body))
        answer = self.script.next()
        if answer is not None:
            return answer
        if name == "kf/sync_msg":
            return said(0, "ok", **self.pages.pop(0))
        if name == "kf/customer/batchget":
            return said(0, "ok", customer_list=self.people)
        return said(0, "ok")

    def _token(self, name: str, query: dict[str, str], body: bytes) -> Answer:
        self.tokens += 1
        answer = self.token_script.next()
        if answer is not None:
            return answer
        if name == "stable_token":
            given = orjson.loads(body)
            assert given.pop("grant_type") == "client_credential"
            assert given.pop("force_refresh") is False
            assert given == {"appid": self.owner, "secret": self.secret}
        else:
            assert query == {"corpid": self.owner, "corpsecret": self.secret}
        body = orjson.dumps({"access_token": self.good, "expires_in": self.expires_in})
        return 200, {"content-type": "application/json"}, body

    def _media(self, query: dict[str, str]) -> Answer:
        answer = self.media_script.next()
        if answer is not None:
            return answer
        found = self.media.get(query["media_id"])
        if found is None:
            return said(40007, "invalid media_id")
        return 200, {"content-type": self.media_type, "content-disposition": 'attachment; filename="x.jpg"'}, found

    def _upload(self, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        head = f"content-type: {headers['content-type']}\r\n\r\n".encode()
        form = message_from_bytes(head + body, policy=policy.default)
        assert isinstance(form, EmailMessage)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "media"
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        self.uploads.append(Upload(query["type"], part.get_filename() or "", part.get_content_type(), data))
        media_id = f"MEDIA_{len(self.uploads)}"
        return said(0, "ok", type=query["type"], media_id=media_id, created_at=1)
