"""Taking part in a conversation besides its assignee: listen, join, whisper, and collaborators of any team."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import participants, replies
from app.desk.auth import (
    CurrentPrincipal,
    Principal,
    may_act,
    require_act,
    require_agent,
    require_senior,
    visible,
    visible_locked,
)
from app.desk.endpoints.conversation_shapes import ConversationShape, MessageShape, ParticipantShape
from app.desk.endpoints.shared import Body, Name, Page, Text, api_router
from app.edge import SessionDep
from app.errors import Invalid, NotAssigned
from app.models import Agent, Conversation, Team
from app.models.words import MessageKind, ParticipantRole
from app.routing import members

router = api_router("conversations")


class Whisper(Body):
    """The same `client_message_id` twice is one message."""

    text: Annotated[Text, Field(min_length=1)]
    client_message_id: Name | None = None


class NewCollaborator(Body):
    """An agent, or everybody of a team. `note` is written in the conversation and mentions them."""

    agent_id: UUID | None = None
    team_id: UUID | None = None
    note: Annotated[Text, Field(min_length=1, max_length=4_000)] | None = None


@router.post("/conversations/{conversation_id}/monitor")
async def monitor(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Listen as a supervisor: messages, notes and typing as they come. The customer never learns."""
    conversation, agent = await _supervised(session, principal, conversation_id)
    await participants.monitor(session, conversation, agent)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/join")
async def join(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Speak as a supervisor, beside its assignee. The customer is told your name."""
    conversation, agent = await _supervised(session, principal, conversation_id)
    await participants.join(session, conversation, agent)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/leave")
async def leave(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> ConversationShape:
    """Take no part any more, in whatever role; nothing happens when you did not."""
    conversation = await visible_locked(session, principal, conversation_id)
    agent = require_agent(principal)
    await participants.remove(session, conversation, agent.id, actor=principal.actor)
    return await _shown(session, conversation)


@router.post("/conversations/{conversation_id}/whisper", status_code=201)
async def whisper(
    conversation_id: UUID, given: Whisper, session: SessionDep, principal: CurrentPrincipal
) -> MessageShape:
    """A note between its assignee and supervisors; nobody else of the queue or the collaborators sees it."""
    conversation = await visible_locked(session, principal, conversation_id)
    if not principal.senior and conversation.assignee_id != principal.agent_id:
        raise NotAssigned("only its assignee and supervisors whisper in a conversation")
    message = await replies.whisper(
        session,
        conversation,
        author=principal.agent,
        text=given.text,
        client_message_id=given.client_message_id,
    )
    await session.flush()
    return MessageShape.of(message)


@router.get("/conversations/{conversation_id}/collaborators")
async def list_collaborators(
    conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal
) -> Page[ParticipantShape]:
    """Oldest first."""
    conversation = await visible(session, principal, conversation_id)
    return await _collaborators(session, conversation)


@router.post("/conversations/{conversation_id}/collaborators")
async def add_collaborator(
    conversation_id: UUID, given: NewCollaborator, session: SessionDep, principal: CurrentPrincipal
) -> Page[ParticipantShape]:
    """They see the conversation and write notes in it, no replies. Adding them twice is fine."""
    conversation = await visible_locked(session, principal, conversation_id)
    require_act(principal, conversation)
    wanted = await _wanted(session, conversation, given)
    await participants.collaborate(session, conversation, wanted, actor=principal.actor)
    if given.note is not None:
        await replies.send(
            session,
            conversation,
            author=principal.agent,
            kind=MessageKind.NOTE,
            text=given.note,
            mentions=wanted,
        )
    return await _collaborators(session, conversation)


@router.delete("/conversations/{conversation_id}/collaborators/{agent_id}", status_code=204)
async def remove_collaborator(
    conversation_id: UUID, agent_id: UUID, session: SessionDep, principal: CurrentPrincipal
) -> None:
    """By who may act in it, or by themselves. They are told."""
    conversation = await visible_locked(session, principal, conversation_id)
    if agent_id != principal.agent_id and not may_act(principal, conversation):
        raise NotAssigned
    await participants.remove(
        session, conversation, agent_id, actor=principal.actor, roles=[ParticipantRole.COLLABORATOR]
    )


async def _supervised(session: AsyncSession, principal: Principal, conversation_id: UUID) -> tuple[Conversation, Agent]:
    require_senior(principal)
    agent = require_agent(principal)
    return await visible_locked(session, principal, conversation_id), agent


async def _wanted(session: AsyncSession, conversation: Conversation, given: NewCollaborator) -> list[UUID]:
    """Raises Invalid naming the field."""
    if (given.agent_id is None) == (given.team_id is None):
        raise Invalid("give an agent or a team", field="agent_id")
    if given.agent_id is not None:
        await participants.require_active(session, [given.agent_id], field="agent_id")
        if given.agent_id in (conversation.assignee_id, conversation.owner_id):
            raise Invalid("this agent has it already", field="agent_id")
        return [given.agent_id]
    assert given.team_id is not None
    if await session.get(Team, given.team_id) is None:
        raise Invalid("there is no such team", field="team_id")
    agents = await members.mates_of(session, given.team_id, active=True)
    if not agents:
        raise Invalid("nobody of this team is there", field="team_id")
    return [agent for agent in agents if agent not in (conversation.assignee_id, conversation.owner_id)]


async def _collaborators(session: AsyncSession, conversation: Conversation) -> Page[ParticipantShape]:
    everybody = await participants.of(session, conversation)
    helping = [row for row in everybody if row.role == ParticipantRole.COLLABORATOR]
    return Page(items=[ParticipantShape.model_validate(row) for row in helping])


async def _shown(session: AsyncSession, conversation: Conversation) -> ConversationShape:
    await session.flush()
    await session.refresh(conversation)
    return ConversationShape.of(conversation)
