"""A page of WeCom's sync_msg, read: messages, echoes of the servicers, recalls, and what could not be delivered."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.channels import receipts
from app.channels.base import (
    Change,
    ChangeKind,
    Echo,
    InboundMessage,
    Parsed,
    RefusalReason,
    RemoteFile,
    Sender,
    SendFailure,
    StatusUpdate,
)
from app.channels.text import clean, key, scrub, word
from app.channels.wecom_show import show

Json = Mapping[str, Any]

_CUSTOMER, _SERVICER = 3, 5
_OWN_ID = re.compile(r"[a-z2-7]{26}(_\d{1,2})?")
# The name and the type that a file gets; WeCom says neither. Voice is asked for as AMR.
_MEDIA = {
    "image": ("image.jpg", "image/jpeg"),
    "voice": ("voice.amr", "audio/amr"),
    "video": ("video.mp4", "video/mp4"),
    "file": ("file", "application/octet-stream"),
}
_THEY_REFUSE = 10
_FAILURES = {
    1: (SendFailure.CONFIG, "the customer-service account was deleted"),
    2: (SendFailure.CONFIG, "the app is switched off"),
    4: (SendFailure.WINDOW, "48 hours have passed since the customer last wrote"),
    5: (SendFailure.WINDOW, "the session has ended"),
    6: (SendFailure.WINDOW, "five messages were sent since the customer last wrote"),
    7: (SendFailure.CONFIG, "no channels account is bound"),
    8: (SendFailure.CONFIG, "the company is not verified"),
    9: (SendFailure.CONFIG, "the company is not verified and no channels account is bound"),
    10: (SendFailure.RECIPIENT, "the customer refuses messages"),
    11: (SendFailure.CONFIG, "no member of the company has signed in to the app"),
    12: (SendFailure.PERMANENT, "messages of this type are forbidden"),
}


def own_id(message_id: UUID, part: int = 0) -> str:
    """The id under which a part of our message goes out: 26 to 29 characters of the 32 that WeCom takes."""
    whole = base64.b32encode(message_id.bytes).decode().rstrip("=").lower()
    return f"{whole}_{part}" if part else whole


def our_message(provider_id: str) -> UUID | None:
    """The message of ours that a WeCom id belongs to, whichever part it names."""
    if not _OWN_ID.fullmatch(provider_id):
        return None
    found = UUID(bytes=base64.b32decode(provider_id[:26].upper() + "======"))
    return found if provider_id.startswith(own_id(found)) else None


@dataclass
class _Found:
    messages: list[InboundMessage] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    echoes: list[Echo] = field(default_factory=list)
    statuses: list[StatusUpdate] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class _BadItem(ValueError):
    """One item cannot be read; the text says why."""


def parse_page(items: object) -> Parsed:
    """Each item of `msg_list`; a bad one is an error and spoils nothing."""
    if not isinstance(items, list):
        return Parsed(errors=() if items is None else ("msg_list is not a list",))
    found = _Found()
    for number, item in enumerate(items):
        try:
            _parse_item(item, found)
        except (_BadItem, TypeError, AttributeError, LookupError, ArithmeticError, OSError) as error:
            found.errors.append(f"item {number}: {clean(str(error), 200) or type(error).__name__}")
    return Parsed(
        messages=found.messages,
        changes=found.changes,
        echoes=found.echoes,
        statuses=found.statuses,
        ignored=found.ignored,
        errors=found.errors,
    )


def _parse_item(item: object, found: _Found) -> None:
    if not isinstance(item, dict):
        raise _BadItem("not an object")
    kind = word(item.get("msgtype"), 100)
    if kind is None:
        raise _BadItem("msgtype is missing")
    if kind == "event":
        _parse_event(item, found)
        return
    origin = item.get("origin", _CUSTOMER)
    if origin not in (_CUSTOMER, _SERVICER):
        found.ignored.append(f"{kind} of origin {word(origin, 20)}")
        return
    text, files = show(kind, _object(item.get(kind))), _files(kind, item)
    if text is None and not files:
        found.ignored.append(kind)
        return
    _keep(item, kind, text or "", files, found, from_servicer=origin == _SERVICER)


def _keep(
    item: Json, kind: str, text: str, files: tuple[RemoteFile, ...], found: _Found, *, from_servicer: bool
) -> None:
    external_id, person = key(item.get("msgid")), _person(item)
    if external_id is None or person is None:
        raise _BadItem(f"{kind}: msgid or external_userid is missing")
    if from_servicer and our_message(external_id) is not None:
        found.ignored.append("our own message")
        return
    if not text and not files:
        found.ignored.append(f"empty {kind}")
        return
    content = {} if kind in ("text", *_MEDIA) else {kind: scrub(item.get(kind))}
    if (pressed := word(_object(item.get("text")).get("menu_id"))) is not None:
        content["menu_id"] = pressed
    if from_servicer:
        content["servicer"] = word(item.get("servicer_userid"))
        found.echoes.append(Echo(external_id, person, text, _moment(item), files, content))
    else:
        found.messages.append(
            InboundMessage(
                external_id,
                person,
                text,
                sent_at=_moment(item),
                files=files,
                content=content,
                pressed=receipts.pressed(pressed),
            )
        )


def _parse_event(item: Json, found: _Found) -> None:
    """The fields of an event stand in the item, in `event`, or in both."""
    event = {**item, **_object(item.get("event"))}
    kind = word(event.get("event_type"), 100) or "event"
    act = _EVENTS.get(kind)
    if act is None:
        found.ignored.append(kind)
    else:
        act(event, found)


def _recalled(event: Json, found: _Found) -> None:
    recalled, person = key(event.get("recall_msgid")), _person(event)
    if recalled is None or person is None:
        raise _BadItem("user_recall_msg: recall_msgid or external_userid is missing")
    again = key(f"recall:{recalled}") or recalled
    found.changes.append(Change(again, ChangeKind.DELETE, person, external_id=recalled, at=_moment(event)))


def _recalled_by_us(event: Json, found: _Found) -> None:
    """One of us has taken back in WeCom what was written there, or here."""
    recalled, person = key(event.get("recall_msgid")), _person(event)
    if recalled is None or person is None:
        raise _BadItem("servicer_recall_msg: recall_msgid or external_userid is missing")
    ours = our_message(recalled)
    known, again = own_id(ours) if ours else recalled, key(f"recall:{recalled}") or recalled
    found.changes.append(Change(again, ChangeKind.DELETE, person, provider_message_id=known, at=_moment(event)))


def _not_delivered(event: Json, found: _Found) -> None:
    """Of a message in parts, the failure of any is the failure of the whole."""
    failed = key(event.get("fail_msgid"))
    if failed is None:
        raise _BadItem("msg_send_fail: fail_msgid is missing")
    code = event.get("fail_type")
    unknown = (SendFailure.PERMANENT, "not delivered")
    failure, words = _FAILURES.get(code, unknown) if isinstance(code, int) else unknown
    ours = our_message(failed)
    found.statuses.append(
        StatusUpdate(
            provider_message_id=own_id(ours) if ours else failed,
            status="failed",
            at=_moment(event),
            detail=f"{words} (fail_type {word(code, 20)})",
            recipient=_person(event),
            our_id=str(ours) if ours else None,
            failure=failure,
            refusal=RefusalReason.BLOCKED if code == _THEY_REFUSE else None,
        )
    )


_EVENTS: dict[str, Callable[[Json, _Found], None]] = {
    "user_recall_msg": _recalled,
    "servicer_recall_msg": _recalled_by_us,
    "msg_send_fail": _not_delivered,
}


def _person(item: Json) -> Sender | None:
    user = key(item.get("external_userid"))
    return Sender(kind="wecom", value=user, address={"external_userid": user}) if user else None


def _files(kind: str, item: Json) -> tuple[RemoteFile, ...]:
    media_id = key(_object(item.get(kind)).get("media_id"))
    if kind not in _MEDIA or media_id is None:
        return ()
    return (RemoteFile(*_MEDIA[kind], None, {"media_id": media_id}),)


def _moment(item: Json) -> datetime | None:
    value = item.get("send_time")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**11:
        return None
    return datetime.fromtimestamp(value, UTC)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
