"""Delivery reports and complaints about mail of ours (RFC 3464, RFC 5965, and what mailers write instead of them). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from uuid import UUID

from app.channels import mail_headers, mail_reasons, mail_returned
from app.channels.mail_envelope import envelope_message
from app.channels.mail_headers import Headers
from app.channels.mail_payload import payload_of
from app.channels.mail_reasons import Reason
from app.channels.text import clean

DETAIL_LIMIT = 500
_PARTS_LIMIT = 100
_DAEMON = re.compile(r"(?:mailer[-_.]?daemon|post[-_.]?master|mail[-_.]?delivery|mdaemon|mailsystem)", re.IGNORECASE)
_BODY = re.compile(
    r"Error message below:|Message could not be delivered to|undeliverable to the following|permanent errors?:",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|error\ssending|cannot\ssend|failed\smail|delivery\s(?:status|fail|notif|report|problem|error|has\sfailed)|returned\s(?:mail|to\ssender|message)"
    r"|mail\s(?:delivery|system|error|could\snot)|failure\snotice|non\sremis|unzustellbar|nicht\szugestellt|could\snot\sbe\sdelivered"
    r"|undelivered|delayed\smail|rejected|mail\snon|não\sentreg|no\sse\sha\sentregado|mancato\srecapito|退信|系统退信|配信|未送达",
    re.IGNORECASE,
)
# Where the returned mail begins, in reports that put it into their own text.
_COPY = re.compile(
    r"^[ \t>]{0,8}-{2,30}[^\n]{0,80}(?:copy\sof|original\smessage|headers?\s(?:of|follow)|your\smessage|message\sheaders?|unsent\smessage|returned)[^\n]{0,80}$"
    r"|^[ \t]{0,8}(?:Received|Return-Path):[ \t]"
    r"|^[^\n]{0,60}(?:original\smessage\s(?:follows|headers)|below\sthis\sline|message\sheader\sfollows|unsent\smessage\s(?:below|follows)|message\sfollows|headers\sfollow)[^\n]{0,60}$",
    re.IGNORECASE | re.MULTILINE,
)
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_NO_MEMBER = re.compile(r"not\s(?:a\s)?member\s(?:of|\()", re.IGNORECASE)
_SMTP = re.compile(r"(?<![\w.:])[45]\d\d[ #-][^\n]{0,300}")
_AFTER_DATA = re.compile(
    r"end\s{1,3}of\s{1,3}DATA\b|to\s{1,3}accept\s{1,3}your\s{1,3}message\s{1,3}\(DATA\)|SMTP\s{1,3}command\s{1,3}DATA\b"
)
_DATA_REPLY = re.compile(r">>> DATA\s{1,3}<<< (5\d\d[^\n]{1,300})")
_NAMED = re.compile(r"^[ \t]{0,8}<([^<>\s@]{1,64}@[^<>\s@]{1,255})>:", re.MULTILINE)
_GOOD = ("delivered", "relayed", "expanded")


@dataclass(frozen=True, slots=True)
class Failed:
    """What a report says of one recipient. `action` is RFC 3464's word; `address` may be unknown (complaints redact it)."""

    address: str | None
    action: str
    reason: Reason
    status: str | None = None
    reply: str | None = None
    detail: str = ""

    @property
    def permanent(self) -> bool:
        """Nobody will ever read mail at this address."""
        return self.action == "failed" and self.reason in mail_reasons.PERMANENT


@dataclass(frozen=True, slots=True)
class Report:
    """`message_ids` are the returned mail's, the surest first; `message_id` is our own message, from a bounce address."""

    complaint: bool
    recipients: Sequence[Failed]
    message_ids: Sequence[str]
    message_id: UUID | None


def read(
    message: Message, headers: Headers, *, texts: Sequence[str], named: UUID | None, own: str, empty_sender: bool
) -> Report | None:
    """None for a mail that is no report. `texts` are its readable parts; `named` is our message that the address names which
    it came to; `own` is our address, never a failed one."""
    parts = list(_parts(message))
    if complaint := _complaint(message, headers, parts):
        return Report(True, [complaint], mail_returned.ids(parts, headers, ""), named)
    if message.get_content_type() == "multipart/report" and (receipt := _receipt(parts)):
        return receipt
    blocks = [
        block
        for part in parts
        if part.get_content_type() in mail_returned.STATUS_TYPES
        for block in mail_returned.blocks(part)
    ]
    text = "\n".join(texts)[: mail_returned.TEXT_LIMIT]
    returned = _looks_returned(headers, text, empty_sender=empty_sender, named=named is not None)
    if _is_report(message) or (blocks and (returned or empty_sender)):
        known = [found for block in blocks if (found := _recipient(block, _lead(text)))]
        known = known or _guessed(headers, parts, text, own)
        for block in blocks:
            named = named or envelope_message(block.raw("original-envelope-id"))
        return Report(
            False, _once(known)[: mail_returned.RECIPIENTS_LIMIT], mail_returned.ids(parts, headers, text), named
        )
    if not returned:
        return None
    guessed = _guessed(headers, parts, text, own)
    if not guessed and named is None:
        return None
    return Report(False, guessed, mail_returned.ids(parts, headers, text), named)


