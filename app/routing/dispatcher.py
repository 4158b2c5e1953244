"""Matches who waits with who is free, in batches; on any number of processes, without a leader.

A step reads without locks, decides in memory, then takes only the conversations it chose (those nobody else holds),
and the statement that makes the offers checks everything once more. What could not be carried out is tried again soon.
It reads the heads of those lanes that a free agent could serve: its cost does not grow with how many wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, CatalogCache
from app.conversations import queries
from app.db import Database, driver
from app.models.words import QueueAssignment
from app.routing import explain, hours, offers, reading
from app.routing.choose import Plan
from app.routing.lanes import PAGE, Head, Lane, Merge
from app.routing.views import AgentView, Decision, Waiting
from app.settings import Settings

RETRY_S = 0.02


@dataclass(frozen=True, slots=True)
class _Choice:
    entry: Waiting
    decision: Decision
    channel_type: str


@dataclass(slots=True)
class _Pass:
    """One look at all lanes and everyone who is free. `again_s` are reasons to look again."""

    plan: Plan
    merge: Merge
    again_s: list[float] = field(default_factory=list)


class Dispatcher:
    """One per process; `step` is its loop."""

    def __init__(self, database: Database, catalog: CatalogCache, settings: Settings) -> None:
        self._database, self._catalog, self._settings = database, catalog, settings

    async def step(self) -> float | None:
        """Offer what can be offered now. Returns when to look again: soon when something was in others' hands, or when
        a queue opens, or when one has waited long enough for whoever had the contact before."""
        catalog = await self._catalog.current()
        passing: _Pass | None = None
        while passing is None or not passing.merge.over:
            async with self._database.begin() as session:
                connection = await driver(session)
                if passing is None:
                    passing = await _look(connection, catalog)
                    if passing is None:
                        return None
                await _read(connection, passing)
                await self._offer(session, catalog, passing, _decide(passing))
        return min(passing.again_s, default=None)

    async def _offer(self, session: AsyncSession, catalog: Catalog, passing: _Pass, choices: Sequence[_Choice]) -> None:
        """Make the offers that were decided; the room of those that failed is free again."""
        if not choices:
            return
        plan = passing.plan
        aside = await reading.aside(await driver(session), [choice.entry for choice in choices], plan.agent_ids())
        held = await queries.try_lock_many(session, [choice.entry.conversation_id for choice in choices])
        by_id = {conversation.id: conversation for conversation in held}
        proposals = []
        for choice in choices:
            if choice.entry.conversation_id in by_id:
                entry = choice.entry
                queue = catalog.queue(entry.queue_id)
                others = explain.beside(aside.get((entry.queue_id, entry.escalated), {}), plan.aside(entry))
                proposals.append(
                    offers.Proposal(
                        conversation=by_id[entry.conversation_id],
                        entry=entry,
                        decision=choice.decision,
                        timeout_s=offers.timeout_s(queue, choice.channel_type, self._settings),
                        explanation=explain.explanation(entry, choice.decision, others),
                        direct=queue is not None and queue.assignment == QueueAssignment.DIRECT,
                    )
                )
        made = {offer.conversation_id for offer in await offers.make(session, proposals)}
        for choice in choices:
            if choice.entry.conversation_id not in made:
                plan.undo(choice.decision)
                passing.again_s.append(RETRY_S)


async def _look(connection: asyncpg.Connection, catalog: Catalog) -> _Pass | None:
    """Lanes that may be served now, and who is free for them; None, after one statement, when there is nothing to do."""
    found, moment = await reading.lanes(connection)
    if not found:
        return None
    lanes, again_s = _open_lanes(found, catalog, moment)
    agents = await reading.free_agents(connection, lanes) if lanes else []
    return _Pass(Plan(agents), Merge(lanes), again_s)


def _open_lanes(lanes: Sequence[Lane], catalog: Catalog, moment: datetime) -> tuple[list[Lane], list[float]]:
    """Those to be served now, and in how many seconds closed queues open. What is meant for one agent knows no hours, and
    what is escalated is for seniors and specialists at any hour."""
    openings = hours.openings(catalog, {lane.like.queue_id for lane in lanes}, moment)
    served = []
    for lane in lanes:
        if lane.like.queue_id not in openings:
            served.append(lane)
        elif lane.like.escalated:
            served.append(replace(lane, like=replace(lane.like, closed=True)))
    return served, [(opening - moment).total_seconds() for opening in openings.values() if opening is not None]


async def _read(connection: asyncpg.Connection, passing: _Pass) -> None:
    """The next pages of those lanes that need one."""
    wanted = passing.merge.wanted(passing.plan)
    if not wanted:
        return
    found = await reading.heads(connection, wanted, passing.plan.patience_s)
    known = set(passing.plan.agent_ids())
    absent = {
        head.entry.preferred_agent_id
        for heads, _ in found
        for head in heads
        if head.entry.preferred_for_s > 0 and head.entry.preferred_agent_id is not None
    } - known
    views = {agent.id: agent for agent in await reading.agents(connection, absent)} if absent else {}
    for lane, (heads, count) in zip(wanted, found, strict=True):
        passing.merge.feed(lane, [_with_preferred(head, views) for head in heads] if views else heads, count=count)


def _with_preferred(head: Head, views: Mapping[UUID, AgentView]) -> Head:
    """With what is known of whoever had the contact before, where they are none of those who are free."""
    preferred = views.get(head.entry.preferred_agent_id) if head.entry.preferred_agent_id else None
    return replace(head, entry=replace(head.entry, preferred=preferred)) if preferred else head


def _decide(passing: _Pass) -> list[_Choice]:
    """Choices for a page of entries in their order of service."""
    choices = []
    for head in passing.merge.take():
        decision = passing.plan.decide(head.entry)
        if decision.awaited_agent_id is not None:
            passing.again_s.append(head.entry.preferred_for_s)
        if decision.agent_id is not None:
            choices.append(_Choice(head.entry, decision, head.extra))
        if len(choices) == PAGE or passing.plan.spent:
            break
    return choices
