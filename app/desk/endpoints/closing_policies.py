"""`/closing-policies`: when customers are asked again, when silence is a yes, and how long a closed matter can go on."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator

from app.channels.registry import ADAPTERS
from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded
from app.desk.endpoints.policy_shapes import Match
from app.desk.endpoints.shared import (
    Body,
    Code,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    Small,
    api_router,
    not_null,
    one,
    tag,
)
from app.edge import SessionDep
from app.errors import Invalid
from app.feedback.policy import SHIPPED
from app.models import ClosingPolicy

router = api_router("closing policies")
_WHAT = "closing_policy"
Span = Annotated[float, Field(gt=0, le=31_536_000, description="seconds")]
Window = Annotated[float, Field(ge=0, le=31_536_000, description="seconds")]
Score = Annotated[int, Field(ge=1, le=5)]
Likelihood = Annotated[int, Field(ge=0, le=10)]
ReceiptChannels = Annotated[list[Name], Field(max_length=30, description="channel types, the first that may be used")]
Reminders = Annotated[list[Span], Field(max_length=10)]


class NewClosingPolicy(Body):
    """`match` maps facts to the accepted words, as SLA policies do; the first match by position counts.

    A receipt without an answer is asked about again after each of `remind_after_s`, and taken as confirmed after
    `confirm_after_s` (null: never). A message within `reopen_window_s` of closing reopens the matter. `survey`: ask for
    a rating, but nobody twice within `survey_gap_s`. A rating of `low_csat` or `low_nps` at most (null: none) opens a
    recovery task, due within `recovery_due_s`; a follow-up is missed `follow_up_grace_s` after its time. A receipt that the
    customer's own channel does not carry goes by the first of `receipt_channels` on which they can be reached.
    """

    code: Code
    name: Name
    position: Small = 100
    match: Match = Field(default_factory=dict)
    confirm_after_s: Span | None = SHIPPED.confirm_after_s
    remind_after_s: Reminders = Field(default_factory=lambda: list(SHIPPED.remind_after_s))
    reopen_window_s: Window = SHIPPED.reopen_window_s
    survey: bool = True
    survey_gap_s: Window = SHIPPED.survey_gap_s
    low_csat: Score | None = SHIPPED.low_csat
    low_nps: Likelihood | None = SHIPPED.low_nps
    recovery_due_s: Span = SHIPPED.recovery_due_s
    follow_up_grace_s: Window = SHIPPED.follow_up_grace_s
    receipt_channels: ReceiptChannels = Field(default_factory=lambda: list(SHIPPED.receipt_channels))
    active: bool = True


class ClosingPolicyChange(Body):
    name: Name | None = None
    position: Small | None = None
    match: Match | None = None
    confirm_after_s: Span | None = None
    remind_after_s: Reminders | None = None
    reopen_window_s: Window | None = None
    survey: bool | None = None
    survey_gap_s: Window | None = None
    low_csat: Score | None = None
    low_nps: Likelihood | None = None
    recovery_due_s: Span | None = None
    follow_up_grace_s: Window | None = None
    receipt_channels: ReceiptChannels | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null(
            "name",
            "position",
            "match",
            "remind_after_s",
            "reopen_window_s",
            "survey",
            "survey_gap_s",
            "recovery_due_s",
            "follow_up_grace_s",
            "receipt_channels",
            "active",
        )
    )


class ClosingPolicyShape(Shape):
    id: UUID
    code: str
    name: str
    position: int
    match: dict[str, list[str]]
    confirm_after_s: float | None
    remind_after_s: list[float]
    reopen_window_s: float
    survey: bool
    survey_gap_s: float
    low_csat: int | None
    low_nps: int | None
    recovery_due_s: float
    follow_up_grace_s: float
    receipt_channels: list[str]
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


def _check(row: ClosingPolicy) -> None:
    """Raises Invalid for a reminder that would never be sent, and for a channel that sends nothing."""
    for number, after in enumerate(row.remind_after_s):
        if row.confirm_after_s is not None and after >= row.confirm_after_s:
            raise Invalid("must be before `confirm_after_s`", field=f"remind_after_s.{number}")
    for number, kind in enumerate(row.receipt_channels):
        if kind not in ADAPTERS or not ADAPTERS[kind].capabilities.answers:
            raise Invalid("no channel type that reaches customers", field=f"receipt_channels.{number}")


@router.post("/closing-policies", status_code=201)
async def create_closing_policy(
    given: NewClosingPolicy, response: Response, session: SessionDep, principal: Admin
) -> ClosingPolicyShape:
    row = ClosingPolicy(**given.model_dump())
    _check(row)
    await coded.created(session, response, principal, row, _WHAT)
    return ClosingPolicyShape.model_validate(row)


@router.get("/closing-policies")
async def list_closing_policies(
    session: SessionDep, _: Supervisor, paging: PagingDep, active: bool | None = None, code: str | None = None
) -> Page[ClosingPolicyShape]:
    return await coded.listed(session, ClosingPolicy, ClosingPolicyShape, paging, active=active, code=code)


@router.get("/closing-policies/{policy_id}")
async def get_closing_policy(
    policy_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> ClosingPolicyShape:
    row = await one(session, ClosingPolicy, policy_id, _WHAT.replace("_", " "))
    tag(response, row)
    return ClosingPolicyShape.model_validate(row)


@router.patch("/closing-policies/{policy_id}")
async def change_closing_policy(
    policy_id: UUID,
    given: ClosingPolicyChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
) -> ClosingPolicyShape:
    """For what is resolved from now on: receipts that are out keep their times."""
    row = await coded.changed(session, request, response, principal, ClosingPolicy, policy_id, given, _WHAT, _check)
    return ClosingPolicyShape.model_validate(row)


@router.delete("/closing-policies/{policy_id}", status_code=204)
async def deactivate_closing_policy(policy_id: UUID, session: SessionDep, principal: Admin) -> None:
    """It is not used any more; without any, the shipped figures count."""
    await coded.deactivated(session, principal, ClosingPolicy, policy_id, _WHAT)
