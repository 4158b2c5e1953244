"""A reply or receipt as a mail: headers that thread, a text that everybody can read, the same in simple HTML."""

import html
import re
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage, Message
from email.policy import Policy
from email.utils import format_datetime

from app import clock
from app.channels.base import Outgoing
from app.channels.mail_config import MailConfig
from app.channels.text import clean, file_name, media_type, word

REFERENCES_LIMIT = 20
_BUTTON = (
    "display:inline-block;padding:8px 16px;border:1px solid #333;border-radius:4px;text-decoration:none;color:#111"
)
_LINK = re.compile(r"https?://[^\s<>\"']{1,2000}")
_REPLY_PREFIX = re.compile(r"^\s*(?:re|aw|sv|vs|antw|回复|答复|回覆)\s*(?:\[\d+\])?\s*[:：]", re.IGNORECASE)
# What we begin has a subject of its own; that it belongs to the thread is said by its references.
_OWN_SUBJECT = ("receipt", "notice")
_ID = re.compile(r"<[!-;=?-~]{1,400}>")


class _IdsHeader(UnstructuredHeader, BaseHeader):
    """Message ids, each on a line of its own: as words of a text the library would encode those of more than 76 characters,
    and nobody could match them any more (RFC 5322, 3.6.4)."""

    def fold(self, *, policy: "Policy[Message[str, str]]") -> str:
        return f"{self.name}: {(policy.linesep + ' ').join(str(self).split())}{policy.linesep}"


_HEADERS = HeaderRegistry()
for _name in ("in-reply-to", "references"):
    _HEADERS.map_to_type(_name, _IdsHeader)


def message_id(config: MailConfig, outgoing: Outgoing) -> str:
    """Ours, made from the message alone: a second attempt is the same mail to everybody on the way."""
    return f"<{outgoing.message_id.hex}.{outgoing.conversation_id.hex}@{_ascii_domain(config.domain)}>"


def copies(config: MailConfig, outgoing: Outgoing) -> list[str]:
    """Who gets the mail besides the customer: those in its Cc, then the channel's blind copies; each once. Raises ValueError."""
    listed = [*_cc(outgoing), *config.copies_to]
    return [address for address in dict.fromkeys(listed) if address != outgoing.address.get("email")]


def _cc(outgoing: Outgoing) -> list[str]:
    given = outgoing.address.get("cc")
    return [item for item in given if isinstance(item, str) and "@" in item] if isinstance(given, list) else []


def compose(config: MailConfig, outgoing: Outgoing, *, to: str) -> EmailMessage:
    """Raises ValueError when an address cannot be written into a header."""
    listed = [to, config.address, *_cc(outgoing)]
    needs_utf8 = not "".join(envelope_address(address) for address in listed).isascii()
    mail = EmailMessage(policy=policy.SMTP.clone(utf8=needs_utf8, header_factory=_HEADERS))
    mail["From"] = _address(config.from_name, config.address)
    mail["To"] = _address(outgoing.recipient_name, to)
    if cc := _cc(outgoing):
        mail["Cc"] = [_address(None, address) for address in cc]
    mail["Subject"] = _subject(outgoing)
    mail["Date"] = format_datetime(_moment(outgoing.created_at))
    mail["Message-ID"] = message_id(config, outgoing)
    _thread(mail, outgoing.references)
    if outgoing.reply_token:
        mail["Reply-To"] = _address(config.from_name, f"{_reply_local(config, outgoing)}@{config.domain}")
    if outgoing.kind != "reply":
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Loop"] = config.address
        mail["X-Auto-Response-Suppress"] = "All"
    if config.inbound == "postmark":
        mail["X-PM-Metadata-roundtrip"] = outgoing.message_id.hex  # its news name no Message-ID, but this
    text = clean(outgoing.text, len(outgoing.text)).replace("\r\n", "\n").replace("\r", "\n")
    mail.set_content(text + "\n", charset="utf-8", cte=_encoding(text))
    page = _page(text, _buttons(outgoing))
    mail.add_alternative(page, subtype="html", charset="utf-8", cte=_encoding(page))
    for number, file in enumerate(outgoing.files, 1):
        main, _, sub = media_type(file.media_type).partition("/")
        if main in ("multipart", "message"):
            main, sub = "application", "octet-stream"
        mail.add_attachment(file.data, maintype=main, subtype=sub, filename=file_name(file.name, f"file-{number}"))
    return mail


