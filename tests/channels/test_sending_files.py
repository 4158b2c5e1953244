"""Files and templates on their way out, byte by byte: uploaded to Telegram, as links to Twilio, LINE and partners."""

from __future__ import annotations

import base64
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
import pytest

from app.channels.base import OutboundFile, RefusalReason, SendError, SendFailure, Template
from app.channels.config import PartnerConfig, TelegramConfig
from app.channels.line import LineAdapter
from app.channels.line_config import LineConfig
from app.channels.line_media import duration_ms
from app.channels.partner import PartnerAdapter
from app.channels.registry import ADAPTERS
from app.channels.sms import SmsAdapter
from app.channels.sms_config import SmsConfig
from app.channels.telegram import TelegramAdapter
from app.channels.whatsapp import WhatsAppAdapter
from app.channels.whatsapp_config import WhatsAppConfig
from tests.channels.makers import MESSAGE_ID, outgoing

LINK = "https://desk.example/m/abc"
PHOTO = OutboundFile("oak.jpg", "image/jpeg", b"\xff\xd8jpeg", LINK)
BILL = OutboundFile("账单.pdf", "application/pdf", b"%PDF", LINK + "2")
# The shortest movie header there is: 3 s at 1000 per second.
VOICE = OutboundFile(
    "hello.m4a", "audio/mp4", b"ftypM4A mvhd" + bytes(12) + (1000).to_bytes(4, "big") + (3000).to_bytes(4, "big"), LINK
)


