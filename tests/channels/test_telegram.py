"""Telegram: real updates in, and what each answer of the Bot API means for a message."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.base import (
    ChangeKind,
    Outgoing,
    Parsed,
    RefusalReason,
    RemoteFile,
    SendError,
    SendFailure,
    Unparseable,
)
from app.channels.config import TelegramConfig
from app.channels.provider import FetchError
from app.channels.telegram import TelegramAdapter
from app.channels.telegram_updates import parse_update
from app.errors import NotGenuine
from tests.channels.makers import call, outgoing

TOKEN = "123456:AAverysecretbottoken"
CONFIG = TelegramConfig.model_validate(
    {"bot_token": TOKEN, "secret_token": "hook_secret", "api_base": "https://tg.example/"}
)
ADAPTER = TelegramAdapter()
PRIVATE: dict[str, Any] = {
    "message_id": 7,
    "date": 1795334400,
    "chat": {"id": 42, "type": "private"},
    "from": {
        "id": 42,
        "is_bot": False,
        "first_name": "Ana",
        "last_name": "Ng",
        "username": "ang",
        "language_code": "zh-hans",
    },
}


def parse(**message: Any) -> Parsed:
    return parse_update({"update_id": 1, "message": {**PRIVATE, **message}})


def test_text() -> None:
    (message,) = parse(text="hello\0 there").messages
    assert (message.external_id, message.text) == ("42:7", "hello there")
    assert (message.sender.kind, message.sender.value, message.sender.name) == ("telegram", "42", "Ana Ng")
    assert (message.sender.language, message.sender.address) == ("zh-hans", {"chat_id": 42})
    assert message.sent_at is not None
    assert message.sent_at.isoformat() == "2026-11-22T08:00:00+00:00"


def test_in_a_group_a_person_is_somebody_else() -> None:
    (message,) = parse(
        text="x", chat={"id": -5, "type": "supergroup"}, is_topic_message=True, message_thread_id=3
    ).messages
    assert message.sender.value == "-5:42"
    assert message.sender.address == {"chat_id": -5, "message_thread_id": 3}
    assert message.external_id == "-5:7"


FILE = {"file_id": "F", "file_size": 9}
KINDS: list[tuple[dict[str, Any], str, tuple[str, str] | None]] = [
    (
        {
            "photo": [{"file_id": "s", "width": 1, "height": 1}, {"file_id": "F", "width": 9, "height": 9}],
            "caption": "cap",
        },
        "cap",
        ("photo.jpg", "image/jpeg"),
    ),
    ({"document": {**FILE, "file_name": "a/b.pdf", "mime_type": "application/pdf"}}, "", ("b.pdf", "application/pdf")),
    ({"voice": {**FILE, "mime_type": "audio/ogg; codecs=opus"}}, "", ("voice.ogg", "audio/ogg")),
    ({"audio": FILE}, "", ("audio.mp3", "audio/mpeg")),
    ({"video": FILE, "caption": "c"}, "c", ("video.mp4", "video/mp4")),
    ({"video_note": FILE}, "", ("video-note.mp4", "video/mp4")),
    ({"animation": FILE, "document": {**FILE, "file_id": "second"}}, "", ("animation.mp4", "video/mp4")),
    ({"sticker": {**FILE, "emoji": "😡", "is_animated": True}}, "😡", ("sticker.tgs", "application/x-tgsticker")),
    ({"sticker": {**FILE, "is_video": True}}, "", ("sticker.webm", "video/webm")),
    ({"location": {"latitude": 1.5, "longitude": -2}}, "📍 1.5, -2", None),
    (
        {
            "venue": {"title": "T", "address": "A", "location": {"latitude": 1, "longitude": 2}},
            "location": {"latitude": 1, "longitude": 2},
        },
        "T, A",
        None,
    ),
    ({"contact": {"first_name": "Bo", "phone_number": "+86 1"}}, "Bo (+86 1)", None),
    ({"poll": {"question": "Which?", "options": [{"text": "a"}, {"text": "b"}]}}, "Which?\n- a\n- b", None),
    ({"dice": {"emoji": "🎲", "value": 4}}, "🎲 4", None),
    ({"story": {"id": 1}}, "[story]", None),
]


@pytest.mark.parametrize(("given_", "text", "file"), KINDS)
def test_kinds_of_message(given_: dict[str, Any], text: str, file: tuple[str, str] | None) -> None:
    (message,) = parse(**given_).messages
    assert message.text == text
    if file is None:
        assert message.files == ()
    else:
        (found,) = message.files
        assert isinstance(found, RemoteFile)
        assert (found.name, found.media_type, found.ref) == (*file, {"file_id": "F"})


def test_own_contact_card_gives_the_phone_number() -> None:
    (own,) = parse(contact={"phone_number": "+1", "first_name": "A", "user_id": 42}).messages
    (other,) = parse(contact={"phone_number": "+1", "first_name": "A", "user_id": 43}).messages
    assert (own.sender.phone, other.sender.phone) == ("+1", None)


@pytest.mark.parametrize(
    "kind",
    [
        "channel_post",
        "edited_channel_post",
        "message_reaction_count",
        "inline_query",
        "business_connection",
        "brand_new_kind",
    ],
)
def test_other_updates_are_named_and_ignored(kind: str) -> None:
    assert parse_update({"update_id": 1, kind: {**PRIVATE, "text": "x"}}).ignored == (kind,)


@pytest.mark.parametrize(
    "kind", ["new_chat_members", "group_chat_created", "pinned_message", "forum_topic_created", "never_heard_of"]
)
def test_service_messages_are_ignored(kind: str) -> None:
    parsed = parse(**{kind: {"x": 1}})
    assert (parsed.messages, parsed.ignored, parsed.errors) == ((), (kind,), ())


def update(kind: str, /, **item: Any) -> Parsed:
    parsed = parse_update({"update_id": 99, kind: {**PRIVATE, **item}})
    assert parsed.errors == ()
    return parsed


def test_an_edit() -> None:
    (change,) = update("edited_message", text="now\0 so", edit_date=1795334500).changes
    assert (change.kind, change.external_id, change.provider_message_id) == (ChangeKind.EDIT, "42:7", None)
    assert (change.text, change.key, change.sender.value) == ("now so", "edit:42:7:1795334500", "42")
    assert change.at is not None
    assert change.at.timestamp() == 1795334500
    (caption,) = update("edited_message", photo=[{"file_id": "F"}], caption="see").changes
    assert (caption.text, caption.key) == ("see", "edit:42:7:99")
    moved = update("edited_message", location={"latitude": 1.5, "longitude": 2})
    assert (moved.changes, moved.ignored) == ((), ("edited_message without words",))
    assert update("edited_message", **{"from": {"is_bot": True}}).ignored == ("message from a bot",)


KEYBOARD = {"inline_keyboard": [[{"text": "Yes, please", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]]}


def pressed(**query: Any) -> dict[str, Any]:
    under = {"message_id": 9, "chat": {"id": 42, "type": "private"}, "date": 0, "reply_markup": KEYBOARD}
    return {
        "update_id": 1,
        "callback_query": {"id": "4382bfdwdsb323b2d9", "from": PRIVATE["from"], "message": under, **query},
    }


def test_a_pressed_button_is_what_stands_on_it() -> None:
    (message,) = parse_update(pressed(data="y")).messages
    assert (message.text, message.external_id) == ("Yes, please", "callback:4382bfdwdsb323b2d9")
    assert (message.sender.value, message.sender.name) == ("42", "Ana Ng")
    assert message.content == {"callback": {"data": "y", "message_id": 9}}
    assert parse_update(pressed(data="other")).messages[0].text == "other"
    assert parse_update(pressed()).ignored == ("callback_query without data",)
    assert parse_update(pressed(message=None)).ignored == ("callback_query without a message",)


def test_a_pressed_button_is_answered_in_the_answer_to_the_call() -> None:
    given_ = call(orjson.dumps(pressed(data="y")))
    answer = ADAPTER.answer(CONFIG, given_, ADAPTER.parse(CONFIG, given_))
    expected = {"method": "answerCallbackQuery", "callback_query_id": "4382bfdwdsb323b2d9"}
    assert (orjson.loads(answer.body), answer.media_type) == (expected, "application/json")
    for other in (orjson.dumps({"update_id": 1, "message": PRIVATE}), b"[]", b"no json"):
        assert ADAPTER.answer(CONFIG, call(other), Parsed()).body == b""


def test_reactions() -> None:
    emoji = {"type": "emoji", "emoji": "👍"}
    one = {"message_id": 7, "chat": {"id": 42, "type": "private"}, "user": PRIVATE["from"], "date": 1795334400}
    (change,) = parse_update({"update_id": 5, "message_reaction": {**one, "new_reaction": [emoji]}}).changes
    assert (change.kind, change.text, change.key) == (ChangeKind.REACTION, "👍", "reaction:42:7:5")
    assert change.external_id == change.provider_message_id == "42:7"
    assert change.sender.value == "42"
    (gone,) = parse_update({"update_id": 6, "message_reaction": {**one, "new_reaction": []}}).changes
    assert gone.text is None
    several = [{"type": "paid"}, {"type": "custom_emoji", "custom_emoji_id": "5"}, {"type": "new"}]
    (odd,) = parse_update({"update_id": 7, "message_reaction": {**one, "new_reaction": several}}).changes
    assert odd.text == "⭐[emoji]"
    group = {**one, "chat": {"id": -5, "type": "supergroup"}, "new_reaction": [emoji]}
    assert parse_update({"update_id": 8, "message_reaction": group}).changes[0].sender.value == "-5:42"


@pytest.mark.parametrize(("status", "on"), [("kicked", True), ("member", False)])
def test_who_blocks_the_bot_is_not_written_to(status: str, on: bool) -> None:
    (refusal_,) = update("my_chat_member", new_chat_member={"status": status}).refusals
    assert (refusal_.on, refusal_.reason, refusal_.sender.value) == (on, RefusalReason.BLOCKED, "42")
    assert refusal_.key == "my_chat_member:42:99"
    group = update("my_chat_member", chat={"id": -5, "type": "group"}, new_chat_member={"status": status})
    assert (group.refusals, group.ignored) == ((), (f"my_chat_member {status}",))


BUSINESS = {"business_connection_id": "bc1", "text": "x"}
OWNER = {"from": {"id": 1000, "is_bot": False, "first_name": "Shop"}}


def test_a_business_chat_is_a_conversation_of_its_own() -> None:
    (message,) = update("business_message", **BUSINESS).messages
    assert (message.external_id, message.sender.value, message.sender.name) == ("bc1:42:7", "bc1:42", "Ana Ng")
    assert message.sender.address == {"chat_id": 42, "business_connection_id": "bc1"}
    (echo,) = update("business_message", **BUSINESS, **OWNER).echoes
    assert (echo.external_id, echo.text) == ("bc1:42:7", "x")
    assert (echo.recipient.value, echo.recipient.name) == ("bc1:42", None)
    ours = update("business_message", **BUSINESS, **OWNER, sender_business_bot={"id": 5})
    assert (ours.echoes, ours.ignored) == ((), ("our own business_message",))


def test_changes_in_a_business_chat() -> None:
    (edit,) = update("edited_business_message", **BUSINESS, edit_date=5).changes
    assert (edit.external_id, edit.provider_message_id, edit.text) == ("bc1:42:7", None, "x")
    (mine,) = update("edited_business_message", **BUSINESS, **OWNER, edit_date=5).changes
    assert (mine.external_id, mine.provider_message_id) == (None, "bc1:42:7")
    deleted = {"business_connection_id": "bc1", "chat": {"id": 42, "type": "private"}, "message_ids": [1, 2, "x"]}
    gone = parse_update({"update_id": 1, "deleted_business_messages": deleted}).changes
    assert [(change.kind, change.external_id) for change in gone] == [
        (ChangeKind.DELETE, "bc1:42:1"),
        (ChangeKind.DELETE, "bc1:42:2"),
    ]


async def test_an_answer_in_a_business_chat() -> None:
    telegram = Telegram()
    address = {"chat_id": 42, "business_connection_id": "bc1"}
    async with telegram.client() as http:
        sent = await ADAPTER.send(CONFIG, outgoing(address=address), http)
    assert telegram.sent[0]["business_connection_id"] == "bc1"
    assert sent.provider_message_id == "bc1:42:101"


def test_where_a_message_was_forwarded_from() -> None:
    for origin, name in (
        ({"type": "user", "sender_user": {"first_name": "Bo"}}, "Bo"),
        ({"type": "hidden_user", "sender_user_name": "Hidden"}, "Hidden"),
        ({"type": "channel", "chat": {"title": "News"}}, "News"),
        ({"type": "chat", "sender_chat": {"title": "Group"}}, "Group"),
    ):
        (message,) = parse(text="x", forward_origin=origin, quote={"text": "as you said"}).messages
        assert message.content == {"forwarded": True, "forwarded_from": name, "quote": "as you said"}


async def test_a_file_that_telegram_does_not_give_is_not_asked_for() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(FetchError, match="20 MB") as caught:
            await ADAPTER.fetch(CONFIG, RemoteFile("a", "video/mp4", 20_000_001, {"file_id": "F"}), http, limit=10**9)
    assert not caught.value.retry


def test_bots_are_not_customers() -> None:
    assert parse(text="x", **{"from": {"id": 1, "is_bot": True}}).ignored == ("message from a bot",)


# Where we differ from courier's expectations, and why. A location or sticker has no words there (its attachment carries
# it); our agents read text, so a location is written out. `/start` opens a conversation there as an event of its own;
# here it is a message like any other. A failed download is courier's error at intake; we fetch files after storing.
OUR_TEXT = {"courier_locationMsg": "📍 -2.890287, -79.004333", "courier_startMsg": "/start"}


def updates(fixtures: Path) -> list[tuple[str, Any]]:
    found = []
    for path in sorted((fixtures / "telegram").rglob("*.json")):
        if not path.name.endswith(".expected.json"):
            update = json.loads(path.read_bytes())
            # The bare objects are messages, answers of the API, or parts of updates: each stands where a message would.
            bare = not isinstance(update, dict) or "update_id" not in update
            found.append((str(path), {"update_id": 1, "message": update.get("result", update)} if bare else update))
    return found


def test_every_real_update_is_read(fixtures: Path) -> None:
    read = {path: parse_update(update) for path, update in updates(fixtures)}
    assert len(read) >= 50
    for path, parsed in read.items():
        assert any((parsed.messages, parsed.changes, parsed.refusals, parsed.ignored, parsed.errors)), path
        for message in parsed.messages:
            orjson.dumps([message.content, message.text, dict(message.sender.address)])
    assert sum(len(parsed.messages) for parsed in read.values()) >= 25


def test_real_updates_say_what_others_read_in_them(fixtures: Path) -> None:
    compared = 0
    for path, update in updates(fixtures):
        beside = Path(path.removesuffix(".json") + ".expected.json")
        expected = json.loads(beside.read_bytes())[0] if beside.exists() else {}
        parsed = parse_update(update)
        if expected.get("resp_contains") == "Ignoring":
            assert parsed.messages == ()
        if "contact_name" not in expected:
            continue
        (message,) = parsed.messages
        assert message.text == OUR_TEXT.get(Path(path).stem, expected.get("text")), path
        assert message.sender.name == expected["contact_name"]
        if "urn" in expected:
            assert message.sender.value == expected["urn"].removeprefix("telegram:").partition("#")[0]
            assert message.external_id == f"{message.sender.value}:{expected['external_id']}"
            assert len(message.files) == len(
                [url for url in expected.get("attachments", ()) if not url.startswith("geo:")]
            )
        compared += 1
    assert compared >= 8


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**70) | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "text", "file_id", "title", "chat", "from", "date", "type", "options", "width", "value"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(
    st.dictionaries(
        st.sampled_from(["message_id", "chat", "from", "date", *[name for kind, *_ in KINDS for name in kind]]), JSON
    )
)
def test_any_update_is_read(message: dict[str, Any]) -> None:
    parse_update({"update_id": 1, "message": message})
    parse_update({"update_id": 1, "message": {**PRIVATE, **message}})


@pytest.mark.parametrize(
    "update", [None, 5, "x", [], {}, {"update_id": 1}, {"update_id": 1, "message": "RUBY:x"}, {"message": {}}]
)
def test_odd_updates(update: Any) -> None:
    assert parse_update(update).messages == ()


def test_no_json() -> None:
    with pytest.raises(Unparseable):
        ADAPTER.parse(CONFIG, call(b"{"))


def test_only_telegram_knows_the_secret_token() -> None:
    ADAPTER.verify(CONFIG, call(b"{}", {"x-telegram-bot-api-secret-token": "hook_secret"}))
    for wrong in ("hook_secreT", "", "hook_secret "):
        with pytest.raises(NotGenuine):
            ADAPTER.verify(CONFIG, call(b"{}", {"x-telegram-bot-api-secret-token": wrong}))
    with pytest.raises(NotGenuine):
        ADAPTER.verify(CONFIG, call(b"{}"))


class Telegram:
    """The Bot API's end of the wire: gives `answers` one after the other, then accepts everything."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.sent = list(answers), list[Any]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"https://tg.example/bot{TOKEN}/sendMessage"
        self.sent.append(orjson.loads(request.read()))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        result = {"message_id": 100 + len(self.sent), "chat": {"id": self.sent[-1]["chat_id"]}}
        return httpx.Response(200, json={"ok": True, "result": result})

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def to_chat(**changed: Any) -> Outgoing:
    return outgoing(address={"chat_id": 42, "message_thread_id": 3}, **changed)


