"""The choice of an agent: named reasons, rank, order and room, as tables and as properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.words import Availability, Role
from app.routing.choose import LOOK, PATIENCE_S, Plan, choose, decided_by
from app.routing.views import AgentView, LeftOut, Waiting, need

QUEUE, OTHER = UUID(int=1), UUID(int=2)
VISA = frozenset({"visa"})
T0 = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


def agent(n: int, **fields: Any) -> AgentView:
    values: dict[str, Any] = {"role": Role.AGENT, "queues": {QUEUE: 1}, "capacity": 6, "load": 0}
    return AgentView(id=UUID(int=n), **{**values, **fields})


def entry(**fields: Any) -> Waiting:
    return Waiting(**{"conversation_id": UUID(int=99), "queue_id": QUEUE, "weight": 1, **fields})


@pytest.mark.parametrize(
    ("who", "what", "reason"),
    [
        (agent(1, active=False), entry(), LeftOut.INACTIVE),
        (agent(1, availability=Availability.AWAY), entry(), LeftOut.NOT_ONLINE),
        (agent(1, availability=Availability.BUSY), entry(), LeftOut.NOT_ONLINE),
        (agent(1, present=False), entry(), LeftOut.NOT_PRESENT),
        (agent(1, queues={OTHER: 1}), entry(), LeftOut.NOT_IN_QUEUE),
        (agent(1, role=Role.ADMIN, queues={}), entry(), LeftOut.NOT_IN_QUEUE),
        (agent(1, load=6), entry(), LeftOut.NO_CAPACITY),
        (agent(1, load=5), entry(weight=2), LeftOut.NO_CAPACITY),
        (agent(1, load=7), entry(), LeftOut.NO_CAPACITY),
        (agent(1, capacity=0), entry(), LeftOut.NO_CAPACITY),
        (agent(1), entry(excluded=frozenset({UUID(int=1)})), LeftOut.EXCLUDED),
        (agent(1), entry(skills=frozenset({"visa"})), LeftOut.LACKS_SKILL),
        (agent(1, skills=VISA), entry(specialists=VISA, skills=frozenset({"refund"})), LeftOut.LACKS_SKILL),
        (agent(1, queues={QUEUE: 2}), entry(max_level=1), LeftOut.OUTSIDE_RING),
        (agent(1, queues={OTHER: 1}, skills=VISA), entry(specialists=VISA), LeftOut.NOT_IN_QUEUE),
        (agent(1), entry(target_agent_id=UUID(int=2)), LeftOut.NOT_TARGET),
        (agent(1), entry(escalated=True, assignee_id=UUID(int=2)), LeftOut.NOT_GRADED),
        (agent(1, role=Role.SUPERVISOR), entry(escalated=True, assignee_id=UUID(int=1)), LeftOut.HAS_IT),
    ],
)
def test_an_agent_stands_aside_for_a_named_reason(who: AgentView, what: Waiting, reason: LeftOut) -> None:
    decision = choose(what, [who])
    assert (decision.agent_id, decision.left_out) == (None, {who.id: reason})


@pytest.mark.parametrize(
    ("agents", "what", "first"),
    [
        ([agent(1, load=3), agent(2, load=2)], entry(), 2),
        ([agent(1, load=1, capacity=2), agent(2, load=2, capacity=6)], entry(), 2),
        ([agent(1, idle_since=T0), agent(2, idle_since=T0 - timedelta(seconds=1))], entry(), 2),
        ([agent(1, idle_since=T0), agent(2)], entry(), 2),
        ([agent(2), agent(1)], entry(), 1),
        ([agent(1), agent(2, load=5, languages=frozenset({"zh-CN"}))], entry(language="zh"), 1),
        (
            [agent(1, languages=frozenset({"en"})), agent(2, load=4, languages=frozenset({"zh"}))],
            entry(language="zh-TW"),
            2,
        ),
        ([agent(1, languages=frozenset({"en"}))], entry(language="fr"), 1),
        ([agent(1), agent(2, load=5, role=Role.SUPERVISOR, queues={})], entry(escalated=True), 2),
        ([agent(1), agent(2, load=5, role=Role.ADMIN, queues={})], entry(escalated=True), 2),
        ([agent(1), agent(2, load=6, role=Role.SUPERVISOR)], entry(escalated=True), 1),
        ([agent(1), agent(2, load=5, queues={})], entry(target_agent_id=UUID(int=2)), 2),
        ([agent(1, queues={QUEUE: 2}), agent(2, load=5)], entry(), 2),
        ([agent(1, queues={QUEUE: 2}), agent(2, load=5)], entry(max_level=2), 2),
        ([agent(1, queues={QUEUE: 3}), agent(2, load=6)], entry(), 1),
        (
            [agent(1, queues={QUEUE: 2}, languages=frozenset({"zh"})), agent(2, languages=frozenset({"en"}))],
            entry(language="zh"),
            1,
        ),
        ([agent(1), agent(2, load=5, queues={QUEUE: 2})], entry(preferred_agent_id=UUID(int=2)), 2),
        (
            [agent(1, languages=frozenset({"zh"})), agent(2, languages=frozenset({"en"}))],
            entry(preferred_agent_id=UUID(int=2), language="zh"),
            2,
        ),
        ([agent(1), agent(2, queues={OTHER: 1})], entry(preferred_agent_id=UUID(int=2)), 1),
        ([agent(1), agent(2, queues={QUEUE: 2})], entry(preferred_agent_id=UUID(int=2), max_level=1), 1),
        ([agent(1), agent(2, load=5, skills=VISA)], entry(specialists=VISA), 2),
        ([agent(1), agent(2, queues={QUEUE: 2}, skills=VISA)], entry(specialists=VISA, max_level=1), 2),
        (
            [agent(1, role=Role.SUPERVISOR, queues={}, load=4), agent(2, skills=VISA, load=3), agent(3)],
            entry(escalated=True, specialists=VISA),
            2,
        ),
        (
            [agent(1), agent(2, role=Role.SUPERVISOR, queues={}, load=5)],
            entry(escalated=True, preferred_agent_id=UUID(int=1)),
            2,
        ),
        ([agent(1, role=Role.ADMIN)], entry(), 1),
    ],
)
def test_rank(agents: list[AgentView], what: Waiting, first: int) -> None:
    assert choose(what, agents).agent_id == UUID(int=first)
    assert choose(what, reversed(agents)).agent_id == UUID(int=first)


def test_a_weight_that_no_capacity_holds_is_taken_alone() -> None:
    decision = choose(entry(weight=3), [agent(1, capacity=2)])
    assert (decision.agent_id, decision.weight) == (UUID(int=1), 2)
    assert choose(entry(weight=3), [agent(1, capacity=2, load=1)]).agent_id is None


def test_equal_agents_take_turns_within_one_plan() -> None:
    plan = Plan([agent(1), agent(2), agent(3)])
    chosen = [plan.decide(entry()).agent_id for _ in range(6)]
    assert chosen == [UUID(int=n) for n in (1, 2, 3, 1, 2, 3)]


def test_a_heavy_one_lets_others_pass_for_a_while_then_an_agent_is_kept_for_it() -> None:
    agents = [agent(1, load=4), agent(2, load=5)]
    young, old = entry(weight=3), entry(weight=3, waited_s=PATIENCE_S)
    plan = Plan(agents)
    assert plan.decide(young).kept_agent_id is None
    assert plan.decide(entry()).agent_id == UUID(int=1)

    plan = Plan(agents)
    assert plan.decide(old).kept_agent_id == UUID(int=1)
    later = plan.decide(entry())
    assert (later.agent_id, later.left_out) == (UUID(int=2), {UUID(int=1): LeftOut.KEPT_FREE})
    assert plan.decide(entry()).agent_id is None


def test_of_many_the_best_are_looked_at_and_shown() -> None:
    team = [agent(n, load=n % 6, idle_since=T0 - timedelta(seconds=n)) for n in range(1, 200)]
    plan = Plan(team)
    for _ in range(50):
        everyone = choose(entry(), [replace(who, load=who.capacity - free) for who, free in plan.usable()])
        decision = plan.decide(entry())
        assert len(decision.candidates) == LOOK
        assert decision.candidates[0].utilisation == everyone.candidates[0].utilisation


def test_what_could_not_be_offered_leaves_its_room() -> None:
    plan = Plan([agent(1, load=5)])
    decision = plan.decide(entry())
    assert not plan.usable()
    plan.undo(decision)
    assert [(who.id, free) for who, free in plan.usable()] == [(UUID(int=1), 1)]


def full(n: int, **fields: Any) -> AgentView:
    return agent(n, load=6, **fields)


@pytest.mark.parametrize(
    ("who", "what"),
    [
        (full(1), entry(preferred_for_s=5)),
        (agent(1, load=4), entry(preferred_for_s=5, weight=3)),
        (full(1, queues={QUEUE: 2}), entry(preferred_for_s=5, max_level=2)),
    ],
)
def test_the_queue_waits_for_whoever_had_the_contact(who: AgentView, what: Waiting) -> None:
    what = replace(what, preferred_agent_id=who.id)
    decision = choose(what, [agent(2), who])
    assert (decision.agent_id, decision.awaited_agent_id) == (None, who.id)
    assert decision.left_out == {who.id: LeftOut.NO_CAPACITY, UUID(int=2): LeftOut.NOT_PREFERRED}
    assert Plan([agent(2), who]).decide(what).awaited_agent_id == who.id
    assert Plan([agent(2)]).decide(replace(what, preferred=who)).awaited_agent_id == who.id
    assert choose(replace(what, preferred_for_s=0), [agent(2), who]).agent_id == UUID(int=2)


@pytest.mark.parametrize(
    ("who", "what"),
    [
        (full(1), entry(preferred_for_s=0)),
        (full(1), entry(preferred_for_s=5, escalated=True)),
        (full(1), entry(preferred_for_s=5, excluded=frozenset({UUID(int=1)}))),
        (full(1, queues={QUEUE: 2}), entry(preferred_for_s=5, max_level=1)),
        (full(1, queues={OTHER: 1}), entry(preferred_for_s=5)),
        (full(1, present=False), entry(preferred_for_s=5)),
        (full(1, availability=Availability.AWAY), entry(preferred_for_s=5)),
        (full(1), entry(preferred_for_s=5, target_agent_id=UUID(int=2))),
    ],
)
def test_it_waits_for_nobody_else(who: AgentView, what: Waiting) -> None:
    what = replace(what, preferred_agent_id=who.id)
    assert choose(what, [agent(2), who]).agent_id == UUID(int=2)
    assert Plan([agent(2)]).decide(replace(what, preferred=who)).agent_id == UUID(int=2)


def test_what_decides_is_named() -> None:
    def between(one: AgentView, other: AgentView, **fields: Any) -> str | None:
        return decided_by(choose(entry(**fields), [one, other]).candidates)

    assert between(agent(1, role=Role.ADMIN), agent(2), escalated=True) == "graded"
    assert between(agent(1), agent(2), preferred_agent_id=UUID(int=2)) == "preferred"
    assert between(agent(1, languages=frozenset({"en"})), agent(2), language="zh") == "speaks"
    assert between(agent(1), agent(2, queues={QUEUE: 2})) == "level"
    assert between(agent(1), agent(2, load=1)) == "utilisation"
    assert between(agent(1, idle_since=T0), agent(2)) == "longest_idle"
    assert decided_by(choose(entry(), [agent(1)]).candidates) is None


people = st.builds(
    agent,
    st.integers(1, 8),
    role=st.sampled_from(list(Role)),
    queues=st.dictionaries(st.sampled_from([QUEUE, OTHER]), st.integers(1, 3)),
    capacity=st.integers(0, 6),
    load=st.integers(0, 7),
    availability=st.sampled_from([Availability.ONLINE, Availability.ONLINE, Availability.ONLINE, Availability.AWAY]),
    active=st.sampled_from([True, True, True, False]),
    present=st.sampled_from([True, True, True, False]),
    idle_since=st.one_of(st.none(), st.integers(0, 5).map(lambda s: T0 + timedelta(seconds=s))),
    skills=st.sets(st.sampled_from(["visa", "refund"])).map(frozenset),
    languages=st.sets(st.sampled_from(["en", "zh-CN"])).map(frozenset),
)
teams = st.lists(people, max_size=8, unique_by=lambda who: who.id)
ids = st.integers(1, 8).map(lambda n: UUID(int=n))
matters = st.builds(
    entry,
    queue_id=st.sampled_from([QUEUE, OTHER]),
    weight=st.integers(1, 3),
    skills=st.sets(st.sampled_from(["visa", "refund"]), max_size=1).map(frozenset),
    language=st.sampled_from([None, "en", "zh"]),
    escalated=st.booleans(),
    assignee_id=st.one_of(st.none(), ids),
    target_agent_id=st.one_of(st.none(), st.none(), ids),
    excluded=st.sets(ids, max_size=3).map(frozenset),
    waited_s=st.sampled_from([0.0, PATIENCE_S * 2]),
    max_level=st.sampled_from([None, None, 1, 2]),
    specialists=st.sampled_from([frozenset(), frozenset(), VISA]),
    preferred_agent_id=st.one_of(st.none(), ids),
    preferred_for_s=st.sampled_from([0.0, 0.0, 5.0]),
)


def is_fit(what: Waiting, who: AgentView) -> bool:
    """The rules once more, in plain words: whom it may be offered to, room or not."""
    if not (who.active and who.availability == "online" and who.present):
        return False
    if who.id in what.excluded or who.id == what.assignee_id:
        return False
    if what.target_agent_id:
        return who.id == what.target_agent_id
    if what.escalated and who.role != Role.AGENT:
        return True
    if what.queue_id not in who.queues or not what.skills <= who.skills:
        return False
    if what.specialists & who.skills:
        return True
    if what.escalated and what.assignee_id:
        return False
    return what.max_level is None or who.queues[what.queue_id] <= what.max_level


def has_room(what: Waiting, who: AgentView) -> bool:
    return who.capacity > 0 and who.capacity - who.load >= need(what.weight, who.capacity)


def is_awaited(what: Waiting, who: AgentView) -> bool:
    asked_for = what.preferred_agent_id == who.id and what.preferred_for_s > 0
    return (
        asked_for and not what.escalated and not what.target_agent_id and is_fit(what, who) and not has_room(what, who)
    )


def may_take(what: Waiting, who: AgentView) -> bool:
    return is_fit(what, who) and has_room(what, who)


@given(matters, teams, st.randoms())
def test_the_choice_is_one_who_may_and_does_not_depend_on_the_order(
    what: Waiting, team: list[AgentView], dice: Any
) -> None:
    decision = choose(what, team)
    awaited = next((who.id for who in team if is_awaited(what, who)), None)
    assert decision.awaited_agent_id == awaited
    able = {who.id for who in team if may_take(what, who) and awaited is None}
    assert {candidate.agent_id for candidate in decision.candidates} == able
    assert (decision.agent_id in able) if able else (decision.agent_id is None)
    assert able | set(decision.left_out) == {who.id for who in team}
    shuffled = list(team)
    dice.shuffle(shuffled)
    again = choose(what, shuffled)
    assert (again.agent_id, again.candidates, again.left_out) == (
        decision.agent_id,
        decision.candidates,
        decision.left_out,
    )


@given(matters, teams)
def test_a_plan_chooses_as_one_who_looks_at_all(what: Waiting, team: list[AgentView]) -> None:
    one, all_of_them = Plan(team).decide(what), choose(what, team)
    assert replace(one, left_out={}) == replace(all_of_them, left_out={})


@settings(max_examples=200)
@given(st.lists(matters, max_size=30), teams)
def test_a_plan_goes_on_choosing_as_one_who_looks_at_all(work: list[Waiting], team: list[AgentView]) -> None:
    """What lists and memories of earlier choices save changes no choice."""
    quick, slow = Plan(team), Plan(team)
    for what in work:
        assert replace(quick.decide(what), left_out={}) == replace(slow.decide(what, look_at_all=True), left_out={})


@given(matters, teams)
def test_an_escalated_one_goes_to_a_supervisor_where_one_may(what: Waiting, team: list[AgentView]) -> None:
    what = replace(what, escalated=True, target_agent_id=None)
    roles = {who.id: who.role for who in team}
    chosen = choose(what, team).agent_id
    if any(may_take(what, who) and who.senior for who in team):
        assert chosen is not None
        assert roles[chosen] != Role.AGENT or what.specialists & {one.id: one for one in team}[chosen].skills


@settings(max_examples=200)
@given(st.lists(matters, max_size=30), teams)
def test_a_plan_never_gives_more_than_there_is_room_for(work: list[Waiting], team: list[AgentView]) -> None:
    plan, load = Plan(team), {who.id: who.load for who in team}
    for what in work:
        decision = plan.decide(what)
        if decision.agent_id is not None:
            load[decision.agent_id] += decision.weight
            assert decision.agent_id not in what.excluded
    assert all(load[who.id] <= max(who.capacity, who.load) for who in team)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=30), teams)
def test_of_two_that_are_alike_the_earlier_one_is_served(work: list[tuple[int, bool]], team: list[AgentView]) -> None:
    plan, unserved = Plan(team), set()
    for weight, escalated in work:
        kind = (weight, escalated)
        decision = plan.decide(entry(weight=weight, escalated=escalated))
        assert decision.agent_id is None or kind not in unserved, "overtaken by one that is just like it"
        if decision.agent_id is None:
            unserved.add(kind)
