"""What the settings of a queue have to be together: rings in order, a calendar that is there, overflow without circles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.endpoints.shared import Body, Words
from app.errors import Invalid
from app.models import Calendar, Queue
from app.models.words import WhenClosed

SERIAL = text("SELECT pg_advisory_xact_lock(7266514321)")
"""Take it first in whatever changes queues: a chain is walked while nobody else can bend it."""


class Ring(Body):
    """From `after_s` seconds in the queue on, these skills are not asked for, and agents up to this level are asked."""

    after_s: Annotated[float, Field(gt=0, le=2_592_000, allow_inf_nan=False)]
    drop_skills: Words = Field(
        default_factory=list,
        description="of the queue or of single conversations; one that nothing there asks for is no mistake",
    )
    max_level: Annotated[int, Field(ge=1, le=9)] | None = None


def check_rings(rings: Sequence[Ring]) -> list[dict[str, Any]]:
    """As they are stored: by `after_s`. Raises Invalid for two at the same time, for one that widens nothing, and for
    one that asks lower levels than one before it."""
    seen: set[float] = set()
    for number, ring in enumerate(rings):
        if ring.after_s in seen:
            raise Invalid("another ring begins at the same time", field=f"rings.{number}.after_s")
        if not ring.drop_skills and ring.max_level is None:
            raise Invalid("a ring drops skills, names a level, or both", field=f"rings.{number}")
        seen.add(ring.after_s)
    in_order = sorted(enumerate(rings), key=lambda each: each[1].after_s)
    widest = 0
    for number, ring in in_order:
        if ring.max_level is not None and ring.max_level < widest:
            raise Invalid(f"an earlier ring asks up to level {widest} already", field=f"rings.{number}.max_level")
        widest = ring.max_level or widest
    return [ring.model_dump() for _, ring in in_order]


async def check_settings(session: AsyncSession, row: Queue) -> None:
    """The queue as it is going to be; the caller has taken `SERIAL`. Raises Invalid naming the field."""
    if row.calendar_id is not None:
        calendar = await session.get(Calendar, row.calendar_id)
        if calendar is None or not calendar.active:
            raise Invalid("there is no such calendar", field="calendar_id")
    if row.overflow_queue_id is not None:
        await _check_chain(session, row)
    elif row.overflow_after_s is not None:
        raise Invalid("a queue to overflow into is needed", field="overflow_queue_id")
    elif row.when_closed == WhenClosed.OVERFLOW:
        raise Invalid("a queue to overflow into is needed while closed", field="overflow_queue_id")


async def _check_chain(session: AsyncSession, row: Queue) -> None:
    seen = [row]
    at = row
    while at.overflow_queue_id is not None:
        following = row if at.overflow_queue_id == row.id else await session.get(Queue, at.overflow_queue_id)
        if at is row and (following is None or not following.active):
            raise Invalid("there is no such queue", field="overflow_queue_id")
        assert following is not None, "a foreign key guards this"
        if following.id in {queue.id for queue in seen}:
            chain = " → ".join(queue.name for queue in (*seen, following))
            raise Invalid(f"a conversation would go round in circles: {chain}", field="overflow_queue_id")
        seen.append(following)
        at = following
