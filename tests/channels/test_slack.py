"""Slack: real events in, and what goes to the Web API and comes back."""

import contextlib
import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import slack_text
from app.channels.base import (
    Answering,
    Call,
    ChangeKind,
    Checking,
    Fetching,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    RemoteFile,
    SendError,
    SendFailure,
    StatusUpdate,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.slack import SlackAdapter
from app.channels.slack_config import SlackConfig
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, NOW, call, flips, outgoing, refusal_of
from tests.support.slack import SlackServer, refusal, sign

SECRET, TOKEN = "signingsecret", "xoxb-averysecrettoken"
BASICS = {"signing_secret": SECRET, "bot_token": TOKEN}
CONFIG = SlackConfig.model_validate(BASICS)
ADAPTER = SlackAdapter()
TS = "1795334400.004200"
PLAIN: dict[str, Any] = {"type": "message", "user": "U1", "channel": "C1", "ts": TS, "channel_type": "channel"}


def envelope(event: Any, **more: Any) -> dict[str, Any]:
    bot = {"team_id": "T1", "user_id": "UB", "is_bot": True}
    whole = {"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event, "authorizations": [bot]}
    return {**whole, **more}


def parse(body: Any) -> Parsed:
    return ADAPTER.parse(CONFIG, call(body if isinstance(body, bytes) else json.dumps(body).encode()))


def said(**event: Any) -> InboundMessage:
    parsed = parse(envelope({**PLAIN, **event}))
    assert (parsed.errors, parsed.ignored, parsed.changes) == ((), (), ())
    (message,) = parsed.messages
    return message


def test_what_it_can() -> None:
    assert isinstance(ADAPTER, Answering)
    assert isinstance(ADAPTER, Fetching)
    assert isinstance(ADAPTER, Checking)


# --- verify and answer ----------------------------------------------------------------------------------------------


def genuine(given_: Call, secret: str = SECRET) -> bool:
    try:
        ADAPTER.verify(SlackConfig.model_validate({**BASICS, "signing_secret": secret}), given_)
    except NotGenuine:
        return False
    return True


def test_published_vector(fixtures: Path) -> None:
    vector = json.loads((fixtures / "slack/vectors/vec_slack_v0.json").read_text())
    headers = {"x-slack-request-timestamp": vector["timestamp"], "x-slack-signature": vector["header"]}
    then = datetime.fromtimestamp(vector["now_for_test"], UTC)
    whole, secret = call(vector["body"].encode(), headers, at=then), vector["signing_secret"]
    assert genuine(whole, secret)
    assert genuine(replace(whole, received_at=then + timedelta(seconds=300)), secret)
    assert not genuine(replace(whole, received_at=then + timedelta(seconds=301)), secret)
    assert not genuine(replace(whole, received_at=then - timedelta(seconds=301)), secret)
    assert not genuine(whole, secret[:-1] + "6")
    assert ADAPTER.parse(CONFIG, whole).ignored == ("slash command",)


def test_every_flipped_bit_is_refused() -> None:
    body = b'{"type":"event_callback"}'
    headers = sign(SECRET, body, NOW)
    assert genuine(call(body, headers))
    assert not any(genuine(call(flipped, headers)) for flipped in flips(body))
    for name in ("x-slack-signature", "x-slack-request-timestamp"):
        for place in range(len(headers[name])):
            given_ = headers[name]
            wrong = given_[:place] + chr(ord(given_[place]) ^ 1) + given_[place + 1 :]
            assert not genuine(call(body, {**headers, name: wrong}))
        for odd in ("", "\ud800", "ü", "²", " " + headers[name], "v1=" + headers[name]):
            assert not genuine(call(body, {**headers, name: odd}))
        assert not genuine(call(body, {key: value for key, value in headers.items() if key != name}))


def test_challenge() -> None:
    given_ = call(b'{"token":"t","challenge":"3eZbrw","type":"url_verification"}')
    parsed = ADAPTER.parse(CONFIG, given_)
    assert parsed == Parsed(ignored=("url_verification",))
    reply = ADAPTER.answer(CONFIG, given_, parsed)
    assert (reply.status, reply.body) == (200, b"3eZbrw")
    for body in (b'{"type":"url_verification"}', b'{"type":"url_verification","challenge":7}'):
        assert ADAPTER.answer(CONFIG, call(body), ADAPTER.parse(CONFIG, call(body))).body == b""


def test_everything_else_is_answered_with_nothing() -> None:
    given_ = call(json.dumps(envelope({**PLAIN, "text": "x", "challenge": "y"})).encode())
    assert ADAPTER.answer(CONFIG, given_, ADAPTER.parse(CONFIG, given_)).body == b""


# --- parse ----------------------------------------------------------------------------------------------------------


def test_text() -> None:
    message = said(text="hello\0 &lt;b&gt; &amp;lt; 😀", user_profile={"real_name": "Ana Ng", "display_name": ""})
    assert (message.external_id, message.text) == (f"C1:{TS}", "hello <b> &lt; 😀")
    assert message.sent_at == NOW.replace(microsecond=4200)
    sender = message.sender
    assert (sender.kind, sender.value, sender.name) == ("slack", f"T1:C1:{TS}", "Ana Ng")
    assert sender.address == {"team": "T1", "channel": "C1", "thread_ts": TS, "user": "U1"}
    assert message.content == {"user": "U1"}


def test_a_thread_is_one_customer() -> None:
    first, answer = said(text="a"), said(text="b", ts="1795334500.000100", thread_ts=TS, user="U2")
    broadcast = said(text="c", ts="1795334501.000100", thread_ts=TS, subtype="thread_broadcast")
    assert first.sender.value == answer.sender.value == broadcast.sender.value
    assert answer.sender.address["thread_ts"] == TS
    assert (answer.content["user"], answer.content["thread_ts"]) == ("U2", TS)
    other = said(text="d", ts="1795334502.000100")
    assert other.sender.value != first.sender.value


def test_a_direct_conversation_has_no_threads() -> None:
    one = said(text="a", channel="D1", channel_type="im")
    two = said(text="b", channel="D1", channel_type="im", ts="1795334500.000100", thread_ts=TS)
    assert one.sender.value == two.sender.value == "T1:D1"
    assert "thread_ts" not in one.sender.address


def test_in_a_shared_channel_the_workspace_is_ours() -> None:
    event = {**PLAIN, "text": "x"}
    (message,) = parse(envelope(event, team_id="T_OTHER", is_ext_shared_channel=True)).messages
    assert message.sender.address["team"] == "T1"


def test_a_mention_is_the_same_message() -> None:
    assert said(type="app_mention", text="<@UB> hi").external_id == said(text="<@UB> hi").external_id


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("<@U1> and <@U2|ana>", "@U1 and @ana"),
        ("<#C1|help> <#C2>", "#help #C2"),
        ("<!here> <!subteam^S1|@team> <!subteam^S1>", "@here @team @subteam"),
        ("<https://x.example/?a=1&amp;b=2>", "https://x.example/?a=1&b=2"),
        ("<https://x.example|shop>", "shop (https://x.example)"),
        ("<mailto:a@x.example|a@x.example>", "a@x.example"),
        ("a < b > c <", "a < b > c <"),
        ("&amp;lt;", "&lt;"),
    ],
)
def test_marks(written: str, shown: str) -> None:
    assert slack_text.readable(written) == shown


