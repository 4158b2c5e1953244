"""When to try again, and when to give up."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds to wait after the first, second, ... failed attempt; the last one repeats until `total_s` have passed.

    `jitter` is the share by which each wait varies, so that what failed together does not come back together.
    """

    steps_s: tuple[float, ...] = (2, 5, 15, 60, 300, 900, 1800, 3600)
    total_s: float = 24 * 3600
    jitter: float = 0.2


def wait_s(
    schedule: Schedule, attempt: int, *, elapsed_s: float, retry_after_s: float | None = None, rng: Random
) -> float | None:
    """Seconds until the attempt after `attempt` (from 1), or None to give up.

    `elapsed_s` counts from the first attempt. Never sooner than the provider asked. The last attempt is at the end
    of the schedule's total, unless the provider wants us to stay away longer than that.
    """
    left_s = schedule.total_s - elapsed_s
    asked_s = retry_after_s or 0.0
    if left_s <= 0 or asked_s > left_s:
        return None
    step_s = schedule.steps_s[min(attempt, len(schedule.steps_s)) - 1]
    wished_s = max(
        step_s * (1 + schedule.jitter * rng.uniform(-1, 1)),
        asked_s * (1 + schedule.jitter * rng.random()),
    )
    return min(wished_s, left_s)
