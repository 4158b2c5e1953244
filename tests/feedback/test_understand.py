"""Answers in the customer's own words: what is taken as one, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feedback.understand import understand

CORPUS = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "answers.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def read(text: str, *, settled: bool = False) -> str:
    found = understand(text, settled=settled)
    if found is None:
        return "-"
    if found.rule == "rating":
        assert found.answer is not None
        return ",".join(f"{name}={figure}" for name, figure in found.answer.ratings.items())
    return found.rule


@pytest.mark.parametrize(("expected", "text"), CORPUS)
def test_the_corpus(expected: str, text: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(("expected", "text"), CORPUS)
def test_of_what_is_settled_only_ratings_and_thanks_are_left(expected: str, text: str) -> None:
    left = "-" if expected in ("solved", "not_solved") else expected
    assert read(text, settled=True) == left


@pytest.mark.parametrize(("text", "outcome"), [("yes", "confirmed"), ("还没解决", "rejected")])
def test_outcomes(text: str, outcome: str) -> None:
    found = understand(text)
    assert found is not None
    assert found.answer is not None
    assert found.answer.outcome == outcome


@given(st.text(max_size=200))
def test_anything_may_come(text: str) -> None:
    understand(text)


@given(st.text(alphabet="abcdefghij klmnop", min_size=61, max_size=2_000))
def test_a_long_message_is_never_an_answer(text: str) -> None:
    if len(" ".join(text.split())) > 60:
        assert understand(f"yes {text}") is None