@given(st.text())
def test_what_we_escape_is_read_back(text: str) -> None:
    whole = text.encode("utf-8", "replace").decode().replace("\0", "")
    assert slack_text.readable(slack_text.escaped(whole)) == whole
    assert sum(map(slack_text.width, whole)) >= len(slack_text.escaped(whole))


def test_files() -> None:
    hosted = {
        "id": "F1",
        "name": "a/b.png",
        "mimetype": "image/png",
        "size": 9,
        "url_private_download": "https://files.slack.com/files-pri/T1-F1/download/b.png",
    }
    external = {"id": "F2", "name": "plan", "mode": "external", "url_private": "https://docs.example/1"}
    gone = {"id": "F3", "mode": "tombstone"}
    check = {"id": "F4", "file_access": "check_file_info"}
    message = said(text="see", subtype="file_share", files=[hosted, external, gone, check, 7])
    assert message.text == "see\n[plan] https://docs.example/1\n[file]\n[file]"
    first, last = message.files
    assert (first.name, first.media_type, first.size) == ("b.png", "image/png", 9)  # type: ignore[union-attr]
    assert isinstance(last, RemoteFile)
    assert last.ref == {"file_id": "F4"}


def test_edits() -> None:
    edited = {"user": "U1", "ts": "1795334410.000000"}
    change = {
        **PLAIN,
        "subtype": "message_changed",
        "ts": "1795334411.000100",
        "message": {"user": "U1", "ts": TS, "text": "new &amp; better", "edited": edited},
        "previous_message": {"user": "U1", "ts": TS, "text": "old"},
    }
    (found,) = parse(envelope(change)).changes
    assert (found.kind, found.external_id, found.text) == (ChangeKind.EDIT, f"C1:{TS}", "new & better")
    assert found.at == NOW + timedelta(seconds=10)
    assert found.sender.value == f"T1:C1:{TS}"
    preview = {**change, "previous_message": {"user": "U1", "ts": TS, "edited": edited}}
    unfurled = {**change, "message": {"user": "U1", "ts": TS, "text": "old", "attachments": []}}
    for same in (preview, unfurled):
        assert parse(envelope(same)).ignored == ("message_changed without an edit",)
    bots = {**change, "message": {**change["message"], "bot_id": "B1"}}
    assert parse(envelope(bots)).ignored == ("message_changed of a bot",)
    tomb = {**change, "message": {"subtype": "tombstone", "ts": TS, "user": "USLACK"}}
    assert parse(envelope(tomb)).changes[0].kind is ChangeKind.DELETE


