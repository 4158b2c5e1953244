"""WeCom customer service: bells in, pages pulled, messages out under ids of ours."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import wechat_api, wecom_parse
from app.channels.base import (
    Answering,
    Call,
    ChangeKind,
    Checking,
    Fetching,
    Handshaking,
    OutboundFile,
    Outgoing,
    Parsed,
    Pulling,
    RemoteFile,
    SendError,
    SendFailure,
    Unparseable,
)
from app.channels.wecom import WecomAdapter
from app.channels.wecom_config import WecomConfig
from app.errors import NotGenuine
from tests.channels.makers import MESSAGE_ID, NOW, outgoing
from tests.support.wechat import Account, WechatServer, said, seal, sign

SECRET = "corp-secret-corp-secret-corp-secret-corp-se"
ACCOUNT = Account(receiver="ww6a112864f8022910")
KF = "wkAJ2GCAAASSm4_FhToWMFea0xAFfd3Q"
PERSON = "wmAJ2GCAAAme1XQRC-NI-q0_ZM9ukoAw"
ADAPTER = WecomAdapter()
BELL = {"source": KF, "token": "BELL"}


def config(**changed: Any) -> WecomConfig:
    given_ = {
        "corp_id": ACCOUNT.receiver,
        "secret": SECRET,
        "open_kfid": KF,
        "token": ACCOUNT.token,
        "encoding_aes_key": ACCOUNT.aes_key,
        **changed,
    }
    return WecomConfig.model_validate(given_)


def rung(open_kfid: str = KF, event: str = "kf_msg_or_event", token: str = "<Token>BELL</Token>") -> Call:
    return ACCOUNT.push(
        f"<xml><ToUserName>ww1</ToUserName><CreateTime>1348831860</CreateTime><MsgType>event</MsgType>"
        f"<Event><![CDATA[{event}]]></Event>{token}<OpenKfId><![CDATA[{open_kfid}]]></OpenKfId></xml>",
        NOW,
    )


def item(msgtype: str = "text", **more: Any) -> dict[str, Any]:
    return {
        "msgid": "m1",
        "open_kfid": KF,
        "external_userid": PERSON,
        "send_time": 1795334400,
        "origin": 3,
        "msgtype": msgtype,
        **more,
    }


def event(event_type: str, **more: Any) -> dict[str, Any]:
    return item("event", origin=4, event={"event_type": event_type, "external_userid": PERSON, **more})


def page(*items: Any) -> Parsed:
    return wecom_parse.parse_page(list(items))


def test_it_offers_what_the_house_may_call() -> None:
    for offered in (Handshaking, Answering, Pulling, Checking, Fetching):
        assert isinstance(ADAPTER, offered)


def test_a_bell() -> None:
    call = rung()
    ADAPTER.verify(config(), call)
    assert ADAPTER.parse(config(), call) == Parsed()
    assert ADAPTER.bell(config(), call) == {"source": KF, "token": "BELL"}
    assert ADAPTER.bell(config(), rung(token="")) == {"source": KF}
    assert ADAPTER.answer(config(), call, Parsed()).body == b"success"


@pytest.mark.parametrize(
    ("call", "ignored"),
    [
        (rung(open_kfid="wkOther"), "kf_msg_or_event of another account"),
        (rung(event="change_external_contact"), "change_external_contact"),
        (ACCOUNT.push("<xml><MsgType>text</MsgType><Content>of a member</Content></xml>", NOW), "text"),
        (ACCOUNT.push("<xml/>", NOW), "empty"),
        (ACCOUNT.push("{}", NOW), "empty"),
    ],
)
def test_calls_that_are_no_bell(call: Call, ignored: str) -> None:
    ADAPTER.verify(config(), call)
    assert ADAPTER.bell(config(), call) is None
    assert ADAPTER.parse(config(), call) == Parsed(ignored=(ignored,))


def test_unreadable_calls() -> None:
    call = ACCOUNT.push("<xml>", NOW)
    for read in (ADAPTER.parse, ADAPTER.bell):
        with pytest.raises(Unparseable):
            read(config(), call)
    with pytest.raises(NotGenuine):
        ADAPTER.verify(config(corp_id="wwOther"), rung())


def handshake(echo: str, **changed: str) -> Call:
    timestamp = str(int(NOW.timestamp()))
    signed = {"msg_signature": sign(ACCOUNT.token, timestamp, "n", echo), "timestamp": timestamp, "nonce": "n"}
    return Call("GET", "x", {**signed, "echostr": echo, **changed}, {}, b"", NOW)


def test_the_test_of_the_address_is_answered_with_what_is_inside() -> None:
    contents = [str(94966531020182955848408 + number).encode() for number in range(50)]
    echoes = {seal(ACCOUNT.aes_key, ACCOUNT.receiver, content): content for content in contents}
    echo = next(echo for echo in echoes if "+" in echo)
    assert ADAPTER.handshake(config(), handshake(echo)).body == echoes[echo]
    spaced = handshake(echo, echostr=echo.replace("+", " "))
    assert ADAPTER.handshake(config(), spaced).body == echoes[echo]
    for wrong in (
        handshake(echo, nonce="m"),
        handshake(echo, echostr="A" + echo[1:]),
        handshake(""),
        handshake(seal(ACCOUNT.aes_key, "wwOther", b"1")),
    ):
        with pytest.raises(NotGenuine):
            ADAPTER.handshake(config(), wrong)


def test_text() -> None:
    (message,) = page(item(text={"content": "hello\0 there", "menu_id": "101"})).messages
    assert (message.external_id, message.text, message.content) == ("m1", "hello there", {"menu_id": "101"})
    assert (message.sender.kind, message.sender.value) == ("wecom", PERSON)
    assert message.sender.address == {"external_userid": PERSON}
    assert message.sent_at == NOW


MERGED = {
    "title": "chat",
    "item": [
        {"sender_name": "Bo", "msgtype": "text", "msg_content": '{"msgtype":"text","text":{"content":"hi"}}'},
        {"sender_name": "Al", "msgtype": "image", "msg_content": "no json"},
        "no item",
    ],
}
KINDS: list[tuple[str, Any, str, tuple[str, str] | None]] = [
    ("image", {"media_id": "M"}, "", ("image.jpg", "image/jpeg")),
    ("image", {}, "[image]", None),
    ("voice", {"media_id": "M"}, "", ("voice.amr", "audio/amr")),
    ("video", {"media_id": "M"}, "", ("video.mp4", "video/mp4")),
    ("file", {"media_id": "M"}, "", ("file", "application/octet-stream")),
    ("location", {"latitude": 1.5, "longitude": 2, "name": "N", "address": "A"}, "📍 N, A (1.5, 2)", None),
    ("location", {"latitude": 1.5, "longitude": 2}, "📍 1.5, 2", None),
    ("link", {"title": "T", "desc": "D", "url": "https://x.example", "pic_url": "p"}, "T\nD\nhttps://x.example", None),
    ("business_card", {"userid": "bo"}, "[business card] bo", None),
    ("miniprogram", {"title": "T", "appid": "a"}, "[mini program] T", None),
    (
        "msgmenu",
        {"head_content": "Well?", "list": [{"type": "click", "click": {"content": "Yes"}}, 5], "tail_content": "Bye"},
        "Well?\n- Yes\nBye",
        None,
    ),
    ("channels", {"sub_type": 1, "nickname": "N", "title": "T"}, "[channels] N T", None),
    ("channels_shop_product", {"product_id": "P", "title": "T"}, "[product] T P", None),
    ("channels_shop_order", {"order_id": "O", "state": "S"}, "[order] O S", None),
    ("merged_msg", MERGED, "chat\nBo: hi\nAl: [image]", None),
]


@pytest.mark.parametrize(("kind", "body", "text", "file"), KINDS)
def test_kinds_of_message(kind: str, body: Any, text: str, file: tuple[str, str] | None) -> None:
    (message,) = page(item(kind, **{kind: body})).messages
    assert message.text == text
    found = [(one.name, one.media_type, one.ref) for one in message.files if isinstance(one, RemoteFile)]
    assert found == ([(*file, {"media_id": "M"})] if file else [])


def test_what_a_servicer_writes_in_wecom_is_an_echo() -> None:
    parsed = page(item(origin=5, servicer_userid="Zhangsan", text={"content": "on its way"}))
    (echo,) = parsed.echoes
    assert (list(parsed.messages), echo.external_id, echo.text) == ([], "m1", "on its way")
    assert (echo.recipient.value, echo.content) == (PERSON, {"servicer": "Zhangsan"})
    ours = page(item(origin=5, msgid=wecom_parse.own_id(MESSAGE_ID, 1), text={"content": "on its way"}))
    assert (list(ours.echoes), list(ours.ignored)) == ([], ["our own message"])


def test_a_recall() -> None:
    parsed = page(event("user_recall_msg", recall_msgid="m0"))
    (change,) = parsed.changes
    assert (change.key, change.kind, change.external_id) == ("recall:m0", ChangeKind.DELETE, "m0")
    assert (change.sender.value, change.at) == (PERSON, NOW)


def test_a_recall_of_ours() -> None:
    (change,) = page(event("servicer_recall_msg", recall_msgid="m0")).changes
    assert (change.kind, change.external_id, change.provider_message_id) == (ChangeKind.DELETE, None, "m0")
    part = wecom_parse.own_id(MESSAGE_ID, 2)
    (of_part,) = page(event("servicer_recall_msg", recall_msgid=part)).changes
    assert of_part.provider_message_id == wecom_parse.own_id(MESSAGE_ID)


@pytest.mark.parametrize(
    ("fail_type", "failure"),
    [
        (4, SendFailure.WINDOW),
        (6, SendFailure.WINDOW),
        (10, SendFailure.RECIPIENT),
        (1, SendFailure.CONFIG),
        (12, SendFailure.PERMANENT),
        (99, SendFailure.PERMANENT),
        ("x", SendFailure.PERMANENT),
        (None, SendFailure.PERMANENT),
    ],
)
def test_what_could_not_be_delivered(fail_type: Any, failure: SendFailure) -> None:
    for part in (0, 1, 4):
        failed = wecom_parse.own_id(MESSAGE_ID, part)
        (status,) = page(event("msg_send_fail", fail_msgid=failed, fail_type=fail_type)).statuses
        assert (status.provider_message_id, status.our_id) == (wecom_parse.own_id(MESSAGE_ID), str(MESSAGE_ID))
        assert (status.status, status.failure, status.at) == ("failed", failure, NOW)
    (status,) = page(event("msg_send_fail", fail_msgid="FAIL_MSGID", fail_type=4)).statuses
    assert (status.provider_message_id, status.our_id) == ("FAIL_MSGID", None)


@pytest.mark.parametrize("kind", ["enter_session", "servicer_status_change", "session_status_change", "brand_new"])
def test_other_events_are_named_and_ignored(kind: str) -> None:
    parsed = page(event(kind, welcome_code="w", recall_msgid="m0"))
    assert (list(parsed.ignored), list(parsed.messages), list(parsed.errors)) == ([kind], [], [])


def test_a_bad_item_spoils_nothing() -> None:
    good = item(text={"content": "x"})
    bad = [
        5,
        None,
        {},
        {"msgtype": 5},
        item(msgid=None, text={"content": "x"}),
        item(external_userid=[], text={"content": "x"}),
        event("user_recall_msg"),
        event("msg_send_fail"),
        item("event", event={"event_type": []}, external_userid=None),
    ]
    parsed = page(*bad, good)
    assert [message.external_id for message in parsed.messages] == ["m1"]
    assert len(parsed.errors) + len(parsed.ignored) == len(bad)
    assert page(item("hologram"), item(origin=7, text={"content": "x"}), item(text={})).ignored == [
        "hologram",
        "text of origin 7",
        "empty text",
    ]
    assert wecom_parse.parse_page(None) == Parsed()
    assert wecom_parse.parse_page({}).errors == ("msg_list is not a list",)


@given(st.uuids(), st.integers(0, 99))
def test_own_ids(message_id: UUID, part: int) -> None:
    made = wecom_parse.own_id(message_id, part)
    assert len(made.encode()) <= 32
    assert made.replace("_", "").isalnum()
    assert wecom_parse.our_message(made) == message_id


def test_other_ids_are_not_ours() -> None:
    whole = wecom_parse.own_id(MESSAGE_ID)
    last = "abcdefghijklmnopqrstuvwxyz234567"["abcdefghijklmnopqrstuvwxyz234567".index(whole[-1]) + 1]
    for other in ("", "from_msgid_4622416642169452483", whole[:-1], whole + "a", whole[:-1] + last, whole + "_100"):
        assert wecom_parse.our_message(other) is None
    assert base64.b32decode(whole.upper() + "======") == MESSAGE_ID.bytes


def test_every_real_page(fixtures: Path) -> None:
    """The vendor's sample of the API has items that leave out everything but what they show: no msgid, no customer."""
    paths = [*sorted((fixtures / "wecom" / "kf_sync").glob("*.json"))]
    kinds = {}
    for path in paths:
        parsed = wecom_parse.parse_page(json.loads(path.read_bytes())["msg_list"])
        assert parsed.errors == [], path.name
        kinds[path.stem.removeprefix("gochat_sync_")] = parsed
    assert len(paths) >= 6
    assert kinds["text"].messages[0].text == "hello world"
    assert kinds["location"].messages[0].text.startswith("📍 广州国际媒体港(广州市海珠区), ")
    assert len(kinds["image"].messages[0].files) == len(kinds["file"].messages[0].files) == 1
    assert kinds["event_enter_session"].ignored == ["enter_session"]
    assert kinds["event_msg_send_fail"].statuses[0].failure is SendFailure.WINDOW
    sample = wecom_parse.parse_page(
        json.loads((fixtures / "wecom/kf_api/skit_CgibinKfSyncMessageResponse.json").read_bytes())["msg_list"]
    )
    assert [(change.external_id, change.provider_message_id) for change in sample.changes] == [
        ("RECALL_MSGID", None),
        (None, "RECALL_MSGID"),
    ]
    assert sample.ignored == ["MSG_TYPE"]
    assert len(sample.errors) == 4
    assert all("msgid or external_userid is missing" in error for error in sample.errors)


