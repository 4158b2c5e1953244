"""Who is on the line: numbers as their countries write them, SIP addresses, clients, and those who do not say."""

import re
from functools import lru_cache

import phonenumbers

from app.channels.base import Sender
from app.channels.text import key

# What carriers put in place of a withheld number; the digits spell ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE.
_WITHHELD = frozenset(
    (
        *(
            "",
            "anonymous",
            "anonym",
            "restricted",
            "private",
            "unknown",
            "unavailable",
            "blocked",
            "withheld",
            "asterisk",
        ),
        *("266696687", "7378742833", "2562533", "8566696", "86282452253", "464", "none", "null", "-"),
    )
)
_SIP = re.compile(r"sips?:[^\s<>\"';,]{1,250}", re.IGNORECASE)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_BETWEEN = re.compile(r"[ ().-]")
_LIMIT = 250


@lru_cache(maxsize=4096)
def e164(raw: str, country: str | None = None) -> str | None:
    """+447700900123 for what can be a number in `country` (ISO 3166) or says its own; None for everything else.

    One that says its country counts even where no such number is known: plans change faster than tables of them.
    """
    text = raw.strip()
    for prefix in ("tel:", "whatsapp:"):
        text = text.removeprefix(prefix)
    if len(text) > 40 or sum(char.isdigit() for char in text) < 4:
        return None
    return _planned(text, country) or _spelt_out(text)


def _planned(text: str, country: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    whole = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not whole or number.extension:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _spelt_out(text: str) -> str | None:
    compact = _BETWEEN.sub("", text)
    return compact if _E164.fullmatch(compact) else None


def country_of(number: str | None) -> str | None:
    """The country whose national numbers a line in it dials."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number or "", None))
    except phonenumbers.NumberParseException:
        return None


def is_withheld(raw: str | None) -> bool:
    return (raw or "").strip().lower().lstrip("+").partition("@")[0].removeprefix("sip:") in _WITHHELD


def party(raw: str | None, *, call_id: str, country: str | None, name: str | None = None) -> Sender:
    """The customer behind a number; one who withholds it is somebody new with each call, because nobody knows better."""
    given = key((raw or "")[:_LIMIT]) or ""
    if is_withheld(given):
        return Sender(kind="anonymous", value=call_id, name=name)
    if (number := e164(given, country)) is not None:
        return Sender(kind="phone", value=number, name=name, phone=number, address={"to": number})
    kind, colon, _ = given.partition(":")
    if colon and kind.lower() in ("sip", "sips"):
        address = given.partition(";")[0]
        return Sender(kind="sip", value=address.lower(), name=name, address={"to": address})
    if colon and kind.lower() == "client":
        return Sender(kind="client", value=given, name=name, address={"to": given})
    return Sender(kind="phone", value=given, name=name, phone=given, address={"to": given})


def agent_phone(value: str) -> str:
    """Where an agent is rung: E.164, or a SIP address. Raises ValueError."""
    text = value.strip()
    if _SIP.fullmatch(text):
        return text
    number = e164(text) if text.startswith("+") else None
    if number is None:
        raise ValueError(
            "must be a number with its country, such as +442079460018, or an address such as sip:ada@pbx.example"
        )
    return number
