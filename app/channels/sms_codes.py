"""Twilio's error codes: what each means for a message. channels.md 2.2."""

from app.channels.base import RefusalReason, SendFailure
from app.channels.text import word

_RETRY = (14107, 20429, 20500, 21611, 30001, 30008, 30017, 30022, 63009, 63010, 63012, 63017, 63018)
_REAUTH = (20003, 20006, 20101, 20104, 20403, 63001)
_CONFIG = (
    *(10001, 20005, 20008, 20404, 21212, 21603, 21606, 21607, 21609, 21616, 21621, 21654, 21655, 21660),
    *(*range(21701, 21721), 30002, 30018, 30024, 30032, 30034, 63002, 63007, 63008, 63020, 63035),
)
# 21408 is the account's setting, but about one country: the others must not wait for it.
_RECIPIENT = (
    *(21211, 21214, 21217, 21219, 21265, 21401, 21408, 21604, 21608, 21610, 21612, 21614, 21635),
    *(30003, 30004, 30005, 30006, 30011, 30014, 63003, 63014, 63015, 63024, 63031, 63032, 63033, 63036),
)
_QUOTA = (30023, 30027, 63038)
_WORDS = {
    21211: "the number is not valid",
    21408: "sending to this country is not enabled for the account",
    21610: "the recipient has opted out",
    21614: "the number is not a mobile one",
    30001: "the queue at Twilio is full",
    30002: "the account is suspended",
    30003: "the handset cannot be reached",
    30004: "the message is blocked",
    30005: "the handset is not known",
    30006: "a landline, or a carrier that cannot be reached",
    30007: "the carrier filtered the message",
    30008: "no reason known",
    63016: "outside the 24 hours in which WhatsApp lets us answer freely",
    63018: "too many messages on this channel",
}
_FAILURES: dict[int, SendFailure] = {
    **dict.fromkeys(_RETRY, SendFailure.RETRY),
    **dict.fromkeys(_REAUTH, SendFailure.REAUTH),
    **dict.fromkeys(_CONFIG, SendFailure.CONFIG),
    **dict.fromkeys(_RECIPIENT, SendFailure.RECIPIENT),
    **dict.fromkeys(_QUOTA, SendFailure.QUOTA),
    63016: SendFailure.WINDOW,
}


_REFUSALS = {
    21610: RefusalReason.OPT_OUT,
    **dict.fromkeys((21211, 21214, 21217, 21614, 30005, 30006), RefusalReason.UNREACHABLE),
}


def refusal(code: int) -> RefusalReason | None:
    """What a failure says of the number from then on."""
    return _REFUSALS.get(code)


def failure(code: int) -> SendFailure:
    """Of a message that was refused or lost."""
    return _FAILURES.get(code, SendFailure.PERMANENT)


def known(code: int) -> SendFailure | None:
    return _FAILURES.get(code)


def words(code: int, said: str | None) -> str | None:
    text = word(said, 300) or _WORDS.get(code)
    if code == 0:
        return text
    return f"{code}: {text}" if text else str(code)
