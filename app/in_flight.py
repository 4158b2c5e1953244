"""What a loop has started and not yet finished: tasks counted by key, room asked for by `poke`, a graceful end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")


class InFlight(Generic[Key]):
    """One per loop that starts work in one step and does not wait for it. `poke` is called when something ends.

    Steps run under `taking`, and take nothing once it is `draining`.
    """

    def __init__(self, poke: Callable[[], None]) -> None:
        self._poke = poke
        self._tasks: set[asyncio.Task[None]] = set()
        self.by_key: Counter[Key] = Counter()
        self.taking = asyncio.Lock()
        self.draining = False

    def __len__(self) -> int:
        return len(self._tasks)

    def launch(
        self, work: Coroutine[Any, Any, None], *, name: str, key: Key, ended: Callable[[], None] | None = None
    ) -> None:
        """Start it; `ended` is called before `poke`."""
        self.by_key[key] += 1
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self.by_key[key] -= 1
            if not self.by_key[key]:
                del self.by_key[key]
            if ended is not None:
                ended()
            self._poke()

        task.add_done_callback(done)

    async def idle(self) -> None:
        """Wait until everything that is in flight now has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def drain(self, within_s: float) -> None:
        """Take nothing new, wait for what is in flight, cut off what takes longer."""
        self.draining = True
        async with self.taking:
            late = set(self._tasks)
        if late:
            _, late = await asyncio.wait(late, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
