"""Where a matter stands, as its customer may know it (pure): roles instead of names, promises instead of clocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.models.words import ClockMetric, ClockState, ConversationStatus

StepState = Literal["done", "current", "todo"]

_STEPS = ("received", "working", "result", "closed")


@dataclass(frozen=True, slots=True)
class Clock:
    """What a promise needs of an SLA clock."""

    metric: str
    state: str
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Promise:
    """What happens next: a key of the texts, and by when."""

    key: str
    at: datetime | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Keys of the texts: `state_*`, `who_*` (None when nobody has to have it), and the promises, nearest first."""

    state: str
    who: str | None
    promises: Sequence[Promise]
    steps: Sequence[tuple[str, StepState]]


def standing(
    *,
    status: str,
    handler_role: str | None,
    owned: bool,
    clocks: Iterable[Clock],
    snoozed_until: datetime | None,
    at: datetime,
) -> Standing:
    """`handler_role` is the role of who has it now, `owned` whether somebody took it before, `at` the present."""
    working = status == ConversationStatus.OPEN and handler_role is not None
    state = "working" if working else "waiting" if status == ConversationStatus.OPEN else status
    return Standing(
        state=state,
        who=_who(status, handler_role, owned),
        promises=_promises(status, working, clocks, snoozed_until, at),
        steps=_steps(state),
    )


def _who(status: str, handler_role: str | None, owned: bool) -> str | None:
    if status == ConversationStatus.CLOSED:
        return None
    if handler_role is not None:
        return handler_role
    return "back" if owned else "nobody"


def _promises(
    status: str, working: bool, clocks: Iterable[Clock], snoozed_until: datetime | None, at: datetime
) -> list[Promise]:
    if status == ConversationStatus.RESOLVED:
        return [Promise("confirm")]
    if status == ConversationStatus.CLOSED:
        return [Promise("nothing")]
    dated = [
        Promise(ClockMetric(clock.metric).value, clock.due_at, late=clock.due_at <= at)
        for clock in clocks
        if clock.state == ClockState.RUNNING and clock.due_at is not None
    ]
    return [_by_state(status, working, snoozed_until), *sorted(dated, key=lambda promise: promise.at or at)]


def _by_state(status: str, working: bool, snoozed_until: datetime | None) -> Promise:
    if status == ConversationStatus.WAITING_ON_CUSTOMER:
        return Promise("reply")
    if status == ConversationStatus.SNOOZED and snoozed_until is not None:
        return Promise("snoozed", snoozed_until)
    if status == ConversationStatus.OPEN:
        return Promise("work" if working else "agent")
    return Promise("hold")


def _steps(state: str) -> list[tuple[str, StepState]]:
    """The current step is the first that is not behind us; when it is closed, all of them are."""
    current = {"waiting": 0, "resolved": 2, "closed": 4}.get(state, 1)
    return [
        (name, "done" if index < current else "current" if index == current else "todo")
        for index, name in enumerate(_STEPS)
    ]