def test_every_real_call(fixtures: Path) -> None:
    """Pushes to members of the company (`inbound`) and about contacts (`events`) are no customer service."""
    seen = 0
    for folder in ("inbound", "events"):
        for path in sorted((fixtures / "wecom" / folder).iterdir()):
            call = ACCOUNT.push(path.read_bytes(), NOW)
            ADAPTER.verify(config(), call)
            parsed = ADAPTER.parse(config(), call)
            assert (parsed.messages, parsed.errors, len(parsed.ignored)) == ((), (), 1), path.name
            assert ADAPTER.bell(config(), call) is None
            seen += 1
    assert seen >= 40
    bell = ACCOUNT.push((fixtures / "wecom/inbound/skit_KfMessageEvent.xml").read_bytes(), NOW)
    assert ADAPTER.bell(config(open_kfid="wkxxxxxxx"), bell) == {
        "source": "wkxxxxxxx",
        "token": "ENCApHxnGDNAVNY4AaSJKj4Tb5mwsEMzxhFmHVGcra996NR",
    }


def test_every_answer_of_the_api(fixtures: Path) -> None:
    for path in sorted((fixtures / "wecom").rglob("*.json")):
        content = json.loads(path.read_text("utf-8-sig"))
        wecom_parse.parse_page(content.get("msg_list"))
        wecom_parse.parse_page([content, {**item(content.get("msgtype", "text")), **content}])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**80) | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "media_id", "item", "list", "type", "msgtype", "msg_content", "title", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