class Wire:
    """Answers by path, and keeps every request."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.requests = answers, list[httpx.Request]()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path.rpartition("/")[2].partition(".")[0], {})
        status = answer.pop("status", 200) if isinstance(answer, dict) and "error_code" in answer else 200
        return httpx.Response(status, json=answer)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def form_of(request: httpx.Request) -> dict[str, tuple[str | None, str, Any]]:
    whole = message_from_bytes(
        b"content-type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content, policy=policy.HTTP
    )
    found = {}
    for part in whole.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        found[name] = (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
    return found


def telegram_ok(chat: int = 7, number: int = 1) -> dict[str, Any]:
    return {"ok": True, "result": {"message_id": number, "chat": {"id": chat}}}


TELEGRAM = TelegramConfig(bot_token="123:abc", secret_token="s", api_base="https://api.telegram.org")


async def test_telegram_gets_photos_and_documents() -> None:
    wire = Wire(sendPhoto=telegram_ok(number=1), sendDocument=telegram_ok(number=2))
    async with wire.client() as http:
        sent = await TelegramAdapter().send(
            TELEGRAM, outgoing(address={"chat_id": 7}, text="Is it this one?", files=[PHOTO, BILL]), http
        )
    assert sent.provider_message_id == "7:2"
    assert [request.url.path for request in wire.requests] == ["/bot123:abc/sendPhoto", "/bot123:abc/sendDocument"]
    photo, document = map(form_of, wire.requests)
    assert photo == {
        "chat_id": (None, "text/plain", b"7"),
        "caption": (None, "text/plain", b"Is it this one?"),
        "photo": ("oak.jpg", "image/jpeg", b"\xff\xd8jpeg"),
    }
    assert document["document"][1:] == ("application/pdf", b"%PDF")
    assert set(document) == {"chat_id", "document"}


async def test_telegram_sends_a_long_text_before_the_file_and_stops_at_the_first_fault() -> None:
    wire = Wire(
        sendMessage=telegram_ok(), sendPhoto={"status": 400, "ok": False, "error_code": 400, "description": "no"}
    )
    async with wire.client() as http:
        with pytest.raises(SendError) as caught:
            await TelegramAdapter().send(
                TELEGRAM, outgoing(address={"chat_id": 7}, text="x" * 1025, files=[PHOTO, BILL]), http
            )
    assert caught.value.failure is SendFailure.UNKNOWN
    assert caught.value.detail.startswith("1 of 3 parts were sent")
    assert [request.url.path.rpartition("/")[2] for request in wire.requests] == ["sendMessage", "sendPhoto"]


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (403, "Forbidden: bot was blocked by the user", RefusalReason.BLOCKED),
        (400, "Bad Request: chat not found", RefusalReason.UNREACHABLE),
        (400, "Bad Request: message is too long", None),
    ],
)
async def test_telegram_says_why_somebody_is_not_to_be_written_to(
    code: int, said: str, reason: RefusalReason | None
) -> None:
    wire = Wire(sendMessage={"status": code, "ok": False, "error_code": code, "description": said})
    async with wire.client() as http:
        with pytest.raises(SendError) as caught:
            await TelegramAdapter().send(TELEGRAM, outgoing(address={"chat_id": 7}), http)
    assert caught.value.refusal is reason


SMS = SmsConfig(account_sid="AC1", auth_token="t", number="+14155550100")


def forms(wire: Wire) -> list[list[tuple[str, str]]]:
    return [parse_qsl(request.content.decode()) for request in wire.requests]


async def test_twilio_is_given_links() -> None:
    wire = Wire(Messages={"sid": "MM1", "status": "queued"})
    async with wire.client() as http:
        await SmsAdapter().send(SMS, outgoing(address={"to": "+1555"}, text="see", files=[PHOTO, BILL]), http)
        assert forms(wire) == [
            [
                ("To", "+1555"),
                ("From", "+14155550100"),
                ("Body", "see"),
                ("MediaUrl", LINK),
                ("MediaUrl", LINK + "2"),
            ]
        ]
        wire.requests.clear()
        # WhatsApp takes one file in a message.
        await SmsAdapter().send(SMS, outgoing(address={"to": "whatsapp:+1555"}, text="see", files=[PHOTO, BILL]), http)
        assert [[pair for pair in form if pair[0] in ("Body", "MediaUrl")] for form in forms(wire)] == [
            [("Body", "see"), ("MediaUrl", LINK)],
            [("MediaUrl", LINK + "2")],
        ]
        wire.requests.clear()
        with pytest.raises(SendError, match="no public address"):
            nowhere = OutboundFile("a.png", "image/png", b"p")
            await SmsAdapter().send(SMS, outgoing(address={"to": "+1555"}, files=[nowhere]), http)
        with pytest.raises(SendError, match="at most"):
            large = OutboundFile("a.png", "image/png", bytes(5_000_001), LINK)
            await SmsAdapter().send(SMS, outgoing(address={"to": "+1555"}, files=[large]), http)
    assert wire.requests == []


LINE = LineConfig(channel_secret="s", access_token="t")


async def test_line_is_given_links_and_a_sound_with_its_length() -> None:
    wire = Wire(push={"sentMessages": [{"id": "1"}]})
    async with wire.client() as http:
        await LineAdapter().send(LINE, outgoing(address={"to": "U1"}, text="see", files=[PHOTO, VOICE]), http)
    [request] = wire.requests
    assert orjson.loads(request.content) == {
        "to": "U1",
        "messages": [
            {"type": "text", "text": "see"},
            {"type": "image", "originalContentUrl": LINK, "previewImageUrl": LINK},
            {"type": "audio", "originalContentUrl": LINK, "duration": 3000},
        ],
    }
    assert request.headers["x-line-retry-key"] == str(MESSAGE_ID)


@pytest.mark.parametrize("data", [b"", b"mvhd", b"mvhd" + bytes(40), b"mvhd\x01" + bytes(10), b"not a movie"])
def test_what_is_no_movie_has_no_length(data: bytes) -> None:
    assert duration_ms(data) is None


async def test_line_is_not_given_what_it_cannot_show() -> None:
    wire = Wire()
    async with wire.client() as http:
        for file in (
            BILL,
            OutboundFile("x.mp4", "video/mp4", b"v", LINK),
            OutboundFile("a.m4a", "audio/mp4", b"x", LINK),
        ):
            with pytest.raises(SendError) as caught:
                await LineAdapter().send(LINE, outgoing(address={"to": "U1"}, files=[file]), http)
            assert caught.value.failure is SendFailure.PERMANENT
    assert wire.requests == []


async def test_partners_get_files_as_they_give_us_theirs() -> None:
    config = PartnerConfig(
        secret="whsec_" + base64.b64encode(bytes(24)).decode(), callback_url="https://partner.example/hook"
    )
    wire = Wire()
    async with wire.client() as http:
        bare = OutboundFile("a.txt", "text/plain", b"abc")
        await PartnerAdapter().send(config, outgoing(address={"id": "c1"}, files=[PHOTO, bare]), http)
    message = orjson.loads(wire.requests[0].content)["data"]["message"]
    assert message["attachments"] == [
        {"name": "oak.jpg", "content_type": "image/jpeg", "size": 6, "url": LINK},
        {"name": "a.txt", "content_type": "text/plain", "size": 3, "data": "YWJj"},
    ]


WHATSAPP = WhatsAppConfig(app_secret="s", verify_token="v", access_token="EAAtoken", phone_number_id="111")


async def test_whatsapp_is_sent_a_template() -> None:
    wire = Wire(messages={"messages": [{"id": "wamid.1"}]})
    template = Template("delivery", "en_US", ("The chair", "Monday"))
    async with wire.client() as http:
        sent = await WhatsAppAdapter().send(
            WHATSAPP, outgoing(address={"to": "4915550"}, text="The chair comes on Monday.", template=template), http
        )
        await WhatsAppAdapter().send(
            WHATSAPP, outgoing(address={"to": "4915550"}, text="Hello", template=Template("hello", "de")), http
        )
    assert sent.provider_message_id == "wamid.1"
    first, second = (orjson.loads(request.content) for request in wire.requests)
    assert first == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "4915550",
        "type": "template",
        "template": {
            "name": "delivery",
            "language": {"code": "en_US"},
            "components": [
                {
                    "type": "body",
                    "parameters": [{"type": "text", "text": "The chair"}, {"type": "text", "text": "Monday"}],
                }
            ],
        },
        "biz_opaque_callback_data": str(MESSAGE_ID),
    }
    assert second["template"] == {"name": "hello", "language": {"code": "de"}}


async def test_twilio_is_given_a_template_by_its_content() -> None:
    config = SmsConfig(account_sid="AC1", auth_token="t", number="whatsapp:+14155550100")
    can = SmsAdapter().capabilities_of(config.model_dump())
    assert (can.templates, can.window_h) == (True, 24)
    assert not SmsAdapter().capabilities_of(SMS.model_dump()).templates
    wire = Wire(Messages={"sid": "MM1", "status": "queued"})
    async with wire.client() as http:
        template = Template("HX1", "en", ("The chair", "Monday"))
        await SmsAdapter().send(config, outgoing(address={"to": "whatsapp:+1555"}, template=template), http)
    assert forms(wire) == [
        [
            ("To", "whatsapp:+1555"),
            ("From", "whatsapp:+14155550100"),
            ("ContentSid", "HX1"),
            ("ContentVariables", '{"1":"The chair","2":"Monday"}'),
        ]
    ]


def test_every_channel_says_what_it_carries() -> None:
    for adapter in ADAPTERS.values():
        can = adapter.capabilities
        assert can.files or not can.file_limits, adapter.type
        assert set(can.file_types) <= set(can.file_limits), adapter.type
