"""A form of Twilio's Messaging, read: a message of a customer, or what became of one of ours."""

import mimetypes
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from app.channels import sms_codes
from app.channels.base import InboundMessage, Parsed, Refusal, RefusalReason, RemoteFile, Sender, StatusUpdate
from app.channels.meta import Found
from app.channels.sms_segments import segments
from app.channels.text import clean, file_name, key, media_type, word

Form = Mapping[str, str]

OURS = "rt_message"
_MEDIA_LIMIT = 30
_STATUSES = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
_ON_THE_WAY = ("accepted", "scheduled", "queued", "sending", "partially_delivered")
_INCOMING = ("received", "receiving")
# What US carriers and Twilio itself take for "no more", and what Chinese carriers do, when it is the whole text.
_STOP_WORDS = frozenset(
    (
        *("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"),
        *("停止", "退订", "退訂", "td", "取消订阅", "取消訂閱"),
    )
)
_START_WORDS = frozenset(("start", "unstop"))
_AROUND = " \t\r\n.,;:!?\"'`()[]{}<>*_-~…。、，；：！？“”‘’「」【】《》"
# WhatsApp's business-scoped user id: two letters of a country, then letters and digits.
_BSUID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}")
_PREFIX = re.compile(r"(whatsapp|rcs|messenger):(.*)", re.DOTALL)
_KEPT = {
    "ButtonPayload": "button_payload",
    "ListId": "list_id",
    "ListTitle": "list_title",
    "MessageType": "message_type",
    "ReferralSourceUrl": "referral_url",
    "ReferralHeadline": "referral_headline",
    "FromCountry": "country",
}


def parse(form: Form, query: Mapping[str, str]) -> Parsed:
    """`query` may name our own message: it is that of the StatusCallback that we gave."""
    found = Found()
    state = (form.get("MessageStatus") or form.get("SmsStatus") or "received").strip().lower()
    with found.item("status" if state not in _INCOMING else "message"):
        if state in _INCOMING:
            _message(form, found)
        else:
            _status(form, state, query.get(OURS), found)
    return found.parsed()


def _sid(form: Form) -> str | None:
    return next((sid for name in ("MessageSid", "SmsMessageSid", "SmsSid") if (sid := key(form.get(name)))), None)


def _message(form: Form, found: Found) -> None:
    sid, sender = _sid(form), _sender(form)
    if sid is None or sender is None:
        found.errors.append("message: MessageSid or From is missing")
        return
    text, files = _text(form), _files(form)
    if not text and not files:
        found.ignore("message without content", form.get("MessageType"))
        return
    content = _content(form, sender.kind)
    _refusal(sid, sender, content.get("opt_out"), found)
    found.messages.append(
        InboundMessage(
            external_id=sid,
            sender=sender,
            text=text,
            files=files,
            content=content,
            # Twilio has answered it already, and will let nothing of ours through.
            automatic=form.get("OptOutType", "").strip().upper() == "STOP",
        )
    )


def _refusal(sid: str, sender: Sender, word_: str | None, found: Found) -> None:
    """STOP and START, whether Twilio has understood them or only the words are there."""
    if word_ in ("STOP", "START"):
        stop = word_ == "STOP"
        again = key(f"{word_.lower()}:{sid}") or sid
        found.refusals.append(Refusal(again, sender, RefusalReason.OPT_OUT, on=stop, detail=f"{word_} by message"))


def _sender(form: Form) -> Sender | None:
    """By number where there is one. WhatsApp gives a user id besides, or alone; either reaches the person."""
    whole = key(form.get("From"))
    if whole is None:
        return None
    kind, name = _split(whole)
    prefixed, kind = kind is not None, kind or "sms"
    user = _split(form.get("ExternalUserId", "").strip())[1] if kind == "whatsapp" else ""
    if kind == "whatsapp" and _BSUID.fullmatch(name):
        user = name
    digits = re.sub(r"[\s().-]", "", name)
    phone = digits if re.fullmatch(r"\+[1-9]\d{6,14}", digits) else None
    address = {"to": f"{kind}:{name}" if prefixed else name, "from": key(form.get("To"))}
    if _BSUID.fullmatch(user):
        address["user"] = f"whatsapp:{user}"
    return Sender(
        kind=kind,
        value=(phone.removeprefix("+") if kind == "whatsapp" else phone) if phone else name,
        name=word(form.get("ProfileName")),
        phone=phone,
        address={name: value for name, value in address.items() if value},
    )