FIELDS = ["msgid", "external_userid", "send_time", "origin", "event", "event_type", "recall_msgid", "fail_msgid"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["event", *[kind for kind, *_ in KINDS], "text", "x"]),
            st.dictionaries(st.sampled_from([*FIELDS, "fail_type", *[kind for kind, *_ in KINDS]]), VALUES),
        ),
        max_size=4,
    )
)
def test_any_page_is_read(rows: list[tuple[str, dict[str, Any]]]) -> None:
    bare = [{"msgtype": kind, **rest} for kind, rest in rows]
    whole = [{**item(kind), **rest} for kind, rest in rows]
    events = [event("msg_send_fail") | {"event": {"event_type": "user_recall_msg", **rest}} for _, rest in rows]
    for parsed in (page(*bare), page(*whole), page(*events)):
        found = [
            len(getattr(parsed, name)) for name in ("messages", "changes", "echoes", "statuses", "ignored", "errors")
        ]
        assert sum(found) == len(rows)
        for message in parsed.messages:
            (message.text + message.external_id).encode()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WechatServer]:
    monkeypatch.setattr(wechat_api, "_tokens", {})
    async with WechatServer(ACCOUNT.receiver, SECRET) as found:
        yield found


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as client:
        yield client


def at(server: WechatServer) -> WecomConfig:
    return config(api_base=server.base + "/")