def _is_report(message: Message) -> bool:
    if message.get_content_type() != "multipart/report":
        return False
    try:
        return str(message.get_param("report-type") or "delivery-status").lower() == "delivery-status"
    except (ValueError, LookupError, TypeError, AttributeError):
        return True


def _parts(message: Message) -> Iterator[Message]:
    """The parts of the report itself: what lies in a returned mail is not looked into."""
    waiting, seen = [message], 0
    while waiting and seen < _PARTS_LIMIT:
        part = waiting.pop(0)
        seen += 1
        yield part
        payload = payload_of(part)
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            waiting.extend(child for child in payload if isinstance(child, Message))


def _complaint(message: Message, headers: Headers, parts: Sequence[Message]) -> Failed | None:
    """An abuse report by a mailbox provider (ARF): somebody has pressed "this is spam"."""
    reported = parts if message.get_content_type() == "multipart/report" else ()
    feedback = next((part for part in reported if part.get_content_type() == "message/feedback-report"), None)
    if feedback is None and not headers.has("x-hmxmroriginalrecipient"):
        return None
    fields = _feedback_fields(feedback) if feedback is not None else headers
    kind = (fields.raw("feedback-type") or "abuse").strip().lower()
    to = fields.raw("original-rcpt-to") or fields.raw("removal-recipient") or headers.raw("x-hmxmroriginalrecipient")
    if not to:
        returned = next((part for part in parts if part.get_content_type() in mail_returned.RETURNED), None)
        original = mail_returned.header_of(returned) if returned is not None else None
        to = original.raw("to") if original is not None else None
    address = next((box.address for box in mail_headers.mailboxes(to or "")), None)
    reason = (
        Reason.COMPLAINT if kind in ("abuse", "opt-out", "opt-out-list", "fraud", "virus", "other") else Reason.SYSTEM
    )
    return Failed(address, "delivered", reason, detail=f"complaint: {clean(kind, 60)}")


def _receipt(parts: Sequence[Message]) -> Report | None:
    """A read receipt (RFC 8098): somebody's program says that our mail was shown, or what else became of it."""
    part = next((part for part in parts if part.get_content_type() == "message/disposition-notification"), None)
    if part is None:
        return None
    fields = _feedback_fields(part)
    shown = "displayed" in (fields.raw("disposition") or "").partition(";")[2].lower()
    address = _address_of(fields, "original-recipient") or _address_of(fields, "final-recipient")
    item = Failed(address, "displayed" if shown else "relayed", Reason.DELIVERED)
    return Report(False, [item], fields.ids("original-message-id"), None)


def _feedback_fields(part: Message) -> Headers:
    payload = payload_of(part)
    if isinstance(payload, list) and payload and isinstance(payload[0], Message):
        return Headers(payload[0])
    return mail_returned.fields_in(str(payload))


def _recipient(block: Headers, lead: str) -> Failed | None:
    """A block of a delivery report; the first one is of the report itself and names nobody."""
    named = _address_of(block, "original-recipient") or _address_of(block, "final-recipient")
    final = _address_of(block, "final-recipient") or named
    if final is None and not block.has("action", "status"):
        return None
    action = (block.raw("action") or "failed").partition("(")[0].strip().lower().split(" ")[0]
    diagnostic = block.raw("diagnostic-code") or ""
    status = mail_reasons.enhanced(block.raw("status") or "")
    if action in _GOOD or (status or "").startswith("2"):
        return Failed(named, action if action in _GOOD else "delivered", Reason.DELIVERED, status=status)
    reason = _reason(diagnostic if len(diagnostic) > 20 else "", lead, status=status)
    detail = diagnostic.partition(";")[2].strip() or diagnostic or " ".join(lead.split())
    known = action if action in ("failed", "delayed") else "failed"
    reply = mail_reasons.reply_code(diagnostic)
    return Failed(named or final, known, reason, status=status, reply=reply, detail=_short(detail))


