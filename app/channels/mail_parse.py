"""One mail, from raw bytes to a message (a pure function: run it in a thread, it may take a while)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email import policy
from email.message import Message
from email.parser import BytesParser

from app.channels import (
    mail_auth,
    mail_automatic,
    mail_bounces,
    mail_content,
    mail_envelope,
    mail_headers,
    mail_news,
    mail_parts,
    mail_text,
    mail_threading,
)
from app.channels.base import InboundMessage, Parsed, Sender, Threading, Unparseable
from app.channels.mail_config import MailConfig
from app.channels.mail_headers import HEADERS_LIMIT, Headers, Mailbox
from app.channels.text import TEXT_LIMIT, clean, word

RAW_LIMIT = 40_000_000
HEADER_BLOCK_LIMIT = 256_000
FIELDS_LIMIT = 10 * HEADERS_LIMIT
BOUNDARIES_LIMIT = 1_000
COMPARISONS_LIMIT = 40_000_000
FULL_TEXT_LIMIT = 400_000
_REFERENCES_LIMIT = 100

_MENDED_LINES = 10
_BOUNDARY = re.compile(rb"boundary", re.IGNORECASE)
_FIELD_NAME = re.compile(rb"[!-9;-~]{1,100}:")
_FOLDED_BOUNDARY = re.compile(rb"(boundary=\"[^\"\r\n]{0,200})\r?\n([ \t][^\"\r\n]{0,200}\")", re.IGNORECASE)
_FIELD_START = re.compile(rb"^[!-9;-~]{1,100}:", re.MULTILINE)
_FIELD_LINE = re.compile(rb"[!-9;-~]{1,100}:|[ \t]")
_SPACED_NAME = re.compile(rb"^([A-Za-z-]{1,60})[ \t]{1,20}:")
_NO_REPLY = re.compile(r"(?:no|do[-_.]?not)[-_.]?reply")


@dataclass(frozen=True, slots=True)
class Mail:
    """One that was taken apart."""

    message: Message
    headers: Headers
    parts: mail_parts.Parts


def parse(
    raw: bytes, config: MailConfig, *, recipients: Sequence[str] = (), envelope_from: str | None = None
) -> Parsed:
    """A mail as everything it may be: a message of somebody, or news of mails of ours, which is no message.

    `recipients` and `envelope_from` are the SMTP envelope's, where one is known. Raises Unparseable.
    """
    mail = take_apart(raw)
    reported = news_of(mail, config, recipients, envelope_from)
    if reported is not None:
        return mail_news.parsed(reported, raw)
    trusted = tuple(config.trusted_servers)
    ours = (config.address, *config.own_addresses)
    return Parsed(messages=(_message(mail, raw, ours, recipients, envelope_from, trusted),))


def parse_mail(
    raw: bytes, *, address: str, recipients: Sequence[str] = (), envelope_from: str | None = None
) -> InboundMessage:
    """Any mail as a message, reports too. `address` is our channel's.

    `external_id` is the Message-ID with a digest of the bytes: two mails under one id are two messages, one mail
    delivered twice is one. Raises Unparseable.
    """
    return _message(take_apart(raw), raw, (address.lower(),), recipients, envelope_from, ())


def take_apart(raw: bytes) -> Mail:
    message = parsed_message(raw)
    return Mail(message, Headers(message), mail_parts.read(message))


def news_of(
    mail: Mail, config: MailConfig, recipients: Sequence[str], envelope_from: str | None
) -> mail_bounces.Report | None:
    null_sender = envelope_from == "" or (mail.headers.raw("return-path") or "x").replace(" ", "") == "<>"
    return mail_bounces.read(
        mail.message,
        mail.headers,
        texts=[text.whole for text in mail.parts.texts],
        named=mail_envelope.bounced_message(config, _recipients(mail.headers, recipients)),
        own=config.address,
        empty_sender=null_sender,
    )


def _message(
    mail: Mail,
    raw: bytes,
    ours: Sequence[str],
    recipients: Sequence[str],
    envelope_from: str | None,
    trusted: Sequence[str],
) -> InboundMessage:
    headers, parts = mail.headers, mail.parts
    local, _, domain = ours[0].rpartition("@")
    own_id = next(iter(headers.ids("message-id")), None)
    digest = hashlib.sha256(raw).hexdigest()
    sender = _sender(headers, parts.charset, envelope_from)
    automatic = mail_automatic.why(headers, mail.message, sender.value, envelope_from=envelope_from, own=ours)
    text, full = _texts(parts, sender)
    content = mail_content.content(headers, parts, text=text, full=full, automatic=automatic, sender=sender)
    if trusted:
        content["authentication"] = mail_auth.read(headers, trusted=trusted, sender=sender.value)
    subject = word(headers.text("subject", charset=parts.charset), 1000)
    return InboundMessage(
        external_id=f"{own_id}:{digest[:16]}" if own_id else digest,
        sender=sender,
        text=text,
        subject=subject,
        sent_at=headers.date(),
        files=tuple(parts.files),
        content=content,
        thread_key=own_id,
        threading=Threading(
            reply_tokens=mail_headers.reply_tokens(_recipients(headers, recipients), local=local, domain=domain),
            references=_references(headers),
            answers=len(headers.ids("in-reply-to")),
            thread_index=mail_threading.thread_index(headers),
            thread_topic=mail_threading.thread_topic(headers),
            subject=mail_threading.telling_subject(subject),
        ),
        automatic=automatic is not None,
    )


def parsed_message(raw: bytes) -> Message:
    """The standard parser, kept from what would make it slow or deep."""
    if len(raw) > RAW_LIMIT:
        raise Unparseable(f"the mail has more than {RAW_LIMIT} bytes")
    block = re.search(rb"\r?\n\r?\n|\r\r", raw)
    if (block.start() if block else len(raw)) > HEADER_BLOCK_LIMIT:
        raise Unparseable(f"the header has more than {HEADER_BLOCK_LIMIT} bytes")
    if len(_FIELD_START.findall(raw, 0, block.start() if block else len(raw))) > FIELDS_LIMIT:
        raise Unparseable(f"the header has more than {FIELDS_LIMIT} fields")
    boundaries = len(_BOUNDARY.findall(raw))
    # The parser compares every line with every boundary that is open: nested ones multiply.
    if boundaries > BOUNDARIES_LIMIT or boundaries * raw.count(b"\n") > COMPARISONS_LIMIT:
        raise Unparseable(f"the mail has too many multipart boundaries ({boundaries})")
    raw = _FOLDED_BOUNDARY.sub(rb"\1\2", raw)  # the parser does not unfold it, and would never find its lines
    block = re.search(rb"\r?\n\r?\n|\r\r", raw)
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


def _recipients(headers: Headers, envelope: Sequence[str]) -> list[str]:
    listed = headers.mailboxes("delivered-to", "x-original-to", "to", "cc")
    return [*envelope, *(mailbox.address for mailbox in listed)]


def _references(headers: Headers) -> list[str]:
    """Nearest first: In-Reply-To, then References from the right."""
    ids = [*headers.ids("in-reply-to"), *reversed(headers.ids("references"))]
    return list(dict.fromkeys(ids))[:_REFERENCES_LIMIT]


def _texts(parts: mail_parts.Parts, sender: Sender) -> tuple[str, str]:
    """`(the new words, everything)`."""
    full = "\n\n".join(text.whole.strip("\r\n") for text in parts.texts if text.whole.strip())
    own = "\n\n".join(text.own.strip("\r\n") for text in parts.texts if text.own.strip())
    full = full.replace("\r\n", "\n")[:FULL_TEXT_LIMIT].strip()
    own = own.replace("\r\n", "\n")[:FULL_TEXT_LIMIT].strip()
    return clean(mail_text.visible(own or full, name=sender.name, email=sender.email), TEXT_LIMIT), full
