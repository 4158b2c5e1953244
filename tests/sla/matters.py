"""Conversations with clocks, on the real database; time passes by moving their clocks into the past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.db import Database
from app.models import (
    Agent,
    Assignment,
    Calendar,
    Channel,
    Contact,
    ContactIdentity,
    Conversation,
    Event,
    Queue,
    QueueEntry,
    SlaAction,
    SlaAttainmentDelta,
    SlaClock,
    SlaPolicy,
)
from app.models.words import ClockMetric, ConversationStatus
from app.sla import clocks

MINUTE = 60


@dataclass
class Matters:
    """One database with a channel."""

    database: Database
    channel_id: UUID | None = field(default=None, init=False)

    async def open(
        self, count: int = 1, *, started: bool = True, policy: str = "ordinary", **fields: Any
    ) -> list[UUID]:
        """Open conversations; `started`: with the clocks of `policy`."""
        async with self.database.begin() as session:
            found = (await session.exec(select(SlaPolicy).where(col(SlaPolicy.code) == policy))).one()
            queue = (await session.exec(select(Queue).where(col(Queue.is_default)))).one()
            if self.channel_id is None:
                channel = Channel(type="partner", name="A partner", secrets="")
                session.add(channel)
                await session.flush()
                self.channel_id = channel.id
            contacts = [Contact(name="Mei") for _ in range(count)]
            identities = [
                ContactIdentity(contact_id=contact.id, channel_id=self.channel_id, kind="user", value=str(contact.id))
                for contact in contacts
            ]
            values = {
                "channel_type": "partner",
                "queue_id": queue.id,
                "sla_policy_id": found.id,
                "last_seq": 3,
                **fields,
            }
            made = [
                Conversation(
                    contact_id=identity.contact_id, identity_id=identity.id, channel_id=self.channel_id, **values
                )
                for identity in identities
            ]
            for rows in (contacts, identities, made):
                session.add_all(rows)
                await session.flush()
            if started:
                await clocks.start(session, made[0])
                await session.flush()
                alike = {"first": made[0].id, "others": [conversation.id for conversation in made[1:]]}
                await session.execute(_ALIKE_LIMITS, alike)
                await session.execute(_ALIKE, alike)
        return [conversation.id for conversation in made]

    async def one(self, **options: Any) -> UUID:
        return (await self.open(1, **options))[0]

    async def agent(self, **fields: Any) -> UUID:
        agent = Agent(name="Ada", email="", **fields)
        agent.email = f"{agent.id}@example.org"
        async with self.database.begin() as session:
            session.add(agent)
        return agent.id

    async def assign(self, conversation_id: UUID, agent_id: UUID) -> None:
        async with self.holding(conversation_id) as (session, conversation):
            conversation.assignee_id = conversation.owner_id = agent_id
            session.add(conversation)
            session.add(Assignment(conversation_id=conversation_id, agent_id=agent_id, weight=1, how="offer"))

    @asynccontextmanager
    async def holding(self, conversation_id: UUID) -> AsyncIterator[tuple[AsyncSession, Conversation]]:
        async with self.database.begin() as session:
            found = await session.exec(
                select(Conversation).where(col(Conversation.id) == conversation_id).with_for_update()
            )
            yield session, found.one()

    async def pass_time(self, seconds: float, *conversation_ids: UUID, metric: ClockMetric | None = None) -> None:
        """As if the clocks (all of them, unless named) had been started that much earlier."""
        async with self.database.begin() as session:
            await session.execute(
                _PASS,
                {"by": seconds, "all": not conversation_ids, "ids": list(conversation_ids), "metric": metric or "%"},
            )

    async def policy(self, code: str, **fields: Any) -> SlaPolicy:
        """Another policy; it comes before those that are shipped."""
        made = SlaPolicy(**{"name": code, "position": 0, **fields}, code=code)
        async with self.database.begin() as session:
            session.add(made)
        return made

    async def calendar(self, **fields: Any) -> Calendar:
        made = Calendar(**{"name": "Office", "weekly": {}, **fields})
        async with self.database.begin() as session:
            session.add(made)
        return made

    async def set_status(self, conversation_id: UUID, status: ConversationStatus) -> None:
        """As the verbs do: the clocks follow."""
        async with self.holding(conversation_id) as (session, conversation):
            conversation.status = status
            session.add(conversation)
            await clocks.follow(session, conversation)

    async def clock(self, conversation_id: UUID, metric: ClockMetric, cycle: int = 1) -> SlaClock:
        async with self.database.begin() as session:
            found = await session.exec(
                select(SlaClock).where(
                    col(SlaClock.conversation_id) == conversation_id,
                    col(SlaClock.metric) == metric,
                    col(SlaClock.cycle) == cycle,
                )
            )
            return found.one()

    async def clocks(self) -> list[SlaClock]:
        async with self.database.begin() as session:
            return list((await session.exec(select(SlaClock))).all())

    async def told(self, conversation_id: UUID | None = None, kind: str = "sla.%") -> list[Event]:
        """In the order of the stream."""
        query = select(Event).where(col(Event.type).like(kind)).order_by(col(Event.pos), col(Event.id))
        if conversation_id is not None:
            query = query.where(col(Event.conversation_id) == conversation_id)
        async with self.database.begin() as session:
            return list((await session.exec(query)).all())

    async def actions(self) -> list[SlaAction]:
        async with self.database.begin() as session:
            return list((await session.exec(select(SlaAction).order_by(col(SlaAction.id)))).all())

    async def attainment(self) -> list[SlaAttainmentDelta]:
        async with self.database.begin() as session:
            return list((await session.exec(select(SlaAttainmentDelta).order_by(col(SlaAttainmentDelta.id)))).all())

    async def entry(self, conversation_id: UUID) -> QueueEntry | None:
        async with self.database.begin() as session:
            return await session.get(QueueEntry, conversation_id)

    async def conversation(self, conversation_id: UUID) -> Conversation:
        async with self.database.begin() as session:
            return await session.get_one(Conversation, conversation_id)


_ALIKE_LIMITS = text("""
    UPDATE conversation c SET limits = o.limits FROM conversation o
    WHERE o.id = :first AND c.id = ANY(CAST(:others AS uuid[]))
