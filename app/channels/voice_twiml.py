"""TwiML, written by hand so that nothing that a caller or an operator typed can leave its place."""

from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def _fit(text: str) -> str:
    """XML 1.0 has no place for control characters and half surrogates."""
    return "".join(
        char
        for char in text
        if char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"
    )


def verb(name: str, *inside: str, text: str = "", **attributes: object) -> str:
    """An element; attributes that are None are left out, booleans are `true` and `false`."""
    given = "".join(
        f" {key.rstrip('_')}={quoteattr(_fit(_word(value)))}" for key, value in attributes.items() if value is not None
    )
    body = escape(_fit(text)) + "".join(inside)
    return f"<{name}{given}>{body}</{name}>" if body else f"<{name}{given}/>"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def response(*verbs: str) -> bytes:
    return (_HEAD + verb("Response", *verbs)).encode()


def say(text: str, *, tag: str | None, voice: str | None) -> str:
    return verb("Say", text=text, language=tag, voice=voice)


def with_query(url: str, query: Mapping[str, str]) -> str:
    """`url` has none of its own, and the values are ours: words, numbers, UUIDs."""
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in query.items())}" if query else url
