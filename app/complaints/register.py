"""The register of all complaints: which there are, how many of what, and a table to take away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, true
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from app.db import Database
from app.models import Agent, Complaint, Contact, Conversation
from app.models.words import ComplaintProgress, ComplaintType, Matter, Severity

PAGE = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """None filters nothing. `agent_id` is who owns the matter, else who has it; `q` is looked for in the texts."""

    type: ComplaintType | None = None
    severity: Severity | None = None
    progress: ComplaintProgress | None = None
    product: str | None = None
    channel_type: str | None = None
    agent_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None
    visible: ColumnElement[bool] = field(default_factory=true)


Row = tuple[Complaint, Conversation, Contact]
_AGENT = func.coalesce(col(Conversation.owner_id), col(Conversation.assignee_id))


def find(wanted: Filter) -> Select[Complaint, Conversation, Contact]:
    """Registered complaints with their conversation and customer, in no order. What was classified otherwise since is
    none any more; its record is kept."""
    return (
        select(Complaint, Conversation, Contact)
        .join(Conversation, col(Conversation.id) == col(Complaint.conversation_id))
        .join(Contact, col(Contact.id) == col(Conversation.contact_id))
        .where(*_conditions(wanted))
    )


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    equal: dict[Any, Any] = {
        col(Conversation.complaint_type): wanted.type,
        col(Conversation.severity): wanted.severity,
        col(Complaint.progress): wanted.progress,
        col(Complaint.product): wanted.product,
        col(Conversation.channel_type): wanted.channel_type,
        _AGENT: wanted.agent_id,
    }
    conditions = [col(Conversation.matter) == Matter.COMPLAINT, wanted.visible]
    conditions += [column == value for column, value in equal.items() if value is not None]
    if wanted.since is not None:
        conditions.append(col(Complaint.registered_at) >= wanted.since)
    if wanted.until is not None:
        conditions.append(col(Complaint.registered_at) < wanted.until)
    if wanted.q is not None:
        texts = (Complaint.what, Complaint.product, Complaint.demands, Complaint.result, Conversation.subject)
        conditions.append(or_(*(col(text).icontains(wanted.q, autoescape=True) for text in texts)))
    return conditions


_MONTH = func.to_char(func.timezone("UTC", col(Complaint.registered_at)), "YYYY-MM")
CUTS: Mapping[str, Any] = {
    "type": col(Conversation.complaint_type),
    "severity": col(Conversation.severity),
    "progress": col(Complaint.progress),
    "product": col(Complaint.product),
    "channel": col(Conversation.channel_type),
    "agent": _AGENT,
    "month": _MONTH,
}
"""What statistics can be cut by."""


async def statistics(session: AsyncSession, wanted: Filter, *, by: str, limit: int) -> list[tuple[Any, int, int]]:
    """`(value, complaints, of these closed)`, the most frequent first; months in their order. A value may be None."""
    cut = CUTS[by].label("cut")
    closed = func.count().filter(and_(col(Complaint.progress) == ComplaintProgress.CLOSED))
    order = cut if by == "month" else func.count().desc()
    found = await session.execute(
        select(cut, func.count(), closed)
        .select_from(Complaint)
        .join(Conversation, col(Conversation.id) == col(Complaint.conversation_id))
        .where(*_conditions(wanted))
        .group_by(cut)
        .order_by(order, cut)
        .limit(limit)
    )
    return [(value, count, done) for value, count, done in found]


async def agents_named(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    found = await session.exec(select(Agent.id, Agent.name).where(col(Agent.id).in_(ids)))
    return dict(found.all())


async def pages(database: Database, wanted: Filter) -> AsyncIterator[Sequence[Row]]:
    """All of them by number, a bounded page and transaction at a time."""
    after = 0
    while True:
        async with database.begin() as session:
            statement = find(wanted).where(col(Complaint.number) > after).order_by(col(Complaint.number)).limit(PAGE)
            rows = (await session.exec(statement)).all()
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        after = rows[-1][0].number
