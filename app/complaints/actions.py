"""Corrective actions: what we do so that it does not happen again, and the loop that tells who is late with one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.db import Database
from app.errors import Invalid
from app.events import log as events
from app.events.log import SYSTEM, Actor
from app.models import Agent, Complaint, Conversation, CorrectiveAction
from app.models.words import SENIORS, CorrectiveStatus

TOPIC = "corrective"
BATCH = 100
_ENDED = (CorrectiveStatus.DONE, CorrectiveStatus.CANCELLED)
_TODAY = text("SELECT (now() AT TIME ZONE 'UTC')::date")
# A day is over when it is over in UTC; without locks, because the conversations are locked first.
_LATE = text(
    "SELECT id, complaint_id FROM corrective_action WHERE told_at IS NULL AND status NOT IN ('done', 'cancelled') "
    "AND due_on < (now() AT TIME ZONE 'UTC')::date ORDER BY due_on LIMIT :batch"
)


async def plan(
    session: AsyncSession,
    conversation: Conversation,
    complaint: Complaint,
    *,
    text: str,
    owner_id: UUID,
    due_on: date,
    actor: Actor,
) -> CorrectiveAction:
    """Somebody is to do something by the end of a day. Raises Invalid for one that is over."""
    await _require_to_come(session, due_on)
    action = CorrectiveAction(complaint_id=complaint.conversation_id, text=text, owner_id=owner_id, due_on=due_on)
    session.add(action)
    await session.flush()
    await session.refresh(action)
    await _tell(session, conversation, action, "planned", actor=actor)
    return action


async def change(
    session: AsyncSession,
    conversation: Conversation,
    action: CorrectiveAction,
    given: Mapping[str, Any],
    *,
    actor: Actor,
) -> list[str]:
    """Set what differs; a new day or owner is told again when it is late. Returns what changed.

    Raises Invalid for a day that is over.
    """
    changed = [name for name, value in given.items() if getattr(action, name) != value]
    if not changed:
        return []
    if "due_on" in changed:
        await _require_to_come(session, given["due_on"])
    for name in changed:
        setattr(action, name, given[name])
    if "status" in changed:
        action.done_at = now() if action.status == CorrectiveStatus.DONE else None
    if {"due_on", "owner_id"} & set(changed):
        action.told_at = None
    action.version += 1
    action.updated_at = now()
    session.add(action)
    await _tell(session, conversation, action, "updated", actor=actor)
    return changed


async def today(session: AsyncSession) -> date:
    """By the database's clock, in UTC."""
    found: date = (await session.execute(_TODAY)).scalar_one()
    return found


class Reminder:
    """One per process: whoever is first tells the owner and all supervisors, once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        async with self._database.begin() as session:
            late = (await session.execute(_LATE, {"batch": BATCH})).all()
            if not late:
                return None
            told = 0
            for conversation in await _try_lock(session, {row.complaint_id for row in late}):
                for action in await _late_of(session, conversation, {row.id for row in late}):
                    action.told_at = now()
                    session.add(action)
                    await _tell(session, conversation, action, "overdue", actor=SYSTEM)
                    told += 1
        return 0 if told == BATCH else None


async def _require_to_come(session: AsyncSession, due_on: date) -> None:
    if due_on < await today(session):
        raise Invalid("this day is over", field="due_on")


async def _try_lock(session: AsyncSession, ids: set[UUID]) -> list[Conversation]:
    found = await session.exec(
        select(Conversation)
        .where(col(Conversation.id).in_(ids))
        .order_by(col(Conversation.id))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return list(found.all())


async def _late_of(session: AsyncSession, conversation: Conversation, ids: set[UUID]) -> list[CorrectiveAction]:
    """Those that are still untold now that the conversation is held."""
    found = await session.exec(
        select(CorrectiveAction)
        .where(
            col(CorrectiveAction.id).in_(ids),
            col(CorrectiveAction.complaint_id) == conversation.id,
            col(CorrectiveAction.told_at).is_(None),
            col(CorrectiveAction.status).not_in(_ENDED),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(found.all())


async def _tell(
    session: AsyncSession, conversation: Conversation, action: CorrectiveAction, what: str, *, actor: Actor
) -> None:
    """To those who see the conversation, and its owner, who may not. That it is late, to its owner and the supervisors."""
    payload = {
        "action": {
            "id": str(action.id),
            "conversation_id": str(action.complaint_id),
            "text": action.text,
            "owner_id": str(action.owner_id),
            "due_on": action.due_on.isoformat(),
            "status": action.status,
        }
    }
    type = f"corrective_action.{what}"
    if what != "overdue":
        await events.append(session, conversation, type, payload, actor=actor, also_agents=[action.owner_id])
        return
    seniors = select(Agent.id).where(col(Agent.active), col(Agent.role).in_([role.value for role in SENIORS]))
    told = {action.owner_id, *(await session.exec(seniors)).all()}
    await events.append_for_agents(session, conversation, type, payload, agents=sorted(told), actor=actor)
