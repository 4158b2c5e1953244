"""The new words of a mail: its text without what it quotes and without its signature (pure; nothing is lost, the caller
keeps the whole).

Works on lines, each looked at a bounded number of times with patterns that cannot backtrack far.
"""

import re
from collections.abc import Sequence

from app.channels import mail_quotes, mail_signed

_SIGNATURE_LINES = 30
_TORN_FROM = 60
_DELIMITER = re.compile(r"^(?:--|- --|_{2,})$")
_RULE = re.compile(r"^[>*\s]*[-_=—–]{3,}[*\s]*$")
_SENT_FROM = re.compile(
    r"""^[\s<(>*_]*(?:
        (?:sent|send)\s(?:from|via|with|by|using)\b
      | from\smy\s
      | .{0,40}\bfrom\smobile\b
      | get\s\[?outlook\b
      | envoy[ée]\s(?:depuis|de|à\spartir)\b
      | von\smeinem\b.{0,60}\bgesendet\b
      | gesendet\s(?:von|mit)\b
      | diese\snachricht\swurde\svon\smeinem\b
      | verzonden\s(?:met|vanaf|van)\b
      | enviado\s(?:desde|do|de)\b
      | inviato\s(?:da|dal|con)\b
      | skickat\sfrån\b
      | sendt\sfra\b
      | wysłan[eo]\sz\b
      | отправлено\s(?:с|из)\b
      | (?:发自|發自|来自)我的
      | 從我的.{0,40}傳送
      | .{0,40}から送信
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def visible(text: str, *, name: str | None = None, email: str | None = None) -> str:
    """What the sender has written now. A mail that is nothing but quotes or a signature stays as it is.

    By `name` and `email`, the sender's, a signature is known that has no mark above it.
    """
    return unsigned(without_signature(without_quotes(text)), name=name, email=email)[0]


def unsigned(text: str, *, name: str | None, email: str | None) -> tuple[str, str]:
    """`(the text, the signature)`: where the sender's own name begins one."""
    lines = _lines(text)
    place = mail_signed.start(lines, name=name, email=email)
    return (text, "") if place is None else (_joined(lines[:place]), _joined(lines[place:]))


def without_quotes(text: str) -> str:
    lines = _lines(text)
    return _joined(_unquoted(_mended(lines))) or _joined(lines)


def without_signature(text: str) -> str:
    lines = _lines(text)
    return _joined(_unsigned(lines)) or _joined(lines)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _joined(lines: Sequence[str]) -> str:
    first, last = 0, len(lines)
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    return "\n".join(lines[first:last])


def _mended(lines: list[str]) -> list[str]:
    """A quoted line that was too long is sometimes torn, and its second half stands there without a mark."""
    whole: list[str] = []
    for line in lines:
        torn = bool(whole) and len(whole[-1]) >= _TORN_FROM and line[:1].islower() and mail_quotes.is_quoted(whole[-1])
        whole.append("> " + line if torn else line)
    return whole


def _unquoted(lines: list[str]) -> list[str]:
    found = mail_quotes.first_quote(lines)
    if found is None:
        return _without_trailing_quotes(lines)
    before, after = lines[: found.start], lines[found.end :]
    written = _any_text(_unsigned(_without_rules(before)))
    if found.kind == "attribution":
        beneath = _beneath(after)
        if beneath is not None and _any_text(_unsigned(beneath)):
            # Answers between or under the quoted lines: those lines are what they answer, so they stay.
            return _without_trailing_quotes([*before, *after] if written or _has_quote(beneath) else beneath)
        if not written and not mail_quotes.is_quoted(next((line for line in after if line), ">")):
            return after
    return _without_trailing_quotes(_without_rules(before)) if written else lines


def _beneath(after: list[str]) -> list[str] | None:
    """What follows the first block of quoted lines, or None when there is no such block."""
    place = 0
    while place < len(after) and (not after[place] or mail_quotes.is_quoted(after[place])):
        place += 1
    quoted = any(mail_quotes.is_quoted(line) for line in after[:place])
    return after[place:] if quoted else None


def _has_quote(lines: list[str]) -> bool:
    return any(mail_quotes.is_quoted(line) for line in lines)


def _any_text(lines: Sequence[str]) -> bool:
    return any(line and not mail_quotes.is_quoted(line) for line in lines)


def _without_trailing_quotes(lines: list[str]) -> list[str]:
    """Quoted lines at the very end, under something that was written, go; a signature below them goes with them."""
    end = len(_unsigned(lines))
    while end and (not lines[end - 1] or mail_quotes.is_quoted(lines[end - 1])):
        end -= 1
    quoted = _has_quote(lines[end:])
    return lines[:end] if quoted and _any_text(lines[:end]) else lines


def _without_rules(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and (not lines[end - 1] or _RULE.match(lines[end - 1])):
        end -= 1
    return lines[:end]


def _unsigned(lines: list[str]) -> list[str]:
    """Up to the first signature delimiter that ends the mail, and without closing lines such as `Sent from my iPhone`."""
    end = len(lines)
    for place, line in enumerate(lines):
        if place and _DELIMITER.match(line.lstrip("> ")) and len(lines) - place <= _SIGNATURE_LINES:
            end = place
            break
    while end and (not lines[end - 1] or (len(lines[end - 1]) <= 160 and _SENT_FROM.match(lines[end - 1]))):
        end -= 1
    return lines[:end]
