"""One mail, from raw bytes to a message (a pure function: run it in a thread, it may take a while)."""

import hashlib
import re
from collections.abc import Sequence
from email import policy
from email.message import Message
from email.parser import BytesParser
from typing import Any

from app.channels import mail_headers, mail_parts, mail_text
from app.channels.base import InboundMessage, Sender, Threading, Unparseable
from app.channels.mail_headers import Headers, Mailbox
from app.channels.text import TEXT_LIMIT, clean, word

RAW_LIMIT = 50_000_000
HEADER_BLOCK_LIMIT = 256_000
BOUNDARIES_LIMIT = 1_000
COMPARISONS_LIMIT = 40_000_000
FULL_TEXT_LIMIT = 400_000
_REFERENCES_LIMIT = 100
_RECIPIENTS_LIMIT = 50

_AUTOMATIC_FIELDS = (
    "list-id",
    "list-unsubscribe",
    "list-post",
    "x-autoreply",
    "x-autorespond",
    "x-autoresponder",
    "x-failed-recipients",
)
_BULK = ("bulk", "junk", "list", "auto_reply", "auto-reply")
_SUPPRESS = frozenset({"all", "autoreply", "oof", "dr", "rn", "nrn"})
_MENDED_LINES = 10
_BOUNDARY = re.compile(rb"boundary", re.IGNORECASE)
_FIELD_NAME = re.compile(rb"[!-9;-~]{1,100}:")
_FIELD_LINE = re.compile(rb"[!-9;-~]{1,100}:|[ \t]")
_SPACED_NAME = re.compile(rb"^([A-Za-z-]{1,60})[ \t]{1,20}:")
_MACHINE = re.compile(r"(?:mailer-daemon|postmaster|no[-_.]?reply|do[-_.]?not[-_.]?reply|bounces?)(?:[+=_.-].*)?$")
_NO_REPLY = re.compile(r"(?:no|do[-_.]?not)[-_.]?reply")


def parse_mail(
    raw: bytes, *, address: str, recipients: Sequence[str] = (), envelope_from: str | None = None
) -> InboundMessage:
    """`address` is our channel's; `recipients` and `envelope_from` are the SMTP envelope's, where one is known.

    `external_id` is the Message-ID with a digest of the bytes: two mails under one id are two messages, one mail
    delivered twice is one. Raises Unparseable.
    """
    message = _parsed(raw)
    parts = mail_parts.read(message)
    headers = Headers(message)
    local, _, domain = address.lower().rpartition("@")
    own_id = next(iter(headers.ids("message-id")), None)
    digest = hashlib.sha256(raw).hexdigest()
    sender = _sender(headers, parts.charset, envelope_from)
    why = _automatic(headers, message, sender.value, envelope_from=envelope_from, address=address.lower())
    text, full = _texts(parts)
    return InboundMessage(
        external_id=f"{own_id}:{digest[:16]}" if own_id else digest,
        sender=sender,
        text=text,
        subject=word(headers.text("subject", charset=parts.charset), 1000),
        sent_at=headers.date(),
        files=tuple(parts.files),
        content=_content(headers, parts, text=text, full=full, why=why),
        thread_key=own_id,
        threading=Threading(
            reply_tokens=mail_headers.reply_tokens(_recipients(headers, recipients), local=local, domain=domain),
            references=_references(headers),
        ),
        automatic=why is not None,
    )


def _parsed(raw: bytes) -> Message:
    """The standard parser, kept from what would make it slow or deep."""
    if len(raw) > RAW_LIMIT:
        raise Unparseable(f"the mail has more than {RAW_LIMIT} bytes")
    block = re.search(rb"\r?\n\r?\n|\r\r", raw)
    if (block.start() if block else len(raw)) > HEADER_BLOCK_LIMIT:
        raise Unparseable(f"the header has more than {HEADER_BLOCK_LIMIT} bytes")
    boundaries = len(_BOUNDARY.findall(raw))
    # The parser compares every line with every boundary that is open: nested ones multiply.
    if boundaries > BOUNDARIES_LIMIT or boundaries * raw.count(b"\n") > COMPARISONS_LIMIT:
        raise Unparseable(f"the mail has too many multipart boundaries ({boundaries})")
    try:
        return BytesParser(policy=policy.compat32).parsebytes(_mended(raw, block.start() if block else len(raw)))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unparseable(f"the mail cannot be parsed: {type(error).__name__}") from error


