"""The stages of a clock (pure): warnings, the breach, escalations, and when each of them comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.models import SlaPolicy
from app.sla import run as runs
from app.sla.run import Run, Span, Timeline

WARNED, BREACHED, ESCALATED = "warned", "breached", "escalated"
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Stage:
    """`after_us` of counted time it comes; `level` is 0 for a warning, 1 for the breach, more for what follows."""

    kind: str
    after_us: int
    level: int
    do: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages of one limit, in the order in which they come. `breach` counts from 1."""

    stages: tuple[Stage, ...]
    breach: int


@dataclass(frozen=True, slots=True)
class Armed:
    """Moments of the stages; those that are never reached are left out at the end."""

    stage_at: list[datetime]
    due_at: datetime | None
    next_at: datetime | None


def plan(policy: SlaPolicy, target_s: int) -> Plan:
    """A warning that would come before the clock has started is left out: 10 minutes before a limit of 30 seconds."""
    target_us = target_s * SECOND_US
    warned = [Stage(WARNED, after, 0, _do(item)) for item in policy.warnings if (after := _after(item, target_us)) > 0]
    later = sorted((item for item in policy.escalations if item["after_s"] > 0), key=lambda item: item["after_s"])
    at_once = tuple(action for item in policy.escalations if item["after_s"] == 0 for action in _do(item))
    breach = Stage(BREACHED, target_us, 1, at_once)
    escalated = [
        Stage(ESCALATED, target_us + int(item["after_s"]) * SECOND_US, level, _do(item))
        for level, item in enumerate(later, 2)
    ]
    warned.sort(key=lambda stage: stage.after_us)
    return Plan((*warned, breach, *escalated), len(warned) + 1)


def _after(warning: Mapping[str, Any], target_us: int) -> int:
    if "percent" in warning:
        return target_us * int(warning["percent"]) // 100
    return target_us - int(warning["before_s"]) * SECOND_US


def _do(item: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(item.get("do", ()))


def arm(
    of: Plan, run: Run, timeline: Timeline, *, fired: int = 0, kept: Sequence[datetime] = (), past: Sequence[Span] = ()
) -> Armed:
    """When each stage comes, if the clock runs on. The first `fired` have come; they keep their moments `kept`."""
    moments = list(kept[:fired])
    for stage in of.stages[len(moments) :]:
        at = runs.due(run, timeline, stage.after_us, past)
        if at is None:
            break
        moments.append(at)
    return Armed(
        stage_at=moments,
        due_at=moments[of.breach - 1] if len(moments) >= of.breach else None,
        next_at=moments[fired] if fired < len(moments) else None,
    )


def passed(stage_at: Sequence[datetime], at: datetime) -> int:
    """How many of them have come. A stage comes at its very moment."""
    return sum(moment <= at for moment in stage_at)


def offsets(of: Plan) -> tuple[int, ...]:
    """For those who can add up themselves: a 24x7 clock."""
    return tuple(stage.after_us for stage in of.stages)