def refusal(code: int, description: str = "no", **parameters: Any) -> httpx.Response:
    return httpx.Response(
        code, json={"ok": False, "error_code": code, "description": description, "parameters": parameters}
    )


async def failure(*answers: httpx.Response | Exception, message: Outgoing | None = None) -> SendError:
    async with Telegram(*answers).client() as http:
        with pytest.raises(SendError) as error:
            await ADAPTER.send(CONFIG, message or to_chat(), http)
    return error.value


async def test_sending() -> None:
    telegram = Telegram()
    async with telegram.client() as http:
        sent = await ADAPTER.send(CONFIG, to_chat(), http)
    assert telegram.sent == [{"chat_id": 42, "message_thread_id": 3, "text": "We have found it."}]
    assert sent.provider_message_id == "42:101"


async def test_a_long_text_goes_out_in_parts() -> None:
    telegram = Telegram()
    text = "\n\n".join(f"paragraph {n} " + "word " * 100 for n in range(30))
    async with telegram.client() as http:
        sent = await ADAPTER.send(CONFIG, to_chat(text=text), http)
    assert len(telegram.sent) >= 4
    assert "".join("".join(part["text"].split()) for part in telegram.sent) == "".join(text.split())
    assert sent.provider_message_id == f"42:{100 + len(telegram.sent)}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(400, "Bad Request: chat not found"), SendFailure.RECIPIENT),
        (refusal(400, "Bad Request: message is too long"), SendFailure.PERMANENT),
        (refusal(401, "Unauthorized"), SendFailure.REAUTH),
        (refusal(404, "Not Found"), SendFailure.REAUTH),
        (refusal(403, "Forbidden: bot was blocked by the user"), SendFailure.RECIPIENT),
        (refusal(429, "Too Many Requests", retry_after=12), SendFailure.RETRY),
        (refusal(500), SendFailure.RETRY),
        (httpx.Response(502, text="<html>Bad gateway"), SendFailure.RETRY),
        (httpx.Response(301, headers={"location": "https://x.example"}), SendFailure.CONFIG),
        (httpx.Response(200, text="<html>a login page"), SendFailure.UNKNOWN),
        (httpx.ConnectError("x"), SendFailure.RETRY),
        (httpx.ConnectTimeout("x"), SendFailure.RETRY),
        (httpx.PoolTimeout("x"), SendFailure.RETRY),
        (httpx.ReadTimeout("x"), SendFailure.UNKNOWN),
        (httpx.WriteTimeout("x"), SendFailure.UNKNOWN),
        (httpx.ReadError("x"), SendFailure.UNKNOWN),
        (httpx.RemoteProtocolError("x"), SendFailure.UNKNOWN),
        (httpx.UnsupportedProtocol("x"), SendFailure.CONFIG),
    ],
)
async def test_answers(answer: httpx.Response | Exception, expected: SendFailure) -> None:
    error = await failure(answer)
    assert error.failure is expected
    assert TOKEN not in error.detail
    assert error.retry_after_s == (12 if "429" in error.detail else None)


