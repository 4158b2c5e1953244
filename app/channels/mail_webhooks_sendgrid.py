"""SendGrid: Inbound Parse (a form, with the raw MIME where it is set so), and the events of the Event Webhook."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.channels import mail_parse
from app.channels.base import Call, Parsed, RefusalReason, Unparseable
from app.channels.mail_config import MailConfig
from app.channels.mail_rebuild import Piece, rebuilt
from app.channels.mail_signatures import knows_secret, signed_by
from app.channels.mail_webhooks_forms import Form, read
from app.channels.mail_webhooks_news import About, News, address, mapping, message_id, moment, said
from app.channels.text import JSONDecodeError, clean, loads
from app.errors import NotGenuine

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_OUR_ID = "roundtrip"


def verify(config: MailConfig, call: Call) -> None:
    """By the signature where the call has one and we know the key; a secret counts where no key is set or nothing signed."""
    signature, timestamp = call.headers.get(SIGNATURE), call.headers.get(TIMESTAMP)
    if config.sendgrid_public_key is not None and (signature is not None or config.inbound_secret is None):
        known = signature and timestamp
        if known and signed_by(
            config.sendgrid_public_key, timestamp=timestamp or "", body=call.body, signature=signature or ""
        ):
            return
        raise NotGenuine
    if config.inbound_secret is None or not knows_secret(config.inbound_secret.get_secret_value(), call):
        raise NotGenuine("the secret of this address is wrong")


def parse(config: MailConfig, call: Call) -> Parsed:
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return _events(call)
    form = read(call)
    form = replace(form, charsets={name: str(value) for name, value in _json_field(form, "charsets").items()})
    envelope = _json_field(form, "envelope")
    listed = envelope.get("to")
    recipients = [clean(str(item), 320) for item in listed] if isinstance(listed, list) else []
    sender = envelope.get("from")
    raw = form.values.get("email")
    if raw is None:
        if not any(name in form.values for name in ("headers", "text", "html", "from")):
            return Parsed(ignored=["a form without a mail"])
        raw = rebuilt(_headers(form), text=form.text("text"), page=form.text("html"), files=_files(form))
    return mail_parse.parse(
        raw, config, recipients=recipients, envelope_from=sender if isinstance(sender, str) else None
    )


def _json_field(form: Form, name: str) -> Mapping[str, Any]:
    try:
        return mapping(loads(form.values.get(name) or b"{}"))
    except JSONDecodeError:
        return {}


def _headers(form: Form) -> list[tuple[str, str]]:
    """The mail's own header; what is decoded beside it serves where the header is missing."""
    block = re.sub(r"\r?\n[ \t]+", " ", form.text("headers") or "")
    pairs = [
        (name.strip(), value.strip())
        for name, colon, value in (line.partition(":") for line in block.splitlines())
        if colon
    ]
    known = {name.lower() for name, _ in pairs}
    given = ("From", "To", "Cc", "Subject")
    return pairs + [(name, value) for name in given if name.lower() not in known and (value := form.text(name.lower()))]


def _files(form: Form) -> list[Piece]:
    info = _json_field(form, "attachment-info")
    pieces = []
    for item in form.uploads:
        told = mapping(info.get(item.field))
        cid = told.get("content-id")
        name = told.get("filename") or told.get("name") or item.name
        pieces.append(
            Piece(str(name), str(told.get("type") or item.media_type), item.data, cid if isinstance(cid, str) else None)
        )
    return pieces


def _events(call: Call) -> Parsed:
    try:
        items = loads(call.body)
    except JSONDecodeError as error:
        raise Unparseable("neither a form nor JSON") from error
    news = News()
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, Mapping):
            _take(news, item)
        else:
            news.errors.append("an event that is no object")
    return news.parsed()


def _take(news: News, item: Mapping[str, Any]) -> None:
    event = str(item.get("event"))
    our_id = item.get(_OUR_ID)
    about = About(
        key=f"sendgrid:{item.get('sg_event_id') or item.get('timestamp')}",
        recipient=address(item.get("email")),
        message_id=message_id(item.get("smtp-id")),
        our_id=our_id if isinstance(our_id, str) else None,
        at=moment(item.get("timestamp")),
        detail=said(item.get("reason") or item.get("response")),
        code=said(item.get("status")),
    )
    if event == "delivered":
        news.delivered(about)
    elif event == "bounce" and item.get("type") == "blocked":
        news.failed(replace(about, code="", detail=said(about.detail, "(blocked)")))
    elif event in ("bounce", "dropped"):
        news.failed(_dropped(about) if event == "dropped" else about)
    elif event == "spamreport":
        news.refused(about, RefusalReason.COMPLAINED)
    elif event in ("unsubscribe", "group_unsubscribe"):
        news.refused(about, RefusalReason.OPT_OUT)
    elif event == "group_resubscribe":
        news.refused(about, RefusalReason.OPT_OUT, on=False)
    else:
        news.ignored.append(said(event))


def _dropped(about: About) -> About:
    """It was not even tried; the provider names why in a word or two."""
    word = about.detail.lower()
    return replace(about, code="5.1.1") if word in ("bounced address", "invalid") else about
