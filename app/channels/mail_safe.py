"""HTML of a mail made safe to show: rebuilt from a list of what is allowed, in one pass, nothing of the source copied.

Whatever a browser would make of the source, it only gets to read what is written here: known tags, known attributes, values
of a checked form, all text escaped. Pictures come from the mail itself or not at all; nothing is fetched from anywhere.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from app.channels.base import InboundFile
from app.channels.mail_html import element_end, tag_end
from app.channels.text import clean

SOURCE_LIMIT = 1_000_000
IMAGES_LIMIT = 10_000_000
_DEPTH_LIMIT = 100
_TAGS_LIMIT = 50_000
_ATTRIBUTES_LIMIT = 4_000
CSP = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

# With all that is inside; the rest of what is not known loses its tags only.
_DROPPED = ("script", "style", "title", "template", "svg", "math", "object", "noframes", "noscript", "iframe", "frame", "frameset", "applet", "audio", "video", "canvas", "select", "textarea", "xmp", "noembed", "plaintext", "listing")  # fmt: skip
_ALLOWED = frozenset({"a", "abbr", "address", "b", "big", "blockquote", "caption", "center", "cite", "code", "col", "colgroup", "dd", "del", "div", "dl", "dt", "em", "font", "h1", "h2", "h3", "h4", "h5", "h6", "i", "ins", "kbd", "li", "ol", "p", "pre", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul"})  # fmt: skip
_EMPTY = frozenset({"br", "hr", "img", "col"})
_NUMBERS = frozenset({"width", "height", "border", "cellpadding", "cellspacing", "colspan", "rowspan", "size", "hspace", "vspace", "start"})  # fmt: skip
_WORDS = frozenset({"align", "valign", "dir", "lang", "bgcolor", "color", "face", "type", "nowrap"})
_TEXTS = frozenset({"alt", "title"})
_PROPERTY = re.compile(
    r"(?:color|background-color|font(?:-family|-size|-style|-weight|-variant)?|text-(?:align|decoration|indent|transform)|line-height|letter-spacing|word-spacing|vertical-align|white-space"
    r"|direction|width|max-width|min-width|height|(?:margin|padding)(?:-(?:top|right|bottom|left))?|border(?:-(?:top|right|bottom|left))?(?:-(?:color|style|width))?|border-(?:collapse|spacing|radius)"
    r"|list-style(?:-type)?|table-layout|word-(?:break|wrap)|overflow-wrap)"
)
_VALUE = re.compile(r"[-\w\s#%.,'!]{1,200}|rgba?\([\d\s.,%]{1,60}\)")
_NUMBER = re.compile(r"-?\d{1,5}(?:\.\d{1,3})?%?")
_WORD = re.compile(r"[-\w#, ]{1,60}")
_TAG = re.compile(r"(/?)([a-zA-Z][a-zA-Z0-9:_-]{0,40})")
_ATTRIBUTE = re.compile(
    r"([a-zA-Z_:][-\w:.]{0,60})\s{0,20}=\s{0,20}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>`]+))|(?<![\w\"'=])([a-zA-Z]{1,20})(?=\s|$)"
)
_LINK = re.compile(r"(?:https?://|mailto:|tel:)[^\s\"'<>\\`]{1,2000}", re.IGNORECASE)
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_REMOTE_STYLE = re.compile(r"url\s{0,5}\(|@import|expression\s{0,5}\(", re.IGNORECASE)


@dataclass(slots=True)
class Safe:
    """`html` is a whole page. `remote` counts pictures and backgrounds that lie elsewhere and were left out; `active` what
    could have run or asked for something (scripts, forms, handlers, frames)."""

    html: str
    remote: int
    active: int


@dataclass(slots=True)
class _Page:
    images: Mapping[str, InboundFile]
    out: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    remote: int = 0
    active: int = 0
    tags: int = 0
    room: int = IMAGES_LIMIT


def sanitise(source: str, images: Mapping[str, InboundFile]) -> Safe:
    """`images` are the mail's own files by their Content-ID. Takes time in proportion to the source, which is cut at 1 MB."""
    source = clean(source, SOURCE_LIMIT)
    page, place, unclosed = _Page(images), 0, set[str]()
    while place < len(source):
        opened = source.find("<", place)
        if opened < 0 or page.tags >= _TAGS_LIMIT:
            break
        _write(page, source[place:opened])
        place = _element(source, opened, page, unclosed)
    if page.tags < _TAGS_LIMIT:
        _write(page, source[place:])
    while page.open:
        page.out.append(f"</{page.open.pop()}>")
    body = "".join(page.out)
    head = '<meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    return Safe(f"<!DOCTYPE html>\n<html><head>{head}</head><body>{body}</body></html>\n", page.remote, page.active)