""")
_ALIKE = text("""
    INSERT INTO sla_clock(id, conversation_id, policy_id, metric, cycle, turn, target_s, calendar_id, calendar_version, state,
                          elapsed_us, running_since, stage, breach_stage, level, stage_at, due_at, next_at, created_at)
    SELECT gen_random_uuid(), o.id, policy_id, metric, cycle, turn, target_s, calendar_id, calendar_version, state,
           elapsed_us, running_since, stage, breach_stage, level, stage_at, due_at, next_at, created_at
    FROM unnest(CAST(:others AS uuid[])) AS o(id), sla_clock k WHERE k.conversation_id = :first
""")
_PASS = text("""
    WITH moved AS (
        UPDATE sla_pause p SET
            started_at = p.started_at - make_interval(secs => :by), ended_at = p.ended_at - make_interval(secs => :by)
        FROM sla_clock k
        WHERE k.id = p.clock_id AND (:all OR k.conversation_id = ANY(CAST(:ids AS uuid[]))) AND k.metric LIKE :metric
    )
    UPDATE sla_clock SET
        created_at = created_at - make_interval(secs => :by), running_since = running_since - make_interval(secs => :by),
        stage_at = (SELECT coalesce(array_agg(s.at - make_interval(secs => :by) ORDER BY s.n), '{}')
                    FROM unnest(stage_at) WITH ORDINALITY AS s(at, n)),
        due_at = due_at - make_interval(secs => :by), next_at = next_at - make_interval(secs => :by),
        breached_at = breached_at - make_interval(secs => :by), retargeted_at = retargeted_at - make_interval(secs => :by)
    WHERE (:all OR conversation_id = ANY(CAST(:ids AS uuid[]))) AND metric LIKE :metric
""")