async def test_a_break_between_parts_is_for_people() -> None:
    ok = httpx.Response(200, json={"ok": True, "result": {"message_id": 1}})
    error = await failure(ok, httpx.ConnectError("x"), message=to_chat(text="word " * 2000))
    assert error.failure is SendFailure.UNKNOWN
    assert "1 of 3 parts" in error.detail


async def test_a_short_wait_between_parts_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    ok = httpx.Response(200, json={"ok": True, "result": {"message_id": 1}})
    telegram = Telegram(ok, refusal(429, "slow down", retry_after=2))
    async with telegram.client() as http:
        await ADAPTER.send(CONFIG, to_chat(text="word " * 1500), http)
    assert waited == [2]
    assert len(telegram.sent) == 3


async def test_a_group_that_became_a_supergroup_is_followed_once() -> None:
    telegram = Telegram(refusal(400, "group chat was upgraded to a supergroup chat", migrate_to_chat_id=-100))
    async with telegram.client() as http:
        sent = await ADAPTER.send(CONFIG, to_chat(), http)
    assert [part["chat_id"] for part in telegram.sent] == [42, -100]
    assert sent.provider_message_id == "-100:102"
    again = refusal(400, "upgraded", migrate_to_chat_id=-100)
    assert (await failure(again, refusal(400, "upgraded", migrate_to_chat_id=-101))).failure is SendFailure.PERMANENT


