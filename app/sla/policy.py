"""Which limits apply to a conversation (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.models import SlaPolicy

Facts = Mapping[str, str | None]
FACTS = ("channel_type", "category", "matter", "severity", "tier", "warranty", "queue")


@dataclass(frozen=True, slots=True)
class Targets:
    """The limits of one conversation. `policy` is the one that matched first; the other two are those that set a limit.

    They differ where the first one leaves a limit open; a clock is kept under the policy that set its limit.
    """

    policy: SlaPolicy
    first_response_by: SlaPolicy | None
    resolution_by: SlaPolicy | None

    @property
    def first_response_s(self) -> int | None:
        """Seconds; None where no policy sets one."""
        return self.first_response_by.first_response_s if self.first_response_by else None

    @property
    def resolution_s(self) -> int | None:
        """Seconds; None where no policy sets one."""
        return self.resolution_by.resolution_s if self.resolution_by else None

    @property
    def warn_percent(self) -> int:
        return self.policy.warn_percent


def matches(policy: SlaPolicy, facts: Facts) -> bool:
    """All facts that the policy names must be among the words that it accepts; one that names none matches always."""
    return all(_accepts(accepted, facts.get(name)) for name, accepted in policy.match.items())


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
    return Targets(
        policy=matching[0],
        first_response_by=next((policy for policy in matching if policy.first_response_s is not None), None),
        resolution_by=next((policy for policy in matching if policy.resolution_s is not None), None),
    )


def _ordered(policies: Sequence[SlaPolicy]) -> list[SlaPolicy]:
    return sorted(policies, key=lambda policy: (policy.position, policy.code))