def _write(page: _Page, text: str) -> None:
    if text:
        page.out.append(html.escape(html.unescape(text)))


def _element(source: str, opened: int, page: _Page, unclosed: set[str]) -> int:
    """Handle what starts at `<`; returns where to go on."""
    if source.startswith("<!--", opened):
        end = -1 if "-->" in unclosed else source.find("-->", opened + 4)
        if end >= 0:
            return end + 3
        unclosed.add("-->")
        return opened + 4
    tag = _TAG.match(source, opened + 1)
    declared = source[opened + 1 : opened + 2] in ("!", "?", "/")
    end = -1 if ">" in unclosed or not (tag or declared) else tag_end(source, opened + 1)
    if end < 0:
        if tag or declared:
            unclosed.add(">")
        page.out.append("&lt;")
        return opened + 1
    if tag is None:
        return end + 1
    closing, name = bool(tag[1]), tag[2].lower()
    page.tags += 1
    if name in _DROPPED:
        page.active += not closing and name not in ("style", "title")
        return end + 1 if closing else element_end(source, name, end + 1, unclosed)
    if closing:
        _close(page, name)
    else:
        _open(page, name, source[tag.end() : min(end, tag.end() + _ATTRIBUTES_LIMIT)])
    return end + 1


def _open(page: _Page, name: str, source: str) -> None:
    attributes = _attributes(source) if source.strip(" /") else {}
    page.active += sum(each.startswith("on") for each in attributes)
    if "background" in attributes or _REMOTE_STYLE.search(attributes.get("style", "")[:_ATTRIBUTES_LIMIT]):
        page.remote += 1
    if name == "img":
        _image(page, attributes)
        return
    if name in (
        "form",
        "input",
        "button",
        "embed",
        "link",
        "base",
        "meta",
        "source",
        "track",
        "param",
        "portal",
        "dialog",
    ):
        page.active += 1
        page.remote += name in ("link", "source", "embed")
        return
    if name not in _ALLOWED and name not in _EMPTY:
        return
    if name not in _EMPTY:
        if len(page.open) >= _DEPTH_LIMIT:
            return
        page.open.append(name)
    page.out.append(f"<{name}{_shown(name, attributes)}>")


def _close(page: _Page, name: str) -> None:
    """Close the nearest open element of that name and what was left open inside it."""
    if name not in _ALLOWED or name not in page.open:
        return
    while page.open:
        inner = page.open.pop()
        page.out.append(f"</{inner}>")
        if inner == name:
            return


def _attributes(source: str) -> dict[str, str]:
    """The first of a name counts, as in browsers."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(source):
        name = (match[1] or match[5]).lower()
        found.setdefault(name, html.unescape(match[2] or match[3] or match[4] or ""))
    return found


def _shown(name: str, attributes: Mapping[str, str]) -> str:
    kept: list[str] = []
    for key, value in attributes.items():
        value = "".join(char for char in clean(value, 4_000) if char.isprintable()).strip()
        if (
            (key in _NUMBERS and _NUMBER.fullmatch(value))
            or (key in _WORDS and _WORD.fullmatch(value))
            or (key in _TEXTS and value)
        ):
            kept.append(f' {key}="{html.escape(value[:500])}"')
        elif key == "style" and (style := _style(value)):
            kept.append(f' style="{html.escape(style)}"')
    if name == "a":
        target = "".join(char for char in attributes.get("href", "") if char.isprintable()).strip()
        if _LINK.fullmatch(target):
            kept.append(f' href="{html.escape(target)}" rel="noopener noreferrer nofollow" target="_blank"')
    return "".join(kept)


def _style(value: str) -> str:
    """Looks only: nothing that fetches, moves over something else, or hides."""
    kept = []
    for part in value.split(";")[:60]:
        name, _, given = part.partition(":")
        name, given = name.strip().lower(), given.strip()
        if _PROPERTY.fullmatch(name) and _VALUE.fullmatch(given):
            kept.append(f"{name}:{given}")
    return ";".join(kept)


def _image(page: _Page, attributes: Mapping[str, str]) -> None:
    source = attributes.get("src", "").strip()
    file = page.images.get(unquote(source[4:]).strip("<> ")) if source[:4].lower() == "cid:" else None
    alt = _shown("img", {key: value for key, value in attributes.items() if key != "style"})
    if file is not None and file.media_type in _IMAGES and len(file.data) <= page.room:
        page.room -= len(file.data)
        page.out.append(f'<img src="data:{file.media_type};base64,{b64encode(file.data).decode()}"{alt}>')
        return
    if source[:5].lower() != "data:" and source[:4].lower() != "cid:" and (source or "srcset" in attributes):
        page.remote += 1
    label = attributes.get("alt", "").strip()
    if label:
        page.out.append(f"<span>[{html.escape(clean(label, 200))}]</span>")
