"""WeChat Official Account: real pushes in, custom messages out, and what each errcode means for a message."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import wechat_api
from app.channels.base import (
    Answering,
    Call,
    Checking,
    Fetching,
    Handshaking,
    InboundMessage,
    OutboundFile,
    Outgoing,
    Parsed,
    RefusalReason,
    RemoteFile,
    SendError,
    SendFailure,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.wechat import WechatAdapter
from app.channels.wechat_config import WechatConfig
from app.channels.wechat_parse import parse_push
from app.errors import NotGenuine
from tests.channels.makers import NOW, call, outgoing
from tests.support.wechat import Account, WechatServer, said, sign

SECRET = "0123456789abcdef0123456789abcdef"
ACCESS = "ACCESS_xyz"
ACCOUNT = Account()
ADAPTER = WechatAdapter()


def config(**changed: Any) -> WechatConfig:
    given_ = {
        "app_id": ACCOUNT.receiver,
        "app_secret": SECRET,
        "token": ACCOUNT.token,
        "encoding_aes_key": ACCOUNT.aes_key,
        **changed,
    }
    return WechatConfig.model_validate(given_)


def push(inner: str) -> str:
    return (
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oPerson]]></FromUserName>"
        f"<CreateTime>1795334400</CreateTime>{inner}</xml>"
    )


def parse(inner: str) -> Parsed:
    arrived = ACCOUNT.push(push(inner), NOW)
    ADAPTER.verify(config(), arrived)
    return ADAPTER.parse(config(), arrived)


def only(inner: str) -> InboundMessage:
    parsed = parse(inner)
    assert (parsed.errors, parsed.ignored) == ((), ())
    (message,) = parsed.messages
    return message


def test_it_offers_what_the_house_may_call() -> None:
    for offered in (Handshaking, Answering, Checking, Fetching):
        assert isinstance(ADAPTER, offered)


def test_text() -> None:
    message = only(
        "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好 /::) 😀]]></Content><MsgId>123456789</MsgId>"
    )
    assert (message.external_id, message.text) == ("123456789", "你好 /::) 😀")
    assert (message.sender.kind, message.sender.value) == ("wechat", "oPerson")
    assert message.sender.address == {"openid": "oPerson"}
    assert message.sent_at is not None
    assert message.sent_at.isoformat() == "2026-11-22T08:00:00+00:00"


KINDS: list[tuple[str, str, tuple[str, str] | None]] = [
    ("<MsgType>image</MsgType><PicUrl>http://x</PicUrl><MediaId>M</MediaId>", "", ("image.jpg", "image/jpeg")),
    ("<MsgType>image</MsgType>", "[image]", None),
    ("<MsgType>voice</MsgType><MediaId>M</MediaId><Format>amr</Format>", "", ("voice.amr", "audio/amr")),
    (
        "<MsgType>voice</MsgType><MediaId>M</MediaId><Format>Speex</Format><Recognition>where is it</Recognition>",
        "where is it",
        ("voice.speex", "audio/speex"),
    ),
    ("<MsgType>video</MsgType><MediaId>M</MediaId><ThumbMediaId>T</ThumbMediaId>", "", ("video.mp4", "video/mp4")),
    ("<MsgType>shortvideo</MsgType><MediaId>M</MediaId>", "", ("video.mp4", "video/mp4")),
    (
        "<MsgType>location</MsgType><Location_X>23.1</Location_X><Location_Y>113.3</Location_Y><Scale>20</Scale>"
        "<Label>位置</Label>",
        "📍 位置 (23.1, 113.3)",
        None,
    ),
    (
        "<MsgType>location</MsgType><Location_X>1</Location_X><Location_Y>2</Location_Y><Label></Label>",
        "📍 1, 2",
        None,
    ),
    (
        "<MsgType>link</MsgType><Title>T</Title><Description>D</Description><Url>https://x.example</Url>",
        "T\nD\nhttps://x.example",
        None,
    ),
    ("<MsgType>file</MsgType><Title>a.pdf</Title>", "[file] a.pdf", None),
    ("<MsgType>miniprogrampage</MsgType><Title>Shop</Title>", "[mini program] Shop", None),
]


@pytest.mark.parametrize(("inner", "text", "file"), KINDS)
def test_kinds_of_message(inner: str, text: str, file: tuple[str, str] | None) -> None:
    message = only(inner + "<MsgId>1</MsgId>")
    assert message.text == text
    found = [(one.name, one.media_type, one.ref) for one in message.files if isinstance(one, RemoteFile)]
    assert found == ([(*file, {"media_id": "M"})] if file else [])


def test_without_a_msg_id_a_repetition_is_known_all_the_same() -> None:
    first = only("<MsgType>text</MsgType><Content>a</Content>").external_id
    assert first == only("<MsgType>text</MsgType><Content>a</Content>").external_id
    assert first.startswith("oPerson:1795334400:")
    assert first != only("<MsgType>text</MsgType><Content>b</Content>").external_id


def test_a_pressed_menu_button_is_a_word_of_the_customer() -> None:
    message = only("<MsgType>event</MsgType><Event>CLICK</Event><EventKey>TALK_TO_US</EventKey>")
    assert (message.external_id, message.text) == ("oPerson:1795334400:CLICK:TALK_TO_US", "TALK_TO_US")


@pytest.mark.parametrize(("event", "on"), [("subscribe", False), ("unsubscribe", True)])
def test_who_has_left_is_not_written_to(event: str, on: bool) -> None:
    parsed = parse(f"<MsgType>event</MsgType><Event>{event}</Event><EventKey></EventKey>")
    assert (parsed.messages, parsed.ignored, parsed.errors) == ((), (), ())
    (refused,) = parsed.refusals
    assert (refused.on, refused.reason, refused.detail) == (on, RefusalReason.BLOCKED, event)
    assert refused.sender.kind == "wechat"
    assert refused.key.endswith(f":{event}")


@pytest.mark.parametrize("event", ["SCAN", "LOCATION", "VIEW", "kf_create_session", "new"])
def test_other_events_are_named_and_ignored(event: str) -> None:
    parsed = parse(f"<MsgType>event</MsgType><Event>{event}</Event><EventKey>k</EventKey>")
    assert (parsed.messages, parsed.ignored, parsed.errors) == ((), (event,), ())


def test_unknown_kinds_are_named_and_ignored() -> None:
    assert parse("<MsgType>hologram</MsgType><MsgId>1</MsgId>").ignored == ("hologram",)
    assert parse("<MsgType>text</MsgType><Content></Content><MsgId>1</MsgId>").ignored == ("empty text",)


@pytest.mark.parametrize(
    "content",
    ["<xml><MsgType>text</MsgType><Content>x</Content></xml>", "<xml/>", "{}", "<xml><MsgType><a/></MsgType></xml>"],
)
def test_what_has_no_sender_or_no_type_is_an_error(content: str) -> None:
    parsed = ADAPTER.parse(config(), ACCOUNT.push(content, NOW))
    assert (parsed.messages, len(parsed.errors)) == ((), 1)


def test_unreadable_pushes() -> None:
    for content in ("<xml>", "{", "no", ""):
        with pytest.raises(Unparseable):
            ADAPTER.parse(config(), ACCOUNT.push(content, NOW))
    with pytest.raises(Unparseable):
        ADAPTER.parse(config(), call(b"<xml><Encrypt>x</Encrypt></xml>"))


def test_what_stands_beside_the_encrypted_part_is_not_read() -> None:
    """Compatibility mode repeats the push in the clear; nothing signs that."""
    forged = ACCOUNT.push(
        push("<MsgType>text</MsgType><Content>real</Content>"), NOW, beside="<Content>forged</Content>"
    )
    ADAPTER.verify(config(), forged)
    (message,) = ADAPTER.parse(config(), forged).messages
    assert message.text == "real"


def test_plain_mode_is_refused() -> None:
    arrived = ACCOUNT.push("<xml/>", NOW)
    plain = push("<MsgType>text</MsgType><Content>x</Content>").encode()
    with pytest.raises(NotGenuine):
        ADAPTER.verify(config(), Call("POST", "x", arrived.query, {}, plain, NOW))


def handshake(echo: str, **changed: str) -> Call:
    timestamp = str(int(NOW.timestamp()))
    signed = {"signature": sign(ACCOUNT.token, timestamp, "n"), "timestamp": timestamp, "nonce": "n"}
    return Call("GET", "x", {**signed, "echostr": echo, **changed}, {}, b"", NOW)


def test_the_test_of_the_address() -> None:
    assert ADAPTER.handshake(config(), handshake("5837397520665436492")).body == b"5837397520665436492"
    for wrong in (
        handshake(""),
        handshake("x" * 1001),
        handshake("中"),
        handshake("a\r\nb"),
        handshake("1", nonce="m"),
        handshake("1", timestamp="1"),
        handshake("1", signature=sign("other", "1", "n")),
    ):
        with pytest.raises(NotGenuine):
            ADAPTER.handshake(config(), wrong)


def test_every_push_is_answered_with_success() -> None:
    assert ADAPTER.answer(config(), ACCOUNT.push("<xml/>", NOW), Parsed()).body == b"success"


def pushes(fixtures: Path) -> Iterator[tuple[Path, Parsed]]:
    for folder in ("inbound", "status", "passive_reply"):
        for path in sorted((fixtures / "wechat_oa" / folder).iterdir()):
            if not path.name.endswith(".expected.json"):
                arrived = ACCOUNT.push(path.read_bytes(), NOW)
                ADAPTER.verify(config(), arrived)
                yield path, ADAPTER.parse(config(), arrived)


# Of these, MsgType is one that customers send; the passive replies have our side's kinds (music, news).
_IGNORED = ("event", "device_text", "device_event", "notsure", "music", "news")


def test_every_real_push(fixtures: Path) -> None:
    seen = 0
    for path, parsed in pushes(fixtures):
        seen += 1
        text = path.read_text()
        silent = any(f"<MsgType><![CDATA[{kind}]]>" in text or f'"MsgType": "{kind}"' in text for kind in _IGNORED)
        if path.stem == "courier_missingParamsRequired":
            assert parsed.errors == ("text: FromUserName is missing",)
        elif silent:
            assert (parsed.messages, len(parsed.ignored) + len(parsed.refusals), parsed.errors) == ((), 1, ()), (
                path.name
            )
        else:
            assert (len(parsed.messages), parsed.ignored, parsed.errors) == (1, (), ()), path.name
    assert seen >= 50


def test_as_courier_expects(fixtures: Path) -> None:
    """courier refuses a message without MsgId (`missingParams`); WeChat sends such, and to refuse is to lose it. Without
    a sender (`missingParamsRequired`) both refuse, courier with 400, we with an error in the journal: WeChat would only
    send it again. A new follower is an event there; here nobody has said anything yet."""
    found = {path.stem: parsed for path, parsed in pushes(fixtures)}
    compared = 0
    for path in sorted((fixtures / "wechat_oa" / "inbound").glob("*.expected.json")):
        name = path.name.removesuffix(".expected.json")
        (expected,) = json.loads(path.read_bytes())
        parsed = found[name]
        if name == "courier_missingParams":
            assert parsed.messages[0].text == "Simple Message"
        elif "external_id" in expected:
            (message,) = parsed.messages
            assert (message.external_id, message.text) == (expected["external_id"], expected["text"])
            assert f"wechat:{message.sender.value}" == expected["urn"]
            assert len(message.files) == len(expected["attachments"])
            assert message.sent_at is not None
            assert message.sent_at.isoformat(timespec="microseconds") == expected["date"].replace("Z", "+00:00")
        else:
            assert parsed.messages == ()
        compared += 1
    assert compared >= 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**80) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["MsgId", "FromUserName", "CreateTime", "Event", "EventKey", "Content", "MediaId", "Format", "Recognition"]
NAMES += ["Title", "Description", "Url", "Location_X", "Location_Y", "Label", "bizmsgmenuid"]


@given(
    st.sampled_from(["text", "image", "voice", "video", "location", "link", "file", "event", "miniprogrampage", "x"]),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)
def test_any_push_is_read(kind: str, rest: dict[str, Any]) -> None:
    for parsed in (
        parse_push({"MsgType": kind, **rest}, b"x"),
        parse_push({"MsgType": kind, "FromUserName": "o", **rest}, b"x"),
        parse_push(rest, b""),
    ):
        for message in parsed.messages:
            assert 0 < len(message.external_id) <= 400
            (message.text + message.external_id).encode()


@given(st.binary(max_size=200))
def test_any_sealed_content(content: bytes) -> None:
    arrived = ACCOUNT.push(content, NOW)
    ADAPTER.verify(config(), arrived)
    try:
        ADAPTER.parse(config(), arrived)
    except Unparseable:
        return


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WechatServer]:
    monkeypatch.setattr(wechat_api, "_tokens", {})
    async with WechatServer(ACCOUNT.receiver, SECRET) as found:
        yield found


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


def at(server: WechatServer) -> WechatConfig:
    return config(api_base=server.base)


def to_person(**changed: Any) -> Outgoing:
    return outgoing(address={"openid": "oPerson"}, **changed)


async def failure(server: WechatServer, http: httpx.AsyncClient, message: Outgoing | None = None) -> SendError:
    with pytest.raises(SendError) as error:
        await ADAPTER.send(at(server), message or to_person(), http)
    assert SECRET not in error.value.detail
    assert server.good not in error.value.detail
    return error.value


async def test_sending_goes_out_as_it_is_written(server: WechatServer, http: httpx.AsyncClient) -> None:
    await ADAPTER.send(at(server), to_person(text="已经找到了 😀"), http)
    (asked,) = server.asked
    assert (asked.path, asked.query) == ("message/custom/send", {"access_token": "TOKEN_1"})
    expected = '{"touser":"oPerson","msgtype":"text","text":{"content":"已经找到了 😀"}}'
    assert asked.body == expected.encode()


async def test_one_token_for_many(server: WechatServer, http: httpx.AsyncClient) -> None:
    await asyncio.gather(*(ADAPTER.send(at(server), to_person(), http) for _ in range(20)))
    await ADAPTER.send(at(server), to_person(), http)
    assert (server.tokens, len(server.asked)) == (1, 21)


async def test_a_failing_token_is_asked_for_once_and_fails_all(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.token_script.answers.append(said(40164, "invalid ip 1.2.3.4, not in whitelist"))
    sends = [ADAPTER.send(at(server), to_person(), http) for _ in range(5)]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert {result.failure for result in results if isinstance(result, SendError)} == {SendFailure.CONFIG}
    assert (len(results), server.tokens, server.asked) == (5, 1, [])


async def test_a_stale_token_is_renewed_once(server: WechatServer, http: httpx.AsyncClient) -> None:
    await ADAPTER.send(at(server), to_person(), http)
    server.good = "TOKEN_2"
    await asyncio.gather(*(ADAPTER.send(at(server), to_person(), http) for _ in range(5)))
    assert (server.tokens, len(server.asked)) == (2, 6)
    server.script.answers += [said(42001, "access_token expired"), said(40014, "invalid access_token")]
    assert (await failure(server, http)).failure is SendFailure.REAUTH


async def test_a_token_is_renewed_before_it_ends(
    server: WechatServer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.channels.wechat_api.monotonic", lambda: now[0])
    await ADAPTER.send(at(server), to_person(), http)
    now[0] += 7200 - 301
    await ADAPTER.send(at(server), to_person(), http)
    assert server.tokens == 1
    now[0] += 2
    server.token_script.answers.append("drop")
    await ADAPTER.send(at(server), to_person(), http)  # the old one still works
    assert server.tokens == 2
    await ADAPTER.send(at(server), to_person(), http)
    assert server.tokens == 3
    now[0] += 7200
    server.token_script.answers.append("drop")
    assert (await failure(server, http)).failure is SendFailure.RETRY


@pytest.mark.parametrize(
    ("code", "expected", "wait_s"),
    [
        (-1, SendFailure.RETRY, None),
        (40003, SendFailure.RECIPIENT, None),
        (43004, SendFailure.RECIPIENT, None),
        (43019, SendFailure.RECIPIENT, None),
        (45002, SendFailure.PERMANENT, None),
        (45009, SendFailure.QUOTA, None),
        (45011, SendFailure.QUOTA, 60),
        (45015, SendFailure.WINDOW, None),
        (45047, SendFailure.WINDOW, None),
        (48001, SendFailure.CONFIG, None),
        (40164, SendFailure.CONFIG, None),
        (99999, SendFailure.PERMANENT, None),
    ],
)
async def test_errcodes(
    server: WechatServer, http: httpx.AsyncClient, code: int, expected: SendFailure, wait_s: float | None
) -> None:
    server.script.answers.append(said(code, f"no, TOKEN_1 and {SECRET}"))
    error = await failure(server, http)
    assert (error.failure, error.retry_after_s) == (expected, wait_s)
    assert str(code) in error.detail


@pytest.mark.parametrize(
    ("answer", "expected", "wait_s"),
    [
        ((429, {"retry-after": "7"}, b"slow down"), SendFailure.RETRY, 7),
        ((200, {"retry-after": "9"}, b'{"errcode":45011,"errmsg":"x"}'), SendFailure.QUOTA, 9),
        ((500, {}, b""), SendFailure.RETRY, None),
        ((502, {}, b"<html>"), SendFailure.RETRY, None),
        ((301, {"location": "https://x.example"}, b""), SendFailure.CONFIG, None),
        ((404, {}, b""), SendFailure.CONFIG, None),
        ((400, {}, b""), SendFailure.PERMANENT, None),
        ((200, {}, b"<html>a login page"), SendFailure.UNKNOWN, None),
        ((200, {}, b"[]"), SendFailure.UNKNOWN, None),
        ((200, {}, b'{"errcode":"0"}'), SendFailure.UNKNOWN, None),
        ("drop", SendFailure.UNKNOWN, None),
    ],
)
async def test_other_answers(
    server: WechatServer, http: httpx.AsyncClient, answer: Any, expected: SendFailure, wait_s: float | None
) -> None:
    server.script.answers.append(answer)
    error = await failure(server, http)
    assert (error.failure, error.retry_after_s) == (expected, wait_s)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(40125, "invalid appsecret"), SendFailure.REAUTH),
        (said(40013, "invalid appid"), SendFailure.CONFIG),
        ((200, {}, b"{}"), SendFailure.RETRY),
        ((503, {}, b""), SendFailure.RETRY),
        ((200, {}, b"<html>"), SendFailure.RETRY),
        ("drop", SendFailure.RETRY),
    ],
)
async def test_no_token_no_message(
    server: WechatServer, http: httpx.AsyncClient, answer: Any, expected: SendFailure
) -> None:
    server.token_script.answers.append(answer)
    assert (await failure(server, http)).failure is expected
    assert server.asked == []
    server.token_script.answers.append(answer)
    with pytest.raises(SendError) as error:
        await ADAPTER.check(at(server), http)
    assert error.value.failure is expected
    await ADAPTER.check(at(server), http)


async def test_a_long_text_is_split_by_bytes(server: WechatServer, http: httpx.AsyncClient) -> None:
    text = "我们已经找到了您的包裹，👨‍👩‍👧 " * 80
    await ADAPTER.send(at(server), to_person(text=text), http)
    parts = [asked.json["text"]["content"] for asked in server.asked]
    assert 1 < len(parts) <= 5
    assert all(len(part.encode()) <= 2048 for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert not any(part.startswith("\u200d") or part.endswith("\u200d") for part in parts)


async def test_more_than_the_window_takes_is_not_begun(server: WechatServer, http: httpx.AsyncClient) -> None:
    for text in ("x" * 2048 * 5 + "y", " \n"):
        assert (await failure(server, http, to_person(text=text))).failure is SendFailure.PERMANENT
    assert (await failure(server, http, outgoing())).failure is SendFailure.RECIPIENT
    assert (server.tokens, server.asked) == (0, [])


@pytest.mark.parametrize("answer", [said(45047, "out of response count limit"), said(-1, "busy"), "drop"])
async def test_a_break_between_parts_is_for_people(server: WechatServer, http: httpx.AsyncClient, answer: Any) -> None:
    server.script.answers += [said(0, "ok"), answer]
    error = await failure(server, http, to_person(text="word " * 800))
    assert error.failure is SendFailure.UNKNOWN
    assert "1 of 2 parts were sent" in error.detail


async def test_a_short_wait_between_parts_is_waited(
    server: WechatServer, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await real(0)

    monkeypatch.setattr("app.channels.wechat_api.asyncio.sleep", sleep)
    server.script.answers += [said(0, "ok"), (429, {"retry-after": "3"}, b"")]
    await ADAPTER.send(at(server), to_person(text="word " * 800), http)
    assert ([seconds for seconds in waited if seconds], len(server.asked)) == ([3], 3)


async def test_pictures_and_voices(server: WechatServer, http: httpx.AsyncClient) -> None:
    files = (OutboundFile("a.png", "image/png", b"PNG"), OutboundFile("b.amr", "audio/amr", b"#!AMR"))
    await ADAPTER.send(at(server), to_person(text="see", files=files), http)
    assert [(one.kind, one.name, one.media_type, one.data) for one in server.uploads] == [
        ("image", "a.png", "image/png", b"PNG"),
        ("voice", "b.amr", "audio/amr", b"#!AMR"),
    ]
    assert [asked.json for asked in server.asked] == [
        {"touser": "oPerson", "msgtype": "text", "text": {"content": "see"}},
        {"touser": "oPerson", "msgtype": "image", "image": {"media_id": "MEDIA_1"}},
        {"touser": "oPerson", "msgtype": "voice", "voice": {"media_id": "MEDIA_2"}},
    ]


@pytest.mark.parametrize(
    "file",
    [
        OutboundFile("a.pdf", "application/pdf", b"x"),
        OutboundFile("a.png", "image/png", b"x" * 10_000_001),
        OutboundFile("a.mp3", "audio/mpeg", b"x" * 2_000_001),
    ],
)
async def test_files_that_cannot_go(server: WechatServer, http: httpx.AsyncClient, file: OutboundFile) -> None:
    assert (await failure(server, http, to_person(files=(file,)))).failure is SendFailure.PERMANENT
    assert (server.uploads, server.asked) == ([], [])


PHOTO = RemoteFile("image.jpg", "image/jpeg", None, {"media_id": "M"})


async def test_a_file_is_fetched(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.media["M"] = b"JPEG"
    assert await ADAPTER.fetch(at(server), PHOTO, http, limit=4) == b"JPEG"
    server.good = "TOKEN_2"
    assert await ADAPTER.fetch(at(server), PHOTO, http, limit=4) == b"JPEG"
    server.media_type = "application/json"
    server.media["M"] = b'{"errcode":1}'  # a customer's own JSON file comes with a name
    assert await ADAPTER.fetch(at(server), PHOTO, http, limit=40) == b'{"errcode":1}'


async def test_a_video_lies_elsewhere(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.media["video"] = b"MP4"
    where = said(0, video_url=f"{server.base}/video.mp4")
    server.media_script.answers += [where, where, said(0, video_url="http://169.254.169.254/latest")]
    assert await ADAPTER.fetch(at(server), PHOTO, http, limit=3) == b"MP4"
    for reason in ("more than 2 bytes", "does not lie at WeChat"):
        with pytest.raises(FetchError, match=reason):
            await ADAPTER.fetch(at(server), PHOTO, http, limit=2)


@pytest.mark.parametrize(
    ("answer", "retry"),
    [
        (said(40007, "invalid media_id"), False),
        (said(-1, "system error"), True),
        (said(45009, "reach max api daily quota limit"), True),
        ((200, {"content-type": "image/jpeg"}, b"JPEG5"), False),
        ((200, {"content-type": "text/plain"}, b"x" * 70_000), False),
        ((200, {"content-type": "text/plain"}, b"text5"), False),
        ((503, {}, b""), True),
        ((404, {"content-type": "text/html"}, b"<html>"), True),
        ("drop", True),
    ],
)
async def test_a_file_that_cannot_be_fetched(
    server: WechatServer, http: httpx.AsyncClient, answer: Any, retry: bool
) -> None:
    server.media_script.answers.append(answer)
    with pytest.raises(FetchError) as error:
        await ADAPTER.fetch(at(server), PHOTO, http, limit=4)
    assert error.value.retry is retry
    assert server.good not in error.value.detail


async def test_an_endless_file_is_not_read_to_its_end() -> None:
    given_ = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given_
        while given_ < 1000:
            given_ += 1
            yield b"x" * 1000

    async def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("stable_token"):
            return httpx.Response(200, json={"access_token": "t", "expires_in": 7200})
        return httpx.Response(200, content=endless(), headers={"content-type": "image/jpeg"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as http:
        with pytest.raises(FetchError, match="more than 5000 bytes"):
            await ADAPTER.fetch(config(api_base="https://endless.example"), PHOTO, http, limit=5000)
    assert given_ <= 20


async def test_no_media_id(http: httpx.AsyncClient) -> None:
    with pytest.raises(FetchError):
        await ADAPTER.fetch(config(), RemoteFile("x", "image/jpeg", None, {}), http, limit=4)


async def test_secrets_never_reach_a_log(
    server: WechatServer, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.good = ACCESS
    server.media["M"] = b"x"
    with caplog.at_level(logging.DEBUG):
        await ADAPTER.send(at(server), to_person(), http)
        await ADAPTER.fetch(at(server), PHOTO, http, limit=4)
        server.script.answers.append("drop")
        with pytest.raises(SendError) as error:
            await ADAPTER.send(at(server), to_person(), http)
    shown = caplog.text + repr(error.getrepr(style="long")) + repr(at(server))
    assert "custom/send" in caplog.text
    for secret in (SECRET, ACCESS, ACCOUNT.aes_key, ACCOUNT.token):
        assert secret not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"app_id": "wx/../x"},
        {"app_secret": ""},
        {"token": ""},
        {"encoding_aes_key": "short"},
        {"encoding_aes_key": "*" * 43},
        {"api_base": "api.weixin.qq.com"},
        {"colour": "red"},
    ],
)
def test_bad_configurations(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        config(**wrong)
