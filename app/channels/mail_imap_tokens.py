"""One answer line of an IMAP server, with its literals, as nested lists of atoms, strings and numbers' texts (RFC 3501)."""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Token: TypeAlias = "bytes | list[Token] | None"

_PIECE = re.compile(rb'\s*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|((?:[^\s()"\[]|\[[^\]]*\])+))')
_DEPTH = 30


class Garbage(ValueError):
    """The server does not speak IMAP."""


def tokens(parts: Sequence[bytes]) -> list[Token]:
    """`parts` are text, literal, text, literal, ... text. Raises Garbage."""
    stack: list[list[Token]] = [[]]
    for number, part in enumerate(parts):
        if number % 2:
            stack[-1].append(part)
            continue
        for kind, value in _pieces(part):
            if kind == "(":
                if len(stack) > _DEPTH:
                    raise Garbage("the server's answer is nested too deep")
                inner: list[Token] = []
                stack[-1].append(inner)
                stack.append(inner)
            elif kind == ")":
                if len(stack) == 1:
                    raise Garbage("the server's answer has a bracket too many")
                stack.pop()
            else:
                stack[-1].append(None if kind == "atom" and value.upper() == b"NIL" else value)
    if len(stack) != 1:
        raise Garbage("the server's answer ends inside a bracket")
    return stack[0]


def _pieces(text: bytes) -> Iterator[tuple[str, bytes]]:
    place, text = 0, text.rstrip()
    while place < len(text):
        found = _PIECE.match(text, place)
        if found is None:
            raise Garbage("the server's answer cannot be read")
        place = found.end()
        if found[1]:
            yield "(", b""
        elif found[2]:
            yield ")", b""
        elif found[3] is not None:
            yield "string", re.sub(rb"\\(.)", rb"\1", found[3])
        else:
            yield "atom", found[4]


def pairs(found: Token) -> dict[bytes, Token]:
    """The list of a FETCH answer by its upper-case names. Raises Garbage."""
    if not isinstance(found, list) or len(found) % 2:
        raise Garbage("the server's FETCH answer cannot be read")
    names = found[::2]
    return {name.upper(): value for name, value in zip(names, found[1::2], strict=True) if isinstance(name, bytes)}


def number(token: Token) -> int:
    """Raises Garbage."""
    if isinstance(token, bytes) and token.isdigit() and len(token) <= 20:
        return int(token)
    raise Garbage("the server's answer has no number where one belongs")


def quoted(text: str) -> bytes:
    """A quoted string. Raises ValueError for what cannot stand in one."""
    if not text.isascii() or re.search(r"[\x00\r\n]", text):
        raise ValueError("this cannot be said in a quoted string")
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def folder_name(name: str) -> bytes:
    """A folder as the wire has it: everything outside printable ASCII in the modified UTF-7 of RFC 3501."""

    def encode(found: re.Match[str]) -> str:
        if found[0] == "&":
            return "&-"
        packed = base64.b64encode(found[0].encode("utf-16-be")).decode().rstrip("=")
        return "&" + packed.replace("/", ",") + "-"

    return quoted(re.sub(r"&|[^\x20-\x7e]+", encode, name))
