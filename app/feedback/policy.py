"""How a matter ends: which closing policy applies, and when what happens by it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from app.models import ClosingPolicy
from app.sla.policy import Facts, fits

SHIPPED = ClosingPolicy(
    code="ordinary",
    name="Asked again after a day, confirmed by silence after three",
    position=1_000,
    confirm_after_s=259_200,
    remind_after_s=[86_400],
    low_csat=2,
    low_nps=6,
)
_KEPT = (
    "code", "version", "confirm_after_s", "remind_after_s", "reopen_window_s", "survey", "survey_gap_s",
    "low_csat", "low_nps", "recovery_due_s", "follow_up_grace_s", "receipt_channels",
)  # fmt: skip


def choose(policies: Sequence[ClosingPolicy], facts: Facts) -> ClosingPolicy:
    """The first active one by (position, code) that matches; the shipped one where an operator left none."""
    active = [policy for policy in policies if policy.active and fits(policy.match, facts)]
    return min(active, key=lambda policy: (policy.position, policy.code), default=SHIPPED)


def snapshot(policy: ClosingPolicy) -> dict[str, Any]:
    """What a cycle remembers of it, so that a later change of the policy does not reach back."""
    return {name: getattr(policy, name) for name in _KEPT}


def is_low(policy: Mapping[str, Any], *, csat: int | None, nps: int | None) -> bool:
    """Whether such a rating is to be made good. Cycles of before remember no limits: the shipped ones count."""
    limits = {"low_csat": SHIPPED.low_csat, "low_nps": SHIPPED.low_nps, **policy}
    given = ((csat, limits["low_csat"]), (nps, limits["low_nps"]))
    return any(value is not None and limit is not None and value <= limit for value, limit in given)


def recovery_due_s(policy: Mapping[str, Any]) -> float:
    """How long a recovery may take."""
    return float(policy.get("recovery_due_s", SHIPPED.recovery_due_s))


def confirm_by(policy: Mapping[str, Any], since: datetime) -> datetime | None:
    """When silence is taken as a yes; None: never."""
    after = policy.get("confirm_after_s")
    return None if after is None else since + timedelta(seconds=after)


def next_at(policy: Mapping[str, Any], since: datetime, *, reminders: int) -> datetime | None:
    """When the next reminder is due, else when silence is taken as a yes. A reminder that would come after that does not."""
    end = confirm_by(policy, since)
    after = _reminders(policy)[reminders : reminders + 1]
    reminder = since + timedelta(seconds=after[0]) if after else None
    if reminder is None or (end is not None and reminder >= end):
        return end
    return reminder


def counted_from(policy: Mapping[str, Any], reminded_at: datetime, *, reminders: int) -> datetime:
    """Since when the policy's times count once that many reminders have gone out, the last of them `reminded_at`: one that was
    late leaves the customer as much time as one that was not."""
    return reminded_at - timedelta(seconds=_reminders(policy)[reminders - 1])


def _reminders(policy: Mapping[str, Any]) -> list[float]:
    return sorted(policy.get("remind_after_s", ()))
