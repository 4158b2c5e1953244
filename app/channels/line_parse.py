"""LINE's webhook events, read: what customers write, change and take back."""

from collections.abc import Callable, Mapping
from typing import Any

from app.channels import receipts
from app.channels.base import (
    Change,
    ChangeKind,
    InboundMessage,
    Parsed,
    Refusal,
    RefusalReason,
    RemoteFile,
    Sender,
)
from app.channels.meta import BadItem, Found, Json, digest, moment, obj, sequence
from app.channels.text import clean, file_name, key, scrub, word

_FILES = {
    "image": ("image/jpeg", "image.jpg"),
    "video": ("video/mp4", "video.mp4"),
    "audio": ("audio/mp4", "audio.m4a"),
    "file": ("application/octet-stream", "file"),
}
_SWITCHED_MENU = "newRichMenuAliasId"


def parse(body: Json) -> Parsed:
    """All events of one call, which may be of many people. The console's test call has none."""
    found = Found()
    events = body.get("events")
    if not isinstance(events, list):
        found.errors.append("events: not a list")
    for place, event in enumerate(sequence(events)):
        with found.item(f"event {place}"):
            if not isinstance(event, dict):
                raise BadItem("not an object")
            read = _KINDS.get(event["type"]) if isinstance(event.get("type"), str) else None
            if read is None:
                found.ignore("event", word(event.get("type"), 50) or "without a type")
            else:
                read(event, found)
    return found.parsed()


def _sender(event: Json) -> Sender:
    """In a group or room each person is somebody else than in private, and an answer goes to all of them.

    Raises BadItem for nobody.
    """
    source = obj(event.get("source"))
    user = key(source.get("userId"))
    place = key(source.get("groupId")) or key(source.get("roomId"))
    if place is None and user is None:
        raise BadItem("the source names nobody")
    return Sender(
        kind="line",
        value=(key(f"{place}:{user or 'group'}") if place else user) or "",
        address={"to": place or user},
    )


def _message(event: Json, found: Found) -> None:
    message = obj(event.get("message"))
    message_id, kind = key(message.get("id")), word(message.get("type"), 50)
    if message_id is None or kind is None:
        raise BadItem("the message has no id or type")
    sender = _sender(event)
    file = _file(kind, message_id, message)
    text = _text(kind, message, has_file=file is not None)
    if not text and file is None:
        found.ignore("message", kind)
        return
    found.messages.append(
        InboundMessage(
            external_id=message_id,
            sender=sender,
            text=text,
            sent_at=moment(event.get("timestamp")),
            files=(file,) if file else (),
            content=_content(event, message, kind),
        )
    )


def _text(kind: str, message: Json, *, has_file: bool) -> str:
    if kind == "text":
        return clean(message["text"]) if isinstance(message.get("text"), str) else ""
    if kind == "location":
        return _place(message)
    if kind == "sticker":
        return _sticker(message)
    if kind in _FILES:
        return "" if has_file else f"[{kind}] {_outside(message) or ''}".strip()
    return f"[{kind}]"


def _place(message: Json) -> str:
    names = [name for field in ("title", "address") if (name := word(message.get(field), 1000))]
    latitude, longitude = word(message.get("latitude")), word(message.get("longitude"))
    where = [f"📍 {latitude}, {longitude}"] if latitude and longitude else []
    return clean("\n".join([*dict.fromkeys(names), *where])) or "[location]"


def _sticker(message: Json) -> str:
    """What people typed into it, or LINE's words for what it shows."""
    typed = word(message.get("text"), 200)
    words = [said for item in sequence(message.get("keywords"))[:3] if (said := word(item, 50))]
    return typed or (f"[sticker: {', '.join(words)}]" if words else "[sticker]")


def _outside(message: Json) -> str | None:
    """The address of a file that lies elsewhere: shown, never fetched, because anybody may have put it there."""
    provider = obj(message.get("contentProvider"))
    return word(provider.get("originalContentUrl"), 2000) if provider.get("type") == "external" else None


