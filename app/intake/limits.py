"""Rate limits at the widget's edge: a token bucket per key, in memory: of each process for itself."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass

from app.errors import TooManyRequests
from app.settings import Settings

_WIDER = 20  # an address may be a whole office


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
    """Messages per visitor and, wider, per address; what else a visitor sends; hellos and new visitors per address."""

    visitor: Buckets
    address: Buckets
    signals: Buckets
    hellos: Buckets
    newcomers: Buckets


def widget_limits(settings: Settings) -> WidgetLimits:
    rate, burst = settings.widget_rate_per_s, settings.widget_burst
    return WidgetLimits(
        visitor=Buckets(rate, burst),
        address=Buckets(rate * _WIDER, burst * _WIDER),
        signals=Buckets(rate, burst),
        hellos=Buckets(settings.widget_hellos_per_s, settings.widget_hello_burst),
        newcomers=Buckets(settings.widget_newcomers_per_s, settings.widget_newcomer_burst),
    )


def require(*waits: float) -> None:
    """The longest of what `take` answered. Raises TooManyRequests."""
    wait = max(waits)
    if wait:
        raise TooManyRequests(f"slow down; try again in {wait:.1f} s", retry_after=max(round(wait, 1), 0.1))


def address_of(host: str) -> str:
    """What limits count by: an IPv4 address, or the /64 network that a subscriber has of IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
