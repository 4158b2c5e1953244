"""Queues, agents with open sockets and waiting conversations, on the real database; and what must hold in every moment."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.catalog import Catalog, CatalogCache
from app.clock import now
from app.conversations import queries
from app.db import Database
from app.models import (
    Agent,
    AgentSession,
    Calendar,
    CategorySetting,
    Channel,
    Contact,
    ContactIdentity,
    Conversation,
    Event,
    GradedResponse,
    Message,
    Offer,
    Queue,
    QueueEntry,
    QueueMember,
    RoutingDecision,
)
from app.models.words import AuthorType, Availability, DecisionKind, Direction, Role
from app.routing import endings, offers, queues
from app.routing.dispatcher import Dispatcher
from app.routing.patience import RETRY_S, Patience
from app.settings import Settings
from app.sla.calendar import from_row


class FixedCatalog(CatalogCache):
    """The set-up as the test made it."""

    def __init__(self, catalog: Catalog) -> None:
        self.fixed = catalog

    async def current(self) -> Catalog:
        return self.fixed


@dataclass
class World:
    """One database with a channel; `process` is the server process that the agents' sockets belong to."""

    database: Database
    settings: Settings
    channels: dict[str, UUID] = field(default_factory=dict)
    process: str = "p1"

    async def queue(self, name: str = "a queue", **fields: Any) -> UUID:
        queue = Queue(name=name, **fields)
        async with self.database.begin() as session:
            session.add(queue)
        return queue.id

    async def channel(self, kind: str) -> UUID:
        if kind not in self.channels:
            channel = Channel(type=kind, name=kind, secrets="")
            async with self.database.begin() as session:
                session.add(channel)
            self.channels[kind] = channel.id
        return self.channels[kind]

    async def agents(
        self, count: int, *queue_ids: UUID, present: bool = True, level: int = 1, **fields: Any
    ) -> list[Agent]:
        """Online, with an open socket each, unless told otherwise."""
        values: dict[str, Any] = {"availability": Availability.ONLINE, "role": Role.AGENT, **fields}
        made: list[Agent] = []
        async with self.database.begin() as session:
            for _ in range(count):
                agent = Agent(name="Ada", email="", **values)
                agent.email = f"{agent.id}@example.org"
                made.append(agent)
            session.add_all(made)
            await session.flush()
            session.add_all(
                QueueMember(queue_id=queue_id, agent_id=agent.id, level=level)
                for agent in made
                for queue_id in queue_ids
            )
            if present:
                session.add_all(
                    AgentSession(agent_id=agent.id, process=self.process, lease_until=now() + timedelta(minutes=5))
                    for agent in made
                )
        return made

    async def agent(self, *queue_ids: UUID, **fields: Any) -> Agent:
        return (await self.agents(1, *queue_ids, **fields))[0]

    async def waiting(
        self,
        queue_id: UUID,
        count: int = 1,
        *,
        weight: int | Callable[[int], int] = 1,
        channel: str = "partner",
        age_s: float = 10,
        boost_s: float = 0,
        **entry: Any,
    ) -> list[UUID]:
        """Conversations that wait, each a millisecond younger than the one before; `age_s` is that of the first."""
        channel_id, start = await self.channel(channel), now() - timedelta(seconds=age_s)
        weigh = weight if callable(weight) else lambda _: weight
        contacts = [Contact(name="Mei") for _ in range(count)]
        identities = [
            ContactIdentity(contact_id=contact.id, channel_id=channel_id, kind="user", value=str(contact.id))
            for contact in contacts
        ]
        conversations, entries, messages = [], [], []
        for n, identity in enumerate(identities):
            since = start + timedelta(milliseconds=n)
            conversation = Conversation(
                channel_id=channel_id,
                channel_type=channel,
                contact_id=identity.contact_id,
                identity_id=identity.id,
                queue_id=queue_id,
                last_seq=1,
                created_at=since,
            )
            conversations.append(conversation)
            entries.append(
                QueueEntry(
                    conversation_id=conversation.id,
                    queue_id=queue_id,
                    weight=weigh(n),
                    enqueued_at=since,
                    order_at=since - timedelta(seconds=boost_s),
                    **entry,
                )
            )
            messages.append(first_message(conversation))
        async with self.database.begin() as session:
            for rows in (contacts, identities, conversations, entries, messages):
                session.add_all(rows)
                await session.flush()
        return [conversation.id for conversation in conversations]

    async def waits(self, queue_id: UUID, **options: Any) -> UUID:
        return (await self.waiting(queue_id, 1, **options))[0]

    async def catalog(self) -> Catalog:
        async with self.database.begin() as session:
            found = (await session.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id)))).all()
            categories = (await session.exec(select(CategorySetting))).all()
            graded = (await session.exec(select(GradedResponse).where(col(GradedResponse.active)))).all()
            calendars = (await session.exec(select(Calendar))).all()
        return Catalog(
            1,
            {},
            found,
            {setting.category: setting for setting in categories},
            (),
            (),
            graded,
            {row.id: from_row(row) for row in calendars},
        )

    async def patience(self, database: Database | None = None) -> float | None:
        """Everything that is due for those who wait; seconds to the next."""
        patience = Patience(database or self.database, FixedCatalog(await self.catalog()))
        while (wait_s := await patience.step()) in (0, RETRY_S):
            pass
        return wait_s

    async def let_wait(self, seconds: float, *conversation_ids: UUID) -> None:
        """Time passes for these entries, by the database's clock; their age in the order stays."""
        async with self.database.begin() as session:
            await session.execute(
                text(
                    "UPDATE queue_entry SET (entered_at, round_at, target_until, next_at) = (entered_at - past, "
                    "round_at - past, target_until - past, next_at - past) FROM make_interval(secs => :s) past "
                    "WHERE conversation_id = ANY(CAST(:ids AS uuid[]))"
                ),
                {"s": seconds, "ids": list(conversation_ids)},
            )

    async def decisions(self, conversation_id: UUID) -> list[RoutingDecision]:
        """What routing did with it besides offers, in order."""
        query = select(RoutingDecision).where(
            col(RoutingDecision.conversation_id) == conversation_id, col(RoutingDecision.kind) != DecisionKind.OFFER
        )
        async with self.database.begin() as session:
            return list((await session.exec(query.order_by(col(RoutingDecision.id)))).all())

    async def dispatcher(self, database: Database | None = None) -> Dispatcher:
        return Dispatcher(database or self.database, FixedCatalog(await self.catalog()), self.settings)

    async def dispatch(self) -> None:
        """Until there is nothing more to offer."""
        dispatcher = await self.dispatcher()
        while (delay := await dispatcher.step()) is not None and delay < 1:
            pass

    async def awake(self, *, since_s: float, seen_s: float = 0) -> None:
        """The house has been awake for so long; a process was last seen so long ago."""
        async with self.database.begin() as session:
            await session.execute(
                text(
                    "INSERT INTO instance(name, value, updated_at) VALUES ('awake_since', "
                    "(now() - make_interval(secs => :since))::text, now() - make_interval(secs => :seen)) ON CONFLICT (name) "
                    "DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
                ),
                {"since": since_s, "seen": seen_s},
            )

    async def offered(self, conversation_id: UUID) -> Offer:
        """The newest offer of a conversation."""
        return (await self.offers(conversation_id))[-1]

    async def offers(self, conversation_id: UUID | None = None) -> list[Offer]:
        query = select(Offer).order_by(col(Offer.id))
        if conversation_id is not None:
            query = query.where(col(Offer.conversation_id) == conversation_id)
        async with self.database.begin() as session:
            return list((await session.exec(query)).all())

    async def accept(self, offer: Offer) -> Conversation:
        async with self.database.begin() as session:
            agent = await session.get_one(Agent, offer.agent_id)
            return await offers.accept(session, offer_id=offer.id, agent=agent)

    async def reject(self, offer: Offer, reason: str | None = None) -> None:
        async with self.database.begin() as session:
            agent = await session.get_one(Agent, offer.agent_id)
            await endings.reject(session, offer_id=offer.id, agent=agent, reason=reason)

    async def let_expire(self, *found: Offer) -> None:
        """Their time is over, by the database's clock."""
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE offer SET expires_at = now() - interval '1 ms' WHERE id = ANY(CAST(:ids AS uuid[]))"),
                {"ids": [offer.id for offer in found]},
            )

    async def entry(self, conversation_id: UUID) -> QueueEntry | None:
        async with self.database.begin() as session:
            return await session.get(QueueEntry, conversation_id)

    async def conversation(self, conversation_id: UUID) -> Conversation:
        async with self.database.begin() as session:
            return await session.get_one(Conversation, conversation_id)

    async def load(self, agent: Agent | UUID) -> int:
        async with self.database.begin() as session:
            return (await session.get_one(Agent, agent if isinstance(agent, UUID) else agent.id)).load

    async def agent_now(self, agent: Agent) -> Agent:
        async with self.database.begin() as session:
            return await session.get_one(Agent, agent.id)

    async def events(self, conversation_id: UUID) -> list[Event]:
        """All that was told of a conversation, in the order of the stream."""
        query = select(Event).where(col(Event.conversation_id) == conversation_id)
        async with self.database.begin() as session:
            return list((await session.exec(query.order_by(col(Event.pos), col(Event.id)))).all())

    @asynccontextmanager
    async def holding(self, conversation_id: UUID) -> AsyncIterator[tuple[AsyncSession, Conversation]]:
        async with self.database.begin() as session:
            yield session, await queries.lock(session, conversation_id)

    async def enqueue(self, conversation_id: UUID, **options: Any) -> None:
        async with self.holding(conversation_id) as (session, conversation):
            await queues.enqueue(session, conversation, **options)

    async def told(self, kind: str) -> list[Event]:
        """The events of a type, in the order of the stream."""
        async with self.database.begin() as session:
            found = await session.exec(
                select(Event).where(col(Event.type) == kind).order_by(col(Event.pos), col(Event.id))
            )
            return list(found.all())

    async def broken(self) -> list[str]:
        """What must hold in every moment and does not, seen in one statement."""
        async with self.database.begin() as session:
            return list((await session.execute(_INVARIANTS)).scalars())


