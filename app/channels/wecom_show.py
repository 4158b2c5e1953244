"""What an agent sees of WeCom's kinds of messages, in words."""

from collections.abc import Callable, Mapping
from typing import Any

from app.channels.text import JSONDecodeError, clean, loads, word

Json = Mapping[str, Any]

_TEXT = 10_000
_ITEMS = 100


def show(kind: str, body: Json) -> str | None:
    """Empty when there is nothing to see; None for kinds that we do not know. `merged_msg` holds others, one level deep."""
    return _text(_merged(body)) if kind == "merged_msg" else _one(kind, body)


def _one(kind: str, body: Json) -> str | None:
    known = _SHOWN.get(kind)
    return _text(known(body)) if known else None


def _text(text: str) -> str:
    return clean(text, _TEXT)


def _merged(body: Json) -> str:
    """A forwarded chat: each line with who said it. The content of each is JSON in a string."""
    items = body.get("item")
    lines = [word(body.get("title"), 500) or ""]
    for item in items[:_ITEMS] if isinstance(items, list) else ():
        if isinstance(item, dict):
            lines.append(f"{word(item.get('sender_name')) or '?'}: {_inner(item)}")
    return "\n".join(lines).strip()


def _inner(item: Json) -> str:
    kind, said = word(item.get("msgtype"), 100) or "?", item.get("msg_content")
    try:
        content = loads(said) if isinstance(said, str) else None
    except JSONDecodeError:
        content = None
    body = content.get(kind) if isinstance(content, dict) else None
    return (_one(kind, body) if isinstance(body, dict) else None) or f"[{kind}]"


def _lines(*names: str) -> Callable[[Json], str]:
    return lambda body: "\n".join(part for name in names if (part := word(body.get(name), 2000)))


def _bracketed(what: str, *names: str) -> Callable[[Json], str]:
    return lambda body: " ".join([f"[{what}]", *(part for name in names if (part := word(body.get(name), 1000)))])


def _without_media(what: str) -> Callable[[Json], str]:
    """Files speak for themselves; without one the agent learns that there was something."""
    return lambda body: "" if body.get("media_id") else f"[{what}]"


def _location(body: Json) -> str:
    place = ", ".join(part for name in ("name", "address") if (part := word(body.get(name), 500)))
    latitude, longitude = word(body.get("latitude")), word(body.get("longitude"))
    if latitude is None or longitude is None:
        return place
    return f"📍 {place} ({latitude}, {longitude})" if place else f"📍 {latitude}, {longitude}"


def _menu(body: Json) -> str:
    """What a servicer offered to press."""
    rows = body.get("list")
    choices = []
    for row in rows[:_ITEMS] if isinstance(rows, list) else ():
        inner = row.get(row.get("type")) if isinstance(row, dict) and isinstance(row.get("type"), str) else None
        if isinstance(inner, dict) and (said := word(inner.get("content"), 500)):
            choices.append(f"- {said}")
    head, tail = word(body.get("head_content"), 2000), word(body.get("tail_content"), 2000)
    return "\n".join(part for part in (head, *choices, tail) if part)


_SHOWN: dict[str, Callable[[Json], str]] = {
    "text": lambda body: body["content"] if isinstance(body.get("content"), str) else "",
    "image": _without_media("image"),
    "voice": _without_media("voice"),
    "video": _without_media("video"),
    "file": _without_media("file"),
    "location": _location,
    "link": _lines("title", "desc", "url"),
    "business_card": _bracketed("business card", "userid"),
    "miniprogram": _bracketed("mini program", "title"),
    "msgmenu": _menu,
    "channels": _bracketed("channels", "nickname", "title"),
    "channels_shop_product": _bracketed("product", "title", "shop_nickname", "product_id"),
    "channels_shop_order": _bracketed("order", "order_id", "product_titles", "price_wording", "state"),
    "note": _bracketed("note"),
    "meeting": _bracketed("meeting"),
    "schedule": _bracketed("schedule"),
}
