"""What a customer is told when something was made good, in English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from app.feedback import receipt
from app.feedback.receipt import Language, known_language
from app.feedback.receipt_words import SHORT_ON, Written

_ENGLISH = {
    "hello": "Hello {name},",
    "hello_nobody": "Hello,",
    "opening": "we have looked into your matter again.",
    "done": "What we did",
    "amount": "Amount",
    "ask": "Is it settled for you now? Please open this link and tell us:",
    "short": "We have looked into your matter again. Reply YES if it is settled now, NO if not. Details:",
    "question": "Is it settled for you now?",
    "subject": "Is it settled now? {subject}",
    "subject_none": "Is it settled now?",
}
_CHINESE = {
    "hello": "{name}，您好：",
    "hello_nobody": "您好：",
    "opening": "我们已重新跟进您反映的事项。",
    "done": "我们的补救措施",
    "amount": "金额",
    "ask": "请问现在解决了吗？请打开以下链接告诉我们：",
    "short": "我们已重新跟进您反映的事项。现已解决请回复“是”，未解决请回复“否”。详情：",
    "question": "请问现在解决了吗？",
    "subject": "现在解决了吗？{subject}",
    "subject_none": "现在解决了吗？",
}
_WORDS: Mapping[Language, Mapping[str, str]] = {"en": _ENGLISH, "zh": _CHINESE}
_SUBJECT_LIMIT = 150


def shown_amount(amount: Decimal | None, currency: str | None) -> str | None:
    """`12.5 EUR`, without zeros that say nothing; None for none."""
    return None if amount is None else f"{plain(amount)} {currency or ''}".strip()


def plain(amount: Decimal) -> str:
    """In digits, never as a power of ten; whole cents where there are any."""
    digits = f"{amount.normalize():f}"
    whole, point, rest = digits.partition(".")
    return f"{whole}.{rest.ljust(2, '0')}" if point else whole


def write(
    *,
    language: str,
    channel_type: str,
    text: str,
    url: str,
    name: str | None = None,
    subject: str | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> Written:
    """As it is sent on a channel; its buttons say what a receipt's do."""
    words = _WORDS[known_language(language) or "en"]
    _, yes, no = receipt.question(language)
    whole = (
        short_text(language=language, url=url)
        if channel_type in SHORT_ON
        else question(language=language, text=text, url=url, name=name, amount=amount, currency=currency)
    )
    return Written(subject_of(language=language, subject=subject), whole, words["question"], yes, no)


def short_text(*, language: str, url: str) -> str:
    """For text messages: how to answer, and the link at the end."""
    return f"{_WORDS[known_language(language) or 'en']['short']} {url}"


def question(
    *,
    language: str,
    text: str,
    url: str,
    name: str | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
) -> str:
    """What was done, and the link alone on the last line."""
    words = _WORDS[known_language(language) or "en"]
    called = " ".join((name or "").split())
    given = shown_amount(amount, currency)
    return "\n\n".join(
        [
            words["hello"].format(name=called) if called else words["hello_nobody"],
            words["opening"],
            f"{words['done']}\n{text.strip()}",
            *([f"{words['amount']}\n{given}"] if given else []),
            f"{words['ask']}\n{url}",
        ]
    )


def subject_of(*, language: str, subject: str | None = None) -> str:
    """For channels that have subjects; one line."""
    words = _WORDS[known_language(language) or "en"]
    line = " ".join((subject or "").split())
    return words["subject"].format(subject=line[:_SUBJECT_LIMIT]) if line else words["subject_none"]
