"""When an endpoint that fails is called again: alone, until it answers; the others wait without losing attempts (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from app.delivery.backoff import Schedule

_PROBES = Schedule(steps_s=(5, 10, 20, 40, 60))


@dataclass(frozen=True, slots=True)
class Policy:
    """After `after` failures in a row an endpoint is down: one call at a time tries it, at waits of `probes`."""

    after: int = 5
    probes: Schedule = _PROBES


@dataclass(frozen=True, slots=True)
class Health:
    """`failures` in a row; `probes` of these alone, while it was down. `wait_s`: not to be called before."""

    failures: int = 0
    probes: int = 0
    wait_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that was not taken; `probe`: it was the one that tries an endpoint that is down."""

    error: str
    probe: bool = False
    retry_after_s: float | None = None


def is_down(policy: Policy, failures: int) -> bool:
    return failures >= policy.after


def after_failures(policy: Policy, health: Health, failed: Sequence[Failed], *, rng: Random) -> Health:
    """The health after these. What an endpoint asks for itself (Retry-After) counts whether it is down or not.

    Calls that were under way together when it went down are one reason to wait, not many.
    """
    for one in failed:
        failures = health.failures + 1
        probes = health.probes + (1 if one.probe else 0)
        wait_s = one.retry_after_s or 0.0
        if is_down(policy, failures):
            steps = policy.probes.steps_s
            step_s = steps[min(probes, len(steps) - 1)]
            wait_s = max(wait_s, step_s * (1 + policy.probes.jitter * rng.uniform(-1, 1)))
        longest = max(wait_s, health.wait_s or 0.0) if not one.probe else wait_s
        health = replace(health, failures=failures, probes=probes, wait_s=longest or None, error=one.error)
    return health
