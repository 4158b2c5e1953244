"""How many pieces a text costs as SMS: GSM-7 while every character is in its alphabet, else UCS-2."""

from dataclasses import dataclass

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_ESCAPED = frozenset("\f^{}\\[~]|€")
_LIMITS = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass(frozen=True, slots=True)
class Segments:
    """`units` are septets of GSM-7, or UTF-16 units of UCS-2."""

    encoding: str
    units: int
    count: int


def segments(text: str) -> Segments:
    """A character that takes two units never lies in two segments. An empty text is one segment."""
    gsm = all(char in _GSM or char in _GSM_ESCAPED for char in text)
    encoding = "GSM-7" if gsm else "UCS-2"
    widths = [2 if (char in _GSM_ESCAPED if gsm else char > "\uffff") else 1 for char in text]
    whole, part = _LIMITS[encoding]
    units = sum(widths)
    if units <= whole:
        return Segments(encoding, units, 1)
    count, used = 1, 0
    for width in widths:
        if used + width > part:
            count, used = count + 1, 0
        used += width
    return Segments(encoding, units, count)
