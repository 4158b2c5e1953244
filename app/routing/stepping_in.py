"""Who takes what asked for seniors without being one keeps it until one of those accepts: they go on being asked.

That is so for grave matters, and for what became one for seniors while the agent was being asked. Anything else that
is escalated asks seniors first and is fine with whoever takes it.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import grading
from app.models import Agent, Conversation, GradedResponse
from app.models.words import SENIORS
from app.wakeups import wake

_LEAVE = text("DELETE FROM queue_entry WHERE conversation_id = :id")
# What somebody has waits for nothing but the end of the round in which seniors declined it.
_ASK_ON = text(
    "UPDATE queue_entry SET state = 'waiting', target_agent_id = NULL, target_until = NULL, next_at = round_at "
    "WHERE conversation_id = :id"
)


def suits(agent: Agent, specialists: Collection[str]) -> bool:
    """Whether a matter for seniors and these specialists is in the right hands with them."""
    return agent.role in SENIORS or not set(specialists).isdisjoint(agent.skills)


async def taken(
    session: AsyncSession,
    conversation: Conversation,
    agent: Agent,
    *,
    escalated: bool,
    specialists: Collection[str],
    newly: bool = False,
) -> None:
    """Its entry leaves the queue, or goes on asking seniors. `escalated` and `specialists` are the entry's; `newly`: it
    was not escalated yet when the agent was asked. The caller holds the conversation; no offer of it is pending."""
    asks = escalated and not suits(agent, specialists) and (newly or await _grave(session, conversation))
    await session.execute(_ASK_ON if asks else _LEAVE, {"id": conversation.id})
    if asks:
        await wake(session, "dispatch")
        await wake(session, "patience")


async def _grave(session: AsyncSession, conversation: Conversation) -> bool:
    await session.flush()
    responses = (await session.exec(select(GradedResponse).where(col(GradedResponse.active)))).all()
    grade = grading.of(responses, conversation)
    return grading.grave(grade, conversation.matter, conversation.severity)
