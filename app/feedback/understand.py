"""What a customer answers to a receipt in their own words, on the channel itself. Pure.

Precision before recall: a message is taken as an answer only when it says nothing else. What is not understood is an
ordinary message, and the matter goes on. English and Chinese.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from app.feedback.survey import Answer

Outcome = Literal["confirmed", "rejected"]
_LONGEST = 60

_SOLVED = frozenset(
    """
    yes|yes it is|yes thanks|yes thank you|yes solved|yes it is solved|yes its solved|yes it works|yes it works now|yes all good|y|yep|yup|yeah|
    solved|its solved|it is solved|it is solved now|solved thanks|solved thank you|resolved|its resolved|it is resolved|resolved thanks|
    fixed|its fixed|it is fixed|it is fixed now|fixed thanks|works now|it works|it works now|it works now thanks|all good|all good now|all good thanks|
    all fine|all fine now|confirmed|i confirm|problem solved|issue resolved|my problem is solved|my issue is resolved|everything works|
    everything works now|everything is fine now|that solved it|that fixed it|that worked|
    是|是的|是的谢谢|是已解决|已解决|已经解决|已经解决了|解决了|解决啦|好了解决了|好的解决了|解决了谢谢|已解决谢谢|已经解决了谢谢|谢谢已经解决了|谢谢已解决|
    问题解决了|问题已解决|问题已经解决|问题已经解决了|修好了|已经修好了|已经好了|可以用了|现在可以了|现在好了|确认|确认解决|都解决了|搞定了|没问题了
    """.replace("\n", "").replace("    ", "").split("|")
)  # fmt: skip
_NOT_SOLVED = frozenset(
    """
    no|no its not|no it is not|no it isnt|nope|n|not solved|its not solved|it is not solved|its still not solved|it is still not solved|no not solved|not solved yet|still not solved|
    not resolved|its not resolved|it is not resolved|not resolved yet|still not resolved|no not resolved|unsolved|unresolved|not fixed|
    its not fixed|it is not fixed|still not fixed|not fixed yet|still broken|its still broken|it is still broken|not working|still not working|
    it still does not work|it still doesnt work|still doesnt work|does not work|doesnt work|it does not work|it doesnt work|not yet|no not yet|
    still the same problem|the problem is still there|the issue is still there|problem not solved|issue not resolved|
    不是|否|没有|还没有|没|没解决|没有解决|还没解决|还没有解决|未解决|否未解决|不没有解决|没有还没解决|问题没解决|问题没有解决|问题还没解决|问题还没有解决|
    问题依旧|问题还在|还是不行|还是坏的|还没好|没修好|还没修好|没有修好|依然没有解决|仍未解决|仍然没有解决|不行|用不了|还是用不了|还是老样子
    """.replace("\n", "").replace("    ", "").split("|")
)  # fmt: skip
_THANKS = frozenset(
    """
    thanks|thank you|thanks a lot|thank you very much|thank you so much|many thanks|thx|ty|cheers|great thanks|ok thanks|okay thanks|ok thank you|ok|okay|
    great|perfect|perfect thanks|great thank you|much appreciated|thanks for your help|thank you for your help|thanks again|good|nice|
    谢谢|谢谢你|谢谢您|谢谢你们|多谢|非常感谢|感谢|太感谢了|好的谢谢|好的|好|收到|收到谢谢|ok谢谢|好的谢谢您|好的谢谢你|辛苦了|谢谢辛苦了|嗯|嗯嗯|行
    """.replace("\n", "").replace("    ", "").split("|")
)  # fmt: skip
_POLITE = (
    " thank you very much",
    " thank you so much",
    " thank you",
    " many thanks",
    " thanks",
    " thx",
    "谢谢您",
    "谢谢你",
    "谢谢",
)
_THANKING_SIGNS = frozenset("👍🙏❤😊🙂😀👌🎉")
_STARS = re.compile(r"(?:[⭐★🌟]){1,5}")
_OF = re.compile(r"(10|[0-9]) ?(?:/|out of|of) ?(5|10)")
_POINTS = re.compile(r"(10|[0-9]) ?(?:stars?|points?|分|星|颗星)?")
_CHINESE_STARS = {"一星": 1, "二星": 2, "两星": 2, "三星": 3, "四星": 4, "五星": 5, "五星好评": 5, "满分": 5}


@dataclass(frozen=True, slots=True)
class Understood:
    """`answer` is None for a bare thank-you, which settles nothing and reopens nothing. `rule` says how it was read."""

    rule: Literal["solved", "not_solved", "rating", "thanks"]
    answer: Answer | None


def understand(text: str, *, settled: bool = False) -> Understood | None:
    """What `text` answers; None when it is an ordinary message. Of what is `settled` only ratings and thanks are left."""
    plain = _plain(text)
    if not plain or len(plain) > _LONGEST:
        return None
    if (rating := _rating(plain)) is not None:
        return Understood("rating", rating)
    words = _bare(plain)
    if words in _THANKS or (not words and _thanking(plain)):
        return Understood("thanks", None)
    if settled:
        return None
    said = _without_thanks(words)
    if said in _SOLVED:
        return Understood("solved", Answer(outcome="confirmed"))
    if said in _NOT_SOLVED:
        return Understood("not_solved", Answer(outcome="rejected"))
    return None


def _plain(text: str) -> str:
    """One line, without difference of width and case."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare(plain: str) -> str:
    """Without punctuation and signs: "It's solved, thanks!!" is "its solved thanks"."""
    if "?" in plain:
        return "?"
    kept = "".join(character if character.isalnum() or character == " " else "" for character in plain)
    return " ".join(kept.split())


def _without_thanks(words: str) -> str:
    """The same without politeness at its end."""
    for ending in _POLITE:
        if words.endswith(ending) and words != ending.strip():
            return words.removesuffix(ending).strip()
    return words


def _thanking(plain: str) -> bool:
    signs = [character for character in plain if unicodedata.category(character) not in ("Mn", "Sk", "Cf", "Zs")]
    return bool(signs) and all(sign in _THANKING_SIGNS for sign in signs)


def _rating(plain: str) -> Answer | None:
    """A bare figure: 1 to 5 is how satisfied they are; 0 and 6 to 10 can only be how likely they recommend us."""
    bare = plain.rstrip("!.。！ ")
    compact = bare.replace(" ", "").replace("\ufe0f", "")
    if _STARS.fullmatch(compact):
        return Answer(csat=len(compact))
    if compact in _CHINESE_STARS:
        return Answer(csat=_CHINESE_STARS[compact])
    if (match := _OF.fullmatch(bare)) is not None:
        given, most = int(match[1]), int(match[2])
        return Answer(nps=given) if most == 10 else Answer(csat=given) if 1 <= given <= 5 else None
    if (match := _POINTS.fullmatch(bare)) is not None:
        given = int(match[1])
        if 1 <= given <= 5:
            return Answer(csat=given)
        return Answer(nps=given) if bare.isdigit() or "分" in bare or "point" in bare else None
    return None
