"""Waits grow, vary, obey the provider, and end."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from app.delivery.backoff import Schedule, wait_s

SHIPPED = Schedule()


def waits(schedule: Schedule, *, took_s: float, rng: Random) -> list[float]:
    """Every wait of a message whose attempts all fail after `took_s`."""
    elapsed_s = took_s
    found: list[float] = []
    while (wait := wait_s(schedule, len(found) + 1, elapsed_s=elapsed_s, rng=rng)) is not None:
        found.append(wait)
        elapsed_s += wait + took_s
    return found


def test_shipped_waits_without_jitter() -> None:
    found = waits(Schedule(jitter=0), took_s=0, rng=Random(1))
    assert found[:8] == [2, 5, 15, 60, 300, 900, 1800, 3600]
    assert sum(found) == 24 * 3600


@given(st.integers(0, 2**32), st.floats(0.001, 30))
def test_it_ends_after_its_total(seed: int, took_s: float) -> None:
    found = waits(SHIPPED, took_s=took_s, rng=Random(seed))
    assert SHIPPED.total_s <= sum(found) + took_s * (len(found) + 1) < SHIPPED.total_s + 2 * took_s + 1
    assert len(found) < 45


@given(st.integers(1, 60), st.floats(0, 90_000), st.floats(0, 90_000), st.integers(0, 2**32))
def test_never_sooner_than_asked_nor_after_the_end(attempt: int, elapsed_s: float, asked_s: float, seed: int) -> None:
    wait = wait_s(SHIPPED, attempt, elapsed_s=elapsed_s, retry_after_s=asked_s, rng=Random(seed))
    if wait is None:
        assert elapsed_s >= SHIPPED.total_s or elapsed_s + asked_s > SHIPPED.total_s - 1
    else:
        assert asked_s <= wait <= SHIPPED.total_s - elapsed_s


def test_jitter_spreads_what_failed_together() -> None:
    found = [wait_s(SHIPPED, 4, elapsed_s=0, rng=Random(seed)) or 0 for seed in range(200)]
    assert min(found) < 52
    assert max(found) > 68
    assert all(48 <= wait <= 72 for wait in found)
