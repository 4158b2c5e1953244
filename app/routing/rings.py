"""Whom a queue asks as time goes by: each ring asks for less, or of more people, than the one before. Pure.

`rings` is a queue's list of {"after_s", "drop_skills", "max_level"}, by `after_s`, counted from entering the queue.
Ring 0 is before any of them; ring n has the first n in force.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def requirement(
    queue_skills: Collection[str], entry_skills: Collection[str], rings: Sequence[Mapping[str, Any]], ring: int
) -> tuple[frozenset[str], int | None]:
    """(skills an agent needs, highest level asked; none: any) for an entry that has reached `ring`.

    Where some ring names a level, only level 1 is asked before.
    """
    in_force = rings[: max(ring, 0)]
    dropped = {skill for one in in_force for skill in one.get("drop_skills") or ()}
    named = [level for one in in_force if (level := one.get("max_level")) is not None]
    if not named and any(one.get("max_level") is not None for one in rings):
        named = [1]
    return frozenset({*queue_skills, *entry_skills} - dropped), named[-1] if named else None


def next_ring_after_s(rings: Sequence[Mapping[str, Any]], ring: int) -> float | None:
    """Seconds from entering the queue to the ring after `ring`; none when it is the last."""
    return float(rings[ring]["after_s"]) if 0 <= ring < len(rings) else None
