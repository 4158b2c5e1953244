"""WhatsApp: real calls in, and what goes to the Graph API and comes back."""

import contextlib
import json
import time
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
    Template,
    TemplateButton,
    Unparseable,
)
from app.channels.provider import FetchError
from app.channels.whatsapp import WhatsAppAdapter
from app.channels.whatsapp_config import WhatsAppConfig
from tests.channels.makers import MESSAGE_ID, NOW, call, outgoing
from tests.support.meta import GraphServer, refusal

TOKEN = "EAAverysecrettoken"
CONFIG = WhatsAppConfig.model_validate(
    {"app_secret": "s", "verify_token": "v", "access_token": TOKEN, "phone_number_id": "111"}
)
ADAPTER = WhatsAppAdapter()
CONTACT = {"profile": {"name": "Ana Ng"}, "wa_id": "8613800000001"}
PLAIN: dict[str, Any] = {"from": "8613800000001", "id": "wamid.1", "timestamp": "1795334400"}


def envelope(field: str = "messages", /, number: str = "111", **value: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "4930123", "phone_number_id": number}
    change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": "waba", "changes": [change]}]}


def parse(body: Any, config: WhatsAppConfig = CONFIG) -> Parsed:
    return ADAPTER.parse(config, call(body if isinstance(body, bytes) else json.dumps(body).encode()))


def said(people: Any = (CONTACT,), /, **message: Any) -> Parsed:
    return parse(envelope(contacts=list(people), messages=[{**PLAIN, **message}]))


def only(parsed: Parsed) -> InboundMessage:
    assert (parsed.errors, parsed.ignored) == ((), ())
    (message,) = parsed.messages
    return message


def test_text() -> None:
    message = only(said(type="text", text={"body": "hello\0 \U0001f600"}))
    assert (message.external_id, message.text, message.sent_at) == ("wamid.1", "hello \U0001f600", NOW)
    sender = message.sender
    assert (sender.kind, sender.value, sender.name, sender.phone) == (
        "whatsapp",
        "8613800000001",
        "Ana Ng",
        "+8613800000001",
    )
    assert sender.address == {"to": "8613800000001"}


BOTH = {**CONTACT, "user_id": "CN.1234", "parent_user_id": "CN.ENT.5678"}
HIDDEN = {"profile": {"username": "anang"}, "user_id": "CN.1234"}
WHO: list[tuple[list[dict[str, Any]], dict[str, Any], str, dict[str, str]]] = [
    ([BOTH], {}, "8613800000001", {"to": "8613800000001", "recipient": "CN.1234", "parent": "CN.ENT.5678"}),
    ([HIDDEN], {"from": None, "from_user_id": "CN.1234"}, "CN.1234", {"recipient": "CN.1234"}),
    ([HIDDEN], {"from": None}, "CN.1234", {"recipient": "CN.1234"}),
    ([{**HIDDEN, "wa_id": "CN.1234"}], {"from": "CN.1234"}, "CN.1234", {"recipient": "CN.1234"}),
    ([], {"from": None, "from_user_id": "CN.1"}, "CN.1", {"recipient": "CN.1"}),
    ([], {"from": 8613800000001}, "8613800000001", {"to": "8613800000001"}),
    ([{**CONTACT, "user_id": "foo_bar"}], {"from_user_id": "foo_bar"}, "8613800000001", {"to": "8613800000001"}),
    # Nobody knows what ids will look like next year: what is no number and no user id is taken as it is.
    ([], {"from": None, "from_user_id": "brand:new"}, "brand:new", {"recipient": "brand:new"}),
    # One contact is meant even where WhatsApp writes the number in two ways (as it does in Brazil and Mexico).
    ([{**BOTH, "wa_id": "55"}], {"from": "559"}, "559", {"to": "559", "recipient": "CN.1234", "parent": "CN.ENT.5678"}),
    (
        [{**BOTH, "wa_id": "1"}, {**CONTACT, "wa_id": "2", "user_id": "US.2"}],
        {"from": "2"},
        "2",
        {"to": "2", "recipient": "US.2"},
    ),
]


@pytest.mark.parametrize(("contacts", "changed", "value", "address"), WHO)
def test_who_wrote(
    contacts: list[dict[str, Any]], changed: dict[str, Any], value: str, address: dict[str, str]
) -> None:
    message = only(said(contacts, type="text", text={"body": "x"}, **changed))
    assert (message.sender.value, message.sender.address) == (value, address)


@pytest.mark.parametrize(
    ("contacts", "changed", "also"),
    [
        ([CONTACT], {}, ()),
        ([BOTH], {}, ("CN.1234", "CN.ENT.5678")),
        ([HIDDEN], {"from": None, "from_user_id": "CN.1234", "from_parent_user_id": "CN.ENT.5678"}, ("CN.ENT.5678",)),
        ([BOTH], {"from": None, "from_user_id": "CN.1234"}, ("CN.1234", "CN.ENT.5678")),
        ([{**BOTH, "wa_id": "55"}], {"from": "559"}, ("55", "CN.1234", "CN.ENT.5678")),
        ([], {"from": "CN.1234", "from_user_id": "CN.1234"}, ()),
        ([{**CONTACT, "user_id": "foo_bar"}], {"from_user_id": "foo_bar"}, ()),
    ],
)
def test_other_names_go_along(contacts: list[dict[str, Any]], changed: dict[str, Any], also: tuple[str, ...]) -> None:
    message = only(said(contacts, type="text", text={"body": "x"}, **changed))
    assert tuple(message.sender.also) == tuple(("whatsapp", value) for value in also)
    in_group = only(said(contacts, type="text", text={"body": "x"}, group_id="g1", **changed))
    assert tuple(in_group.sender.also) == tuple(("whatsapp", f"g1:{value}") for value in also)


