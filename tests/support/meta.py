"""A small Graph API: keeps what we send, checks the token, serves media, and misbehaves as told."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.support.providers import Answer, HttpServer

VERSION = "v24.0"


@dataclass
class Upload:
    """One multipart form: its fields, and its file."""

    path: str
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    media_type: str = ""
    data: bytes = b""


def refusal(code: int, *, status: int = 400, subcode: int | None = None, message: str = "no", **headers: str) -> Answer:
    error: dict[str, Any] = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "x"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps({"error": error})


class GraphServer(HttpServer):
    """`script` holds the answers to the next messages: an answer, None to accept as usual, or "drop" to take the message and
    hang up. `sent` and `uploads` are what we sent, `paths` every path in order."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.answer = self.graph
        self.token = token
        self.script: list[Answer | str | None] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.raw: list[bytes] = []
        self.uploads: list[Upload] = []
        self.paths: list[str] = []
        self.media: dict[str, bytes] = {}
        self.media_url: str | None = None
        self.file_headers: list[dict[str, str]] = []
        self.upload_answer: Answer | None = None

    async def graph(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.paths.append(path)
        parts = urlsplit(path).path.strip("/").split("/")
        if parts[0] == "cdn":
            self.file_headers.append(headers)
            return 200, {}, self.media[parts[1]]
        if headers.get("authorization") != f"Bearer {self.token}":
            return refusal(190, status=401, message=f"Malformed access token {headers.get('authorization')}")
        assert parts[0] == VERSION
        if parts[-1] == "messages":
            return self._message(path, body)
        if parts[-1] in ("media", "message_attachments"):
            return self._upload(path, headers, body)
        return self._node(parts[-1])

    def _message(self, path: str, body: bytes) -> Answer:
        told = self.script.pop(0) if self.script else None
        if isinstance(told, tuple):
            return told
        payload = orjson.loads(body)
        self.sent.append((path, payload))
        self.raw.append(body)
        if told == "drop":
            raise ConnectionError("hung up")
        number = len(self.sent)
        whatsapp = payload.get("messaging_product") == "whatsapp"
        answer = (
            {"messaging_product": "whatsapp", "messages": [{"id": f"wamid.{number}", "message_status": "accepted"}]}
            if whatsapp
            else {"recipient_id": payload["recipient"].get("id"), "message_id": f"mid.{number}"}
        )
        return 200, {"content-type": "application/json"}, orjson.dumps(answer)

    def _upload(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.upload_answer is not None:
            return self.upload_answer
        whole = message_from_bytes(
            b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + body, policy=policy.HTTP
        )
        upload = Upload(path)
        for part in whole.iter_parts():
            assert isinstance(part, EmailMessage)
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            name = str(part.get_param("name", header="content-disposition"))
            if (file_name := part.get_filename()) is None:
                upload.fields[name] = data.decode()
            else:
                upload.name, upload.media_type, upload.data = file_name, part.get_content_type(), data
                upload.fields["<file>"] = name
        self.uploads.append(upload)
        key = "id" if path.endswith("/media") else "attachment_id"
        return 200, {}, orjson.dumps({key: f"up{len(self.uploads)}"})

    def _node(self, node: str) -> Answer:
        if node in self.media:
            url = self.media_url or f"{self.base}/cdn/{node}"
            return 200, {}, orjson.dumps({"url": url, "mime_type": "image/png", "file_size": len(self.media[node])})
        return 200, {}, orjson.dumps({"id": node})
