"""The answer to a receipt, as a table and as a property."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.feedback.survey import COMMENT_LIMIT, RATINGS, Answer

NAMES = ("outcome", "solved", "confirmed", "result", "resolved", "csat", "rating", "satisfaction", "nps", "recommend",
         "content", "efficiency", "attitude", "comment", "reason", "anonymous", "csrf")  # fmt: skip


@pytest.mark.parametrize(
    "word", ["confirmed", "confirm", "solved", "resolved", "yes", "YES ", "true", "1", True, 1, "已解决"]
)
def test_words_for_solved(word: Any) -> None:
    assert Answer.model_validate({"outcome": word}).outcome == "confirmed"


@pytest.mark.parametrize(
    "word",
    [
        "rejected",
        "reject",
        "not_solved",
        "Not solved",
        "not-solved",
        "unresolved",
        "no",
        "false",
        "0",
        False,
        0,
        "未解决",
    ],
)
def test_words_for_not_solved(word: Any) -> None:
    assert Answer.model_validate({"outcome": word}).outcome == "rejected"


@pytest.mark.parametrize("name", ["outcome", "solved", "confirmed", "result", "resolved"])
def test_names_of_the_outcome(name: str) -> None:
    assert Answer.model_validate({name: "yes"}).outcome == "confirmed"


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"csat": "5"}, "csat", 5),
        ({"rating": 4}, "csat", 4),
        ({"satisfaction": " 3 "}, "csat", 3),
        ({"csat": "", "rating": "2"}, "csat", 2),
        ({"nps": 0}, "nps", 0),
        ({"recommend": "10"}, "nps", 10),
        ({"content": 1}, "content", 1),
        ({"efficiency": "5"}, "efficiency", 5),
        ({"attitude": 5}, "attitude", 5),
        ({"comment": " two\r\nlines "}, "comment", "two\nlines"),
        ({"reason": "still cold"}, "comment", "still cold"),
        ({"comment": "a\x00b"}, "comment", "ab"),
        ({"comment": "x" * COMMENT_LIMIT}, "comment", "x" * COMMENT_LIMIT),
        ({"csat": 5, "anonymous": "on"}, "anonymous", True),
        ({"csat": 5, "anonymous": "false"}, "anonymous", False),
        ({"csat": 5, "csrf": "abc", "zip": [1]}, "csat", 5),
    ],
)
def test_accepted(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(Answer.model_validate(given), field) == value


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "outcome"),
        ({"outcome": "", "csat": "  ", "comment": "\x00"}, "outcome"),
        ({"anonymous": "true"}, "outcome"),
        ({"outcome": "perhaps"}, "outcome"),
        ({"outcome": ["yes"]}, "outcome"),
        ({"outcome": 2}, "outcome"),
        ({"csat": 0}, "csat"),
        ({"csat": 6}, "csat"),
        ({"csat": "good"}, "csat"),
        ({"csat": 4.5}, "csat"),
        ({"csat": True}, "csat"),
        ({"csat": "1_0"}, "csat"),
        ({"csat": "+5"}, "csat"),
        ({"csat": "５"}, "csat"),
        ({"nps": "-0"}, "nps"),
        ({"nps": "1e1"}, "nps"),
        ({"comment": "\u200b\u3164"}, "outcome"),
        ({"rating": 9}, "csat"),
        ({"nps": 11}, "nps"),
        ({"nps": -1}, "nps"),
        ({"nps": "9" * 5000}, "nps"),
        ({"content": 0}, "content"),
        ({"efficiency": "6"}, "efficiency"),
        ({"attitude": []}, "attitude"),
        ({"comment": "x" * (COMMENT_LIMIT + 1)}, "comment"),
        ({"comment": 7}, "comment"),
        ({"csat": 5, "anonymous": "perhaps"}, "anonymous"),
    ],
)
def test_refused_naming_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Answer.model_validate(given)
    assert [item["loc"] for item in raised.value.errors()] == [(field,)]


def test_ratings_alone_are_an_answer_without_outcome() -> None:
    answer = Answer.model_validate({"csat": 5, "nps": 0})
    assert answer.outcome is None
    assert answer.ratings == {"csat": 5, "nps": 0}


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 11)
    | st.integers()
    | st.floats()
    | st.text()
    | st.text("a5 \x00\r\n", max_size=6)
    | st.binary()
    | st.sampled_from(["yes", "no", "5", "0", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


_text = st.text() | st.text("a5 \x00\r\n", max_size=6)
_number = st.integers(0, 11) | st.integers(0, 11).map(str) | st.just("")
_plausible = st.fixed_dictionaries(
    {},
    optional={
        "outcome": st.sampled_from(["yes", "Not solved", "", "maybe"]),
        "rating": _number,
        "nps": _number,
        "attitude": _number,
        "comment": _text,
        "reason": _text,
        "anonymous": st.booleans() | st.sampled_from(["on", ""]),
    },
)
_wild = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), _anything, max_size=8)


@settings(max_examples=500)
@given(_plausible | _wild | _anything)
def test_never_anything_but_an_answer_or_a_validation_error(value: Any) -> None:
    try:
        answer = Answer.model_validate(value)
    except ValidationError:
        return
    assert answer.outcome in ("confirmed", "rejected", None)
    for name, rating in answer.ratings.items():
        assert (0 <= rating <= 10) if name == "nps" else (1 <= rating <= 5)
    assert answer.outcome or answer.ratings or answer.comment
    assert answer.comment is None or (0 < len(answer.comment) <= COMMENT_LIMIT and "\x00" not in answer.comment)
    answer.model_dump_json()
    assert set(RATINGS) >= set(answer.ratings)