def _address_of(block: Headers, name: str) -> str | None:
    value = block.raw(name)
    if not value:
        return None
    bare = value.partition(";")[2] or value
    return next((box.address for box in mail_headers.mailboxes(bare)), None)


def _lead(text: str) -> str:
    """The report's own words, without the mail that it returns."""
    copy = _COPY.search(text, 1)
    return text[: copy.start()] if copy else text


def _reason(said: str, lead: str, *, status: str | None) -> Reason:
    """By what the other server said, else by its replies in the text, else by all of it. A server that learns only from
    the content that it does not know the recipient filters: the address is not surely a wrong one."""
    replies = " ".join(_SMTP.findall(lead)[:20])
    tried = [mail_reasons.reason_of(words, status=status) for words in (said, replies, lead) if words.strip()]
    plain = [found for found in tried if found not in (Reason.OTHER, Reason.SYSTEM)]
    reason = next(iter([*plain, *(found for found in tried if found is Reason.SYSTEM)]), Reason.OTHER)
    if not tried:
        reason = mail_reasons.reason_of("", status=status)
    surely = (status or "").startswith("5.1.")
    return Reason.REFUSED if reason is Reason.ADDRESS and not surely and _after_data(said, lead) else reason


def _after_data(said: str, lead: str) -> bool:
    if _AFTER_DATA.search(lead):
        return True
    reply = _DATA_REPLY.search(lead)
    return reply is not None and (not said or "".join(reply[1].split()) in "".join(said.split()))


def _looks_returned(headers: Headers, text: str, *, empty_sender: bool, named: bool) -> bool:
    """Machines that do not write reports: known by who they are, and by what they say it is."""
    if headers.has("x-failed-recipients"):
        return True
    from_ = headers.mailboxes("from", "sender")
    claimed = headers.raw("from") or ""
    daemon = any(_DAEMON.match(box.local) for box in from_) or bool(_DAEMON.search(claimed))
    if headers.has("x-mlserver", "x-ml-info") and _NO_MEMBER.search(text[:2_000]):
        return True
    says_so = _SUBJECT.search(headers.text("subject") or "") or (daemon and _BODY.search(text[:2_000]))
    # Vacation notices come to the bounce address as well, without a sender, and say nothing of the kind.
    return (daemon or empty_sender or named) and bool(says_so)


def _guessed(headers: Headers, parts: Sequence[Message], text: str, own: str) -> list[Failed]:
    """Without a report: the addresses that the text names before the returned mail, and what it says of them; else the
    recipient of the returned mail."""
    lead = _lead(text)
    listed = headers.mailboxes("x-failed-recipients")
    sent_to = [box.address for box in mail_returned.sent_to(parts, text[len(lead) :])]
    named = [found.lower() for found in _NAMED.findall(lead)]
    mentioned = [found.lower().rstrip(".") for found in _ADDRESS.findall(lead)]
    addresses = [box.address for box in listed] or [*named, *(a for a in sent_to if a in mentioned), *mentioned]
    us = {own, *(box.address for box in headers.mailboxes("from", "to", "return-path"))}
    kept = [a for a in dict.fromkeys(addresses) if a not in us and not _DAEMON.match(a)]
    kept = kept or sent_to
    if not kept:
        return []
    words = f"{headers.text('subject') or ''}\n{lead}"
    reason = _reason("", words, status=None)
    status, reply = mail_reasons.enhanced(lead), mail_reasons.reply_code(lead)
    delayed = reason is Reason.DELAYED
    # Without a mark, only the first address is surely the one that failed: others may be signatures or helpers.
    chosen = kept[: mail_returned.RECIPIENTS_LIMIT] if listed else kept[:1]
    return [
        Failed(a, "delayed" if delayed else "failed", reason, status=status, reply=reply, detail=_said_of(lead, a))
        for a in chosen
    ]


def _said_of(lead: str, address: str) -> str:
    place = lead.lower().find(address)
    return _short(lead[max(place, 0) :])


def _short(detail: str) -> str:
    return " ".join(clean(detail, 4 * DETAIL_LIMIT).split())[:DETAIL_LIMIT]


def _once(found: Sequence[Failed]) -> list[Failed]:
    return list({item.address: item for item in reversed(found)}.values())[::-1]
