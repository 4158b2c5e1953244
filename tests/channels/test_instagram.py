"""Instagram: where it differs from Messenger, coming in and going out."""

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
    OutboundFile,
    Outgoing,
    Parsed,
    Sender,
    SendError,
    SendFailure,
    StatusUpdate,
    Unparseable,
)
from app.channels.instagram import InstagramAdapter
from app.channels.instagram_config import InstagramConfig
from tests.channels.makers import NOW, call, outgoing
from tests.channels.test_messenger import JSON, NAMES
from tests.support.meta import GraphServer, refusal

TOKEN = "IGAAinstagramtoken"
GIVEN = {"app_secret": "s", "verify_token": "v", "access_token": TOKEN, "account_id": "333"}
CONFIG = InstagramConfig.model_validate(GIVEN)
PAGED = InstagramConfig.model_validate({**GIVEN, "page_id": "444"})
ADAPTER = InstagramAdapter()
PLAIN: dict[str, Any] = {"sender": {"id": "77"}, "recipient": {"id": "333"}, "timestamp": 1795334400000}
ANA = Sender("instagram", "77", address={"id": "77"})
CDN = "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1&signature=s"


def envelope(*events: Any, name: str = "messaging", account: str = "333") -> dict[str, Any]:
    return {"object": "instagram", "entry": [{"id": account, "time": 1795334400000, name: list(events)}]}


def parse(body: Any, config: InstagramConfig = CONFIG) -> Parsed:
    return ADAPTER.parse(config, call(body if isinstance(body, bytes) else json.dumps(body).encode()))


def said(**message: Any) -> Parsed:
    return parse(envelope({**PLAIN, "message": {"mid": "m_1", **message}}))


def test_text() -> None:
    parsed = said(text="hello", reply_to={"story": {"id": "s", "url": CDN}})
    (message,) = parsed.messages
    assert (message.external_id, message.text, message.sender, message.sent_at) == ("m_1", "hello", ANA, NOW)
    assert message.content == {"reply_to": {"story": {"id": "s", "url": CDN}}}


@pytest.mark.parametrize(
    ("attachment", "text", "files"),
    [
        ({"type": "like_heart"}, "❤️", 0),
        ({"type": "image", "payload": {"url": CDN}}, "", 1),
        ({"type": "story_mention", "payload": {"url": CDN}}, "[story mention]", 1),
        ({"type": "ig_story", "payload": {"story_media_url": CDN}}, "[ig story]", 1),
        ({"type": "ig_reel", "payload": {"url": CDN, "title": "Reel"}}, "[ig reel] Reel", 1),
        ({"type": "ig_post", "payload": {"url": CDN, "title": "Post"}}, "[ig post] Post", 1),
        ({"type": "share", "payload": {"url": CDN}}, "[share]", 1),
    ],
)
def test_attachments(attachment: dict[str, Any], text: str, files: int) -> None:
    (message,) = said(attachments=[attachment]).messages
    assert (message.text, len(message.files)) == (text, files)


def test_a_read_names_the_message() -> None:
    parsed = parse(envelope({**PLAIN, "read": {"mid": "m_0"}}))
    assert parsed.statuses == (StatusUpdate("m_0", "read", at=NOW),)


def test_unsent_edited_reacted() -> None:
    (gone,) = said(is_deleted=True).changes
    assert (gone.kind, gone.external_id) == (ChangeKind.DELETE, "m_1")
    (edit,) = parse(envelope({**PLAIN, "message_edit": {"mid": "m_0", "text": "new", "num_edit": 1}})).changes
    assert (edit.kind, edit.text, edit.key) == (ChangeKind.EDIT, "new", "m_0:edit:1")
    (love,) = parse(envelope({**PLAIN, "reaction": {"mid": "m_0", "action": "react", "reaction": "love"}})).changes
    assert (love.kind, love.text) == (ChangeKind.REACTION, "love")


def test_edit_number_0_is_only_noise() -> None:
    assert parse(envelope({"timestamp": 1, "message_edit": {"mid": "m_0", "num_edit": 0}})).ignored == (
        "message_edit 0",
    )


def test_an_echo() -> None:
    event = {"sender": {"id": "333"}, "recipient": {"id": "77"}, "message": {"mid": "e", "text": "x", "is_echo": True}}
    (echo,) = parse(envelope(event)).echoes
    assert (echo.external_id, echo.recipient, echo.text) == ("e", ANA, "x")


def test_a_message_that_comes_both_ways_is_one() -> None:
    event = {**PLAIN, "message": {"mid": "m", "text": "x"}}
    body = envelope(event, event)
    body["entry"].append(body["entry"][0])
    assert len(parse(body).messages) == 1


def test_the_account_is_known_by_its_own_id_or_its_pages() -> None:
    text = {"message": {"mid": "m", "text": "x"}}
    by_page = envelope({**PLAIN, "recipient": {"id": "999"}, **text}, account="444")
    assert len(parse(by_page, PAGED).messages) == 1
    assert parse(by_page).ignored == ("other account",)
    scoped = envelope({**PLAIN, "recipient": {"id": "1784"}, **text})
    assert len(parse(scoped).messages) == 1
    assert parse({"object": "page", "entry": []}).ignored == ("object page",)
    assert parse(envelope({"message": {"mid": "m", "text": "x"}, "sender": {"id": "1"}}, account="0")).ignored == (
        "other account",
    )


