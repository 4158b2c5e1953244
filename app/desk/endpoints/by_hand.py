"""Conversations given by hand: picked up from the queue, taken or assigned by a supervisor."""

from __future__ import annotations

from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import participants
from app.desk.auth import CurrentPrincipal, Principal, require_agent, require_senior, visible_locked
from app.desk.endpoints.conversation_shapes import ConversationShape
from app.desk.endpoints.shared import Body, api_router
from app.edge import SessionDep
from app.models import Conversation
from app.routing import manual

router = api_router("conversations")


class AssignBody(Body):
    """`force`: even when they have no room for it."""

    agent_id: UUID
    force: bool = False


@router.post("/conversations/{conversation_id}/pick-up")
async def pick_up(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Take what waits in a queue of yours without being asked. Refused when somebody has it, or is being asked."""
    agent = require_agent(principal)
    conversation = await visible_locked(session, principal, conversation_id)
    await manual.pick_up(session, conversation, agent=agent)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/take")
async def take(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Take it over as a supervisor, whoever has it and however much you have."""
    require_senior(principal)
    agent = require_agent(principal)
    conversation = await visible_locked(session, principal, conversation_id)
    await manual.take(session, conversation, agent=agent)
    await _listens_no_more(session, principal, conversation, agent.id)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/assign")
async def assign(
    conversation_id: UUID, given: AssignBody, session: SessionDep, principal: CurrentPrincipal
) -> ConversationShape:
    """Give it to an agent at once, as a supervisor; a transfer asks them."""
    require_senior(principal)
    conversation = await visible_locked(session, principal, conversation_id)
    await manual.assign(
        session,
        conversation,
        agent_id=given.agent_id,
        actor=principal.actor,
        force=given.force,
    )
    await _listens_no_more(session, principal, conversation, given.agent_id)
    return await _shown(session, conversation)


async def _listens_no_more(
    session: AsyncSession, principal: Principal, conversation: Conversation, agent_id: UUID
) -> None:
    """Who has it does not listen to it, or join it."""
    roles = participants.LISTENING
    await participants.remove(session, conversation, agent_id, actor=principal.actor, roles=roles)


async def _shown(session: AsyncSession, conversation: Conversation) -> ConversationShape:
    await session.flush()
    await session.refresh(conversation)
    return ConversationShape.of(conversation)
