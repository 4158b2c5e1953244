"""The words of notices, in English and Chinese, and the operator's own instead. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.errors import Invalid
from app.feedback.receipt import Language, known_language, language_for
from app.models.progress import Announced, AnnouncementText

PLACEHOLDERS = ("greeting", "name", "link", "subject", "handler")
_SUBJECT_LIMIT = 150
_FIELD = re.compile(r"\{([^{}]*)\}")
_ENGLISH: Mapping[str, str] = {
    "subject": "Re: {subject}",
    "subject_none": "Your request",
    Announced.ACKNOWLEDGED: "{greeting}\n\nwe have received your message, and will answer you here.\n\n"
    "This page shows at any time where your matter stands, and takes messages too:\n{link}",
    Announced.ASSIGNED: "{greeting}\n\nyour matter is in hand now: {handler} is working on it.\n\nWhere it stands:\n{link}",
    Announced.ON_HOLD: "{greeting}\n\nwe are waiting for something that we need to go on with your matter. You do not have to "
    "do anything.\n\nWhere it stands:\n{link}",
    Announced.TRANSFERRED: "{greeting}\n\nwe have passed your matter on to the colleagues who can help you best.\n\n"
    "Where it stands:\n{link}",
    Announced.REOPENED: "{greeting}\n\nwe have taken up your matter again.\n\nWhere it stands:\n{link}",
}
_CHINESE: Mapping[str, str] = {
    "subject": "回复：{subject}",
    "subject_none": "您反映的事项",
    Announced.ACKNOWLEDGED: "{greeting}\n\n我们已收到您的消息，将在此答复您。\n\n您可随时在以下页面查看处理进度，也可在该页面留言：\n{link}",
    Announced.ASSIGNED: "{greeting}\n\n您反映的事项已由{handler}受理，正在处理中。\n\n查看处理进度：\n{link}",
    Announced.ON_HOLD: "{greeting}\n\n我们正在等待继续处理所需的条件，您无需任何操作。\n\n查看处理进度：\n{link}",
    Announced.TRANSFERRED: "{greeting}\n\n您反映的事项已转交给更合适的同事处理。\n\n查看处理进度：\n{link}",
    Announced.REOPENED: "{greeting}\n\n我们已重新受理您反映的事项。\n\n查看处理进度：\n{link}",
}
_SHORT: Mapping[Language, Mapping[str, str]] = {
    "en": {
        Announced.ACKNOWLEDGED: "We have received your message. Where it stands: {link}",
        Announced.ASSIGNED: "Your matter is in hand now. Where it stands: {link}",
        Announced.ON_HOLD: "We are waiting for something that we need to go on with your matter. Where it stands: {link}",
        Announced.TRANSFERRED: "We have passed your matter on to other colleagues. Where it stands: {link}",
        Announced.REOPENED: "We have taken up your matter again. Where it stands: {link}",
    },
    "zh": {
        Announced.ACKNOWLEDGED: "我们已收到您的消息。查看进度：{link}",
        Announced.ASSIGNED: "您的事项正在处理中。查看进度：{link}",
        Announced.ON_HOLD: "您的事项正在等待继续处理所需的条件。查看进度：{link}",
        Announced.TRANSFERRED: "您的事项已转交其他同事处理。查看进度：{link}",
        Announced.REOPENED: "您的事项已重新受理。查看进度：{link}",
    },
}
_WORDS: Mapping[Language, Mapping[str, str]] = {"en": _ENGLISH, "zh": _CHINESE}
_GREETINGS: Mapping[Language, tuple[str, str]] = {"en": ("Hello {name},", "Hello,"), "zh": ("{name}，您好：", "您好：")}
_HANDLERS: Mapping[Language, Mapping[str, str]] = {
    "en": {"agent": "a member of our service team", "supervisor": "a supervisor", "admin": "a manager"},
    "zh": {"agent": "我们的客服人员", "supervisor": "客服主管", "admin": "客服经理"},
}
_BRIEF = ("sms",)


@dataclass(frozen=True, slots=True)
class Notice:
    subject: str | None
    text: str


def write(
    what: Announced,
    *,
    own: Sequence[AnnouncementText],
    channel_type: str,
    language: str | None,
    written: str,
    link: str,
    name: str | None = None,
    subject: str | None = None,
    handler_role: str | None = None,
    otherwise: str | None = None,
    by: str | None = None,
) -> Notice:
    """In the contact's `language`, else in that of what they have `written`, or `otherwise`, when they wrote no word; the
    operator's `own` text comes before ours. `by` is the type of channel that it goes out by, where that is another."""
    if not language and not any(map(str.isalpha, written)):
        language = otherwise
    ours = language_for(language, written)
    types = (channel_type, by or channel_type)
    found = _own(own, what, types, language or ours) or _own(own, what, types, ours)
    shipped = _SHORT[ours][what] if types[1] in _BRIEF else _WORDS[ours][what]
    line, called = " ".join((subject or "").split()), " ".join((name or "").split())
    line = line if len(line) <= _SUBJECT_LIMIT else line[: _SUBJECT_LIMIT - 1] + "…"
    with_name, without = _GREETINGS[ours]
    values = {
        "greeting": with_name.replace("{name}", called) if called else without,
        "name": called,
        "link": link,
        "subject": line,
        "handler": _HANDLERS[ours].get(handler_role or "agent", _HANDLERS[ours]["agent"]),
    }
    title = (found.subject if found else None) or _WORDS[ours]["subject" if line else "subject_none"]
    return Notice(fill(title, values), fill(found.text if found else shipped, values))


def _own(own: Sequence[AnnouncementText], what: str, types: Sequence[str], language: str) -> AnnouncementText | None:
    """The nearest: the language itself before its base, these types of channels in their order before any."""
    tags = [language.lower().replace("_", "-")]
    tags += [tags[0].split("-")[0]] if "-" in tags[0] else []
    if known_language(language) == "zh":
        tags.append("zh")
    places = (*types, None)
    fitting = [row for row in own if row.what == what and row.language in tags and row.channel_type in places]
    return min(fitting, key=lambda row: (tags.index(row.language), places.index(row.channel_type)), default=None)


def fill(template: str, values: Mapping[str, str]) -> str:
    """With the values in their places; what a value itself holds is left alone."""
    return _FIELD.sub(lambda found: values.get(found.group(1), found.group(0)), template)


def check(template: str, *, field: str, needs_link: bool = False) -> None:
    """Raises Invalid for a placeholder that we do not know, a lone brace, or a text that lacks the link."""
    names = _FIELD.findall(template)
    for name in names:
        if name not in PLACEHOLDERS:
            listed = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise Invalid(f"there is no placeholder {{{name[:40]}}}; there are {listed}", field=field)
    if "{" in (rest := _FIELD.sub("", template)) or "}" in rest:
        raise Invalid("a brace stands alone", field=field)
    if needs_link and "link" not in names:
        raise Invalid("needs {link}: the customer follows the matter by it", field=field)