def test_deletions() -> None:
    gone = {**PLAIN, "subtype": "message_deleted", "deleted_ts": TS, "previous_message": {"user": "U1", "ts": TS}}
    (found,) = parse(envelope({**gone, "event_ts": "1795334410.000000"})).changes
    assert (found.kind, found.external_id, found.key) == (ChangeKind.DELETE, f"C1:{TS}", f"delete:C1:{TS}")
    assert found.at == NOW + timedelta(seconds=10)
    gone["previous_message"] = {"bot_id": "B1", "ts": TS}
    assert parse(envelope(gone)).ignored == ("message_deleted of a bot",)


def test_reactions() -> None:
    event = {
        "type": "reaction_added",
        "user": "U1",
        "reaction": "+1::skin-tone-2",
        "item": {"type": "message", "channel": "C1", "ts": TS},
        "event_ts": "1795334410.000000",
    }
    (added,) = parse(envelope(event)).changes
    assert (added.kind, added.text, added.external_id) == (ChangeKind.REACTION, "👍", f"C1:{TS}")
    assert added.provider_message_id == f"C1:{TS}"
    (removed,) = parse(envelope({**event, "type": "reaction_removed"})).changes
    assert (removed.text, removed.key != added.key) == (None, True)
    assert parse(envelope({**event, "reaction": "our_logo"})).changes[0].text == ":our_logo:"
    assert parse(envelope({**event, "user": "UB"})).ignored == ("reaction of a bot",)
    assert parse(envelope({**event, "item": {"type": "file"}})).ignored == ("reaction to a file",)


@pytest.mark.parametrize(
    "event",
    [{"bot_id": "B1"}, {"subtype": "bot_message"}, {"user": "UB"}, {"user": "USLACKBOT"}, {"bot_profile": {"id": "B"}}],
)
def test_bots_are_not_customers(event: dict[str, Any]) -> None:
    assert parse(envelope({**PLAIN, "text": "x", **event})) == Parsed(ignored=("message from a bot",))


def test_our_own_message_says_that_it_arrived() -> None:
    about = {"event_type": "roundtrip_message", "event_payload": {"message_id": str(MESSAGE_ID)}}
    (status,) = parse(envelope({**PLAIN, "bot_id": "B1", "text": "x", "metadata": about})).statuses
    assert status == StatusUpdate(f"C1:{TS}", "sent", at=NOW.replace(microsecond=4200), our_id=str(MESSAGE_ID))
    assert parse(envelope({**PLAIN, "text": "x", "metadata": about})).statuses == ()


@pytest.mark.parametrize("subtype", ["channel_join", "channel_topic", "message_replied", "brand_new"])
def test_other_messages_are_named_and_ignored(subtype: str) -> None:
    assert parse(envelope({**PLAIN, "text": "x", "subtype": subtype})).ignored == (f"message {subtype}",)


