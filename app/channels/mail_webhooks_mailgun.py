"""Mailgun: routes that forward mail (`forward()`, with the raw MIME where the address ends in `mime`), and events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.channels import mail_parse
from app.channels.base import Call, Parsed, RefusalReason, Unparseable
from app.channels.mail_config import MailConfig
from app.channels.mail_rebuild import Piece, rebuilt
from app.channels.mail_signatures import token_signed_by
from app.channels.mail_webhooks_forms import Form, read
from app.channels.mail_webhooks_news import About, News, address, mapping, message_id, moment, said
from app.channels.text import JSONDecodeError, loads
from app.errors import NotGenuine

_OUR_ID = "roundtrip"
_MAIL = ("body-mime", "body-plain", "body-html", "stripped-text", "stripped-html", "message-headers")
_BLOCKED, _SPAM, _GONE = "606", "607", "605"


def verify(config: MailConfig, call: Call) -> None:
    assert config.mailgun_signing_key is not None
    given = _signature(call)
    key = config.mailgun_signing_key.get_secret_value()
    if not token_signed_by(key, **given):
        raise NotGenuine
    at = moment(given["timestamp"])
    if at is None or abs((call.received_at - at).total_seconds()) > config.inbound_window_s:
        raise NotGenuine("the signature is too old, or from the future")


def token_of(call: Call) -> str:
    return _signature(call)["token"][:200]


def digest_of(call: Call, parsed: Parsed) -> str:
    """Of what was read: a repeated call may be written differently and says the same."""
    said = [message.external_id for message in parsed.messages]
    said += [f"{item.provider_message_id}:{item.status}" for item in parsed.statuses]
    said += [item.key for item in parsed.refusals]
    return hashlib.sha256("\n".join(said or [hashlib.sha256(call.body).hexdigest()]).encode()).hexdigest()


def parse(config: MailConfig, call: Call) -> Parsed:
    if _is_json(call):
        return _events(mapping(mapping(_json(call)).get("event-data")))
    form = read(call)
    if "event" in form.values and not any(name in form.values for name in ("body-mime", "body-plain", "body-html")):
        return _old_event(form)
    if not any(name in form.values for name in _MAIL):
        return Parsed(ignored=["a form without a mail"])
    return _mail(config, form)


def _signature(call: Call) -> dict[str, str]:
    """Raises NotGenuine for what cannot be read."""
    try:
        if _is_json(call):
            given = mapping(mapping(_json(call)).get("signature"))
            return {name: str(given.get(name, "")) for name in ("timestamp", "token", "signature")}
        form = read(call)
    except Unparseable as error:
        raise NotGenuine(str(error)) from None
    return {name: form.text(name) or "" for name in ("timestamp", "token", "signature")}


def _is_json(call: Call) -> bool:
    return call.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _json(call: Call) -> Any:
    try:
        return loads(call.body)
    except JSONDecodeError as error:
        raise Unparseable("not JSON") from error


def _mail(config: MailConfig, form: Form) -> Parsed:
    recipients = [item.strip() for item in (form.text("recipient") or "").split(",") if item.strip()]
    sender = form.text("sender")
    raw = form.values.get("body-mime")
    if raw:
        return mail_parse.parse(raw, config, recipients=recipients, envelope_from=sender)
    raw = rebuilt(_headers(form), text=form.text("body-plain"), page=form.text("body-html"), files=_files(form))
    parsed = mail_parse.parse(raw, config, recipients=recipients, envelope_from=sender)
    elsewhere = form.text("attachments")
    if not elsewhere:
        return parsed
    # The route says store() and not forward(): the files are only named, and lie at Mailgun.
    note = f"attachments were left at the provider: {clean_names(elsewhere)}"
    messages = [
        replace(message, content={**message.content, "problems": [*message.content.get("problems", ()), note]})
        for message in parsed.messages
    ]
    return replace(parsed, messages=messages)


def clean_names(listed: str) -> str:
    try:
        items = loads(listed)
    except JSONDecodeError:
        return "unknown"
    names = [said(mapping(item).get("name")) for item in items if mapping(item)] if isinstance(items, list) else []
    return ", ".join(name for name in names[:20] if name) or "unknown"


def _headers(form: Form) -> list[tuple[str, str]]:
    try:
        listed = loads(form.text("message-headers") or "[]")
    except JSONDecodeError:
        listed = []
    pairs = [
        (str(item[0]), str(item[1]))
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, list) and len(item) >= 2 and isinstance(item[1], str)
    ]
    known = {name.lower() for name, _ in pairs}
    given = {
        "From": ("from", "From", "sender"),
        "Subject": ("subject", "Subject"),
        "To": ("To", "recipient"),
        "Cc": ("Cc",),
    }
    given |= {
        "Message-ID": ("Message-Id",),
        "Date": ("Date",),
        "In-Reply-To": ("In-Reply-To",),
        "References": ("References",),
    }
    pairs += [
        (name, value) for name, fields in given.items() if name.lower() not in known and (value := form.first(*fields))
    ]
    return pairs


def _files(form: Form) -> list[Piece]:
    try:
        ids = {str(field): str(cid) for cid, field in mapping(loads(form.text("content-id-map") or "{}")).items()}
    except JSONDecodeError:
        ids = {}
    return [Piece(item.name, item.media_type, item.data, ids.get(item.field)) for item in form.uploads]


def _events(event: Mapping[str, Any]) -> Parsed:
    headers = mapping(mapping(event.get("message")).get("headers"))
    status = mapping(event.get("delivery-status"))
    our_id = mapping(event.get("user-variables")).get(_OUR_ID)
    about = About(
        key=f"mailgun:{event.get('id') or event.get('timestamp')}",
        recipient=address(event.get("recipient")),
        message_id=message_id(headers.get("message-id")),
        our_id=our_id if isinstance(our_id, str) else None,
        at=moment(event.get("timestamp")),
        detail=said(
            status.get("message") or status.get("description") or mapping(event.get("reject")).get("reason"),
        ),
        code=said(status.get("enhanced-code"), status.get("code")),
    )
    return _told(str(event.get("event")), about, permanent=event.get("severity") != "temporary")


def _old_event(form: Form) -> Parsed:
    """As Mailgun posted them before 2018, and still does for old set-ups."""
    headers = {name.lower(): value for name, value in _headers(form)}
    about = About(
        key=f"mailgun:{form.text('token') or form.text('timestamp')}",
        recipient=address(form.text("recipient")),
        message_id=message_id(form.text("Message-Id") or headers.get("message-id")),
        our_id=form.text(_OUR_ID),
        at=moment(form.text("timestamp")),
        detail=said(form.first("error", "description", "notification")),
        code=said(form.text("code")),
    )
    return _told(form.text("event") or "", about, permanent=True)


def _told(event: str, about: About, *, permanent: bool) -> Parsed:
    news = News()
    if event == "delivered":
        news.delivered(about)
    elif event in ("failed", "bounced", "dropped", "rejected") and permanent:
        news.failed(about)
        if about.code == _SPAM:
            news.refused(about, RefusalReason.COMPLAINED)
        elif about.code == _BLOCKED:
            news.refused(about, RefusalReason.OPT_OUT)
    elif event == "complained":
        news.refused(about, RefusalReason.COMPLAINED)
    elif event == "unsubscribed":
        news.refused(about, RefusalReason.OPT_OUT)
    else:
        news.ignored.append(said(event or "an event without a name", None if permanent else "for now"))
    return news.parsed()
