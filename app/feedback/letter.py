"""What stands around the words of a letter, a greeting above and a name below, taken away from a short answer. Pure.

Only what can be nothing else goes: a line that might say something stays, and then the answer is an ordinary message.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from app.feedback import sayings

_LONGEST = 1_000
_LINE = 40
_BENEATH = 2
_DASHES = "-–— "
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?")
_HAN = re.compile(r"[\u3400-\u9fff]+")
_GREETING = re.compile(
    r"\s*(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))[ \t]+(?P<whom>[^\n,!:，！：?？\d]{1,40}?)|"
    r"(?:尊敬的|亲爱的)?(?:[\u3400-\u9fff]{1,3}(?:女士|先生|小姐|经理|老师|客服)|客服|各位|(?P<too>[A-Za-z]{2,20}))[,， ]?(?:[您你]好))"
    r"[ \t]*(?:[,!:，！：]+|\n+|$)",
    re.IGNORECASE,
)
_SIRS = frozenset({"sir", "sirs", "madam", "sir or madam", "sir/madam", "team", "all", "support", "support team"})
_CLOSING = re.compile(
    r"(?:(?:with|many|kind|kindest|best|warm|warmest|my) )*(?:regards|wishes|greetings)|(?:all the )?best|"
    r"(?:yours )?(?:sincerely|truly|faithfully)(?: yours)?|yours|take care|have a (?:nice|great|good|lovely) (?:day|evening|weekend|one)|"
    r"此致|敬礼|此致敬礼|祝好|祝安好|(?:顺祝|祝)商祺|祝(?:您|你)?(?:工作顺利|生活愉快|一切顺利|身体健康)|敬上",
)
_THANKING = re.compile(
    r"(?:many |big )?(?:thanks|thank you|thx|cheers)(?: (?:again|a lot|so much|very much))?(?: (?:and|&) (?:best |kind |warm )?regards)?|多谢|谢谢[您你]?"
)
_COMPANY = re.compile(r"[\u3400-\u9fff]{2,12}(?:公司|集团|中心|部|店|工厂|办公室)")
_PARTICLES = frozenset({"von", "van", "de", "der", "den", "da", "di", "du", "la", "le", "bin", "al", "el", "y", "zu"})
# English words that stand alone with a capital, and say something.
_ALONE = """
    a about after again all almost already also although always am an and annoyed another any apparently april are
    as asap ask at august away awful back bad bath be because been before being best better bill black blue both box
    brand bring broken brown bug but by bye call can cancel car case chair chat check close closed code colour
    complaint confidential contact could cover damaged day dead dear december did different directly disappointing
    disaster do does done door down each early eight either else email empty enough error escalate even every
    everything except exchange explain fail failed failure fake false february few fine first five fix fixed for
    four fraud friday from full funny garbage get give given go gone good got great green had hah haha half halfway
    has have he hello help hence her here hey hi him his hm hmm home hopefully horrible hot how however i if in
    incomplete incorrect indeed inside instead invoice ironic is issue it its january joke july june just keep kind
    lamp large last late later least left less let liar liars like lol look lost mail many march may maybe me mess
    might mine missing monday money month more most much must my name need neither never new next nice nine no
    nobody none nonsense nope nor not nothing november now october of off offline often ok okay old on once one
    online only or order other others our out outside over own package paid parcel part partial partially password
    pathetic pay pending perfect perhaps phone please poor price problem product ps question quick quite ready
    really red refund reopen repair replace replacement reply respond return ridiculous right room rubbish sad same
    sarcasm sarcastic saturday scam screen second see seems send sent september serious service seven shall shame
    she ship should sick six size slow small so solved some somehow someone something sometimes somewhat soon sort
    stay still stop stuck such sunday sure table take ten terrible test thank thanks that the their them then there
    these they thief thing third this those though three thursday ticket till time to today together tomorrow
    tonight too trash true try tuesday two ugly unacceptable unhappy unless until up update upset urgent us use
    useless very wait want was waste we wednesday week well were what when where whether which while white who whole
    whom whose why will with without wonder work works worse worst would wow write wrong year yellow yep yes
    yesterday yet you your yours zero
"""
_ORDINARY = frozenset(_ALONE.split())
_SPEAKING = (
    "ed",
    "ing",
    "ly",
    "less",
    "able",
    "ible",
    "tion",
    "sion",
    "ment",
    "ness",
    "n't",
    "n’t",
    "ful",
    "ous",
    "ive",
)
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙朱胡郭林罗郑梁谢宋唐韩冯邓曹彭肖田董袁潘蒋蔡杜叶程苏魏吕丁沈姚卢姜崔钟谭陆汪范廖贾夏韦邹孟熊秦邱尹薛闫段雷侯陶黎贺顾郝龚邵钱覃戴莫汤劉陳楊黃趙吳孫鄭謝韓馮鄧蕭葉蘇魏呂盧鐘譚陸賈鄒"
)
_SURNAMES_TOO = frozenset("何高马任于万向白方严金余许曾石江龙史毛武孔易常康文尚温游安")
_SAYING = frozenset("不没没沒未还還了吗嗎呢吧啊呀的是有要就能会會行坏壞退修谢謝好等快再又都也很太什么怎")


def body_of(text: str, *, name: str | None = None) -> str:
    """The answer itself, as it was when there is nothing around it. `name` is the sender's, where it is known."""
    if len(text) > _LONGEST:
        return text
    own = frozenset(word.casefold() for word in _WORD.findall(name or ""))
    lines = [line.strip() for line in _ungreeted(text.strip()).split("\n")]
    kept = _unsigned(lines, own)
    return "\n".join(kept) if any(kept) else text


