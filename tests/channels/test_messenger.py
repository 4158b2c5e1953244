"""Messenger: real calls in, and what goes to the Send API and comes back."""

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.base import (
    ChangeKind,
    Fetching,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    StatusUpdate,
    Unparseable,
)
from app.channels.messenger import MessengerAdapter
from app.channels.messenger_config import MessengerConfig
from app.channels.provider import FetchError
from tests.channels.makers import MESSAGE_ID, NOW, call, outgoing
from tests.support.meta import GraphServer, refusal

TOKEN = "EAApagetokenpagetoken"
CONFIG = MessengerConfig.model_validate(
    {"app_secret": "s", "verify_token": "v", "access_token": TOKEN, "account_id": "222"}
)
ADAPTER = MessengerAdapter()
PLAIN: dict[str, Any] = {"sender": {"id": "77"}, "recipient": {"id": "222"}, "timestamp": 1795334400000}
ANA = Sender("messenger", "77", address={"id": "77"})


def envelope(*events: Any, name: str = "messaging", page: Any = "222") -> dict[str, Any]:
    return {"object": "page", "entry": [{"id": page, "time": 1795334400000, name: list(events)}]}


def parse(body: Any, config: MessengerConfig = CONFIG) -> Parsed:
    return ADAPTER.parse(config, call(body if isinstance(body, bytes) else json.dumps(body).encode()))


def event(**event: Any) -> Parsed:
    return parse(envelope({**PLAIN, **event}))


def said(**message: Any) -> Parsed:
    return event(message={"mid": "m_1", **message})


def only(parsed: Parsed) -> InboundMessage:
    assert (parsed.errors, parsed.ignored) == ((), ())
    (message,) = parsed.messages
    return message


def test_text() -> None:
    message = only(said(text="hello\0 \U0001f600"))
    assert (message.external_id, message.text, message.sent_at) == ("m_1", "hello \U0001f600", NOW)
    assert (message.sender, message.automatic) == (ANA, False)


def test_ids_may_be_numbers_and_times_seconds() -> None:
    event = {
        "sender": {"id": 77},
        "recipient": {"id": 222},
        "timestamp": 1795334400,
        "message": {"mid": 5, "text": "x"},
    }
    message = only(parse(envelope(event, page=222)))
    assert (message.external_id, message.sender, message.sent_at) == ("5", ANA, NOW)


CDN = "https://scontent.xx.fbcdn.net/v/t1/123_n.png?oh=signed"
KINDS: list[tuple[Any, str, tuple[str, str] | None]] = [
    ({"type": "image", "payload": {"url": CDN}}, "", ("123_n.png", "image/png")),
    ({"type": "image", "payload": {"url": "https://x.fbcdn.net/cdn"}}, "", ("image.jpg", "image/jpeg")),
    (
        {"type": "audio", "payload": {"url": "https://cdn.fbsbx.com/a/audioclip.mp4"}},
        "",
        ("audioclip.mp4", "video/mp4"),
    ),
    (
        {"type": "file", "payload": {"url": "https://cdn.fbsbx.com/a/b%2F..%2Fc.pdf?x=1"}},
        "",
        ("c.pdf", "application/pdf"),
    ),
    ({"type": "image", "payload": {"url": "IMAGE_URL"}}, "[image]", None),
    ({"type": "image"}, "[image]", None),
    ({"type": "image", "payload": {"url": CDN, "sticker_id": 369239263222822}}, "👍", None),
    ({"type": "image", "payload": {"url": CDN, "sticker_id": "5"}}, "", ("123_n.png", "image/png")),
    ({"type": "location", "payload": {"coordinates": {"lat": 1.2, "long": -1.3}}}, "📍 1.2, -1.3", None),
    ({"type": "location", "title": "Home", "payload": {}}, "Home", None),
    ({"type": "location"}, "[location]", None),
    ({"type": "fallback", "payload": {"url": "https://a.example/x", "title": "Foo"}}, "Foo: https://a.example/x", None),
    ({"type": "fallback"}, "[fallback]", None),
    ({"type": "reel", "payload": {"url": CDN, "title": "Fun"}}, "[reel] Fun", ("123_n.png", "image/png")),
    ({"type": "ig_reel", "payload": {"url": "/reel/1/"}}, "[ig reel]", None),
    (
        {"type": "template", "payload": {"product": {"elements": [{"title": "Sofa", "subtitle": "$40"}]}}},
        "Sofa - $40",
        None,
    ),
    (
        {"type": "template", "payload": {"text": "Choose", "buttons": [{"title": "A"}, {"title": "B"}]}},
        "Choose\nA\nB",
        None,
    ),
    ({"type": "template"}, "[template]", None),
    ({"type": "hologram", "payload": {"url": "https://evil.example/x"}}, "[hologram]", None),
    ({}, "[attachment]", None),
    (5, "[attachment]", None),
]


