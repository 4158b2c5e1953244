"""A mail put together again from what a provider has taken apart: the same pieces always give the same bytes."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from app.channels.text import file_name, media_type

_OWN = frozenset({"content-type", "content-transfer-encoding", "content-disposition", "mime-version", "content-length"})
_NAME = re.compile(r"[!-9;-~]{1,100}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the mail; `content_id` is what its HTML names it by."""

    name: str
    media_type: str
    data: bytes
    content_id: str | None = None


def rebuilt(
    headers: Sequence[tuple[str, str]], *, text: str | None, page: str | None, files: Sequence[Piece] = ()
) -> bytes:
    """Raw bytes for the one parser. `headers` are the mail's own, in order; those of its structure are made anew."""
    lines = [
        f"{name}: {_line(value)}\r\n"
        for name, value in headers
        if name.lower() not in _OWN and _NAME.fullmatch(name) and ":" not in name
    ]
    head = "".join(lines).encode("utf-8", "replace") + b"MIME-Version: 1.0\r\n"
    bodies = [_text("plain", text)] if text is not None or page is None else []
    if page is not None:
        bodies.append(_text("html", page))
    whole = bodies[0] if len(bodies) == 1 else _multipart("alternative", bodies)
    return head + (_multipart("mixed", [whole, *map(_file, files)]) if files else whole)


def _line(value: str) -> str:
    return " ".join(value.replace("\0", "").split())


def _text(kind: str, text: str | None) -> bytes:
    encoded = base64.encodebytes((text or "").encode("utf-8", "replace")).replace(b"\n", b"\r\n")
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + encoded


def _file(file: Piece) -> bytes:
    name = file_name(file.name, "file").replace("\\", "_").replace('"', "'")
    inline = "inline" if file.content_id else "attachment"
    head = f"Content-Type: {media_type(file.media_type)}\r\nContent-Disposition: {inline}; {_named(name)}\r\n"
    if file.content_id:
        head += f"Content-ID: <{_line(file.content_id).strip('<> ')}>\r\n"
    return (head + "Content-Transfer-Encoding: base64\r\n\r\n").encode("utf-8", "replace") + base64.encodebytes(
        file.data
    ).replace(b"\n", b"\r\n")


def _named(name: str) -> str:
    return f'filename="{name}"' if name.isascii() else f"filename*=utf-8''{quote(name, safe='')}"


def _multipart(kind: str, parts: Sequence[bytes]) -> bytes:
    boundary = "=_" + hashlib.sha256(kind.encode() + b"".join(parts)).hexdigest()[:40]
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return (
        f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
        + body
        + f"--{boundary}--\r\n".encode()
    )