@pytest.mark.parametrize(
    ("sender", "system", "value", "address", "also"),
    [
        ({"from": "1"}, {"type": "user_changed_number", "wa_id": "2"}, "2", {"to": "2"}, ("1",)),
        ({"from": "1"}, {"type": "customer_changed_number", "new_wa_id": 2, "customer": "1"}, "2", {"to": "2"}, ("1",)),
        (
            {"from": "1", "from_user_id": "US.9"},
            {"type": "user_changed_number", "wa_id": "2", "user_id": "US.2", "previous_user_id": "US.1"},
            "2",
            {"to": "2", "recipient": "US.2"},
            ("US.2", "1", "US.9", "US.1"),
        ),
        (
            {"from": None, "from_user_id": "US.1"},
            {
                "type": "user_changed_user_id",
                "user_id": "US.2",
                "parent_user_id": "US.ENT.2",
                "previous_user_id": "US.1",
                "previous_parent_user_id": "US.ENT.1",
            },
            "US.2",
            {"recipient": "US.2"},
            ("US.ENT.2", "US.1", "US.ENT.1"),
        ),
    ],
)
def test_who_has_changed(
    sender: dict[str, Any], system: dict[str, Any], value: str, address: dict[str, str], also: tuple[str, ...]
) -> None:
    parsed = said([], type="system", system=system, **sender)
    assert (parsed.messages, parsed.ignored, parsed.errors) == ((), (), ())
    (who,) = parsed.people
    assert (who.value, who.address) == (value, address)
    assert tuple(who.also) == tuple(("whatsapp", name) for name in also)


def test_nobody() -> None:
    parsed = said([{"profile": {"name": "A"}}], type="text", text={"body": "x"}, **{"from": None})
    assert parsed.errors == ("entry 0 change 0 messages 0: neither a phone number nor a user id",)


def test_in_a_group_a_person_is_somebody_else() -> None:
    message = only(said(type="text", text={"body": "x"}, group_id="g1"))
    assert message.sender.value == "g1:8613800000001"
    assert message.sender.address == {"to": "g1", "recipient_type": "group"}


FLOW = '{"flow_token":"t","first_name":"Bob","again":true,"times":["a","b"],"nested":{}}'
MEDIA = {"id": "M", "mime_type": "image/jpeg", "sha256": "x"}
KINDS: list[tuple[dict[str, Any], str, tuple[str, str] | None]] = [
    ({"type": "image", "image": {**MEDIA, "caption": "cap"}}, "cap", ("image.jpg", "image/jpeg")),
    ({"type": "video", "video": {**MEDIA, "mime_type": "video/mp4"}}, "", ("video.mp4", "video/mp4")),
    ({"type": "audio", "audio": {**MEDIA, "mime_type": "audio/ogg; codecs=opus"}}, "", ("audio.ogg", "audio/ogg")),
    ({"type": "sticker", "sticker": {**MEDIA, "mime_type": "image/webp"}}, "", ("sticker.webp", "image/webp")),
    (
        {"type": "document", "document": {**MEDIA, "mime_type": "application/pdf", "filename": "../a/b.pdf"}},
        "",
        ("b.pdf", "application/pdf"),
    ),
    ({"type": "video_note", "video_note": {**MEDIA, "mime_type": "video/mp4"}}, "", ("video_note.mp4", "video/mp4")),
    ({"type": "image", "image": {"caption": "lost"}}, "lost", None),
    ({"type": "image"}, "[image]", None),
    ({"type": "location", "location": {"latitude": 1.5, "longitude": -2}}, "📍 1.5, -2", None),
    (
        {"type": "location", "location": {"latitude": 0.0, "longitude": 1, "name": "N", "address": "A"}},
        "N\nA\n📍 0.0, 1",
        None,
    ),
    (
        {
            "type": "contacts",
            "contacts": [
                {
                    "name": {"formatted_name": "Bo Li"},
                    "phones": [{"phone": "+86 1"}],
                    "emails": [{"email": "b@x.example"}],
                },
                {"name": {"first_name": "Cy"}},
            ],
        },
        "Bo Li (+86 1, b@x.example)\nCy",
        None,
    ),
    (
        {
            "type": "order",
            "order": {
                "text": "soon please",
                "product_items": [
                    {"product_retailer_id": "SOFA", "quantity": 2, "item_price": 99.5, "currency": "EUR"}
                ],
            },
        },
        "soon please\n2 × SOFA (99.5 EUR)",
        None,
    ),
    ({"type": "button", "button": {"payload": "p", "text": "Yes"}}, "Yes", None),
    (
        {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "1", "title": "Yes"}}},
        "Yes",
        None,
    ),
    (
        {
            "type": "interactive",
            "interactive": {"type": "list_reply", "list_reply": {"id": "1", "title": "T", "description": "d"}},
        },
        "T",
        None,
    ),
    (
        {
            "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": FLOW}},
        },
        "Sent\nfirst_name: Bob\nagain: yes\ntimes: a, b",
        None,
    ),
    (
        {
            "type": "interactive",
            "interactive": {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{"}},
        },
        "Sent",
        None,
    ),
    ({"type": "interactive"}, "[unsupported: interactive]", None),
    ({"type": "unsupported", "errors": [{"code": 131051}]}, "[unsupported]", None),
    ({"type": "unsupported", "unsupported": {"type": "poll"}}, "[unsupported: poll]", None),
    ({"type": "text", "text": {"body": ""}}, "[text]", None),
]


@pytest.mark.parametrize(("given_", "text", "file"), KINDS)
def test_kinds_of_message(given_: dict[str, Any], text: str, file: tuple[str, str] | None) -> None:
    message = only(said(**given_))
    assert message.text == text
    if file is None:
        assert message.files == ()
    else:
        assert message.files == (RemoteFile(*file, None, {"media_id": "M"}),)


def test_what_the_text_does_not_say_is_kept() -> None:
    message = only(
        said(
            type="text",
            text={"body": "x"},
            context={"id": "wamid.0", "from": "1", "forwarded": True, "referred_product": {"catalog_id": "c"}},
            referral={"source_url": "https://ad.example", "headline": "h\0"},
        )
    )
    assert message.content == {
        "referral": {"source_url": "https://ad.example", "headline": "h"},
        "forwarded": True,
        "reply_to": {"message_id": "wamid.0"},
        "referred_product": {"catalog_id": "c"},
    }
    form = only(said(type="interactive", interactive={"type": "nfm_reply", "nfm_reply": {"response_json": FLOW}}))
    assert form.content["answers"]["times"] == ["a", "b"]
    assert only(said(type="audio", audio={**MEDIA, "voice": True})).content == {"voice": True}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"type": "system", "system": {"type": "user_changed_number"}}, "system user_changed_number"),
        (
            {"type": "system", "system": {"type": "customer_identity_changed", "wa_id": "2"}},
            "system customer_identity_changed",
        ),
        ({"type": "system"}, "system"),
        ({"type": "hologram", "hologram": {"x": 1}}, "message hologram"),
        ({"type": "request_welcome"}, "message request_welcome"),
        (
            {"type": "interactive", "interactive": {"type": "call_permission_reply"}},
            "message interactive call_permission_reply",
        ),
        ({}, "message"),
    ],
)
def test_what_is_no_message_is_named(given_: dict[str, Any], expected: str) -> None:
    parsed = said(**given_)
    assert (parsed.messages, parsed.ignored, parsed.errors) == ((), (expected,), ())