@pytest.mark.parametrize(("attachment", "text", "file"), KINDS)
def test_attachments(attachment: Any, text: str, file: tuple[str, str] | None) -> None:
    message = only(said(attachments=[attachment]))
    assert message.text == text
    assert [(found.name, found.media_type) for found in message.files] == ([file] if file else [])
    for found in message.files:
        assert isinstance(found, RemoteFile)
        assert set(found.ref) == {"url"}


def test_several_attachments_and_words() -> None:
    image, place = KINDS[0][0], KINDS[8][0]
    message = only(said(text="Here", attachments=[image, place, image]))
    assert (message.text, len(message.files)) == ("Here\n📍 1.2, -1.3", 2)
    assert message.content == {"attachments": [place]}


def test_the_preview_of_a_link_is_not_said_twice() -> None:
    link = {"type": "fallback", "payload": {"url": "https://a.example/x", "title": "Foo"}}
    assert only(said(text="see https://a.example/x", attachments=[link])).text == "see https://a.example/x"


def test_what_the_text_does_not_say_is_kept() -> None:
    message = only(said(text="x", quick_reply={"payload": "P"}, reply_to={"mid": "m_0"}, referral={"ref": "r"}, nlp={}))
    assert message.content == {"quick_reply": {"payload": "P"}, "reply_to": {"mid": "m_0"}, "referral": {"ref": "r"}}


def test_what_messenger_does_not_pass_on_is_still_something_that_was_said() -> None:
    assert only(said(is_unsupported=True)).text == "[unsupported]"
    assert said().ignored == ("empty message",)


def test_on_standby_another_app_owns_the_thread() -> None:
    message = only(parse(envelope({**PLAIN, "message": {"mid": "m", "text": "x"}}, name="standby")))
    assert (message.automatic, message.content) == (True, {"standby": True})


def test_an_edit() -> None:
    parsed = event(message_edit={"mid": "m_0", "text": "better", "num_edit": "37"})
    (change,) = parsed.changes
    assert (change.key, change.kind, change.external_id, change.provider_message_id, change.text, change.at) == (
        "m_0:edit:37",
        ChangeKind.EDIT,
        "m_0",
        None,
        "better",
        NOW,
    )
    (first,) = event(message_edit={"mid": "m_0", "text": "a"}).changes
    (second,) = event(message_edit={"mid": "m_0", "text": "b"}).changes
    assert first.key != second.key


def test_a_deletion() -> None:
    (change,) = said(is_deleted=True).changes
    assert (change.key, change.kind, change.external_id) == ("m_1:deleted", ChangeKind.DELETE, "m_1")


def test_a_reaction_is_to_theirs_or_to_ours() -> None:
    (love,) = event(reaction={"mid": "m_0", "action": "react", "emoji": "❤", "reaction": "love"}).changes
    assert (love.kind, love.text, love.external_id, love.provider_message_id) == (
        ChangeKind.REACTION,
        "❤",
        "m_0",
        "m_0",
    )
    (none,) = event(reaction={"mid": "m_0", "action": "unreact", "emoji": "❤"}).changes
    assert (none.text, none.key != love.key) == (None, True)
    (word,) = event(reaction={"mid": "m_0", "action": "react", "reaction": "like"}).changes
    assert word.text == "like"
    ours = {"sender": {"id": "222"}, "recipient": {"id": "77"}, "reaction": {"mid": "m_0", "action": "react"}}
    assert parse(envelope(ours)).ignored == ("other account",)


