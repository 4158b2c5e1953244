"""A conversation is handed over: to a queue at once, to an agent when they accept it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog
from app.conversations import assignment, states
from app.errors import Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Conversation
from app.routing import endings, queues


async def transfer(
    session: AsyncSession,
    conversation: Conversation,
    *,
    actor: Actor,
    agent_id: UUID | None = None,
    queue_id: UUID | None = None,
    note: str | None = None,
    catalog: Catalog,
    wait_s: float = queues.TRANSFER_WAIT_S,
    again_s: float = endings.AGAIN_S,
) -> None:
    """Hand a conversation, held by the caller, over to a queue, or to an agent who has to accept it.

    To a queue: its assignee is free of it at once, and not asked for `again_s`. To an agent: the assignee keeps it until then; when the agent is not
    there or has no room within `wait_s`, it stays with the assignee, or goes to the queue.
    Raises Invalid naming the field, ConversationClosed, Conflict when it is resolved.
    """
    states.require_working(conversation.status)
    if agent_id is not None and queue_id is not None:
        raise Invalid("give an agent or a queue, not both", field="queue_id")
    if queue_id is not None:
        await _to_queue(session, conversation, queue_id, actor=actor, note=note, catalog=catalog, again_s=again_s)
    elif agent_id is not None:
        await _to_agent(session, conversation, agent_id, actor=actor, note=note, catalog=catalog, wait_s=wait_s)
    else:
        raise Invalid("an agent or a queue is needed", field="agent_id")


async def _to_queue(
    session: AsyncSession,
    conversation: Conversation,
    queue_id: UUID,
    *,
    actor: Actor,
    note: str | None,
    catalog: Catalog,
    again_s: float,
) -> None:
    if catalog.queue(queue_id) is None:
        raise Invalid("there is no such queue", field="queue_id")
    await endings.withdraw(session, conversation, reason="transferred")
    before = await assignment.release(session, conversation)
    transfer = {"queue_id": str(queue_id), "agent_id": None, "note": note}
    await _tell(session, conversation, transfer, actor, lost_by=before)
    await assignment.move_to_queue(session, conversation, queue_id)
    await queues.enqueue(
        session,
        conversation,
        queue_id=queue_id,
        note=note,
        passed_over=[before] if before else [],
        again_s=again_s,
    )


async def _to_agent(
    session: AsyncSession,
    conversation: Conversation,
    agent_id: UUID,
    *,
    actor: Actor,
    note: str | None,
    catalog: Catalog,
    wait_s: float,
) -> None:
    agent = await session.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise Invalid("there is no such agent", field="agent_id")
    if agent_id == conversation.assignee_id:
        raise Invalid("this agent has it already", field="agent_id")
    await endings.withdraw(session, conversation, reason="transferred")
    await _tell(session, conversation, {"queue_id": None, "agent_id": str(agent_id), "note": note}, actor)
    await queues.enqueue(
        session,
        conversation,
        queue_id=conversation.queue_id or catalog.default_queue.id,
        target_agent_id=agent_id,
        target_wait_s=wait_s,
        note=note,
    )


async def _tell(
    session: AsyncSession,
    conversation: Conversation,
    transfer: dict[str, Any],
    actor: Actor,
    *,
    lost_by: UUID | None = None,
) -> None:
    payload = {
        "conversation": shapes.conversation(conversation),
        "changed": ["assignee_id"] if lost_by else [],
        "transfer": transfer,
    }
    await events.append(
        session,
        conversation,
        "conversation.updated",
        payload,
        actor=actor,
        also_agents=[lost_by] if lost_by else [],
    )
