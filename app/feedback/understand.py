"""What a customer answers to a receipt in their own words, on the channel itself. Pure.

Precision before recall: a message is taken as an answer only when it says nothing else. What is not understood is an
ordinary message, and the matter goes on. English and Chinese.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from app.feedback import letter, sayings
from app.feedback.survey import Answer

Outcome = Literal["confirmed", "rejected"]
_LONGEST = 90

_THANKS = frozenset(
    """
    thanks|thank you|thanks a lot|thank you very much|thank you so much|many thanks|thx|ty|cheers|great thanks|ok thanks|okay thanks|ok thank you|ok|okay|
    great|perfect|perfect thanks|great thank you|much appreciated|thanks for your help|thank you for your help|thanks again|good|nice|
    谢谢|谢谢你|谢谢您|谢谢你们|多谢|非常感谢|感谢|太感谢了|好的谢谢|好的|好|收到|收到谢谢|ok谢谢|好的谢谢您|好的谢谢你|辛苦了|谢谢辛苦了|嗯|嗯嗯|行
    """.replace("\n", "").replace("    ", "").split("|")
)  # fmt: skip
_THANKING_SIGNS = frozenset("👍🙏❤😊🙂😀👌🎉")
_YES_SIGNS, _NO_SIGNS = frozenset("✅✔☑"), frozenset("❌✖")
_DOUBTFUL_SIGNS = frozenset("👎❌🙄😡😠🤬😤😒🤔😢😭😞🤷💩")
_STARS = re.compile(r"(?:[⭐★🌟]){1,5}")
_OF = re.compile(r"(10|[0-9]) ?(?:/|out of|of) ?(5|10)")
_POINTS = re.compile(r"(?:给|打)?(10|[0-9]) ?(?:stars?|points?|分|星|颗星)?")
_STARS_IN_WORDS = {
    **{f"{sign}{unit}": figure for figure, signs in enumerate(("一", "二两", "三", "四", "五"), 1) for sign in signs for unit in ("星", "颗星", "分")},
    **{f"{word}star{'s' if figure > 1 else ''}": figure for figure, word in enumerate(("one", "two", "three", "four", "five"), 1)},
    "五星好评": 5,
    "三": 3,
    "四": 4,
    "五": 5,
    "满分": 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Understood:
    """`answer` is None for a bare thank-you, which settles nothing and reopens nothing. `rule` says how it was read."""

    rule: Literal["solved", "not_solved", "rating", "thanks"]
    answer: Answer | None


def understand(text: str, *, settled: bool = False, name: str | None = None) -> Understood | None:
    """What `text` answers; None when it is an ordinary message. Of what is `settled` only ratings and thanks are left. By
    `name`, the sender's, it is known what they put under it."""
    plain = _plain(letter.body_of(text, name=name))
    if not plain or len(plain) > _LONGEST:
        return None
    if (rating := _rating(plain)) is not None:
        return Understood("rating", rating)
    words = _bare(plain)
    if words in _THANKS or (not words and _thanking(plain)):
        return Understood("thanks", None)
    if settled:
        return None
    outcome = _outcome(plain)
    if outcome == "confirmed":
        return Understood("solved", Answer(outcome=outcome))
    return Understood("not_solved", Answer(outcome=outcome)) if outcome == "rejected" else None


def _outcome(plain: str) -> Outcome | None:
    """One verdict, and nothing that doubts it. A bare "no" with a thank-you ("no, thanks") is none."""
    if "?" in plain:
        return None
    signs = {char for char in plain if not char.isalnum()}
    said = set(sayings.clauses(plain) or ())
    if said == set() and not any(char.isalnum() for char in plain):
        only = {char for char in signs if unicodedata.category(char) not in ("Mn", "Sk", "Cf", "Zs", "Po")}
        return "confirmed" if only and only <= _YES_SIGNS else "rejected" if only and only <= _NO_SIGNS else None
    solved, not_solved = said & {"solved", "yes"}, said & {"not_solved", "no"}
    if bool(solved) == bool(not_solved):
        return None
    if solved:
        return None if signs & _DOUBTFUL_SIGNS or said & {"please_go_on", "regret"} else "confirmed"
    return None if "not_solved" not in said and "thanks" in said else "rejected"


def _plain(text: str) -> str:
    """One line, without difference of width and case."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare(plain: str) -> str:
    """Without punctuation and signs: "It's solved, thanks!!" is "its solved thanks"."""
    if "?" in plain:
        return "?"
    kept = "".join(character if character.isalnum() or character == " " else "" for character in plain)
    return " ".join(kept.split())


def _thanking(plain: str) -> bool:
    signs = [character for character in plain if unicodedata.category(character) not in ("Mn", "Sk", "Cf", "Zs")]
    return bool(signs) and all(sign in _THANKING_SIGNS for sign in signs)


def _rating(plain: str) -> Answer | None:
    """A bare figure: 1 to 5 is how satisfied they are; 0 and 6 to 10 can only be how likely they recommend us."""
    bare = plain.rstrip("!.。！ ")
    compact = bare.replace(" ", "").replace("\ufe0f", "")
    if _STARS.fullmatch(compact):
        return Answer(csat=len(compact))
    if (figure := _STARS_IN_WORDS.get(compact)) is not None:
        return Answer(csat=figure)
    if (match := _OF.fullmatch(bare)) is not None:
        given, most = int(match[1]), int(match[2])
        return Answer(nps=given) if most == 10 else Answer(csat=given) if 1 <= given <= 5 else None
    if (match := _POINTS.fullmatch(bare)) is not None:
        given = int(match[1])
        if 1 <= given <= 5:
            return Answer(csat=given)
        return Answer(nps=given) if bare.isdigit() or "分" in bare or "point" in bare else None
    return None