def test_a_button() -> None:
    message = only(event(postback={"mid": "m_2", "title": "Get started", "payload": "START"}))
    assert (message.external_id, message.text) == ("m_2", "Get started")
    assert message.content["postback"]["payload"] == "START"
    first, again = (only(event(postback={"payload": "START"})) for _ in range(2))
    assert (first.text, first.external_id) == ("START", again.external_id)
    assert only(event(postback={"payload": "START"}, timestamp=1795334400001)).external_id != first.external_id
    assert event(postback={}).ignored == ("postback without a title",)
    plugin = only(event(postback={"payload": "hey"}, sender={"user_ref": 9}))
    assert (plugin.sender.value, plugin.sender.address) == ("ref:9", {"user_ref": "9"})


def test_deliveries() -> None:
    delivery = {"mids": ["a", 5, None], "watermark": 1795334400000}
    parsed = parse(envelope({"sender": {"id": "77"}, "recipient": {"id": "222"}, "delivery": delivery}))
    assert parsed.statuses == (
        StatusUpdate("a", "delivered", at=NOW),
        StatusUpdate("5", "delivered", at=NOW),
        StatusUpdate("", "delivered", at=NOW, upto=NOW, recipient=ANA),
    )


def test_reads_up_to_a_moment() -> None:
    parsed = event(read={"watermark": 1795334399000}, timestamp=1795334400000)
    upto = datetime(2026, 11, 22, 7, 59, 59, tzinfo=UTC)
    assert parsed.statuses == (StatusUpdate("", "read", at=NOW, upto=upto, recipient=ANA),)
    assert event(read={}).errors == ("entry 0 messaging 0: read: neither a watermark nor a message",)


ECHO = {"sender": {"id": "222"}, "recipient": {"id": "77"}, "timestamp": 1795334400000}


def test_an_echo_of_the_inbox() -> None:
    parsed = parse(
        envelope({**ECHO, "message": {"mid": "m_e", "is_echo": True, "app_id": 26, "text": "from the inbox"}})
    )
    (echo,) = parsed.echoes
    assert (echo.external_id, echo.recipient, echo.text, echo.sent_at) == ("m_e", ANA, "from the inbox", NOW)
    assert (parsed.messages, echo.content) == ((), {"app_id": "26"})
    gone = parse(envelope({**ECHO, "message": {"mid": "m_e", "is_echo": True, "is_deleted": True}}))
    (change,) = gone.changes
    assert (change.external_id, change.provider_message_id, change.kind) == (None, "m_e", ChangeKind.DELETE)
    assert parse(envelope({**ECHO, "message": {"mid": "m_e", "is_echo": True}})).ignored == ("empty echo",)


def test_our_own_echo_proves_that_a_message_went_out() -> None:
    message = {"mid": "m_e", "is_echo": True, "app_id": 26, "text": "x", "metadata": f"roundtrip:{MESSAGE_ID}"}
    parsed = parse(envelope({**ECHO, "message": message}))
    assert parsed == Parsed(statuses=(StatusUpdate("m_e", "sent", at=NOW, our_id=str(MESSAGE_ID)),))
    part = {**message, "metadata": f"roundtrip:{MESSAGE_ID}/1"}
    assert parse(envelope({**ECHO, "message": part})).ignored == ("echo of a part",)


@pytest.mark.parametrize(
    "kind",
    [
        *("referral", "optin", "account_linking", "pass_thread_control", "take_thread_control", "policy-enforcement"),
        *("request_thread_control", "app_roles", "payment", "brand_new_kind"),
    ],
)
def test_other_events_are_named(kind: str) -> None:
    assert event(**{kind: {"x": 1}}) == Parsed(ignored=(kind,))


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"object": "instagram", "entry": []}, "object instagram"),
        ({"object": "page", "entry": [{"id": "222"}]}, "empty call"),
        (envelope(PLAIN), "empty event"),
        (
            {
                "object": "page",
                "entry": [{"id": "222", "changes": [{"field": "feed", "value": {"item": "comment", "verb": "add"}}]}],
            },
            "feed comment add",
        ),
    ],
)
def test_other_calls_are_named(body: Any, ignored: str) -> None:
    assert parse(body) == Parsed(ignored=(ignored,))


