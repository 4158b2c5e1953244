"""Bodies as WeChat writes them: JSON, or XML without all that makes XML dangerous (no DTD, no own entities, no depth)."""

import re
from collections.abc import Mapping
from typing import Any
from xml.parsers import expat

from app.channels.text import JSONDecodeError, clean, loads

_DEPTH_LIMIT = 20
_ELEMENTS_LIMIT = 10_000
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

Tree = Mapping[str, Any]


class BadBody(ValueError):
    """Neither the XML nor the JSON that we read."""


def read(raw: bytes) -> Tree:
    """The fields of a body, whichever of the two formats the account has chosen. Raises BadBody."""
    if not raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return read_xml(raw)
    try:
        found = loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except JSONDecodeError as error:
        raise BadBody(f"not JSON: {error}") from None
    return found if isinstance(found, dict) else {}


def read_xml(raw: bytes) -> Tree:
    """The children of the root: text as `str`, elements with children as dicts; repeated names become lists.

    Raises BadBody. Characters that XML forbids are left out first: people's names have held them.
    """
    text = clean(raw.decode("utf-8-sig", "replace"), len(raw) + 1)
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        # A str is parsed as UTF-8, whatever its declaration says.
        parser.Parse(_FORBIDDEN.sub("", text).strip(), True)
    except expat.ExpatError as error:
        raise BadBody(f"not XML: {error}") from None
    return reader.root if isinstance(reader.root, dict) else {}


def _refuse(*_: object) -> int:
    raise BadBody("a document type or an entity is not read")


class _Reader:
    """The open elements: name, text, children."""

    def __init__(self) -> None:
        self.root: Any = {}
        self._open: list[tuple[str, list[str], dict[str, Any]]] = []
        self._elements = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) >= _DEPTH_LIMIT or self._elements > _ELEMENTS_LIMIT:
            raise BadBody("nested too deeply or too many elements")
        self._open.append((name, [], {}))

    def text(self, data: str) -> None:
        self._open[-1][1].append(data)

    def end(self, _: str) -> None:
        name, texts, children = self._open.pop()
        value: Any = children or "".join(texts)
        if not self._open:
            self.root = value
            return
        siblings = self._open[-1][2]
        if name not in siblings:
            siblings[name] = value
        elif isinstance(siblings[name], list):
            siblings[name].append(value)
        else:
            siblings[name] = [siblings[name], value]
