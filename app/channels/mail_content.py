"""What is kept of a mail besides its words: for people to look at, never to decide by."""

from __future__ import annotations

from typing import Any

from app.channels import mail_calendar, mail_headers
from app.channels.base import Sender
from app.channels.mail_automatic import Automatic
from app.channels.mail_headers import HEADERS_LIMIT, Headers, Mailbox
from app.channels.mail_parts import Parts
from app.channels.text import clean

PAGE_LIMIT = 500_000
_RECIPIENTS_LIMIT = 50
_SINGLE = ("from", "sender", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references", "content-type", "mime-version")  # fmt: skip


def content(
    headers: Headers, parts: Parts, *, text: str, full: str, automatic: Automatic | None, sender: Sender
) -> dict[str, Any]:
    """`to`, `cc`, `reply_to`, `full_text` (where the message shows less), `html`, `automatic`, `calendar`, `problems`."""
    kept: dict[str, Any] = {}
    for name in ("to", "cc", "reply-to"):
        if found := headers.mailboxes(name, charset=parts.charset)[:_RECIPIENTS_LIMIT]:
            kept[name.replace("-", "_")] = [_person(mailbox) for mailbox in found]
    if full != text:
        kept["full_text"] = full
    if page := "\n<hr>\n".join(parts.pages):
        kept["html"] = clean(page, PAGE_LIMIT)
        if len(page) > PAGE_LIMIT:
            parts.problem(f"the HTML has more than {PAGE_LIMIT} characters; it was cut")
    if automatic is not None:
        kept["automatic"], kept["automatic_kind"] = automatic.why, automatic.kind.value
    if (calendar := mail_calendar.read(parts.files)) is not None:
        kept["calendar"] = calendar
    if problems := [*parts.problems, *_suspicious(headers, sender)]:
        kept["problems"] = problems
    return kept


def _person(mailbox: Mailbox) -> dict[str, str | None]:
    return {"email": mailbox.address, "name": mailbox.name}


def _suspicious(headers: Headers, sender: Sender) -> list[str]:
    """What deceives readers: fields that stand there twice, a name that looks like another address."""
    found = [
        f"the field {name.title()} is there more than once; the first counts" for name in headers.repeated(*_SINGLE)
    ]
    if headers.cut:
        found.append(f"more than {HEADERS_LIMIT} fields, or very long ones; the rest was left out")
    shown = [box.address for box in mail_headers.mailboxes(sender.name or "")]
    if any(address != sender.value for address in shown):
        found.append("the sender's name shows another address than the one it was sent from")
    if len(headers.mailboxes("from")) > 1:
        found.append("several senders; the first counts")
    return found