def test_an_edit() -> None:
    for new, text in (
        ({"type": "text", "text": {"body": "better"}}, "better"),
        ({"type": "image", "image": {**MEDIA, "caption": "new caption"}}, "new caption"),
    ):
        parsed = said(type="edit", edit={"original_message_id": "wamid.0", "message": new})
        (change,) = parsed.changes
        assert (parsed.messages, parsed.errors) == ((), ())
        assert (change.key, change.kind, change.external_id, change.provider_message_id, change.text, change.at) == (
            "wamid.1",
            ChangeKind.EDIT,
            "wamid.0",
            None,
            text,
            NOW,
        )
        assert change.sender.value == "8613800000001"


def test_a_revoke() -> None:
    (change,) = said(type="revoke", revoke={"original_message_id": "wamid.0"}).changes
    assert (change.kind, change.external_id, change.text) == (ChangeKind.DELETE, "wamid.0", None)
    assert said(type="revoke").errors == ("entry 0 change 0 messages 0: revoke: does not say of what",)


@pytest.mark.parametrize(("body", "emoji"), [({"emoji": "👍🏽"}, "👍🏽"), ({"emoji": ""}, None), ({}, None)])
def test_a_reaction_is_to_theirs_or_to_ours(body: dict[str, Any], emoji: str | None) -> None:
    (change,) = said(type="reaction", reaction={"message_id": "wamid.0", **body}).changes
    assert (change.kind, change.text) == (ChangeKind.REACTION, emoji)
    assert change.external_id == change.provider_message_id == "wamid.0"


def test_an_echo_of_the_phone_app() -> None:
    for field in ("smb_message_echoes", "message_echoes"):
        item = {"from": "4930123", "to": "8613800000001", "id": "wamid.e", "timestamp": "1795334400"}
        parsed = parse(envelope(field, message_echoes=[{**item, "type": "image", "image": {**MEDIA, "caption": "c"}}]))
        (echo,) = parsed.echoes
        assert (echo.external_id, echo.recipient.value, echo.text, echo.sent_at) == (
            "wamid.e",
            "8613800000001",
            "c",
            NOW,
        )
        assert (len(echo.files), parsed.messages, parsed.errors) == (1, (), ())
    hidden = {"from": "4930123", "to_user_id": "CN.1", "id": "e", "type": "text", "text": {"body": "x"}}
    (echo,) = parse(envelope("smb_message_echoes", message_echoes=[hidden])).echoes
    assert echo.recipient.address == {"recipient": "CN.1"}
    mixed_up = {"from": "861", "to": "4930123", "id": "e", "type": "text", "text": {"body": "x"}}
    (echo,) = parse(envelope("smb_message_echoes", message_echoes=[mixed_up])).echoes
    assert echo.recipient.value == "861"


