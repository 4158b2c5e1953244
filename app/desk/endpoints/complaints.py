"""`/complaints/{conversation_id}`: the record of one complaint, by those who may act in its conversation."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, model_validator
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.complaints import actions, record
from app.conversations import participants, queries
from app.desk.auth import CurrentPrincipal, Principal, require_act, visible, visible_locked
from app.desk.endpoints.complaint_shapes import (
    ActionShape,
    CauseShape,
    ComplaintDetail,
    fields_of,
    step_of,
)
from app.desk.endpoints.shared import (
    Body,
    GivenDay,
    GivenMoment,
    Name,
    Page,
    PagingDep,
    Text,
    api_router,
    not_blank,
    not_null,
    one,
    page_of,
    require_version,
    tag,
)
from app.edge import SessionDep
from app.models import Complaint, Conversation, CorrectiveAction
from app.models.words import ComplaintProgress, CorrectiveStatus

router = api_router("complaints")
Words = Annotated[Text, Field(min_length=1, max_length=10_000), AfterValidator(not_blank)]


class ComplaintChange(Body):
    """Type and severity are corrected by `POST /conversations/{id}/classify`."""

    what: Words | None = None
    product: Name | None = None
    demands: Words | None = None
    occurred_at: GivenMoment | None = None
    anonymous: bool | None = None
    result: Words | None = None

    _not_null = model_validator(mode="after")(not_null("anonymous"))


class NewStep(Body):
    progress: ComplaintProgress
    note: Words | None = None


class Causes(Body):
    causes: Annotated[list[CauseShape], Field(max_length=100)]


class NewAction(Body):
    """`owner_id` is told, also when they do not see the conversation."""

    text: Words
    owner_id: UUID
    due_on: GivenDay


class ActionChange(Body):
    text: Words | None = None
    owner_id: UUID | None = None
    due_on: GivenDay | None = None
    status: CorrectiveStatus | None = None
    effect: Words | None = None

    _not_null = model_validator(mode="after")(not_null("text", "owner_id", "due_on", "status"))


@router.get("/complaints/{conversation_id}")
async def get_complaint(
    conversation_id: UUID, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> ComplaintDetail:
    """With its steps, causes and corrective actions."""
    conversation = await visible(session, principal, conversation_id)
    return await _shown(session, response, conversation)


@router.patch("/complaints/{conversation_id}")
async def change_complaint(
    conversation_id: UUID,
    given: ComplaintChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: CurrentPrincipal,
) -> ComplaintDetail:
    """What happened, when, with which product, what the customer wants, and the result."""
    conversation, complaint = await _held(session, principal, conversation_id)
    require_version(request, complaint)
    await record.change(session, conversation, complaint, given.given(), actor=principal.actor)
    return await _shown(session, response, conversation)


@router.post("/complaints/{conversation_id}/steps", status_code=201)
async def advance_complaint(
    conversation_id: UUID, given: NewStep, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> ComplaintDetail:
    """It got this far. Steps may be left out and are never taken back; `analysed` meets the limit for the analysis."""
    conversation, complaint = await _held(session, principal, conversation_id)
    await record.advance(
        session,
        conversation,
        complaint,
        progress=given.progress,
        note=given.note,
        agent_id=principal.agent_id,
        actor=principal.actor,
    )
    return await _shown(session, response, conversation)


@router.put("/complaints/{conversation_id}/causes")
async def explain_complaint(
    conversation_id: UUID, given: Causes, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> ComplaintDetail:
    """Five whys (a chain) or a tree of causes, instead of what was there."""
    conversation, complaint = await _held(session, principal, conversation_id)
    tree = [cause.value() for cause in given.causes]
    await record.explain(session, conversation, complaint, tree, actor=principal.actor)
    return await _shown(session, response, conversation)


@router.post("/complaints/{conversation_id}/actions", status_code=201)
async def plan_action(
    conversation_id: UUID, given: NewAction, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> ActionShape:
    """A corrective action with its owner and day. When the day is over, owner and supervisors are told once."""
    conversation, complaint = await _held(session, principal, conversation_id)
    await participants.require_active(session, [given.owner_id], field="owner_id")
    row = await actions.plan(session, conversation, complaint, **given.model_dump(), actor=principal.actor)
    tag(response, row)
    return ActionShape.of(row, today=await actions.today(session))


@router.get("/corrective-actions")
async def list_actions(
    session: SessionDep,
    principal: CurrentPrincipal,
    paging: PagingDep,
    owner_id: UUID | None = None,
    status: CorrectiveStatus | None = None,
    overdue: bool | None = None,
) -> Page[ActionShape]:
    """Oldest first. Agents see their own, supervisors all."""
    today = await actions.today(session)
    statement = select(CorrectiveAction)
    if not principal.senior:
        statement = statement.where(col(CorrectiveAction.owner_id) == principal.agent_id)
    if owner_id is not None:
        statement = statement.where(col(CorrectiveAction.owner_id) == owner_id)
    if status is not None:
        statement = statement.where(col(CorrectiveAction.status) == status)
    if overdue is not None:
        ended = col(CorrectiveAction.status).in_([CorrectiveStatus.DONE, CorrectiveStatus.CANCELLED])
        late = ~ended & (col(CorrectiveAction.due_on) < today)
        statement = statement.where(late if overdue else ~late)
    rows, cursor = await page_of(session, statement, col(CorrectiveAction.id), paging)
    return Page(items=[ActionShape.of(row, today=today) for row in rows], next_cursor=cursor)


@router.patch("/corrective-actions/{action_id}")
async def change_action(
    action_id: UUID,
    given: ActionChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: CurrentPrincipal,
) -> ActionShape:
    """By its owner, and by who may act in the conversation. `effect` says whether it helped."""
    found = await one(session, CorrectiveAction, action_id, "corrective action")
    conversation = await queries.lock(session, found.complaint_id)
    if found.owner_id != principal.agent_id:
        conversation = await visible_locked(session, principal, found.complaint_id)
        require_act(principal, conversation)
    row = await session.get_one(CorrectiveAction, action_id, populate_existing=True)
    require_version(request, row)
    if given.owner_id is not None:
        await participants.require_active(session, [given.owner_id], field="owner_id")
    await actions.change(session, conversation, row, given.given(), actor=principal.actor)
    tag(response, row)
    return ActionShape.of(row, today=await actions.today(session))


async def _held(session: AsyncSession, principal: Principal, conversation_id: UUID) -> tuple[Conversation, Complaint]:
    conversation = await visible_locked(session, principal, conversation_id)
    require_act(principal, conversation)
    return conversation, await record.of(session, conversation_id)


async def _shown(session: AsyncSession, response: Response, conversation: Conversation) -> ComplaintDetail:
    complaint = await record.of(session, conversation.id)
    contact = await queries.contact_of(session, conversation)
    planned = await session.exec(
        select(CorrectiveAction)
        .where(col(CorrectiveAction.complaint_id) == conversation.id)
        .order_by(col(CorrectiveAction.id))
    )
    today = await actions.today(session)
    tag(response, complaint)
    return ComplaintDetail(
        **fields_of(complaint, conversation, contact),
        steps=[step_of(row) for row in await record.steps_of(session, complaint)],
        causes=[CauseShape.of(cause) for cause in await record.causes_of(session, complaint)],
        actions=[ActionShape.of(row, today=today) for row in planned],
    )
