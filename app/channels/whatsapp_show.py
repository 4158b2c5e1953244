"""What people see of each kind of WhatsApp message: words, files, and what is kept besides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.channels.base import RemoteFile
from app.channels.meta import Json, obj, sequence
from app.channels.text import JSONDecodeError, clean, file_name, key, loads, media_type, scrub, word

_MEDIA = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/ogg",
    "document": "application/octet-stream",
    "sticker": "image/webp",
}
_ENDINGS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/3gpp": "3gp",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/amr": "amr",
    "application/pdf": "pdf",
}
_KEPT = ("location", "contacts", "order", "referral", "button", "interactive", "errors", "unsupported")
_LINES_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Shown:
    text: str
    files: tuple[RemoteFile, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)


def shown(message: Json) -> Shown | None:
    """None for a kind that we do not know."""
    kind = message.get("type")
    if not isinstance(kind, str):
        return None
    body = message.get(kind)
    if kind in _TEXTS:
        text = _TEXTS[kind](body)
        if text is None:
            return None
        # A kind that we know, without what it should hold: Meta names why in `errors`.
        return Shown(clean(text) or _missing(message, kind), (), _content(message))
    media = obj(body)
    if kind in _MEDIA or ("mime_type" in media and "id" in media):
        files = _files(kind, media)
        caption = media.get("caption")
        text = clean(caption) if isinstance(caption, str) else ""
        return Shown(text or ("" if files else f"[{clean(kind, 50)}]"), files, _content(message))
    return None


def _missing(message: Json, kind: str) -> str:
    if kind == "unsupported":
        return "[unsupported]"
    return f"[unsupported: {kind}]" if message.get(kind) is None else f"[{kind}]"


def _text(body: Any) -> str:
    text = obj(body).get("body")
    return text if isinstance(text, str) else ""


def _location(body: Any) -> str:
    place = obj(body)
    latitude, longitude = place.get("latitude"), place.get("longitude")
    words = [word(place.get("name"), 500), word(place.get("address"), 500)]
    if all(isinstance(number, int | float) and not isinstance(number, bool) for number in (latitude, longitude)):
        words.append(f"📍 {latitude}, {longitude}")
    return "\n".join(text for text in words if text)


def _contacts(body: Any) -> str:
    lines = []
    for contact in sequence(body)[:_LINES_LIMIT]:
        contact = obj(contact)
        name = obj(contact.get("name"))
        called = word(name.get("formatted_name")) or word(name.get("first_name"))
        reached = [
            word(obj(way).get(what))
            for ways, what in (("phones", "phone"), ("emails", "email"))
            for way in sequence(contact.get(ways))[:10]
        ]
        given = ", ".join(way for way in reached if way)
        lines.append(" ".join(part for part in (called, f"({given})" if given else None) if part))
    return "\n".join(line for line in lines if line)


def _order(body: Any) -> str:
    order = obj(body)
    lines = [word(order.get("text"), 5000)]
    for item in sequence(order.get("product_items"))[:_LINES_LIMIT]:
        item = obj(item)
        price = " ".join(part for name in ("item_price", "currency") if (part := word(item.get(name))))
        what = f"{word(item.get('quantity')) or '?'} × {word(item.get('product_retailer_id')) or '?'}"
        lines.append(f"{what} ({price})" if price else what)
    return "\n".join(line for line in lines if line)


def _button(body: Any) -> str:
    button = obj(body)
    return word(button.get("text"), 1000) or word(button.get("payload"), 1000) or ""


def _interactive(body: Any) -> str | None:
    """The choice that was made, or the form that was filled in. None for what is no answer, such as a permission."""
    if body is None:
        return ""
    answer = obj(body)
    kind = answer.get("type")
    if kind in ("button_reply", "list_reply"):
        chosen = obj(answer.get(kind))
        return word(chosen.get("title"), 1000) or word(chosen.get("id"), 1000) or ""
    if kind == "nfm_reply":
        return _form(obj(answer.get("nfm_reply")))
    return None


def _form(reply: Json) -> str:
    """Agents see the answers; WhatsApp's own word for them is only "Sent"."""
    lines = [word(reply.get("body"), 1000)]
    for name, value in list(_answers(reply).items())[:_LINES_LIMIT]:
        if name != "flow_token" and (said := _answer(value)):
            lines.append(f"{word(name) or '?'}: {said}")
    return "\n".join(line for line in lines if line)


def _answer(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(said for item in value[:_LINES_LIMIT] if (said := word(item, 1000))) or None
    return word(value, 5000)


def _answers(reply: Json) -> Json:
    raw = reply.get("response_json")
    try:
        return obj(loads(raw)) if isinstance(raw, str) else {}
    except JSONDecodeError:
        return {}


_TEXTS: dict[str, Callable[[Any], str | None]] = {
    "text": _text,
    "location": _location,
    "contacts": _contacts,
    "order": _order,
    "button": _button,
    "interactive": _interactive,
    "unsupported": lambda body: f"[unsupported: {name}]" if (name := word(obj(body).get("type"), 50)) else "",
}


def _files(kind: str, media: Json) -> tuple[RemoteFile, ...]:
    """Meta gives an id, which its media address turns into a link for five minutes."""
    media_id = key(media.get("id"))
    if media_id is None:
        return ()
    of = media_type(media.get("mime_type"), _MEDIA.get(kind, "application/octet-stream"))
    ending = _ENDINGS.get(of)
    fallback = f"{clean(kind, 50)}.{ending}" if ending else clean(kind, 50)
    return (RemoteFile(file_name(media.get("filename"), fallback), of, None, {"media_id": media_id}),)


def _content(message: Json) -> dict[str, Any]:
    """For people only: what the text alone does not say."""
    kept = {name: scrub(message[name]) for name in _KEPT if name in message}
    if (reply := obj(obj(message.get("interactive")).get("nfm_reply"))) and (answers := _answers(reply)):
        kept["answers"] = scrub(answers)
    if obj(message.get("audio")).get("voice") is True:
        kept["voice"] = True
    context = obj(message.get("context"))
    if context.get("forwarded") is True or context.get("frequently_forwarded") is True:
        kept["forwarded"] = True
    if (replied := key(context.get("id"))) is not None:
        kept["reply_to"] = {"message_id": replied}
    if isinstance(context.get("referred_product"), dict):
        kept["referred_product"] = scrub(context["referred_product"])
    if (group := key(message.get("group_id"))) is not None:
        kept["group_id"] = group
    return kept
