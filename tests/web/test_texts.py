"""Both tables say the same things."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from app.web import texts


def test_both_languages_have_the_same_keys_and_places() -> None:
    assert texts.ENGLISH.keys() == texts.CHINESE.keys()
    for key, english in texts.ENGLISH.items():
        assert re.findall(r"\{\w+\}", english) == re.findall(r"\{\w+\}", texts.CHINESE[key]), key
        assert texts.CHINESE[key].strip()


@pytest.mark.parametrize(
    ("delta", "english", "chinese"),
    [
        (timedelta(0), "now", "现在"),
        (timedelta(seconds=20), "now", "现在"),
        (timedelta(minutes=5), "in 5 min", "5 分钟后"),
        (timedelta(minutes=-89), "89 min ago", "89 分钟前"),
        (timedelta(hours=2), "in 2 h", "2 小时后"),
        (timedelta(hours=-35), "35 h ago", "35 小时前"),
        (timedelta(days=3), "in 3 days", "3 天后"),
    ],
)
def test_how_far(delta: timedelta, english: str, chinese: str) -> None:
    assert texts.how_far(delta, "en") == english
    assert texts.how_far(delta, "zh") == chinese


@pytest.mark.parametrize(
    ("written", "on_english", "on_chinese"),
    [
        ("Both hinges were replaced.", "", ' lang="en"'),
        ("两个铰链都换了。", ' lang="zh-Hans"', ""),
        ("My door says 床 on its label", "", ' lang="en"'),
        ("订单 A-77 的门", ' lang="zh-Hans"', ""),
        ("ドアが外れました", ' lang="ja"', ' lang="ja"'),
        ("문이 떨어졌어요", ' lang="ko"', ' lang="ko"'),
        ("77 / 88", "", ""),
        ("", "", ""),
    ],
)
def test_what_people_wrote_is_read_aloud_in_its_language(written: str, on_english: str, on_chinese: str) -> None:
    assert texts.tongue(written, "en") == on_english
    assert texts.tongue(written, "zh") == on_chinese


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "22 November 2026, 07:05 UTC"), ("zh", "2026年11月22日 07:05\uff08UTC\uff09")],
)
def test_when(language: Literal["en", "zh"], expected: str) -> None:
    assert texts.when(datetime(2026, 11, 22, 7, 5, tzinfo=UTC), language) == expected
