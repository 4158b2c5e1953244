"""What a caller hears, by language; an operator replaces any of it in the channel's configuration. Pure."""

from collections.abc import Mapping

# {name} in a text is filled in; a text needs none of them.
_ENGLISH = {
    "greeting": "Thank you for calling.",
    "position": "You are number {position} in the queue. Please hold the line.",
    "wait": "Thank you for holding.",
    "connect": "We are connecting you now.",
    "recorded": "This call may be recorded.",
    "call_back": "You called us. Please hold the line while we connect you.",
    "dialling": "Your customer is being called.",
    "closed": "We are closed at the moment.",
    "nobody": "All our colleagues are busy.",
    "voicemail": "Please leave a message after the tone, and we will call you back.",
    "kept": "Thank you. We will call you back.",
    "goodbye": "Thank you for calling. Goodbye.",
    "trouble": "We are sorry, something went wrong on our side. Please call again later.",
}
_CHINESE = {
    "greeting": "您好，感谢您的来电。",
    "position": "您当前排在第{position}位，请稍候。",
    "wait": "感谢您的耐心等待。",
    "connect": "正在为您转接。",
    "recorded": "本次通话可能会被录音。",
    "call_back": "您刚才来电，请稍候，正在为您接通。",
    "dialling": "正在呼叫您的客户。",
    "closed": "现在是非工作时间。",
    "nobody": "客服人员全部忙线。",
    "voicemail": "请在提示音后留言，我们会尽快回电。",
    "kept": "谢谢，我们会尽快给您回电。",
    "goodbye": "感谢您的来电，再见。",
    "trouble": "非常抱歉，系统出现问题，请稍后再拨。",
}
TEXTS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "zh": _CHINESE}
TAGS = {
    "en": "en-GB",
    "zh": "zh-CN",
    "de": "de-DE",
    "fr": "fr-FR",
    "es": "es-ES",
    "it": "it-IT",
    "ja": "ja-JP",
    "pt": "pt-PT",
}


def check(language: str, texts: Mapping[str, str]) -> None:
    """Raises ValueError for a text that nobody says, or one that asks for something that is not known."""
    for name, text in texts.items():
        if name not in _ENGLISH:
            raise ValueError(f"texts.{language}: there is no text {name}; there are {', '.join(_ENGLISH)}")
        try:
            text.format(position=1)
        except (KeyError, IndexError, ValueError, AttributeError):
            raise ValueError(f"texts.{language}.{name}: only {{position}} can be filled in") from None


def language(wanted: str | None, default: str, own: Mapping[str, Mapping[str, str]]) -> str:
    """The contact's language, where there is any text in it."""
    main = (wanted or "").partition("-")[0].partition("_")[0].lower()
    return main if main in own or main in TEXTS else default


def say(name: str, spoken: str, own: Mapping[str, Mapping[str, str]], *, position: int | None = None) -> str:
    text = own.get(spoken, {}).get(name) or TEXTS.get(spoken, _ENGLISH)[name]
    return text.format(position=position or 1)