PHOTO = RemoteFile("photo.jpg", "image/jpeg", 9, {"file_id": "F"})


def file_server(answer: httpx.Response, data: httpx.Response) -> httpx.AsyncClient:
    async def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"/bot{TOKEN}/getFile":
            assert orjson.loads(request.read()) == {"file_id": "F"}
            return answer
        assert request.url.path == f"/file/bot{TOKEN}/photos/1.jpg"
        return data

    return httpx.AsyncClient(transport=httpx.MockTransport(serve))


HERE = httpx.Response(200, json={"ok": True, "result": {"file_path": "photos/1.jpg"}})


async def test_a_file_is_fetched() -> None:
    async with file_server(HERE, httpx.Response(200, content=b"JPEG")) as http:
        assert await ADAPTER.fetch(CONFIG, PHOTO, http, limit=4) == b"JPEG"


@pytest.mark.parametrize(
    ("answer", "data", "retry"),
    [
        (HERE, httpx.Response(200, content=b"JPEG5"), False),
        (HERE, httpx.Response(404), False),
        (HERE, httpx.Response(503), True),
        (refusal(400, "Bad Request: file is too big"), HERE, False),
        (refusal(429, "slow down", retry_after=1), HERE, True),
        (httpx.Response(502, text="bad gateway"), HERE, True),
        (httpx.Response(200, json={"ok": True, "result": {"file_path": "../../etc"}}), HERE, False),
    ],
)
async def test_a_file_that_cannot_be_fetched(answer: httpx.Response, data: httpx.Response, retry: bool) -> None:
    async with file_server(answer, data) as http:
        with pytest.raises(FetchError) as error:
            await ADAPTER.fetch(CONFIG, PHOTO, http, limit=4)
    assert error.value.retry is retry
    assert TOKEN not in error.value.detail


async def test_nothing_to_send_and_nowhere_to_send_it() -> None:
    assert (await failure(message=outgoing())).failure is SendFailure.RECIPIENT
    assert (await failure(message=to_chat(text=" \n "))).failure is SendFailure.PERMANENT


async def test_the_bot_token_never_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with Telegram().client() as http:
            await ADAPTER.send(CONFIG, to_chat(), http)
        async with httpx.AsyncClient() as http:
            closed = TelegramConfig.model_validate(
                {**CONFIG.model_dump(), "bot_token": TOKEN, "secret_token": "x", "api_base": "http://127.0.0.1:9"}
            )
            with pytest.raises(SendError) as error:
                await ADAPTER.send(closed, to_chat(), http)
    assert "sendMessage" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(error.getrepr(style="long"))
    assert TOKEN not in repr(CONFIG)