async def test_pulling_page_by_page(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.pages = [
        {"next_cursor": "c1", "has_more": 1, "msg_list": [item(text={"content": "x"})]},
        {"next_cursor": "c2", "has_more": 1, "msg_list": []},
        {"next_cursor": "c3", "has_more": 0, "msg_list": [item(text={"content": "y"})]},
    ]
    cursor, seen = "", []
    while True:
        pulled = await ADAPTER.pull(at(server), BELL, cursor, http)
        seen += [message.text for message in pulled.parsed.messages]
        cursor = pulled.cursor
        if not pulled.more:
            break
    assert (cursor, seen, server.tokens) == ("c3", ["x", "y"], 1)
    first = {"open_kfid": KF, "limit": 1000, "voice_format": 0, "token": "BELL"}
    pages = [asked for asked in server.asked if asked.path == "kf/sync_msg"]
    assert [asked.json for asked in pages] == [first, {**first, "cursor": "c1"}, {**first, "cursor": "c2"}]
    assert {asked.query["access_token"] for asked in server.asked} == {"TOKEN_1"}


async def test_people_have_names(server: WechatServer, http: httpx.AsyncClient) -> None:
    others = [item(external_userid=f"wm{number}", msgid=f"m{number}", text={"content": "x"}) for number in range(120)]
    server.pages = [{"next_cursor": "c1", "msg_list": [*others, item(text={"content": "y"}), event("enter_session")]}]
    server.people = [{"external_userid": "wm0", "nickname": "张三\0"}, {"external_userid": []}, 5, {"nickname": "x"}]
    pulled = await ADAPTER.pull(at(server), BELL, "", http)
    assert [message.sender.name for message in pulled.parsed.messages] == ["张三", *[None] * 120]
    assert list(pulled.parsed.ignored) == ["enter_session"]
    assert len(server.asked[-1].json["external_userid_list"]) == 100


@pytest.mark.parametrize("answer", [said(48002, "api forbidden"), "drop", (200, {}, b"<html>")])
async def test_a_name_is_not_worth_a_message(server: WechatServer, http: httpx.AsyncClient, answer: Any) -> None:
    one = {"next_cursor": "c1", "msg_list": [item(text={"content": "x"})]}
    server.script.answers += [said(0, "ok", **one), answer]
    (message,) = (await ADAPTER.pull(at(server), BELL, "", http)).parsed.messages
    assert (message.text, message.sender.name) == ("x", None)


async def test_an_old_bell_is_pulled_without_its_token(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.script.answers.append(said(95007, "invalid msg token"))
    server.pages = [{"next_cursor": "c1", "has_more": 0, "msg_list": []}]
    assert (await ADAPTER.pull(at(server), BELL, "", http)).cursor == "c1"
    assert [asked.json.get("token") for asked in server.asked] == ["BELL", None]
    server.script.answers.append(said(95007, "invalid msg token"))
    with pytest.raises(SendError):
        await ADAPTER.pull(at(server), {"source": KF}, "", http)


@pytest.mark.parametrize("answer", [{"has_more": 1}, {"has_more": 1, "next_cursor": "c1"}, {"next_cursor": 5}])
async def test_a_cursor_that_stands_still_ends_the_pulling(
    server: WechatServer, http: httpx.AsyncClient, answer: dict[str, Any]
) -> None:
    server.pages = [answer]
    pulled = await ADAPTER.pull(at(server), BELL, "c1", http)
    assert (pulled.cursor, pulled.more) == ("c1", False)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(-1, "busy"), SendFailure.RETRY),
        (said(45009, "api freq out of limit"), SendFailure.RETRY),
        (said(60020, "not allow to access from your ip"), SendFailure.CONFIG),
        (said(95000, "invalid open_kfid"), SendFailure.CONFIG),
        ((502, {}, b"<html>"), SendFailure.RETRY),
        ((200, {}, b"<html>"), SendFailure.RETRY),
        ("drop", SendFailure.RETRY),
    ],
)
async def test_pulling_that_fails(
    server: WechatServer, http: httpx.AsyncClient, answer: Any, expected: SendFailure
) -> None:
    server.script.answers.append(answer)
    with pytest.raises(SendError) as error:
        await ADAPTER.pull(at(server), BELL, "c1", http)
    assert error.value.failure is expected


