"""Postmark: inbound mail as JSON (with the raw mail where that is switched on), and its webhooks about mails of ours."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from app.channels import mail_parse
from app.channels.base import Call, Parsed, RefusalReason, Unparseable
from app.channels.mail_config import MailConfig
from app.channels.mail_rebuild import Piece, rebuilt
from app.channels.mail_signatures import knows_secret
from app.channels.mail_webhooks_news import About, News, address, mapping, moment, said
from app.channels.text import JSONDecodeError, loads
from app.errors import NotGenuine

OUR_ID = "roundtrip"
_FOR_NOW = frozenset(
    {"Transient", "AutoResponder", "DnsError", "SoftBounce", "Subscribe", "AddressChange", "ChallengeVerification"}
)
_SUPPRESSED = {
    "HardBounce": RefusalReason.UNREACHABLE,
    "SpamComplaint": RefusalReason.COMPLAINED,
    "ManualSuppression": RefusalReason.OPT_OUT,
}


def verify(config: MailConfig, call: Call) -> None:
    assert config.inbound_secret is not None
    if not knows_secret(config.inbound_secret.get_secret_value(), call):
        raise NotGenuine("the secret of this address is wrong")


def parse(config: MailConfig, call: Call) -> Parsed:
    try:
        item = loads(call.body)
    except JSONDecodeError as error:
        raise Unparseable("not JSON") from error
    if not isinstance(item, Mapping):
        raise Unparseable("not a JSON object")
    kind = item.get("RecordType")
    if kind is not None and kind != "Inbound":
        return _news(str(kind), item)
    if not any(name in item for name in ("FromFull", "From", "RawEmail", "TextBody", "HtmlBody")):
        return Parsed(ignored=["an object without a mail"])
    return _mail(config, item)


def _mail(config: MailConfig, item: Mapping[str, Any]) -> Parsed:
    listed = [
        (str(mapping(one).get("Name")), str(mapping(one).get("Value") or "")) for one in _list(item.get("Headers"))
    ]
    paths = [value for name, value in listed if name.lower() == "return-path"]  # the first one is Postmark's own
    recipient = item.get("OriginalRecipient")
    recipients = [recipient] if isinstance(recipient, str) and recipient else []
    raw = item.get("RawEmail")
    data = raw.encode("utf-8", "replace") if isinstance(raw, str) and raw else _rebuilt(item, listed)
    return mail_parse.parse(
        data, config, recipients=recipients, envelope_from=paths[0].strip().strip("<>") if paths else None
    )


def _rebuilt(item: Mapping[str, Any], listed: list[tuple[str, str]]) -> bytes:
    given = [
        ("From", _people([item.get("FromFull")]) or str(item.get("From") or "")),
        ("To", _people(item.get("ToFull")) or str(item.get("To") or "")),
        ("Cc", _people(item.get("CcFull")) or str(item.get("Cc") or "")),
        *(
            (name, str(item.get(key) or ""))
            for name, key in (("Subject", "Subject"), ("Date", "Date"), ("Reply-To", "ReplyTo"))
        ),
    ]
    others = [pair for pair in listed if pair[0].lower() != "return-path"]
    known = {name.lower() for name, _ in others}
    headers = [pair for pair in given if pair[1] and pair[0].lower() not in known] + others
    return rebuilt(headers, text=_str(item.get("TextBody")), page=_str(item.get("HtmlBody")), files=_files(item))


def _people(listed: Any) -> str:
    people = [mapping(one) for one in _list(listed)]
    return ", ".join(_person(_str(one.get("Name")) or "", str(one["Email"])) for one in people if one.get("Email"))


def _person(name: str, email: str) -> str:
    quoted = name.replace("\\", "").replace('"', "'").strip()
    return f'"{quoted}" <{email}>' if quoted else email


def _files(item: Mapping[str, Any]) -> list[Piece]:
    pieces = []
    for one in map(mapping, _list(item.get("Attachments"))):
        try:
            data = base64.b64decode(str(one.get("Content") or one.get("Data") or ""))
        except (ValueError, binascii.Error):
            data = b""
        cid = _str(one.get("ContentID"))
        kind = str(one.get("ContentType") or "application/octet-stream")
        pieces.append(Piece(str(one.get("Name") or "file"), kind, data, cid.removeprefix("cid:") if cid else None))
    return pieces


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _news(kind: str, item: Mapping[str, Any]) -> Parsed:
    """Found by our own id, which we give as metadata: Postmark's MessageID is not the mail's."""
    when = next(
        (item[name] for name in ("DeliveredAt", "BouncedAt", "ChangedAt", "ReceivedAt") if item.get(name)), None
    )
    our_id = mapping(item.get("Metadata")).get(OUR_ID)
    about = About(
        key=f"postmark:{item.get('ID') or item.get('MessageID')}:{when or ''}",
        recipient=address(item.get("Recipient") or item.get("Email")),
        message_id=_str(item.get("MessageID")),
        our_id=our_id if isinstance(our_id, str) else None,
        at=moment(when) if when else None,
        detail=said(item.get("Details") or item.get("Description")),
    )
    news = News()
    if kind == "Delivery":
        news.delivered(about)
    elif kind == "Bounce":
        _bounce(news, about, str(item.get("Type")))
    elif kind == "SpamComplaint":
        news.refused(about, RefusalReason.COMPLAINED)
    elif kind == "SubscriptionChange":
        reason = _SUPPRESSED.get(str(item.get("SuppressionReason")), RefusalReason.OPT_OUT)
        news.refused(about, reason, on=bool(item.get("SuppressSending")))
    else:
        news.ignored.append(said(kind))
    return news.parsed()


def _bounce(news: News, about: About, kind: str) -> None:
    if kind in _FOR_NOW:
        news.ignored.append(said("Bounce", kind))
    elif kind in ("Unsubscribe", "SpamComplaint", "SpamNotification"):
        news.refused(about, RefusalReason.OPT_OUT if kind == "Unsubscribe" else RefusalReason.COMPLAINED)
    else:
        news.failed(about)
        if kind in ("HardBounce", "BadEmailAddress") and not any(
            one.key.startswith(about.key) for one in news.refusals
        ):
            news.refused(about, RefusalReason.UNREACHABLE)
