"""A conversation given by hand: an agent picks it up from the queue, a supervisor assigns or takes it.

The caller holds the conversation; what was offered meanwhile is withdrawn with the locks of all agents it concerns.
"""

from __future__ import annotations

from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import assignment, states
from app.errors import AlreadyAssigned, CapacityExceeded, Forbidden, Invalid, OfferedToAnother
from app.events.log import Actor
from app.models import Agent, CategorySetting, Conversation, QueueEntry
from app.models.words import Role
from app.routing import availability, endings, offers, stepping_in
from app.routing.members import queues_of
from app.routing.views import need


async def pick_up(session: AsyncSession, conversation: Conversation, *, agent: Agent) -> None:
    """The agent takes what waits in one of their queues, without being asked; an offer to them is accepted.

    Nothing happens when it is theirs. Raises AlreadyAssigned, OfferedToAnother (another is being asked, or it is meant
    for them), CapacityExceeded, Forbidden when they do not serve its queue, ConversationClosed or Conflict.
    """
    states.require_working(conversation.status)
    if conversation.assignee_id == agent.id:
        return
    if conversation.assignee_id is not None:
        raise AlreadyAssigned(assignee_id=str(conversation.assignee_id))
    offer = await offers.pending(session, conversation)
    if offer is not None and offer.agent_id == agent.id and not offer.late:
        await offers.accept(session, offer_id=offer.id, agent=agent)
        return
    if offer is not None and offer.agent_id != agent.id:
        raise OfferedToAnother(agent_id=str(offer.agent_id))
    entry = await _entry(session, conversation)
    if entry is not None and entry.target_agent_id not in (None, agent.id):
        raise OfferedToAnother("it was transferred to another agent", agent_id=str(entry.target_agent_id))
    if agent.role == Role.AGENT and conversation.queue_id not in await queues_of(session, agent.id):
        raise Forbidden("only agents of its queue pick it up")
    await assignment.hold_agents(session, [agent.id])
    await availability.forgive(session, agent.id)
    await _give(session, conversation, agent, how="pick_up", actor=Actor("agent", agent.id), force=False)


async def keep(session: AsyncSession, conversation: Conversation, *, agent: Agent) -> None:
    """Whoever enters a matter by hand has the customer before them, and keeps it, whatever queue it is of. Raises
    CapacityExceeded."""
    await assignment.hold_agents(session, [agent.id])
    await _give(session, conversation, agent, how="pick_up", actor=Actor("agent", agent.id), force=False)


async def assign(
    session: AsyncSession, conversation: Conversation, *, agent_id: UUID, actor: Actor, force: bool = False
) -> None:
    """A supervisor gives it to an agent at once, whoever has it or is being asked now; these are told.

    Nothing happens when the agent has it. The owner stays the owner, unless they are not active any more. Raises
    Invalid naming `agent_id`, CapacityExceeded without `force`, ConversationClosed or Conflict.
    """
    states.require_working(conversation.status)
    agent = await session.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise Invalid("there is no such agent", field="agent_id")
    if conversation.assignee_id == agent_id:
        return
    offer = await offers.pending(session, conversation)
    await assignment.hold_agents(session, [agent_id, conversation.assignee_id, offer.agent_id if offer else None])
    await session.refresh(agent)
    if not agent.active:
        raise Invalid("there is no such agent", field="agent_id")
    await _give(session, conversation, agent, how="supervisor", actor=actor, force=force)


async def take(session: AsyncSession, conversation: Conversation, *, agent: Agent) -> None:
    """A supervisor takes it over, whoever has it and however much they have. Raises as `assign`."""
    await assign(session, conversation, agent_id=agent.id, actor=Actor("agent", agent.id), force=True)


async def _give(
    session: AsyncSession, conversation: Conversation, agent: Agent, *, how: str, actor: Actor, force: bool
) -> None:
    """The agents are held. What it costs is taken after what its offer held came back: it may be the same agent's."""
    entry = await _entry(session, conversation)
    weight = need(entry.weight if entry else await _weight(session, conversation), agent.capacity)
    weight = weight if assignment.costs(session, conversation) else 0
    await endings.withdraw(session, conversation, reason="assigned")
    if not await assignment.hold_capacity(session, agent.id, weight, force=force):
        await session.refresh(agent)
        raise CapacityExceeded(
            f"this takes {weight} of a capacity of {agent.capacity}, of which {agent.load} are in use",
            field="agent_id",
            weight=weight,
            capacity=agent.capacity,
            load=agent.load,
        )
    owner = await session.get(Agent, conversation.owner_id) if conversation.owner_id else None
    if owner is not None and not owner.active:
        conversation.owner_id = agent.id
    await assignment.assign(session, conversation, agent_id=agent.id, weight=weight, how=how, actor=actor)
    # Who gives it by hand is a senior, and knows of it.
    asks = entry is not None and entry.escalated and how == "pick_up"
    specialists = entry.specialists if entry is not None else ()
    await stepping_in.taken(session, conversation, agent, escalated=asks, specialists=specialists)


async def _entry(session: AsyncSession, conversation: Conversation) -> QueueEntry | None:
    return await session.get(QueueEntry, conversation.id, populate_existing=True)


async def _weight(session: AsyncSession, conversation: Conversation) -> int:
    setting = await session.get(CategorySetting, conversation.category)
    return setting.weight if setting else 1
