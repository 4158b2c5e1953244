"""The words of the feedback receipt, in English and Chinese. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af]")
_SUBJECT_LIMIT = 150

_ENGLISH = {
    "hello": "Hello {name},",
    "hello_nobody": "Hello,",
    "opening": "we have finished our work on your request. Here is what we noted.",
    "problem": "The problem as we understood it",
    "resolution": "What we did",
    "commitment": "What we promise next",
    "reminder": "we have not heard from you yet. Was this solved for you?",
    "answer": "Please open this link to confirm the result, or to tell us that it is not solved, and to rate our service:",
    "answer_only": "Please open this link to confirm the result, or to tell us that it is not solved:",
    "subject": "Is it solved? {subject}",
    "subject_none": "Is it solved? Please confirm the result",
    "question": "Is it solved?",
    "yes": "Yes, solved",
    "no": "Not solved",
    "short": "We finished our work on your request. Reply YES if it is solved, NO if not. Details:",
    "short_reminder": "Was your request solved? Reply YES if it is solved, NO if not. Details:",
}
_CHINESE = {
    "hello": "{name}，您好：",
    "hello_nobody": "您好：",
    "opening": "您反映的事项我们已处理完毕，记录如下。",
    "problem": "我们理解的问题",
    "resolution": "我们的处理",
    "commitment": "我们的承诺",
    "reminder": "我们还没有收到您的答复。请问问题解决了吗？",
    "answer": "请打开以下链接确认处理结果，或告诉我们问题尚未解决，并为我们的服务评分：",
    "answer_only": "请打开以下链接确认处理结果，或告诉我们问题尚未解决：",
    "subject": "问题解决了吗？{subject}",
    "subject_none": "问题解决了吗？请确认处理结果",
    "question": "问题解决了吗？",
    "yes": "已解决",
    "no": "未解决",
    "short": "您反映的事项已处理完毕。已解决请回复“是”，未解决请回复“否”。详情：",
    "short_reminder": "请问问题解决了吗？已解决请回复“是”，未解决请回复“否”。详情：",
}
_WORDS: Mapping[Language, Mapping[str, str]] = {"en": _ENGLISH, "zh": _CHINESE}


def known_language(tag: str | None) -> Language | None:
    """The language of ours that a tag such as `zh-Hans-CN` or `en_GB` means; None for an empty tag.

    A language that we have no words for gets English.
    """
    if not tag or not tag.strip():
        return None
    return "zh" if re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0] in ("zh", "yue", "cmn") else "en"


def language_for(contact_language: str | None, text: str) -> Language:
    """The contact's own language, else Chinese where the text has Chinese characters (and is not Japanese or Korean)."""
    known = known_language(contact_language)
    if known is not None:
        return known
    return "zh" if _HAN.search(text) and not _KANA_OR_HANGUL.search(text) else "en"


def link_of(base_url: str, token: str) -> str:
    """The address of the receipt's page."""
    return f"{base_url}/f/{token}"


def receipt_text(
    *,
    language: str,
    problem: str,
    resolution: str,
    commitment: str,
    url: str,
    name: str | None = None,
    survey: bool = True,
    reminder: bool = False,
) -> str:
    """The receipt as a plain message: the three parts, how to answer, and the link alone on the last line.

    Without `survey` it does not ask for a rating; a `reminder` says that we have asked before.
    """
    words = _WORDS[known_language(language) or "en"]
    called = " ".join((name or "").split())
    parts = (("problem", problem), ("resolution", resolution), ("commitment", commitment))
    return "\n\n".join(
        [
            words["hello"].format(name=called) if called else words["hello_nobody"],
            words["reminder" if reminder else "opening"],
            *(f"{words[key]}\n{part.strip()}" for key, part in parts),
            f"{words['answer' if survey else 'answer_only']}\n{url}",
        ]
    )


def short_text(*, language: str, url: str, reminder: bool = False) -> str:
    """For text messages, which are paid for by their length: how to answer, and the link at the end."""
    words = _WORDS[known_language(language) or "en"]
    return f"{words['short_reminder' if reminder else 'short']} {url}"


def question(language: str) -> tuple[str, str, str]:
    """What is asked above buttons, and what they say for yes and for no."""
    words = _WORDS[known_language(language) or "en"]
    return words["question"], words["yes"], words["no"]


def receipt_subject(*, language: str, subject: str | None = None) -> str:
    """For channels that have subjects; one line, at most about 150 characters."""
    words = _WORDS[known_language(language) or "en"]
    line = " ".join((subject or "").split())
    if not line:
        return words["subject_none"]
    return words["subject"].format(subject=line if len(line) <= _SUBJECT_LIMIT else line[: _SUBJECT_LIMIT - 1] + "…")