def _mended(raw: bytes, end: int) -> bytes:
    """The parser takes the first line that is no field for the start of the body, and loses every field after it. A few
    such lines between good ones are repaired (`From  : x`) or left out; a mail without any field stays as it is."""
    lines = raw[:end].splitlines(keepends=True)
    wrong = [
        place for place, line in enumerate(lines) if not _FIELD_LINE.match(line) or (not place and line[:1] in b" \t")
    ]
    last_good = max(
        (place for place, line in enumerate(lines) if _FIELD_NAME.match(line) or _SPACED_NAME.match(line)), default=-1
    )
    wrong = [place for place in wrong if place <= last_good]
    if not wrong or len(wrong) > _MENDED_LINES or lines[0].startswith(b"From "):
        return raw
    for place in wrong:
        mended = _SPACED_NAME.sub(rb"\1:", lines[place].lstrip(b" \t") if not place else lines[place])
        lines[place] = mended if _FIELD_NAME.match(mended) else b""
    return b"".join(lines) + raw[end:]


def _sender(headers: Headers, charset: str | None, envelope_from: str | None) -> Sender:
    """From; behind a no-reply address (forms do that) Reply-To. Answers go to Reply-To only within From's own domain:
    anybody can put somebody else's name into From and an own address into Reply-To."""
    claimed = headers.mailboxes("from", "sender", charset=charset)
    return_path = mail_headers.mailboxes(envelope_from or headers.raw("return-path") or "")
    from_ = next(iter([*claimed, *return_path]), None)
    reply_to = next(iter(headers.mailboxes("reply-to", charset=charset)), None)
    if reply_to is not None and (from_ is None or _NO_REPLY.match(from_.local)):
        from_ = Mailbox(reply_to.address, reply_to.name or (from_.name if from_ else None))
    if from_ is None:
        bare = word(headers.text("from", charset=charset), 64)
        return Sender(kind="email", value=(bare or "unknown").lower().removesuffix("<>").strip(), name=bare)
    answer = reply_to.address if reply_to is not None and reply_to.domain == from_.domain else from_.address
    return Sender(kind="email", value=from_.address, name=from_.name, email=from_.address, address={"email": answer})


def _automatic(
    headers: Headers, message: Message, sender: str, *, envelope_from: str | None, address: str
) -> str | None:
    """Why no automatic answer may go to this mail (RFC 3834 and what programs do instead of it), or None."""
    submitted = (headers.raw("auto-submitted") or "no").partition(";")[0].strip().lower()
    if submitted != "no":
        return f"Auto-Submitted: {clean(submitted, 60)}"
    if envelope_from == "" or (headers.raw("return-path") or "x").replace(" ", "") == "<>":
        return "empty envelope sender"
    if (headers.raw("precedence") or "").strip().lower() in _BULK:
        return "Precedence"
    suppressed = (headers.raw("x-auto-response-suppress") or "").lower()
    if _SUPPRESS & set(re.split(r"[\s,;]+", suppressed)):
        return "X-Auto-Response-Suppress"
    for name in _AUTOMATIC_FIELDS:
        if headers.has(name):
            return name.title()
    if any(address in value.lower() for value in headers.all("x-loop")):
        return "X-Loop"
    if message.get_content_type() == "multipart/report":
        return "multipart/report"
    if _MACHINE.match(sender.partition("@")[0]):
        return "sent by a machine"
    return "sent from our own address" if sender == address else None


def _recipients(headers: Headers, envelope: Sequence[str]) -> list[str]:
    listed = headers.mailboxes("delivered-to", "x-original-to", "to", "cc")
    return [*envelope, *(mailbox.address for mailbox in listed)]


def _references(headers: Headers) -> list[str]:
    """Nearest first: In-Reply-To, then References from the right."""
    ids = [*headers.ids("in-reply-to"), *reversed(headers.ids("references"))]
    return list(dict.fromkeys(ids))[:_REFERENCES_LIMIT]


def _texts(parts: mail_parts.Parts) -> tuple[str, str]:
    """`(the new words, everything)`."""
    full = "\n\n".join(text.whole.strip("\r\n") for text in parts.texts if text.whole.strip())
    own = "\n\n".join(text.own.strip("\r\n") for text in parts.texts if text.own.strip())
    full = full.replace("\r\n", "\n")[:FULL_TEXT_LIMIT].strip()
    own = own.replace("\r\n", "\n")[:FULL_TEXT_LIMIT].strip()
    return clean(mail_text.visible(own or full), TEXT_LIMIT), full


def _content(headers: Headers, parts: mail_parts.Parts, *, text: str, full: str, why: str | None) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in ("to", "cc", "reply-to"):
        if found := headers.mailboxes(name, charset=parts.charset)[:_RECIPIENTS_LIMIT]:
            content[name.replace("-", "_")] = [{"email": mailbox.address, "name": mailbox.name} for mailbox in found]
    if full != text:
        content["full_text"] = full
    if why is not None:
        content["automatic"] = why
    if parts.problems:
        content["problems"] = parts.problems
    return content