def _file(kind: str, message_id: str, message: Json) -> RemoteFile | None:
    if kind not in _FILES or obj(message.get("contentProvider")).get("type", "line") != "line":
        return None
    media, name = _FILES[kind]
    size = message.get("fileSize")
    return RemoteFile(
        name=file_name(message.get("fileName"), name),
        media_type=media,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        ref={"message_id": message_id},
    )


def _content(event: Json, message: Json, kind: str) -> dict[str, Any]:
    """For people only: what the text alone does not say."""
    names = {
        "sticker": ("packageId", "stickerId", "stickerResourceType", "keywords"),
        "location": ("title", "address", "latitude", "longitude"),
        "text": ("emojis", "mention"),
    }
    kept = {name: scrub(message[name]) for name in (*names.get(kind, ()), "imageSet") if name in message}
    if replied := key(message.get("quotedMessageId")):
        kept["reply_to"] = {"message_id": replied}
    return _mode(event, kept)


def _mode(event: Json, kept: dict[str, Any]) -> dict[str, Any]:
    """In standby another system has the word; we only listen."""
    if event.get("mode") == "standby":
        kept["standby"] = True
    return kept


def _postback(event: Json, found: Found) -> None:
    """A button that was pressed, or a date that was picked."""
    postback, sender = obj(event.get("postback")), _sender(event)
    params = {name: said for name, value in obj(postback.get("params")).items() if (said := word(value, 200))}
    if _SWITCHED_MENU in params:
        found.ignore("event postback richmenuswitch")
        return
    picked = next((params[name] for name in ("datetime", "date", "time") if name in params), None)
    data = postback.get("data")
    text = receipts.title_in(data) or " ".join(part for part in (word(data, 1000), picked) if part)
    if not text:
        found.ignore("event postback without data")
        return
    at = event.get("timestamp")
    event_id = key(event.get("webhookEventId"))
    found.messages.append(
        InboundMessage(
            external_id="postback:" + digest(event_id, sender.value, at, text),
            sender=sender,
            text=clean(text),
            sent_at=moment(at),
            content=_mode(event, {"postback": scrub(postback)}),
            pressed=receipts.pressed(data),
        )
    )


def _unsent(event: Json, found: Found) -> None:
    message_id = key(obj(event.get("unsend")).get("messageId"))
    if message_id is None:
        raise BadItem("unsend names no message")
    found.changes.append(
        Change(
            key=key(f"unsend:{message_id}") or "",
            kind=ChangeKind.DELETE,
            sender=_sender(event),
            external_id=message_id,
            at=moment(event.get("timestamp")),
        )
    )


def _edited(event: Json, found: Found) -> None:
    message = obj(event.get("message"))
    message_id, text = key(message.get("id")), message.get("text")
    if message_id is None or not isinstance(text, str):
        raise BadItem("an edit without a message or without its text")
    event_id = key(event.get("webhookEventId")) or word(event.get("timestamp")) or digest(text)
    found.changes.append(
        Change(
            key=f"edit:{digest(message_id, event_id)}",
            kind=ChangeKind.EDIT,
            sender=_sender(event),
            external_id=message_id,
            text=clean(text),
            at=moment(event.get("timestamp")),
        )
    )


def _following(event: Json, found: Found) -> None:
    """Who has unfollowed or blocked the account gets nothing until they come back."""
    sender, left = _sender(event), event.get("type") == "unfollow"
    stamp = key(event.get("webhookEventId")) or word(event.get("timestamp")) or ""
    if "to" in sender.address and sender.address["to"] != sender.value:
        raise BadItem("a group cannot follow")
    found.refusals.append(
        Refusal(
            key=f"{event['type']}:{digest(sender.value, stamp)}",
            sender=sender,
            reason=RefusalReason.BLOCKED,
            on=left,
            at=moment(event.get("timestamp")),
            detail=str(event["type"]),
        )
    )


_KINDS: Mapping[str, Callable[[Json, Found], None]] = {
    "message": _message,
    "postback": _postback,
    "unsend": _unsent,
    "messageEdited": _edited,
    "follow": _following,
    "unfollow": _following,
}
