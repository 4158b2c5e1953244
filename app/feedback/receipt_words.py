"""Receipts in our own words: templates in any language over the shipped English and Chinese. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.errors import Invalid
from app.feedback import receipt
from app.models import ReceiptTemplate
from app.models.words import ReceiptKind

PLACEHOLDERS = ("name", "subject", "problem", "resolution", "commitment", "link")
SHORT_ON = frozenset({"sms"})
"""Channels on which the shipped words are one short text."""
_SUBJECT = ("name", "subject")
_PLACE = re.compile(r"\{([^{}\s]{1,40})\}")
_CHINESE = ("zh", "yue", "cmn")


@dataclass(frozen=True, slots=True)
class Written:
    """A receipt as it is sent. `yes` and `no` are what its buttons say, `question` stands above buttons alone."""

    subject: str
    text: str
    question: str
    yes: str
    no: str


def check(*, subject: str | None, text: str) -> None:
    """Raises Invalid for a placeholder that nobody fills in, a lone brace, and for a text without the link."""
    for field, given, known in (("subject", subject or "", _SUBJECT), ("text", text, PLACEHOLDERS)):
        unknown = sorted(set(_PLACE.findall(given)) - set(known))
        if unknown:
            named = ", ".join(f"{{{name}}}" for name in unknown)
            raise Invalid(f"unknown: {named}; there are {', '.join(f'{{{name}}}' for name in known)}", field=field)
        rest = _PLACE.sub("", given)
        if "{" in rest or "}" in rest:
            raise Invalid("a brace stands alone", field=field)
    if "link" not in _PLACE.findall(text):
        raise Invalid("{link} is missing: without it the customer cannot answer", field="text")


def tag(language: str) -> str:
    """`pt_BR` and `PT-br` are one language."""
    return language.strip().replace("_", "-").lower()


def language_of(contact_language: str | None, problem: str, *, ours: Collection[str]) -> str:
    """The contact's language where there are words in it (`ours`: of the templates), else the one the text is written in,
    else English."""
    wanted = tag(contact_language or "")
    primary = wanted.partition("-")[0]
    for known in (wanted, primary):
        if known and known in ours:
            return known
    if primary in _CHINESE:
        return "zh"
    if primary == "en":
        return "en"
    return receipt.language_for(None, problem)


def choose(
    templates: Sequence[ReceiptTemplate], *, language: str, channel_type: str, reminder: bool
) -> ReceiptTemplate | None:
    """The nearest: of this channel before of all, of the full tag before of the language; None: the shipped words. Where
    those do not have the language, a reminder without words of its own says what the receipt said."""
    wanted = tag(language)
    primary = wanted.partition("-")[0]
    shipped = primary in (*_CHINESE, "en")
    kinds = [ReceiptKind.REMINDER] if reminder else [ReceiptKind.RECEIPT]
    if reminder and not shipped:
        kinds.append(ReceiptKind.RECEIPT)
    places = [(word, kind, on) for kind in kinds for word in (wanted, primary) for on in (channel_type, None)]
    by_place = {(tag(item.language), item.kind, item.channel_type): item for item in templates}
    return next((by_place[place] for place in places if place in by_place), None)


def write(
    template: ReceiptTemplate | None,
    values: Mapping[str, str],
    *,
    language: str,
    channel_type: str,
    survey: bool = True,
    reminder: bool = False,
) -> Written:
    """`values` has what PLACEHOLDERS name. What the customer or an agent wrote is filled in as it is, once."""
    question, yes, no = receipt.question(language)
    subject = receipt.receipt_subject(language=language, subject=values["subject"])
    if template is not None:
        own = _filled(template.subject, values) if template.subject else subject
        text = _filled(template.text, values)
        return Written(" ".join(own.split()), text, question, template.yes or yes, template.no or no)
    if channel_type in SHORT_ON:
        text = receipt.short_text(language=language, url=values["link"], reminder=reminder)
    else:
        text = receipt.receipt_text(
            language=language,
            problem=values["problem"],
            resolution=values["resolution"],
            commitment=values["commitment"],
            url=values["link"],
            name=values["name"],
            survey=survey,
            reminder=reminder,
        )
    return Written(subject, text, question, yes, no)


def _filled(given: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), given)
