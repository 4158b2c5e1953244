"""Rate limits at the widget's edge: a token bucket per key, in memory."""

import time
from collections import OrderedDict
from dataclasses import dataclass


class Buckets:
    """`burst` at once, then `rate_per_s`. Keeps the `size` keys that were used last."""

    def __init__(self, rate_per_s: float, burst: int, *, size: int = 20_000) -> None:
        self._rate, self._burst, self._size = rate_per_s, burst, size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """0 when allowed, else the seconds until it will be."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate


@dataclass(frozen=True)
class WidgetLimits:
    """Per visitor, and per address (which an office may share: wider)."""

    visitor: Buckets
    address: Buckets