def test_what_we_edit_on_the_phone_is_a_change_of_ours() -> None:
    item = {"from": "4930123", "to": "861", "id": "k", "type": "edit"}
    edit = {"original_message_id": "wamid.e", "message": {"type": "text", "text": {"body": "new"}}}
    (change,) = parse(envelope("smb_message_echoes", message_echoes=[{**item, "edit": edit}])).changes
    assert (change.external_id, change.provider_message_id, change.text) == (None, "wamid.e", "new")
    reaction = {**item, "type": "reaction", "reaction": {"message_id": "m", "emoji": "x"}}
    assert parse(envelope("smb_message_echoes", message_echoes=[reaction])).ignored == ("echo reaction",)


def heard(**status: Any) -> Parsed:
    item = {"id": "wamid.9", "status": "sent", "timestamp": "1795334400", "recipient_id": "1", **status}
    return parse(envelope(statuses=[item]))


@pytest.mark.parametrize(
    ("word", "ours"),
    [("sent", "sent"), ("delivered", "delivered"), ("read", "read"), ("played", "read"), ("failed", "failed")],
)
def test_statuses(word: str, ours: str) -> None:
    (status,) = heard(status=word).statuses
    failure = SendFailure.PERMANENT if ours == "failed" else None
    assert status == StatusUpdate("wamid.9", ours, at=NOW, failure=failure)


def test_a_status_brings_our_own_id_back() -> None:
    (status,) = heard(biz_opaque_callback_data=str(MESSAGE_ID)).statuses
    assert status.our_id == str(MESSAGE_ID)
    assert heard(biz_opaque_callback_data=f"{MESSAGE_ID}:1/3", status="read").ignored == ("status of a part",)
    (failed,) = heard(biz_opaque_callback_data=f"{MESSAGE_ID}:1/3", status="failed").statuses
    assert (failed.our_id, failed.status) == (str(MESSAGE_ID), "failed")


def test_a_failed_status_says_why() -> None:
    error = {"code": 131047, "title": "Re-engagement message", "message": "Re-engagement message"}
    (status,) = heard(status="failed", errors=[{**error, "error_data": {"details": "more than 24 hours"}}]).statuses
    assert status.detail == "131047: Re-engagement message - more than 24 hours"
    assert status.failure is SendFailure.WINDOW


@pytest.mark.parametrize("word", ["in_orbit", "deleted", "warning", None, 5, []])
def test_other_statuses_are_named(word: Any) -> None:
    parsed = heard(status=word)
    assert (parsed.statuses, len(parsed.ignored), parsed.errors) == ((), 1, ())


def test_a_call_that_nobody_takes() -> None:
    base = {"id": "wacid.1", "from": "861", "to": "4930123", "timestamp": "1795334400", "direction": "USER_INITIATED"}
    ring = {**base, "event": "connect", "session": {"sdp": "v=0", "sdp_type": "offer"}}
    end = {**base, "event": "terminate", "status": "FAILED"}
    ringing, missed = parse(envelope("calls", calls=[ring, end])).calls
    assert (ringing.key, ringing.call_id, ringing.state, ringing.direction) == (
        "wacid.1:connect",
        "wacid.1",
        "ringing",
        "inbound",
    )
    assert ringing.sender is not None
    assert (ringing.sender.value, ringing.at) == ("861", NOW)
    assert (missed.key, missed.state, missed.cause, missed.duration_s) == (
        "wacid.1:terminate",
        "missed",
        "FAILED",
        None,
    )


def test_a_call_that_we_made() -> None:
    end = {"id": "c", "from": "4930123", "to": "861", "event": "terminate", "direction": "BUSINESS_INITIATED"}
    (ended,) = parse(envelope("calls", calls=[{**end, "status": "COMPLETED", "duration": 120}])).calls
    assert ended.sender is not None
    assert (ended.state, ended.direction, ended.duration_s, ended.sender.value) == ("ended", "outbound", 120.0, "861")
    status = {"id": "c", "type": "call", "status": "ACCEPTED", "recipient_id": "861", "timestamp": "1795334400"}
    (answered,) = parse(envelope("calls", statuses=[status])).calls
    assert (answered.state, answered.call_id) == ("answered", "c")


def test_a_bad_item_spoils_nothing() -> None:
    good = {**PLAIN, "type": "text", "text": {"body": "x"}}
    items = [good, 7, {**good, "id": "b", "from": {}}, {**good, "id": "c"}]
    body = envelope(messages=items, statuses=[{"status": "sent"}, {"id": "s", "status": "read"}])
    body["entry"].extend(["x", {"changes": [None, 5]}])
    parsed = parse(body)
    assert [message.external_id for message in parsed.messages] == ["wamid.1", "c"]
    assert [status.provider_message_id for status in parsed.statuses] == ["s"]
    assert [error.partition(": ")[0] for error in parsed.errors] == [
        "entry 0 change 0 messages 1",
        "entry 0 change 0 messages 2",
        "entry 0 change 0 statuses 0",
        "entry 1",
        "entry 2 change 0",
        "entry 2 change 1",
    ]


