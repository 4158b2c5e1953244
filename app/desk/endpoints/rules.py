"""`/classification-rules` and `/category-settings`: what makes a matter urgent or complex, and what that costs."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlmodel import col, select

from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded
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
    change,
    locked,
    not_null,
    one,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import Invalid
from app.models import CategorySetting, ClassificationRule
from app.models.words import Category
from app.routing.classify import check_pattern, check_scores

router = api_router("classification")
_WHAT = "classification_rule"
Patterns = Annotated[list[str], Field(min_length=1, max_length=500)]
Scores = dict[str, dict[str, int]]
Boost = Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)]


class NewRule(Body):
    """When any of `patterns` (regular expressions or plain words) matches, `scores` are added:
    `{"category": {"urgent": 5}, "matter": {...}, "severity": {...}, "complaint_type": {...}}`."""

    code: Code
    name: Name
    position: Small = 100
    patterns: Patterns
    scores: Scores
    active: bool = True


class RuleChange(Body):
    name: Name | None = None
    position: Small | None = None
    patterns: Patterns | None = None
    scores: Scores | None = None
    active: bool | None = None

    _not_null = model_validator(mode="after")(not_null("name", "position", "patterns", "scores", "active"))


class RuleShape(Shape):
    id: UUID
    code: str
    name: str
    position: int
    patterns: list[str]
    scores: dict[str, Any]
    active: bool
    version: int
    created_at: Moment
    updated_at: Moment


class CategoryChange(Body):
    """`weight`: what one conversation costs of an agent's capacity. `boost_s`: its head start in the queue, seconds."""

    weight: Annotated[int, Field(ge=1, le=1_000)] | None = None
    boost_s: Boost | None = None

    _not_null = model_validator(mode="after")(not_null("weight", "boost_s"))


class CategoryShape(Shape):
    category: Category
    weight: int
    boost_s: float
    version: int


def _check(patterns: list[str] | None, scores: Scores | None) -> None:
    """Raises Invalid naming the field."""
    for number, pattern in enumerate(patterns or ()):
        if "\x00" in pattern:
            raise Invalid("must not contain the character NUL", field=f"patterns.{number}")
        check_pattern(pattern)
    if scores is not None:
        check_scores(scores)


@router.post("/classification-rules", status_code=201)
async def create_rule(
    given: NewRule, response: Response, session: SessionDep, context: ContextDep, principal: Admin
) -> RuleShape:
    _check(given.patterns, given.scores)
    row = ClassificationRule(**given.model_dump())
    await coded.created(session, response, principal, row, _WHAT)
    await context.catalog.changed(session)
    return RuleShape.model_validate(row)


@router.get("/classification-rules")
async def list_rules(
    session: SessionDep, _: Supervisor, paging: PagingDep, active: bool | None = None, code: str | None = None
) -> Page[RuleShape]:
    return await coded.listed(session, ClassificationRule, RuleShape, paging, active=active, code=code)


@router.get("/classification-rules/{rule_id}")
async def get_rule(rule_id: UUID, response: Response, session: SessionDep, _: Supervisor) -> RuleShape:
    row = await one(session, ClassificationRule, rule_id, _WHAT.replace("_", " "))
    tag(response, row)
    return RuleShape.model_validate(row)


@router.patch("/classification-rules/{rule_id}")
async def change_rule(
    rule_id: UUID,
    given: RuleChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> RuleShape:
    _check(given.patterns, given.scores)
    row = await coded.changed(session, request, response, principal, ClassificationRule, rule_id, given, _WHAT)
    await context.catalog.changed(session)
    return RuleShape.model_validate(row)


@router.delete("/classification-rules/{rule_id}", status_code=204)
async def deactivate_rule(rule_id: UUID, session: SessionDep, context: ContextDep, principal: Admin) -> None:
    """It fires no more."""
    if await coded.deactivated(session, principal, ClassificationRule, rule_id, _WHAT):
        await context.catalog.changed(session)


@router.get("/category-settings")
async def list_categories(session: SessionDep, _: Supervisor) -> Page[CategoryShape]:
    rows = (await session.exec(select(CategorySetting).order_by(col(CategorySetting.weight)))).all()
    return Page(items=[CategoryShape.model_validate(row) for row in rows])


@router.get("/category-settings/{category}")
async def get_category(category: Category, response: Response, session: SessionDep, _: Supervisor) -> CategoryShape:
    row = await one(session, CategorySetting, category, "category")
    tag(response, row)
    return CategoryShape.model_validate(row)


@router.patch("/category-settings/{category}")
async def change_category(
    category: Category,
    given: CategoryChange,
    request: Request,
    response: Response,
    session: SessionDep,
    context: ContextDep,
    principal: Admin,
) -> CategoryShape:
    """For conversations from now on."""
    row = await locked(session, CategorySetting, category, "category")
    require_version(request, row)
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    await record(session, principal, "category_setting.updated", category=row.category, changed=changed)
    await context.catalog.changed(session)
    tag(response, row)
    return CategoryShape.model_validate(row)