def to_person(**changed: Any) -> Outgoing:
    return outgoing(address={"external_userid": PERSON}, **changed)


async def failure(server: WechatServer, http: httpx.AsyncClient, message: Outgoing | None = None) -> SendError:
    with pytest.raises(SendError) as error:
        await ADAPTER.send(at(server), message or to_person(), http)
    assert SECRET not in error.value.detail
    return error.value


async def test_sending_under_an_id_of_ours(server: WechatServer, http: httpx.AsyncClient) -> None:
    sent = await ADAPTER.send(at(server), to_person(text="已经找到了 😀"), http)
    (asked,) = server.asked
    own = wecom_parse.own_id(MESSAGE_ID)
    expected = f'{{"touser":"{PERSON}","open_kfid":"{KF}","msgid":"{own}","msgtype":"text","text":{{"content":"已经找到了 😀"}}}}'
    assert (asked.path, asked.body) == ("kf/send_msg", expected.encode())
    assert sent.provider_message_id == own


async def test_a_retry_sends_the_same_ids(server: WechatServer, http: httpx.AsyncClient) -> None:
    message = to_person(text="word " * 800)
    server.script.answers += [said(0, "ok"), "drop"]
    assert (await failure(server, http, message)).failure is SendFailure.RETRY
    await ADAPTER.send(at(server), message, http)
    ids = [asked.json["msgid"] for asked in server.asked]
    assert ids == [wecom_parse.own_id(MESSAGE_ID, part) for part in (0, 1, 0, 1)]


