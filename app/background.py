"""Named, supervised loops: wake or tick, one batch per step, graceful stop.

A step does one bounded piece of work and returns when it wants to run again: seconds from now, 0 for "at once, there
is more", or None for "when woken, or at the tick". An error is logged and counted, the loop backs off and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge

from app import log

RUNS = Counter("roundtrip_loop_runs_total", "Steps run by each background loop", ["loop"])
ERRORS = Counter("roundtrip_loop_errors_total", "Steps that raised", ["loop"])
LAST = Gauge("roundtrip_loop_last_success_timestamp_seconds", "When the loop last finished a step", ["loop"])
_logger = log.get("background")

Step = Callable[[], Awaitable[float | None]]


@dataclass
class Loop:
    """`tick_s` is the safety sweep: the longest the loop sleeps when nothing wakes it."""

    name: str
    step: Step
    wake: asyncio.Event
    tick_s: float
    failures: int = field(default=0, init=False)
    started: bool = field(default=False, init=False)

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            self.wake.clear()
            delay = await self._step_once()
            if delay is None or delay > self.tick_s:
                delay = self.tick_s
            if delay > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), delay)

    async def _step_once(self) -> float | None:
        try:
            delay = await self.step()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.failures += 1
            ERRORS.labels(self.name).inc()
            _logger.error("step failed", loop=self.name, error=repr(error), failures=self.failures, exc_info=True)
            await asyncio.sleep(min(0.1 * 2**self.failures, 5))
            return 0
        self.failures = 0
        self.started = True
        RUNS.labels(self.name).inc()
        LAST.labels(self.name).set(time.time())
        return delay


class Background:
    """The loops of one process."""

    def __init__(self) -> None:
        self.loops: list[Loop] = []
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, name: str, step: Step, wake: asyncio.Event, *, tick_s: float) -> None:
        self.loops.append(Loop(name, step, wake, tick_s))

    def start(self) -> None:
        self._tasks = [asyncio.create_task(loop.run(self._stopping), name=loop.name) for loop in self.loops]

    @property
    def unhealthy(self) -> list[str]:
        """Loops that have not finished a step yet, or whose last three failed."""
        return [loop.name for loop in self.loops if not loop.started or loop.failures >= 3]

    async def stop(self, within_s: float) -> None:
        """Let each loop finish the step in hand; cancel what is still running after `within_s`."""
        self._stopping.set()
        for loop in self.loops:
            loop.wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
