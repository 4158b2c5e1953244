"""The partner channel: what a call may look like, and how a callback is made and read."""

import base64
import time
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels import signatures
from app.channels.base import InboundFile, InboundMessage, Parsed, RemoteFile, SendError, SendFailure, Unparseable
from app.channels.config import PartnerConfig
from app.channels.partner import PartnerAdapter
from app.errors import NotGenuine
from tests.channels.makers import CONVERSATION_ID, MESSAGE_ID, NOW, call, outgoing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = PartnerConfig.model_validate({"secret": SECRET, "callback_url": "https://partner.example/cb"})
ADAPTER = PartnerAdapter()
PLAIN: dict[str, Any] = {"id": "m1", "from": {"id": "c1"}, "text": "hello"}


def parse(body: Any, **headers: str) -> Parsed:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return ADAPTER.parse(CONFIG, call(raw, {name.replace("_", "-"): value for name, value in headers.items()}))


def only(parsed: Parsed) -> InboundMessage:
    assert parsed.errors == ()
    (message,) = parsed.messages
    return message


def test_a_whole_message() -> None:
    message = only(
        parse(
            {
                "id": "m1",
                "conversation_ref": "ticket-9",
                "from": {"id": "c1", "name": "王芳", "email": "w@x.example", "phone": "+86 1"},
                "text": "It broke.",
                "subject": "Sofa",
                "category": "urgent",
                "sent_at": "2026-11-22T09:00:00+01:00",
                "attachments": [
                    {
                        "name": "a.txt",
                        "content_type": "text/plain; charset=utf-8",
                        "data": base64.b64encode(b"hi").decode(),
                    },
                    {"name": "b.png", "media_type": "image/png", "url": "https://x.example/b.png", "size": 7},
                ],
            }
        )
    )
    assert message.external_id == "m1"
    assert message.external_ref == "ticket-9"
    assert (message.sender.kind, message.sender.value, message.sender.name) == ("partner", "c1", "王芳")
    assert (message.sender.email, message.sender.phone) == ("w@x.example", "+86 1")
    assert message.sender.address == {"id": "c1"}
    assert (message.text, message.subject, message.category) == ("It broke.", "Sofa", "urgent")
    assert message.sent_at == NOW
    assert message.files == (
        InboundFile("a.txt", "text/plain", b"hi"),
        RemoteFile("b.png", "image/png", 7, {"url": "https://x.example/b.png"}),
    )


def test_the_id_of_the_call_stands_in_for_a_missing_one() -> None:
    assert only(parse({**PLAIN, "id": None}, webhook_id="msg_7")).external_id == "msg_7"
    assert parse({**PLAIN, "id": None}).errors == ("id: missing",)


def test_numbers_are_taken_for_text() -> None:
    message = only(parse({"id": 12, "from": {"id": 34, "name": 5, "phone": 86}, "text": 99, "conversation_ref": 1}))
    assert (message.external_id, message.sender.value, message.sender.name) == ("12", "34", "5")
    assert (message.text, message.external_ref, message.sender.phone) == ("99", "1", "86")


def test_an_optional_field_of_the_wrong_kind_never_costs_the_message() -> None:
    odd: list[Any] = [None, [], {}, True, "", "\0", 1e300, -5, "x" * 10_000]
    for field in ("subject", "category", "sent_at", "attachments", "conversation_ref"):
        for value in odd:
            [message] = parse({**PLAIN, field: value}).messages
            assert message.text == "hello", (field, value)
    for field in ("name", "email", "phone"):
        for value in odd:
            assert only(parse({**PLAIN, "from": {"id": "c1", field: value}})).text == "hello", (field, value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"from": None}, "from"),
        ({"from": "c1"}, "from"),
        ({"from": {}}, "from.id"),
        ({"from": {"id": ""}}, "from.id"),
        ({"from": {"id": {}}}, "from.id"),
        ({"text": None}, "text"),
        ({"text": "  "}, "text"),
        ({"text": ["a"]}, "text"),
        ({"text": "", "attachments": []}, "text"),
    ],
)
def test_what_is_no_message_is_an_error_that_names_the_field(changed: dict[str, Any], said: str) -> None:
    parsed = parse({**PLAIN, **changed})
    assert parsed.messages == ()
    assert parsed.errors[0].startswith(said)


def test_a_file_alone_is_a_message() -> None:
    message = only(parse({**PLAIN, "text": None, "attachments": [{"url": "https://x.example/a"}]}))
    assert message.text == ""
    assert message.files[0].name == "file-1"


UNUSABLE = [{"name": "a", "data": "%%%"}, {"name": "b", "url": "file:///etc/passwd"}, "http://x", 5]
WHY = [
    ("a", "data is not base64"),
    ("b", "neither data nor an http(s) url"),
    ("file-3", "not an object"),
    ("file-4", "not an object"),
]


