"""`/conversations`: reading them. What is not yours to see is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import participants, queries, reachable
from app.desk.auth import CurrentPrincipal, Principal, visible, visible_filter
from app.desk.capability_shapes import ConversationCapabilities
from app.desk.endpoints.contacts import ContactShape
from app.desk.endpoints.conversation_shapes import (
    AnswersShape,
    AuthorShape,
    ConversationDetail,
    ConversationShape,
    EventShape,
    ListedConversation,
    MessageShape,
    ParticipantShape,
    PendingOffer,
)
from app.desk.endpoints.shared import (
    CatalogDep,
    ContextDep,
    GivenMoment,
    Page,
    PagingDep,
    api_router,
    cursor_of,
    page_of,
)
from app.edge import SessionDep
from app.models import Agent, Conversation, Event, Message, Offer, Participant, QueueTeam, TeamMember
from app.models.words import Category, ConversationStatus, Direction, EventScope, OfferStatus
from app.routing import explain
from app.sla.explain import explain as explain_clocks

router = api_router("conversations")


@router.get("/conversations")
async def list_conversations(
    session: SessionDep,
    principal: CurrentPrincipal,
    paging: PagingDep,
    status: ConversationStatus | None = None,
    category: Category | None = None,
    queue_id: UUID | None = None,
    assignee_id: UUID | None = None,
    contact_id: UUID | None = None,
    participant_id: Annotated[UUID | None, Query(description="an agent who takes part")] = None,
    team_id: Annotated[UUID | None, Query(description="of a queue the team serves, or with one of its members")] = None,
    unassigned: Annotated[bool | None, Query(description="true: nobody has it")] = None,
    channel_type: Annotated[str | None, Query(max_length=50)] = None,
    updated_after: Annotated[GivenMoment | None, Query(description="changed after this moment")] = None,
) -> Page[ListedConversation]:
    """Newest first."""
    equal = {
        Conversation.status: status,
        Conversation.category: category,
        Conversation.queue_id: queue_id,
        Conversation.assignee_id: assignee_id,
        Conversation.contact_id: contact_id,
        Conversation.channel_type: channel_type,
    }
    wanted = [col(column) == value for column, value in equal.items() if value is not None]
    if participant_id is not None:
        with_them = select(Participant.conversation_id).where(col(Participant.agent_id) == participant_id)
        wanted.append(col(Conversation.id).in_(with_them))
    if team_id is not None:
        wanted.append(_of_team(team_id))
    if unassigned is not None:
        wanted.append(col(Conversation.assignee_id).is_(None) == unassigned)
    if updated_after is not None:
        # Every change is an event: the log finds the candidates, so that no index has to follow every message.
        changed = select(Event.conversation_id).where(col(Event.created_at) > updated_after)
        wanted += [col(Conversation.updated_at) > updated_after, col(Conversation.id).in_(changed)]
    statement = select(Conversation).where(visible_filter(principal), *wanted)
    rows, cursor = await page_of(session, statement, col(Conversation.id), paging, newest_first=True)
    known = await reachable.of_many(session, rows)
    items = [
        ListedConversation(
            **ConversationShape.of(row).model_dump(),
            capabilities=ConversationCapabilities.model_validate(known[row.id].capabilities),
        )
        for row in rows
    ]
    return Page(items=items, next_cursor=cursor)


def _of_team(team_id: UUID) -> ColumnElement[bool]:
    served = select(QueueTeam.queue_id).where(col(QueueTeam.team_id) == team_id)
    members = select(TeamMember.agent_id).where(col(TeamMember.team_id) == team_id)
    return or_(col(Conversation.queue_id).in_(served), col(Conversation.assignee_id).in_(members))


@router.get("/conversations/{conversation_id}")
async def get_conversation(
    conversation_id: UUID, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> ConversationDetail:
    """With its contact, its SLA clocks, the offer that is open, and what its channel takes now."""
    row = await visible(session, principal, conversation_id)
    contact = await queries.contact_of(session, row)
    offers = await session.exec(
        select(Offer).where(col(Offer.conversation_id) == row.id, col(Offer.status) == OfferStatus.PENDING)
    )
    offer = offers.one_or_none()
    found = await reachable.of(session, row)
    everybody = [ParticipantShape.model_validate(each) for each in await participants.of(session, row)]
    return ConversationDetail(
        **ConversationShape.of(row).model_dump(),
        contact=ContactShape.model_validate(contact),
        participants=everybody,
        sla=await explain_clocks(session, row),
        offer=PendingOffer.model_validate(offer) if offer else None,
        capabilities=ConversationCapabilities.model_validate(found.capabilities),
        answers=AnswersShape.of(row, found.way),
        progress_url=context.progress_link(row.id),
    )


@router.get("/conversations/{conversation_id}/messages")
async def list_messages(
    conversation_id: UUID,
    session: SessionDep,
    principal: CurrentPrincipal,
    paging: PagingDep,
    after_seq: Annotated[int, Query(ge=0, le=2_147_483_647)] = 0,
) -> Page[MessageShape]:
    """In the order of `seq`, notes included; `after_seq` or `cursor` says where to go on.

    Whispers are there for who may hear them: others see a gap in `seq`.
    """
    row = await visible(session, principal, conversation_id)
    after = max(after_seq, paging.after_number() or 0)
    found = await session.exec(
        select(Message)
        .where(col(Message.conversation_id) == row.id, col(Message.seq) > after, *_heard(principal))
        .order_by(col(Message.seq))
        .limit(paging.limit + 1)
    )
    rows = found.all()
    page = rows[: paging.limit]
    cursor = cursor_of(page[-1].seq) if len(rows) > paging.limit else None
    return Page(items=[MessageShape.of(message) for message in page], next_cursor=cursor)


@router.get("/conversations/{conversation_id}/events")
async def list_events(
    conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal, paging: PagingDep
) -> Page[EventShape]:
    """The whole history, oldest first: who did what when."""
    row = await visible(session, principal, conversation_id)
    found = await session.exec(
        select(Event)
        .where(
            col(Event.conversation_id) == row.id,
            col(Event.id) > (paging.after_number() or 0),
            *_heard_of(principal),
        )
        .order_by(col(Event.id))
        .limit(paging.limit + 1)
    )
    rows = found.all()
    page = rows[: paging.limit]
    names = await _names(session, page)
    items = [_event(event, names) for event in page]
    return Page(items=items, next_cursor=cursor_of(items[-1].id) if len(rows) > paging.limit else None)


def _heard(principal: Principal) -> list[ColumnElement[bool]]:
    """Whispers are for supervisors and for those who heard them: the assignee of that moment, their author."""
    if principal.senior:
        return []
    whispered = and_(col(Message.direction) == Direction.NOTE, col(Message.content).contains({"whisper": True}))
    heard = col(Message.content).contains({"heard_by": [str(principal.agent_id)]})
    return [or_(~whispered, heard)]


def _heard_of(principal: Principal) -> list[ColumnElement[bool]]:
    """The same of the history: a message that was told to some agents only is a whisper, and so is what is to be made
    good."""
    if principal.senior:
        return []
    kept = or_(col(Event.type) == "message.created", col(Event.type).startswith("recovery."))
    whispered = and_(kept, col(Event.scope) == EventScope.AGENTS)
    return [or_(~whispered, col(Event.agents).contains([principal.agent_id]))]


async def _names(session: AsyncSession, page: Sequence[Event]) -> dict[UUID, str]:
    ids = {event.actor_id for event in page if event.actor_type == "agent" and event.actor_id}
    found = await session.exec(select(Agent.id, Agent.name).where(col(Agent.id).in_(ids)))
    return dict(found.all())


def _event(event: Event, names: dict[UUID, str]) -> EventShape:
    assert event.id is not None
    return EventShape(
        id=event.id,
        type=event.type,
        actor=AuthorShape(
            type=event.actor_type, id=event.actor_id, name=names.get(event.actor_id) if event.actor_id else None
        ),
        seq=event.seq,
        correlation_id=event.correlation_id,
        payload=event.payload,
        created_at=event.created_at,
    )


@router.get("/conversations/{conversation_id}/sla")
async def explain_sla(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> Page[dict[str, Any]]:
    """Each clock with the intervals counted: why it is due when it is."""
    row = await visible(session, principal, conversation_id)
    return Page(items=await explain_clocks(session, row))


@router.get("/conversations/{conversation_id}/routing")
async def explain_routing(
    conversation_id: UUID, session: SessionDep, catalog: CatalogDep, principal: CurrentPrincipal
) -> dict[str, Any]:
    """Each decision: candidates, scores, who was left out and why; and how it stands `now`, with whether its queue is
    closed and when it opens."""
    row = await visible(session, principal, conversation_id)
    return await explain.routing(session, row, catalog)
