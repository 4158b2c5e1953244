"""Answers in the customer's own words: what is taken as one, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.feedback.understand import understand


def corpus(name: str) -> list[tuple[str, ...]]:
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [tuple(line.replace("\\n", "\n").split("\t")) for line in lines if line and not line.startswith("#")]


CORPUS, HELD_OUT = corpus("answers.txt"), corpus("answers_held_out.txt")


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


@pytest.mark.parametrize(("wanted", "recall"), [("solved", 0.95), ("not_solved", 0.95), ("thanks", 0.9)])
def test_what_was_held_out(wanted: str, recall: float) -> None:
    """Nothing is taken for what it is not, and nearly all that says it is understood."""
    read_as = [(expected, text) for expected, text in HELD_OUT if read(text) == wanted]
    assert [pair for pair in read_as if pair[0] != wanted] == []
    there = sum(expected == wanted for expected, _ in HELD_OUT)
    assert len(read_as) >= recall * there, sorted({t for e, t in HELD_OUT if e == wanted} - {t for _, t in read_as})


@pytest.mark.parametrize("text", ["solved 🙄", "yes 👎", "Yes, solved. No.", "no, it works now", "好了 😡", "已解决？"])
def test_what_contradicts_itself_is_an_ordinary_message(text: str) -> None:
    assert read(text) == "-"


LETTERS = (
    "Solved.\n\n{}",
    "It works now\n\nBest regards\n{}",
    "已解决\n\n{}",
    "已解决\n\n祝好\n{}",
    "Solved\n\nBest regards\nKim\n{}",
    "Hi {}, solved",
    "Hello {}\nsolved",
    "Hello\n\n{}\n\nsolved\n\nKim",
)


def test_no_name_and_no_greeting_hides_what_says_more() -> None:
    said = {text for expected, text in CORPUS + HELD_OUT if expected in ("-", "not_solved") and "\n" not in text}
    more = [text for text in said if text not in ("Kim", "no您好，已解决") and read(f"Solved. {text}") == "-"]
    assert len(more) > 200
    tried = [letter.format(written) for letter in LETTERS for text in more for written in (text, text.title())]
    assert [text for text in tried if read(text) == "solved"] == []


def test_a_name_that_is_known_is_one_however_it_is_written() -> None:
    for under in ("kim", "KIM S.", "kim smith", "smith"):
        assert understand(f"it works now\n\n{under}", name="Kim Smith") is not None, under
    assert understand("solved\nno", name="No Reply") is None
    assert understand("solved\n\nkim", name="Ada") is None


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
