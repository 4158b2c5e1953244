"""A push of an Official Account, read: which kinds are a customer's message, and what people see of each."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.channels.base import InboundMessage, Parsed, Refusal, RefusalReason, RemoteFile, Sender
from app.channels.text import clean, key, scrub, word

Tree = Mapping[str, Any]

_TEXT = 10_000
_FOLLOWING = ("subscribe", "unsubscribe")
_MILLISECONDS_FROM = 10**11
# The name and the type that a file gets; WeChat says neither.
_MEDIA = {
    "image": ("image.jpg", "image/jpeg"),
    "voice": ("voice.amr", "audio/amr"),
    "video": ("video.mp4", "video/mp4"),
    "shortvideo": ("video.mp4", "video/mp4"),
}
_KEPT = {
    "location": ("Location_X", "Location_Y", "Scale", "Label"),
    "link": ("Title", "Description", "Url"),
    "voice": ("Recognition",),
    "miniprogrampage": ("Title", "AppId", "PagePath"),
    "file": ("Title", "Description", "FileTotalLen", "FileMd5"),
    "text": ("bizmsgmenuid",),
}


def parse_push(tree: Tree, raw: bytes) -> Parsed:
    """One push is one message or one event. Of the events a pressed menu button is a customer's word, and who follows the
    account or has left it is told; the others are named.

    `raw` is the decrypted push: where WeChat names no MsgId, its repetitions are known by it.
    """
    kind = (word(tree.get("MsgType"), 100) or "").lower()
    if not kind:
        return Parsed(errors=("a push has a MsgType",))
    try:
        return _parse_event(tree) if kind == "event" else _parse_message(kind, tree, raw)
    except (TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        return Parsed(errors=(f"{kind}: {type(error).__name__}: {clean(str(error), 200)}",))


def _parse_event(tree: Tree) -> Parsed:
    event = word(tree.get("Event"), 100) or "event"
    if event.lower() in _FOLLOWING:
        return _following(event.lower(), tree)
    sender, pressed = _sender(tree), word(tree.get("EventKey"), 1000)
    if event.upper() != "CLICK" or pressed is None:
        return Parsed(ignored=(event,))
    if sender is None:
        return Parsed(errors=("CLICK: FromUserName is missing",))
    message = InboundMessage(
        external_id=key(f"{sender.value}:{word(tree.get('CreateTime'))}:CLICK:{pressed}") or "",
        sender=sender,
        text=pressed,
        sent_at=_moment(tree.get("CreateTime")),
        content={"menu_key": pressed},
    )
    return Parsed(messages=(message,))


def _following(event: str, tree: Tree) -> Parsed:
    """Nothing reaches somebody who has left the account, until they follow it again."""
    sender = _sender(tree)
    if sender is None:
        return Parsed(errors=(f"{event}: FromUserName is missing",))
    refusal = Refusal(
        key=key(f"{sender.value}:{word(tree.get('CreateTime'))}:{event}") or "",
        sender=sender,
        reason=RefusalReason.BLOCKED,
        on=event == "unsubscribe",
        at=_moment(tree.get("CreateTime")),
        detail=event,
    )
    return Parsed(refusals=(refusal,))


def _parse_message(kind: str, tree: Tree, raw: bytes) -> Parsed:
    show = _SHOWN.get(kind)
    if show is None:
        return Parsed(ignored=(kind,))
    sender = _sender(tree)
    if sender is None:
        return Parsed(errors=(f"{kind}: FromUserName is missing",))
    files = _files(kind, tree)
    text = show(tree)
    if not text and not files:
        return Parsed(ignored=(f"empty {kind}",))
    content = {name: scrub(tree[name]) for name in _KEPT.get(kind, ()) if name in tree}
    message = InboundMessage(
        external_id=key(tree.get("MsgId")) or _own_key(sender, tree, raw),
        sender=sender,
        text=text,
        sent_at=_moment(tree.get("CreateTime")),
        files=files,
        content=content,
    )
    return Parsed(messages=(message,))


def _own_key(sender: Sender, tree: Tree, raw: bytes) -> str:
    """Sender and time, and the digest of the push, because a person may send two messages within a second."""
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return key(f"{sender.value}:{word(tree.get('CreateTime')) or ''}:{digest}") or digest


def _sender(tree: Tree) -> Sender | None:
    open_id = key(tree.get("FromUserName"))
    return Sender(kind="wechat", value=open_id, address={"openid": open_id}) if open_id else None


def _files(kind: str, tree: Tree) -> tuple[RemoteFile, ...]:
    media_id = key(tree.get("MediaId"))
    if kind not in _MEDIA or media_id is None:
        return ()
    name, media_type = _MEDIA[kind]
    if kind == "voice" and (word(tree.get("Format"), 20) or "").lower() == "speex":
        name, media_type = "voice.speex", "audio/speex"
    return (RemoteFile(name, media_type, None, {"media_id": media_id}),)


def _words(value: object) -> str:
    return clean(value, _TEXT) if isinstance(value, str) else word(value) or ""


def _lines(tree: Tree, *names: str) -> str:
    return "\n".join(part for name in names if (part := word(tree.get(name), 2000)))


def _show_location(tree: Tree) -> str:
    latitude, longitude, label = (word(tree.get(name)) for name in ("Location_X", "Location_Y", "Label"))
    if latitude is None or longitude is None:
        return label or ""
    return f"📍 {label} ({latitude}, {longitude})" if label else f"📍 {latitude}, {longitude}"


def _bracketed(what: str) -> Callable[[Tree], str]:
    return lambda tree: f"[{what}] {word(tree.get('Title'), 1000) or ''}".rstrip()


def _without_media(what: str) -> Callable[[Tree], str]:
    """Files speak for themselves; without one the agent learns that there was something."""
    return lambda tree: "" if key(tree.get("MediaId")) else f"[{what}]"


_SHOWN: dict[str, Callable[[Tree], str]] = {
    "text": lambda tree: _words(tree.get("Content")),
    "image": _without_media("image"),
    "voice": lambda tree: _words(tree.get("Recognition")) or _without_media("voice")(tree),
    "video": _without_media("video"),
    "shortvideo": _without_media("video"),
    "location": _show_location,
    "link": lambda tree: _lines(tree, "Title", "Description", "Url"),
    "file": _bracketed("file"),
    "miniprogrampage": _bracketed("mini program"),
}


def _moment(value: object) -> datetime | None:
    """Seconds; some systems in between write milliseconds."""
    text = word(value, 20) or ""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 10**16:
        return None
    number = int(text)
    return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