def test_other_numbers_of_the_same_app_are_not_ours() -> None:
    body = envelope(number="222", messages=[{**PLAIN, "type": "text", "text": {"body": "x"}}])
    assert parse(body) == Parsed(ignored=("other account",))
    body["entry"].append(envelope(messages=[{**PLAIN, "type": "text", "text": {"body": "y"}}])["entry"][0])
    parsed = parse(body)
    assert ([message.text for message in parsed.messages], parsed.ignored) == (["y"], ("other account",))


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ({"object": "page", "entry": []}, "object page"),
        ({"object": "whatsapp_business_account"}, "empty call"),
        (envelope("account_update", event="ACCOUNT_VIOLATION"), "account_update ACCOUNT_VIOLATION"),
        (envelope("brand_new_field", x=1), "brand_new_field"),
        (envelope(), "messages without items"),
        (envelope(errors=[{"code": 0, "title": "no auth"}]), "error 0: no auth"),
    ],
)
def test_other_calls_are_named(body: Any, ignored: str) -> None:
    assert parse(body) == Parsed(ignored=(ignored,))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b"5", b"[" * 100_000])
def test_what_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Unparseable):
        parse(body)


def test_the_same_call_gives_the_same_keys() -> None:
    without_id = {**PLAIN, "id": None, "type": "text", "text": {"body": "x"}}
    first, second = (parse(envelope(messages=[without_id])) for _ in range(2))
    assert first == second
    other = parse(envelope(messages=[{**without_id, "text": {"body": "y"}}]))
    assert other.messages[0].external_id != first.messages[0].external_id


# Where we differ from courier's expectations, and why. A location has no words there (its attachment carries it) and a
# form's answer is only "Sent": our agents read text, so both are written out. Group messages and messages that WhatsApp does
# not pass on are dropped there; here a person sees that a customer said something. An id of a shape that nobody knows
# ("bla") is refused there; here it is as good as any.
OUR_TEXT = {
    "courier_location": "Main Street Beach\nMain Street Beach, Santa Cruz, CA\n📍 0.0, 1.0",
    "courier_nfm_reply": "Sent\nfirst_name: Bob\nage: 32",
}
OUR_STATUS = {"models.MsgStatusSent": "sent", "models.MsgStatusFailed": "failed"}


def real_calls(fixtures: Path) -> list[tuple[Path, bytes, WhatsAppConfig]]:
    found = []
    for path in sorted((fixtures / "whatsapp").rglob("*.json")):
        if path.name.endswith(".expected.json") or path.parent.name == "vectors":
            continue
        raw = path.read_bytes()
        number = raw.partition(b'"phone_number_id"')[2].partition(b'"')[2].partition(b'"')[0].decode() or "111"
        found.append((path, raw, CONFIG.model_copy(update={"phone_number_id": number})))
    return found


def test_every_real_call_about_ids(fixtures: Path) -> None:
    """All ids that a call gives of somebody lead to one person."""
    seen = 0
    for path, raw, config in real_calls(fixtures):
        for message in parse(raw, config).messages:
            sender = message.sender
            if "recipient_type" not in sender.address:
                assert set(sender.address.values()) <= {sender.value, *(value for _, value in sender.also)}, path
            seen += bool(sender.also)
    assert seen >= 20
    path, raw, config = next(item for item in real_calls(fixtures) if "phone_number_change" in item[0].name)
    (who,) = parse(raw, config).people
    assert (who.value, tuple(who.also)) == ("972912345678", (("whatsapp", "972987654321"),))


def test_every_real_call_is_read(fixtures: Path) -> None:
    kinds = dict.fromkeys(("messages", "changes", "echoes", "calls", "statuses", "ignored", "errors"), 0)
    for path, raw, config in real_calls(fixtures):
        parsed = parse(raw, config)
        assert parsed == parse(raw, config), path
        assert "other account" not in parsed.ignored, path
        for name in kinds:
            kinds[name] += len(getattr(parsed, name))
        for message in parsed.messages:
            assert message.text or message.files, path
            orjson.dumps([message.content, message.text, dict(message.sender.address)])
    # The only one that cannot be read is the one without a sender.
    assert (kinds["errors"], kinds["changes"], kinds["calls"]) == (1, 5, 3)
    assert (kinds["messages"], kinds["statuses"]) == (48, 13)


def test_real_calls_say_what_others_read_in_them(fixtures: Path) -> None:
    compared = 0
    for path, raw, config in real_calls(fixtures):
        beside = path.with_name(path.name.removesuffix(".json") + ".expected.json")
        expected = json.loads(beside.read_bytes())[0] if beside.exists() else {}
        parsed = parse(raw, config)
        if "urn" in expected:
            (message,) = parsed.messages
            assert message.text == OUR_TEXT.get(path.stem, expected["text"]), path
            assert f"whatsapp:{message.sender.value}" == expected["urn"]
            assert message.external_id == expected["external_id"]
            assert message.sent_at == datetime.fromisoformat(expected["date"]).astimezone(UTC)
            assert message.sender.name == expected.get("contact_name", message.sender.name)
            files = [url for url in expected.get("attachments", ()) if not url.startswith("geo:")]
            assert len(message.files) == len(files)
            compared += 1
        for status, wanted in zip(parsed.statuses, expected.get("statuses", ()), strict=False):
            assert status.provider_message_id == wanted["ExternalID"]
            assert status.status == OUR_STATUS[wanted["Status"]]
            compared += 1
    assert compared >= 14


