"""Policies and calendars as the clocks need them: versions are never changed, so what was read once is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import cast
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.models import Calendar, CalendarVersion, Contact, Conversation, Queue, SlaPolicy
from app.sla.calendar import ALWAYS, from_row
from app.sla.hours import CalendarError
from app.sla.policy import Facts
from app.sla.run import EVER, Edition, Timeline

_KEPT = 2_000
_known: dict[UUID, SlaPolicy] = {}
_logger = log.get("sla")


async def policies(session: AsyncSession, ids: Collection[UUID]) -> Mapping[UUID, SlaPolicy]:
    """Versions of policies, detached. `retired_at` is not to be relied on: it is the one thing that changes."""
    missing = [policy_id for policy_id in set(ids) if policy_id not in _known]
    if missing:
        if len(_known) > _KEPT:
            _known.clear()
        rows = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.id).in_(set(ids))))).all()
        _known.update({row.id: SlaPolicy(**row.model_dump()) for row in rows})
    return {policy_id: _known[policy_id] for policy_id in ids}


async def in_force(session: AsyncSession) -> list[SlaPolicy]:
    return list((await session.exec(select(SlaPolicy).where(col(SlaPolicy.retired_at).is_(None)))).all())


async def timelines(session: AsyncSession, calendar_ids: Collection[UUID | None]) -> Mapping[UUID | None, Timeline]:
    """The calendars with their former versions; None is 24x7. One statement, none where only that is asked for."""
    found: dict[UUID | None, Timeline] = {None: EVER}
    wanted = {calendar_id for calendar_id in calendar_ids if calendar_id is not None}
    if wanted:
        query = select(CalendarVersion).where(col(CalendarVersion.calendar_id).in_(wanted))
        editions: dict[UUID | None, list[Edition]] = defaultdict(list)
        for row in (await session.exec(query.order_by(col(CalendarVersion.version)))).all():
            editions[row.calendar_id].append(_edition(row))
        found.update(editions)
    return found


def _edition(row: CalendarVersion) -> Edition:
    """One that this version cannot read counts all hours, with an error in the log: no clock stands still for it."""
    try:
        calendar = from_row(cast(Calendar, row))
    except CalendarError as error:
        _logger.error("calendar cannot be read", calendar_id=row.calendar_id, version=row.version, error=str(error))
        calendar = ALWAYS
    return Edition(row.version, row.since, calendar)


async def facts(session: AsyncSession, conversation: Conversation) -> Facts:
    """What policies ask about a conversation, the tier of its contact and the name of its queue included."""
    tier = (await session.exec(select(Contact.tier).where(col(Contact.id) == conversation.contact_id))).one_or_none()
    queue = (await session.exec(select(Queue.name).where(col(Queue.id) == conversation.queue_id))).one_or_none()
    return {**own_facts(conversation), "tier": tier, "queue": queue}


def own_facts(conversation: Conversation) -> Facts:
    """Those that it holds itself."""
    return {
        "channel_type": conversation.channel_type,
        "category": conversation.category,
        "matter": conversation.matter,
        "severity": conversation.severity,
        "warranty": conversation.warranty,
    }
