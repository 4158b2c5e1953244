"""Who handles a conversation, and what that costs of their capacity: by its category, and nothing while it is parked."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import grading, states
from app.db import settings_of
from app.events import log as events
from app.events import shapes
from app.events.log import Actor
from app.models import Agent, Assignment, CategorySetting, Conversation, GradedResponse
from app.sla import clocks
from app.wakeups import wake

_HOLD = text(
    "UPDATE agent SET load = load + :weight WHERE id = :agent AND (:force OR load + :weight <= capacity) RETURNING id"
)
# The one way into a queue (routing/enqueue.sql says what the arguments are).
_WAIT = text(
    "SELECT enqueue_v1(:conversation, NULL, NULL, now(), :escalated, CAST(:specialists AS text[]), NULL, NULL, '{}', NULL, "
    "NULL)"
)
_FREE = text("UPDATE agent SET load = greatest(load - :weight, 0) WHERE id = :agent")
# In a statement of its own (decision 0008). Locking and updating agents in one statement deadlocks: where somebody
# changed the row meanwhile, the update starts from the version of its snapshot again, and waits there for another who,
# with that version in hand, waits for our lock on the newer one.
_HOLD_AGENTS = text(
    "SELECT id, capacity FROM agent WHERE id = ANY(CAST(:agents AS uuid[])) ORDER BY id FOR NO KEY UPDATE"
)


async def hold_capacity(session: AsyncSession, agent_id: UUID, weight: int, *, force: bool = False) -> bool:
    """Take `weight` of the agent's capacity, in one statement; False when there is not that much.

    `force` is for work that is already theirs: a reopened conversation returns to its owner even when they are full.
    """
    done = await session.execute(_HOLD, {"agent": agent_id, "weight": weight, "force": force})
    return done.first() is not None


async def free_capacity(session: AsyncSession, agent_id: UUID, weight: int) -> None:
    """Give capacity back and let the dispatcher know."""
    await session.execute(_FREE, {"agent": agent_id, "weight": weight})
    await wake(session, "dispatch")


def costs(session: AsyncSession, conversation: Conversation) -> bool:
    """Whether it takes room of whoever has it: what is parked does not, unless the operator says so."""
    return conversation.status not in states.PARKED or settings_of(session).parked_work_costs


async def hold_agents(session: AsyncSession, agent_ids: Iterable[UUID | None]) -> dict[UUID, int]:
    """Lock agents in the order in which everybody does, before anything of more than one of them is changed; returns
    their capacities. None is nobody."""
    wanted = [agent_id for agent_id in agent_ids if agent_id is not None]
    rows = await session.execute(_HOLD_AGENTS, {"agents": wanted})
    return {row.id: row.capacity for row in rows}


async def reweigh(session: AsyncSession, conversation: Conversation) -> None:
    """After a change of its status or category: its assignee pays what it costs now, even beyond their capacity."""
    assignment = await current(session, conversation)
    if assignment is None:
        return
    capacity = (await hold_agents(session, [assignment.agent_id]))[assignment.agent_id]
    weight = 0
    if costs(session, conversation):
        setting = await session.get(CategorySetting, conversation.category)
        weight = max(1, min(setting.weight if setting else 1, capacity))  # as an offer holds it (routing/views.need)
    more, assignment.weight = weight - assignment.weight, weight
    session.add(assignment)
    await session.flush()
    if more > 0:
        await hold_capacity(session, assignment.agent_id, more, force=True)
    elif more < 0:
        await free_capacity(session, assignment.agent_id, -more)


async def current(session: AsyncSession, conversation: Conversation) -> Assignment | None:
    found = await session.exec(
        select(Assignment).where(col(Assignment.conversation_id) == conversation.id, col(Assignment.ended_at).is_(None))
    )
    return found.one_or_none()


async def _end_current(session: AsyncSession, conversation: Conversation) -> None:
    assignment = await current(session, conversation)
    if assignment is not None:
        assignment.ended_at = now()
        session.add(assignment)
        await session.flush()
        await free_capacity(session, assignment.agent_id, assignment.weight)


async def assign(
    session: AsyncSession, conversation: Conversation, *, agent_id: UUID, weight: int, how: str, actor: Actor
) -> None:
    """Make `agent_id` the assignee; the first one becomes the owner. Their `weight` is held already, and given back when
    the conversation costs nothing because it is parked.

    `how` is `offer`, `direct`, `transfer`, `pick_up`, `reopen` or `supervisor`. Whoever had it gets their capacity back:
    where that is somebody else, the caller holds both agents, in the order of their ids.
    """
    before = conversation.assignee_id
    await _end_current(session, conversation)
    if not costs(session, conversation):
        await free_capacity(session, agent_id, weight)
        weight = 0
    session.add(Assignment(conversation_id=conversation.id, agent_id=agent_id, weight=weight, how=how))
    conversation.assignee_id = agent_id
    conversation.owner_id = conversation.owner_id or agent_id
    session.add(conversation)
    agent = await session.get(Agent, agent_id)
    assert agent is not None, "a foreign key guards this"
    await events.append(
        session,
        conversation,
        "conversation.assigned",
        {
            "conversation": shapes.conversation(conversation),
            "assignee": {"id": str(agent.id), "name": agent.name},
            "how": how,
        },
        actor=actor,
        to_customer=True,
        also_agents=[before] if before else [],
    )
    await clocks.in_hand(session, conversation)


async def release(session: AsyncSession, conversation: Conversation) -> UUID | None:
    """Take it from its assignee, who gets the capacity back. Returns who it was; the caller says what comes next."""
    before = conversation.assignee_id
    await _end_current(session, conversation)
    conversation.assignee_id = None
    session.add(conversation)
    await clocks.in_hand(session, conversation)
    return before


async def wait_in_queue(session: AsyncSession, conversation: Conversation) -> None:
    """Nobody has it: it waits from now on in its queue, at the cost and by the grade of what it is."""
    await session.flush()
    responses = (await session.exec(select(GradedResponse).where(col(GradedResponse.active)))).all()
    grade = grading.of(responses, conversation)
    await session.execute(
        _WAIT,
        {"conversation": conversation.id, "escalated": grade.escalate, "specialists": list(grade.specialists)},
    )


async def free(session: AsyncSession, conversation: Conversation) -> None:
    """Give the assignee's capacity back but leave it theirs: a resolved conversation costs nothing."""
    await _end_current(session, conversation)


async def move_to_queue(session: AsyncSession, conversation: Conversation, queue_id: UUID) -> None:
    """Change the queue it belongs to; the members of the old one are told that it left."""
    before = conversation.queue_id
    if before == queue_id:
        return
    conversation.queue_id = queue_id
    session.add(conversation)
    await events.append(
        session,
        conversation,
        "conversation.updated",
        {"conversation": shapes.conversation(conversation), "changed": ["queue_id"]},
        also_queues=[before] if before else [],
    )