def prefix(address: str) -> str | None:
    """`whatsapp`, `rcs` or `messenger`; None for a bare number."""
    return _split(address)[0]


def _split(address: str) -> tuple[str | None, str]:
    found = _PREFIX.fullmatch(address)
    return (found[1], found[2].strip()) if found else (None, address)


def _text(form: Form) -> str:
    pressed, body = form.get("ButtonText", "").strip(), form.get("Body", "")
    return clean(pressed or (body if body.strip() else "") or _place(form))


def _place(form: Form) -> str:
    """A position sent by WhatsApp."""
    latitude, longitude = word(form.get("Latitude")), word(form.get("Longitude"))
    if latitude is None or longitude is None:
        return ""
    names = [name for field in ("Label", "Address") if (name := word(form.get(field), 1000))]
    return ", ".join([*dict.fromkeys(names), f"📍 {latitude}, {longitude}"])


def _files(form: Form) -> tuple[RemoteFile, ...]:
    found = []
    for number in range(_MEDIA_LIMIT):
        url = clean(form.get(f"MediaUrl{number}", ""), 2000).strip()
        if url:
            kind = media_type(form.get(f"MediaContentType{number}"))
            found.append(RemoteFile(_file_name(url, kind, number), kind, None, {"url": url}))
    return tuple(found)


def _file_name(url: str, kind: str, number: int) -> str:
    """Twilio's URLs end with an id; others may end with a name."""
    try:
        last = unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError:
        last = ""
    fallback = f"file-{number + 1}{mimetypes.guess_extension(kind) or ''}"
    return file_name(last, fallback) if "." in last else fallback


def _content(form: Form, kind: str) -> dict[str, Any]:
    """For people only: what the text alone does not say."""
    kept: dict[str, Any] = {name: value for field, name in _KEPT.items() if (value := word(form.get(field), 2000))}
    body = clean(form.get("Body", ""))
    if kind == "sms" and body:
        cost = segments(body)
        given = form.get("NumSegments", "")
        count = int(given) if given.isascii() and given.isdigit() and 0 < len(given) < 4 else cost.count
        kept["segments"] = {"encoding": cost.encoding, "count": count}
    if form.get("ButtonText", "").strip() and body and body != form["ButtonText"]:
        kept["body"] = body
    opted = (word(form.get("OptOutType"), 20) or "").upper()
    if opted in ("STOP", "START", "HELP"):
        kept["opt_out"] = opted
    elif kind == "sms" and _bare(body) in _STOP_WORDS:
        kept["opt_out"] = "STOP"
    elif kind == "sms" and _bare(body) in _START_WORDS:
        kept["opt_out"] = "START"
    if replied := key(form.get("OriginalRepliedMessageSid")):
        kept["reply_to"] = {"message_id": replied}
    if form.get("Forwarded", "").lower() == "true":
        kept["forwarded"] = True
    return kept


def _bare(body: str) -> str:
    """As the words above are written: full-width letters are narrow, and what stands around the word is gone."""
    return unicodedata.normalize("NFKC", body).strip(_AROUND).casefold()


def _status(form: Form, state: str, ours: str | None, found: Found) -> None:
    sid = _sid(form)
    if sid is None:
        found.errors.append("status: MessageSid is missing")
        return
    status = _STATUSES.get(state)
    if status is None:
        found.ignore("status", state if state in _ON_THE_WAY else clean(state, 50))
        return
    code = form.get("ErrorCode", "").strip()
    number = int(code) if code.isascii() and code.isdigit() and len(code) <= 6 else 0
    said = sms_codes.words(number, form.get("ErrorMessage") or form.get("ChannelStatusMessage"))
    failed = status == "failed"
    # A part of a longer message: only the last one speaks for the whole, unless this one was lost.
    whole, part, _ = (ours or "").partition(":")
    if part and not failed:
        whole = ""
    found.statuses.append(
        StatusUpdate(
            provider_message_id=sid,
            status=status,
            detail=said or (state if failed else None),
            our_id=key(whole),
            failure=sms_codes.failure(number) if failed else None,
            refusal=sms_codes.refusal(number) if failed else None,
        )
    )