def test_other_pages_of_the_same_app_are_not_ours() -> None:
    text = {"message": {"mid": "m", "text": "x"}}
    other = {**PLAIN, "recipient": {"id": "333"}}
    for body in (
        envelope({**other, **text}, page="333"),
        envelope({**other, **text}),
        envelope({**PLAIN, **text}, page="333"),
    ):
        assert parse(body) == Parsed(ignored=("other account",))


def test_a_bad_item_spoils_nothing() -> None:
    good = {**PLAIN, "message": {"mid": "m", "text": "x"}}
    no_mid, no_sender = {**PLAIN, "message": {"text": "x"}}, {**good, "sender": {}}
    body = envelope(
        good, 7, no_mid, no_sender, {**PLAIN, "reaction": {}}, {**good, "message": {"mid": "n", "text": "y"}}
    )
    body["entry"].append("x")
    parsed = parse(body)
    assert [message.external_id for message in parsed.messages] == ["m", "n"]
    assert parsed.errors == (
        "entry 0 messaging 1: not an object",
        "entry 0 messaging 2: mid: missing",
        "entry 0 messaging 3: no sender",
        "entry 0 messaging 4: mid: missing",
        "entry 1: not an object",
    )


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b"[" * 100_000])
def test_what_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unparseable):
        parse(body)


# Where we differ from courier's expectations, and why. A location has no words there (its attachment carries it): our
# agents read text. Links and reels that were passed on are dropped there; here a person sees that the customer sent one.
OUR_TEXT = {"courier_location_attachment": "📍 1.2, -1.3"}


def real_calls(fixtures: Path) -> list[tuple[Path, bytes, MessengerConfig]]:
    """Each with the page that it is for."""
    found = []
    for path in sorted((fixtures / "messenger").rglob("*.json")):
        if not path.name.endswith(".expected.json") and path.parent.name != "vectors":
            raw = path.read_bytes()
            entries = json.loads(raw).get("entry") or [{}]
            account = str(entries[0].get("id", "222"))
            found.append((path, raw, CONFIG.model_copy(update={"account_id": account})))
    return found


def test_every_real_call_is_read(fixtures: Path) -> None:
    counts = dict.fromkeys(("messages", "changes", "statuses", "errors"), 0)
    for path, raw, config in real_calls(fixtures):
        parsed = parse(raw, config)
        assert parsed == parse(raw, config), path
        assert ("other account" in parsed.ignored) == (path.stem == "courier_different_page"), path
        for name in counts:
            counts[name] += len(getattr(parsed, name))
        for message in parsed.messages:
            assert message.text or message.files, path
            orjson.dumps([message.content, message.text, dict(message.sender.address)])
    assert counts == {"messages": 20, "changes": 1, "statuses": 3, "errors": 0}


def test_real_calls_say_what_others_read_in_them(fixtures: Path) -> None:
    compared = 0
    for path, raw, config in real_calls(fixtures):
        beside = path.with_name(path.name.removesuffix(".json") + ".expected.json")
        expected = json.loads(beside.read_bytes())[0] if beside.exists() else {}
        if "urn" in expected:
            (message,) = parse(raw, config).messages
            assert message.text == OUR_TEXT.get(path.stem, expected["text"]), path
            assert f"facebook:{message.sender.value}" == expected["urn"]
            assert message.external_id == expected["external_id"]
            assert message.sent_at == datetime.fromisoformat(expected["date"]).astimezone(UTC)
            files = [url for url in expected.get("attachments", ()) if not url.startswith("geo:")]
            assert [file.ref["url"] for file in message.files if isinstance(file, RemoteFile)] == files
            compared += 1
    assert compared >= 4


NAMES = [
    *("object", "entry", "id", "time", "messaging", "standby", "sender", "recipient", "timestamp", "message", "mid"),
    *("text", "attachments", "type", "payload", "url", "is_echo", "is_deleted", "message_edit", "num_edit", "reaction"),
    *(
        "postback",
        "title",
        "delivery",
        "mids",
        "watermark",
        "read",
        "coordinates",
        "lat",
        "metadata",
        "action",
        "changes",
    ),
]
WORDS = st.sampled_from(
    ["222", "77", "image", "location", "template", "fallback", "react", "page", "roundtrip:x/1", CDN]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**70) | st.floats() | st.text(max_size=10) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)


