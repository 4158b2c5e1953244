"""Mail by webhook: what proves a call, what becomes of it, and every given call of the three providers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.channels import mail_webhooks
from app.channels.base import Call, Parsed, RefusalReason, SendFailure, Unparseable
from app.channels.mail import MailAdapter
from app.channels.mail_config import MailConfig
from app.errors import NotGenuine

ADAPTER = MailAdapter()
KEY, SECRET = "key-0123456789", "a secret in the address"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RAW = (
    b"From: Ana <ana@home.example>\r\nTo: help@shop.example\r\nSubject: Sofa\r\nMessage-ID: <1@home.example>\r\n\r\n"
    b"It broke \xe2\x80\xa6\r\n"
)


def config(provider: str, **more: Any) -> MailConfig:
    needed = {"mailgun": {"mailgun_signing_key": KEY}}.get(provider, {"inbound_secret": SECRET})
    return MailConfig.model_validate({"address": "help@shop.example", "inbound": provider, **needed, **more})


def call(body: bytes, kind: str, /, **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call("POST", "https://x/channels/1/webhook", {}, {"content-type": kind, **named}, body, NOW)


def signed(at: float | None = None, key: str = KEY) -> dict[str, str]:
    timestamp, token = str(int(at or NOW.timestamp())), secrets.token_hex(25)
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": signature}


def multipart(
    fields: dict[str, bytes | str], files: dict[str, tuple[str, str, bytes]] | None = None
) -> tuple[bytes, str]:
    parts = []
    for name, value in fields.items():
        data = value.encode() if isinstance(value, str) else value
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data)
    for name, (file, kind, data) in (files or {}).items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: {kind}\r\n\r\n'
        parts.append(head.encode() + data)
    body = b"".join(b"--xYzZY\r\n" + part + b"\r\n" for part in parts) + b"--xYzZY--\r\n"
    return body, "multipart/form-data; boundary=xYzZY"


def basic(secret: str = SECRET) -> str:
    return "Basic " + base64.b64encode(f"any:{secret}".encode()).decode()


def mailgun(fields: dict[str, Any], *, form: bool = True, sign: dict[str, str] | None = None) -> Call:
    proof = signed() if sign is None else sign
    if "event-data" in fields:
        return call(orjson.dumps({**fields, "signature": proof}), "application/json")
    given = {**fields, **proof}
    if form:
        return call(*multipart({name: str(value) for name, value in given.items()}))
    return call(urlencode(given, doseq=True).encode(), "application/x-www-form-urlencoded")


def read(provider: str, made: Call, **more: Any) -> Parsed:
    chosen = config(provider, **more)
    ADAPTER.verify(chosen, made)
    return ADAPTER.parse(chosen, made)


# Mailgun


@pytest.mark.parametrize("form", [True, False])
def test_mailgun_raw(form: bool) -> None:
    fields = {"recipient": "help+abc@shop.example", "sender": "ana@home.example", "body-mime": RAW.decode()}
    (message,) = read("mailgun", mailgun(fields, form=form)).messages
    assert (message.sender.value, message.text, message.subject) == ("ana@home.example", "It broke …", "Sofa")
    assert message.threading.reply_tokens == ["abc"]
    again = read("mailgun", mailgun(fields, form=not form)).messages[0]
    assert again.external_id == message.external_id


def test_mailgun_taken_apart() -> None:
    headers = [["From", "Ana <ana@home.example>"], ["Subject", "Ünder"], ["Message-Id", "<7@home.example>"]]
    headers += [["Content-Type", "multipart/mixed; boundary=x"], ["In-Reply-To", "<ours@shop.example>"]]
    fields: dict[str, bytes | str] = {
        **signed(),
        "recipient": "help@shop.example",
        "message-headers": orjson.dumps(headers),
        "body-plain": "See the photo 你好",
        "body-html": '<p>See <img src="cid:p1"></p>',
        "content-id-map": '{"<p1>": "attachment-1"}',
    }
    files = {
        "attachment-1": ("ф.png", "image/png", b"\x89PNG\r\n--xYzZ\r\n"),
        "attachment-2": ("a.pdf", "application/pdf", b"%PDF"),
    }
    (message,) = read("mailgun", call(*multipart(fields, files))).messages
    assert (message.text, message.subject, message.thread_key) == ("See the photo 你好", "Ünder", "<7@home.example>")
    assert message.threading.references == ["<ours@shop.example>"]
    found = {file.name: file for file in message.files}
    assert found["ф.png"].data == b"\x89PNG\r\n--xYzZ\r\n"  # type: ignore[union-attr]
    assert found["ф.png"].content_id == "p1"  # type: ignore[union-attr]
    assert found["a.pdf"].data == b"%PDF"  # type: ignore[union-attr]


def test_mailgun_bits_flipped() -> None:
    fields = {"recipient": "help@shop.example", "body-mime": RAW.decode()}
    good = signed()
    bad: list[dict[str, str]] = [{}]
    for name in good:
        last = good[name][-1]
        bad.append({**good, name: good[name][:-1] + ("1" if last == "0" else "0")})
    bad += [signed(key=KEY + "x"), signed(NOW.timestamp() - 50_000), signed(NOW.timestamp() + 50_000)]
    ADAPTER.verify(config("mailgun"), mailgun(fields, sign=good))
    for proof in bad:
        with pytest.raises(NotGenuine):
            ADAPTER.verify(config("mailgun"), mailgun(fields, sign=proof))


def test_mailgun_tokens_belong_to_one_call() -> None:
    proof, chosen = signed(), config("mailgun")
    made = [
        mailgun({"recipient": "help@shop.example", "body-mime": raw.decode()}, sign=proof)
        for raw in (RAW, RAW, RAW.replace(b"Sofa", b"Bank"))
    ]
    one, same, other = (mail_webhooks.once(chosen, item, ADAPTER.parse(chosen, item)) for item in made)
    assert one is not None
    assert one == same
    assert other is not None
    assert (other.token, other.digest) != (one.token, one.digest)
    assert other.token == one.token


def event(name: str, **more: Any) -> dict[str, Any]:
    message = {"headers": {"message-id": "1.2@shop.example"}}
    return {
        "event-data": {
            "event": name,
            "id": "e1",
            "timestamp": 1534110422.4,
            "recipient": "Ana@home.example",
            "message": message,
            **more,
        }
    }


def test_mailgun_events() -> None:
    (status,) = read("mailgun", mailgun(event("delivered"))).statuses
    assert (status.provider_message_id, status.status) == ("<1.2@shop.example>", "delivered")
    assert status.at == datetime.fromtimestamp(1534110422.4, UTC)
    gone = read(
        "mailgun",
        mailgun(
            event(
                "failed",
                severity="permanent",
                **{
                    "delivery-status": {
                        "code": 550,
                        "message": "5.1.1 The email account that you tried to reach does not exist",
                    }
                },
            )
        ),
    )
    assert [(one.status, one.failure) for one in gone.statuses] == [("failed", SendFailure.RECIPIENT)]
    assert [(one.reason, one.sender.value) for one in gone.refusals] == [
        (RefusalReason.UNREACHABLE, "ana@home.example")
    ]
    full = read(
        "mailgun",
        mailgun(event("failed", severity="permanent", **{"delivery-status": {"code": 552, "message": "mailbox full"}})),
    )
    assert (len(full.statuses), len(full.refusals)) == (1, 0)
    later = read("mailgun", mailgun(event("failed", severity="temporary")))
    assert (later.statuses, later.refusals, later.ignored) == ([], [], ["failed for now"])
    assert [one.reason for one in read("mailgun", mailgun(event("complained"))).refusals] == [RefusalReason.COMPLAINED]
    assert read("mailgun", mailgun(event("opened"))).ignored == ["opened"]


# SendGrid


def sendgrid(fields: dict[str, bytes | str], files: Any = None, **headers: str) -> Call:
    body, kind = multipart(fields, files)
    return call(body, kind, **{"authorization": basic(), **headers})


def test_sendgrid_raw() -> None:
    fields: dict[str, bytes | str] = {
        "email": RAW,
        "envelope": '{"to":["help+tok@shop.example"],"from":"ana@home.example"}',
        "dkim": "{@x : pass}",
    }
    (message,) = read("sendgrid", sendgrid(fields)).messages
    assert (message.text, message.threading.reply_tokens) == ("It broke …", ["tok"])


def test_sendgrid_taken_apart_in_several_charsets() -> None:
    fields: dict[str, bytes | str] = {
        "headers": "From: Ana <ana@home.example>\nSubject: =?utf-8?q?S=C3=B6fa?=\nMessage-ID: <9@home.example>\nX-Long: a\n b\nContent-Type: text/plain",
        "text": "沙发坏了".encode("gb18030"),
        "charsets": '{"text":"gb2312","to":"UTF-8"}',
        "envelope": '{"to":["help@shop.example"],"from":""}',
        "attachment-info": '{"attachment1":{"filename":"沙发.jpg","type":"image/jpeg","content-id":"c1"}}',
    }
    (message,) = read("sendgrid", sendgrid(fields, {"attachment1": ("x.jpg", "image/jpeg", b"\xff\xd8")})).messages
    assert (message.text, message.subject, message.automatic) == ("沙发坏了", "Söfa", True)
    assert [(file.name, file.media_type) for file in message.files] == [("沙发.jpg", "image/jpeg")]


def test_sendgrid_secrets() -> None:
    made = sendgrid({"email": RAW})
    for wrong in (basic("no"), "Basic !!", "Bearer x", ""):
        with pytest.raises(NotGenuine):
            ADAPTER.verify(config("sendgrid"), replace(made, headers={**made.headers, "authorization": wrong}))
    ADAPTER.verify(config("sendgrid"), replace(made, headers={}, query={"secret": SECRET}))
    with pytest.raises(NotGenuine):
        ADAPTER.verify(config("sendgrid"), replace(made, headers={}, query={"secret": SECRET[:-1]}))


def keys() -> tuple[ec.EllipticCurvePrivateKey, str]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, base64.b64encode(public).decode()


def test_sendgrid_signatures() -> None:
    private, public = keys()
    body = b'[{"event":"delivered","email":"a@b.example","smtp-id":"<1@shop.example>"}]\r\n'
    signature = base64.b64encode(private.sign(b"1600112502" + body, ec.ECDSA(hashes.SHA256()))).decode()
    chosen = config("sendgrid", inbound_secret=None, sendgrid_public_key=public)
    names = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": "1600112502",
    }
    good = call(body, "application/json", **names)
    ADAPTER.verify(chosen, good)
    assert ADAPTER.parse(chosen, good).statuses[0].provider_message_id == "<1@shop.example>"
    flipped = bytes([body[0] ^ 1]) + body[1:]
    for bad in (
        replace(good, body=flipped),
        replace(good, body=body.rstrip()),
        replace(good, headers={**good.headers, "x-twilio-email-event-webhook-timestamp": "1600112503"}),
        replace(good, headers={**good.headers, "x-twilio-email-event-webhook-signature": "AAAA" + signature[4:]}),
        replace(good, headers={"content-type": "application/json"}),
    ):
        with pytest.raises(NotGenuine):
            ADAPTER.verify(chosen, bad)
    with pytest.raises(NotGenuine):
        ADAPTER.verify(config("sendgrid", inbound_secret=None, sendgrid_public_key=keys()[1]), good)


def test_the_published_vector(fixtures: Path) -> None:
    vector = orjson.loads((fixtures / "email_webhooks/vectors/vec_sendgrid_event_ecdsa.json").read_bytes())
    chosen = config("sendgrid", inbound_secret=None, sendgrid_public_key=vector["public_key_der_b64"])
    names = {
        "x-twilio-email-event-webhook-signature": vector["signature_b64"],
        "x-twilio-email-event-webhook-timestamp": vector["timestamp"],
    }
    made = call(vector["body"].encode(), "application/json", **names)
    ADAPTER.verify(chosen, made)
    assert [one.status for one in ADAPTER.parse(chosen, made).statuses] == ["failed"]
    names["x-twilio-email-event-webhook-signature"] = vector["bad_signature_b64"]
    with pytest.raises(NotGenuine):
        ADAPTER.verify(chosen, call(vector["body"].encode(), "application/json", **names))


# Postmark


def test_postmark() -> None:
    item = {
        "FromFull": {"Email": "ana@home.example", "Name": 'A, "B"'},
        "ToFull": [{"Email": "help+tok@shop.example", "Name": ""}],
        "OriginalRecipient": "help+tok@shop.example",
        "Subject": "Sofa",
        "Date": "Sun, 22 Nov 2026 10:00:00 +0000",
        "TextBody": "Broken",
        "Headers": [
            {"Name": "Message-ID", "Value": "<5@home.example>"},
            {"Name": "Return-Path", "Value": "<ana@home.example>"},
        ],
        "Attachments": [{"Name": "a.txt", "ContentType": "text/plain", "Content": base64.b64encode(b"hi").decode()}],
    }
    made = call(orjson.dumps(item), "application/json", authorization=basic())
    (message,) = read("postmark", made).messages
    assert (message.sender.value, message.text, message.thread_key) == (
        "ana@home.example",
        "Broken",
        "<5@home.example>",
    )
    assert message.threading.reply_tokens == ["tok"]
    assert message.sent_at == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert message.files[0].data == b"hi"  # type: ignore[union-attr]
    raw = call(orjson.dumps({**item, "RawEmail": RAW.decode()}), "application/json", authorization=basic())
    assert read("postmark", raw).messages[0].text == "It broke …"


def test_postmark_news() -> None:
    def told(**item: Any) -> Parsed:
        return read("postmark", call(orjson.dumps(item), "application/json", authorization=basic()))

    (status,) = told(
        RecordType="Delivery", MessageID="u", Recipient="a@b.example", Metadata={"roundtrip": "m"}
    ).statuses
    assert (status.status, status.our_id, status.provider_message_id) == ("delivered", "m", "u")
    gone = told(RecordType="Bounce", Type="HardBounce", MessageID="u", Email="a@b.example", Description="no")
    assert ([one.status for one in gone.statuses], [one.reason for one in gone.refusals]) == (
        ["failed"],
        [RefusalReason.UNREACHABLE],
    )
    assert told(RecordType="Bounce", Type="Transient", MessageID="u").statuses == []
    back = told(RecordType="SubscriptionChange", Recipient="a@b.example", SuppressSending=False)
    assert [(one.reason, one.on) for one in back.refusals] == [(RefusalReason.OPT_OUT, False)]


# All of them


@pytest.mark.parametrize(
    "missing", [{"inbound": "mailgun"}, {"inbound": "sendgrid"}, {"inbound": "postmark"}, {"inbound": "x"}]
)
def test_a_webhook_needs_a_proof(missing: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MailConfig.model_validate({"address": "help@shop.example", **missing})


def test_a_channel_without_a_provider_takes_no_calls() -> None:
    with pytest.raises(NotGenuine):
        ADAPTER.verify(MailConfig(address="help@shop.example"), call(RAW, "text/plain"))


def given_calls(folder: Path) -> list[tuple[Path, str, Call]]:
    found = []
    for provider in ("mailgun", "sendgrid", "postmark"):
        for path in sorted([*folder.glob(f"{provider}_inbound/*"), *folder.glob(f"{provider}_events/*")]):
            found.append((path, provider, _call_of(path, provider)))
    return found


def _call_of(path: Path, provider: str) -> Call:
    raw = path.read_bytes()
    if path.suffix == ".txt":
        return call(raw, "multipart/form-data; boundary=xYzZY", authorization=basic())
    item = orjson.loads(raw)
    if provider == "mailgun":
        return mailgun(item, form=path.parent.name == "mailgun_inbound")
    if path.parent.name == "sendgrid_inbound":
        return sendgrid(item)
    return call(raw, "application/json", authorization=basic())


def test_every_given_call(fixtures: Path) -> None:
    """Each is genuine, is read without an exception, and says something: a mail, a status, a refusal, or its kind."""
    told = {}
    for path, provider, made in given_calls(fixtures / "email_webhooks"):
        parsed = read(provider, made)
        assert not parsed.errors, path
        assert parsed.messages or parsed.statuses or parsed.refusals or parsed.ignored, path
        if path.parent.name.endswith("_inbound"):
            assert parsed.messages, path
        told[path.name] = parsed
    assert len(told) >= 25
    mail = told["anymail_mailgun_inbound_basics_1.json"].messages[0]
    assert (mail.subject, mail.text, mail.sender.value) == ("Test subject", "Test body plain", "from+test@example.org")
    stored = told["anymail_mailgun_misconfigured_store_action_4.json"].messages[0]
    assert "attachment.pdf" in str(stored.content["problems"])
    picture = told["sendgrid_raw_data_with_attachments.txt"].messages[0]
    assert (picture.text, [file.name for file in picture.files]) == ("Hello Twilio SendGrid!", ["SendGrid.jpg"])
    assert told["sendgrid_default_data.txt"].messages[0].subject == "Inbound Parse Test Data"
    assert told["anymail_postmark_inbound_basics_1.json"].messages[0].thread_key == "<CAEPk3R+4Zr@mail.example.org>"
    assert told["anymail_sendgrid_bounce_event_6.json"].refusals[0].reason is RefusalReason.UNREACHABLE
    assert told["anymail_mailgun_dropped_spam_13.json"].refusals[0].reason is RefusalReason.COMPLAINED
    assert told["anymail_postmark_resubscribe_7.json"].refusals[0].on is False


@given(
    st.sampled_from(["mailgun", "sendgrid", "postmark"]),
    st.sampled_from(
        [
            "application/json",
            "multipart/form-data; boundary=b",
            "application/x-www-form-urlencoded",
            "",
            "multipart/form-data",
        ]
    ),
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    b"--b\r\n",
                    b"--b--",
                    b"\r\n\r\n",
                    b"\n",
                    b'Content-Disposition: form-data; name="email"',
                    b"From: a@b",
                    b"&",
                    b"=",
                    b"%",
                    b"body-mime",
                ]
            ),
            max_size=12,
        ).map(b"".join),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "event-data",
                            "event",
                            "signature",
                            "message",
                            "headers",
                            "RecordType",
                            "Headers",
                            "Attachments",
                            "FromFull",
                            "RawEmail",
                            "ToFull",
                            "Metadata",
                            "delivery-status",
                            "email",
                            "Name",
                            "Type",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
        ).map(orjson.dumps),
    ),
)
def test_anything_at_all(provider: str, kind: str, body: bytes) -> None:
    """Nothing but the adapter's own errors, whatever is sent."""
    chosen, made = config(provider), call(body, kind)
    with pytest.raises(NotGenuine):
        ADAPTER.verify(chosen, made)
    try:
        parsed = ADAPTER.parse(chosen, made)
    except Unparseable:
        return
    mail_webhooks.once(chosen, made, parsed)
