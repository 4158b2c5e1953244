"""What a new installation starts with. Run at every start: what an operator changed or switched off stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.feedback import announcements
from app.feedback.policy import SHIPPED
from app.ids import new_token, token_hash
from app.models import (
    AnnouncementPolicy,
    ApiToken,
    Boost,
    CategorySetting,
    Channel,
    ClassificationRule,
    ClosingPolicy,
    GradedResponse,
    Instance,
    Queue,
    SlaPolicy,
)
from app.models.words import BoostFact, Category, Matter, Role, Severity, TokenKind
from app.routing.default_rules import DEFAULT_RULES
from app.sla.default_policies import POLICIES

CATEGORIES = (
    CategorySetting(category=Category.ROUTINE, weight=1, boost_s=0),
    CategorySetting(category=Category.URGENT, weight=2, boost_s=600),
    CategorySetting(category=Category.COMPLEX, weight=3, boost_s=120),
)
# Minutes of head start, added to that of the category.
BOOSTS = (
    Boost(fact=BoostFact.SEVERITY, value=Severity.CRITICAL, boost_s=3_600),
    Boost(fact=BoostFact.SEVERITY, value=Severity.MAJOR, boost_s=900),
    Boost(fact=BoostFact.TIER, value="vip", boost_s=900),
    Boost(fact=BoostFact.RISK, value="high", boost_s=600),
    Boost(fact=BoostFact.REPEAT, value="7", boost_s=300),
    Boost(fact=BoostFact.CHANNEL_TYPE, value="voice", boost_s=300),  # somebody is on the line
)
GRADED = (
    GradedResponse(
        code="serious-complaint",
        name="Major and critical complaints go to a supervisor at once",
        position=10,
        match={"matter": [Matter.COMPLAINT], "severity": [Severity.CRITICAL, Severity.MAJOR]},
        escalate=True,
    ),
    GradedResponse(
        code="urgent",
        name="In urgent matters a supervisor or technical support steps in",
        position=20,
        match={"category": [Category.URGENT]},
        escalate=True,
        specialists=["technical_support"],
    ),
)
CLOSING = ClosingPolicy(**SHIPPED.model_dump(exclude={"id", "created_at", "updated_at"}))
WALK_IN = Channel(type="walk_in", name="Walk-in", secrets="")
BOOTSTRAP = "bootstrap"
_ADMIN_LOCK = text("SELECT pg_advisory_xact_lock(7266514313)")


async def ensure_defaults(session: AsyncSession) -> None:
    """Add what is missing: the default queue, the categories, the channel for walk-ins, and rules and policies whose code was
    never there.

    Safe from many processes at once: the unique indexes decide.
    """
    has_default = await session.exec(select(Queue.id).where(col(Queue.is_default)))
    if has_default.first() is None:
        await _add(session, Queue, [Queue(name="General", is_default=True)])
    await _add(session, CategorySetting, CATEGORIES)
    known_rules = set((await session.exec(select(ClassificationRule.code))).all())
    rules = [ClassificationRule(**rule) for rule in DEFAULT_RULES if rule["code"] not in known_rules]
    await _add(session, ClassificationRule, rules)
    known_policies = set((await session.exec(select(SlaPolicy.code))).all())
    policies = [SlaPolicy(**policy) for policy in POLICIES if policy["code"] not in known_policies]
    await _add(session, SlaPolicy, policies)
    await _add_once(session, "boosts", Boost, BOOSTS)
    await _add_once(session, "graded", GradedResponse, GRADED)
    await _add_once(session, "closing", ClosingPolicy, [CLOSING])
    await _add_once(session, "announcements", AnnouncementPolicy, announcements.SHIPPED)
    await _add_once(session, "walk_in", Channel, [WALK_IN])


async def _add_once(session: AsyncSession, name: str, table: type[SQLModel], rows: Iterable[SQLModel]) -> None:
    """Rows that an operator may delete do not come back: a mark remembers that they were here."""
    mark = insert(Instance).values(name=f"seed:{name}", value="done").on_conflict_do_nothing()
    if (await session.execute(mark.returning(col(Instance.name)))).first() is not None:
        await _add(session, table, rows)


async def _add(session: AsyncSession, table: type[SQLModel], rows: Iterable[SQLModel]) -> None:
    values = [_columns(row) for row in rows]
    if values:
        await session.execute(insert(table).values(values).on_conflict_do_nothing())


def _columns(row: SQLModel) -> Mapping[str, Any]:
    """Without what the database sets itself."""
    return row.model_dump(exclude={"created_at", "updated_at"})


async def ensure_admin_token(session: AsyncSession, given: str | None) -> str | None:
    """Make sure that an administrator can come in; returns a token that was made just now, to be printed once.

    A `given` token is the one: another bootstrap token that was there before ends. Without one, a token is made only
    when there is none.
    """
    await session.execute(_ADMIN_LOCK)
    if given is not None:
        await _store(session, given)
        return None
    known = await session.exec(
        select(ApiToken.id).where(col(ApiToken.kind) == TokenKind.ADMIN, col(ApiToken.revoked_at).is_(None))
    )
    if known.first() is not None:
        return None
    made = new_token("admin")
    await _store(session, made)
    return made


async def _store(session: AsyncSession, token: str) -> None:
    digest = token_hash(token)
    others = update(ApiToken).where(
        col(ApiToken.kind) == TokenKind.ADMIN, col(ApiToken.digest) != digest, col(ApiToken.revoked_at).is_(None)
    )
    await session.execute(others.values(revoked_at=func.now()))
    row = ApiToken(kind=TokenKind.ADMIN, name=BOOTSTRAP, digest=digest, role=Role.ADMIN)
    statement = insert(ApiToken).values(_columns(row))
    again = statement.on_conflict_do_update(
        index_elements=["digest"], set_={"revoked_at": None}, where=col(ApiToken.kind) == TokenKind.ADMIN
    )
    await session.execute(again)