def _thread(mail: EmailMessage, references: Sequence[str]) -> None:
    """The first id and the last nineteen: the beginning finds the thread, the end its place in it."""
    chain = [found[0] for reference in references if (found := _ID.fullmatch(reference.strip()))]
    if not chain:
        return
    mail["In-Reply-To"] = chain[-1]
    kept = chain if len(chain) <= REFERENCES_LIMIT else [chain[0], *chain[1 - REFERENCES_LIMIT :]]
    mail["References"] = " ".join(kept)


def _reply_local(config: MailConfig, outgoing: Outgoing) -> str:
    """`help+token`, or `reply+token` where that would be longer than a local part may be."""
    own = f"{config.local.partition('+')[0]}+{outgoing.reply_token}"
    return own if len(own.encode()) <= 64 else f"reply+{outgoing.reply_token}"


def _subject(outgoing: Outgoing) -> str:
    subject = word(outgoing.subject, 500)
    if subject is None:
        return "Re: your message"
    return subject if outgoing.kind in _OWN_SUBJECT or _REPLY_PREFIX.match(subject) else f"Re: {subject}"


def _address(name: str | None, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    shown = "".join(char for char in word(name) or "" if char.isprintable())
    return Address(display_name=shown, username=local.strip('"'), domain=_ascii_domain(domain))


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    return domain.encode("idna").decode()


def _moment(created_at: datetime | None) -> datetime:
    return created_at or clock.now()


def _encoding(text: str) -> str:
    """Lines of any length and any script survive both; mostly-ASCII text stays readable on the wire."""
    plain = sum(char < "\x80" for char in text)
    return "quoted-printable" if plain * 2 >= len(text) else "base64"


def _page(text: str, buttons: str = "") -> str:
    paragraphs = [_paragraph(block) for block in re.split(r"\n{2,}", text.strip("\n"))]
    return (
        f'<!DOCTYPE html>\n<html><body style="font-family:sans-serif">\n{"".join(paragraphs)}{buttons}</body></html>\n'
    )


def _buttons(outgoing: Outgoing) -> str:
    """Links to the receipt's page on which the answer is chosen already: opened by anybody, they settle nothing."""
    url = str((outgoing.receipt or {}).get("url") or "")
    if not url.startswith(("https://", "http://")):
        return ""
    links = (
        f'<a style="{_BUTTON}" href="{html.escape(f"{url}?{item.query}")}">{html.escape(item.title)}</a>'
        for item in outgoing.choices
    )
    shown = " ".join(links)
    return f"<p>{shown}</p>\n" if shown else ""


def _paragraph(block: str) -> str:
    lines = (_linked(line) for line in block.split("\n"))
    return f"<p>{'<br>'.join(lines)}</p>\n"


def _linked(line: str) -> str:
    """Escaped, with every web address clickable; closing punctuation stays outside the link."""
    out, end = [], 0
    for found in _LINK.finditer(line):
        url = found[0].rstrip(".,;:!?)]}，。；！？）】")
        out.append(html.escape(line[end : found.start()]))
        out.append(f'<a href="{html.escape(url)}">{html.escape(url)}</a>')
        end = found.start() + len(url)
    out.append(html.escape(line[end:]))
    return "".join(out)


def envelope_address(address: str) -> str:
    """As it goes over the wire: the domain in ASCII, the local part as it is. Raises ValueError."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{_ascii_domain(domain)}"
