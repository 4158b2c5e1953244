"""What Meta's channels share: signatures, the handshake, times, configurations, and texts in pieces."""

import hashlib
import hmac
import json
import logging
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from app.channels import meta, meta_graph
from app.channels.base import Adapter, Call, Checking, Fetching, Handshaking, Reply
from app.channels.config import secret_fields, split
from app.channels.instagram import InstagramAdapter
from app.channels.instagram_config import InstagramConfig
from app.channels.messenger import MessengerAdapter
from app.channels.messenger_config import MessengerConfig
from app.channels.split import split_text, utf8, utf16
from app.channels.whatsapp import WhatsAppAdapter
from app.channels.whatsapp_config import WhatsAppConfig
from app.errors import NotGenuine
from tests.channels.makers import NOW, call, flips

SECRET = SecretStr("shhh")
BODY = b'{"object":"page","entry":[],"text":"\\u00e9"}'


def signed(body: bytes, secret: str = "shhh", algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()}"


def genuine(body: bytes, headers: dict[str, str], secret: SecretStr = SECRET) -> bool:
    try:
        meta.verify(secret, call(body, headers))
    except NotGenuine:
        return False
    return True


def test_one_flipped_bit_anywhere_is_refused() -> None:
    header = signed(BODY)
    assert genuine(BODY, {"x-hub-signature-256": header})
    assert not any(genuine(body, {"x-hub-signature-256": header}) for body in flips(BODY))
    for flipped in flips(header.encode()):
        assert not genuine(BODY, {"x-hub-signature-256": flipped.decode("latin-1")})
    for flipped in flips(b"shhh"):
        assert not genuine(BODY, {"x-hub-signature-256": header}, SecretStr(flipped.decode("latin-1")))


def test_the_old_signature_counts_only_without_the_new_one() -> None:
    old, new = signed(BODY, algorithm="sha1"), signed(BODY)
    assert genuine(BODY, {"x-hub-signature": old})
    assert genuine(BODY, {"x-hub-signature": "sha1=0", "x-hub-signature-256": new})
    assert not genuine(BODY, {"x-hub-signature": old, "x-hub-signature-256": "sha256=0"})
    assert not any(genuine(BODY, {"x-hub-signature": flipped.decode("latin-1")}) for flipped in flips(old.encode()))
    for header in ("x-hub-signature", "x-hub-signature-256"):
        assert not genuine(BODY, {header: ""})
    assert not genuine(BODY, {"x-hub-signature": new})
    assert not genuine(BODY, {"x-hub-signature-256": signed(BODY, "", "sha256")}, SecretStr(""))
    assert not genuine(BODY, {})


def test_published_vectors(fixtures: Path) -> None:
    new = json.loads((fixtures / "whatsapp/vectors/vec_xhub256_github_documented.json").read_bytes())
    assert genuine(new["body"].encode(), {"x-hub-signature-256": new["header"]}, SecretStr(new["app_secret"]))
    assert not genuine(b"Hello, World?", {"x-hub-signature-256": new["header"]}, SecretStr(new["app_secret"]))
    old = json.loads((fixtures / "messenger/vectors/vec_xhub_sha1_legacy.json").read_bytes())
    for case in old["cases"]:
        found = genuine(old["body"].encode(), {"x-hub-signature": case["header"]}, SecretStr(old["app_secret"]))
        assert found == case["valid"]


PLAIN = {"app_secret": "shhh", "verify_token": "T", "access_token": "EAAtokentokentoken"}
WHATSAPP = WhatsAppConfig.model_validate({**PLAIN, "phone_number_id": "111"})
MESSENGER = MessengerConfig.model_validate({**PLAIN, "account_id": "222"})
INSTAGRAM = InstagramConfig.model_validate({**PLAIN, "account_id": "333"})
CHANNELS: list[tuple[Adapter, Any]] = [
    (WhatsAppAdapter(), WHATSAPP),
    (MessengerAdapter(), MESSENGER),
    (InstagramAdapter(), INSTAGRAM),
]


@pytest.mark.parametrize(("adapter", "config"), CHANNELS)
def test_each_channel_checks_the_signature(adapter: Any, config: Any) -> None:
    adapter.verify(config, call(BODY, {"x-hub-signature-256": signed(BODY)}))
    with pytest.raises(NotGenuine):
        adapter.verify(config, call(BODY + b" ", {"x-hub-signature-256": signed(BODY)}))


def knock(adapter: Any, config: Any, **query: str) -> bytes:
    given = {"hub.mode": "subscribe", "hub.verify_token": "T", "hub.challenge": "1158201444"}
    for name, value in query.items():
        given[f"hub.{name}"] = value
    reply: Reply = adapter.handshake(config, Call("GET", "https://x.example/", given, {}, b"", NOW))
    assert (reply.status, reply.media_type) == (200, "text/plain; charset=utf-8")
    return reply.body


@pytest.mark.parametrize(("adapter", "config"), CHANNELS)
def test_handshake(adapter: Any, config: Any) -> None:
    assert isinstance(adapter, Handshaking)
    assert isinstance(adapter, Fetching)
    assert isinstance(adapter, Checking)
    assert knock(adapter, config) == b"1158201444"
    for wrong in ({"mode": "unsubscribe"}, {"verify_token": "t"}, {"verify_token": ""}, {"challenge": ""}):
        with pytest.raises(NotGenuine):
            knock(adapter, config, **wrong)
    with pytest.raises(NotGenuine):
        adapter.handshake(config, Call("GET", "https://x.example/", {}, {}, b"", NOW))


