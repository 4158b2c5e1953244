"""When a channel still takes what an agent writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from app.channels.base import Capabilities

Way = Literal["reply", "template", "tag", "note"]


@dataclass(frozen=True, slots=True)
class Window:
    """`open`: a reply can be sent now, until then (None: nothing ends it). `allowed` names the ways: `reply`; `tag`: an
    agent's reply goes out under the provider's exception for people; `template`. `remaining` messages, where counted.

    `why` it is closed: `time`, `count`, `never` (the customer has not written here), `provider` (it said so), or
    `no_channel`: none reaches the customer, and there are only notes.
    """

    open: bool
    until: datetime | None
    allowed: tuple[Way, ...]
    remaining: int | None = None
    why: str | None = None


def window(can: Capabilities, *, last_at: datetime | None, at: datetime, used: int, said_closed: bool) -> Window:
    """At `at`, when the customer last wrote at `last_at` and `used` messages have gone out since.

    `said_closed`: the provider refused one since then, because of its window.
    """
    always: tuple[Way, ...] = ("template",) if can.templates else ()
    if said_closed:
        return Window(False, None, always, why="provider")
    if can.window_h is None:
        left = _left(can, used)
        return Window(True, None, ("reply", *always), left) if left != 0 else Window(False, None, always, 0, "count")
    if last_at is None:
        return Window(False, None, always, why="never")
    until = last_at + timedelta(hours=can.window_h)
    if at < until:
        left = _left(can, used)
        if left == 0:
            return Window(False, until, always, 0, "count")
        return Window(True, until, ("reply", *always), left)
    late = last_at + timedelta(hours=can.tag_window_h or 0)
    if at < late:
        return Window(True, late, ("tag", *always))
    return Window(False, max(until, late), always, why="time")


def _left(can: Capabilities, used: int) -> int | None:
    return None if can.window_count is None else max(can.window_count - used, 0)
