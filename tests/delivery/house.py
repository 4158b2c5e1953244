"""Conversations with messages to send, a channel that answers as it is told, and a sender in its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast
from uuid import UUID

import httpx
from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.background import Loop
from app.catalog import Catalog, CatalogCache, ChannelAccount
from app.channels.base import Adapter, Call, Capabilities, Outgoing, Parsed, SendError, SendFailure, Sent
from app.db import Database
from app.delivery import outbox
from app.delivery.backoff import Schedule
from app.delivery.claims import Limits
from app.delivery.sender import Sender
from app.ids import new_id
from app.models import Channel, Contact, ContactIdentity, Conversation, DeliveryAttempt, Event, Message, Outbox
from app.models.words import AuthorType, DeliveryStatus, Direction, MessageKind
from app.settings import Settings
from app.vault import Vault

ONCE = Capabilities(text_limit=1000, idempotent_send=False, files=True)
AT_ONCE = Schedule(steps_s=(0.01, 0.02, 0.04), total_s=3600)


class FakeConfig(BaseModel):
    pass


Answer = Callable[[Outgoing], Awaitable[Sent]]


@dataclass
class FakeAdapter:
    """A channel without a wire: `answer` is called with each message, `calls` keeps them in the order they came."""

    type: ClassVar[str] = "fake"
    config_model: ClassVar[Any] = FakeConfig
    capabilities: Any = ONCE
    answer: Answer | None = None
    calls: list[Outgoing] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def verify(self, config: Any, call: Call) -> None:
        raise NotImplementedError

    def parse(self, config: Any, call: Call) -> Parsed:
        raise NotImplementedError

    async def send(self, config: Any, outgoing: Outgoing, http: httpx.AsyncClient) -> Sent:
        self.calls.append(outgoing)
        self.called.set()
        if self.answer is None:
            return Sent(provider_message_id=f"p-{outgoing.message_id}")
        return await self.answer(outgoing)


def idempotent(answer: Answer | None = None) -> FakeAdapter:
    return FakeAdapter(replace(ONCE, idempotent_send=True), answer)


def fails(failure: SendFailure, *, times: int = 1_000_000, detail: str = "HTTP 503") -> Answer:
    """The first `times` sends of each message fail."""

    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.attempt <= times:
            raise SendError(failure, detail)
        return Sent()

    return answer


class FixedCatalog(CatalogCache):
    """Channels that live in no registry."""

    def __init__(self, accounts: Mapping[UUID, ChannelAccount]) -> None:
        self.fixed = Catalog(1, dict(accounts), (), {}, (), ())

    async def current(self) -> Catalog:
        return self.fixed


@dataclass
class House:
    """One database and the accounts that its senders know."""

    database: Database
    settings: Settings
    vault: Vault
    http: httpx.AsyncClient
    accounts: dict[UUID, ChannelAccount] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def channel(self, adapter: FakeAdapter | Adapter, config: BaseModel | None = None) -> UUID:
        channel = Channel(type=adapter.type, name="a channel", secrets="")
        async with self.database.begin() as session:
            session.add(channel)
        account = ChannelAccount(
            channel.id, adapter.type, channel.name, None, cast(Adapter, adapter), config or FakeConfig()
        )
        self.accounts[channel.id] = account
        return channel.id

    async def conversation(self, channel_id: UUID, **fields: Any) -> Conversation:
        contact = Contact(name="Mei")
        identity = ContactIdentity(
            contact_id=contact.id, channel_id=channel_id, kind="user", value=str(contact.id), address={"to": "mei"}
        )
        conversation = Conversation(
            channel_id=channel_id,
            channel_type=self.accounts[channel_id].type,
            contact_id=contact.id,
            identity_id=identity.id,
            **fields,
        )
        async with self.database.begin() as session:
            for rows in ((contact,), (identity,), (conversation,)):
                session.add_all(rows)
                await session.flush()
        return conversation

    async def write(self, conversation: Conversation, count: int = 1, **fields: Any) -> list[Message]:
        """`count` replies, queued as conversations/replies does it."""
        async with self.database.begin() as session:
            held = await session.get_one(Conversation, conversation.id, with_for_update=True, populate_existing=True)
            messages = [message_of(held, seq=held.last_seq + n + 1, **fields) for n in range(count)]
            held.last_seq += count
            session.add_all([held, *messages])
            for message in messages:
                await outbox.enqueue(session, message)
        return messages

    def sender(
        self,
        *,
        poke: Callable[[], None] = lambda: None,
        database: Database | None = None,
        settings: Settings | None = None,
        store_read: Callable[[str], bytes] | None = None,
        schedule: Schedule = AT_ONCE,
        limits: Limits = Limits(),
    ) -> Sender:
        return Sender(
            database or self.database,
            FixedCatalog(self.accounts),
            self.vault,
            settings or self.settings,
            self.http,
            store_read,
            poke=poke,
            schedule=schedule,
            limits=limits,
        )

    @asynccontextmanager
    async def sending(self, **options: Any) -> AsyncIterator[Running]:
        """A sender in its loop, as `app.main` runs it."""
        wake = asyncio.Event()

        def poke() -> None:
            wake.set()
            self.changed.set()

        sender = self.sender(poke=poke, **options)
        loop, stopping = Loop("sender", sender.step, wake, tick_s=0.25), asyncio.Event()
        task = asyncio.create_task(loop.run(stopping))
        try:
            yield Running(self, sender)
        finally:
            stopping.set()
            wake.set()
            await task
            await sender.drain(5)
        assert loop.failures == 0

    async def message(self, message_id: UUID) -> Message:
        async with self.database.begin() as session:
            return await session.get_one(Message, message_id)

    async def statuses(self) -> dict[UUID, str | None]:
        async with self.database.begin() as session:
            return dict((await session.exec(select(Message.id, Message.status))).all())

    async def outbox(self) -> list[Outbox]:
        async with self.database.begin() as session:
            return list((await session.exec(select(Outbox).order_by(col(Outbox.id)))).all())

    async def attempts(self, message_id: UUID) -> list[DeliveryAttempt]:
        async with self.database.begin() as session:
            found = await session.exec(
                select(DeliveryAttempt)
                .where(col(DeliveryAttempt.message_id) == message_id)
                .order_by(col(DeliveryAttempt.number), col(DeliveryAttempt.id))
            )
            return list(found.all())

    async def events(self) -> list[Event]:
        async with self.database.begin() as session:
            found = await session.exec(
                select(Event).where(col(Event.type) == "message.status").order_by(col(Event.pos), col(Event.id))
            )
            return list(found.all())

    async def told(self, message_id: UUID) -> list[str]:
        """The statuses of a message as the stream told them."""
        return [e.payload["status"] for e in await self.events() if e.payload["message_id"] == str(message_id)]

    async def expire_leases(self) -> None:
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE outbox SET lease_until = now() - interval '1 s' WHERE lease_until > now()")
            )


@dataclass
class Running:
    house: House
    sender: Sender

    async def until(self, condition: Callable[[], Awaitable[bool]], within_s: float = 30) -> None:
        """Looks again after each send."""
        async with asyncio.timeout(within_s):
            while True:
                self.house.changed.clear()
                if await condition():
                    return
                await self.house.changed.wait()

    async def until_empty(self) -> None:
        """The outbox has nothing left."""

        async def empty() -> bool:
            return not await self.house.outbox()

        await self.until(empty)

    async def until_called(self, adapter: FakeAdapter, times: int) -> None:
        async def called() -> bool:
            return len(adapter.calls) >= times

        await self.until(called)


async def step_and_settle(sender: Sender) -> float | None:
    """One step, and what it started brought to its end."""
    delay = await sender.step()
    await sender.idle()
    return delay


def message_of(conversation: Conversation, *, seq: int, **fields: Any) -> Message:
    values: dict[str, Any] = {
        "id": new_id(),
        "conversation_id": conversation.id,
        "seq": seq,
        "channel_id": conversation.channel_id,
        "direction": Direction.OUTBOUND,
        "kind": MessageKind.REPLY,
        "author_type": AuthorType.AGENT,
        "author_name": "Ada",
        "text": f"reply {seq}",
        "status": DeliveryStatus.QUEUED,
    }
    return Message(**{**values, **fields})


async def lock(session: AsyncSession, conversation: Conversation) -> Conversation:
    return await session.get_one(Conversation, conversation.id, with_for_update=True, populate_existing=True)
