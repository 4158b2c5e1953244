"""A call of Viber's, read: messages, what became of ours, and who wants to hear from us."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from app.channels import receipts
from app.channels.base import (
    InboundMessage,
    Parsed,
    Refusal,
    RefusalReason,
    RemoteFile,
    Sender,
    SendFailure,
    StatusUpdate,
)
from app.channels.meta import BadItem, Found, Json, digest, moment, obj
from app.channels.text import clean, file_name, key, scrub, word

# Ours in `tracking_data`, which comes back with the next message of whoever has received it.
TRACKING = "roundtrip:"
_FILES = {
    "picture": ("image/jpeg", "picture.jpg"),
    "video": ("video/mp4", "video.mp4"),
    "file": ("application/octet-stream", "file"),
}


def parse(body: Json) -> Parsed:
    """One call is one event."""
    found = Found()
    event = word(body.get("event"), 50) or "without an event"
    read = _EVENTS.get(event)
    with found.item(event):
        if read is None:
            found.ignore(event)
        else:
            read(body, found)
    return found.parsed()


def _sender(person: Json) -> Sender:
    """Raises BadItem for nobody."""
    user = key(person.get("id"))
    if user is None:
        raise BadItem("nobody is named")
    return Sender(
        kind="viber",
        value=user,
        name=word(person.get("name")),
        language=word(person.get("language"), 35),
        address={"receiver": user},
    )


def _message(body: Json, found: Found) -> None:
    sender, message = _sender(obj(body.get("sender"))), obj(body.get("message"))
    kind, token = word(message.get("type"), 50), key(body.get("message_token"))
    if kind is None:
        raise BadItem("the message has no type")
    tracked = message.get("tracking_data")
    _arrived(tracked, body, found)
    file, text = _file(kind, message), _text(kind, message)
    if not text and file is None:
        found.ignore("message", kind, "without content")
        return
    found.messages.append(
        InboundMessage(
            external_id=token or "message:" + digest(sender.value, body.get("timestamp"), message),
            sender=sender,
            text=text,
            sent_at=moment(body.get("timestamp")),
            files=(file,) if file else (),
            content=_content(body, message, kind),
            pressed=receipts.pressed(message.get("text")),
        )
    )


def _arrived(tracked: object, body: Json, found: Found) -> None:
    """Who sends our own tracking data back has the message that brought it."""
    if not isinstance(tracked, str) or not tracked.startswith(TRACKING):
        return
    try:
        ours = str(UUID(tracked.removeprefix(TRACKING)))
    except ValueError:
        return
    found.statuses.append(StatusUpdate("", "delivered", at=moment(body.get("timestamp")), our_id=ours))


def _text(kind: str, message: Json) -> str:
    """What was written, with what the agent sees of a kind that has no words of its own."""
    given = message.get("text")
    written = receipts.title_in(given) or (clean(given) if isinstance(given, str) else "")
    shown = _SHOWN[kind](message) if kind in _SHOWN else ""
    if kind not in _SHOWN and kind not in ("text", *_FILES):
        shown = f"[{kind}]"
    return clean("\n".join(part for part in (written.strip() and written, shown) if part))


def _show_contact(message: Json) -> str:
    contact = obj(message.get("contact"))
    name, phone = word(contact.get("name")), word(contact.get("phone_number"))
    return " ".join(part for part in (name, f"({phone})" if phone else None) if part) or "[contact]"


def _show_location(message: Json) -> str:
    location = obj(message.get("location"))
    latitude, longitude = word(location.get("lat")), word(location.get("lon"))
    where = f"📍 {latitude}, {longitude}" if latitude and longitude else "[location]"
    return "\n".join(part for part in (word(location.get("address"), 1000), where) if part)


_SHOWN: Mapping[str, Callable[[Json], str]] = {
    "contact": _show_contact,
    "location": _show_location,
    "sticker": lambda message: "[sticker]",
    "url": lambda message: word(message.get("media"), 2000) or "",
}


def _file(kind: str, message: Json) -> RemoteFile | None:
    """Viber keeps a file for an hour."""
    url = key(message.get("media")) if kind in _FILES else None
    if url is None:
        return None
    media, name = _FILES[kind]
    size = message.get("size")
    return RemoteFile(
        name=file_name(message.get("file_name"), name),
        media_type=media,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        ref={"url": url},
    )


def _content(body: Json, message: Json, kind: str) -> dict[str, Any]:
    """For people only: what the text alone does not say."""
    names = {"contact": ("contact",), "location": ("location",), "sticker": ("sticker_id",), "video": ("duration",)}
    kept = {name: scrub(message[name]) for name in names.get(kind, ()) if name in message}
    tracked = message.get("tracking_data")
    if isinstance(tracked, str) and tracked and not tracked.startswith(TRACKING):
        kept["tracking_data"] = clean(tracked, 4000)
    if (chat := key(body.get("chat_id"))) is not None:
        kept["chat_id"] = chat
    return kept


def _status(body: Json, found: Found) -> None:
    """Of our own message: `delivered`, `seen`, or `failed`, which means it never will be."""
    event, token = body["event"], key(body.get("message_token"))
    if token is None:
        raise BadItem("message_token: missing")
    said = word(body.get("desc"), 300)
    refused = said is not None and "subscri" in said.lower()
    failure = SendFailure.RECIPIENT if refused else SendFailure.PERMANENT
    user = key(body.get("user_id"))
    found.statuses.append(
        StatusUpdate(
            token,
            "read" if event == "seen" else event,
            at=moment(body.get("timestamp")),
            detail=said,
            recipient=_sender({"id": user}) if user else None,
            failure=failure if event == "failed" else None,
        )
    )


def _subscription(body: Json, found: Found) -> None:
    """Viber carries nothing to somebody who has unsubscribed, until they write or subscribe again."""
    event, stamp = body["event"], body.get("message_token") or body.get("timestamp")
    person = obj(body.get("user")) or {"id": body.get("user_id")}
    sender = _sender(person)
    found.refusals.append(
        Refusal(
            key=f"{event}:{digest(sender.value, stamp)}",
            sender=sender,
            reason=RefusalReason.BLOCKED,
            on=event == "unsubscribed",
            at=moment(body.get("timestamp")),
            detail=event,
        )
    )


_EVENTS: Mapping[str, Callable[[Json, Found], None]] = {
    "message": _message,
    "delivered": _status,
    "seen": _status,
    "failed": _status,
    "subscribed": _subscription,
    "unsubscribed": _subscription,
}
