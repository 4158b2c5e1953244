"""Who is calling, what they may do, and what they may see: least access, decided here for sockets and HTTP alike."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import ColumnElement, exists, or_, true
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import participants, queries
from app.errors import Forbidden, NotAssigned, NotFound, Unauthorized
from app.events.log import Actor
from app.ids import token_hash
from app.models import Agent, ApiToken, Conversation, Offer, Participant
from app.models.words import OfferStatus, ParticipantRole, Role
from app.routing import members

_RANK = {Role.AGENT: 0, Role.SUPERVISOR: 1, Role.ADMIN: 2}
_BEARER = re.compile(r"bearer +(?P<token>[\x21-\x7e]{1,512})", re.IGNORECASE)
_scheme = HTTPBearer(auto_error=False, description="An agent's token, an API key, or the administrator's token.")


@dataclass(frozen=True, slots=True)
class Principal:
    """`agent` is None for API keys and the administrator's token: they act for the installation, not for a person."""

    kind: str
    role: Role
    agent: Agent | None
    token_id: UUID
    queues: frozenset[UUID] = frozenset()

    @property
    def actor(self) -> Actor:
        return Actor("agent", self.agent.id) if self.agent else Actor(self.kind, self.token_id)

    @property
    def agent_id(self) -> UUID | None:
        return self.agent.id if self.agent else None

    @property
    def senior(self) -> bool:
        """Sees every conversation and may act in it."""
        return _RANK[self.role] >= _RANK[Role.SUPERVISOR]

    def has(self, role: Role) -> bool:
        return _RANK[self.role] >= _RANK[role]


def bearer_token(authorization: str | None) -> str:
    """The token of an Authorization header. Raises Unauthorized."""
    match = _BEARER.fullmatch(authorization.strip()) if authorization else None
    if match is None:
        raise Unauthorized("this needs the header `Authorization: Bearer <token>`")
    return match["token"]


async def authenticate(session: AsyncSession, token: str) -> Principal:
    """Raises Unauthorized for a token that is unknown or revoked, and for an agent who was deactivated."""
    found = await session.exec(
        select(ApiToken, Agent)
        .outerjoin(Agent, col(Agent.id) == col(ApiToken.agent_id))
        .where(col(ApiToken.digest) == token_hash(token), col(ApiToken.revoked_at).is_(None))
    )
    row = found.one_or_none()
    if row is None:
        raise Unauthorized("the token is unknown or was revoked")
    stored: ApiToken = row[0]
    agent: Agent | None = row[1]
    if agent is None:
        return Principal(stored.kind, Role(stored.role), None, stored.id)
    if not agent.active:
        raise Unauthorized("this agent was deactivated")
    queues = await members.queues_of(session, agent.id)
    return Principal(stored.kind, Role(agent.role), agent, stored.id, frozenset(queues))


async def _current(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)] = None
) -> Principal:
    principal: Principal = request.state.principal
    return principal


CurrentPrincipal = Annotated[Principal, Depends(_current)]


def _at_least(role: Role) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(principal: CurrentPrincipal) -> Principal:
        if not principal.has(role):
            raise Forbidden(f"this needs the role {role.value}", role=role.value)
        return principal

    return check


require_supervisor = _at_least(Role.SUPERVISOR)
require_admin = _at_least(Role.ADMIN)
Supervisor = Annotated[Principal, Depends(require_supervisor)]
Admin = Annotated[Principal, Depends(require_admin)]


def visible_filter(principal: Principal) -> ColumnElement[bool]:
    """The conversations they see: of their queues, assigned to or owned by them, with them as a participant, offered
    to them now."""
    if principal.senior:
        return true()
    me = principal.agent_id
    offered = exists().where(
        col(Offer.conversation_id) == col(Conversation.id),
        col(Offer.agent_id) == me,
        col(Offer.status) == OfferStatus.PENDING,
    )
    return or_(
        col(Conversation.assignee_id) == me,
        col(Conversation.owner_id) == me,
        col(Conversation.queue_id).in_(principal.queues),
        col(Conversation.id).in_(select(Participant.conversation_id).where(col(Participant.agent_id) == me)),
        offered,
    )


def may_see(principal: Principal, conversation: Conversation) -> bool:
    """The same without a look at open offers."""
    return (
        may_act(principal, conversation)
        or conversation.queue_id in principal.queues
        or principal.agent_id in conversation.participant_ids
    )


def may_act(principal: Principal, conversation: Conversation) -> bool:
    """Speak for us in it and change it: its assignee, its owner, a supervisor. Collaborators only write notes."""
    return principal.senior or _is_theirs(principal, conversation)


def require_act(principal: Principal, conversation: Conversation) -> None:
    """Raises NotAssigned."""
    if not may_act(principal, conversation):
        raise NotAssigned


def require_senior(principal: Principal) -> None:
    """Raises Forbidden."""
    if not principal.senior:
        raise Forbidden(f"this needs the role {Role.SUPERVISOR.value}", role=Role.SUPERVISOR.value)


def require_agent(principal: Principal) -> Agent:
    """Raises Forbidden for keys: they are nobody who could have, hear or say something."""
    if principal.agent is None:
        raise Forbidden("this needs an agent's token")
    return principal.agent


async def may_speak(session: AsyncSession, principal: Principal, conversation: Conversation) -> bool:
    """Write to the customer: whoever may act in it, but for a supervisor who only listens."""
    if not may_act(principal, conversation) or _is_theirs(principal, conversation):
        return may_act(principal, conversation)
    role = await participants.role_of(session, conversation, principal.agent_id)
    return role is not ParticipantRole.MONITOR


def _is_theirs(principal: Principal, conversation: Conversation) -> bool:
    me = principal.agent_id
    return me is not None and me in (conversation.assignee_id, conversation.owner_id)


async def visible(session: AsyncSession, principal: Principal, conversation_id: UUID) -> Conversation:
    """Raises NotFound, also for one that is not theirs to see."""
    found = await session.exec(
        select(Conversation).where(col(Conversation.id) == conversation_id, visible_filter(principal))
    )
    conversation = found.one_or_none()
    if conversation is None:
        raise NotFound("there is no such conversation")
    return conversation


async def visible_locked(session: AsyncSession, principal: Principal, conversation_id: UUID) -> Conversation:
    """The same, held by this transaction: a verb follows. Visibility is judged on what the lock shows."""
    conversation = await queries.lock(session, conversation_id)
    if not may_see(principal, conversation):
        await visible(session, principal, conversation_id)
    return conversation