_INVARIANTS = text("""
    WITH held AS (
        SELECT agent_id, sum(weight) AS weight FROM (
            SELECT agent_id, weight FROM offer WHERE status = 'pending'
            UNION ALL SELECT agent_id, weight FROM assignment WHERE ended_at IS NULL
        ) both_kinds GROUP BY agent_id
    )
    SELECT 'agent ' || a.id || ' holds ' || coalesce(h.weight, 0) || ', load ' || a.load || ', capacity ' || a.capacity
    FROM agent a LEFT JOIN held h ON h.agent_id = a.id
    WHERE coalesce(h.weight, 0) > a.capacity OR a.load <> coalesce(h.weight, 0)
    UNION ALL
    SELECT 'conversation ' || conversation_id || ' has ' || count(*) || ' pending offers'
    FROM offer WHERE status = 'pending' GROUP BY conversation_id HAVING count(*) > 1
    UNION ALL
    SELECT 'entry ' || e.conversation_id || ' is ' || e.state
    FROM queue_entry e
    WHERE (e.state = 'offered')
          <> EXISTS (SELECT 1 FROM offer o WHERE o.conversation_id = e.conversation_id AND o.status = 'pending')
    UNION ALL
    SELECT 'conversation ' || c.id || ' is lost: no entry, no assignee'
    FROM conversation c
    WHERE c.status NOT IN ('resolved', 'closed') AND c.assignee_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM queue_entry e WHERE e.conversation_id = c.id)
""")


