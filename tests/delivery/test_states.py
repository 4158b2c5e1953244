"""The final status is the highest that was heard of, in whatever order."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.states import advance, before
from app.models.words import DeliveryStatus

S = DeliveryStatus


def fold(start: DeliveryStatus, news: list[DeliveryStatus]) -> DeliveryStatus:
    return reduce(lambda current, new: advance(current, new) or current, news, start)


@given(st.lists(st.sampled_from(S)), st.randoms())
def test_order_of_news_does_not_matter(news: list[DeliveryStatus], random: object) -> None:
    shuffled = list(news)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(S.QUEUED, news) == fold(S.QUEUED, shuffled)


@given(st.lists(st.sampled_from(S), min_size=1))
def test_best_news_wins(news: list[DeliveryStatus]) -> None:
    final = fold(S.QUEUED, news)
    for best in (S.READ, S.DELIVERED, S.FAILED, S.SENT, S.UNKNOWN, S.SENDING):
        if best in news:
            assert final == best
            return
    assert final == S.QUEUED


@pytest.mark.parametrize(
    ("current", "new", "expected"),
    [
        (S.QUEUED, S.SENDING, S.SENDING),
        (S.SENDING, S.FAILED, S.FAILED),
        (S.SENDING, S.UNKNOWN, S.UNKNOWN),
        (S.UNKNOWN, S.SENT, S.SENT),
        (S.UNKNOWN, S.READ, S.READ),
        (S.UNKNOWN, S.SENDING, None),
        (S.SENT, S.FAILED, S.FAILED),
        (S.FAILED, S.SENT, None),
        (S.FAILED, S.DELIVERED, S.DELIVERED),
        (S.DELIVERED, S.FAILED, None),
        (S.SENT, S.SENT, None),
        (S.READ, S.DELIVERED, None),
        (S.DELIVERED, S.UNKNOWN, None),
    ],
)
def test_advance(current: DeliveryStatus, new: DeliveryStatus, expected: DeliveryStatus | None) -> None:
    assert advance(current, new) == expected


def test_before_agrees_with_advance() -> None:
    for new in S:
        assert before(new) == [current for current in S if advance(current, new) == new]
