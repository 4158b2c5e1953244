"""Long texts in pieces that a provider takes, cut where a reader would: never inside a character that people see."""

import unicodedata
from collections.abc import Callable

Width = Callable[[str], int]

_LOOK_BACK = 64
# Where a piece may end, best first; the second says how much of the mark stays with the piece.
_MARKS = (("\n\n", 0), ("\n", 0), ("。", 1), (" ", 0))


def utf16(char: str) -> int:
    """Units of UTF-16: never fewer than characters, whichever of the two a provider counts."""
    return 2 if char > "\uffff" else 1


def utf8(char: str) -> int:
    """Bytes of UTF-8."""
    return 1 if char < "\x80" else 2 if char < "\u0800" else 3 if char <= "\uffff" else 4


def split_text(text: str, limit: int, width: Width) -> list[str]:
    """Pieces of at most `limit` units (at least 4), without the white space at their ends."""
    text = text.strip()
    parts, start = [], 0
    while start < len(text):
        end = _fitting(text, start, limit, width)
        cut = end if end == len(text) else _good_cut(text, start, end)
        parts.append(text[start:cut].strip())
        start = cut
        while start < len(text) and text[start].isspace() and not _joined(text, start + 1):
            start += 1
    return [part for part in parts if part]


def _fitting(text: str, start: int, limit: int, width: Width) -> int:
    """The end of what fits from `start` on."""
    units = 0
    for at in range(start, len(text)):
        units += width(text[at])
        if units > limit:
            return at
    return len(text)


def _good_cut(text: str, start: int, end: int) -> int:
    half = start + (end - start) // 2
    for mark, kept in _MARKS:
        at = text.rfind(mark, half, end + len(mark) - kept)
        if at > half and not _joined(text, at + len(mark)):
            return at + kept
    for at in range(end, max(start, end - _LOOK_BACK), -1):
        if not _joined(text, at):
            return at
    return end


def _joined(text: str, at: int) -> bool:
    """Whether the character at `at` belongs to the one before it (the common cases of UAX 29)."""
    if not 0 < at < len(text):
        return False
    before, char = text[at - 1], text[at]
    if unicodedata.category(char) in ("Mn", "Me", "Mc") or char in "\u200c\u200d" or before == "\u200d":
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":  # skin tones, flags of regions
        return True
    return (before, char) == ("\r", "\n") or _one_flag(text, at) or _one_syllable(before, char)


def _one_flag(text: str, at: int) -> bool:
    """Regional indicators go in pairs from the first of a row."""
    first = at
    while first > 0 and _is_indicator(text[first - 1]) and at - first < 2 * _LOOK_BACK:
        first -= 1
    return _is_indicator(text[at]) and (at - first) % 2 == 1


def _is_indicator(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _one_syllable(before: str, char: str) -> bool:
    """Conjoining Hangul."""
    if "\u1160" <= char <= "\u11ff" or "\ud7b0" <= char <= "\ud7fb":
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7fb"
    return "\u1100" <= before <= "\u115f" and ("\u1100" <= char <= "\u115f" or "\uac00" <= char <= "\ud7a3")
