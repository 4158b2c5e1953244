"""Matches who waits with who is free, in batches; on any number of processes, without a leader.

A step reads without locks, decides in memory, then takes only the conversations it chose (those nobody else holds),
and the statement that makes the offers checks everything once more. What could not be carried out is tried again soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, CatalogCache
from app.conversations import queries
from app.db import Database, driver
from app.routing import explain, offers
from app.routing.choose import AgentView, Decision, LeftOut, Plan, Waiting, standing
from app.settings import Settings

PAGE = 200
RETRY_S = 0.02
_WAITING = Path(__file__).with_name("waiting.sql").read_text()
_FREE = """
    SELECT a.id, a.role, a.active, a.availability, true AS present, a.capacity, a.load, a.last_offered_at, a.skills,
           a.languages, ARRAY(SELECT m.queue_id FROM queue_member m WHERE m.agent_id = a.id) AS queues
    FROM agent a
    WHERE EXISTS (SELECT 1 FROM queue_entry WHERE state = 'waiting')
      AND a.active AND a.availability = 'online' AND a.load < a.capacity
      AND EXISTS (SELECT 1 FROM agent_session s WHERE s.agent_id = a.id AND s.closed_at IS NULL AND s.lease_until > now())
"""
_ASIDE = """
    SELECT a.id, a.role, a.active, a.availability, a.capacity, a.load, a.last_offered_at, a.skills, a.languages,
           ARRAY(SELECT m.queue_id FROM queue_member m WHERE m.agent_id = a.id) AS queues,
           EXISTS (SELECT 1 FROM agent_session s
                   WHERE s.agent_id = a.id AND s.closed_at IS NULL AND s.lease_until > now()) AS present
    FROM agent a
    WHERE a.active AND a.id <> ALL($1)
      AND (a.id IN (SELECT m.agent_id FROM queue_member m WHERE m.queue_id = ANY($2))
           OR ($3 AND a.role IN ('supervisor', 'admin')))
    ORDER BY a.id
    LIMIT 200
"""


@dataclass(frozen=True, slots=True)
class _Choice:
    entry: Waiting
    decision: Decision
    channel_type: str


class Dispatcher:
    """One per process; `step` is its loop."""

    def __init__(self, database: Database, catalog: CatalogCache, settings: Settings) -> None:
        self._database, self._catalog, self._settings = database, catalog, settings

    async def step(self) -> float | None:
        """Offer what can be offered now. Returns when to look again: soon when something was in others' hands."""
        catalog = await self._catalog.current()
        plan: Plan | None = None
        seen: list[UUID] = []
        contended = False
        while True:
            async with self._database.begin() as session:
                if plan is None:
                    free = await _free_agents(session)
                    if not free:
                        return None
                    plan = Plan(free)
                page, more = await _page(session, plan, seen)
                made, missed = await self._offer(session, catalog, plan, page)
            seen += [entry.conversation_id for entry, _ in page if entry.conversation_id not in made]
            for choice in missed:
                plan.undo(choice.decision)
                contended = True
            if not more:
                break
        return RETRY_S if contended else None

    async def _offer(
        self, session: AsyncSession, catalog: Catalog, plan: Plan, page: Sequence[tuple[Waiting, str]]
    ) -> tuple[set[UUID], list[_Choice]]:
        """Decide a page and make its offers; returns the conversations offered, and the choices that failed."""
        choices = [_Choice(entry, plan.decide(entry), channel_type) for entry, channel_type in page]
        choices = [choice for choice in choices if choice.decision.agent_id is not None]
        if not choices:
            return set(), []
        aside = await _aside(session, plan, [choice.entry for choice in choices])
        held = await queries.try_lock_many(session, [choice.entry.conversation_id for choice in choices])
        by_id = {conversation.id: conversation for conversation in held}
        proposals = [
            offers.Proposal(
                conversation=by_id[choice.entry.conversation_id],
                entry=choice.entry,
                decision=choice.decision,
                timeout_s=offers.timeout_s(catalog.queue(choice.entry.queue_id), choice.channel_type, self._settings),
                explanation=explain.explanation(choice.entry, choice.decision, _aside_of(choice.entry, aside)),
            )
            for choice in choices
            if choice.entry.conversation_id in by_id
        ]
        made = {offer.conversation_id for offer in await offers.make(session, proposals)}
        return made, [choice for choice in choices if choice.entry.conversation_id not in made]


async def _free_agents(session: AsyncSession) -> list[AgentView]:
    """Empty when nobody is free or nothing waits: the one statement of an idle step."""
    connection = await driver(session)
    return [explain.view(row) for row in await connection.fetch(_FREE)]


async def _page(session: AsyncSession, plan: Plan, seen: Sequence[UUID]) -> tuple[list[tuple[Waiting, str]], bool]:
    """The next entries that an agent with room could take, never more than there is room for; and whether there may be others.

    The first of them takes or keeps some room, and none comes twice: so the pages end.
    """
    usable = plan.usable()
    room = sum(free for _, free in usable)
    if room <= 0:
        return [], False
    # In parallel: agent, queue (and once none: the agent as such), room.
    lines = [(agent.id, queue_id, free) for agent, free in usable for queue_id in (None, *agent.queues)]
    agents, queues, free = map(list, zip(*lines, strict=True))
    connection = await driver(session)
    limit = min(PAGE, room)
    rows = await connection.fetch(_WAITING, agents, queues, free, plan.patience_s, seen, limit)
    return [(explain.waiting_from(row, row["skills"]), row["channel_type"]) for row in rows], len(rows) == limit


async def _aside(session: AsyncSession, plan: Plan, entries: Sequence[Waiting]) -> list[tuple[AgentView, LeftOut]]:
    """Agents of these queues who take no offers now, and why: only for the record."""
    connection = await driver(session)
    queues = list({entry.queue_id for entry in entries})
    escalated = any(entry.escalated for entry in entries)
    rows = await connection.fetch(_ASIDE, plan.agent_ids(), queues, escalated)
    agents = [explain.view(row) for row in rows]
    return [(agent, reason) for agent in agents if (reason := standing(agent)) is not None]


def _aside_of(entry: Waiting, aside: Sequence[tuple[AgentView, LeftOut]]) -> Mapping[UUID, LeftOut]:
    if entry.target_agent_id is not None:
        return {}
    return {
        agent.id: reason
        for agent, reason in aside
        if entry.queue_id in agent.queues or (entry.escalated and agent.senior)
    }
