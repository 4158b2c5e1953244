"""`/agents`: the people at the desks, and their tokens."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from sqlalchemy import func, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.channels import voice_numbers
from app.conversations import participants, queries
from app.desk.auth import Admin, CurrentPrincipal, Principal
from app.desk.endpoints.agent_places import (
    PLACES,
    AgentShape,
    Placed,
    place,
    put_in_default_queue,
    shape_of,
    shapes_of,
)
from app.desk.endpoints.leaving import hand_back, in_hand
from app.desk.endpoints.shared import (
    CatalogDep,
    ContextDep,
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
from app.errors import Conflict
from app.ids import new_token, token_hash
from app.models import Agent, ApiToken, Conversation, TeamMember
from app.models.words import Availability, Role, TokenKind
from app.routing import fitness
from app.routing.members import QUEUE_AGENT
from app.wakeups import wake

router = api_router("agents")
_WHAT = "agent"
_TOUCHED = text(
    "SELECT conversation_id FROM offer WHERE agent_id = :agent AND status = 'pending' "
    "UNION SELECT conversation_id FROM assignment WHERE agent_id = :agent AND ended_at IS NULL "
    "UNION SELECT conversation_id FROM conversation_participant WHERE agent_id = :agent ORDER BY conversation_id"
)


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
Phone = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=250),
    AfterValidator(voice_numbers.agent_phone),
    Field(description="where calls ring: a number with its country, or a SIP address"),
]


class NewAgent(Placed):
    """`capacity` is counted in weights of conversations.

    `queue_ids` (at level 1) or `queues` are served by the agent themselves, besides those of their teams. Without
    `queue_ids`, `queues` and `team_ids` the agent works in the default queue.
    """

    name: Name
    email: Email
    role: Role = Role.AGENT
    capacity: Capacity = 6
    skills: Words = Field(default_factory=list)
    languages: Words = Field(default_factory=list)
    phone: Phone | None = None


class AgentChange(Placed):
    name: Name | None = None
    email: Email | None = None
    role: Role | None = None
    capacity: Capacity | None = None
    skills: Words | None = None
    languages: Words | None = None
    phone: Phone | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null(
            "name", "email", "role", "capacity", "skills", "languages", "queue_ids", "queues", "team_ids", "active"
        )
    )


class AgentWithToken(AgentShape):
    """`token` is shown this once; only its digest is stored."""

    token: str


class TokenShape(Shape):
    id: UUID
    token: str


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
    await wake(session, "catalog")  # sockets that were opened with them are closed


@router.post("/agents", status_code=201)
async def create_agent(
    given: NewAgent, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> AgentWithToken:
    """The answer holds the agent's token, once."""
    row = Agent(**given.model_dump(exclude=PLACES))
    await save(session, row)
    if not await place(session, row, given):
        await put_in_default_queue(session, row)
    token = await _issue_token(session, row)
    await record(session, principal, "agent.created", id=row.id, email=row.email, role=row.role)
    await context.catalog.changed(session)
    tag(response, row)
    shape = await shape_of(session, row)
    return AgentWithToken(**shape.model_dump(), token=token)


@router.get("/agents")
async def list_agents(
    session: SessionDep,
    _: CurrentPrincipal,
    paging: PagingDep,
    role: Role | None = None,
    queue_id: UUID | None = None,
    team_id: UUID | None = None,
    active: bool | None = None,
) -> Page[AgentShape]:
    """`queue_id`: those who serve it, in teams too."""
    statement = select(Agent)
    if role is not None:
        statement = statement.where(col(Agent.role) == role)
    if active is not None:
        statement = statement.where(col(Agent.active) == active)
    if queue_id is not None:
        serving = select(QUEUE_AGENT.c.agent_id).where(QUEUE_AGENT.c.queue_id == queue_id)
        statement = statement.where(col(Agent.id).in_(serving))
    if team_id is not None:
        mates = select(TeamMember.agent_id).where(col(TeamMember.team_id) == team_id)
        statement = statement.where(col(Agent.id).in_(mates))
    rows, cursor = await page_of(session, statement, col(Agent.id), paging)
    return Page(items=await shapes_of(session, rows), next_cursor=cursor)


@router.get("/agents/{agent_id}")
async def get_agent(agent_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> AgentShape:
    row = await one(session, Agent, agent_id, _WHAT)
    tag(response, row)
    return await shape_of(session, row)


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
    """Deactivating takes back what they hold, as DELETE does. Who is no supervisor any more listens nowhere. Offers that
    would not be made to them any more are withdrawn."""
    held = await _take_back(session, principal, agent_id, given, catalog)
    row = await locked(session, Agent, agent_id, _WHAT)
    require_version(request, row)
    if given.active is False and row.active:
        await _require_free(session, row)
    changed = change(row, {name: value for name, value in given.given().items() if name not in PLACES})
    changed += await place(session, row, given)
    if not row.active:
        row.availability = Availability.OFFLINE
    await save(session, row, new_version=True)
    await fitness.withdraw(session, held, [agent_id], actor=principal.actor)
    await session.refresh(row)
    await record(session, principal, "agent.updated", id=row.id, changed=changed)
    await context.catalog.changed(session)
    await wake(session, "dispatch")
    tag(response, row)
    return await shape_of(session, row)


@router.delete("/agents/{agent_id}", status_code=204)
async def deactivate_agent(
    agent_id: UUID, session: SessionDep, context: ContextDep, catalog: CatalogDep, principal: Admin
) -> None:
    """Their tokens end at once; their offers and conversations go back to the queue with their age."""
    await _take_back(session, principal, agent_id, AgentChange(active=False), catalog)
    row = await locked(session, Agent, agent_id, _WHAT)
    if not row.active:
        return
    await _require_free(session, row)
    change(row, {"active": False, "availability": Availability.OFFLINE})
    await _revoke_tokens(session, row)
    await save(session, row, new_version=True)
    await record(session, principal, "agent.deactivated", id=row.id)
    await context.catalog.changed(session)


async def _take_back(
    session: AsyncSession, principal: Principal, agent_id: UUID, given: AgentChange, catalog: Catalog
) -> list[Conversation]:
    """Before the agent's row is locked: conversations come first in the order of locks. Returns what is offered to them,
    where that may have to be withdrawn."""
    if not given.model_fields_set & {"active", "role", "skills", *PLACES}:
        return []
    for conversation_id in (await session.execute(_TOUCHED, {"agent": agent_id})).scalars().all():
        await queries.lock(session, conversation_id)
    if given.active is False:
        await hand_back(session, principal, agent_id, catalog)
        await participants.remove_everywhere(session, agent_id, actor=principal.actor)
    elif given.role is Role.AGENT:
        roles = participants.LISTENING
        await participants.remove_everywhere(session, agent_id, actor=principal.actor, roles=roles)
    return await fitness.hold(session, [agent_id])


async def _require_free(session: AsyncSession, agent: Agent) -> None:
    """The row is held, so nobody can offer them anything until we are done; something may have come just before (what
    is parked adds nothing to their load)."""
    if await in_hand(session, agent.id):
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
