"""`/agents`: the people at the desks, and their tokens."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from sqlalchemy import delete, func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.auth import Admin, CurrentPrincipal
from app.desk.endpoints.leaving import hand_back
from app.desk.endpoints.shared import (
    Body,
    CatalogDep,
    ContextDep,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    Words,
    all_of,
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
from app.ids import new_token, token_hash
from app.models import Agent, ApiToken, Queue, QueueMember
from app.models.words import Availability, Role, TokenKind
from app.wakeups import wake

router = api_router("agents")
_WHAT = "agent"


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be an email address")
    return value.lower()


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s<>,;]{1,64}@[^@\s<>,;]{1,255}$"),
    AfterValidator(_printable),
]
Capacity = Annotated[int, Field(ge=0, le=1_000)]
QueueIds = Annotated[list[UUID], Field(max_length=200)]


class NewAgent(Body):
    """`capacity` is counted in weights of conversations. Without `queue_ids` the agent works in the default queue."""

    name: Name
    email: Email
    role: Role = Role.AGENT
    capacity: Capacity = 6
    skills: Words = Field(default_factory=list)
    languages: Words = Field(default_factory=list)
    queue_ids: QueueIds | None = None


class AgentChange(Body):
    name: Name | None = None
    email: Email | None = None
    role: Role | None = None
    capacity: Capacity | None = None
    skills: Words | None = None
    languages: Words | None = None
    queue_ids: QueueIds | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null("name", "email", "role", "capacity", "skills", "languages", "queue_ids", "active")
    )


class AgentShape(Shape):
    """`load` is what open offers and conversations hold of `capacity`."""

    id: UUID
    name: str
    email: str
    role: Role
    capacity: int
    load: int
    skills: list[str]
    languages: list[str]
    availability: Availability
    active: bool
    queue_ids: list[UUID]
    version: int
    created_at: Moment
    updated_at: Moment


class AgentWithToken(AgentShape):
    """`token` is shown this once; only its digest is stored."""

    token: str


class TokenShape(Shape):
    id: UUID
    token: str


async def _shape(session: AsyncSession, row: Agent) -> AgentShape:
    found = await session.exec(
        select(QueueMember.queue_id).where(col(QueueMember.agent_id) == row.id).order_by(col(QueueMember.queue_id))
    )
    return AgentShape(**row.model_dump(), queue_ids=list(found.all()))


async def _issue_token(session: AsyncSession, agent: Agent) -> str:
    token = new_token("agent")
    session.add(
        ApiToken(kind=TokenKind.AGENT, name=agent.email, digest=token_hash(token), agent_id=agent.id, role=agent.role)
    )
    return token


async def _revoke_tokens(session: AsyncSession, agent: Agent) -> None:
    await session.execute(
        update(ApiToken)
        .where(col(ApiToken.agent_id) == agent.id, col(ApiToken.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )


async def _put_in_queues(session: AsyncSession, agent: Agent, queue_ids: list[UUID] | None) -> None:
    if queue_ids is None:
        default = await session.exec(select(Queue).where(col(Queue.is_default)))
        queues = list(default.all())
    else:
        queues = await all_of(session, Queue, Queue.id, queue_ids, "queue_ids")
        if inactive := [queue for queue in queues if not queue.active]:
            raise Invalid(f"the queue {inactive[0].name} is not active", field="queue_ids")
    await session.execute(delete(QueueMember).where(col(QueueMember.agent_id) == agent.id))
    session.add_all(QueueMember(queue_id=queue.id, agent_id=agent.id) for queue in queues)
    await session.flush()


@router.post("/agents", status_code=201)
async def create_agent(
    given: NewAgent, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> AgentWithToken:
    """The answer holds the agent's token, once."""
    row = Agent(**given.model_dump(exclude={"queue_ids"}))
    await save(session, row)
    await _put_in_queues(session, row, given.queue_ids)
    token = await _issue_token(session, row)
    await record(session, principal, "agent.created", id=row.id, email=row.email, role=row.role)
    await context.catalog.changed(session)
    tag(response, row)
    shape = await _shape(session, row)
    return AgentWithToken(**shape.model_dump(), token=token)


@router.get("/agents")
async def list_agents(
    session: SessionDep,
    _: CurrentPrincipal,
    paging: PagingDep,
    role: Role | None = None,
    queue_id: UUID | None = None,
    active: bool | None = None,
) -> Page[AgentShape]:
    statement = select(Agent)
    if role is not None:
        statement = statement.where(col(Agent.role) == role)
    if active is not None:
        statement = statement.where(col(Agent.active) == active)
    if queue_id is not None:
        members = select(QueueMember.agent_id).where(col(QueueMember.queue_id) == queue_id)
        statement = statement.where(col(Agent.id).in_(members))
    rows, cursor = await page_of(session, statement, col(Agent.id), paging)
    return Page(items=[await _shape(session, row) for row in rows], next_cursor=cursor)


@router.get("/agents/{agent_id}")
async def get_agent(agent_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> AgentShape:
    row = await one(session, Agent, agent_id, _WHAT)
    tag(response, row)
    return await _shape(session, row)


@router.patch("/agents/{agent_id}")
async def change_agent(
    agent_id: UUID,
    given: AgentChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    catalog: CatalogDep,
    principal: Admin,
) -> AgentShape:
    """Deactivating takes back what they hold, as DELETE does."""
    if given.active is False:
        await hand_back(session, principal, agent_id, catalog)
    row = await locked(session, Agent, agent_id, _WHAT)
    require_version(request, row)
    if given.active is False and row.active:
        _require_free(row)
    fields = given.given()
    queue_ids = fields.pop("queue_ids", None)
    changed = change(row, fields)
    if queue_ids is not None:
        await _put_in_queues(session, row, queue_ids)
        changed.append("queue_ids")
    if not row.active:
        row.availability = Availability.OFFLINE
    await save(session, row, new_version=True)
    await record(session, principal, "agent.updated", id=row.id, changed=changed)
    await context.catalog.changed(session)
    await wake(session, "dispatch")
    tag(response, row)
    return await _shape(session, row)


@router.delete("/agents/{agent_id}", status_code=204)
async def deactivate_agent(
    agent_id: UUID, session: SessionDep, context: ContextDep, catalog: CatalogDep, principal: Admin
) -> None:
    """Their tokens end at once; their offers and conversations go back to the queue with their age."""
    await hand_back(session, principal, agent_id, catalog)
    row = await locked(session, Agent, agent_id, _WHAT)
    if not row.active:
        return
    _require_free(row)
    change(row, {"active": False, "availability": Availability.OFFLINE})
    await _revoke_tokens(session, row)
    await save(session, row, new_version=True)
    await record(session, principal, "agent.deactivated", id=row.id)
    await context.catalog.changed(session)


def _require_free(agent: Agent) -> None:
    """The row is held, so nobody can offer them anything until we are done; something may have come just before."""
    if agent.load > 0:
        raise Conflict("the agent was given something this very moment; try again", load=agent.load)


@router.post("/agents/{agent_id}/token", status_code=201)
async def rotate_token(agent_id: UUID, session: SessionDep, principal: Admin) -> TokenShape:
    """A new token, shown once; every older one ends."""
    row = await locked(session, Agent, agent_id, _WHAT)
    if not row.active:
        raise Conflict("the agent was deactivated")
    await _revoke_tokens(session, row)
    token = await _issue_token(session, row)
    await record(session, principal, "agent.token_rotated", id=row.id)
    return TokenShape(id=row.id, token=token)
