"""A Telegram message, read: what people see of each kind, who wrote it, and where an answer goes."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.channels.base import InboundMessage, Parsed, RemoteFile, Sender
from app.channels.text import clean, file_name, key, media_type, scrub, word

Json = Mapping[str, Any]

# Which field holds a file, with the media type and the name it gets when Telegram gives none.
_MEDIA = {
    "voice": ("audio/ogg", "voice.ogg"),
    "audio": ("audio/mpeg", "audio.mp3"),
    "video": ("video/mp4", "video.mp4"),
    "video_note": ("video/mp4", "video-note.mp4"),
    "animation": ("video/mp4", "animation.mp4"),
    "sticker": ("image/webp", "sticker.webp"),
    "document": ("application/octet-stream", "document"),
}
# Sent by people, but nothing that we can show: the agent learns that there was something.
_NAMED_ONLY = (
    *("story", "paid_media", "game", "checklist", "invoice", "live_photo", "giveaway", "gift", "unique_gift"),
    *("successful_payment", "users_shared", "chat_shared"),
)
_NOT_A_KIND = frozenset(
    {
        *("update_id", "message_id", "from", "chat", "date", "sender_chat", "message_thread_id", "is_topic_message"),
        *("edit_date", "business_connection_id"),
    }
)


def kinds(record: Json) -> tuple[str, ...]:
    return tuple(clean(name, 100) for name in record if name not in _NOT_A_KIND)


def read_message(message: Json) -> InboundMessage | Parsed:
    """A customer's message, or why it is none."""
    chat = message.get("chat")
    chat_id = chat.get("id") if isinstance(chat, dict) else None
    message_id = message.get("message_id")
    if not is_int(chat_id) or not is_int(message_id):
        return Parsed(errors=("message: chat.id or message_id is missing",))
    author = objectly(message.get("from"))
    if author.get("is_bot") is True:
        return Parsed(ignored=("message from a bot",))
    text = text_of(message)
    files = _files(message)
    if not text and not files:
        return Parsed(ignored=kinds(message) or ("empty message",))
    return InboundMessage(
        external_id=f"{chat_id}:{message_id}",
        sender=sender_of(objectly(chat), author, message),
        text=text,
        sent_at=moment(message.get("date")),
        files=files,
        content=_content(message),
    )


def sender_of(chat: Json, author: Json, message: Json) -> Sender:
    """In a group each person is somebody else than in private: an answer to one must not appear in the other."""
    chat_id, author_id = chat["id"], author.get("id")
    private = chat.get("type", "private") == "private"
    person = author or chat
    address: dict[str, Any] = {"chat_id": chat_id}
    if message.get("is_topic_message") is True and is_int(message.get("message_thread_id")):
        address["message_thread_id"] = message["message_thread_id"]
    contact = objectly(message.get("contact"))
    own_card = contact.get("user_id") is not None and contact.get("user_id") == author_id
    return Sender(
        kind="telegram",
        value=str(chat_id) if private else f"{chat_id}:{author_id if is_int(author_id) else 'group'}",
        name=_name(person) or word(chat.get("title")),
        phone=word(contact.get("phone_number"), 64) if own_card else None,
        language=word(author.get("language_code"), 35),
        address=address,
    )


def _name(person: Json) -> str | None:
    names = [name for part in ("first_name", "last_name") if (name := word(person.get(part)))]
    return " ".join(names) or word(person.get("username"))


def text_of(message: Json) -> str:
    """What was written, or what the agent sees of a kind that has no words of its own."""
    for field in ("text", "caption"):
        if isinstance(message.get(field), str) and message[field]:
            return clean(message[field])
    for field, show in _SHOWN.items():
        if isinstance(message.get(field), dict) and (shown := show(message[field])):
            return clean(shown)
    return next((f"[{field}]" for field in _NAMED_ONLY if message.get(field) is not None), "")


def _show_contact(contact: Json) -> str:
    phone = word(contact.get("phone_number"))
    return " ".join(part for part in (_name(contact), f"({phone})" if phone else None) if part)