async def test_a_break_between_parts_that_no_retry_mends(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.script.answers += [said(0, "ok"), said(95001, "send msg count limit")]
    error = await failure(server, http, to_person(text="word " * 800))
    assert (error.failure, error.detail[:22]) == (SendFailure.UNKNOWN, "1 of 2 parts were sent")


async def test_files(server: WechatServer, http: httpx.AsyncClient) -> None:
    files = [
        OutboundFile("a.png", "image/png", b"PNG"),
        OutboundFile("b.amr", "audio/amr", b"AMR"),
        OutboundFile("c.mp4", "video/mp4", b"MP4"),
        OutboundFile("d.pdf", "application/pdf", b"PDF"),
        OutboundFile("e.png", "image/png", b"x" * 10_000_001),
    ]
    await ADAPTER.send(at(server), to_person(text="", files=files), http)
    kinds = ["image", "voice", "video", "file", "file"]
    assert [(one.kind, one.name) for one in server.uploads] == [
        (kind, file.name) for kind, file in zip(kinds, files, strict=True)
    ]
    assert [asked.json[kind] for asked, kind in zip(server.asked, kinds, strict=True)] == [
        {"media_id": f"MEDIA_{number}"} for number in range(1, 6)
    ]
    assert len({asked.json["msgid"] for asked in server.asked}) == 5
    too_large = (OutboundFile("f.zip", "application/zip", b"x" * 20_000_001),)
    assert (await failure(server, http, to_person(files=too_large))).failure is SendFailure.PERMANENT


@pytest.mark.parametrize(
    ("answer", "expected", "wait_s"),
    [
        (said(-1, "busy"), SendFailure.RETRY, None),
        (said(45009, "api freq out of limit"), SendFailure.RETRY, 60),
        (said(95001, "send msg count limit"), SendFailure.WINDOW, None),
        (said(95002, "send msg time limit"), SendFailure.WINDOW, None),
        (said(95018, "send msg session status invalid"), SendFailure.PERMANENT, None),
        (said(60020, "not allow to access from your ip"), SendFailure.CONFIG, None),
        (said(48002, "api forbidden"), SendFailure.CONFIG, None),
        (said(40003, "invalid userid"), SendFailure.RECIPIENT, None),
        (said(99999, "?"), SendFailure.PERMANENT, None),
        ((429, {"retry-after": "11"}, b""), SendFailure.RETRY, 11),
        ((503, {}, b""), SendFailure.RETRY, None),
        ((200, {}, b"<html>"), SendFailure.RETRY, None),
        ("drop", SendFailure.RETRY, None),
    ],
)
async def test_answers(
    server: WechatServer, http: httpx.AsyncClient, answer: Any, expected: SendFailure, wait_s: float | None
) -> None:
    server.script.answers.append(answer)
    error = await failure(server, http)
    assert (error.failure, error.retry_after_s) == (expected, wait_s)


async def test_credentials(server: WechatServer, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        await ADAPTER.check(at(server), http)
    assert "gettoken" in caplog.text
    assert SECRET not in caplog.text
    server.token_script.answers.append(said(40001, "invalid credential"))
    with pytest.raises(SendError) as error:
        await ADAPTER.check(at(server), http)
    assert error.value.failure is SendFailure.REAUTH


async def test_nowhere_and_nothing_to_send(server: WechatServer, http: httpx.AsyncClient) -> None:
    assert (await failure(server, http, outgoing())).failure is SendFailure.RECIPIENT
    assert (await failure(server, http, to_person(text=" "))).failure is SendFailure.PERMANENT
    assert (await failure(server, http, to_person(text="x" * 2048 * 5 + "y"))).failure is SendFailure.PERMANENT
    assert server.tokens == 0


async def test_a_file_is_fetched(server: WechatServer, http: httpx.AsyncClient) -> None:
    server.media["M"] = b"AMR"
    voice = RemoteFile("voice.amr", "audio/amr", None, {"media_id": "M"})
    assert await ADAPTER.fetch(at(server), voice, http, limit=3) == b"AMR"


@pytest.mark.parametrize(
    "wrong", [{"corp_id": "a b"}, {"open_kfid": ""}, {"secret": ""}, {"encoding_aes_key": "x" * 42}]
)
def test_bad_configurations(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        config(**wrong)
