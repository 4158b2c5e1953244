"""What people see of the attachments of Messenger and Instagram: files to fetch, or words for what is no file."""

import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from app.channels.base import RemoteFile
from app.channels.meta import Json, obj, sequence
from app.channels.text import clean, file_name, media_type, scrub, word

THUMBS_UP = frozenset({"369239263222822", "369239343222814", "369239383222810"})
_LIMIT = 50
_TYPES = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/mp4", "file": "application/octet-stream"}
_NAMES = {"image": "image.jpg", "video": "video.mp4", "audio": "audio.m4a"}
# Posts and stories that were passed on: Meta gives the picture or film itself, for a while.
_COPIES = frozenset({"share", "reel", "ig_reel", "ig_post", "story_mention", "ig_story"})


@dataclass(frozen=True, slots=True)
class Seen:
    text: str = ""
    files: tuple[RemoteFile, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)


def read_attachments(message: Json) -> Seen:
    words: list[str] = []
    files: list[RemoteFile] = []
    kept: list[Any] = []
    given = message.get("attachments")
    for item in sequence(given if isinstance(given, list) else [given] if isinstance(given, dict) else [])[:_LIMIT]:
        attachment = obj(item)
        kind = word(attachment.get("type"), 50) or "attachment"
        said, file = _one(kind, attachment, obj(attachment.get("payload")))
        if said and not (kind == "fallback" and _repeats(message, attachment)):
            words.append(said)
        if file is not None:
            files.append(file)
        if kind not in _TYPES:
            kept.append(scrub(item))
    return Seen("\n".join(words), tuple(files), {"attachments": kept} if kept else {})


def _repeats(message: Json, attachment: Json) -> bool:
    """The preview of a link that stands in the text."""
    link = word(obj(attachment.get("payload")).get("url"), 2000) or word(attachment.get("url"), 2000)
    return link is not None and link in str(message.get("text"))


def _one(kind: str, attachment: Json, payload: Json) -> tuple[str, RemoteFile | None]:
    if word(payload.get("sticker_id")) in THUMBS_UP:
        return "👍", None
    if kind in _SAID:
        return _SAID[kind](attachment, payload) or f"[{kind}]", None
    file = _file(kind, payload)
    if kind in _TYPES:
        return ("" if file else f"[{kind}]"), file
    title = word(payload.get("title"), 1000) or word(attachment.get("title"), 1000)
    link = word(payload.get("url"), 2000) or word(attachment.get("url"), 2000)
    shown = f"[{kind.replace('_', ' ')}]"
    if kind == "fallback":
        return ": ".join(part for part in (title, link) if part) or shown, None
    return (f"{shown} {title}" if title else shown), file


def _file(kind: str, payload: Json) -> RemoteFile | None:
    url = payload.get("url") or payload.get("story_media_url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")) or len(url) > 4000:
        return None
    if kind not in _TYPES and kind not in _COPIES:
        return None
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return None
    last = path.rpartition("/")[2]
    guessed = mimetypes.guess_type(last)[0]
    name = file_name(last if guessed else None, _NAMES.get(kind, kind))
    return RemoteFile(
        name, media_type(guessed, _TYPES.get(kind, "application/octet-stream")), None, {"url": clean(url)}
    )


def _location(attachment: Json, payload: Json) -> str:
    place = obj(payload.get("coordinates"))
    latitude, longitude = place.get("lat"), place.get("long")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (latitude, longitude))
    title = word(attachment.get("title"), 500)
    return "\n".join(part for part in (title, f"📍 {latitude}, {longitude}" if numbers else None) if part)


def _template(attachment: Json, payload: Json) -> str:
    """Products that a customer asks about, or the words and buttons of what another app sent."""
    elements = sequence(obj(payload.get("product")).get("elements")) or sequence(payload.get("elements"))
    lines = [word(payload.get("text"), 2000)]
    for element in elements[:_LIMIT]:
        parts = [word(obj(element).get(name), 1000) for name in ("title", "subtitle")]
        lines.append(" - ".join(part for part in parts if part))
    lines.extend(word(obj(button).get("title"), 1000) for button in sequence(payload.get("buttons"))[:_LIMIT])
    return "\n".join(line for line in lines if line)


_SAID: dict[str, Callable[[Json, Json], str]] = {
    "location": _location,
    "template": _template,
    "like_heart": lambda attachment, payload: "❤️",
}
