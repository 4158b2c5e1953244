"""`/conversations`: reading them. What is not yours to see is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import AwareDatetime
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import queries
from app.desk.auth import CurrentPrincipal, visible, visible_filter
from app.desk.endpoints.contacts import ContactShape
from app.desk.endpoints.conversation_shapes import (
    AuthorShape,
    ConversationDetail,
    ConversationShape,
    EventShape,
    MessageShape,
    PendingOffer,
)
from app.desk.endpoints.shared import ContextDep, Page, PagingDep, api_router, cursor_of, page_of
from app.edge import SessionDep
from app.models import Agent, Conversation, Event, Message, Offer
from app.models.words import Category, ConversationStatus, OfferStatus
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
    channel_type: Annotated[str | None, Query(max_length=50)] = None,
    updated_after: Annotated[AwareDatetime | None, Query(description="changed after this moment")] = None,
) -> Page[ConversationShape]:
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
    if updated_after is not None:
        # Every change is an event: the log finds the candidates, so that no index has to follow every message.
        changed = select(Event.conversation_id).where(col(Event.created_at) > updated_after)
        wanted += [col(Conversation.updated_at) > updated_after, col(Conversation.id).in_(changed)]
    statement = select(Conversation).where(visible_filter(principal), *wanted)
    rows, cursor = await page_of(session, statement, col(Conversation.id), paging, newest_first=True)
    return Page(items=[ConversationShape.of(row) for row in rows], next_cursor=cursor)


@router.get("/conversations/{conversation_id}")
async def get_conversation(
    conversation_id: UUID, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> ConversationDetail:
    """With its contact, its SLA clocks and the offer that is open."""
    row = await visible(session, principal, conversation_id)
    contact = await queries.contact_of(session, row)
    offers = await session.exec(
        select(Offer).where(col(Offer.conversation_id) == row.id, col(Offer.status) == OfferStatus.PENDING)
    )
    offer = offers.one_or_none()
    return ConversationDetail(
        **ConversationShape.of(row).model_dump(),
        contact=ContactShape.model_validate(contact),
        sla=await explain_clocks(session, row),
        offer=PendingOffer.model_validate(offer) if offer else None,
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
    """In the order of `seq`, notes included; `after_seq` or `cursor` says where to go on."""
    row = await visible(session, principal, conversation_id)
    after = max(after_seq, paging.after_number() or 0)
    found = await session.exec(
        select(Message)
        .where(col(Message.conversation_id) == row.id, col(Message.seq) > after)
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
        .where(col(Event.conversation_id) == row.id, col(Event.id) > (paging.after_number() or 0))
        .order_by(col(Event.id))
        .limit(paging.limit + 1)
    )
    rows = found.all()
    page = rows[: paging.limit]
    names = await _names(session, page)
    items = [_event(event, names) for event in page]
    return Page(items=items, next_cursor=cursor_of(items[-1].id) if len(rows) > paging.limit else None)


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
async def explain_routing(conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> dict[str, Any]:
    """Each decision: candidates, scores, who was left out and why; and how it stands now."""
    row = await visible(session, principal, conversation_id)
    return await explain.routing(session, row)