ODD_TIMES: list[Any] = [None, True, 0, -1, "", "soon", "٣", 10**30, "9" * 400, float("inf"), float("nan"), []]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (1795334400000, NOW),
        (1795334400, NOW),
        ("1795334400", NOW),
        ("1795334400000", NOW),
        (1795334400.0, NOW),
        ("2026-11-22T08:00:00+0000", NOW),
        ("2026-11-22T09:00:00+01:00", NOW),
        ("2026-11-22T08:00:00", NOW),
        (999_999_999_999, datetime(2001, 9, 9, 1, 46, 39, 999_000, tzinfo=UTC)),
        (99_999_999_999, datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
        *[(odd, None) for odd in ODD_TIMES],
    ],
)
def test_times(given_: Any, expected: datetime | None) -> None:
    assert meta.moment(given_) == expected


@pytest.mark.parametrize("config", [WHATSAPP, MESSENGER, INSTAGRAM])
def test_a_configuration_survives_being_stored(config: Any) -> None:
    public, secrets = split(config)
    assert set(secrets) == {"app_secret", "verify_token", "access_token"} == secret_fields(type(config))
    assert type(config).model_validate({**public, **secrets}) == config
    assert "shhh" not in repr(config)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"app_secret": ""}, "app_secret"),
        ({"verify_token": ""}, "verify_token"),
        ({"access_token": "a b"}, "access_token"),
        ({"access_token": "a\nx: y"}, "access_token"),
        ({"access_token": ""}, "access_token"),
        ({"phone_number_id": "1/2"}, "phone_number_id"),
        ({"phone_number_id": ".."}, "phone_number_id"),
        ({"phone_number_id": ""}, "phone_number_id"),
        ({"api_version": "24"}, "api_version"),
        ({"api_version": "v1.0/../.."}, "api_version"),
        ({"api_base": "graph.facebook.com"}, "api_base"),
        ({"color": "red"}, "color"),
    ],
)
def test_bad_configurations(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        WhatsAppConfig.model_validate({**PLAIN, "phone_number_id": "111", **changed})
    assert [problem["loc"][0] for problem in error.value.errors()] == [field]
    assert "shhh" not in str(error.value)


def test_an_instagram_account_behind_a_page_is_reached_through_facebook() -> None:
    assert INSTAGRAM.api_base == "https://graph.instagram.com"
    paged = InstagramConfig.model_validate({**PLAIN, "account_id": "3", "page_id": "4"})
    assert paged.api_base == "https://graph.facebook.com"
    given = InstagramConfig.model_validate({**PLAIN, "account_id": "3", "page_id": "4", "api_base": "http://x.example"})
    assert given.api_base == "http://x.example"


PIECES = [
    "a",
    "b ",
    "\n",
    "\n\n",
    "é",
    "e\u0301",
    "中",
    "。",
    "😀",
    "👩‍👩‍👧",
    "👍🏽",
    "🇩🇪",
    "❤️",
    "각",
    "\u1100\u1161\u11a8",
    "\r\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=80), st.integers(60, 90), st.sampled_from([utf8, utf16]))
def test_pieces_fit_lose_nothing_and_cut_no_character(given_: list[str], limit: int, width: Any) -> None:
    text = "".join(given_)
    parts = split_text(text, limit, width)
    assert all(0 < sum(map(width, part)) <= limit for part in parts)
    assert "".join("".join(part.split()) for part in parts) == "".join(text.split())
    for part in parts[1:]:
        first = part[0]
        assert unicodedata.category(first) not in ("Mn", "Me", "Mc")
        assert first not in "\u200d\U0001f3fd\u1161\u11a8"
    for part in parts:
        assert not part.endswith("\u200d")
        assert sum("\U0001f1e6" <= char <= "\U0001f1ff" for char in part) % 2 == 0


@given(st.text(max_size=300), st.integers(4, 40), st.sampled_from([utf8, utf16]))
def test_any_text_is_cut(text: str, limit: int, width: Any) -> None:
    parts = split_text(text, limit, width)
    assert all(0 < sum(map(width, part)) <= limit for part in parts)
    assert "".join("".join(part.split()) for part in parts) == "".join(text.split())


def test_a_text_is_cut_where_a_reader_would() -> None:
    assert split_text("one two three\n\nfour five", 16, utf16) == ["one two three", "four five"]
    assert split_text("一二三。四五六。七八", 8, utf16) == ["一二三。四五六。", "七八"]
    assert split_text("a" * 10, 4, utf16) == ["aaaa", "aaaa", "aa"]
    assert split_text("  ", 4, utf16) == []
    assert split_text("🇩🇪🇫🇷🇬🇧", 6, utf16) == ["🇩🇪", "🇫🇷", "🇬🇧"]
    assert split_text("👩‍👩‍👧👩‍👩‍👧", 12, utf16) == ["👩‍👩‍👧", "👩‍👩‍👧"]
    assert [len(part.encode()) for part in split_text("中" * 1000, 1000, utf8)] == [999, 999, 999, 3]
    zalgo = split_text("e" + "\u0301" * 500, 100, utf16)
    assert "".join(zalgo) == "e" + "\u0301" * 500


def test_signed_links_and_tokens_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="httpx"):
        logging.getLogger("httpx").info(
            'HTTP Request: %s %s "%s"', "GET", "https://a.fbcdn.net/v/x.jpg?oh=SIGNED&oe=2", "OK"
        )
    assert "SIGNED" not in caplog.text
    assert "https://a.fbcdn.net/v/x.jpg?<signed>" in caplog.text
    graph = meta_graph.graph("https://x.example", "v1.0", SecretStr("mytoken"), meta_graph.Codes({}, {}))
    assert graph.hide("Malformed access token mytoken, EAAGm0PX4ZCpsBA") == "Malformed access token <token>, <token>"
