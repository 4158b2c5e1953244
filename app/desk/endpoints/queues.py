"""`/queues`: what they take, whom they ask as time goes by, where they overflow to."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.auth import Admin, CurrentPrincipal
from app.desk.endpoints.queue_checks import SERIAL, Ring, check_rings, check_settings
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    Words,
    api_router,
    change,
    locked,
    not_null,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import AlreadyExists, Conflict, Invalid
from app.models import Queue, QueueEntry
from app.models.words import Category, QueueAssignment, WhenClosed
from app.routing import patience
from app.wakeups import wake

router = api_router("queues")
_WHAT = "queue"
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Wait = Annotated[float, Field(gt=0, le=2_592_000, allow_inf_nan=False)]
Window = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
Rings = Annotated[list[Ring], Field(max_length=20)]
# What it has now and what nobody has added up yet.
_COUNTS = text(
    "SELECT coalesce((SELECT waiting FROM queue_count WHERE queue_id = :id), 0) + coalesce(sum(waiting), 0) AS waiting, "
    "coalesce((SELECT offered FROM queue_count WHERE queue_id = :id), 0) + coalesce(sum(offered), 0) AS offered "
    "FROM queue_delta WHERE queue_id = :id"
)


class NewQueue(Body):
    """`category` is the one it takes, none: any. `skills` are needed to be offered something from it.

    `rings` widen who is asked, counted from entering the queue. After `overflow_after_s` (while closed: at once, with
    `when_closed` = overflow) a conversation moves on to `overflow_queue_id`; after `max_wait_s` supervisors are asked.
    Who had the customer within `sticky_window_s` is asked first, for `sticky_wait_s` alone. `assignment` = direct: nobody
    is asked, they get it.
    """

    name: Name
    category: Category | None = None
    skills: Words = Field(default_factory=list)
    offer_timeout_s: Seconds | None = None
    assignment: QueueAssignment = QueueAssignment.OFFER
    rings: Rings = Field(default_factory=list)
    calendar_id: UUID | None = None
    when_closed: WhenClosed = WhenClosed.WAIT
    overflow_queue_id: UUID | None = None
    overflow_after_s: Wait | None = None
    max_wait_s: Wait | None = None
    sticky_window_s: Window = 86_400
    sticky_wait_s: Window = 0
    is_default: bool = False


class QueueChange(Body):
    name: Name | None = None
    category: Category | None = None
    skills: Words | None = None
    offer_timeout_s: Seconds | None = None
    assignment: QueueAssignment | None = None
    rings: Rings | None = None
    calendar_id: UUID | None = None
    when_closed: WhenClosed | None = None
    overflow_queue_id: UUID | None = None
    overflow_after_s: Wait | None = None
    max_wait_s: Wait | None = None
    sticky_window_s: Window | None = None
    sticky_wait_s: Window | None = None
    is_default: bool | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null(
            "name",
            "skills",
            "assignment",
            "rings",
            "when_closed",
            "sticky_window_s",
            "sticky_wait_s",
            "is_default",
            "active",
        )
    )


class QueueShape(Shape):
    id: UUID
    name: str
    category: Category | None
    skills: list[str]
    offer_timeout_s: float | None
    assignment: QueueAssignment
    rings: list[Ring]
    calendar_id: UUID | None
    when_closed: WhenClosed
    overflow_queue_id: UUID | None
    overflow_after_s: float | None
    max_wait_s: float | None
    sticky_window_s: float
    sticky_wait_s: float
    is_default: bool
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


class Counts(Shape):
    """Conversations in it: those that wait for somebody to be free, and those that somebody is being asked to take."""

    waiting: int
    offered: int


class QueueDetail(QueueShape):
    counts: Counts


async def _prepare(session: AsyncSession) -> None:
    """Changes of queues come one after another: names, the default and overflow chains concern several at once."""
    await session.execute(SERIAL)


async def _dethrone(session: AsyncSession) -> None:
    """There is one default queue; the index would refuse a second."""
    await session.execute(
        update(Queue).where(col(Queue.is_default)).values(is_default=False, version=Queue.version + 1)
    )


async def _require_own_name(session: AsyncSession, row: Queue) -> None:
    """Raises AlreadyExists; an inactive queue's name is free."""
    twin = select(Queue.id).where(
        func.lower(col(Queue.name)) == row.name.lower(), col(Queue.id) != row.id, col(Queue.active)
    )
    if row.active and (await session.exec(twin)).first() is not None:
        raise AlreadyExists("an active queue with this name exists already", field="name")


