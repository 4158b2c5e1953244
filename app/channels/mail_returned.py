"""What is left of a mail of ours in a report about it: its header as a part, as a block, or somewhere in the text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.message import Message

from app.channels import mail_headers
from app.channels.mail_headers import Headers
from app.channels.mail_payload import payload_of
from app.channels.text import key

TEXT_LIMIT = 60_000
RECIPIENTS_LIMIT = 50
STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
RETURNED = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
)
_ID_FIELD = re.compile(
    r"^[ \t>]{0,20}Message-ID:[ \t]{0,20}\r?\n?[ \t]{0,20}(<[^<>\s]{3,400}>)", re.IGNORECASE | re.MULTILINE
)
_IDS_LIMIT = 20


def blocks(part: Message) -> list[Headers]:
    payload = payload_of(part)
    children = [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []
    return [Headers(child) for child in children[: RECIPIENTS_LIMIT + 1]]


def fields_in(text: str) -> Headers:
    """Fields in a text, as far as they go."""
    made = Message()
    name = value = ""
    for line in text[:TEXT_LIMIT].splitlines():
        if not line.strip():
            if name:
                break
            continue
        if line[:1] in " \t" and name:
            value += " " + line.strip()
            continue
        if name:
            made[name] = value
        name, _, value = line.partition(":")
        if not re.fullmatch(r"[!-9;-~]{1,100}", name):
            name = ""
    if name:
        made[name] = value.strip()
    return Headers(made)


def header_of(part: Message) -> Headers | None:
    payload = payload_of(part)
    if isinstance(payload, list):
        return Headers(payload[0]) if payload and isinstance(payload[0], Message) else None
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError, TypeError):
        data = None
    return fields_in(data[:TEXT_LIMIT].decode("utf-8", "replace") if isinstance(data, bytes) else str(payload))


def ids(parts: Sequence[Message], headers: Headers, text: str) -> list[str]:
    """The returned mail's own id, ids in the text, and what the report says it answers."""
    found: list[str] = []
    for part in parts:
        if part.get_content_type() in RETURNED and (original := header_of(part)) is not None:
            found += original.ids("message-id")
    found += [known for match in _ID_FIELD.findall(text) if (known := key(match))]
    if not found:
        found = [known for part in parts if (known := _id_inside(part))]
        # Torn reports have its header as a block of the report, or as that of a part.
        inner = [*(block for part in parts if part.get_content_type() in STATUS_TYPES for block in blocks(part))]
        found += [known for block in (*inner, *map(Headers, parts[1:])) for known in block.ids("message-id")]
    found += [*headers.ids("in-reply-to"), *headers.ids("references"), *headers.ids("x-original-message-id")]
    return list(dict.fromkeys(found))[:_IDS_LIMIT]


def _id_inside(part: Message) -> str | None:
    """Some return the header as a text, a file, or below the last boundary."""
    payload = payload_of(part)
    if isinstance(payload, list):
        text = part.epilogue or ""
    else:
        text = str(payload) if part.get_content_maintype() in ("text", "application") else ""
    match = _ID_FIELD.search(text[:TEXT_LIMIT])
    return key(match[1]) if match else None


def sent_to(parts: Sequence[Message], copy: str) -> list[mail_headers.Mailbox]:
    for part in parts:
        if part.get_content_type() in RETURNED and (original := header_of(part)) is not None:
            return original.mailboxes("x-envelope-to", "to")
    found = re.search(r"^[ \t>]{0,20}To:[ \t]([^\n]{3,300})", copy, re.IGNORECASE | re.MULTILINE)
    return mail_headers.mailboxes(found[1]) if found else []
