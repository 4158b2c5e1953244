"""Any bytes at every adapter's door: verified or refused, read or unparseable, and always storable."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.channels.base import Call, Unparseable
from app.channels.kit import Description
from app.channels.kit.values import NOW, configured, genuine, payloads, read, require_storable
from app.channels.registry import ADAPTERS
from app.errors import NotGenuine
from tests.channels.contract import DESCRIPTIONS

CALLED = [name for name, one in DESCRIPTIONS.items() if one.incoming is not None]
# The vocabulary of the described payloads, so that what is made up looks like something now and then.
TEXT = st.one_of(
    st.text(max_size=30), st.text(alphabet="\0\ud800\udfff\u202e\U0001f468\u200d<>&\"'\r\n%+ ", max_size=12)
)
QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(name for inner in value.values() for name in names_in(inner))}
    if isinstance(value, list):
        return {name for inner in value for name in names_in(inner)}
    return {value} if isinstance(value, str) and len(value) < 30 else set()


def words_of(description: Description) -> list[str]:
    found = {"id", "type"}
    for payload in payloads(description):
        try:
            found |= names_in(json.loads(payload))
        except ValueError:
            found |= {
                part for part in payload.decode(errors="replace").replace("<", ">").split(">") if part.isidentifier()
            }
    return sorted(found)


def trees(words: list[str]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXT,
        st.sampled_from(words),
        st.integers(0, 2**70).map(str),
    )
    names = st.one_of(st.sampled_from(words), TEXT)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=25
    )


def xml(tree: Any, name: str = "xml") -> str:
    if isinstance(tree, dict):
        inner = "".join(xml(value, part) for part, value in tree.items() if part.isidentifier() and part.isascii())
        return f"<{name}>{inner}</{name}>"
    if isinstance(tree, list):
        return "".join(xml(value, name) for value in tree)
    said = str(tree).replace("]]>", "")
    return f"<{name}><![CDATA[{said}]]></{name}>"


def shapes(words: list[str]) -> st.SearchStrategy[bytes]:
    """Random bytes, and random JSON, XML and forms of words that the adapter knows."""
    made = trees(words)
    as_json = made.map(lambda tree: json.dumps(tree).encode())
    as_xml = made.map(lambda tree: xml(tree).encode("utf-8", "surrogatepass"))
    names = st.sampled_from(words)
    pairs = st.lists(st.tuples(names, st.one_of(TEXT, names)), max_size=12)
    as_form = pairs.map(lambda given_: urlencode(given_, errors="surrogatepass").encode())
    return st.one_of(st.binary(max_size=200), as_json, as_xml, as_form)


def grafted(description: Description) -> st.SearchStrategy[bytes]:
    """A described payload with some of its places replaced by anything."""
    known = [tree for payload in payloads(description) if (tree := _tree(payload)) is not None]
    if not known:
        return st.just(b"")
    words = words_of(description)

    def graft(tree: Any, draw: Any) -> Any:
        if draw(st.integers(0, 7)) == 0:
            return draw(trees(words))
        if isinstance(tree, dict):
            return {name: graft(value, draw) for name, value in tree.items() if draw(st.integers(0, 15))}
        return [graft(value, draw) for value in tree] if isinstance(tree, list) else tree

    @st.composite
    def made(draw: Any) -> bytes:
        return json.dumps(graft(draw(st.sampled_from(known)), draw)).encode()

    return made()


def _tree(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None


@pytest.mark.parametrize("name", CALLED)
def test_any_genuine_call(name: str) -> None:
    description = DESCRIPTIONS[name]
    config = configured(description)

    @QUICK
    @given(st.one_of(shapes(words_of(description)), grafted(description)))
    def survives(payload: bytes) -> None:
        try:
            parsed = read(description, payload)
        except (Unparseable, NotGenuine):
            return
        require_storable(parsed, config)
        assert len(repr(parsed)) <= 200_000 + 200 * len(payload), "more came out than went in"
        again = read(description, payload)
        assert [m.external_id for m in parsed.messages] == [m.external_id for m in again.messages]
        assert [c.key for c in parsed.changes] == [c.key for c in again.changes]

    survives()


HEADERS = st.dictionaries(st.sampled_from(("x", "content-type")), TEXT, max_size=2)


@pytest.mark.parametrize("name", [name for name in CALLED if name != "form"])
def test_any_forged_call(name: str) -> None:
    """Whatever stands in the headers that prove something, and whatever the body is: only NotGenuine."""
    description = DESCRIPTIONS[name]
    assert description.incoming is not None
    proof, config = description.incoming.proof, configured(description)
    good = genuine(description, (description.incoming.bells or payloads(description))[0])
    said = st.one_of(TEXT, st.just("1795334400"), st.sampled_from(["v0=", "sha256=", "v1,", "0" * 64, "A" * 43 + "="]))

    @QUICK
    @given(
        st.fixed_dictionaries({}, optional=dict.fromkeys((*proof.headers, "content-type"), said)),
        st.fixed_dictionaries({}, optional=dict.fromkeys(proof.query, said)),
        st.one_of(st.binary(max_size=100), st.just(good.body)),
    )
    def refused(headers: dict[str, str], query: dict[str, str], body: bytes) -> None:
        with pytest.raises(NotGenuine):
            ADAPTERS[description.adapter.type].verify(config, Call("POST", good.url, query, headers, body, NOW))

    refused()


# What mails are made of, so that random ones have parts, charsets, reports and calendars now and then.
LINES = st.sampled_from(
    (
        b"From: Ana <ana@example.org>", b"From: =?utf-8?q?=FF?= <@>", b"To: help@shop.example", b"Subject: =?x?b?//8=?=",
        b"Message-ID: <a@b>", b"References: <a@b> <c@d>", b"Date: Mon, 99 Foo 2026 99:99:99 +9999", b"MIME-Version: 1.0",
        b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/mixed", b"Content-Type: text/html; charset=x",
        b"Content-Type: text/plain; charset=\"\0\"", b"Content-Type: message/rfc822", b"Content-Type: text/calendar",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b", b"Content-Type: message/delivery-status",
        b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"Content-Transfer-Encoding: x",
        b"Content-Disposition: attachment; filename*=x'y'%FF", b"Final-Recipient: rfc822;", b"Status: 5.9.999", b"Action: failed",
        b"Auto-Submitted: auto-replied", b"BEGIN:VCALENDAR", b"--b", b"--b--", b"", b"", b" folded", b"=ZZ=", b"<b><p>x</b>",
        b"\xff\xfe\0", b"> quoted", b"On Monday Ana wrote:",
    )
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=300), st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=25).map(b"\r\n".join)
    )
)
def test_any_mail(raw: bytes) -> None:
    """Every mail is one message, whatever is wrong with it, and the same one again."""
    description = DESCRIPTIONS["email"]
    config = configured(description)
    call = Call("POST", "", {}, {"x-envelope-from": "ana@example.org", "x-envelope-to": "help@shop.example"}, raw, NOW)
    parsed, again = (description.adapter.parse(config, call) for _ in range(2))
    require_storable(parsed, config)
    assert [message.external_id for message in parsed.messages] == [message.external_id for message in again.messages]
