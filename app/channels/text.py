"""One place where text from outside is made fit for storing: no NUL, no lone surrogates, no endless strings."""

import hashlib
import json
import math
import unicodedata
from typing import Any

import orjson

TEXT_LIMIT = 100_000
NAME_LIMIT = 200
KEY_LIMIT = 400
_DEPTH_LIMIT = 20
_DIGITS_LIMIT = 400
# Letters and signs to Unicode, that show nothing: the fillers of Hangul and the empty cell of Braille.
_UNSEEN = frozenset("\u115f\u1160\u3164\uffa0\u2800")


JSONDecodeError = json.JSONDecodeError


def loads(raw: bytes | str) -> Any:
    """JSON as the world writes it: half a surrogate pair (a cut emoji) or NaN in one field must not cost the others.

    Raises JSONDecodeError. Deeply nested garbage is a JSONDecodeError too.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig", "strict") if _is_utf8(raw) else ""
        try:
            return _whole(json.loads(text, parse_constant=lambda _: None, parse_int=_number, parse_float=_fraction))
        except RecursionError:
            raise JSONDecodeError("nested too deeply", text[:20], 0) from None


def _number(digits: str) -> int | None:
    """Python refuses to read numbers of thousands of digits, because that takes long; nobody has any."""
    return int(digits) if len(digits) <= _DIGITS_LIMIT else None


def _fraction(digits: str) -> float | None:
    """1e999 is infinite, and that no database stores as JSON."""
    value = float(digits)
    return value if math.isfinite(value) else None


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(value: Any) -> Any:
    """The same with every string fit for storing."""
    if isinstance(value, str):
        return clean(value, len(value))
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {clean(name, len(name)): _whole(item) for name, item in value.items()}
    return value


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """Postgres takes neither U+0000 nor half a surrogate pair; `limit` counts characters."""
    if len(text) > limit:
        text = text[:limit]
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def blank(text: str) -> bool:
    """Nothing in it is to be seen: spaces of any kind, control characters, joiners, marks without a letter."""
    return all(char in _UNSEEN or unicodedata.category(char)[0] in "ZCM" for char in text)


def word(value: object, limit: int = NAME_LIMIT) -> str | None:
    """A short piece of text on one line: numbers become digits, everything else that is not text is None, as is nothing."""
    if isinstance(value, str):
        return " ".join(clean(value, limit).split()) or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def key(value: object) -> str | None:
    """A provider's identifier, unshortened up to 400 characters; a longer one keeps its start and gets its digest."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    whole = clean(value, len(value)).strip()
    if len(whole) <= KEY_LIMIT:
        return whole or None
    return whole[: KEY_LIMIT - 65] + "~" + hashlib.sha256(whole.encode()).hexdigest()


def scrub(value: Any, depth: int = 0) -> Any:
    """A copy of decoded JSON in which every string and key is clean; what lies deeper than 20 levels is cut off."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return (
            {clean(str(name)): scrub(item, depth + 1) for name, item in value.items()} if depth < _DEPTH_LIMIT else None
        )
    if isinstance(value, list | tuple):
        return [scrub(item, depth + 1) for item in value] if depth < _DEPTH_LIMIT else None
    return value


def file_name(value: object, fallback: str) -> str:
    """The last component of a file's name, without anything that could leave a folder or break a header."""
    name = word(value, 1000) or ""
    name = name.replace("\\", "/").rpartition("/")[2].strip(" .")
    kept = "".join(char for char in name if char.isprintable())
    return kept[-NAME_LIMIT:] or fallback


def media_type(value: object, fallback: str = "application/octet-stream") -> str:
    """`type/subtype` in lower case, without parameters."""
    if not isinstance(value, str):
        return fallback
    bare = value.partition(";")[0].strip().lower()
    main, slash, sub = bare.partition("/")
    good = slash and main and sub and len(bare) <= 127 and bare.isascii() and bare.replace("/", "", 1).isprintable()
    return bare if good and " " not in bare and "/" not in sub else fallback
