"""LINE: real events in, and what goes to the Messaging API and comes back."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.base import (
    Call,
    Change,
    ChangeKind,
    Checking,
    Fetching,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    RefusalReason,
    RemoteFile,
    Sender,
    SendError,
    SendFailure,
    Unparseable,
)
from app.channels.line import LineAdapter
from app.channels.line_config import LineConfig
from app.channels.provider import FetchError
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, call, flips, outgoing, refusal_of
from tests.support.line import LineServer, refusal, sign

SECRET, TOKEN = "linesecret", "averysecrettoken"
CONFIG = LineConfig.model_validate({"channel_secret": SECRET, "access_token": TOKEN})
ADAPTER = LineAdapter()
AT = datetime(2016, 5, 7, 13, 57, 59, 859000, tzinfo=UTC)
PLAIN: dict[str, Any] = {
    "type": "message",
    "mode": "active",
    "timestamp": 1462629479859,
    "webhookEventId": "01G2",
    "source": {"type": "user", "userId": "U1"},
}
ANA = Sender(kind="line", value="U1", address={"to": "U1"})


def parse(*events: Any) -> Parsed:
    return ADAPTER.parse(CONFIG, call(json.dumps({"destination": "U0", "events": list(events)}).encode()))


def said(event: dict[str, Any] | None = None, /, **message: Any) -> InboundMessage:
    parsed = parse({**PLAIN, **(event or {}), "message": {"id": "325708", **message}})
    assert (parsed.errors, parsed.ignored) == ((), ())
    (found,) = parsed.messages
    return found


def test_what_it_can() -> None:
    assert isinstance(ADAPTER, Fetching)
    assert isinstance(ADAPTER, Checking)
    assert ADAPTER.capabilities.idempotent_send


# --- verify ---------------------------------------------------------------------------------------------------------


def genuine(given_: Call, secret: str = SECRET) -> bool:
    try:
        ADAPTER.verify(LineConfig.model_validate({"channel_secret": secret, "access_token": "t"}), given_)
    except NotGenuine:
        return False
    return True


def test_published_vectors(fixtures: Path) -> None:
    vector = json.loads((fixtures / "line/vectors/vec_line_java.json").read_text())
    for case in vector["cases"]:
        given_ = call(vector["body"].encode(), {"x-line-signature": case["header"]})
        assert genuine(given_, vector["channel_secret"]) is case["valid"]
        assert not genuine(given_, vector["channel_secret"][:-1] + "S")


def test_every_flipped_bit_is_refused() -> None:
    body = b'{"destination":"U0","events":[]}'
    headers = sign(SECRET, body)
    assert genuine(call(body, headers))
    assert not any(genuine(call(flipped, headers)) for flipped in flips(body))
    mac = headers["x-line-signature"]
    for place in range(len(mac) - 2):
        wrong = mac[:place] + ("A" if mac[place] != "A" else "B") + mac[place + 1 :]
        assert not genuine(call(body, {"x-line-signature": wrong}))
    for odd in ("", "\ud800", "ü", mac + "="):
        assert not genuine(call(body, {"x-line-signature": odd}))
    assert not genuine(call(body))


# --- parse ----------------------------------------------------------------------------------------------------------


def test_text() -> None:
    message = said(type="text", text="hello\0 😀", quotedMessageId="9", quoteToken="q")
    assert (message.external_id, message.text, message.sent_at, message.sender) == ("325708", "hello 😀", AT, ANA)
    assert message.content == {"reply_to": {"message_id": "9"}}


@pytest.mark.parametrize(
    ("source", "value", "to"),
    [
        ({"type": "group", "groupId": "C1", "userId": "U1"}, "C1:U1", "C1"),
        ({"type": "room", "roomId": "R1"}, "R1:group", "R1"),
        ({"type": "group", "groupId": "C1"}, "C1:group", "C1"),
    ],
)
def test_in_a_group_a_person_is_somebody_else(source: dict[str, str], value: str, to: str) -> None:
    sender = said({"source": source}, type="text", text="x").sender
    assert (sender.value, sender.address) == (value, {"to": to})


KINDS: list[tuple[dict[str, Any], str, tuple[str, str, int | None] | None]] = [
    ({"type": "image"}, "", ("image.jpg", "image/jpeg", None)),
    ({"type": "video", "contentProvider": {"type": "line"}}, "", ("video.mp4", "video/mp4", None)),
    ({"type": "audio", "duration": 9}, "", ("audio.m4a", "audio/mp4", None)),
    ({"type": "file", "fileName": "../a.pdf", "fileSize": 7}, "", ("a.pdf", "application/octet-stream", 7)),
    (
        {"type": "image", "contentProvider": {"type": "external", "originalContentUrl": "https://x.example/a.jpg"}},
        "[image] https://x.example/a.jpg",
        None,
    ),
    ({"type": "sticker", "keywords": ["bed", "sleep", "x", "y"]}, "[sticker: bed, sleep, x]", None),
    ({"type": "sticker", "keywords": ["bed"], "text": "typed"}, "typed", None),
    ({"type": "sticker"}, "[sticker]", None),
    ({"type": "location", "title": "T", "address": "A", "latitude": 1.5, "longitude": -2}, "T\nA\n📍 1.5, -2", None),
    ({"type": "location"}, "[location]", None),
    ({"type": "brandNew"}, "[brandNew]", None),
]


@pytest.mark.parametrize(("given_", "text", "file"), KINDS)
def test_kinds_of_message(given_: dict[str, Any], text: str, file: tuple[str, str, int | None] | None) -> None:
    message = said(**given_)
    assert message.text == text
    if file is None:
        assert message.files == ()
    else:
        assert message.files == (RemoteFile(*file, ref={"message_id": "325708"}),)


def test_in_standby_we_only_listen() -> None:
    assert said({"mode": "standby"}, type="text", text="x").content == {"standby": True}


def test_unsent() -> None:
    parsed = parse({**PLAIN, "type": "unsend", "unsend": {"messageId": "325708"}})
    assert parsed == Parsed(changes=(Change("unsend:325708", ChangeKind.DELETE, ANA, "325708", at=AT),))


def test_edited() -> None:
    def edit(event_id: str, text: str) -> Change:
        message = {"id": "325708", "type": "text", "text": text}
        (change,) = parse({**PLAIN, "type": "messageEdited", "webhookEventId": event_id, "message": message}).changes
        return change

    first, again, second = edit("1", "a"), edit("1", "a"), edit("2", "b")
    assert (first.kind, first.external_id, first.text, first.at) == (ChangeKind.EDIT, "325708", "a", AT)
    assert first == again
    assert first.key != second.key


def test_postback() -> None:
    event = {
        **PLAIN,
        "type": "postback",
        "postback": {"data": "action=buy", "params": {"datetime": "2017-12-25T01:00"}},
    }
    (message,) = parse(event).messages
    assert message.text == "action=buy 2017-12-25T01:00"
    assert parse(event).messages[0].external_id == message.external_id
    assert parse({**event, "webhookEventId": "01G3"}).messages[0].external_id != message.external_id
    switch = {**event, "postback": {"data": "x", "params": {"newRichMenuAliasId": "b", "status": "SUCCESS"}}}
    assert parse(switch).ignored == ("event postback richmenuswitch",)
    assert parse({**event, "postback": {}}).ignored == ("event postback without data",)


@pytest.mark.parametrize(("kind", "on"), [("follow", False), ("unfollow", True)])
def test_who_has_left_is_not_written_to(kind: str, on: bool) -> None:
    (refused,) = parse({**PLAIN, "type": kind}).refusals
    assert (refused.sender, refused.on, refused.reason, refused.at) == (ANA, on, RefusalReason.BLOCKED, AT)
    assert parse({**PLAIN, "type": kind}).refusals == (refused,)
    (again,) = parse({**PLAIN, "type": kind, "webhookEventId": "01G3"}).refusals
    assert again.key != refused.key
    in_group = {"type": "group", "groupId": "C1", "userId": "U1"}
    assert parse({**PLAIN, "type": kind, "source": in_group}).errors == ("event 0: a group cannot follow",)


@pytest.mark.parametrize("kind", ["join", "leave", "beacon", "accountLink", "brandNew"])
def test_other_events_are_named_and_ignored(kind: str) -> None:
    assert parse({**PLAIN, "type": kind}).ignored == (f"event {kind}",)


def test_one_bad_event_spoils_nothing() -> None:
    good = {**PLAIN, "message": {"id": "1", "type": "text", "text": "x"}}
    bad: list[Any] = [
        7,
        {**PLAIN, "message": None},
        {**PLAIN, "source": {"type": "unknown"}, "message": {"id": "2", "type": "text", "text": "x"}},
        {**PLAIN, "type": "unsend"},
        {**PLAIN, "type": "messageEdited", "message": {"id": "1"}},
    ]
    parsed = parse(*bad, good, {**PLAIN, "type": ["x"]})
    assert [message.external_id for message in parsed.messages] == ["1"]
    assert (len(parsed.errors), parsed.ignored) == (len(bad), ("event without a type",))


def test_the_consoles_test_call() -> None:
    assert parse() == Parsed(ignored=("empty call",))
    with pytest.raises(Unparseable):
        ADAPTER.parse(CONFIG, call(b"[]"))
    assert ADAPTER.parse(CONFIG, call(b"{}")).errors == ("events: not a list",)


# Where we differ from courier: it takes the last event of a call and drops stickers, we take all; a location is written
# out, because agents read text; its attachment is a URL, ours is the message's id, fetched later.
OUR_TEXT = {
    "courier_receiveValidLocationMessage": "my location\nJapan, 〒160-0004 Tokyo, Shinjuku City, Yotsuya, 1-chōme-6-1"
}


def load(path: Path) -> list[Parsed]:
    body = json.loads(path.read_text())
    whole = body if "events" in body else {"destination": "U0", "events": [body]}
    return [ADAPTER.parse(CONFIG, call(json.dumps(whole).encode()))]


def test_every_fixture(fixtures: Path) -> None:
    paths = [p for kind in ("inbound", "events_single", "batch") for p in fixtures.glob(f"line/{kind}/*.json")]
    paths = [path for path in paths if "expected" not in path.name]
    assert len(paths) > 35
    bad = {"courier_missingMessage": 1, "linejava_unknown": 1}
    for path in paths:
        for parsed in load(path):
            assert len(parsed.errors) == bad.get(path.stem, 0), (path, parsed.errors)
            assert parsed.errors or parsed.messages or parsed.changes or parsed.refusals or parsed.ignored
            expected = path.with_name(path.stem + ".expected.json")
            for wanted in json.loads(expected.read_text()) if expected.exists() else []:
                check_expected(path.stem, parsed, wanted)


def check_expected(name: str, parsed: Parsed, wanted: dict[str, Any]) -> None:
    if "urn" not in wanted:
        assert not parsed.messages
        return
    message = parsed.messages[-1]
    assert f"line:{message.sender.value}" == wanted["urn"]
    assert message.text.startswith(OUR_TEXT.get(name, wanted["text"]))
    assert message.sent_at == datetime.fromisoformat(wanted["date"])
    if wanted.get("attachments", ["geo:"])[0].startswith("https:"):
        assert message.files


def test_the_whole_batch(fixtures: Path) -> None:
    (parsed,) = load(fixtures / "line/batch/linepy_webhook_all28.json")
    assert {message.external_id for message in parsed.messages if not message.external_id.startswith("postback:")} == {
        "325708",
        "354718705033693861",
    }
    assert [change.kind for change in parsed.changes] == [ChangeKind.DELETE, ChangeKind.EDIT]
    assert "event undefined" in parsed.ignored


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(st.sampled_from(["message", "unsend", "messageEdited", "postback"]), JSON),
        "source": st.one_of(st.just({"userId": "U1"}), JSON),
        "timestamp": JSON,
        "mode": JSON,
        "webhookEventId": JSON,
        "unsend": st.one_of(st.fixed_dictionaries({"messageId": JSON}), JSON),
        "postback": st.one_of(st.fixed_dictionaries({"data": JSON, "params": JSON}), JSON),
        "message": st.one_of(
            st.fixed_dictionaries(
                {
                    "id": st.one_of(st.integers(), JSON),
                    "type": st.one_of(st.sampled_from(["text", "file", "sticker"]), JSON),
                },
                optional={"text": JSON, "keywords": JSON, "contentProvider": JSON, "fileName": JSON, "fileSize": JSON},
            ),
            JSON,
        ),
    },
)


@given(st.lists(st.one_of(EVENT, JSON), max_size=4))
def test_any_events(events: list[Any]) -> None:
    with contextlib.suppress(Unparseable):
        parsed = parse(*events)
        for message in parsed.messages:
            f"{message.text}{message.sender}{message.content}".encode()
            assert "\0" not in message.text
            orjson.dumps(message.content)


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(Unparseable):
        ADAPTER.parse(CONFIG, call(body))


# --- send -----------------------------------------------------------------------------------------------------------


def at(server: LineServer) -> LineConfig:
    return LineConfig.model_validate({"channel_secret": SECRET, "access_token": TOKEN, "api_base": server.base + "/"})


TO = {"to": "U1"}


async def send(server: LineServer, message: Outgoing | None = None) -> str | None:
    async with httpx.AsyncClient(timeout=5) as http:
        return (await ADAPTER.send(at(server), message or outgoing(address=TO), http)).provider_message_id


async def refused(server: LineServer, *script: Any, message: Outgoing | None = None) -> SendError:
    return await refusal_of(server, script, send(server, message), secret=TOKEN)


async def test_what_goes_out() -> None:
    async with LineServer(TOKEN) as server:
        assert await send(server) == "460000000000000001"
        assert server.raw == [b'{"to":"U1","messages":[{"type":"text","text":"We have found it."}]}']
        assert server.keys == [str(MESSAGE_ID)]


@pytest.mark.parametrize("lost", ["drop", (500, {}, b"")])
async def test_a_second_attempt_is_harmless(lost: Any) -> None:
    async with LineServer(TOKEN) as server:
        assert (await refused(server, lost)).failure is SendFailure.RETRY
        assert await send(server, outgoing(address=TO, attempt=2)) == "460000000000000001"
        assert len(server.accepted) == 1
        assert server.keys == [str(MESSAGE_ID)] * 2


async def test_a_409_without_a_body_is_success() -> None:
    async with LineServer(TOKEN) as server:
        server.script = [(409, {}, b"")]
        assert await send(server) is None


async def test_long_texts_go_five_to_a_push() -> None:
    text = ("word " * 6000 + "👨‍👩‍👧" * 300).strip()
    async with LineServer(TOKEN) as server:
        error = await refused(server, None, (503, {}, b""), message=outgoing(address=TO, text=text))
        assert error.failure is SendFailure.RETRY
        await send(server, outgoing(address=TO, text=text))
        first, second = server.accepted.values()
        assert server.keys[0] == server.keys[2] == str(MESSAGE_ID)
        assert server.keys[1] == server.keys[3] != server.keys[0]
        texts = [message["text"] for push in (first, second) for message in push["messages"]]
        assert (len(first["messages"]), len(texts) > 5) == (5, True)
        assert all(len(part.encode("utf-16-le")) // 2 <= 5000 for part in texts)
        assert "".join("".join(texts).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("answer", "failure", "wait"),
    [
        (
            refusal(429, "The API rate limit has been exceeded. Try again later.", retry_after="9"),
            SendFailure.RETRY,
            9.0,
        ),
        (refusal(429, "You have reached your monthly limit."), SendFailure.QUOTA, None),
        (refusal(400, "Failed to send messages"), SendFailure.RECIPIENT, None),
        (refusal(400, "The property, 'to', in the request body is invalid"), SendFailure.RECIPIENT, None),
        (refusal(400, "The request body has 1 error(s)"), SendFailure.PERMANENT, None),
        (refusal(401, f"Authentication failed: {TOKEN}"), SendFailure.REAUTH, None),
        (refusal(403, "Not available"), SendFailure.CONFIG, None),
        (refusal(404, "Not found"), SendFailure.CONFIG, None),
        ((302, {"location": "https://x.example"}, b""), SendFailure.CONFIG, None),
        ((503, {"retry-after": "2"}, b"<html>"), SendFailure.RETRY, 2.0),
        ((200, {}, b"<html>"), SendFailure.RETRY, None),
        ("drop", SendFailure.RETRY, None),
    ],
)
async def test_refusals(answer: Any, failure: SendFailure, wait: float | None) -> None:
    async with LineServer(TOKEN) as server:
        error = await refused(server, answer)
        assert (error.failure, error.retry_after_s) == (failure, wait)


@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({"address": {}}, SendFailure.RECIPIENT),
        ({"text": " "}, SendFailure.PERMANENT),
        ({"text": "x" * 110_000}, SendFailure.PERMANENT),
        ({"files": (OutboundFile("a", "image/png", b"x"),)}, SendFailure.PERMANENT),
    ],
)
async def test_what_cannot_be_sent(changed: dict[str, Any], failure: SendFailure) -> None:
    async with LineServer(TOKEN) as server:
        assert (await refused(server, message=outgoing(**{"address": TO, **changed}))).failure is failure
        assert server.keys == []


async def test_check() -> None:
    async with LineServer(TOKEN) as server, httpx.AsyncClient() as http:
        await ADAPTER.check(at(server), http)
        server.token = "another"
        with pytest.raises(SendError) as caught:
            await ADAPTER.check(at(server), http)
    assert caught.value.failure is SendFailure.REAUTH


# --- fetch ----------------------------------------------------------------------------------------------------------


async def fetch(server: LineServer, message_id: Any, limit: int = 100) -> bytes:
    async with httpx.AsyncClient(timeout=5) as http:
        file = RemoteFile("a", "image/jpeg", None, {"message_id": message_id})
        return await ADAPTER.fetch(at(server), file, http, limit=limit)


async def test_content() -> None:
    async with LineServer(TOKEN) as server:
        server.content = {"1": (200, {}, b"x" * 100), "2": (202, {}, b""), "3": (404, {}, b""), "4": (500, {}, b"")}
        assert await fetch(server, "1") == b"x" * 100
        for message_id, limit, retry in (("1", 99, False), ("2", 9, True), ("3", 9, False), ("4", 9, True)):
            with pytest.raises(FetchError) as caught:
                await fetch(server, message_id, limit)
            assert caught.value.retry is retry
        for odd in ("../x", "", None, "a/b"):
            with pytest.raises(FetchError):
                await fetch(server, odd)


def test_where_files_lie() -> None:
    basics = {"channel_secret": "s", "access_token": "t"}
    assert LineConfig.model_validate(basics).files_base == "https://api-data.line.me"
    assert LineConfig.model_validate({**basics, "api_base": "http://x:1/"}).files_base == "http://x:1"
    own = LineConfig.model_validate({**basics, "api_base": "http://x:1/", "data_base": "http://y/"})
    assert own.files_base == "http://y"


def test_secrets_are_sealed() -> None:
    assert TOKEN not in repr(CONFIG)
    assert SECRET not in repr(CONFIG)
