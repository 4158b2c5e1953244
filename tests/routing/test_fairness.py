"""Promise 7 over random loads in simulated time: bounded wait, capacity, fair shares; and what strict priority does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.routing.simulation import Agent, Centre, Item, Line

QUEUES = [UUID(int=n) for n in (1, 2)]
RINGS = ({"after_s": 45, "max_level": 2}, {"after_s": 90, "drop_skills": ["visa"], "max_level": 9})
KINDS = (("routine", 0.7, 1, 0.0), ("urgent", 0.2, 2, 600.0), ("complex", 0.1, 3, 300.0))
"""Category, share, weight, head start: as shipped, near enough."""

lines = st.builds(
    lambda first, second: [Line(QUEUES[0], rings=first), Line(QUEUES[1], frozenset({"visa"}), rings=second)],
    st.sampled_from([(), RINGS]),
    st.sampled_from([(), RINGS]),
)
agents = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.dictionaries(st.sampled_from(QUEUES), st.integers(1, 3), min_size=1),
        st.sampled_from([frozenset(), frozenset({"visa"})]),
    ),
    min_size=1,
    max_size=5,
)
items = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(QUEUES),
        st.sampled_from([0.0, 60.0, 600.0]),
        st.integers(1, 3),
        st.floats(1, 200),
        st.integers(0, 2),
    ),
    max_size=50,
)


@settings(max_examples=150, deadline=None)
@given(lines, agents, items, st.sampled_from([1, 2, 200]), st.sampled_from([0.0, 150.0]))
def test_nobody_is_overtaken_beyond_the_head_start(
    drawn: Sequence[Line],
    team: list[tuple[int, dict[UUID, int], frozenset[str]]],
    load: list[tuple[float, UUID, float, int, float, int]],
    page: int,
    opens: float,
) -> None:
    """The centre itself looks that nobody gets more than there is room for, and nothing they may not have."""
    people = [Agent(UUID(int=100 + n), served, capacity, skills) for n, (capacity, served, skills) in enumerate(team)]
    work, at = [], 0.0
    for n, (gap, queue_id, boost, weight, takes, declined) in enumerate(load):
        at += gap
        work.append(Item(n, queue_id, at, boost, weight, takes, declined=declined))
    centre = Centre(drawn, people, page=page, opens=opens)
    centre.run(work)
    assert centre.overtaken <= 0
    for item in work:
        line = next(line for line in drawn if line.id == item.queue_id)
        wide = bool(line.rings)
        may = [one for one in people if item.queue_id in one.queues and (wide or line.skills <= one.skills)]
        assert (item.served is not None) == bool(may), "whoever somebody may serve is served in the end"
    assert all(agent.load == 0 for agent in people)


def load(dice: random.Random, *, count: int, per_s: float, queues: Sequence[UUID], takes_s: float) -> list[Item]:
    """Poisson arrivals of the shipped mix; what takes long in the hand takes up to twice the mean."""
    work, at = [], 0.0
    for n in range(count):
        at += dice.expovariate(per_s)
        _, _, weight, boost = dice.choices(KINDS, [share for _, share, _, _ in KINDS])[0]
        queue_id = dice.choice(queues)
        work.append(
            Item(n, queue_id, at, boost, weight, dice.uniform(0, 2 * takes_s), declined=int(dice.random() < 0.02))
        )
    return work


def test_a_long_day_in_a_busy_centre() -> None:
    """40 agents in two queues at nearly all they can do, with a crowd at the door in the morning."""
    queues = [Line(QUEUES[0], rings=RINGS), Line(QUEUES[1])]
    people = [
        Agent(UUID(int=100 + n), {QUEUES[n % 2]: 1 + n % 3, **({QUEUES[0]: 3} if n % 4 == 1 else {})})
        for n in range(40)
    ]
    units = 1.4 * 300 / (40 * 6)
    work = load(random.Random(3), count=2_500, per_s=0.97 / units, queues=QUEUES, takes_s=300)
    centre = Centre(queues, people, page=7, opens=600)
    centre.run(work)
    assert centre.overtaken <= 0
    assert all(item.served is not None for item in work)


def test_what_needs_a_whole_agent_is_not_starved() -> None:
    """Light ones would take every unit that is freed; the heavy ones wait hardly longer than they do."""
    dice, at, work = random.Random(5), 0.0, []
    for n in range(2_000):
        at += dice.expovariate(1.05 * 18 / (60 * (0.85 + 3 * 0.15)))
        work.append(Item(n, QUEUES[0], at, weight=3 if dice.random() < 0.15 else 1, takes=dice.uniform(30, 90)))
    Centre([Line(QUEUES[0])], [Agent(UUID(int=100 + n), {QUEUES[0]: 1}, capacity=3) for n in range(6)]).run(work)
    longest = {weight: max(item.waited for item in work if item.weight == weight) for weight in (1, 3)}
    assert longest[3] <= longest[1] + 90


def test_equal_agents_get_equal_shares() -> None:
    for seed, at in ((1, 0.4), (2, 0.8), (3, 1.1)):
        people = [Agent(UUID(int=100 + n), {QUEUES[0]: 1}) for n in range(4)]
        units = 1.4 * 120 / (4 * 6)
        work = load(random.Random(seed), count=3_000, per_s=at / units, queues=QUEUES[:1], takes_s=120)
        Centre([Line(QUEUES[0])], people).run(work)
        mean = sum(agent.served for agent in people) / len(people)
        assert max(abs(agent.served - mean) for agent in people) <= 0.05 * mean


def _crowd(count: int, *, head_start: float) -> tuple[list[Item], Centre]:
    """Urgent ones alone are nearly all that 5 agents can do, with the routine ones there is more: by a tenth."""
    dice, at, work = random.Random(11), 0.0, []
    for n in range(count):
        at += dice.expovariate(1.1 * 30 / 60)
        urgent = dice.random() < 0.85
        work.append(Item(n, QUEUES[0], at, head_start if urgent else 0.0, takes=dice.uniform(30, 90)))
    return work, Centre([Line(QUEUES[0])], [Agent(UUID(int=100 + n), {QUEUES[0]: 1}) for n in range(5)])


def _longest(count: int, *, head_start: float) -> float:
    """The longest wait of a routine one."""
    work, centre = _crowd(count, head_start=head_start)
    centre.run(work)
    return max(item.waited for item in work if not item.boost or not head_start)


def test_strict_priority_has_no_bound_and_a_head_start_has() -> None:
    """The same loads, four times as long: what the routine ones wait more than if all were served as they come."""
    head_start, strictly = 300.0, 1e9
    ours, strict = [], []
    for count in (1_000, 4_000):
        in_order = _longest(count, head_start=0)
        ours.append(_longest(count, head_start=head_start) - in_order)
        strict.append(_longest(count, head_start=strictly) - in_order)
    assert max(ours) <= head_start
    assert strict[0] > 2 * head_start
    assert strict[1] > 3 * strict[0], "it grows with the length of the run"