@pytest.mark.parametrize("kind", ["member_joined_channel", "app_uninstalled", "brand_new"])
def test_other_events_are_named_and_ignored(kind: str) -> None:
    assert parse(envelope({**PLAIN, "type": kind})).ignored == (f"event {kind}",)


def test_forms() -> None:
    payload = urlencode({"payload": json.dumps({"type": "block_actions"})}).encode()
    assert parse(payload).ignored == ("block_actions",)
    assert parse({"type": "app_rate_limited"}).ignored == ("app_rate_limited",)
    for body in (b"", b"a=1", b"[]", b"{", b"payload=x", b"payload=7", b"a=1&" * 300, b"\xff"):
        with pytest.raises(Unparseable):
            parse(body)


def test_endless_ids_stay_storable() -> None:
    message = said(text="x", channel="C" * 3000, thread_ts="1" * 3000)
    assert max(len(message.external_id), len(message.sender.value)) <= 400
    assert said(text="x", channel="C" * 3000 + "D").external_id != message.external_id


def test_what_is_missing() -> None:
    for name in ("user", "channel", "ts"):
        assert parse(envelope({**PLAIN, "text": "x", name: None})).errors
    assert parse(envelope({**PLAIN, "subtype": "message_changed"})).errors
    assert parse(envelope({**PLAIN, "subtype": "message_deleted"})).errors
    assert parse(envelope({"type": "reaction_added"})).errors
    assert parse(envelope(None)).ignored == ("event without a type",)
    assert parse(envelope({**PLAIN, "text": " "})).ignored == ("message without content",)


def test_every_fixture(fixtures: Path) -> None:
    paths = sorted(fixtures.glob("slack/inbound/*.json"))
    assert len(paths) == 30
    counts = {"messages": 0, "changes": 0, "ignored": 0}
    for path in paths:
        parsed = parse(path.read_bytes())
        assert not parsed.errors, path
        for kind in counts:
            counts[kind] += len(getattr(parsed, kind))
    # 7 of people (two by mention), 1 edit, 1 deletion and 3 reactions. One file comes from the app's own bot user.
    assert counts == {"messages": 7, "changes": 5, "ignored": 18}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
KINDS = ["message", "app_mention", "reaction_added", "reaction_removed"]
SUBTYPES = ["message_changed", "message_deleted", "file_share", "thread_broadcast"]
INNER = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"ts": st.one_of(st.just(TS), JSON), "text": JSON, "edited": JSON, "user": JSON}
    ),
    JSON,
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "subtype": st.one_of(st.sampled_from(SUBTYPES), JSON),
        "user": st.one_of(st.just("U1"), JSON),
        "channel": st.one_of(st.just("C1"), JSON),
        "ts": st.one_of(st.just(TS), st.text(), JSON),
        "text": st.one_of(st.text(), JSON),
        "files": st.one_of(st.lists(JSON), JSON),
        "message": INNER,
        "previous_message": INNER,
        "item": INNER,
        "metadata": JSON,
        "user_profile": JSON,
        "reaction": JSON,
    },
)


@given(st.one_of(EVENT, JSON), JSON)
def test_any_event(event: Any, authorizations: Any) -> None:
    with contextlib.suppress(Unparseable):
        parsed = parse(envelope(event, authorizations=authorizations))
        for message in parsed.messages:
            f"{message.text}{message.sender}{message.content}".encode()
            assert "\0" not in message.text
            orjson.dumps(message.content)
        for change in parsed.changes:
            f"{change}".encode()


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(Unparseable):
        parse(body)


def test_marks_take_linear_time() -> None:
    started = time.perf_counter()
    for text in ("<" * 100_000, "<a" * 50_000, "<a|" * 30_000, "&" * 100_000):
        slack_text.readable(text)
    assert time.perf_counter() - started < 2


# --- send -----------------------------------------------------------------------------------------------------------


def at(server: SlackServer, **more: Any) -> SlackConfig:
    return SlackConfig.model_validate({**BASICS, "api_base": server.base + "/api/", **more})


TO = {"team": "T1", "channel": "C1", "thread_ts": TS}


async def send(server: SlackServer, message: Outgoing | None = None) -> str | None:
    async with httpx.AsyncClient(timeout=5) as http:
        return (await ADAPTER.send(at(server), message or outgoing(address=TO), http)).provider_message_id


