"""What is due for those who wait: looked at only when something is due, it comes to the same as looking every second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.words import DecisionKind
from app.routing.due import Entry, Rules, destination, look, next_at

T0 = datetime(2026, 11, 22, tzinfo=UTC)
A, B, C, D = (UUID(int=n) for n in range(1, 5))
HORIZON = 80


def at(second: float) -> datetime:
    return T0 + timedelta(seconds=second)


@dataclass
class Plan:
    """A queue as the model has it; `closed` are seconds [from, to) in which it passes on what comes."""

    rings: list[dict[str, int]] = field(default_factory=list)
    on: UUID | None = None
    overflow_s: int | None = None
    max_s: int | None = None
    closed: list[tuple[int, int]] = field(default_factory=list)

    def is_closed(self, second: int) -> bool:
        return any(start <= second < end for start, end in self.closed)

    def rules(self, second: int) -> Rules:
        closed = self.is_closed(second)
        closings = [start for start, _ in self.closed if start > second]
        return Rules(
            rings=self.rings,
            overflow_queue_id=self.on,
            overflow_after_s=self.overflow_s,
            max_wait_s=self.max_s,
            closed=closed,
            closes_at=at(second) if closed else at(min(closings)) if closings else None,
        )


@dataclass
class Model:
    """An entry in the words of the rules, looked at every second."""

    queue: UUID
    held: bool
    escalated: bool
    target_until: int | None
    round_until: int | None
    entered: int = 0
    ring: int = 0
    gone: bool = False

    def tick(self, second: int, plans: Mapping[UUID, Plan]) -> None:
        if self.gone:
            return
        if self.target_until is not None:
            if second < self.target_until:
                return
            if self.held and not self.escalated:
                self.gone = True
                return
            self.target_until = None
        if self.round_until is not None and second >= self.round_until:
            self.round_until = None
        if self.held:
            return
        plan = plans[self.queue]
        waited = second - self.entered
        if plan.max_s is not None and waited >= plan.max_s:
            self.escalated = True
        late = plan.overflow_s is not None and waited >= plan.overflow_s
        if plan.is_closed(second) or late:
            self._move(second, plans)
        for number, ring in enumerate(plans[self.queue].rings, 1):
            if second - self.entered >= ring["after_s"]:
                self.ring = max(self.ring, number)

    def _move(self, second: int, plans: Mapping[UUID, Plan]) -> None:
        been, here = [self.queue], plans[self.queue].on
        while here is not None:
            if here in been:
                return
            been.append(here)
            if not plans[here].is_closed(second):
                break
            here = plans[here].on
        if len(been) > 1:
            self.queue, self.entered, self.ring = been[-1], second, 0


small = st.integers(1, 30)
spans = st.lists(st.tuples(st.integers(0, HORIZON), st.integers(1, 20)), max_size=3)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    closed, free_from = [], -1
    for start, length in sorted(draw(spans)):
        if start > free_from:
            closed.append((start, start + length))
            free_from = start + length
    return Plan(
        rings=[{"after_s": after} for after in sorted(draw(st.lists(st.integers(0, 40), max_size=3)))],
        on=draw(st.sampled_from([None, A, B, C])),
        overflow_s=draw(st.none() | small),
        max_s=draw(st.none() | small),
        closed=closed if draw(st.booleans()) else [],
    )


@given(
    st.fixed_dictionaries({A: plans(), B: plans(), C: plans()}),
    st.booleans(),
    st.booleans(),
    st.none() | small,
    st.none() | small,
)
@settings(max_examples=400, deadline=None)
def test_as_a_model_that_looks_every_second(
    found: dict[UUID, Plan], held: bool, escalated: bool, target: int | None, round_: int | None
) -> None:
    for queue_id, plan in found.items():
        if plan.on is not None and plan.on <= queue_id:
            plan.on = None  # the API refuses circles
    model = Model(A, held, escalated, target, round_)
    entry: Entry | None = Entry(
        A, at(0), escalated=escalated, held=held,
        target_agent_id=D if target else None, target_until=at(target) if target else None,
        excluded=("x",) if round_ else (), round_at=at(round_) if round_ else None,
    )  # fmt: skip
    due: datetime | None = at(0)
    for second in range(HORIZON):
        model.tick(second, found)
        if entry is not None and due is not None and due <= at(second):
            queues = {queue_id: plan.rules(second) for queue_id, plan in found.items()}
            verdict = look(entry, queues, at(second))
            entry, due = verdict.entry, verdict.next_at
            assert due is None or due > at(second), "nothing that was due is left"
        if entry is None or model.gone:
            assert entry is None
            assert model.gone
            return
        assert (entry.queue_id, entry.entered_at, entry.ring, entry.escalated) == (
            model.queue, at(model.entered), model.ring, model.escalated,
        )  # fmt: skip
        assert (entry.target_agent_id is None, bool(entry.excluded)) == (
            model.target_until is None,
            model.round_until is not None,
        )


def test_each_step_is_on_the_record() -> None:
    queues = {
        A: Rules(rings=[{"after_s": 10, "drop_skills": ["oak"]}, {"after_s": 20, "max_level": 2}], max_wait_s=25),
        B: Rules(overflow_queue_id=A, overflow_after_s=30, max_wait_s=20),
    }
    first = look(Entry(A, T0), queues, at(21))
    assert [(step.kind, step.detail) for step in first.steps] == [
        (DecisionKind.RING, {"ring": 2, "from_ring": 0, "after_s": 20, "max_level": 2, "waited_s": 21.0})
    ]
    assert first.next_at == at(25)
    second = look(Entry(B, T0, round_at=at(5), excluded=("a", "b")), queues, at(31))
    assert [step.kind for step in second.steps] == [DecisionKind.ROUND, DecisionKind.ESCALATED, DecisionKind.OVERFLOW]
    assert second.steps[0].detail == {"asked_again": ["a", "b"]}
    assert second.steps[2].detail["path"] == [str(A)]
    assert {step.queue_id for step in second.steps} == {B}
    assert second.entry == Entry(A, at(31), escalated=True)
    assert second.next_at == at(41)


def test_a_chain_goes_past_those_that_are_closed_and_never_in_a_circle() -> None:
    closed = Rules(overflow_queue_id=C, closed=True)
    assert destination(A, {A: Rules(overflow_queue_id=B), B: closed, C: Rules()}) == [B, C]
    assert destination(A, {A: Rules(overflow_queue_id=B), B: Rules(overflow_queue_id=C), C: Rules()}) == [B]
    assert destination(A, {A: Rules(overflow_queue_id=B)}) == [], "it is not active any more"
    circle = {A: Rules(overflow_queue_id=B, closed=True), B: Rules(overflow_queue_id=A, closed=True)}
    assert destination(A, circle) == []
    assert look(Entry(A, T0), circle, at(5)) == look(Entry(A, T0), circle, at(500))


def test_who_is_meant_for_an_agent_waits_for_nothing_else() -> None:
    queues = {A: Rules(max_wait_s=5, overflow_queue_id=B, overflow_after_s=5), B: Rules()}
    entry = Entry(A, T0, target_agent_id=D, target_until=at(60))
    assert look(entry, queues, at(30)).steps == ()
    assert next_at(entry, queues) == at(60)
    released = look(entry, queues, at(60))
    assert [step.kind for step in released.steps] == [
        DecisionKind.UNTARGETED, DecisionKind.ESCALATED, DecisionKind.OVERFLOW,
    ]  # fmt: skip
    assert look(replace(entry, held=True), queues, at(60)).entry is None
    assert look(replace(entry, held=True, escalated=True), queues, at(60)).entry == Entry(
        A, T0, escalated=True, held=True
    )
