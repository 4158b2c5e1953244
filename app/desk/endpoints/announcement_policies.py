"""`/announcement-policies`: what customers are told without asking, and how often at most."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import announcing
from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded
from app.desk.endpoints.policy_shapes import Match
from app.desk.endpoints.shared import (
    Body,
    Code,
    ContextDep,
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
from app.models import AnnouncementPolicy
from app.models.progress import CHANGES, Announced

router = api_router("announcements")
_WHAT = "announcement_policy"
Span = Annotated[float, Field(gt=0, le=31_536_000, description="seconds")]
Gap = Annotated[float, Field(ge=0, le=31_536_000, description="seconds")]
Change = Literal[Announced.ASSIGNED, Announced.ON_HOLD, Announced.TRANSFERRED, Announced.REOPENED]
Changes = Annotated[list[Change], Field(max_length=len(CHANGES))]
_ALL: list[Change] = [Announced.ASSIGNED, Announced.ON_HOLD, Announced.TRANSFERRED, Announced.REOPENED]
PerDay = Annotated[int, Field(ge=0, le=100)]


class NewAnnouncementPolicy(Body):
    """`match` maps facts to the accepted words, as SLA policies do; the first match by position counts, and where none
    matches nothing is told.

    `acknowledge`: a first message is answered at once with a link to the page of the matter, unless that would come later
    than `acknowledge_within_s`. `changes` are told at least `min_gap_s` apart and at most `per_day` within 24 hours.
    """

    code: Code
    name: Name
    position: Small = 100
    match: Match = Field(default_factory=dict)
    acknowledge: bool = True
    acknowledge_within_s: Span = 3_600
    changes: Changes = Field(default_factory=lambda: list(_ALL))
    min_gap_s: Gap = 900
    per_day: PerDay = 3
    active: bool = True


class AnnouncementPolicyChange(Body):
    name: Name | None = None
    position: Small | None = None
    match: Match | None = None
    acknowledge: bool | None = None
    acknowledge_within_s: Span | None = None
    changes: Changes | None = None
    min_gap_s: Gap | None = None
    per_day: PerDay | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(
        not_null(
            "name",
            "position",
            "match",
            "acknowledge",
            "acknowledge_within_s",
            "changes",
            "min_gap_s",
            "per_day",
            "active",
        )
    )


class AnnouncementPolicyShape(Shape):
    id: UUID
    code: str
    name: str
    position: int
    match: dict[str, list[str]]
    acknowledge: bool
    acknowledge_within_s: float
    changes: list[Announced]
    min_gap_s: float
    per_day: int
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


@router.post("/announcement-policies", status_code=201)
async def create_announcement_policy(
    given: NewAnnouncementPolicy, response: Response, session: SessionDep, principal: Admin, context: ContextDep
) -> AnnouncementPolicyShape:
    await _begin_now(session)
    row = AnnouncementPolicy(**given.model_dump())
    await coded.created(session, response, principal, row, _WHAT)
    await context.catalog.changed(session)
    return AnnouncementPolicyShape.model_validate(row)


@router.get("/announcement-policies")
async def list_announcement_policies(
    session: SessionDep, _: Supervisor, paging: PagingDep, active: bool | None = None, code: str | None = None
) -> Page[AnnouncementPolicyShape]:
    return await coded.listed(session, AnnouncementPolicy, AnnouncementPolicyShape, paging, active=active, code=code)


@router.get("/announcement-policies/{policy_id}")
async def get_announcement_policy(
    policy_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> AnnouncementPolicyShape:
    row = await one(session, AnnouncementPolicy, policy_id, _WHAT.replace("_", " "))
    tag(response, row)
    return AnnouncementPolicyShape.model_validate(row)


@router.patch("/announcement-policies/{policy_id}")
async def change_announcement_policy(
    policy_id: UUID,
    given: AnnouncementPolicyChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
    context: ContextDep,
) -> AnnouncementPolicyShape:
    """Counts from now on, also for what waits for its time."""
    if given.active:
        await _begin_now(session)
    row = await coded.changed(session, request, response, principal, AnnouncementPolicy, policy_id, given, _WHAT)
    await context.catalog.changed(session)
    return AnnouncementPolicyShape.model_validate(row)


@router.delete("/announcement-policies/{policy_id}", status_code=204)
async def deactivate_announcement_policy(
    policy_id: UUID, session: SessionDep, principal: Admin, context: ContextDep
) -> None:
    """It is not used any more; without any, customers are told nothing."""
    if await coded.deactivated(session, principal, AnnouncementPolicy, policy_id, _WHAT):
        await context.catalog.changed(session)


async def _begin_now(session: AsyncSession) -> None:
    """Nobody has read the log while there was no policy: what happened meanwhile is not told."""
    known = await session.exec(select(func.count()).where(col(AnnouncementPolicy.active)))
    if known.one() == 0:
        await announcing.start(session)