@given(JSON, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8))
def test_any_call_is_read(body: Any, item: dict[str, Any]) -> None:
    for given_ in (body, envelope(item, {**PLAIN, **item}), envelope({**PLAIN, "message": {"mid": "m", **item}})):
        try:
            parsed = parse(json.dumps(given_).encode())
        except Unparseable:
            assert not isinstance(given_, dict)
            continue
        for message in parsed.messages:
            assert message.external_id
            assert message.sender.value
            orjson.dumps([message.text, message.content, message.sender.name, dict(message.sender.address)])
        assert all(status.provider_message_id or status.upto for status in parsed.statuses)
        assert all(change.key for change in parsed.changes)


@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(Unparseable):
        parse(body)


@pytest.fixture
async def server() -> AsyncIterator[GraphServer]:
    async with GraphServer(TOKEN) as server:
        yield server


def to_ana(**changed: Any) -> Outgoing:
    return outgoing(**{"address": {"id": "77"}, **changed})


def at(server: GraphServer, **changed: Any) -> MessengerConfig:
    return CONFIG.model_copy(update={"api_base": server.base, **changed})


async def send(server: GraphServer, message: Outgoing, **changed: Any) -> str | None:
    async with httpx.AsyncClient(timeout=5) as http:
        return (await ADAPTER.send(at(server, **changed), message, http)).provider_message_id


async def failure(server: GraphServer, message: Outgoing | None = None, **changed: Any) -> SendError:
    with pytest.raises(SendError) as error:
        await send(server, message or to_ana(), **changed)
    assert TOKEN not in repr(error.value)
    return error.value


async def test_sending_byte_by_byte(server: GraphServer) -> None:
    assert await send(server, to_ana()) == "mid.1"
    assert server.paths == ["/v24.0/222/messages"]
    assert server.raw == [
        b'{"recipient":{"id":"77"},"messaging_type":"RESPONSE","message":{"text":"We have found it.",'
        b'"metadata":"roundtrip:01935555-0000-7000-8000-000000000001"}}'
    ]
    await send(server, to_ana(address={"user_ref": "9"}))
    assert server.sent[1][1]["recipient"] == {"user_ref": "9"}


async def test_nothing_to_send_or_nobody_to_send_to(server: GraphServer) -> None:
    assert (await failure(server, to_ana(address={}))).failure is SendFailure.RECIPIENT
    assert (await failure(server, to_ana(text=" "))).failure is SendFailure.PERMANENT
    assert (await failure(server, to_ana(text="x" * 2000 * 21))).failure is SendFailure.PERMANENT
    assert server.paths == []


async def test_a_long_text_goes_out_in_parts(server: GraphServer) -> None:
    assert await send(server, to_ana(text="word " * 900)) == "mid.3"
    messages = [payload["message"] for _, payload in server.sent]
    assert all(len(message["text"]) <= 2000 for message in messages)
    marks = [message["metadata"] for message in messages]
    assert marks == [f"roundtrip:{MESSAGE_ID}/1", f"roundtrip:{MESSAGE_ID}/2", f"roundtrip:{MESSAGE_ID}"]


async def test_files_are_uploaded_and_sent_one_by_one(server: GraphServer) -> None:
    files = (OutboundFile("a.png", "image/png", b"png\0"), OutboundFile("b.zip", "application/zip", b"zip"))
    assert await send(server, to_ana(text="Look", files=files)) == "mid.3"
    assert server.paths == [*["/v24.0/222/message_attachments"] * 2, *["/v24.0/222/messages"] * 3]
    first, second = server.uploads
    assert json.loads(first.fields["message"]) == {"attachment": {"type": "image", "payload": {"is_reusable": True}}}
    assert (first.fields["<file>"], first.name, first.media_type, first.data) == (
        "filedata",
        "a.png",
        "image/png",
        b"png\0",
    )
    assert "platform" not in first.fields
    assert json.loads(second.fields["message"])["attachment"]["type"] == "file"
    said = [payload["message"] for _, payload in server.sent]
    assert said[0]["text"] == "Look"
    assert [item["attachment"] for item in said[1:]] == [
        {"type": "image", "payload": {"attachment_id": "up1"}},
        {"type": "file", "payload": {"attachment_id": "up2"}},
    ]
    huge = OutboundFile("c.mp4", "video/mp4", bytes(25_000_001))
    assert (await failure(server, to_ana(files=(files[0], huge)))).failure is SendFailure.PERMANENT
    assert len(server.uploads) == 2


