"""Header fields of a mail, read from what senders really write: raw 8-bit, broken words, loose address lists."""

import binascii
import quopri
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from app.channels import mail_charset
from app.channels.text import clean, key

HEADER_LIMIT = 100_000
HEADERS_LIMIT = 1_000

_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
_ID = re.compile(r"<([^<>]{1,998})>")
_BARE_ID = re.compile(r"[^\s<>,;\"]{1,400}@[^\s<>,;\"]{1,400}")
_ADDRESS = re.compile(r"[^\s<>,;:()\[\]\\\"@]{1,128}@[^\s<>,;:()\[\]\\\"@]{1,255}")
_QUOTED_LOCAL = re.compile(r"\"[^\"\\\r\n]{1,128}\"@[^\s<>,;:()\[\]\\\"@]{1,255}")
_GROUP = re.compile(r"^[^\"<>:,;@]*:")
_ITEM_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`address` is lower case. Only it can be trusted to be what it looks like; the name is the sender's own claim."""

    address: str
    name: str | None = None

    @property
    def local(self) -> str:
        return self.address.rpartition("@")[0]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class Headers:
    """The fields of one mail by lower-case name, unfolded, in their order; the first of a name counts.

    `cut`: there were more, or longer ones, than are read.
    """

    def __init__(self, message: Message) -> None:
        self._fields: dict[str, list[str]] = {}
        self.cut = False
        for number, (name, value) in enumerate(message.raw_items()):
            if number >= HEADERS_LIMIT:
                self.cut = True
                break
            self.cut = self.cut or len(str(value)) > HEADER_LIMIT
            text = re.sub(r"[\r\n]+[ \t]*", " ", str(value)[:HEADER_LIMIT])
            self._fields.setdefault(name.lower().strip(), []).append(text.strip())

    def raw(self, name: str) -> str | None:
        values = self._fields.get(name)
        return values[0] if values else None

    def all(self, name: str) -> Sequence[str]:
        return self._fields.get(name, ())

    def has(self, *names: str) -> bool:
        return any(name in self._fields for name in names)

    def repeated(self, *names: str) -> list[str]:
        """Those that stand there more than once."""
        return [name for name in names if len(self._fields.get(name, ())) > 1]

    def text(self, name: str, *, charset: str | None = None) -> str | None:
        """Decoded, clean; `charset` is the body's, for raw 8-bit fields that are not UTF-8."""
        value = self.raw(name)
        return None if value is None else decode_words(value, charset)

    def mailboxes(self, *names: str, charset: str | None = None) -> list[Mailbox]:
        return [found for name in names for value in self.all(name) for found in mailboxes(value, charset)]

    def ids(self, name: str) -> list[str]:
        """Message-IDs with their angle brackets, in order; several to a field and missing brackets happen."""
        value = self.raw(name)
        return message_ids(decode_words(value)) if value else []

    def date(self) -> datetime | None:
        value = self.raw("date")
        if not value:
            return None
        try:
            moment = parsedate_to_datetime(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None


def decode_words(value: str, charset: str | None = None) -> str:
    """RFC 2047 words to text. Neighbouring words of one charset are decoded together: a character may be split."""
    out: list[str] = []
    pending, pending_charset, end = b"", "", 0
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        name = word[1].partition("*")[0].lower()
        joined = bool(pending) and not between.strip() and name == pending_charset
        if not joined:
            if pending:
                out.append(mail_charset.decode(pending, pending_charset))
            if between.strip() or not pending:
                out.append(_eight_bit(between, charset))
            pending = b""
        pending, pending_charset, end = pending + _word_bytes(word[2], word[3]), name, word.end()
    if pending:
        out.append(mail_charset.decode(pending, pending_charset))
    out.append(_eight_bit(value[end:], charset))
    return clean("".join(out), HEADER_LIMIT)


def _word_bytes(encoding: str, encoded: str) -> bytes:
    raw = encoded.encode("ascii", "surrogateescape")
    if encoding in "qQ":
        return quopri.decodestring(raw, header=True)
    try:
        return b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return raw


def _eight_bit(value: str, charset: str | None) -> str:
    """The parser keeps bytes above 127 as lone surrogates; here they become text."""
    if value.isascii():
        return value
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return mail_charset.decode(raw, charset)


def message_ids(value: str) -> list[str]:
    found = ["".join(inner.split()) for inner in _ID.findall(value)] or _BARE_ID.findall(value)
    return [known for inner in found if inner and (known := key(f"<{inner}>"))]


def mailboxes(value: str, charset: str | None = None) -> list[Mailbox]:
    """Every usable address of a list; comments, groups and whatever cannot be an address are left out."""
    return [found for item in _items(value) if len(item) <= _ITEM_LIMIT and (found := _mailbox(item, charset))]


def _items(value: str) -> Iterator[str]:
    """Cut at commas and semicolons that are not inside quotes, comments or angle brackets."""
    start = depth = 0
    quoted = angled = escaped = False
    for place, char in enumerate(value):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"' and not depth:
            quoted = not quoted
        elif quoted:
            continue
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(0, depth - 1)
        elif depth:
            continue
        elif char in "<>":
            angled = char == "<"
        elif char in ",;" and not angled:
            yield value[start:place]
            start = place + 1
    yield value[start:]


def _mailbox(item: str, charset: str | None) -> Mailbox | None:
    opened = item.rfind("<")
    closed = item.find(">", opened)
    if opened >= 0 and closed > opened:
        address, name = _address(item[opened + 1 : closed]), item[:opened]
        if address is None:
            return None
    else:
        address, name = _address(item), _comment(item)
    if address is None:
        return None
    name = _GROUP.sub("", name)
    shown = decode_words(re.sub(r"\\(.)", r"\1", name.strip().strip('"')), charset).strip().strip("\"'").strip()
    return Mailbox(address, " ".join(shown.split())[:200] or None)


def _comment(item: str) -> str:
    opened, closed = item.find("("), item.rfind(")")
    return item[opened + 1 : closed] if 0 <= opened < closed else ""


def _address(value: str) -> str | None:
    found = _QUOTED_LOCAL.search(value) or _ADDRESS.search(_without_comments(value))
    if found is None:
        return None
    address = clean(_eight_bit(found[0], None), 320).lower().rstrip(".")
    return address if address.isprintable() and "@" in address and "\ufffd" not in address else None


def _without_comments(value: str) -> str:
    if "(" not in value:
        return value
    kept, depth = [], 0
    for char in value:
        if char == "(":
            depth += 1
        elif char == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(char)
    return "".join(kept)


def reply_tokens(recipients: Iterable[str], *, local: str, domain: str) -> list[str]:
    """The part after the plus sign of our own address, or of `reply+...` at our domain; lower case, each once."""
    tokens: dict[str, None] = {}
    for address in recipients:
        name, _, where = address.strip().strip("<>").lower().rpartition("@")
        base, plus, token = name.partition("+")
        if plus and token and where == domain and base in (local.partition("+")[0], "reply"):
            tokens[token] = None
    return list(tokens)
