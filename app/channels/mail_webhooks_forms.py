"""Forms as mail providers post them: every value as bytes, because each may have a charset of its own."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from app.channels import mail_charset
from app.channels.base import Call, Unparseable

FIELDS_LIMIT = 2_000
_PARAMETER = re.compile(r';\s*([\w*-]{1,40})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]+))')
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form; `field` is its name there."""

    field: str
    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The first value of each name counts. `charsets` maps names to what their bytes are written in (else UTF-8)."""

    values: Mapping[str, bytes]
    uploads: tuple[Upload, ...]
    charsets: Mapping[str, str]

    def text(self, name: str) -> str | None:
        raw = self.values.get(name)
        return None if raw is None else mail_charset.decode(raw, self.charsets.get(name) or "utf-8")

    def first(self, *names: str) -> str | None:
        return next((found for name in names if (found := self.text(name))), None)


def read(call: Call) -> Form:
    """Raises Unparseable."""
    kind = call.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() == "multipart/form-data":
        return _multipart(call.body, kind)
    values: dict[str, bytes] = {}
    for number, item in enumerate(call.body.split(b"&")):
        if number >= FIELDS_LIMIT:
            raise Unparseable(f"the form has more than {FIELDS_LIMIT} fields")
        name, _, value = item.partition(b"=")
        if name:
            values.setdefault(_unquoted(name).decode("utf-8", "replace"), _unquoted(value))
    return Form(values, (), {})


def _unquoted(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _multipart(body: bytes, kind: str) -> Form:
    found = _BOUNDARY.search(kind)
    if found is None:
        raise Unparseable("the form has no boundary")
    values: dict[str, bytes] = {}
    uploads: list[Upload] = []
    for head, data in _parts(body, (found[1] or found[2]).encode("latin-1", "replace")):
        headers = _headers(head)
        names = _parameters(headers.get("content-disposition", ""))
        field, file = names.get("name"), names.get("filename")
        if field is None:
            continue
        if file is not None:
            uploads.append(Upload(field, file, headers.get("content-type", "application/octet-stream"), data))
        else:
            values.setdefault(field, data)
    return Form(values, tuple(uploads), {})


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`(head, data)` of each; lines may end with LF alone, the end may be missing."""
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|$)")
    marks = list(delimiter.finditer(b"\n" + body))
    if not marks or len(marks) > FIELDS_LIMIT:
        raise Unparseable("the form cannot be taken apart")
    shifted = b"\n" + body
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        if mark[1]:
            return
        part = shifted[mark.end() : following.start() if following else len(shifted)]
        empty = re.search(rb"\r?\n\r?\n", part)
        if part.startswith((b"\r\n", b"\n")):
            continue
        if empty is not None:
            yield part[: empty.start()], part[empty.end() :]
        else:
            yield part, b""


def _headers(head: bytes) -> dict[str, str]:
    lines = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "replace")).splitlines()
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _parameters(value: str) -> dict[str, str]:
    found = {}
    for name, quoted, bare in _PARAMETER.findall(value):
        text = re.sub(r"\\([\"\\])", r"\1", quoted) if quoted else bare
        if name.endswith("*"):
            charset, _, rest = text.partition("''")
            found[name[:-1].lower()] = mail_charset.decode(unquote_to_bytes(rest), charset or "utf-8")
        else:
            found.setdefault(name.lower(), text)
    return found