NAMES = [
    *(
        "object",
        "entry",
        "changes",
        "value",
        "field",
        "metadata",
        "phone_number_id",
        "contacts",
        "messages",
        "statuses",
    ),
    *("message_echoes", "calls", "errors", "id", "from", "to", "type", "timestamp", "text", "body", "profile", "name"),
    *(
        "image",
        "interactive",
        "nfm_reply",
        "response_json",
        "edit",
        "revoke",
        "reaction",
        "original_message_id",
        "emoji",
    ),
    *("location", "latitude", "order", "product_items", "contacts", "phones", "context", "status", "wa_id", "user_id"),
]
WORDS = st.sampled_from(
    ["text", "edit", "revoke", "reaction", "interactive", "nfm_reply", "sent", "failed", "messages", "111"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**70) | st.floats() | st.text(max_size=10) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)


@given(
    JSON,
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8),
    st.sampled_from(["messages", "statuses", "calls", "message_echoes"]),
)
def test_any_call_is_read(body: Any, item: dict[str, Any], name: str) -> None:
    value: dict[str, Any] = {name: [item, {**PLAIN, **item}], "contacts": [body]}
    for given_ in (body, envelope(name, **value)):
        try:
            parsed = parse(json.dumps(given_).encode())
        except Unparseable:
            assert not isinstance(given_, dict)
            continue
        for message in parsed.messages:
            assert message.external_id
            assert message.sender.value
            orjson.dumps([message.text, message.content, message.sender.name, dict(message.sender.address)])
        for change in parsed.changes:
            assert change.key
            assert change.external_id or change.provider_message_id


@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(Unparseable):
        parse(body)


def test_a_full_call_is_read_in_no_time() -> None:
    """Some 25 ms each where this was written; the limit catches what grows with the square."""
    texts = [
        {**PLAIN, "from": f"86{n}", "id": f"w{n}", "type": "text", "text": {"body": "x" * 300}} for n in range(1000)
    ]
    people = [{"wa_id": f"86{n}", "user_id": f"CN.{n}"} for n in range(1000)]
    started = time.process_time()
    assert len(parse(envelope(messages=texts, contacts=people)).messages) == 1000
    assert len(parse(envelope(messages=[{"from": "z"}] * 8000, contacts=people * 8)).ignored) == 8000
    assert time.process_time() - started < 3


@pytest.fixture
async def server() -> AsyncIterator[GraphServer]:
    async with GraphServer(TOKEN) as server:
        yield server


def at(server: GraphServer, **changed: Any) -> WhatsAppConfig:
    return CONFIG.model_copy(update={"api_base": f"{server.base}/", **changed})


async def send(server: GraphServer, message: Outgoing, **changed: Any) -> str | None:
    async with httpx.AsyncClient(timeout=5) as http:
        return (await ADAPTER.send(at(server, **changed), message, http)).provider_message_id


async def failure(server: GraphServer, message: Outgoing | None = None, **changed: Any) -> SendError:
    with pytest.raises(SendError) as error:
        await send(server, message or to_ana(), **changed)
    assert TOKEN not in repr(error.value)
    return error.value


def to_ana(**changed: Any) -> Outgoing:
    return outgoing(**{"address": {"to": "8613800000001", "recipient": "CN.1234"}, **changed})


async def test_sending_byte_by_byte(server: GraphServer) -> None:
    assert await send(server, to_ana(text=" We have found it. 你好 ")) == "wamid.1"
    assert server.paths == ["/v24.0/111/messages"]
    assert server.raw == [
        b'{"messaging_product":"whatsapp","recipient_type":"individual","to":"8613800000001","type":"text",'
        b'"text":{"body":"We have found it. \xe4\xbd\xa0\xe5\xa5\xbd","preview_url":false},'
        b'"biz_opaque_callback_data":"01935555-0000-7000-8000-000000000001"}'
    ]
    headers = server.requests[0][1]
    assert headers["content-type"] == "application/json"


async def test_a_template_with_its_buttons_byte_by_byte(server: GraphServer) -> None:
    buttons = [TemplateButton("quick_reply", "rt:y:0"), TemplateButton("url", "t0ken")]
    template = Template("solved", "zh_CN", ("门", "https://desk.test/f/t0ken"), buttons)
    await send(server, to_ana(text="门", template=template))
    await send(server, to_ana(template=Template("solved", "de", buttons=buttons[1:])))
    head = b'{"messaging_product":"whatsapp","recipient_type":"individual","to":"8613800000001","type":"template",'
    tail = b'"biz_opaque_callback_data":"01935555-0000-7000-8000-000000000001"}'
    assert server.raw == [
        head + b'"template":{"name":"solved","language":{"code":"zh_CN"},"components":['
        b'{"type":"body","parameters":[{"type":"text","text":"\xe9\x97\xa8"},'
        b'{"type":"text","text":"https://desk.test/f/t0ken"}]},'
        b'{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"rt:y:0"}]},'
        b'{"type":"button","sub_type":"url","index":"1","parameters":[{"type":"text","text":"t0ken"}]}]},' + tail,
        head + b'"template":{"name":"solved","language":{"code":"de"},"components":['
        b'{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"t0ken"}]}]},' + tail,
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ({"recipient": "CN.1", "parent": "CN.ENT.1"}, {"recipient_type": "individual", "recipient": "CN.1"}),
        ({"to": "g", "recipient_type": "group"}, {"recipient_type": "group", "to": "g"}),
        ({"to": 49123}, {"recipient_type": "individual", "to": "49123"}),
    ],
)
async def test_whom_it_goes_to(server: GraphServer, address: dict[str, Any], expected: dict[str, str]) -> None:
    await send(server, to_ana(address=address))
    ((_, payload),) = server.sent
    assert {name: payload[name] for name in ("recipient_type", "to", "recipient") if name in payload} == expected


