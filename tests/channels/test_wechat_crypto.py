"""WeChat's and WeCom's seal: published vectors, and nothing that differs from them by a bit."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.channels import wechat_crypto, wechat_xml
from app.channels.base import Call
from app.errors import NotGenuine
from tests.channels.makers import NOW
from tests.support.wechat import RANDOM, Account, encrypt, seal

ACCOUNT = Account()


def opened(call: Call, account: Account = ACCOUNT) -> bytes:
    return wechat_crypto.opened(
        call, token=SecretStr(account.token), aes_key=SecretStr(account.aes_key), receiver=account.receiver
    )


def vector(fixtures: Path, name: str) -> tuple[dict[str, Any], Account, datetime]:
    found = json.loads((fixtures / name).read_bytes())
    account = Account(
        found["token"], found["encoding_aes_key"], found.get("receive_id", found.get("expect_receive_id"))
    )
    return found, account, datetime.fromtimestamp(int(found["timestamp"]), UTC)


def published(found: dict[str, Any], at: datetime, **changed: str) -> Call:
    query = {name: found[name] for name in ("msg_signature", "timestamp", "nonce")} | changed
    body = f"<xml><Encrypt><![CDATA[{found['encrypt']}]]></Encrypt></xml>"
    return Call("POST", "https://desk.example/hook", query, {}, body.encode(), at)


def test_the_published_push(fixtures: Path) -> None:
    found, account, at = vector(fixtures, "wechat_oa/vectors/vec_easywechat_decrypt.json")
    tree = wechat_xml.read(opened(published(found, at), account))
    assert {name: tree[name] for name in found["expect"]} == found["expect"]
    for wrong in found["negative"]:
        other = Account(account.token, account.aes_key, wrong.pop("receive_id", account.receiver))
        with pytest.raises(NotGenuine):
            opened(published(found, at, **wrong), other)


def test_the_published_reply(fixtures: Path) -> None:
    """Sealing is the tests' own; that it makes the published envelope shows that they seal as WeChat does."""
    found, account, at = vector(fixtures, "wechat_oa/vectors/vec_wechat_encrypt_reply.json")
    sealed = seal(account.aes_key, account.receiver, found["plain"].encode(), found["random16"].encode())
    assert f"<![CDATA[{sealed}]]>" in found["expected_envelope"]
    query = account.query(sealed, at, found["nonce"])
    assert query["msg_signature"] in found["expected_envelope"]
    call = Call("POST", "x", query, {}, found["expected_envelope"].encode(), at)
    assert opened(call, account) == found["plain"].encode()


def test_the_published_url_check(fixtures: Path) -> None:
    found, account, _ = vector(fixtures, "wecom/vectors/vec_wecom_url_verify.json")
    token = SecretStr(account.token)
    wechat_crypto.verify(token, found, "msg_signature", found["echostr"])
    assert wechat_crypto.unseal(SecretStr(account.aes_key), account.receiver, found["echostr"]).isalnum()
    with pytest.raises(NotGenuine):
        wechat_crypto.verify(token, found | found["negative"], "msg_signature", found["echostr"])


def test_the_published_callback_of_wecom(fixtures: Path) -> None:
    found, account, at = vector(fixtures, "wecom/vectors/vec_workwx_sig.json")
    assert opened(published(found, at), account) == found["expect_plain"].encode()


@given(st.binary(max_size=300), st.text(min_size=1, max_size=30))
def test_whatever_is_sealed_is_opened(content: bytes, receiver: str) -> None:
    account = Account(receiver=receiver.encode("utf-8", "replace").decode())
    assert opened(account.push(content, NOW), account) == content


@given(st.data())
def test_one_bit_of_the_body(data: st.DataObject) -> None:
    call = ACCOUNT.push("<xml><MsgType>text</MsgType></xml>", NOW)
    start, end = call.body.index(b"<Encrypt><![CDATA[") + 18, call.body.index(b"]]></Encrypt>")
    at, bit = data.draw(st.integers(start, end - 1)), data.draw(st.integers(0, 7))
    body = bytearray(call.body)
    body[at] ^= 1 << bit
    with pytest.raises(NotGenuine):
        opened(Call(call.method, call.url, call.query, {}, bytes(body), NOW))


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
def test_one_bit_of_the_query(name: str) -> None:
    call = ACCOUNT.push("<xml/>", NOW)
    for at in range(len(call.query[name])):
        value = call.query[name]
        changed = value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
        with pytest.raises(NotGenuine):
            opened(Call("POST", "x", {**call.query, name: changed}, {}, call.body, NOW))
    with pytest.raises(NotGenuine):
        opened(Call("POST", "x", {k: v for k, v in call.query.items() if k != name}, {}, call.body, NOW))


@pytest.mark.parametrize(
    "other",
    [
        Account(token="hooktokeo"),
        Account(aes_key="jWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"),
        Account(receiver="wx49f0ab532d5d035b"),
        Account(token=""),
    ],
)
def test_another_secret(other: Account) -> None:
    with pytest.raises(NotGenuine):
        opened(ACCOUNT.push("<xml/>", NOW), other)
    with pytest.raises(NotGenuine):
        opened(other.push("<xml/>", NOW))


