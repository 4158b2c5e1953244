"""Trees of causes: kept as they were given, and refused by the name of the place that is wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.complaints.causes import DEEPEST, MOST, Cause, flatten, nest
from app.errors import Invalid

_TEXTS = st.text(alphabet="abc 为什么", min_size=1, max_size=20).map(str.strip).filter(bool)
_TREES = st.recursive(
    st.builds(Cause, _TEXTS, st.booleans(), st.just([])),
    lambda below: st.builds(Cause, _TEXTS, st.booleans(), st.lists(below, max_size=3)),
    max_leaves=12,
)


def chain(length: int) -> list[Cause]:
    causes: list[Cause] = []
    for number in range(length, 0, -1):
        causes = [Cause(f"why {number}", number == length, causes)]
    return causes


@given(st.lists(_TREES, max_size=3), st.randoms(use_true_random=False))
def test_a_tree_comes_back_as_it_was_from_rows_in_any_order(causes: list[Cause], rng: random.Random) -> None:
    nodes = flatten(causes)
    rng.shuffle(nodes)
    assert nest(nodes) == causes


def test_five_whys_are_a_chain() -> None:
    nodes = flatten(chain(5))
    assert [node.text for node in nodes] == [f"why {number}" for number in range(1, 6)]
    assert [node.parent_id for node in nodes[1:]] == [node.id for node in nodes[:-1]]
    assert [node.root for node in nodes] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("causes", "field"),
    [
        ([Cause("a"), Cause(" ")], "causes.1.text"),
        ([Cause("a", because=[Cause("b"), Cause("x" * 2_001)])], "causes.0.because.1.text"),
        (chain(DEEPEST + 1), "causes" + ".0.because" * DEEPEST),
        ([Cause("a")] * (MOST + 1), "causes"),
    ],
)
def test_refused_by_its_place(causes: list[Cause], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        flatten(causes)
    assert refused.value.extra["field"] == field