async def refused(server: SlackServer, *script: Any, message: Outgoing | None = None) -> SendError:
    return await refusal_of(server, script, send(server, message), secret=TOKEN)


async def test_what_goes_out() -> None:
    async with SlackServer(TOKEN) as server:
        assert await send(server, outgoing(address=TO, text="<!channel> 1 < 2 & 3")) == "C1:1795334400.000001"
        (raw,) = server.raw
        assert orjson.loads(raw) == {
            "channel": "C1",
            "thread_ts": TS,
            "text": "&lt;!channel&gt; 1 &lt; 2 &amp; 3",
            "mrkdwn": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {"event_type": "roundtrip_message", "event_payload": {"message_id": str(MESSAGE_ID)}},
        }


async def test_in_a_direct_conversation() -> None:
    async with SlackServer(TOKEN) as server:
        await send(server, outgoing(address={"channel": "D1"}))
        assert "thread_ts" not in server.sent[0]


async def test_long_texts() -> None:
    text = ("word & " * 1500 + "👨‍👩‍👧" * 100).strip()
    async with SlackServer(TOKEN) as server:
        await send(server, outgoing(address=TO, text=text))
        texts = [payload["text"] for payload in server.sent]
        assert all(len(part) <= 4000 for part in texts)
        assert "".join("".join(texts).split()).replace("&amp;", "&") == "".join(text.split())
        assert ["metadata" in payload for payload in server.sent] == [False] * (len(texts) - 1) + [True]


async def test_a_short_wait_between_parts() -> None:
    async with SlackServer(TOKEN) as server:
        server.script = [None, refusal("ratelimited", 429, retry_after="0"), None]
        await send(server, outgoing(address=TO, text="word " * 1000))
        assert len(server.sent) == 2
        error = await refused(server, None, refusal("is_archived"), message=outgoing(address=TO, text="word " * 1000))
        assert error.failure is SendFailure.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "failure", "wait"),
    [
        (refusal("ratelimited", 429, retry_after="30"), SendFailure.RETRY, 30.0),
        ((429, {"retry-after": "3"}, b""), SendFailure.RETRY, 3.0),
        (refusal("rate_limited"), SendFailure.RETRY, None),
        ((503, {}, b"<html>"), SendFailure.RETRY, None),
        (refusal("internal_error"), SendFailure.UNKNOWN, None),
        (refusal("token_revoked"), SendFailure.REAUTH, None),
        (refusal("account_inactive"), SendFailure.REAUTH, None),
        (refusal("missing_scope"), SendFailure.CONFIG, None),
        (refusal("channel_not_found"), SendFailure.RECIPIENT, None),
        (refusal("not_in_channel"), SendFailure.RECIPIENT, None),
        (refusal("is_archived"), SendFailure.RECIPIENT, None),
        (refusal("message_limit_exceeded"), SendFailure.QUOTA, None),
        (refusal("msg_too_long"), SendFailure.PERMANENT, None),
        (refusal("brand_new_error"), SendFailure.PERMANENT, None),
        (refusal(f"odd {TOKEN}"), SendFailure.PERMANENT, None),
        ((302, {"location": "https://x.example"}, b""), SendFailure.CONFIG, None),
        ((200, {}, b"<html>"), SendFailure.UNKNOWN, None),
        ((200, {}, b'{"ok":true}'), SendFailure.UNKNOWN, None),
        ("drop", SendFailure.UNKNOWN, None),
    ],
)
async def test_refusals(answer: Any, failure: SendFailure, wait: float | None) -> None:
    async with SlackServer(TOKEN) as server:
        error = await refused(server, answer)
        assert (error.failure, error.retry_after_s) == (failure, wait)


@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({"address": {}}, SendFailure.RECIPIENT),
        ({"text": " "}, SendFailure.PERMANENT),
        ({"text": "x" * 81_000}, SendFailure.PERMANENT),
        ({"files": (OutboundFile("a", "image/png", b""),)}, SendFailure.PERMANENT),
    ],
)
async def test_what_cannot_be_sent(changed: dict[str, Any], failure: SendFailure) -> None:
    async with SlackServer(TOKEN) as server:
        assert (await refused(server, message=outgoing(**{"address": TO, **changed}))).failure is failure
        assert server.seen == []


