"""`/queues/{id}/entries`: who waits in a queue, in the order of service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlmodel import col

from app.desk.auth import CurrentPrincipal
from app.desk.endpoints.conversation_shapes import ConversationShape
from app.desk.endpoints.shared import Moment, Page, PagingDep, Shape, api_router, cursor_of, one
from app.edge import SessionDep
from app.errors import Forbidden
from app.models import Conversation, Queue, QueueEntry
from app.models.words import EntryState

router = api_router("queues")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EntryShape(Shape):
    """`order_at` = `enqueued_at` less all `boosts` (seconds): who has the earliest is served first by whoever can.

    `waited_s` counts from `enqueued_at`, the age that it keeps; `ring` from `entered_at`, when it came into this queue.
    """

    conversation: ConversationShape
    state: EntryState
    weight: int
    skills: list[str]
    escalated: bool
    specialists: list[str]
    ring: int
    target_agent_id: UUID | None
    note: str | None
    enqueued_at: Moment
    entered_at: Moment
    order_at: Moment
    next_at: Moment | None
    waited_s: float
    boosts: dict[str, float]


@router.get("/queues/{queue_id}/entries")
async def list_entries(
    queue_id: UUID, session: SessionDep, principal: CurrentPrincipal, paging: PagingDep
) -> Page[EntryShape]:
    """For its members and supervisors. A page begins after the place where the one before ended."""
    await one(session, Queue, queue_id, "queue")
    if not principal.senior and queue_id not in principal.queues:
        raise Forbidden("this is for the members of the queue and for supervisors")
    place = (col(QueueEntry.order_at), col(QueueEntry.conversation_id))
    statement = (
        select(QueueEntry, Conversation, func.extract("epoch", func.now() - col(QueueEntry.enqueued_at)))
        .join(Conversation, col(Conversation.id) == col(QueueEntry.conversation_id))
        .where(col(QueueEntry.queue_id) == queue_id)
    )
    after = paging.after_place()
    if after is not None:
        micros, conversation_id = after
        statement = statement.where(tuple_(*place) > (_EPOCH + timedelta(microseconds=micros), conversation_id))
    rows = (await session.execute(statement.order_by(*place).limit(paging.limit + 1))).all()
    page = rows[: paging.limit]
    return Page(items=[_shape(*row) for row in page], next_cursor=_cursor(page) if len(rows) > paging.limit else None)


def _shape(entry: QueueEntry, conversation: Conversation, waited_s: Any) -> EntryShape:
    kept = entry.model_dump(exclude={"conversation_id", "queue_id", "excluded"})
    return EntryShape(**kept, conversation=ConversationShape.of(conversation), waited_s=round(float(waited_s), 3))


def _cursor(page: Any) -> str:
    last: QueueEntry = page[-1][0]
    micros = (last.order_at - _EPOCH) // timedelta(microseconds=1)
    return cursor_of((micros, last.conversation_id))