# Where we differ from courier's expectations, and why: a tapped question opens a conversation there as an event of its
# own; here it is a message like any other. An id of a shape that nobody knows is refused there; here it is as good as any.
def real_calls(fixtures: Path) -> list[tuple[Path, bytes, InstagramConfig]]:
    """Each with the account that it is for."""
    found = []
    for path in sorted((fixtures / "instagram").rglob("*.json")):
        if not path.name.endswith(".expected.json"):
            raw = path.read_bytes()
            entries = json.loads(raw).get("entry") or [{}]
            account = str(entries[0].get("id", "333"))
            found.append((path, raw, CONFIG.model_copy(update={"account_id": account})))
    return found


def test_every_real_call_is_read(fixtures: Path) -> None:
    counts = dict.fromkeys(("messages", "changes", "echoes", "statuses", "errors"), 0)
    for path, raw, config in real_calls(fixtures):
        parsed = parse(raw, config)
        assert parsed == parse(raw, config), path
        assert "other account" not in parsed.ignored, path
        for name in counts:
            counts[name] += len(getattr(parsed, name))
        for message in parsed.messages:
            assert message.text or message.files, path
            orjson.dumps([message.content, message.text, dict(message.sender.address)])
    assert counts == {"messages": 13, "changes": 1, "echoes": 1, "statuses": 1, "errors": 0}


def test_real_calls_say_what_others_read_in_them(fixtures: Path) -> None:
    compared = 0
    for path, raw, config in real_calls(fixtures):
        beside = path.with_name(path.name.removesuffix(".json") + ".expected.json")
        expected = json.loads(beside.read_bytes())[0] if beside.exists() else {}
        if "urn" in expected:
            (message,) = parse(raw, config).messages
            assert message.text == expected["text"], path
            assert f"instagram:{message.sender.value}" == expected["urn"]
            assert message.external_id == expected["external_id"]
            assert message.sent_at == datetime.fromisoformat(expected["date"]).astimezone(UTC)
            compared += 1
    assert compared >= 2


@given(JSON, st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8))
def test_any_call_is_read(body: Any, item: dict[str, Any]) -> None:
    for given_ in (body, envelope(item, {**PLAIN, **item}), envelope({**PLAIN, "message": {"mid": "m", **item}})):
        try:
            parsed = parse(json.dumps(given_).encode())
        except Unparseable:
            assert not isinstance(given_, dict)
            continue
        for message in parsed.messages:
            orjson.dumps([message.external_id, message.text, message.content, dict(message.sender.address)])


@pytest.fixture
async def server() -> AsyncIterator[GraphServer]:
    async with GraphServer(TOKEN) as server:
        yield server


async def send(server: GraphServer, message: Outgoing, config: InstagramConfig = CONFIG, **changed: Any) -> str | None:
    async with httpx.AsyncClient(timeout=5) as http:
        there = config.model_copy(update={"api_base": server.base, **changed})
        return (await ADAPTER.send(there, message, http)).provider_message_id


async def failure(server: GraphServer, message: Outgoing, **changed: Any) -> SendFailure:
    with pytest.raises(SendError) as error:
        await send(server, message, **changed)
    return error.value.failure


def to_ana(**changed: Any) -> Outgoing:
    return outgoing(**{"address": {"id": "77"}, **changed})


async def test_sending_byte_by_byte(server: GraphServer) -> None:
    assert await send(server, to_ana()) == "mid.1"
    assert await send(server, to_ana(), PAGED) == "mid.2"
    assert server.paths == ["/v24.0/333/messages", "/v24.0/444/messages"]
    body = b'{"recipient":{"id":"77"},"messaging_type":"RESPONSE","message":{"text":"We have found it."}}'
    assert server.raw == [body, body]


async def test_a_long_text_goes_out_in_parts_of_1000_bytes(server: GraphServer) -> None:
    await send(server, to_ana(text="请尽快处理。" * 100))
    texts = [payload["message"]["text"] for _, payload in server.sent]
    assert all(len(text.encode()) <= 1000 for text in texts)
    assert "".join(texts) == "请尽快处理。" * 100
    assert all(text.endswith("。") for text in texts)


async def test_files_go_by_way_of_the_page(server: GraphServer) -> None:
    png = OutboundFile("a.png", "image/png", b"png")
    await send(server, to_ana(text="", files=(png,)), PAGED)
    assert server.uploads[0].path == "/v24.0/444/message_attachments"
    assert server.uploads[0].fields["platform"] == "instagram"
    assert server.sent[0][1]["message"] == {"attachment": {"type": "image", "payload": {"attachment_id": "up1"}}}
    assert await failure(server, to_ana(files=(png,))) is SendFailure.PERMANENT
    for odd in (
        OutboundFile("a.webp", "image/webp", b"x"),
        OutboundFile("a.zip", "application/zip", b"x"),
        OutboundFile("a.png", "image/png", bytes(8_000_001)),
    ):
        assert await failure(server, to_ana(files=(png, odd)), config=PAGED) is SendFailure.PERMANENT
    assert len(server.uploads) == 1


async def test_the_window(server: GraphServer) -> None:
    server.script = [refusal(10, subcode=2534022)]
    assert await failure(server, to_ana()) is SendFailure.WINDOW
    server.script = [refusal(10, subcode=2534022), None]
    assert await send(server, to_ana(), human_agent=True) == "mid.1"
    assert server.sent[0][1]["tag"] == "HUMAN_AGENT"


async def test_lost_answers_and_credentials(server: GraphServer) -> None:
    server.script = ["drop", refusal(190, status=401)]
    assert await failure(server, to_ana()) is SendFailure.UNKNOWN
    assert await failure(server, to_ana()) is SendFailure.REAUTH
    async with httpx.AsyncClient(timeout=5) as http:
        await ADAPTER.check(PAGED.model_copy(update={"api_base": server.base}), http)
    assert server.paths[-1] == "/v24.0/444?fields=id"
