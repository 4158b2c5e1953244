"""The readable transcript: one line per thing that happens."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape

_STYLES = {
    "webchat": "cyan",
    "partner": "magenta",
    "telegram": "blue",
    "email": "yellow",
    "desk": "green",
    "house": "bold white",
}


class Transcript:
    """Lines with the seconds since the start, who speaks, and what they say or do."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._start = time.monotonic()
        self.counts: dict[str, int] = {}

    def say(self, where: str, who: str, what: str) -> None:
        style = _STYLES.get(where, "white")
        elapsed = time.monotonic() - self._start
        short = what if len(what) < 110 else what[:107] + "..."
        self._console.print(
            f"[dim]{elapsed:6.1f}s[/dim]  [{style}]{where:<8}[/{style}] [bold]{escape(who):<14}[/bold] {escape(short)}"
        )

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def rule(self, title: str) -> None:
        self._console.rule(escape(title))

    def plain(self, text: str) -> None:
        self._console.print(escape(text))