async def _require_idle(session: AsyncSession, queue: Queue) -> None:
    if queue.is_default:
        raise Conflict("this is the default queue; make another one the default first")
    waiting = await session.exec(
        select(QueueEntry.conversation_id).where(col(QueueEntry.queue_id) == queue.id).limit(1)
    )
    if waiting.first() is not None:
        raise Conflict("conversations wait in this queue; transfer them first")
    into_it = select(Queue.name).where(col(Queue.overflow_queue_id) == queue.id, col(Queue.active)).limit(1)
    if (name := (await session.exec(into_it)).first()) is not None:
        raise Conflict(f"the queue {name} overflows into it; change that first")


@router.post("/queues", status_code=201)
async def create_queue(
    given: NewQueue, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> QueueShape:
    await _prepare(session)
    row = Queue(**{**given.model_dump(), "rings": check_rings(given.rings)})
    await _require_own_name(session, row)
    await check_settings(session, row)
    if given.is_default:
        await _dethrone(session)
    await save(session, row)
    await record(session, principal, "queue.created", id=row.id, name=row.name)
    await context.catalog.changed(session)
    tag(response, row)
    return QueueShape.model_validate(row)


@router.get("/queues")
async def list_queues(
    session: SessionDep,
    _: CurrentPrincipal,
    paging: PagingDep,
    active: bool | None = None,
    category: Category | None = None,
) -> Page[QueueShape]:
    statement = select(Queue)
    if active is not None:
        statement = statement.where(col(Queue.active) == active)
    if category is not None:
        statement = statement.where(col(Queue.category) == category)
    rows, cursor = await page_of(session, statement, col(Queue.id), paging)
    return Page(items=[QueueShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/queues/{queue_id}")
async def get_queue(queue_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> QueueDetail:
    """With how many wait in it now."""
    row = await one(session, Queue, queue_id, _WHAT)
    tag(response, row)
    counts = (await session.execute(_COUNTS, {"id": queue_id})).one()
    shape = QueueShape.model_validate(row)
    return QueueDetail(**shape.model_dump(), counts=Counts.model_validate(counts))


@router.patch("/queues/{queue_id}")
async def change_queue(
    queue_id: UUID,
    given: QueueChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> QueueShape:
    """What waits in it goes by the new settings at once."""
    await _prepare(session)
    row = await locked(session, Queue, queue_id, _WHAT)
    require_version(request, row)
    if given.active is False and row.active:
        await _require_idle(session, row)
    if given.is_default and not row.is_default:
        if not (row.active if given.active is None else given.active):
            raise Invalid("an inactive queue cannot be the default", field="is_default")
        await _dethrone(session)
    if given.is_default is False and row.is_default:
        raise Invalid("there is always one default queue; make another one the default", field="is_default")
    with session.no_autoflush:  # the checks say more than the constraints do
        changed = change(row, _fields(given))
        await _require_own_name(session, row)
        await check_settings(session, row)
    await save(session, row, new_version=True)
    await record(session, principal, "queue.updated", id=row.id, changed=changed)
    await patience.reconsider(session, queue_id)
    await context.catalog.changed(session)
    await wake(session, "dispatch")
    tag(response, row)
    return QueueShape.model_validate(row)


def _fields(given: QueueChange) -> dict[str, Any]:
    fields = given.given()
    if given.rings is not None:
        fields["rings"] = check_rings(given.rings)
    return fields


@router.delete("/queues/{queue_id}", status_code=204)
async def deactivate_queue(queue_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """Nothing new lands in it. Refused for the default queue, while conversations wait in it, while another overflows
    into it."""
    await _prepare(session)
    row = await locked(session, Queue, queue_id, _WHAT)
    if not row.active:
        return
    await _require_idle(session, row)
    change(row, {"active": False})
    await save(session, row, new_version=True)
    await record(session, principal, "queue.deactivated", id=row.id)
    await context.catalog.changed(session)