def _ungreeted(text: str) -> str:
    found = _GREETING.match(text)
    if found is None:
        return text
    whom = found["whom"] or found["too"]
    rest = text[found.end() :].strip()
    return rest if rest and (whom is None or _is_whom(whom.casefold())) else text


def _is_whom(whom: str) -> bool:
    words = whom.split()
    if " ".join(words) in _SIRS:
        return True
    if not words or sayings.clauses(whom) or _HAN.search(whom):
        return False
    words = words[1:] if words[0].rstrip(".") in ("mr", "mrs", "ms", "miss", "dr") else words
    return 0 < len(words) <= 3 and all(_WORD.fullmatch(word) and not _speaks(word) for word in words)


def _unsigned(lines: list[str], own: frozenset[str]) -> Sequence[str]:
    """Without the name at the end, and what closes the letter above it; a thank-you stays, it is part of the answer."""
    place = _closing_above(lines, own)
    if place is not None:
        if _THANKING.fullmatch(_bare(lines[place])):
            return [*lines[:place], "thanks"]
        while place and (not lines[place - 1] or _CLOSING.fullmatch(_bare(lines[place - 1]))):
            place -= 1
        return lines[:place]
    *above, last = lines
    said = [line for line in above if line]
    if not said or said[-1].endswith((":", "：")):
        return lines
    last = last.lstrip(_DASHES)
    return above if _is_own(last, own) or (not above[-1] and _is_name(last, certain=False)) else lines


def _closing_above(lines: Sequence[str], own: frozenset[str]) -> int | None:
    """The last line that closes a letter, with names alone beneath it."""
    filled = [place for place, line in enumerate(lines) if line]
    for beneath, place in enumerate(reversed(filled[1:])):
        said = _bare(lines[place])
        if _CLOSING.fullmatch(said) or _THANKING.fullmatch(said):
            return place if _are_names([lines[below] for below in filled if below > place], own) else None
        if beneath == _BENEATH:
            break
    return _thanks_first(lines, filled, own)


def _thanks_first(lines: Sequence[str], filled: Sequence[int], own: frozenset[str]) -> int | None:
    """A letter that is only its closing: "Thanks," and a name."""
    if not 1 < len(filled) <= _BENEATH + 1 or not _THANKING.fullmatch(_bare(lines[filled[0]])):
        return None
    return filled[0] if _are_names([lines[below] for below in filled[1:]], own) else None


def _are_names(lines: Sequence[str], own: frozenset[str]) -> bool:
    bare = [line.lstrip(_DASHES) for line in lines]
    return all(_is_own(line, own) or _is_name(line, certain=True) for line in bare)


def _is_own(line: str, own: frozenset[str]) -> bool:
    """The sender's own name, or a part of it with initials."""
    words = [word.rstrip(".").casefold() for word in line.split()]
    if sayings.clauses(line.casefold()):
        return False
    return bool(own & set(words)) and all(word in own or (len(word) == 1 and word.isalpha()) for word in words)


def _is_name(line: str, *, certain: bool) -> bool:
    """One to three capitalised words, or a Chinese name; `certain` beneath a closing, where a firm may stand as well."""
    if not line or len(line) > _LINE or sayings.clauses(line.casefold()):
        return False
    if _HAN.fullmatch(line):
        return _is_han_name(line, certain=certain)
    words = line.split()
    if not all(_WORD.fullmatch(word) or (certain and word == "&") for word in words):
        return False
    called = [word for word in words if word not in _PARTICLES and word != "&"]
    most = 4 if certain else 3
    return 0 < len(called) <= most and all(_is_called(word, certain=certain) for word in called)


def _is_called(word: str, *, certain: bool) -> bool:
    bare = word.rstrip(".")
    shouted = bare.isupper() and len(bare) > 1
    return (
        word[0].isupper()
        and not shouted
        and not _speaks(word, endings=not certain)
        and bool(len(bare) == 1 or len(bare) < 20)
    )


def _speaks(word: str, *, endings: bool = True) -> bool:
    """It says something, or may."""
    bare = word.rstrip(".").casefold()
    return bare in _ORDINARY or (endings and len(bare) > 3 and bare.endswith(_SPEAKING))


def _is_han_name(line: str, *, certain: bool) -> bool:
    if _SAYING & set(line):
        return False
    if certain and _COMPANY.fullmatch(line):
        return True
    titled = re.sub(r"(?:先生|女士|小姐)$", "", line)
    surname = line[0] in _SURNAMES or (certain and line[0] in _SURNAMES_TOO)
    return surname and len(line) >= 2 and len(titled) <= 3


def _bare(line: str) -> str:
    """A closing without its comma, and without difference of width and case."""
    plain = unicodedata.normalize("NFKC", line).casefold().strip(" ,.!。;~")
    return "".join(plain.split()) if _HAN.search(plain) else " ".join(plain.split())