@pytest.mark.parametrize(
    ("code", "subcode", "expected"),
    [
        (10, 2018278, SendFailure.WINDOW),
        (10, None, SendFailure.CONFIG),
        (551, 1545041, SendFailure.RECIPIENT),
        (551, None, SendFailure.RECIPIENT),
        (100, 2018001, SendFailure.RECIPIENT),
        (100, None, SendFailure.PERMANENT),
        (200, None, SendFailure.CONFIG),
        (200, 1545041, SendFailure.RECIPIENT),
        (190, 463, SendFailure.REAUTH),
        *[(code, None, SendFailure.RETRY) for code in (4, 32, 613, 80006, 1200, 2)],
        (424_242, None, SendFailure.PERMANENT),
    ],
)
async def test_what_a_code_means(server: GraphServer, code: int, subcode: int | None, expected: SendFailure) -> None:
    server.script = [refusal(code, subcode=subcode, message="why")]
    error = await failure(server)
    assert (error.failure, "why" in error.detail) == (expected, True)


async def test_answers_that_are_lost_or_odd(server: GraphServer) -> None:
    server.script = ["drop", (200, {}, b"{}"), (503, {"retry-after": "9"}, b""), (429, {}, b"")]
    errors = [await failure(server) for _ in range(4)]
    assert [error.failure for error in errors] == [
        SendFailure.UNKNOWN,
        SendFailure.UNKNOWN,
        SendFailure.RETRY,
        SendFailure.RETRY,
    ]
    assert errors[2].retry_after_s == 9.0


async def test_after_the_window_a_person_may_answer_where_meta_allows_it(server: GraphServer) -> None:
    closed = refusal(10, subcode=2018278)
    server.script = [closed]
    assert (await failure(server)).failure is SendFailure.WINDOW
    server.script = [closed, None]
    await send(server, to_ana(), human_agent=True)
    ((_, payload),) = server.sent
    assert (payload["messaging_type"], payload["tag"]) == ("MESSAGE_TAG", "HUMAN_AGENT")
    server.script = [closed, closed]
    assert (await failure(server, human_agent=True)).failure is SendFailure.WINDOW
    server.script = [None, closed]
    assert (await failure(server, to_ana(text="word " * 500))).failure is SendFailure.UNKNOWN


async def test_files_are_fetched_without_the_token_and_only_from_meta(server: GraphServer) -> None:
    assert isinstance(ADAPTER, Fetching)
    server.media = {"a.png": b"bytes"}

    async def fetch(url: object, limit: int = 100) -> bytes:
        async with httpx.AsyncClient(timeout=5) as http:
            return await ADAPTER.fetch(at(server), RemoteFile("a", "image/png", None, {"url": url}), http, limit=limit)

    assert await fetch(f"{server.base}/cdn/a.png?oh=signed") == b"bytes"
    assert "authorization" not in server.file_headers[0]
    for url in ("https://evil.example/a.png", "http://10.0.0.1/", "ftp://a.fbcdn.net/", None, ""):
        with pytest.raises(FetchError) as error:
            await fetch(url)
        assert (error.value.retry, "evil" in error.value.detail) == (False, False)
    with pytest.raises(FetchError):
        await fetch(f"{server.base}/cdn/a.png", limit=4)


async def test_credentials_can_be_tried(server: GraphServer) -> None:
    async with httpx.AsyncClient(timeout=5) as http:
        await ADAPTER.check(at(server), http)
    assert server.paths == ["/v24.0/222?fields=id"]
