"""Whether a queue is closed by its calendar (pure). A calendar that cannot be read closes nothing."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from app.catalog import Catalog
from app.models import Queue
from app.sla import calendar


def closed(queue: Queue | None, catalog: Catalog, moment: datetime) -> tuple[bool, datetime | None]:
    """(whether it is closed, when it opens; none: never, or it is open)."""
    hours = catalog.calendars.get(queue.calendar_id) if queue is not None and queue.calendar_id is not None else None
    if hours is None or calendar.is_open(hours, moment):
        return False, None
    return True, calendar.next_opening(hours, moment)


def openings(catalog: Catalog, queue_ids: set[UUID], moment: datetime) -> dict[UUID, datetime | None]:
    """Those of these queues that are closed, and when they open."""
    found = {queue.id: closed(queue, catalog, moment) for queue in catalog.queues if queue.id in queue_ids}
    return {queue_id: opens_at for queue_id, (is_closed, opens_at) in found.items() if is_closed}
