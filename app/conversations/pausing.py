"""Parked: on hold, waiting for the customer, or snoozed until a time; and going on.

What is parked stays its assignee's and takes none of their room; when it goes on, it takes it again by force.
"""

from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import assignment, queries, states
from app.db import Database
from app.errors import Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.models import Conversation
from app.models.words import ConversationStatus
from app.sla import clocks
from app.wakeups import wake

_DUE = text("SELECT id FROM conversation WHERE snoozed_until <= now() ORDER BY snoozed_until LIMIT 100")
_NEXT = text(
    "SELECT extract(epoch FROM min(snoozed_until) - clock_timestamp())::float8 FROM conversation WHERE snoozed_until IS NOT NULL"
)


async def hold(session: AsyncSession, conversation: Conversation, *, waiting_on_customer: bool, actor: Actor) -> None:
    """Its clocks stand still, as their policies say, until somebody goes on; the customer's next message does."""
    status = ConversationStatus.WAITING_ON_CUSTOMER if waiting_on_customer else ConversationStatus.ON_HOLD
    if conversation.status == status:
        return
    await _pause(session, conversation, status, None, actor)


async def snooze(
    session: AsyncSession, conversation: Conversation, *, until: datetime, now: datetime, actor: Actor
) -> None:
    """Out of sight until a time to come, or until the customer writes. Raises Invalid for a time that has passed."""
    if until <= now:
        raise Invalid("this time has passed", field="until")
    await _pause(session, conversation, ConversationStatus.SNOOZED, until, actor)
    await wake(session, "snooze")


async def resume(session: AsyncSession, conversation: Conversation, *, actor: Actor) -> None:
    """Open again; no-op when it is open."""
    if conversation.status == ConversationStatus.OPEN:
        return
    states.require(conversation.status, ConversationStatus.OPEN)
    conversation.status = ConversationStatus.OPEN
    conversation.snoozed_until = None
    await assignment.reweigh(session, conversation)
    await clocks.follow(session, conversation)
    await _tell(session, conversation, actor)


async def _pause(
    session: AsyncSession, conversation: Conversation, status: ConversationStatus, until: datetime | None, actor: Actor
) -> None:
    if conversation.status != status:
        states.require(conversation.status, status)
    conversation.status = status
    conversation.snoozed_until = until
    await assignment.reweigh(session, conversation)
    await clocks.follow(session, conversation)
    await _tell(session, conversation, actor)


async def _tell(session: AsyncSession, conversation: Conversation, actor: Actor) -> None:
    session.add(conversation)
    await events.append(
        session,
        conversation,
        "conversation.updated",
        {"conversation": shapes.conversation(conversation), "changed": ["status"]},
        actor=actor,
        to_customer=True,
    )


class Waker:
    """Wakes snoozed conversations when their time has come; works on any number of processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> float | None:
        """Seconds until the next one."""
        async with self._database.begin() as session:
            due = (await session.execute(_DUE)).scalars().all()
            held = await queries.try_lock_many(session, due) if due else []
            await assignment.hold_agents(session, {each.assignee_id for each in held})
            for conversation in held:
                if conversation.status == ConversationStatus.SNOOZED:
                    await resume(session, conversation, actor=SYSTEM)
            seconds: float | None = (await session.execute(_NEXT)).scalar()
        return None if seconds is None else max(seconds, 0.01)