async def test_nobody_to_send_to(server: GraphServer) -> None:
    assert (await failure(server, to_ana(address={}))).failure is SendFailure.RECIPIENT
    assert (await failure(server, to_ana(text=" "))).failure is SendFailure.PERMANENT
    assert server.paths == []


async def test_a_long_text_goes_out_in_parts(server: GraphServer) -> None:
    text = "\n\n".join(f"paragraph {n} " + "word " * 100 for n in range(20))
    assert await send(server, to_ana(text=text)) == f"wamid.{len(server.sent)}"
    bodies = [payload["text"]["body"] for _, payload in server.sent]
    assert len(bodies) == 3
    assert all(len(body) <= 4096 for body in bodies)
    assert "".join("".join(bodies).split()) == "".join(text.split())
    marks = [payload["biz_opaque_callback_data"] for _, payload in server.sent]
    assert marks == [f"{MESSAGE_ID}:1/3", f"{MESSAGE_ID}:2/3", str(MESSAGE_ID)]
    assert (await failure(server, to_ana(text="x" * 4096 * 21))).failure is SendFailure.PERMANENT


PNG = OutboundFile('häuschen "1".png', "image/png", b"\x89PNG\r\n\x1a\n\x00data")
PDF = OutboundFile("offer.pdf", "application/pdf", b"%PDF-1.7")
OGG = OutboundFile("say.ogg", "audio/ogg", b"OggS")


async def test_files_are_uploaded_and_sent_by_id(server: GraphServer) -> None:
    assert await send(server, to_ana(text="Look", files=(PNG, PDF))) == "wamid.2"
    assert server.paths == ["/v24.0/111/media", "/v24.0/111/media", "/v24.0/111/messages", "/v24.0/111/messages"]
    first, second = server.uploads
    assert first.fields == {"messaging_product": "whatsapp", "type": "image/png", "<file>": "file"}
    assert (first.data, first.media_type, second.name, second.data) == (PNG.data, "image/png", "offer.pdf", PDF.data)
    image, document = (payload for _, payload in server.sent)
    assert (image["type"], image["image"]) == ("image", {"id": "up1", "caption": "Look"})
    assert (document["type"], document["document"]) == ("document", {"id": "up2", "filename": "offer.pdf"})


async def test_what_no_caption_can_hold_goes_first(server: GraphServer) -> None:
    await send(server, to_ana(text="Listen", files=(OGG,)))
    await send(server, to_ana(text="x" * 1025, files=(PDF,)))
    await send(server, to_ana(text="", files=(OGG, PNG)))
    kinds = [(payload["type"], "caption" in payload[payload["type"]]) for _, payload in server.sent]
    assert kinds == [
        ("text", False),
        ("audio", False),
        ("text", False),
        ("document", False),
        ("audio", False),
        ("image", False),
    ]


async def test_what_is_too_big_to_be_shown_is_a_document(server: GraphServer) -> None:
    await send(server, to_ana(text="", files=(OutboundFile("big.png", "image/png", bytes(5_000_001)),)))
    ((_, payload),) = server.sent
    assert payload["type"] == "document"
    huge = OutboundFile("huge.zip", "application/zip", bytes(100_000_001))
    assert (await failure(server, to_ana(files=(PNG, huge)))).failure is SendFailure.PERMANENT
    assert len(server.uploads) == 1


async def test_a_failed_upload_sends_nothing_and_may_be_tried_again(server: GraphServer) -> None:
    server.upload_answer = 503, {"retry-after": "7"}, b"busy"
    error = await failure(server, to_ana(files=(PNG,)))
    assert (error.failure, error.retry_after_s, server.sent) == (SendFailure.RETRY, 7.0, [])
    server.upload_answer = refusal(131053)
    assert (await failure(server, to_ana(files=(PNG,)))).failure is SendFailure.PERMANENT


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *[(code, SendFailure.RETRY) for code in (2, 4, 80007, 130429, 131000, 131016, 131048, 131056, 131057)],
        *[(code, SendFailure.REAUTH) for code in (0, 190)],
        *[(code, SendFailure.CONFIG) for code in (10, 200, 299, 368, 131031, 131042, 131045, 133010)],
        *[(code, SendFailure.PERMANENT) for code in (100, 130472, 131008, 131009, 131049, 131051, 131053, 131062)],
        *[(code, SendFailure.PERMANENT) for code in (132000, 132001, 132016, 999_999)],
        *[(code, SendFailure.RECIPIENT) for code in (131026, 131021, 131050)],
        (131047, SendFailure.WINDOW),
    ],
)
async def test_what_a_code_means(server: GraphServer, code: int, expected: SendFailure) -> None:
    server.script = [refusal(code, message="why")]
    error = await failure(server)
    assert (error.failure, str(code) in error.detail, "why" in error.detail) == (expected, True, True)


async def test_the_code_counts_and_not_the_status(server: GraphServer) -> None:
    server.script = [
        refusal(131047, status=500),
        refusal(100, subcode=33),
        refusal(77, status=503),
        refusal(77, status=429),
    ]
    failures = [(await failure(server)).failure for _ in range(4)]
    assert failures == [SendFailure.WINDOW, SendFailure.CONFIG, SendFailure.RETRY, SendFailure.RETRY]


