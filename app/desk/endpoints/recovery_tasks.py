"""`/recovery-tasks`: what is to be made good, for supervisors. Agents never see them: a score may have been anonymous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema, model_validator
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, follow_ups, queries, recovering
from app.desk.auth import Supervisor, visible_locked
from app.desk.endpoints import matters
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
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
from app.feedback import policy, recovery
from app.feedback.recovery_states import TO_DO, require_money
from app.feedback.recovery_words import plain
from app.models import Agent, RecoveryTask, SurveyResponse
from app.models.words import SENIORS, RecoveryCause, RecoveryState, Remedy

router = api_router("recovery tasks")
_WHAT = "recovery task"
_NOW = text("SELECT now()")
Words = Annotated[Text, Field(min_length=1, max_length=4_000), AfterValidator(not_blank)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=3)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Money = Annotated[
    Decimal, PlainSerializer(plain, return_type=str, when_used="json"), WithJsonSchema({"type": "string"})
]


class NewTask(Body):
    """Without an assignee it goes to a supervisor of the owner's team or of the queue, else all supervisors have it; without
    a time, to what the closing policy says. `text` is what the customer is told of it once it is done."""

    assignee_id: UUID | None = None
    due_at: GivenMoment | None = None
    remedy: Remedy | None = None
    text: Words | None = None
    amount: Amount | None = None
    currency: Currency | None = None


class TaskChange(Body):
    """`done` needs a remedy and the text that the customer is told; `confirmed` and `failed` are for what they say by
    other ways than the link, and end it. What is done can go back to `in_progress`."""

    state: RecoveryState | None = None
    assignee_id: UUID | None = None
    due_at: GivenMoment | None = None
    remedy: Remedy | None = None
    text: Words | None = None
    amount: Amount | None = None
    currency: Currency | None = None

    _not_null = model_validator(mode="after")(not_null("state", "due_at"))


class Score(Shape):
    """What the customer said, unless anonymously."""

    csat: int | None
    nps: int | None
    content: int | None
    efficiency: int | None
    attitude: int | None
    comment: str | None


class TaskShape(Shape):
    """`about`: the conversation. `overdue`: its time is over and it is not done. `asked_at`: when the customer was asked whether it helped; null for
    who rated anonymously, or could not be reached. `via`: how their answer is known. `score` is null for an anonymous one."""

    id: UUID
    conversation_id: UUID
    about: matters.MatterShape
    cycle_id: UUID | None
    cause: RecoveryCause
    score: Score | None
    state: RecoveryState
    overdue: bool
    assignee_id: UUID | None
    due_at: Moment
    remedy: Remedy | None
    text: str | None
    amount: Money | None
    currency: str | None
    done_at: Moment | None
    asked_at: Moment | None
    decided_at: Moment | None
    via: str | None
    version: int
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(
        cls, row: RecoveryTask, about: matters.MatterShape, *, at: datetime, score: SurveyResponse | None
    ) -> TaskShape:
        named = {"about", "score", "overdue", "via"}
        return cls(
            **{name: getattr(row, name) for name in cls.model_fields if name not in named},
            about=about,
            score=None if score is None or score.anonymous else Score.model_validate(score),
            overdue=row.state in TO_DO and row.due_at <= at,
            via=row.decided_via,
        )


@router.post("/conversations/{conversation_id}/recovery-tasks", status_code=201)
async def open_task(
    conversation_id: UUID, given: NewTask, response: Response, session: SessionDep, principal: Supervisor
) -> TaskShape:
    """By hand, while there is no other one of the conversation."""
    conversation = await visible_locked(session, principal, conversation_id)
    require_money(given.amount, given.currency)
    if given.due_at is not None:
        await follow_ups.require_future(session, given.due_at)
    await _require_senior(session, given.assignee_id)
    cycle = await queries.newest_cycle(session, conversation)
    rules: Mapping[str, Any] = cycle.policy if cycle else await closing.policy_of(session, conversation)
    task = await recovery.by_hand(
        session,
        conversation,
        cycle,
        assignee_id=given.assignee_id,
        due_at=given.due_at,
        due_s=policy.recovery_due_s(rules),
        given=given.model_dump(include={"remedy", "text", "amount", "currency"}, exclude_none=True),
        actor=principal.actor,
    )
    return await _shown(session, response, task)


@router.get("/recovery-tasks")
async def list_tasks(
    session: SessionDep,
    _: Supervisor,
    paging: PagingDep,
    state: RecoveryState | None = None,
    assignee_id: UUID | Literal["none"] | None = None,
    overdue: bool | None = None,
    conversation_id: UUID | None = None,
) -> Page[TaskShape]:
    """The most urgent first. `assignee_id=none`: those that nobody in particular has."""
    at = await _now(session)
    statement = select(RecoveryTask)
    if state is not None:
        statement = statement.where(col(RecoveryTask.state) == state)
    if assignee_id is not None:
        whose = None if assignee_id == "none" else assignee_id
        statement = statement.where(col(RecoveryTask.assignee_id).is_not_distinct_from(whose))
    if conversation_id is not None:
        statement = statement.where(col(RecoveryTask.conversation_id) == conversation_id)
    if overdue is not None:
        late = col(RecoveryTask.state).in_(TO_DO) & (col(RecoveryTask.due_at) <= at)
        statement = statement.where(late if overdue else ~late)
    rows, cursor = await page_in_time(session, statement, col(RecoveryTask.due_at), col(RecoveryTask.id), paging)
    return Page(items=await _shapes(session, rows, at), next_cursor=cursor)


@router.get("/recovery-tasks/{task_id}")
async def get_task(task_id: UUID, response: Response, session: SessionDep, _: Supervisor) -> TaskShape:
    return await _shown(session, response, await one(session, RecoveryTask, task_id, _WHAT))


@router.patch("/recovery-tasks/{task_id}")
async def change_task(
    task_id: UUID,
    given: TaskChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Supervisor,
) -> TaskShape:
    """Once it is `done`, the customer of a closed matter is asked on their channel whether it helped; while the matter goes
    on, the answer to its next receipt decides."""
    found = await one(session, RecoveryTask, task_id, _WHAT)
    conversation = await visible_locked(session, principal, found.conversation_id)
    task = await session.get_one(RecoveryTask, task_id, populate_existing=True)
    require_version(request, task)
    changes = given.given()
    if changes.get("due_at") not in (None, task.due_at):
        await follow_ups.require_future(session, changes["due_at"])
    await _require_senior(session, given.assignee_id)
    await recovering.change(session, conversation, task, changes, actor=principal.actor, link=context.feedback_link)
    return await _shown(session, response, task)


async def _require_senior(session: AsyncSession, agent_id: UUID | None) -> None:
    """Raises Invalid for anybody but an active supervisor or administrator."""
    if agent_id is None:
        return
    agent = await session.get(Agent, agent_id)
    if agent is None or not agent.active or agent.role not in SENIORS:
        raise Invalid("there is no such supervisor", field="assignee_id")


async def _now(session: AsyncSession) -> datetime:
    at: datetime = (await session.execute(_NOW)).scalar_one()
    return at


async def _shapes(session: AsyncSession, rows: Sequence[RecoveryTask], at: datetime) -> list[TaskShape]:
    cycles = [row.cycle_id for row in rows if row.cycle_id is not None]
    found = await session.exec(select(SurveyResponse).where(col(SurveyResponse.cycle_id).in_(cycles)))
    scores = {score.cycle_id: score for score in found}
    about = await matters.of(session, (row.conversation_id for row in rows))
    return [
        TaskShape.of(row, about[row.conversation_id], at=at, score=scores.get(row.cycle_id) if row.cycle_id else None)
        for row in rows
    ]


async def _shown(session: AsyncSession, response: Response, task: RecoveryTask) -> TaskShape:
    await session.flush()
    await session.refresh(task)
    [shape] = await _shapes(session, [task], await _now(session))
    tag(response, task)
    return shape
