"""Which limits apply to a conversation, and why (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.models import SlaPolicy
from app.models.words import ClockMetric, ConversationStatus

Facts = Mapping[str, str | None]
FACTS = ("channel_type", "category", "matter", "severity", "tier", "warranty", "queue")
METRICS = tuple(ClockMetric)
OPENING = (ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION, ClockMetric.ANALYSIS)
"""What runs from the opening of a conversation, and anew in each cycle."""
_PAUSED_BY_POLICY = frozenset({ClockMetric.RESOLUTION, ClockMetric.ANALYSIS, ClockMetric.PERIODIC_UPDATE})
_WAITING = frozenset({ConversationStatus.WAITING_ON_CUSTOMER, ConversationStatus.ON_HOLD, ConversationStatus.SNOOZED})
UNASSIGNED = "unassigned"


def seconds(policy: SlaPolicy, metric: str) -> int | None:
    """The limit that a policy sets; None when it leaves it to others."""
    found: int | None = getattr(policy, f"{metric}_s")
    return found


@dataclass(frozen=True, slots=True)
class Targets:
    """The limits of one conversation. `policy` is the one that matched first, `by` those that set the limits.

    They differ where the first one leaves a limit open; a clock is kept under the policy that set its limit.
    """

    policy: SlaPolicy
    by: Mapping[ClockMetric, SlaPolicy]

    def seconds(self, metric: ClockMetric) -> int | None:
        """None where no policy sets one."""
        return seconds(self.by[metric], metric) if metric in self.by else None

    def limits(self) -> list[UUID | None]:
        """As a conversation keeps them."""
        return [self.by[metric].id if metric in self.by else None for metric in METRICS]


def matches(policy: SlaPolicy, facts: Facts) -> bool:
    """All facts that the policy names must be among the words that it accepts; one that names none matches always."""
    return fits(policy.match, facts)


def fits(match: Mapping[str, Any], facts: Facts) -> bool:
    """Whether every fact that `match` names is among the words it accepts."""
    return all(_accepts(accepted, facts.get(name)) for name, accepted in match.items())


def _accepts(accepted: str | Sequence[str], value: str | None) -> bool:
    return value == accepted if isinstance(accepted, str) else value in accepted


def choose(policies: Sequence[SlaPolicy], facts: Facts) -> SlaPolicy | None:
    """The first that matches, by (position, code)."""
    return next((policy for policy in _ordered(policies) if matches(policy, facts)), None)


def targets(policies: Sequence[SlaPolicy], facts: Facts, *, first: SlaPolicy | None = None) -> Targets | None:
    """The limits of the first match; one that it leaves open comes from the next match that sets it.

    So a channel's policy can say how fast a chat is answered, and the matter's how soon it has to be done. `first` is
    a policy that applies already and keeps its place, whatever is in force by now.
    """
    matching = [policy for policy in _ordered(policies) if matches(policy, facts)]
    if first is not None:
        matching.insert(0, first)
    if not matching:
        return None
    by = {
        metric: policy
        for metric in METRICS
        if (policy := next((one for one in matching if seconds(one, metric) is not None), None)) is not None
    }
    return Targets(policy=matching[0], by=by)


def explain(policies: Sequence[SlaPolicy], facts: Facts) -> list[dict[str, Any]]:
    """Each policy in the order in which it is asked: whether it matches, and which facts speak against it."""
    return [
        {
            "code": policy.code,
            "version": policy.version,
            "matches": matches(policy, facts),
            "against": [
                {"fact": name, "value": facts.get(name), "accepted": accepted}
                for name, accepted in policy.match.items()
                if not _accepts(accepted, facts.get(name))
            ],
        }
        for policy in _ordered(policies)
    ]


def stands_still(policy: SlaPolicy, metric: str, *, status: str, assigned: bool) -> str | None:
    """Why a clock must not run now; None when it runs.

    Handling is time in an agent's hands. An answer that is owed is owed whatever we wait for. The rest waits as the
    policy says.
    """
    if metric == ClockMetric.HANDLING:
        return status if status in _WAITING else None if assigned else UNASSIGNED
    return status if metric in _PAUSED_BY_POLICY and status in _WAITING and status in policy.pauses else None


def applies(action: Mapping[str, Any], facts: Facts) -> bool:
    """An action may name facts that have to hold: {"requeue": true, "if": {"category": ["urgent"]}}."""
    return fits(action.get("if", {}), facts)


def _ordered(policies: Sequence[SlaPolicy]) -> list[SlaPolicy]:
    return sorted(policies, key=lambda policy: (policy.position, policy.code))
