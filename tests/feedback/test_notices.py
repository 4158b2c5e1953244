"""The words of notices: complete in both languages, the operator's own before ours, and nothing is interpreted twice."""

from __future__ import annotations

import pytest

from app.errors import Invalid
from app.feedback import notices
from app.models import AnnouncementText
from app.models.progress import Announced

LINK = "https://example.test/c/abc"


@pytest.mark.parametrize("what", list(Announced))
@pytest.mark.parametrize("channel_type", ["email", "sms"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_notice_has_words(what: Announced, channel_type: str, language: str) -> None:
    notice = notices.write(
        what, own=[], channel_type=channel_type, language=language, written="", link=LINK, name="Mei"
    )
    assert LINK in notice.text
    assert "{" not in notice.text + (notice.subject or "")
    assert any("\u4e00" <= sign <= "\u9fff" for sign in notice.text) == language.startswith("zh")
    assert channel_type == "email" or len(notice.text) <= 160


def test_language_of_the_contact_then_of_what_they_wrote() -> None:
    def words(language: str | None, written: str) -> str:
        return notices.write(
            Announced.ACKNOWLEDGED, own=[], channel_type="email", language=language, written=written, link=LINK
        ).text

    assert words("en", "门坏了").startswith("Hello,")
    assert words(None, "门坏了").startswith("您好")
    assert words("fr", "bonjour").startswith("Hello,")


def test_the_nearest_text_of_the_operator_counts() -> None:
    def row(text: str, language: str, channel_type: str | None = None) -> AnnouncementText:
        return AnnouncementText(what="acknowledged", language=language, channel_type=channel_type, text=text)

    own = [
        row("any fr {link}", "fr"),
        row("mail fr {link}", "fr", "email"),
        row("en {link}", "en"),
        row("ca {link}", "fr-ca"),
    ]

    def words(language: str | None, channel_type: str) -> str:
        return (
            notices.write(
                Announced.ACKNOWLEDGED, own=own, channel_type=channel_type, language=language, written="", link=LINK
            )
            .text.split(" /")[0]
            .removesuffix(f" {LINK}")
        )

    assert words("fr", "email") == "mail fr"
    assert words("fr_CA", "email") == "ca"
    assert words("fr-BE", "sms") == "any fr"
    assert words("de", "sms") == "en"
    assert words(None, "sms") == "en"
    assert words("zh-Hant", "sms").startswith("我们")


def test_what_goes_out_by_another_channel_is_in_the_words_of_both() -> None:
    def words(*types: str | None, own: bool = True) -> str:
        rows = [
            AnnouncementText(what="acknowledged", language="en", channel_type=kind, text=f"{kind} {{link}}")
            for kind in types
            if own
        ]
        return notices.write(
            Announced.ACKNOWLEDGED, own=rows, channel_type="form", by="sms", language="en", written="", link=LINK
        ).text

    assert len(words(own=False)) <= 160, "a text message is short"
    assert words("sms", None) == f"sms {LINK}"
    assert words("email", "sms", "form") == f"form {LINK}"


def test_who_has_written_no_word_yet_is_answered_in_the_channels_language() -> None:
    def words(language: str | None, written: str) -> str:
        what = Announced.ACKNOWLEDGED
        return notices.write(
            what, own=[], channel_type="wechat", language=language, written=written, link=LINK, otherwise="zh"
        ).text

    assert words(None, "").startswith("您好")
    assert words(None, "123 ?!").startswith("您好")
    assert words(None, "ok").startswith("Hello")
    assert words("en", "").startswith("Hello")


def test_a_name_is_not_a_template() -> None:
    notice = notices.write(
        Announced.ACKNOWLEDGED,
        own=[],
        channel_type="email",
        language="en",
        written="",
        link=LINK,
        name="{link} {x}\nBcc: a",
        subject="{name}\r\nX: y",
    )
    assert notice.text.startswith("Hello {link} {x} Bcc: a,")
    assert notice.subject == "Re: {name} X: y"


@pytest.mark.parametrize(
    "text", ["{link} {nobody}", "{link.__class__}", "{link} {", "} {link}", "{link!r}", "{} {link}", "no link"]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        notices.check(text, field="text", needs_link=True)
    assert refused.value.extra["field"] == "text"


def test_what_is_taken() -> None:
    notices.check("{greeting} {name} {subject} {handler} {link}", field="text", needs_link=True)