PNG = OutboundFile("a b.png", "image/png", b"png" * 1000)


async def test_files_go_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="httpx")
    async with SlackServer(TOKEN) as server:
        message = outgoing(address=TO, files=(PNG, OutboundFile("c.txt", "text/plain", b"c")))
        assert await send(server, message) == "C1:1795334400.000001"
        assert server.uploads == [("/upload/v1/1", "image/png", PNG.data), ("/upload/v1/2", "text/plain", b"c")]
        titles = [{"id": "F1", "title": "a b.png"}, {"id": "F2", "title": "c.txt"}]
        assert server.shared == [{"files": titles, "channel_id": "C1", "thread_ts": TS}]
        assert [path for path, _ in server.seen][-2:] == ["/api/files.completeUploadExternal", "/api/chat.postMessage"]
        assert await send(server, outgoing(address=TO, text="", files=(PNG,))) is None
    assert "/upload/v1/<signed>" in caplog.text
    assert "/upload/v1/1" not in caplog.text
    assert TOKEN not in caplog.text


async def test_a_file_that_cannot_be_uploaded_sends_nothing() -> None:
    async with SlackServer(TOKEN) as server:
        message = outgoing(address=TO, files=(PNG,))
        server.files = {"/upload/v1/1": (500, {}, b"")}
        assert (await refused(server, message=message)).failure is SendFailure.RETRY
        server.upload_base, server.uploads = "https://evil.example", []
        error = await refused(server, message=message)
        assert (error.failure, "does not say where" in error.detail) == (SendFailure.RETRY, True)
        assert (server.uploads, server.shared, server.sent) == ([], [], [])


async def test_check() -> None:
    async with SlackServer(TOKEN) as server, httpx.AsyncClient() as http:
        await ADAPTER.check(at(server), http)
        with pytest.raises(SendError) as caught:
            await ADAPTER.check(at(server, bot_token="xoxb-wrong"), http)
    assert caught.value.failure is SendFailure.REAUTH


# --- fetch ----------------------------------------------------------------------------------------------------------


async def fetch(server: SlackServer, ref: dict[str, Any], limit: int = 100, kind: str = "image/png") -> bytes:
    async with httpx.AsyncClient(timeout=5) as http:
        return await ADAPTER.fetch(at(server), RemoteFile("a", kind, None, ref), http, limit=limit)


async def test_files_are_fetched() -> None:
    async with SlackServer(TOKEN) as server:
        server.files = {
            "/files-pri/T1-F1/a.png": (200, {"content-type": "image/png"}, b"x" * 100),
            "/login": (200, {"content-type": "text/html; charset=utf-8"}, b"<html>"),
            "/f": (302, {"location": "/login"}, b""),
        }
        assert await fetch(server, {"url": f"{server.base}/files-pri/T1-F1/a.png"}) == b"x" * 100
        assert await fetch(server, {"file_id": "F1"}) == b"x" * 100
        assert await fetch(server, {"url": f"{server.base}/login"}, kind="text/html") == b"<html>"
        for ref, limit in (
            ({"file_id": "F1"}, 99),
            ({"url": f"{server.base}/f"}, 100),
            ({"url": "https://evil.example/a"}, 100),
            ({"url": "https://slack.com.evil.example/a"}, 100),
            ({}, 100),
        ):
            with pytest.raises(FetchError) as caught:
                await fetch(server, ref, limit)
            assert not caught.value.retry


async def test_our_token_goes_to_slack_only() -> None:
    asked: list[tuple[str, bool]] = []

    def world(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, "authorization" in request.headers))
        if request.url.host == "files.slack.com":
            return httpx.Response(302, headers={"location": "https://a.slack-files.com/x"})
        return httpx.Response(302, headers={"location": "https://evil.example/x"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        file = RemoteFile("a", "image/png", None, {"url": "https://files.slack.com/files-pri/T1-F1/a.png"})
        with pytest.raises(FetchError):
            await ADAPTER.fetch(CONFIG, file, http, limit=10)
    assert asked == [("files.slack.com", True), ("a.slack-files.com", False)]


def test_secrets_are_sealed() -> None:
    assert TOKEN not in repr(CONFIG)
    assert SECRET not in repr(CONFIG)