def _show_venue(venue: Json) -> str:
    return ", ".join(part for field in ("title", "address") if (part := word(venue.get(field))))


def _show_location(location: Json) -> str:
    latitude, longitude = location.get("latitude"), location.get("longitude")
    return f"📍 {latitude}, {longitude}" if _is_number(latitude) and _is_number(longitude) else ""


def _show_poll(poll: Json) -> str:
    options = poll.get("options")
    texts = [word(objectly(option).get("text"), 1000) for option in options] if isinstance(options, list) else []
    return "\n".join([word(poll.get("question"), 1000) or "", *(f"- {text}" for text in texts if text)]).strip()


def _show_dice(dice: Json) -> str:
    return " ".join(part for part in (word(dice.get("emoji")), word(dice.get("value"))) if part)


# In this order: a venue carries its location a second time.
_SHOWN: dict[str, Callable[[Json], str]] = {
    "contact": _show_contact,
    "venue": _show_venue,
    "location": _show_location,
    "poll": _show_poll,
    "dice": _show_dice,
    "web_app_data": lambda data: word(data.get("data"), 4000) or "",
    "sticker": lambda sticker: word(sticker.get("emoji")) or "",
}


def _files(message: Json) -> tuple[RemoteFile, ...]:
    """At most one per message (albums are several messages); an animation's second copy as a document is left out."""
    photos = message.get("photo")
    if isinstance(photos, list):
        sizes = [photo for photo in photos if isinstance(photo, dict) and isinstance(photo.get("file_id"), str)]
        if sizes:
            return (_file(max(sizes, key=_area), "image/jpeg", "photo.jpg"),)
    for field, (kind, name) in _MEDIA.items():
        media = message.get(field)
        if isinstance(media, dict) and isinstance(media.get("file_id"), str):
            if field == "sticker" and media.get("is_animated") is True:
                kind, name = "application/x-tgsticker", "sticker.tgs"
            elif field == "sticker" and media.get("is_video") is True:
                kind, name = "video/webm", "sticker.webm"
            return (_file(media, kind, name),)
    return ()


def _area(photo: Json) -> tuple[int, int]:
    width, height, size = (photo.get(field) for field in ("width", "height", "file_size"))
    area = width * height if isinstance(width, int) and isinstance(height, int) else 0
    return area, size if isinstance(size, int) else 0


def _file(media: Json, kind: str, name: str) -> RemoteFile:
    size = media.get("file_size")
    return RemoteFile(
        name=file_name(media.get("file_name"), name),
        media_type=media_type(media.get("mime_type"), kind),
        size=size if isinstance(size, int) and size >= 0 else None,
        ref={"file_id": key(media["file_id"])},
    )


def _content(message: Json) -> dict[str, Any]:
    """For people only: what the text alone does not say."""
    kept = {
        field: scrub(message[field])
        for field in ("entities", "location", "venue", "contact", "poll", "dice")
        if field in message
    }
    if (album := word(message.get("media_group_id"))) is not None:
        kept["media_group_id"] = album
    if "forward_origin" in message or "forward_date" in message:
        kept["forwarded"] = True
        if (author := _origin(objectly(message.get("forward_origin")))) is not None:
            kept["forwarded_from"] = author
    if (quoted := word(objectly(message.get("quote")).get("text"), 1000)) is not None:
        kept["quote"] = quoted
    replied = objectly(message.get("reply_to_message"))
    if is_int(replied.get("message_id")):
        kept["reply_to"] = {"message_id": replied["message_id"], "text": word(replied.get("text"), 500)}
    return kept


def _origin(origin: Json) -> str | None:
    """Who wrote it first: a person, one who hides who they are, a group or a channel."""
    chat = objectly(origin.get("sender_chat")) or objectly(origin.get("chat"))
    person = objectly(origin.get("sender_user"))
    return (_name(person) if person else None) or word(origin.get("sender_user_name")) or word(chat.get("title"))


def moment(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(value, UTC) if is_int(value) and value > 0 else None
    except (OverflowError, OSError, ValueError):
        return None


def objectly(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
