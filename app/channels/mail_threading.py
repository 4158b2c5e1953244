"""How a mail says what it answers, besides ids and tokens: Outlook's Thread-Index, and its subject. Pure."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode

from app.channels.mail_headers import Headers

SUBJECT_LIMIT = 500
_INDEX_BYTES = 22
_PREFIX = re.compile(
    r"^\s*(?:(?:re|fw|fwd|aw|wg|sv|vs|vb|antw|rv|tr|rif|res|enc|odp|pd|ynt|ilt|vá|vl|bls|doorst|ответ|回复|答复|转发|回覆|返信|转寄|轉寄|転送)"
    r"\s{0,2}(?:\[\d{1,3}\]|\(\d{1,3}\)|\^\d{1,3})?\s{0,2}[:：]|\[(?:#|ticket\s?#?|case\s?#?)\s?[\w-]{1,40}\])\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\[(?:#|ticket\s?#?|case\s?#?)\s?[\w-]{1,40}\]", re.IGNORECASE)
_GENERIC = frozenset(
    {
        "", "hi", "hello", "help", "question", "support", "test", "info", "order", "contact", "urgent", "no subject", "(no subject)", "none",
        "re", "your message", "message", "enquiry", "inquiry", "request", "complaint", "feedback", "hallo", "hilfe", "frage", "anfrage",
        "bonjour", "hola", "ciao", "你好", "您好", "咨询", "问题", "求助", "投诉", "无主题", "无标题", "(无主题)", "お問い合わせ", "문의",
    }
)  # fmt: skip


def thread_index(headers: Headers) -> str | None:
    """The part of Thread-Index that all mails of a thread share, in hex."""
    value = "".join((headers.raw("thread-index") or "").split())[:400]
    try:
        raw = b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw[:_INDEX_BYTES].hex() if len(raw) >= _INDEX_BYTES else None


def thread_topic(headers: Headers) -> str | None:
    return same_subject(headers.text("thread-topic"))


def same_subject(subject: str | None) -> str | None:
    """The subject without its reply marks and ticket numbers, folded; None when nothing is left."""
    rest = (subject or "")[:SUBJECT_LIMIT]
    for _ in range(20):
        shorter = _PREFIX.sub("", rest, count=1)
        if shorter == rest:
            break
        rest = shorter
    rest = " ".join(_NUMBER.sub(" ", rest).split()).casefold()
    return rest or None


def telling_subject(subject: str | None) -> str | None:
    """The same, where it says enough to find a thread by."""
    found = same_subject(subject)
    return None if found is None or found in _GENERIC or len(found) < 4 else found