async def test_a_refused_token_is_not_quoted(server: GraphServer) -> None:
    server.token = "EAAother"
    error = await failure(server)
    assert (error.failure, "<token>" in error.detail) == (SendFailure.REAUTH, True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {}, b"<html>a login page"), SendFailure.UNKNOWN),
        ((200, {}, b"{}"), SendFailure.UNKNOWN),
        ((200, {}, b'{"messages":[]}'), SendFailure.UNKNOWN),
        ((200, {}, b'{"messages":[{"id":null}]}'), SendFailure.UNKNOWN),
        ((302, {"location": "http://169.254.169.254/"}, b""), SendFailure.CONFIG),
        ((401, {}, b"no"), SendFailure.REAUTH),
        ((404, {}, b"no"), SendFailure.CONFIG),
        ((400, {}, b'{"error":"odd"}'), SendFailure.PERMANENT),
        ((400, {}, b'{"error":{"code":"190","message":5}}'), SendFailure.PERMANENT),
        ((400, {}, b'{"error":{"is_transient":true,"message":"later"}}'), SendFailure.RETRY),
        ((429, {}, b""), SendFailure.RETRY),
        ((502, {}, b"<html>Bad gateway"), SendFailure.RETRY),
        ("drop", SendFailure.UNKNOWN),
    ],
)
async def test_odd_answers(server: GraphServer, answer: Any, expected: SendFailure) -> None:
    server.script = [answer]
    assert (await failure(server)).failure is expected


async def test_redirects_are_not_followed(server: GraphServer) -> None:
    server.script = [(302, {"location": f"{server.base}/v24.0/elsewhere/messages"}, b"")]
    async with httpx.AsyncClient(timeout=5, follow_redirects=True) as http:
        with pytest.raises(SendError):
            await ADAPTER.send(at(server), to_ana(), http)
    assert len(server.paths) == 1


async def test_how_long_to_wait(server: GraphServer) -> None:
    server.script = [refusal(130429, retry_after="17"), refusal(131056), refusal(131056, retry_after="3"), refusal(4)]
    waits = [(await failure(server)).retry_after_s for _ in range(4)]
    assert waits == [17.0, 6.0, 3.0, None]


async def test_a_server_that_is_not_there(server: GraphServer) -> None:
    assert (await failure(server, api_base="http://127.0.0.1:9")).failure is SendFailure.RETRY


async def test_half_a_message_is_for_a_person_to_decide(server: GraphServer) -> None:
    server.script = [None, refusal(131026)]
    error = await failure(server, to_ana(text="x" * 5000))
    assert error.failure is SendFailure.UNKNOWN
    assert error.detail.startswith("1 of 2 parts were sent, then: Meta answered 400, error 131026")


async def test_a_short_wait_between_parts_is_worth_it(server: GraphServer) -> None:
    server.script = [None, refusal(131056, retry_after="0")]
    assert await send(server, to_ana(text="x" * 5000)) == "wamid.2"


def remote(media_id: str) -> RemoteFile:
    return RemoteFile("a.png", "image/png", None, {"media_id": media_id})


async def fetch(server: GraphServer, media_id: str, *, limit: int = 100, **changed: Any) -> bytes:
    assert isinstance(ADAPTER, Fetching)
    async with httpx.AsyncClient(timeout=5) as http:
        return await ADAPTER.fetch(at(server, **changed), remote(media_id), http, limit=limit)


async def test_media_is_fetched_by_id_with_the_token(server: GraphServer) -> None:
    server.media = {"M1": b"bytes"}
    assert await fetch(server, "M1") == b"bytes"
    assert server.paths == ["/v24.0/M1", "/cdn/M1"]
    assert server.file_headers[0]["authorization"] == f"Bearer {TOKEN}"


async def test_media_that_cannot_be_had(server: GraphServer) -> None:
    server.media = {"M1": b"x" * 101}
    for media_id, base, retry in (
        ("M1", server.base, False),
        ("nowhere", server.base, False),
        ("../111", server.base, False),
        ("", server.base, False),
        ("M1", "http://127.0.0.1:9", True),
    ):
        with pytest.raises(FetchError) as error:
            await fetch(server, media_id, api_base=base)
        assert error.value.retry is retry, media_id
    assert "/cdn/M1" not in server.paths


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://evil.example/x",
        "https://fbsbx.com.evil.example/x",
        "https://evilfbsbx.com/x",
        "http://lookaside.fbsbx.com/x",
        "file:///etc/passwd",
        "https://[::1/x",
    ],
)
async def test_the_token_goes_nowhere_but_to_meta(server: GraphServer, url: str) -> None:
    server.media, server.media_url = {"M1": b"x"}, url
    with pytest.raises(FetchError) as error:
        await fetch(server, "M1")
    assert error.value.retry is False


async def test_credentials_can_be_tried(server: GraphServer) -> None:
    assert isinstance(ADAPTER, Checking)
    async with httpx.AsyncClient(timeout=5) as http:
        await ADAPTER.check(at(server), http)
        assert server.paths == ["/v24.0/111?fields=id"]
        server.token = "EAAother"
        with pytest.raises(SendError) as error:
            await ADAPTER.check(at(server), http)
    assert error.value.failure is SendFailure.REAUTH
