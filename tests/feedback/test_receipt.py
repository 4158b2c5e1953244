"""The words of the receipt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feedback import receipt


@pytest.mark.parametrize(
    ("language", "problem", "expected"),
    [
        ("zh", "broken door", "zh"),
        ("zh-Hans-CN", "broken door", "zh"),
        ("ZH_tw", "broken door", "zh"),
        ("en-GB", "柜门坏了", "en"),
        ("de", "柜门坏了", "en"),
        (None, "柜门坏了", "zh"),
        (None, "The 柜 is broken", "zh"),
        (None, "扉が壊れました", "en"),
        (None, "broken door", "en"),
        ("", "柜门坏了", "zh"),
        ("  ", "broken door", "en"),
    ],
)
def test_language(language: str | None, problem: str, expected: str) -> None:
    assert receipt.language_for(language, problem) == expected


@pytest.mark.parametrize("language", ["en", "zh"])
def test_text_has_three_parts_in_order_and_ends_with_the_link(language: str) -> None:
    text = receipt.receipt_text(
        language=language, problem="PPP", resolution="RRR", commitment="CCC", url="https://x.example/f/t", name="Ann"
    )
    places = [text.index(part) for part in ("Ann", "PPP", "RRR", "CCC", "https://x.example/f/t")]
    assert places == sorted(places)
    assert text.endswith("\nhttps://x.example/f/t")
    assert ("确认" in text) == (language == "zh")


@given(st.text(), st.text(), st.text(), st.text() | st.none())
def test_what_the_agent_wrote_is_never_read_as_a_pattern(
    problem: str, resolution: str, commitment: str, name: str | None
) -> None:
    text = receipt.receipt_text(
        language="en", problem=problem, resolution=resolution, commitment=commitment, url="u", name=name
    )
    assert problem.strip() in text
    assert resolution.strip() in text
    assert commitment.strip() in text


def test_without_a_name() -> None:
    text = receipt.receipt_text(language="en", problem="p", resolution="r", commitment="c", url="u", name=None)
    assert text.startswith("Hello,\n")


@given(st.text() | st.none())
def test_subject_is_one_short_line(subject: str | None) -> None:
    for language in ("en", "zh"):
        made = receipt.receipt_subject(language=language, subject=subject)
        assert "\n" not in made
        assert "\r" not in made
        assert 0 < len(made) < 200


def test_link() -> None:
    assert receipt.link_of("https://x.example", "tok") == "https://x.example/f/tok"
