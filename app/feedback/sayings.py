"""How people say that it is solved, or is not, clause by clause: grammars, not key words. English and Chinese. Pure.

A clause counts only when all of it is understood, so that "solved, but" or "解决了吗" is neither.
"""

from __future__ import annotations

import re
from typing import Literal

Clause = Literal["solved", "not_solved", "yes", "no", "thanks", "polite", "regret", "please_go_on"]

_TYPOS = {
    **dict.fromkeys(("slved", "sovled", "soved", "solvd", "solvedd", "solevd"), "solved"),
    **dict.fromkeys(("reslved", "resovled", "resloved", "resolvd", "resolvedd", "reolved"), "resolved"),
    **dict.fromkeys(("fixd", "fxed", "fixxed"), "fixed"),
    **dict.fromkeys(("yess", "yesss", "yea", "ya", "yes yes"), "yes"),
    **dict.fromkeys(("wroks", "workes"), "works"),
    **dict.fromkeys(("dosent", "doesnot", "dosnt", "doesent"), "doesnt"),
    **dict.fromkeys(("thx", "tks", "thnx", "thanx", "tnx"), "thanks"),
}
_TRADITIONAL = str.maketrans(
    "決沒還問題謝確認經處當現樣開終無對們復辦幫煩請繼續", "决没还问题谢确认经处当现样开终无对们复办帮烦请继续"
)
_THING = r"(?:it|that|this|(?:my|the|our)? ?(?:problem|issue|matter|request|ticket|case))"
_DONE = r"(?:solved|resolved|fixed|sorted(?: out)?)"
_GRAMMAR: tuple[tuple[Clause, str], ...] = (
    ("yes", r"yes|y|yep|yup|yeah"),
    ("no", r"no|n|nope|否|不|不是|不对|没有?|还没有?|不没有"),
    (
        "thanks",
        r"(?:ok |okay |great |perfect |many |big )*(?:thanks?(?: you)?|ty|cheers)(?: (?:a lot|a million|so much|very much|again|all|team|guys))*"
        r"(?: for (?:your|the) (?:quick |great |kind )?(?:help|support|assistance|service|reply))?|much appreciated|"
        r"(?:好的?|收到|ok|太|非常|万分|十分)?(?:多谢|谢谢|感谢|谢了|谢啦)(?:你们?|您|亲|大家|帮助|你的帮助|您的帮助|啦|了|哦)*|辛苦(?:了|你们了|您了)|麻烦你?们?了",
    ),
    (
        "polite",
        r"(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))(?: (?:there|team|all|support))?|sorry(?: but)?|"
        r"(?:best|kind|warm|many)? ?(?:regards|wishes)|best|greetings|sincerely|ok|okay|great|perfect|good|nice|excellent|awesome|brilliant|super|"
        r"[您你]好|好的?|嗯+|恩+|收到|亲|ok|哈喽|抱歉|不好意思",
    ),
    ("regret", r"unfortunately|sadly|可惜|遗憾"),
    (
        "solved",
        rf"(?:(?:yes|yep|yup|yeah|ok|great|perfect|all) )*(?:i (?:can )?confirm (?:that )?)?(?:{_THING}(?:s| is| has been| is now|s been| got| was| have been)? )?(?:now |all |already |finally |indeed )*{_DONE}"
        r"(?: now| already| again| indeed| for me)*",
    ),
    (
        "solved",
        r"(?:(?:yes|yep|yup|yeah|ok|great|perfect) )*(?:(?:it|that|this|everything|all)(?: is|s|)? )?(?:now |all |finally )*"
        r"(?:works|working|worked|up and running)(?: fine| well| perfectly| great| again| now| for me)*",
    ),
    (
        "solved",
        r"(?:(?:yes|yep|yup|yeah|ok|great) )*(?:(?:its |it is )?all (?:is )?(?:good|fine|ok|okay|well|set|sorted)|everything(?:s| is) (?:ok|okay|fine|good))(?: now| again)*",
    ),
    ("solved", r"(?:yes )?(?:that|it|this) (?:did the trick|did it|solved it|fixed it|helped|did help)|(?:yes )?(?:it is|it does|it did)"),
    ("solved", r"(?:yes )?(?:i )?(?:can )?confirm(?:ed)?"),
    ("solved", r"(?:yes )?(?:please |you can |you may |feel free to )?close (?:it|(?:this|the|my) (?:ticket|case|request))(?: now)?(?: please)?"),
    (
        "not_solved",
        rf"(?:(?:no|nope|sorry|unfortunately|but) )*(?:{_THING}(?:s| is| was| has| have|) )?(?:still |unfortunately )?(?:not|isnt|wasnt|hasnt)(?: been| yet| being| really)* "
        rf"(?:{_DONE}|working)(?: yet| at all| for me| now)*",
    ),
    (
        "not_solved",
        r"(?:(?:no|nope|sorry|but) )*(?:(?:it|that|this) )?(?:still )?(?:does not|doesnt|dont|do not|did not|didnt)(?: really)? "
        r"(?:work|help|solve it|fix it|function)(?: at all| yet| for me)*",
    ),
    ("not_solved", r"(?:(?:no|nope) )*(?:(?:it|that)(?: is|s)? )?(?:still (?:just )?(?:the same(?: problem| issue)?|broken|failing)|not yet)"),
    ("not_solved", r"(?:(?:no|sorry|unfortunately|but) )*(?:the|my|this) (?:same )?(?:problem|issue|error) (?:is still (?:there|here)|still (?:exists|persists|remains|there)|persists|remains|is back)"),
    ("not_solved", r"(?:no )?(?:it isnt|its not|it is not|it does not|it doesnt|it did not|it didnt)(?: yet)?|(?:its )?(?:still )?the same as before"),
    ("not_solved", r"(?:i )?(?:still|am still|i still|im still) (?:have|having|get|getting|see|seeing) the same (?:problem|issue|error)"),
    ("not_solved", r"(?:the )?same (?:problem|issue|error)(?: again| as before| still)*|nothing (?:has )?changed|unsolved|unresolved"),
    (
        "solved",
        r"(?:是的?|对的?|嗯+|恩+|好的?|谢谢|ok)*(?:我的|这个)?(?:问题|事情|故障)?(?:都|全部)?(?:已经|已|现在已经|现在|目前|终于)?都?"
        r"(?:解决|处理好|处理完|修好|弄好|搞定|恢复正常|恢复|正常|好|可以用|可以|能用|没问题|没有问题)[了啦咯]",
    ),
    (
        "solved",
        r"(?:是的?|对的?|嗯+|好的?|谢谢)*(?:我的|这个)?(?:(?:问题|事情|故障)?都?(?:已经|已|确认)(?:解决|处理好|处理完|修好|恢复正常|恢复)|(?:问题|事情|故障)解决|确认(?:已经?解决)?|搞定)了?",
    ),
    ("solved", r"好了(?:问题)?(?:已经?|都)?解决了"),
    ("solved", r"(?:我)?(?:对结果|对服务)?(?:已经|都)?(?:很|非常|十分|特别|挺|相当)?满意"),
    ("yes", r"是的?|对的?"),
    (
        "not_solved",
        r"(?:不是?|否|没有?)?(?:我的|这个|那个)?(?:问题|事情|故障)?(?:目前|现在|到现在|依然|依旧|仍然|仍旧|仍|还是|还|根本|并|尚|都|一直|也)*(?:没有|没|未)(?:能|被)?"
        r"(?:得到)?(?:解决|处理好|处理|修好|弄好|搞定|恢复|好)(?:呢|啊|呀|哦)?",
    ),
    ("not_solved", r"(?:根本|还是|仍然|并)?(?:没有|没|未)(?:能)?(?:真正)?解决(?:我的|这个)?问题|(?:根本)?不解决(?:问题)?"),
    ("not_solved", r"(?:我)?(?:对结果|对服务)?(?:很|非常|十分|特别|极其|极|还是)?不满意|(?:给)?差评"),
    ("not_solved", r"(?:问题|故障)?(?:还是|依然|依旧|仍然|仍旧|仍|还)(?:不行|不能用|用不了|打不开|老样子|一样|坏的|没反应|没用|不好使)|不行|用不了"),
    ("not_solved", r"问题(?:还在|依旧|依然|仍在|还存在|依然存在|依旧存在|仍然存在|还是存在|依然在|没变)"),
    ("please_go_on", r"(?:麻烦|请)[您你]?(?:们)?(?:再|继续|尽快)?(?:帮忙)?(?:看一下|看看|看下|处理一下|处理|跟进)(?:一下)?|please (?:look|check)(?: into it| at it)?(?: again)?|please help"),
)  # fmt: skip
_COMPILED = [(name, re.compile(pattern)) for name, pattern in _GRAMMAR]
_BREAK = re.compile(r"[.,!;:，。！；：、~～…()（）\n]+|\s-+\s")
_HAN = re.compile(r"[\u3400-\u9fff]")
_ENDING = re.compile(
    r"(?P<said>.+?)(?: (?:thanks(?: a lot| so much| very much)?|many thanks|thank you(?: so much| very much)?|cheers)|多谢|非常感谢|谢谢[你您]?们?|感谢)"
)


def clauses(text: str) -> list[Clause] | None:
    """What each clause of a casefolded text says, in their order; None when one of them says something else."""
    found: list[Clause] = []
    for part in _BREAK.split(text.translate(_TRADITIONAL)):
        words = _bare(part)
        if not words:
            continue
        said = _read(words)
        if said is None:
            return None
        found += said
    return found


def _bare(part: str) -> str:
    kept = "".join(char if char.isalnum() else "" if char in "'’`" else " " for char in part)
    words = " ".join(_TYPOS.get(word, word) for word in kept.split())
    return words.replace(" ", "") if _HAN.search(words) else words


def _read(words: str) -> list[Clause] | None:
    for name, pattern in _COMPILED:
        if pattern.fullmatch(words):
            return [name]
    ending = _ENDING.fullmatch(words)
    if ending is not None and (said := _read(ending["said"].strip())) is not None:
        return [*said, "thanks"]
    return None