def first_message(conversation: Conversation) -> Message:
    return Message(
        conversation_id=conversation.id,
        seq=1,
        channel_id=conversation.channel_id,
        direction=Direction.INBOUND,
        author_type=AuthorType.CONTACT,
        text="My order has not come. " * 20,
    )


_OF_THE_DRIVER = re.compile(r"set_config\('jit'|typeinfo_tree")


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What a block asks the database, by the driver or by SQLAlchemy; BEGIN and COMMIT are not counted."""
    asked: list[str] = []
    connections: list[Any] = []

    def heard(record: Any) -> None:
        query = record.query.strip()
        if (
            query
            and query.rstrip(";").upper() not in ("BEGIN", "COMMIT", "ROLLBACK")
            and not _OF_THE_DRIVER.search(query)
        ):
            asked.append(query)

    def checkout(connection: Any, *_: Any) -> None:
        driver = connection.driver_connection
        if driver not in connections:
            connections.append(driver)
            driver.add_query_logger(heard)

    def executed(_: Any, __: Any, query: str, *___: Any) -> None:
        asked.append(query)

    event.listen(database.engine.sync_engine, "before_cursor_execute", executed)
    event.listen(database.engine.sync_engine.pool, "checkout", checkout)
    try:
        yield asked
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", executed)
        event.remove(database.engine.sync_engine.pool, "checkout", checkout)
        for connection in connections:
            connection.remove_query_logger(heard)
