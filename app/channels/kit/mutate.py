"""Payloads taken apart: every leaf becomes something else, every field goes missing, and what never was a payload."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

_HUGE = "x" * 5000
LEAVES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "\1infinite",
    "",
    " ",
    "0",
    "-1",
    "9" * 40,
    "\0",
    "a\0b",
    "\ud800",
    "\U0001f468\u200d\U0001f469",
    _HUGE,
    [],
    [None],
    [[]],
    ["x"],
    {},
    {"id": {}},
)
_STRINGS = tuple(leaf for leaf in LEAVES if isinstance(leaf, str) and leaf.isprintable() | ("\0" in leaf))
GARBAGE: tuple[bytes, ...] = (
    b"",
    b"\0",
    b" ",
    b"null",
    b"true",
    b"0",
    b"[]",
    b"{}",
    b'""',
    b"[[]]",
    b"[null]",
    b"{",
    b'{"a"',
    b'{"a":1}garbage',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b'{"a": "\\ud800"}',
    b'{"a": NaN, "b": 1e999, "c": -0}',
    b'{"a":' + b"9" * 5000 + b"}",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"<" * 10_000,
    b"<xml>" * 5000,
    b"<xml/>",
    b"<xml><MsgType/></xml>",
    b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;&b;">]><a>&d;</a>',
    b'<?xml version="1.0" encoding="utf-16"?><a/>',
    b"a=b",
    b"=&=&=",
    b"&" * 5000,
    b"a=%ff%00%ud8&a=%",
    b"a=b&" * 3000,
    b"payload=",
    b"payload=%7B",
    b"payload=[]",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n",
)


def mutations(payload: bytes, *, most: int, seed: int = 0) -> Iterator[bytes]:
    """At most `most` variants of one payload, always the same ones; JSON, XML and forms are told apart by their look."""
    found = list(_variants(payload))
    if len(found) > most:
        found = random.Random(seed).sample(found, most)
    yield from found


def _variants(payload: bytes) -> Iterator[bytes]:
    yield from _bytes(payload)
    start = payload.lstrip()[:1]
    if start in (b"{", b"["):
        yield from (_json(tree) for tree in _trees(json.loads(payload)))
    elif start == b"<":
        yield from _xml(payload)
    elif b"=" in payload:
        yield from _form(payload)


def _bytes(payload: bytes) -> Iterator[bytes]:
    for at in range(0, len(payload), max(len(payload) // 20, 1)):
        yield payload[:at]
        yield payload[:at] + payload[at + 1 :]
        yield payload[:at] + b"\0" + payload[at:]
        yield payload[:at] + bytes([payload[at] ^ 0x80]) + payload[at + 1 :]
    yield payload + payload


def _json(tree: Any) -> bytes:
    """Half a surrogate pair goes out as an escape, as the world writes it; a number may be too large to be one."""
    return json.dumps(tree).replace('"\\u0001infinite"', "1e999").encode()


def _trees(tree: Any) -> Iterator[Any]:
    """The tree with one place changed, for every place and every change."""
    yield from LEAVES
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield {other: tree[other] for other in tree if other != name}
            yield {("\0" + other if other == name else other): tree[other] for other in tree}
            yield from ({**tree, name: changed} for changed in _trees(value))
        yield {**tree, "nobody-knows-this": {"a": [1]}}
    elif isinstance(tree, list):
        yield tree * 3
        for place, value in enumerate(tree):
            yield tree[:place] + tree[place + 1 :]
            yield from ([*tree[:place], changed, *tree[place + 1 :]] for changed in _trees(value))


def _xml(payload: bytes) -> Iterator[bytes]:
    """Each element without children: emptied, changed, renamed, gone, there twice."""
    for found in re.finditer(rb"<(\w+)>((?:<!\[CDATA\[.*?\]\]>|[^<]*))</\1>", payload, re.DOTALL):
        before, name, after = payload[: found.start()], found[1], payload[found.end() :]
        yield before + after
        yield before + found[0] * 2 + after
        yield before + found[0].replace(name, b"Nobody") + after
        for value in _STRINGS:
            yield before + b"<" + name + b"><![CDATA[" + value.encode() + b"]]></" + name + b">" + after
        yield before + b"<" + name + b"><a><b>1</b></a></" + name + b">" + after


def _form(payload: bytes) -> Iterator[bytes]:
    pairs = parse_qsl(payload.decode("utf-8", "replace"), keep_blank_values=True)
    for place, (name, _) in enumerate(pairs):
        yield urlencode(pairs[:place] + pairs[place + 1 :]).encode()
        yield urlencode([*pairs, pairs[place]]).encode()
        for value in _STRINGS:
            yield urlencode([*pairs[:place], (name, value), *pairs[place + 1 :]]).encode()
        yield urlencode(pairs).encode() + b"&" + name.encode() + b"=%FF%ED%A0%80"
