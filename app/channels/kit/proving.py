"""Checks of `verify`: what is genuine passes, and nothing else does, whatever it looks like."""

import string
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from app.channels.base import Call, Parsed, Unparseable
from app.channels.kit.description import Description
from app.channels.kit.mutate import GARBAGE
from app.channels.kit.values import BASE, NOW, Skipped, calls, configured, genuine, incoming
from app.errors import NotGenuine

_BITS = 600
_GARBLED = (
    "", " ", "\0", "0", "-1", "é", "\ud800", "None", "nan", "1e9", "9" * 400, "١٢٣", "=?utf-8?q?x?=", "x" * 100_000,
    "sha256=", "v0=", "v1,", "Bearer x", "\r\nx: y", "{}", "[]",
)  # fmt: skip


def _payload(description: Description) -> bytes:
    return calls(description)[0]


def accepted(description: Description, call: Call, config: Any = None) -> bool:
    """Whether `verify` takes the call. Any exception but NotGenuine is a failed check."""
    try:
        description.adapter.verify(config or configured(description), call)
    except NotGenuine:
        return False
    except Exception as error:
        raise AssertionError(f"verify raised {error!r}; the only refusal is NotGenuine") from error
    return True


def _same(description: Description, one: Call, other: Call) -> bool:
    """A change that means nothing (the case of a percent escape) may pass."""
    return _meaning(description, one) == _meaning(description, other)


def _meaning(description: Description, call: Call) -> Parsed | None:
    try:
        return description.adapter.parse(configured(description), call)
    except Unparseable:
        return None


def genuine_calls_pass(description: Description) -> None:
    for payload in calls(description):
        assert accepted(description, genuine(description, payload)), f"a genuine call is refused: {payload[:200]!r}"


def flipped_body_bits_are_refused(description: Description) -> None:
    if not incoming(description).proof.body:
        raise Skipped("the proof does not cover the body")
    for payload in {calls(description)[0], calls(description)[-1]}:
        call = genuine(description, payload)
        for body in _flipped(call.body):
            changed = replace(call, body=body)
            passes = accepted(description, changed) and not _same(description, call, changed)
            assert not passes, f"one bit of the body was flipped and nobody noticed: {body[:200]!r}"


def flipped_url_bits_are_refused(description: Description) -> None:
    if not incoming(description).proof.url:
        raise Skipped("the proof does not cover the address")
    call = genuine(description, _payload(description))
    own = len(urlunsplit((*urlsplit(call.url)[:2], "", "", "")))  # scheme and host are our own settings
    for rest in _flipped(call.url[own:].encode()):
        changed = replace(call, url=call.url[:own] + rest.decode("latin-1"))
        assert not accepted(description, changed), f"one bit of the address was flipped: {changed.url!r}"


def _flipped(data: bytes) -> Iterator[bytes]:
    step = max(len(data) * 8 // _BITS, 1)
    step += 1 if step > 1 and step % 2 == 0 else 0  # an odd step meets every place within a byte
    for bit in range(0, len(data) * 8, step):
        yield data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _places(description: Description) -> Iterator[tuple[str, str]]:
    proof = incoming(description).proof
    yield from (("headers", name) for name in proof.headers)
    yield from (("query", name) for name in proof.query)


def _with(call: Call, place: tuple[str, str], value: str | None) -> Call:
    where, name = place
    kept = {other: given for other, given in getattr(call, where).items() if other != name}
    given = kept if value is None else {**kept, name: value}
    return replace(call, headers=given) if where == "headers" else replace(call, query=given)


def flipped_headers_are_refused(description: Description) -> None:
    """One bit of each value that proves something: the signature, the time, the id."""
    call = genuine(description, _payload(description))
    for place in _places(description):
        value = getattr(call, place[0])[place[1]]
        for data in _flipped(value.encode("latin-1")):
            changed = _with(call, place, data.decode("latin-1"))
            assert not accepted(description, changed), f"one bit of {place[1]} was flipped and nobody noticed"


def missing_and_garbled_headers_are_refused(description: Description) -> None:
    call = genuine(description, _payload(description))
    for place in _places(description):
        value = getattr(call, place[0])[place[1]]
        assert not accepted(description, _with(call, place, None)), f"a call without {place[1]} is taken"
        twice = (f"{value}, {value}", f"{value},{value}", value + value, f"{value}\0")
        for garbled in (*_GARBLED, *twice):
            taken = accepted(description, _with(call, place, garbled))
            # A list of signatures may hold the right one and be read up to there; of anything else there is one.
            listed = garbled in twice and "signature" in place[1]
            assert not taken or listed, f"{place[1]} = {garbled[:40]!r} is taken for genuine"
    bare = replace(call, headers={}, query={})
    assert not accepted(description, bare), "a call that proves nothing is taken"


def other_secrets_are_refused(description: Description) -> None:
    call, given = genuine(description, _payload(description)), description.config(BASE)
    for name in incoming(description).proof.secrets:
        secret = str(given[name])
        for at in (len(secret) // 3, len(secret) // 2):
            other = (
                string.ascii_letters[(string.ascii_letters.index(secret[at]) + 1) % 52] if secret[at].isalpha() else "q"
            )
            config = configured(description, **{name: secret[:at] + other + secret[at + 1 :]})
            assert not accepted(description, call, config), f"a call is genuine whatever {name} is"


def old_and_early_calls_are_refused(description: Description) -> None:
    window_s = incoming(description).proof.window_s
    if window_s is None:
        raise Skipped("the provider signs no time")
    payload = _payload(description)
    for off_s in (-window_s - 60, window_s + 60):
        late = replace(genuine(description, payload), received_at=NOW + timedelta(seconds=off_s))
        assert not accepted(description, late), f"a call that is {off_s:.0f} s off is taken"
    for off_s in (-window_s / 2, window_s / 2):
        near = replace(genuine(description, payload), received_at=NOW + timedelta(seconds=off_s))
        assert accepted(description, near), f"a call that is {off_s:.0f} s off is refused"


def garbage_is_refused_or_read(description: Description) -> None:
    """Unsigned bytes of any kind: NotGenuine, and no other exception."""
    covered = incoming(description).proof.body
    call = genuine(description, _payload(description))
    for body in GARBAGE:
        passes = accepted(description, replace(call, body=body))
        assert not passes or not covered, f"somebody else's signature fits {body[:60]!r}"
        assert not accepted(description, replace(call, headers={}, query={}, body=body))