@pytest.mark.parametrize("text", [PLAIN["text"], ""])
def test_an_attachment_that_cannot_be_used_stays_and_says_why(text: str) -> None:
    parsed = parse({**PLAIN, "text": text, "attachments": [*UNUSABLE, {"name": "c", "data": "YQ=="}]})
    [message] = parsed.messages
    *broken, good = message.files
    assert [(file.name, file.error) for file in broken if isinstance(file, RemoteFile)] == WHY
    assert isinstance(good, InboundFile)
    assert list(parsed.errors) == [f"attachment {name}: {why}" for name, why in WHY]
    [error] = parse([PLAIN, {**PLAIN, "id": "m9", "attachments": "http://x"}]).errors
    assert error == "item 1: attachment attachments: not an array"


def test_more_attachments_than_are_read() -> None:
    [message] = parse({**PLAIN, "attachments": [{"name": "c", "data": "YQ=="}] * 60}).messages
    assert len(message.files) == 51
    last = message.files[-1]
    assert isinstance(last, RemoteFile)
    assert last.error == "10 more than the 50 that are read"


def test_an_unknown_category_is_kept_for_people() -> None:
    message = only(parse({**PLAIN, "category": "VIP complaints"}))
    assert message.category is None
    assert message.content["category"] == "VIP complaints"
    assert only(parse({**PLAIN, "category": " Urgent"})).category == "urgent"


def test_a_batch_keeps_the_good_and_names_the_bad() -> None:
    parsed = parse([PLAIN, {"id": "m2"}, 7, {**PLAIN, "id": "m3"}, None, {**PLAIN, "id": None}], webhook_id="w")
    assert [message.external_id for message in parsed.messages] == ["m1", "m3", "w:5"]
    assert [error.split(":")[0] for error in parsed.errors] == ["item 1", "item 2", "item 4"]


def test_envelopes() -> None:
    data = {**PLAIN, "id": "in"}
    message = only(parse({"type": "message.created", "timestamp": "2026-11-22T08:00:00Z", "data": data}))
    assert (message.external_id, message.sent_at) == ("in", NOW)
    assert parse({"type": "order.shipped", "timestamp": "x", "data": data}).ignored == ("order.shipped",)
    many = parse({"type": "message", "data": [data, {**data, "id": "in2"}]})
    assert [found.external_id for found in many.messages] == ["in", "in2"]
    mixed = parse([{"type": "ping", "data": {}}, PLAIN, {"type": "message.created", "data": data}])
    assert ([found.external_id for found in mixed.messages], mixed.ignored) == (["m1", "in"], ("ping",))


@pytest.mark.parametrize(
    "moment", ["2026-11-22T08:00:00Z", "2026-11-22T08:00:00", 1795334400, 1795334400.0, 1795334400000]
)
def test_times(moment: object) -> None:
    assert only(parse({**PLAIN, "sent_at": moment})).sent_at == NOW


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"hello", b"nul", b"[" * 100_000])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(Unparseable):
        parse(body)


def test_a_cut_emoji_or_nan_in_one_field_costs_nothing_else() -> None:
    """What JavaScript's slice and some serialisers write is no JSON to the letter."""
    item = b'{"id":"%d","from":{"id":"c"},"text":"%s","extra":%s}'
    parsed = parse(b"[" + b",".join([item % (1, b"good", b"1"), item % (2, b"cut \\ud83d", b"NaN")]) + b"]")
    assert [message.text for message in parsed.messages] == ["good", "cut \ufffd"]
    assert parse(b"NaN").messages == ()


@pytest.mark.parametrize(
    "body", [b"null", b"5", b'"x"', b"{}", b"true", b"[[]]", b'{"type": "message", "data": []}', b"[]"]
)
def test_json_that_is_no_message_is_read_without_one(body: bytes) -> None:
    assert parse(body).messages == ()


def test_nul_is_taken_out_everywhere() -> None:
    message = only(
        parse(b'{"id":"a\\u0000b","from":{"id":"c\\u0000","name":"n\\u0000"},"text":"t\\u0000t","category":"x\\u0000"}')
    )
    assert "\0" not in repr(message)
    assert (message.external_id, message.sender.value, message.text) == ("ab", "c", "tt")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "from", "text", "type", "data", "name", "attachments", "url", "sent_at", "category"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read(body: Any) -> None:
    parsed = parse(body)
    for message in parsed.messages:
        assert message.external_id
        assert message.sender.value
        orjson.dumps([message.text, message.content, message.sender.name])


def test_a_forged_call_is_refused() -> None:
    body = orjson.dumps(PLAIN)
    headers = signatures.sign_webhook(CONFIG.keys[0], "msg_1", body, at=NOW)
    ADAPTER.verify(CONFIG, call(body, headers))
    with pytest.raises(NotGenuine):
        ADAPTER.verify(CONFIG, call(body + b" ", headers))


