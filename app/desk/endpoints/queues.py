"""`/queues` and their members."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.auth import Admin, CurrentPrincipal
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
from app.errors import Conflict, Invalid
from app.models import Agent, Queue, QueueEntry, QueueMember
from app.models.words import Category
from app.wakeups import wake

router = api_router("queues")
_WHAT = "queue"
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class NewQueue(Body):
    """`category` is the one it takes, none: any. `skills` are needed to be offered something from it."""

    name: Name
    category: Category | None = None
    skills: Words = Field(default_factory=list)
    offer_timeout_s: Seconds | None = None
    is_default: bool = False


class QueueChange(Body):
    name: Name | None = None
    category: Category | None = None
    skills: Words | None = None
    offer_timeout_s: Seconds | None = None
    is_default: bool | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(not_null("name", "skills", "is_default", "active"))


class QueueShape(Shape):
    id: UUID
    name: str
    category: Category | None
    skills: list[str]
    offer_timeout_s: float | None
    is_default: bool
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


class Member(Shape):
    agent_id: UUID
    name: str
    role: str


async def _dethrone(session: AsyncSession) -> None:
    """There is one default queue; the index would refuse a second."""
    await session.execute(
        update(Queue).where(col(Queue.is_default)).values(is_default=False, version=Queue.version + 1)
    )


async def _require_idle(session: AsyncSession, queue: Queue) -> None:
    if queue.is_default:
        raise Conflict("this is the default queue; make another one the default first")
    waiting = await session.exec(
        select(QueueEntry.conversation_id).where(col(QueueEntry.queue_id) == queue.id).limit(1)
    )
    if waiting.first() is not None:
        raise Conflict("conversations wait in this queue; transfer them first")


@router.post("/queues", status_code=201)
async def create_queue(
    given: NewQueue, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> QueueShape:
    if given.is_default:
        await _dethrone(session)
    row = Queue(**given.model_dump())
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
async def get_queue(queue_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> QueueShape:
    row = await one(session, Queue, queue_id, _WHAT)
    tag(response, row)
    return QueueShape.model_validate(row)


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
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    await record(session, principal, "queue.updated", id=row.id, changed=changed)
    await context.catalog.changed(session)
    await wake(session, "dispatch")
    tag(response, row)
    return QueueShape.model_validate(row)


@router.delete("/queues/{queue_id}", status_code=204)
async def deactivate_queue(queue_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """Nothing new lands in it. Refused for the default queue, and while conversations wait in it."""
    row = await locked(session, Queue, queue_id, _WHAT)
    if not row.active:
        return
    await _require_idle(session, row)
    change(row, {"active": False})
    await save(session, row, new_version=True)
    await record(session, principal, "queue.deactivated", id=row.id)
    await context.catalog.changed(session)


@router.get("/queues/{queue_id}/members")
async def list_members(queue_id: UUID, session: SessionDep, _: CurrentPrincipal, paging: PagingDep) -> Page[Member]:
    await one(session, Queue, queue_id, _WHAT)
    statement = (
        select(Agent)
        .join(QueueMember, col(QueueMember.agent_id) == col(Agent.id))
        .where(col(QueueMember.queue_id) == queue_id)
    )
    rows, cursor = await page_of(session, statement, col(Agent.id), paging)
    items = [Member(agent_id=row.id, name=row.name, role=row.role) for row in rows]
    return Page(items=items, next_cursor=cursor)


@router.put("/queues/{queue_id}/members/{agent_id}", status_code=204)
async def add_member(
    queue_id: UUID, agent_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """The agent is offered what waits in the queue, and sees its conversations. Doing it twice is fine."""
    await one(session, Queue, queue_id, _WHAT)
    await one(session, Agent, agent_id, "agent")
    statement = insert(QueueMember).values(queue_id=queue_id, agent_id=agent_id).on_conflict_do_nothing()
    added = await session.execute(statement.returning(col(QueueMember.agent_id)))
    if added.first() is not None:
        await record(session, principal, "queue.member_added", id=queue_id, agent_id=agent_id)
        await context.catalog.changed(session)
        await wake(session, "dispatch")


@router.delete("/queues/{queue_id}/members/{agent_id}", status_code=204)
async def remove_member(
    queue_id: UUID, agent_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> None:
    """Their conversations stay theirs."""
    await one(session, Queue, queue_id, _WHAT)
    statement = delete(QueueMember).where(col(QueueMember.queue_id) == queue_id, col(QueueMember.agent_id) == agent_id)
    removed = await session.execute(statement.returning(col(QueueMember.agent_id)))
    if removed.first() is not None:
        await record(session, principal, "queue.member_removed", id=queue_id, agent_id=agent_id)
        await context.catalog.changed(session)
