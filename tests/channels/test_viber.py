"""Viber: real calls in, and what goes to its REST API and comes back."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.channels.base import (
    Answering,
    Call,
    Checking,
    Fetching,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    Profile,
    Profiling,
    Refusal,
    RefusalReason,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    StatusUpdate,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.viber import ViberAdapter
from app.channels.viber_config import ViberConfig
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, call, flips, outgoing
from tests.support.viber import ViberServer, refusal, sign

TOKEN = "44dafb7e0f40021e-61a47a1e6778d187"
ADAPTER = ViberAdapter()
STAMP, BIG = 1457764197627, 4912661846655238145
AT = datetime.fromtimestamp(STAMP / 1000, UTC)
ANA = Sender(kind="viber", value="xy5/5y6O81+=", name="Ana", address={"receiver": "xy5/5y6O81+="})
PERSON = {"id": "xy5/5y6O81+=", "name": "Ana"}


def config(**more: Any) -> ViberConfig:
    return ViberConfig.model_validate({"auth_token": TOKEN, **more})


CONFIG = config()


def parse(event: Any) -> Parsed:
    return ADAPTER.parse(CONFIG, call(json.dumps(event).encode()))


def said(**message: Any) -> InboundMessage:
    event = {"event": "message", "timestamp": STAMP, "message_token": BIG, "sender": PERSON, "message": message}
    parsed = parse(event)
    assert (parsed.errors, parsed.ignored) == ((), ())
    (found,) = parsed.messages
    return found


def test_what_it_can() -> None:
    for protocol in (Answering, Fetching, Checking, Profiling):
        assert isinstance(ADAPTER, protocol)
    assert not ADAPTER.capabilities.idempotent_send
    with pytest.raises(ValidationError):
        config(sender_name="x" * 29)


# --- verify ---------------------------------------------------------------------------------------------------------


def genuine(given_: Call, token: str = TOKEN) -> bool:
    try:
        ADAPTER.verify(ViberConfig.model_validate({"auth_token": token}), given_)
    except NotGenuine:
        return False
    return True


def test_published_vector(fixtures: Path) -> None:
    vector = json.loads((fixtures / "viber/vectors/vec_viber_content_signature.json").read_text())
    given_ = call(vector["body"].encode(), {"x-viber-content-signature": vector["header"]})
    assert genuine(given_, vector["auth_token"])
    assert not genuine(given_, vector["auth_token"][:-1] + "4")
    assert ADAPTER.parse(CONFIG, given_).ignored == ("webhook",)


def test_every_flipped_bit_is_refused() -> None:
    body = b'{"event":"webhook","timestamp":1}'
    headers = sign(TOKEN, body)
    assert genuine(call(body, headers))
    assert not any(genuine(call(flipped, headers)) for flipped in flips(body))
    mac = headers["x-viber-content-signature"]
    for place in range(len(mac)):
        wrong = mac[:place] + ("0" if mac[place] != "0" else "1") + mac[place + 1 :]
        assert not genuine(call(body, {"x-viber-content-signature": wrong}))
    for odd in ("", "\ud800", "ü", mac.upper() + "0"):
        assert not genuine(call(body, {"x-viber-content-signature": odd}))
    assert not genuine(call(body))


# --- parse ----------------------------------------------------------------------------------------------------------


def test_text() -> None:
    message = said(type="text", text="hello\0 😀", tracking_data="3055")
    assert message == InboundMessage(
        external_id="4912661846655238145",
        sender=ANA,
        text="hello 😀",
        sent_at=AT,
        content={"tracking_data": "3055"},
    )


@pytest.mark.parametrize("token", [BIG, str(BIG), 2**63 - 1])
def test_tokens_keep_every_digit(token: int | str) -> None:
    event = {"event": "seen", "timestamp": STAMP, "message_token": token, "user_id": "u="}
    (status,) = parse(event).statuses
    assert status.provider_message_id == str(token)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"type": "url", "media": "http://foo.com/"}, "http://foo.com/"),
        ({"type": "url", "media": "http://foo.com/", "text": "look"}, "look\nhttp://foo.com/"),
        ({"type": "contact", "contact": {"name": "Li", "phone_number": "+36123"}}, "Li (+36123)"),
        ({"type": "contact"}, "[contact]"),
        ({"type": "location", "location": {"lat": 47.5, "lon": 19.04, "address": "Fő tér"}}, "Fő tér\n📍 47.5, 19.04"),
        ({"type": "location"}, "[location]"),
        ({"type": "sticker", "sticker_id": 40133}, "[sticker]"),
        ({"type": "rich_media", "rich_media": {}}, "[rich_media]"),
    ],
)
def test_kinds_without_words(message: dict[str, Any], text: str) -> None:
    assert said(**message).text == text


@pytest.mark.parametrize(
    ("kind", "media_type", "name"),
    [
        ("picture", "image/jpeg", "picture.jpg"),
        ("video", "video/mp4", "video.mp4"),
        ("file", "application/octet-stream", "file"),
    ],
)
def test_files(kind: str, media_type: str, name: str) -> None:
    message = said(type=kind, media="https://dl-media.viber.com/5/x.jpg?sig=1", text="see", size=12)
    ref = {"url": "https://dl-media.viber.com/5/x.jpg?sig=1"}
    assert message.files == (RemoteFile(name, media_type, 12, ref),)
    assert message.text == "see"


def test_a_file_keeps_its_own_name() -> None:
    (file,) = said(type="file", media="https://dl.viber.com/x", file_name="../../bill.pdf", size=-1).files
    assert isinstance(file, RemoteFile)
    assert (file.name, file.size) == ("bill.pdf", None)


def test_our_tracking_data_proves_that_ours_arrived() -> None:
    message = {"type": "text", "text": "thanks", "tracking_data": f"roundtrip:{MESSAGE_ID}"}
    event = {"event": "message", "timestamp": STAMP, "message_token": BIG, "sender": PERSON, "message": message}
    parsed = parse(event)
    assert parsed.statuses == (StatusUpdate("", "delivered", at=AT, our_id=str(MESSAGE_ID)),)
    assert parsed.messages[0].content == {}
    message["tracking_data"] = "roundtrip:nobody's"
    assert parse(event).statuses == ()


@pytest.mark.parametrize(("event", "status"), [("delivered", "delivered"), ("seen", "read"), ("failed", "failed")])
def test_statuses(event: str, status: str) -> None:
    body = {"event": event, "timestamp": STAMP, "message_token": BIG, "user_id": "u="}
    if event == "failed":
        body["desc"] = "failure description"
    (found,) = parse(body).statuses
    assert (found.provider_message_id, found.status, found.at) == (str(BIG), status, AT)
    assert found.recipient == Sender(kind="viber", value="u=", address={"receiver": "u="})
    assert found.failure is (SendFailure.PERMANENT if event == "failed" else None)
    assert found.detail == body.get("desc")


def test_who_left_is_a_refused_recipient() -> None:
    body = {"event": "failed", "timestamp": 1, "message_token": 1, "user_id": "u=", "desc": "User not subscribed"}
    assert parse(body).statuses[0].failure is SendFailure.RECIPIENT
    assert parse({"event": "failed", "user_id": "u="}).errors == ("failed: message_token: missing",)


def test_subscriptions() -> None:
    on = parse({"event": "unsubscribed", "timestamp": STAMP, "user_id": "u=", "message_token": BIG})
    (refused,) = on.refusals
    assert isinstance(refused, Refusal)
    assert (refused.on, refused.reason, refused.sender.value, refused.at) == (True, RefusalReason.BLOCKED, "u=", AT)
    again = parse({"event": "unsubscribed", "timestamp": STAMP, "user_id": "u=", "message_token": BIG})
    assert again.refusals[0].key == refused.key
    off = parse({"event": "subscribed", "timestamp": STAMP, "user": {"id": "u=", "name": "Li", "language": "hu"}})
    (back,) = off.refusals
    assert (back.on, back.sender.name, back.sender.language) == (False, "Li", "hu")
    assert back.key != refused.key


@pytest.mark.parametrize(
    ("event", "ignored"),
    [
        ({"event": "conversation_started", "user": PERSON, "type": "open"}, "conversation_started"),
        ({"event": "webhook"}, "webhook"),
        ({"event": "action"}, "action"),
        ({}, "without an event"),
        ({"event": "message", "sender": PERSON, "message": {"type": "text"}}, "message text without content"),
        ({"event": "message", "sender": PERSON, "message": {"type": "picture"}}, "message picture without content"),
    ],
)
def test_what_is_not_acted_on_is_named(event: dict[str, Any], ignored: str) -> None:
    assert parse(event) == Parsed(ignored=(ignored,))


@pytest.mark.parametrize(
    "event",
    [
        {"event": "message", "message": {"type": "text", "text": "x"}},
        {"event": "message", "sender": PERSON},
        {"event": "unsubscribed"},
        {"event": "subscribed", "user": 3},
    ],
)
def test_what_cannot_be_read(event: dict[str, Any]) -> None:
    parsed = parse(event)
    assert len(parsed.errors) == 1
    assert not parsed.messages
    assert not parsed.refusals


def test_a_body_that_is_no_object() -> None:
    for body in (b"invalid", b"[]", b""):
        with pytest.raises(Unparseable):
            ADAPTER.parse(CONFIG, call(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from(["message", "delivered", "failed", "seen", "subscribed", "unsubscribed", "x"]),
    st.dictionaries(st.sampled_from(["sender", "user", "user_id", "message", "message_token", "timestamp"]), JSON),
    st.dictionaries(st.sampled_from(["type", "text", "media", "contact", "location", "tracking_data", "size"]), JSON),
)
def test_no_call_breaks_it(event: str, body: dict[str, Any], message: dict[str, Any]) -> None:
    for kind in ("text", "picture", "contact", "location"):
        given_ = {"sender": PERSON, "message": {**message, "type": kind}, **body, "event": event}
        with contextlib.suppress(Unparseable):
            ADAPTER.parse(CONFIG, call(json.dumps(given_).encode()))


def test_every_fixture(fixtures: Path) -> None:
    kinds: dict[str, str] = {}
    for path in sorted((fixtures / "viber/inbound").glob("*.json")):
        if ".expected." in path.name:
            continue
        body, name = path.read_bytes(), path.name.removesuffix(".json")
        try:
            parsed = ADAPTER.parse(CONFIG, call(body))
        except Unparseable:
            kinds[name] = "unparseable"
            continue
        assert parsed.errors == ()
        kinds[name] = next(what for what in ("messages", "statuses", "refusals", "ignored") if getattr(parsed, what))
        expected = path.with_suffix(".expected.json")
        for case in json.loads(expected.read_text()) if expected.exists() else ():
            if "external_id" not in case:
                continue
            (message,) = parsed.messages
            assert message.external_id == case["external_id"]
            assert f"viber:{message.sender.value}" == case["urn"]
            assert case["text"] in message.text or message.text == "incoming msg\nhttp://foo.com/"
    assert kinds["courier_invalidJSON"] == "unparseable"
    assert {name for name, what in kinds.items() if what == "ignored"} == {
        "courier_rejectedMessage",
        "courier_rejectedPicture",
        "courier_rejectedVideo",
        "viberpy_conversation_started_request_1",
        "viberpy_conversation_started_request_2",
    }


# --- answer ---------------------------------------------------------------------------------------------------------


def test_only_an_opened_chat_is_welcomed_and_only_if_wanted() -> None:
    opened = call(json.dumps({"event": "conversation_started", "user": PERSON}).encode())
    written = call(json.dumps({"event": "delivered", "message_token": 1}).encode())
    greeting = config(welcome="Üdv!", sender_name="Shop", sender_avatar="https://shop.example/a.png")
    answer = ADAPTER.answer(greeting, opened, ADAPTER.parse(greeting, opened))
    assert orjson.loads(answer.body) == {
        "sender": {"name": "Shop", "avatar": "https://shop.example/a.png"},
        "type": "text",
        "text": "Üdv!",
    }
    assert answer.media_type == "application/json"
    assert ADAPTER.answer(greeting, written, ADAPTER.parse(greeting, written)).body == b""
    assert ADAPTER.answer(CONFIG, opened, ADAPTER.parse(CONFIG, opened)).body == b""


# --- send -----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[ViberServer, ViberConfig, httpx.AsyncClient]]:
    async with ViberServer(TOKEN) as server, httpx.AsyncClient() as http:
        yield server, config(api_base=server.base), http


def to_ana(**changed: Any) -> Outgoing:
    return outgoing(**{"address": {"receiver": "xy5/5y6O81+="}, **changed})


AROUND = {
    "receiver": "xy5/5y6O81+=",
    "min_api_version": 1,
    "sender": {"name": "Support"},
    "tracking_data": f"roundtrip:{MESSAGE_ID}",
}


async def test_sending_a_text() -> None:
    async with serving() as (server, good, http):
        sent = await ADAPTER.send(good, to_ana(text="Szia 😀"), http)
        assert server.sent == [{**AROUND, "type": "text", "text": "Szia 😀"}]
        assert "Szia 😀".encode() in server.raw[0]
        assert sent.provider_message_id == str(server.token_of(1)) == "5741311803571721001"


async def test_long_texts_are_split() -> None:
    async with serving() as (server, good, http):
        sent = await ADAPTER.send(good, to_ana(text="中" * 7000 + "。" + "b" * 10), http)
        assert [len(item["text"]) for item in server.sent] == [7000, 11]
        assert sent.provider_message_id == str(server.token_of(2))
        with pytest.raises(SendError, match="more than 20 messages"):
            await ADAPTER.send(good, to_ana(text="a" * 7000 * 21), http)


FILES = [
    OutboundFile("a.png", "image/png", b"p" * 10, "https://desk.example/files/a"),
    OutboundFile("b.mp4", "video/mp4", b"v" * 20, "https://desk.example/files/b"),
    OutboundFile("c.pdf", "application/pdf", b"f" * 30, "https://desk.example/files/c"),
    OutboundFile("big.jpg", "image/jpeg", b"p" * 1_000_001, "https://desk.example/files/d"),
]


async def test_files_go_by_their_links() -> None:
    async with serving() as (server, good, http):
        await ADAPTER.send(good, to_ana(text="See:", files=FILES), http)
        assert [{name: value for name, value in item.items() if name not in AROUND} for item in server.sent] == [
            {"type": "picture", "text": "See:", "media": "https://desk.example/files/a"},
            {"type": "video", "media": "https://desk.example/files/b", "size": 20},
            {"type": "file", "media": "https://desk.example/files/c", "size": 30, "file_name": "c.pdf"},
            {"type": "file", "media": "https://desk.example/files/d", "size": 1_000_001, "file_name": "big.jpg"},
        ]
        server.sent.clear()
        await ADAPTER.send(good, to_ana(text="x" * 600, files=FILES[:1]), http)
        assert [item["type"] for item in server.sent] == ["text", "picture"]


async def test_a_file_without_a_link_is_refused_before_anything_goes_out() -> None:
    async with serving() as (server, good, http):
        with pytest.raises(SendError, match="no public address") as caught:
            await ADAPTER.send(good, to_ana(files=[OutboundFile("a.png", "image/png", b"p")]), http)
        assert caught.value.failure is SendFailure.PERMANENT
        assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "failure", "wait"),
    [
        (refusal(2, f"invalidAuthToken {TOKEN}"), SendFailure.REAUTH, None),
        (refusal(3), SendFailure.PERMANENT, None),
        (refusal(4), SendFailure.PERMANENT, None),
        (refusal(5), SendFailure.RECIPIENT, None),
        (refusal(6), SendFailure.RECIPIENT, None),
        (refusal(7), SendFailure.CONFIG, None),
        (refusal(8), SendFailure.CONFIG, None),
        (refusal(9), SendFailure.CONFIG, None),
        (refusal(11), SendFailure.RECIPIENT, None),
        (refusal(12), SendFailure.RETRY, None),
        (refusal(12, retry_after="7"), SendFailure.RETRY, 7.0),
        (refusal(23), SendFailure.QUOTA, None),
        (refusal(24), SendFailure.CONFIG, None),
        (refusal(99), SendFailure.RETRY, None),
        (refusal(12345), SendFailure.PERMANENT, None),
        ((429, {"retry-after": "3"}, b"slow down"), SendFailure.RETRY, 3.0),
        ((503, {}, b"<html>"), SendFailure.RETRY, None),
        ((401, {}, b""), SendFailure.REAUTH, None),
        ((302, {"location": "https://x.example"}, b""), SendFailure.CONFIG, None),
        ((404, {}, b""), SendFailure.CONFIG, None),
        ((400, {}, b""), SendFailure.PERMANENT, None),
        ((200, {}, b"<html>login"), SendFailure.UNKNOWN, None),
        ((200, {}, b'{"status":0}'), SendFailure.UNKNOWN, None),
        ((200, {}, b'{"status":false}'), SendFailure.UNKNOWN, None),
        ("drop", SendFailure.UNKNOWN, None),
    ],
)
async def test_refusals(answer: Any, failure: SendFailure, wait: float | None) -> None:
    async with serving() as (server, good, http):
        server.script = [answer]
        with pytest.raises(SendError) as caught:
            await ADAPTER.send(good, to_ana(), http)
    assert (caught.value.failure, caught.value.retry_after_s) == (failure, wait)
    assert TOKEN not in caught.value.detail


async def test_a_general_error_is_tried_once_more() -> None:
    async with serving() as (server, good, http):
        server.script = [refusal(99)]
        with pytest.raises(SendError) as caught:
            await ADAPTER.send(good, to_ana(attempt=2), http)
    assert caught.value.failure is SendFailure.PERMANENT


async def test_half_a_message_is_for_a_person_to_decide() -> None:
    async with serving() as (server, good, http):
        server.script = [None, refusal(3, "badData")]
        with pytest.raises(SendError, match="1 of 2 parts were sent") as caught:
            await ADAPTER.send(good, to_ana(text="a" * 7001), http)
    assert caught.value.failure is SendFailure.UNKNOWN


async def test_what_cannot_be_sent() -> None:
    async with httpx.AsyncClient() as http:
        for wrong, failure in (
            (to_ana(address={}), SendFailure.RECIPIENT),
            (to_ana(text=" "), SendFailure.PERMANENT),
            (to_ana(text="\x01" * 6999 + "x"), SendFailure.PERMANENT),
        ):
            with pytest.raises(SendError) as caught:
                await ADAPTER.send(CONFIG, wrong, http)
            assert caught.value.failure is failure
        with pytest.raises(SendError) as caught:
            await ADAPTER.send(config(api_base="http://127.0.0.1:1"), to_ana(), http)
        assert caught.value.failure is SendFailure.RETRY


# --- what it has besides --------------------------------------------------------------------------------------------


async def test_check() -> None:
    async with serving() as (server, good, http):
        await ADAPTER.check(good, http)
        server.webhook = ""
        with pytest.raises(SendError, match="set_webhook") as caught:
            await ADAPTER.check(good, http)
        assert caught.value.failure is SendFailure.CONFIG
        wrong = ViberConfig.model_validate({"auth_token": "wrong", "api_base": server.base})
        with pytest.raises(SendError) as caught:
            await ADAPTER.check(wrong, http)
        assert caught.value.failure is SendFailure.REAUTH


async def test_profile() -> None:
    async with serving() as (server, good, http):
        server.users[ANA.value] = {"name": "Ana Kis", "language": "hu", "avatar": "https://viber.example/a"}
        assert await ADAPTER.profile(good, ANA, http) == Profile("Ana Kis", "hu", "https://viber.example/a")
        with pytest.raises(SendError) as caught:
            await ADAPTER.profile(good, Sender("viber", "other"), http)
        assert caught.value.failure is SendFailure.RECIPIENT


async def test_fetching() -> None:
    async with serving() as (server, good, http):
        server.files["/x"] = b"bytes"
        file = RemoteFile("a", "image/jpeg", None, {"url": f"{server.base}/x"})
        assert await ADAPTER.fetch(good, file, http, limit=5) == b"bytes"
        for wrong in ({"url": f"{server.base}/x"}, {"url": "https://evil.example/x"}, {}):
            with pytest.raises(FetchError):
                await ADAPTER.fetch(good, RemoteFile("a", "image/jpeg", None, wrong), http, limit=4)


def test_signed_addresses_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="httpx"):
        logging.getLogger("httpx").info("GET %s", "https://dl-media.viber.com/5/x.jpg?sig=SIGNED")
    assert "SIGNED" not in caplog.text
