"""Append to the event log inside the caller's transaction. The log is the audit and the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.models.conversations import Conversation
from app.models.words import EventScope

_APPEND = text(
    "SELECT append_event_v1(:conversation, :type, :scope, CAST(:queues AS uuid[]), CAST(:agents AS uuid[]), "
    ":to_customer, :actor_type, :actor, :correlation, CAST(:payload AS jsonb))"
)

_APPEND_EACH = text(
    "SELECT count(append_event_v1(e.conversation, :type, 'agents', '{}', ARRAY[e.agent], false, :actor_type, "
    "CAST(:actor AS uuid), e.correlation, CAST(e.payload AS jsonb))) "
    "FROM unnest(CAST(:conversations AS uuid[]), CAST(:agents AS uuid[]), CAST(:correlations AS text[]), "
    "CAST(:payloads AS text[])) AS e(conversation, agent, correlation, payload)"
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it."""

    type: str
    id: UUID | None = None


SYSTEM = Actor("system")


async def append(
    session: AsyncSession,
    conversation: Conversation,
    type: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor = SYSTEM,
    to_customer: bool = False,
    also_queues: Sequence[UUID] = (),
    also_agents: Sequence[UUID] = (),
) -> None:
    """Tell what happened in a conversation whose row this transaction holds.

    Seen by the members of its queue, its assignee and owner, supervisors, and whoever is named in `also_*` (those who
    are losing sight of it with this very event). Pending changes of the ORM are written first, so that the event is
    after them.
    """
    await session.flush()
    queues = {conversation.queue_id, *also_queues} - {None}
    agents = {conversation.assignee_id, conversation.owner_id, *also_agents} - {None}
    await _append(session, conversation, type, payload, EventScope.CONVERSATION, queues, agents, actor, to_customer)


async def append_for_agents(
    session: AsyncSession,
    conversation: Conversation | None,
    type: str,
    payload: Mapping[str, Any],
    *,
    agents: Sequence[UUID],
    actor: Actor = SYSTEM,
) -> None:
    """An event that only these agents see: an offer."""
    await session.flush()
    await _append(session, conversation, type, payload, EventScope.AGENTS, (), agents, actor, False)


async def append_for_each(
    session: AsyncSession,
    type: str,
    items: Sequence[tuple[Conversation, UUID, Mapping[str, Any]]],
    *,
    actor: Actor = SYSTEM,
) -> None:
    """`append_for_agents` for many conversations, held by the caller, in one statement: (conversation, agent, payload)."""
    await session.flush()
    await session.execute(
        _APPEND_EACH,
        {
            "type": type,
            "conversations": [conversation.id for conversation, _, _ in items],
            "agents": [agent for _, agent, _ in items],
            "correlations": [log.correlation.get() or conversation.correlation_id for conversation, _, _ in items],
            "payloads": [orjson.dumps(payload, default=str).decode() for _, _, payload in items],
            "actor_type": actor.type,
            "actor": actor.id,
        },
    )


async def audit(session: AsyncSession, type: str, payload: Mapping[str, Any], *, actor: Actor) -> None:
    """A change of the set-up, for the record; no socket is told."""
    await _append(session, None, type, payload, EventScope.AUDIT, (), (), actor, False)


async def _append(
    session: AsyncSession,
    conversation: Conversation | None,
    type: str,
    payload: Mapping[str, Any],
    scope: EventScope,
    queues: Any,
    agents: Any,
    actor: Actor,
    to_customer: bool,
) -> None:
    await session.execute(
        _APPEND,
        {
            "conversation": conversation.id if conversation else None,
            "type": type,
            "scope": scope.value,
            "queues": list(queues),
            "agents": list(agents),
            "to_customer": to_customer,
            "actor_type": actor.type,
            "actor": actor.id,
            "correlation": log.correlation.get(),
            "payload": orjson.dumps(payload, default=str).decode(),
        },
    )
