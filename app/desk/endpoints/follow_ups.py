"""`/follow-ups`: return contacts that were promised to customers, their times and what they brought."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, model_validator
from sqlalchemy import text
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import follow_ups, queries
from app.desk.auth import CurrentPrincipal, require_act, visible, visible_filter, visible_locked
from app.desk.endpoints import matters
from app.desk.endpoints.shared import (
    Body,
    GivenMoment,
    Moment,
    Page,
    PagingDep,
    Shape,
    Text,
    api_router,
    not_blank,
    not_null,
    one,
    page_in_time,
    require_version,
    tag,
)
from app.edge import SessionDep
from app.errors import Invalid
from app.models import Conversation, FollowUp
from app.models.words import ConversationStatus, FollowUpKind, FollowUpOutcome, FollowUpState

router = api_router("follow-ups")
_NOW = text("SELECT now()")
Words = Annotated[Text, Field(min_length=1, max_length=4_000), AfterValidator(not_blank)]


class NewFollowUp(Body):
    """`assignee_id` is the owner of the conversation by default, or who else has it, or you; who could not see it helps in it from now on."""

    due_at: GivenMoment
    kind: FollowUpKind
    assignee_id: UUID | None = None
    note: Words | None = None


class FollowUpChange(Body):
    """Another time or assignee; `state: cancelled`; or its `outcome`, with what is to be kept of it (`result`). Who was
    `reached` has been asked in time. `solved` confirms a resolution that waits for the customer, `not_solved` reopens it,
    or what was closed, while its window lasts. `rescheduled` makes the next one at `next_due_at`."""

    due_at: GivenMoment | None = None
    kind: FollowUpKind | None = None
    assignee_id: UUID | None = None
    note: Words | None = None
    state: Annotated[FollowUpState | None, Field(description="only `cancelled` can be set")] = None
    outcome: FollowUpOutcome | None = None
    result: Words | None = None
    next_due_at: GivenMoment | None = None

    _not_null = model_validator(mode="after")(not_null("due_at", "kind", "assignee_id", "state", "outcome"))


class FollowUpShape(Shape):
    """`about`: the conversation. `due`: its time has come; `missed`: and so has the end of its grace, without an outcome. `follows_id` was put off
    for it; `next_id` is the one that this was put off to, in the answer to that."""

    id: UUID
    conversation_id: UUID
    conversation_status: ConversationStatus
    about: matters.MatterShape
    kind: FollowUpKind
    due_at: Moment
    grace_s: float
    due: bool
    missed: bool
    assignee_id: UUID
    note: str | None
    state: FollowUpState
    outcome: FollowUpOutcome | None
    result: str | None
    follows_id: UUID | None
    next_id: UUID | None = None
    done_at: Moment | None
    missed_at: Moment | None
    version: int
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(
        cls, row: FollowUp, about: matters.MatterShape, *, at: datetime, next_id: UUID | None = None
    ) -> FollowUpShape:
        named = {"conversation_status", "about", "due", "missed", "next_id"}
        planned = row.state == FollowUpState.PLANNED
        return cls(
            **{name: getattr(row, name) for name in cls.model_fields if name not in named},
            conversation_status=about.status,
            about=about,
            due=planned and row.due_at <= at,
            missed=planned and row.missed_at is not None,
            next_id=next_id,
        )


@router.post("/conversations/{conversation_id}/follow-ups", status_code=201)
async def plan_follow_up(
    conversation_id: UUID, given: NewFollowUp, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> FollowUpShape:
    """The assignee is told when it is due; they and the supervisors when nothing is known of it some time after."""
    conversation = await visible_locked(session, principal, conversation_id)
    require_act(principal, conversation)
    row = await follow_ups.plan(session, conversation, **given.model_dump(), actor=principal.actor)
    return await _shown(session, response, row, conversation)


@router.get("/conversations/{conversation_id}/follow-ups")
async def list_of_conversation(
    conversation_id: UUID, session: SessionDep, principal: CurrentPrincipal
) -> Page[FollowUpShape]:
    """All of them, in the order of their times."""
    conversation = await visible(session, principal, conversation_id)
    at = await _now(session)
    rows = await follow_ups.of(session, conversation.id)
    about = await matters.of(session, [conversation.id])
    return Page(items=[FollowUpShape.of(row, about[conversation.id], at=at) for row in rows])


@router.get("/follow-ups")
async def list_follow_ups(
    session: SessionDep,
    principal: CurrentPrincipal,
    paging: PagingDep,
    mine: bool | None = None,
    assignee_id: UUID | None = None,
    state: FollowUpState | None = None,
    due: bool | None = None,
    missed: bool | None = None,
) -> Page[FollowUpShape]:
    """Your own, and those of conversations that you see, by their times."""
    at = await _now(session)
    planned = col(FollowUp.state) == FollowUpState.PLANNED
    own = col(FollowUp.assignee_id) == principal.agent_id
    statement = select(FollowUp).join(Conversation, col(Conversation.id) == col(FollowUp.conversation_id))
    statement = statement.where(or_(own, visible_filter(principal)))
    if mine is not None:
        statement = statement.where(own if mine else ~own)
    if assignee_id is not None:
        statement = statement.where(col(FollowUp.assignee_id) == assignee_id)
    if state is not None:
        statement = statement.where(col(FollowUp.state) == state)
    for wanted, holds in ((due, col(FollowUp.due_at) <= at), (missed, col(FollowUp.missed_at).is_not(None))):
        if wanted is not None:
            statement = statement.where(planned & holds if wanted else ~(planned & holds))
    rows, cursor = await page_in_time(session, statement, col(FollowUp.due_at), col(FollowUp.id), paging)
    about = await matters.of(session, (row.conversation_id for row in rows))
    items = [FollowUpShape.of(row, about[row.conversation_id], at=at) for row in rows]
    return Page(items=items, next_cursor=cursor)


@router.patch("/follow-ups/{follow_up_id}")
async def change_follow_up(
    follow_up_id: UUID,
    given: FollowUpChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: CurrentPrincipal,
) -> FollowUpShape:
    """By its assignee, and by who may act in the conversation."""
    found = await one(session, FollowUp, follow_up_id, "follow-up")
    conversation = await queries.lock(session, found.conversation_id)
    if found.assignee_id != principal.agent_id:
        conversation = await visible_locked(session, principal, found.conversation_id)
        require_act(principal, conversation)
    row = await session.get_one(FollowUp, follow_up_id, populate_existing=True)
    require_version(request, row)
    changes, ending = _parts(given)
    await follow_ups.change(session, conversation, row, changes, actor=principal.actor)
    following = None
    if ending is not None:
        following = await follow_ups.finish(
            session,
            conversation,
            row,
            outcome=ending,
            result=given.result,
            next_due_at=given.next_due_at,
            actor=principal.actor,
        )
    return await _shown(session, response, row, conversation, next_id=following.id if following else None)


def _parts(given: FollowUpChange) -> tuple[dict[str, object], FollowUpOutcome | None]:
    """What is changed, and how it ended. Raises Invalid."""
    changes = given.given()
    for name in ("outcome", "result", "next_due_at"):
        changes.pop(name, None)
    if given.state is not None and given.state is not FollowUpState.CANCELLED:
        raise Invalid("only `cancelled` can be set; an outcome ends it", field="state")
    if given.outcome is not None and changes:
        raise Invalid("what has ended is not changed as well", field=next(iter(changes)))
    for name in ("result", "next_due_at"):
        if given.outcome is None and getattr(given, name) is not None:
            raise Invalid("goes with an outcome", field=name)
    return changes, given.outcome


async def _now(session: AsyncSession) -> datetime:
    at: datetime = (await session.execute(_NOW)).scalar_one()
    return at


async def _shown(
    session: AsyncSession,
    response: Response,
    row: FollowUp,
    conversation: Conversation,
    *,
    next_id: UUID | None = None,
) -> FollowUpShape:
    await session.flush()
    await session.refresh(row)
    tag(response, row)
    about = await matters.of(session, [conversation.id])
    return FollowUpShape.of(row, about[conversation.id], at=await _now(session), next_id=next_id)