def test_verify_and_parse_are_fast() -> None:
    """About 14 us a call where this was written; the limit only catches an order of magnitude."""
    body = orjson.dumps({**PLAIN, "text": "My sofa arrived with a broken leg, 请尽快处理. " * 6, "subject": "Sofa"})
    headers = signatures.sign_webhook(CONFIG.keys[0], "msg_1", body, at=NOW)
    genuine, best = call(body, headers), 1.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(1000):
            ADAPTER.verify(CONFIG, genuine)
            ADAPTER.parse(CONFIG, genuine)
        best = min(best, (time.perf_counter() - started) / 1000)
    assert best < 150e-6


class Partner:
    """The partner's end of the wire."""

    def __init__(self, answer: httpx.Response | Exception) -> None:
        self.answer, self.requests = answer, list[httpx.Request]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


async def failure(answer: httpx.Response | Exception, config: PartnerConfig = CONFIG) -> SendError:
    async with Partner(answer).client() as http:
        with pytest.raises(SendError) as error:
            await ADAPTER.send(config, outgoing(address={"id": "c1"}), http)
    return error.value


async def test_callback_is_signed_and_says_everything() -> None:
    partner = Partner(httpx.Response(204))
    receipt = {
        "problem": "broken",
        "resolution": "replaced",
        "commitment": "a call",
        "link": "https://desk.example/f/x",
    }
    message = outgoing(kind="receipt", address={"id": "c1"}, external_ref="ticket-9", receipt=receipt)
    async with partner.client() as http:
        sent = await ADAPTER.send(CONFIG, message, http)
        await ADAPTER.send(CONFIG, message, http)
    first, second = partner.requests
    assert sent.provider_message_id == str(MESSAGE_ID)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(MESSAGE_ID)
    body = first.read()
    at = NOW.fromtimestamp(int(first.headers["webhook-timestamp"]), NOW.tzinfo)
    signatures.verify_webhook(CONFIG.keys, first.headers, body, at=at)
    assert orjson.loads(body) == {
        "type": "message.created",
        "timestamp": "2026-11-22T08:00:00.000000Z",
        "data": {
            "conversation_id": str(CONVERSATION_ID),
            "conversation_ref": "ticket-9",
            "to": {"id": "c1"},
            "message": {
                "id": str(MESSAGE_ID),
                "seq": 2,
                "kind": "receipt",
                "text": "We have found it.",
                "author": "Ana",
                "created_at": "2026-11-22T08:00:00.000000Z",
            },
            "receipt": receipt,
        },
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, SendFailure.CONFIG),
        (400, SendFailure.PERMANENT),
        (401, SendFailure.REAUTH),
        (403, SendFailure.REAUTH),
        (404, SendFailure.PERMANENT),
        (408, SendFailure.RETRY),
        (410, SendFailure.PERMANENT),
        (429, SendFailure.RETRY),
        (500, SendFailure.RETRY),
        (503, SendFailure.RETRY),
    ],
)
async def test_answers(status: int, expected: SendFailure) -> None:
    headers = {"location": "https://elsewhere.example/"} if status == 301 else {}
    assert (await failure(httpx.Response(status, headers=headers, text="no"))).failure is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), SendFailure.RETRY),
        (httpx.ReadTimeout("x"), SendFailure.RETRY),
        (httpx.RemoteProtocolError("x"), SendFailure.RETRY),
        (httpx.UnsupportedProtocol("x"), SendFailure.CONFIG),
    ],
)
async def test_broken_wires(error: Exception, expected: SendFailure) -> None:
    assert (await failure(error)).failure is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("17", 17.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1e99", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
async def test_retry_after(value: str, expected: float | None) -> None:
    assert (await failure(httpx.Response(429, headers={"retry-after": value}))).retry_after_s == expected


async def test_redirects_are_not_followed() -> None:
    partner = Partner(httpx.Response(302, headers={"location": "http://169.254.169.254/"}))
    async with httpx.AsyncClient(transport=httpx.MockTransport(partner), follow_redirects=True) as http:
        with pytest.raises(SendError):
            await ADAPTER.send(CONFIG, outgoing(), http)
    assert len(partner.requests) == 1


async def test_only_the_start_of_an_endless_answer_is_read() -> None:
    async def endless() -> Any:
        while True:
            yield b"no " * 100

    error = await failure(httpx.Response(400, content=endless()))
    assert len(error.detail) < 600


async def test_without_a_callback_url() -> None:
    assert (
        await failure(httpx.Response(200), PartnerConfig.model_validate({"secret": SECRET}))
    ).failure is SendFailure.CONFIG
