"""The body of a submitted form as names and values: urlencoded, multipart or JSON. Bounded, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.channels.base import Unparseable
from app.channels.text import JSONDecodeError, clean, loads

FIELDS_LIMIT = 300
_CHARSETS = ("utf-8", "gb18030", "iso-8859-1", "windows-1252", "big5", "shift_jis", "euc-kr")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as the browser sent it; its name and type are only what it says."""

    name: str
    media_type: str
    data: bytes


Item = tuple[str, str | Upload]


def items(content_type: str, body: bytes) -> Sequence[Item]:
    """In their order; a name may come more than once. Raises Unparseable."""
    kind, options = _options(content_type)
    if kind == "multipart/form-data":
        return _multipart(body, options.get(b"boundary", b""))
    if kind == "application/json" or kind.endswith("+json"):
        return _json(body)
    if kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        return _urlencoded(body, options.get(b"charset", b"").decode("latin-1"))
    raise Unparseable(f"a form is not sent as {clean(kind, 100)}")


def _options(content_type: str) -> tuple[str, dict[bytes, bytes]]:
    try:
        kind, options = parse_options_header(content_type)
    except (ValueError, AssertionError, IndexError):
        raise Unparseable("the Content-Type cannot be read") from None
    return kind.decode("latin-1").strip().lower(), options


def _urlencoded(body: bytes, charset: str) -> list[Item]:
    """In the charset that the page says it used (`_charset_`), else that of the header, else UTF-8."""
    try:
        named = dict(_pairs(body, "latin-1")).get("_charset_", charset).strip().lower()
        found = _pairs(body, named if named in _CHARSETS else "utf-8")
    except ValueError:
        raise Unparseable(f"a form has at most {FIELDS_LIMIT} fields") from None
    return [(clean(name), clean(value)) for name, value in found]


def _pairs(body: bytes, charset: str) -> list[tuple[str, str]]:
    text = body.decode("latin-1")
    return parse_qsl(text, keep_blank_values=True, encoding=charset, errors="replace", max_num_fields=FIELDS_LIMIT)


def _json(body: bytes) -> list[Item]:
    try:
        given = loads(body)
    except JSONDecodeError:
        raise Unparseable("the body is not JSON") from None
    if not isinstance(given, dict):
        raise Unparseable("the body is not a JSON object")
    if len(given) > FIELDS_LIMIT:
        raise Unparseable(f"a form has at most {FIELDS_LIMIT} fields")
    return [(clean(str(name)), text) for name, value in given.items() if (text := _plain(value)) is not None]


def _plain(value: Any) -> str | None:
    """A value as a browser would send it; None for what is not one."""
    if isinstance(value, bool):
        return "true" if value else None
    if isinstance(value, str):
        return clean(value)
    return str(value) if isinstance(value, int | float) else None


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


class _Reader:
    """What the multipart parser tells, put together."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.ended = False
        self._name, self._value = bytearray(), bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= FIELDS_LIMIT:
            raise Unparseable(f"a form has at most {FIELDS_LIMIT} fields")
        self.parts.append(_Part())

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data.extend(data[start:end])

    def _header(self) -> None:
        self.parts[-1].headers.setdefault(bytes(self._name).lower(), bytes(self._value))
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes) -> list[Item]:
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Unparseable(f"the form cannot be read ({type(error).__name__})") from None
    if not reader.ended:
        raise Unparseable("the form was cut off")
    charset = next((_text(part, "ascii") for part in reader.parts if _named(part, b"name") == b"_charset_"), "")
    return [item for part in reader.parts if (item := _item(part, charset.strip().lower())) is not None]


def _item(part: _Part, charset: str) -> Item | None:
    named, file = _named(part, b"name"), _named(part, b"filename")
    if named is None:
        return None
    name = clean(_decoded(named, "utf-8"))
    if file is None:
        return name, clean(_text(part, charset))
    if not file and not part.data:  # nothing was chosen
        return None
    kind = part.headers.get(b"content-type", b"").decode("latin-1")
    return name, Upload(clean(_decoded(file, "utf-8")), kind, bytes(part.data))


def _named(part: _Part, option: bytes) -> bytes | None:
    disposition = part.headers.get(b"content-disposition", b"").decode("latin-1")
    try:
        found: bytes | None = parse_options_header(disposition)[1].get(option)
    except (ValueError, AssertionError, IndexError):
        return None
    return found


def _text(part: _Part, charset: str) -> str:
    return _decoded(bytes(part.data), charset)


def _decoded(raw: bytes, charset: str) -> str:
    return raw.decode(charset if charset in _CHARSETS else "utf-8", "replace")