@pytest.mark.parametrize("days", [-4_000, -1, 0, 1])
def test_a_call_is_good_however_old_it_is(days: int) -> None:
    """Neither platform gives a limit; what is heard again is known by its ids."""
    call = ACCOUNT.push("<xml/>", NOW + timedelta(days=days))
    assert opened(Call("POST", "x", call.query, {}, call.body, NOW)) == b"<xml/>"
    with pytest.raises(NotGenuine, match="Unix time"):
        wechat_crypto.verify(
            SecretStr("t"),
            {"signature": wechat_crypto.signature("t", "soon", "n"), "timestamp": "soon", "nonce": "n"},
            "signature",
        )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"Encrypt": 5}',
        b"<xml>",
        b"<xml/>",
        b"\xff\xfe",
        b"<xml><MsgType>text</MsgType><Content>plain mode</Content></xml>",
        b"<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
    ],
)
def test_bodies_without_an_encrypted_part(body: bytes) -> None:
    query = ACCOUNT.query("", NOW)
    with pytest.raises(NotGenuine):
        opened(Call("POST", "x", query, {}, body, NOW))


def test_a_large_body_is_not_even_read() -> None:
    with pytest.raises(NotGenuine, match="too large"):
        opened(ACCOUNT.push(b"x" * 1_000_000, NOW))


@given(st.binary(max_size=100))
def test_signed_garbage_is_refused(garbage: bytes) -> None:
    """Somebody who knows the token, but not the key."""
    for sealed in (garbage.decode("latin-1"), garbage.hex(), "A" * (len(garbage) // 4 * 4)):
        with pytest.raises(NotGenuine):
            wechat_crypto.unseal(SecretStr(ACCOUNT.aes_key), ACCOUNT.receiver, sealed)


@pytest.mark.parametrize(
    "padded",
    [
        RANDOM + b"\0\0\0\1x" + ACCOUNT.receiver.encode() + b"\0" * 8 + b"\x09",
        RANDOM + b"\0\0\0\1x" + ACCOUNT.receiver.encode() + b"\0" * 9,
        RANDOM + b"\0\0\0\xff" + b"\x0c" * 12,
        b"\x20" * 32,
        b"\x0f" * 16,
        b"\x21" * 48,
    ],
)
def test_padding_and_length(padded: bytes) -> None:
    """By somebody who knows the key."""
    with pytest.raises(NotGenuine):
        wechat_crypto.unseal(SecretStr(ACCOUNT.aes_key), ACCOUNT.receiver, encrypt(ACCOUNT.aes_key, padded))


def test_json_envelopes_of_mini_programs() -> None:
    call = ACCOUNT.push(b'{"MsgType":"text"}', NOW)
    sealed = call.body.split(b"CDATA[")[2].split(b"]]")[0].decode()
    body = json.dumps({"ToUserName": "gh_1", "Encrypt": sealed}).encode()
    assert wechat_xml.read(opened(Call("POST", "x", call.query, {}, body, NOW))) == {"MsgType": "text"}


LAUGHS = (
    b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;">]><xml><a>&lol1;</a></xml>"""
)


@pytest.mark.parametrize(
    "raw",
    [
        LAUGHS,
        b'<!DOCTYPE xml SYSTEM "file:///etc/passwd"><xml><a>1</a></xml>',
        b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><a>&x;</a></xml>',
        b'<!DOCTYPE xml [<!ENTITY % x SYSTEM "http://127.0.0.1:9/"> %x;]><xml/>',
        b"<!DOCTYPE xml><xml/>",
        b"<xml><a>&unknown;</a></xml>",
        b"<xml>" + b"<a>" * 50 + b"</a>" * 50 + b"</xml>",
        b"<xml>" + b"<a/>" * 20_000 + b"</xml>",
        b"<a/><b/>",
        b"",
    ],
)
def test_dangerous_xml_is_refused(raw: bytes) -> None:
    with pytest.raises(wechat_xml.BadBody):
        wechat_xml.read(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xef\xbb\xbf\n<xml><a><![CDATA[ x ]]></a></xml>\n", {"a": " x "}),
        (b"<xml><a>1</a><a>2</a><a>3</a></xml>", {"a": ["1", "2", "3"]}),
        (b"<xml><a><b>1</b> </a></xml>", {"a": {"b": "1"}}),
        (b"<xml><a>&lt;&#65;&amp;</a></xml>", {"a": "<A&"}),
        (b"<xml><a>\x03x\x00</a></xml>", {"a": "x"}),
        (b"<xml><a>\xff\xf0\x9f\x98\x80</a></xml>", {"a": "\ufffd😀"}),
        ('<?xml version="1.0" encoding="GBK"?><xml><a>中</a></xml>'.encode(), {"a": "中"}),
        (b"<xml/>", {}),
        (b"<xml>text</xml>", {}),
    ],
)
def test_xml(raw: bytes, expected: dict[str, Any]) -> None:
    assert wechat_xml.read(raw) == expected


@given(st.binary(max_size=200) | st.text(alphabet="<>/xml![]CDATA&;ab \0😀", max_size=200).map(str.encode))
def test_any_body(raw: bytes) -> None:
    try:
        wechat_xml.read(raw)
    except wechat_xml.BadBody:
        return
