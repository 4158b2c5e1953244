"""The parts of a mail: which of them is its text, which are files. Hostile MIME costs bounded time and memory."""

import binascii
import mimetypes
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value

from app.channels import mail_charset, mail_html
from app.channels.base import InboundFile
from app.channels.mail_headers import decode_words
from app.channels.mail_payload import payload_of
from app.channels.text import clean, file_name, media_type

DEPTH_LIMIT = 20
PARTS_LIMIT = 500
FILES_LIMIT = 200
PART_BYTES = 50_000_000
TOTAL_BYTES = 100_000_000

_NOT_BASE64 = bytes(
    byte for byte in range(256) if not (chr(byte).isascii() and chr(byte).isalnum()) and byte not in b"+/="
)
_CALENDAR = ("text/calendar", "application/ics")
_STUB_CHARS = 300
_STUB_WORDS = ("html", "browser", "web version", "online version", "浏览器", "网页")


@dataclass(frozen=True, slots=True)
class Text:
    """`whole` is everything; `own` leaves out what HTML marks as quoted (the same as `whole` for plain text)."""

    whole: str
    own: str


@dataclass(slots=True)
class Parts:
    """What was found. `problems` names, for people, what was left out and why; `pages` are HTML forms of the text."""

    texts: list[Text] = field(default_factory=list)
    files: list[InboundFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    charset: str | None = None
    seen: int = 0
    size: int = 0

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def read(message: Message) -> Parts:
    """Texts in their order and every file. Never fails on a mail that the parser could take apart."""
    parts = Parts(charset=_first_charset(message))
    _walk(message, parts, 0)
    return parts


def _first_charset(message: Message) -> str | None:
    for number, part in enumerate(message.walk()):
        if number >= PARTS_LIMIT:
            break
        if part.get_content_maintype() == "text" and (charset := _charset(part)):
            return charset
    return None


def _walk(part: Message, parts: Parts, depth: int) -> None:
    parts.seen += 1
    if depth > DEPTH_LIMIT or parts.seen > PARTS_LIMIT:
        parts.problem("some parts are nested too deeply or are too many; they were left out")
        return
    kind = part.get_content_type()
    payload = payload_of(part)
    children = [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else None
    if children is not None and kind.startswith("multipart/"):
        if kind == "multipart/alternative":
            _alternative(children, parts, depth)
        else:
            for child in children:
                _walk(child, parts, depth + 1)
    elif children is not None:
        _keep(
            part, _attached(part, children), parts, default="message.eml" if kind == "message/rfc822" else "report.txt"
        )
    elif _is_text(part, kind):
        _add_text(part, kind, parts)
    else:
        _keep(part, _payload(part, parts), parts, default="file")


def _alternative(children: list[Message], parts: Parts, depth: int) -> None:
    """One text in several forms: plain wins unless it only says that there is HTML. Files of every form are kept."""
    found: list[tuple[str, Parts]] = []
    for child in children:
        branch = Parts(seen=parts.seen, size=parts.size, charset=parts.charset, problems=parts.problems)
        _walk(child, branch, depth + 1)
        parts.seen, parts.size, parts.charset = branch.seen, branch.size, branch.charset
        parts.files.extend(file for file in branch.files if not _is_known(file, parts.files))
        parts.pages.extend(branch.pages)
        if any(text.whole.strip() for text in branch.texts):
            found.append((child.get_content_type(), branch))
    plain = next((branch for kind, branch in found if kind == "text/plain"), None)
    rich = next((branch for kind, branch in reversed(found) if kind != "text/plain"), None)
    best = rich if plain is None or (rich is not None and _is_stub(plain, rich)) else plain
    if best is not None:
        parts.texts.extend(best.texts)


def _is_stub(plain: Parts, rich: Parts) -> bool:
    short, long = (" ".join(text.whole for text in branch.texts) for branch in (plain, rich))
    says_so = any(word in short.lower() for word in _STUB_WORDS)
    return says_so and len(short.strip()) <= _STUB_CHARS and len(long) > 3 * len(short)


def _is_text(part: Message, kind: str) -> bool:
    if kind not in ("text/plain", "text/html") and not kind.startswith("multipart/"):
        return False
    return part.get_content_disposition() != "attachment" and _file_name(part) is None


def _add_text(part: Message, kind: str, parts: Parts) -> None:
    """A `multipart` without a boundary comes here as well: it is read as the plain text it looks like."""
    data = _payload(part, parts)
    charset = mail_charset.charset_of(data, _charset(part))
    parts.charset = parts.charset or charset
    text = mail_charset.decode(data, charset)
    if kind == "text/html":
        parts.texts.append(Text(*(clean(form, len(form)) for form in mail_html.to_text(text))))
        parts.pages.append(text)
    else:
        text = clean(text, len(text))
        parts.texts.append(Text(text, text))


def _keep(part: Message, data: bytes, parts: Parts, *, default: str) -> None:
    if len(parts.files) >= FILES_LIMIT:
        parts.problem(f"more than {FILES_LIMIT} files; the others were left out")
        return
    kind = media_type(part.get_content_type())
    name = _file_name(part) or _made_up(kind, default, len(parts.files) + 1)
    content_id = str(part.get("content-id") or "").strip().strip("<>")
    file = InboundFile(
        name=file_name(name, default), media_type=kind, data=data, content_id=clean(content_id, 300) or None
    )
    if not _is_known(file, parts.files):
        parts.files.append(file)


def _is_known(file: InboundFile, files: list[InboundFile]) -> bool:
    """An invitation comes twice, as a part and as a file: it is shown once."""
    if file.media_type not in _CALENDAR:
        return False
    return any(other.media_type in _CALENDAR and other.data.split() == file.data.split() for other in files)


def _payload(part: Message, parts: Parts) -> bytes:
    data = _decoded(part)
    room = min(PART_BYTES, TOTAL_BYTES - parts.size)
    if len(data) > room:
        parts.problem("a part is too large; it was cut")
        data = data[: max(room, 0)]
    parts.size += len(data)
    return data


def _decoded(part: Message) -> bytes:
    encoding = str(part.get("content-transfer-encoding") or "").strip().lower()
    if encoding == "base64":
        return _from_base64(str(payload_of(part)).encode("ascii", "ignore"))
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError, TypeError):
        data = str(payload_of(part)).encode(errors="surrogateescape")
    return data if isinstance(data, bytes) else b""


def _from_base64(encoded: bytes) -> bytes:
    """All that can be read: stray characters, missing padding, one character too many, several pieces in a row."""
    pieces = []
    for piece in encoded.translate(None, delete=_NOT_BASE64).split(b"="):
        whole = piece[: len(piece) - 1] if len(piece) % 4 == 1 else piece
        pieces.append(binascii.a2b_base64(whole + b"=" * (-len(whole) % 4)))
    return b"".join(pieces)


def _attached(part: Message, children: list[Message]) -> bytes:
    """An attached mail may not be encoded, and is all the same."""
    data = _joined(children)
    encoding = str(part.get("content-transfer-encoding") or "").strip().lower()
    return _from_base64(data) if encoding == "base64" and part.get_content_type() == "message/rfc822" else data


def _joined(children: list[Message]) -> bytes:
    """An attached message, or the blocks of a delivery report, as bytes again."""
    pieces = []
    for child in children:
        try:
            pieces.append(child.as_bytes())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pieces.append(str(payload_of(child)).encode(errors="replace"))
    return b"\n".join(pieces)


def _parameter(part: Message, name: str, header: str) -> str | None:
    try:
        value = part.get_param(name, header=header)
        return None if value is None else collapse_rfc2231_value(value)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _charset(part: Message) -> str | None:
    value = _parameter(part, "charset", "content-type")
    return value.partition("*")[0] if value else None


def _file_name(part: Message) -> str | None:
    value = _parameter(part, "filename", "content-disposition") or _parameter(part, "name", "content-type")
    return decode_words(value.strip()) or None if value and value.strip() else None


def _made_up(kind: str, default: str, number: int) -> str:
    if "." in default:
        return default
    return f"{kind.partition('/')[0]}-{number}{mimetypes.guess_extension(kind) or ''}"
