"""Signatures without a mark above them: found by the sender's own name near the end of what they wrote. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LAST_LINES = 12
_LINE_CHARS = 80
_NAME_CHARS = 60
_WORDS = re.compile(r"[^\W\d_]+")
_CLOSING = re.compile(
    r"^[\s>*]{0,5}(?:(?:many\s|with\s)?(?:thanks|thank\syou|thx|cheers|kind|best|warm(?:est)?|regards|sincerely|yours|respectfully|love|cordially|greetings|take\scare)\b.{0,30}"
    r"|(?:mit\s)?(?:freundlichen?|beste[nr]?|viele|liebe|schöne)\s(?:grü(?:ß|ss)en?)|mfg|vg|lg|danke\b.{0,20}|cordialement|bien\s(?:cordialement|à\svous)|merci\b.{0,20}|saludos.{0,20}|gracias.{0,20}"
    r"|atentamente|cordiali\ssaluti|grazie.{0,20}|atenciosamente|obrigad[oa].{0,20}|met\svriendelijke\sgroet(?:en)?|groet(?:jes|en)?|med\svänlig\shälsning|mvh|hilsen|pozdrawiam|с\sуважением|спасибо.{0,20}"
    r"|谢谢.{0,10}|多谢.{0,10}|此致|敬礼|祝好|顺祝商祺|敬上|よろしくお願い.{0,20}|以上|감사합니다)[\s,.!，。！:：]{0,5}$",
    re.IGNORECASE,
)  # fmt: skip


def start(lines: Sequence[str], *, name: str | None, email: str | None) -> int | None:
    """The line with which the signature begins; None when there is none, or nothing would be left above it."""
    names = {word.casefold() for word in _WORDS.findall((name or "")[:200])}
    names |= {word.casefold() for word in _WORDS.findall((email or "").partition("@")[0][:64]) if len(word) > 2}
    if not names:
        return None
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    for place in range(max(1, end - _LAST_LINES), end):
        rest = lines[place:end]
        if any(len(line) > _LINE_CHARS for line in rest):
            continue
        if _is_name(lines[place], names, certain=any((email or "\n") in line.casefold() for line in rest[1:])):
            return _with_closing(lines, place)
    return None


def _is_name(line: str, names: set[str], *, certain: bool) -> bool:
    """All its words are the sender's names or initials; with their address below it, one of them is enough."""
    words = [word.casefold() for word in _WORDS.findall(line)] if len(line) <= _NAME_CHARS else []
    if not words or not names & set(words) or line.rstrip().endswith((":", "：", "?", "？")):
        return False
    own = [word in names or len(word) == 1 for word in words]
    return all(own) or (certain and len(words) <= 6)


def _with_closing(lines: Sequence[str], place: int) -> int | None:
    above = place - 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    if above >= 0 and lines[above].rstrip().endswith((":", "：")):
        return None  # what follows was asked for, or announced
    if above >= 0 and len(lines[above]) <= _LINE_CHARS and _CLOSING.match(lines[above]):
        place = above
    return place if any(line.strip() for line in lines[:place]) else None
