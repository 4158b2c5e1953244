"""Slack's way of writing: `<...>` for links and people, three escaped characters, names for emoji."""

import re
from typing import Any

from app.channels.base import Outgoing
from app.channels.split import split_text
from app.channels.text import clean

_MARK = re.compile(r"<([^<>\s][^<>\n]{0,4000})>")
_BLOCK_LIMIT = 3000
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_EMOJI = {
    "+1": "👍",
    "thumbsup": "👍",
    "-1": "👎",
    "thumbsdown": "👎",
    "heart": "❤️",
    "heart_eyes": "😍",
    "joy": "😂",
    "smile": "😄",
    "slightly_smiling_face": "🙂",
    "cry": "😢",
    "sob": "😭",
    "angry": "😠",
    "rage": "😡",
    "tada": "🎉",
    "eyes": "👀",
    "pray": "🙏",
    "clap": "👏",
    "ok_hand": "👌",
    "raised_hands": "🙌",
    "wave": "👋",
    "fire": "🔥",
    "rocket": "🚀",
    "100": "💯",
    "question": "❓",
    "white_check_mark": "✅",
    "heavy_check_mark": "✔️",
    "x": "❌",
    "thinking_face": "🤔",
}


def readable(text: str) -> str:
    """As people see it, with the addresses that links hide."""
    shown = _MARK.sub(lambda found: _shown(found[1]), clean(text))
    for escaped, char in _ESCAPES:
        shown = shown.replace(escaped, char)
    return clean(shown)


def _shown(mark: str) -> str:
    target, _, label = mark.partition("|")
    if target[:1] in "@#":
        return target[0] + (label or target[1:]).removeprefix(target[0])
    if target.startswith("!"):
        return label or "@" + target[1:].partition("^")[0]
    address = re.sub(r"^(mailto|tel):", "", target)
    return label if label == address or not address else f"{label} ({address})" if label else address


def escaped(text: str) -> str:
    """What Slack shows exactly so: without this, an agent's text could call a whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def asking(outgoing: Outgoing, text: str) -> list[dict[str, Any]]:
    """The text in as many blocks as Slack wants, its links clickable, and the buttons below."""
    parts = split_text(text, _BLOCK_LIMIT, width)
    said = [{"type": "section", "text": {"type": "mrkdwn", "text": escaped(part)}} for part in parts]
    buttons = [
        {
            "type": "button",
            "action_id": item.payload,
            "text": {"type": "plain_text", "text": item.title, "emoji": False},
            "value": item.payload,
        }
        for item in outgoing.choices
    ]
    return [*said, {"type": "actions", "elements": buttons}]


def width(char: str) -> int:
    """Units of an escaped character, as UTF-16 at most."""
    return 5 if char == "&" else 4 if char in "<>" else 2 if char > "\uffff" else 1


def emoji(name: str) -> str:
    """The character of a common name, else `:name:`; a skin tone is left out."""
    bare = name.partition("::")[0]
    return _EMOJI.get(bare) or f":{bare}:"
