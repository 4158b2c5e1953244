"""A matter of one customer, made with the real verbs, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import col, select

from app.conversations import assignment, closing, queries, replies
from app.db import Database
from app.events.log import SYSTEM
from app.feedback.receipt import link_of
from app.models import (
    Agent,
    Assignment,
    Channel,
    Contact,
    ContactIdentity,
    Conversation,
    Event,
    Message,
    ResolutionCycle,
    SurveyResponse,
)
from app.models.words import AuthorType, Direction, MessageKind
from app.vault import Vault

PROBLEM, RESOLUTION, COMMITMENT = "The left door hangs.", "Both hinges were replaced.", "We come again within 48 h."


@dataclass
class Matter:
    database: Database
    vault: Vault
    conversation_id: UUID
    contact_id: UUID
    agent: Agent
    cycle_id: UUID | None = None

    @property
    def receipt(self) -> str:
        """The path of the receipt's page, of the cycle that is newest."""
        assert self.cycle_id is not None
        return "/f/" + self.vault.sign("feedback", self.cycle_id, valid_s=3600)

    @cached_property
    def progress(self) -> str:
        return "/c/" + self.vault.sign("progress", self.conversation_id, valid_s=3600)

    async def resolve(
        self, *, problem: str = PROBLEM, resolution: str = RESOLUTION, commitment: str = COMMITMENT
    ) -> ResolutionCycle:
        async with self.database.begin() as session:
            held = await queries.lock(session, self.conversation_id)
            cycle = await closing.resolve(
                session,
                held,
                agent=self.agent,
                problem=problem,
                resolution=resolution,
                commitment=commitment,
                link=lambda cycle_id: link_of("http://test", self.vault.sign("feedback", cycle_id, valid_s=3600)),
            )
        self.cycle_id = cycle.id
        return cycle

    async def reopen(self) -> None:
        async with self.database.begin() as session:
            held = await queries.lock(session, self.conversation_id)
            await closing.reopen(session, held, actor=SYSTEM, reason="test")

    async def write(self, text: str, *, kind: MessageKind = MessageKind.REPLY) -> None:
        async with self.database.begin() as session:
            held = await queries.lock(session, self.conversation_id)
            await replies.send(session, held, author=self.agent, kind=kind, text=text)

    async def change(self, **fields: Any) -> None:
        """Set columns of the conversation, for states that other rooms bring about."""
        async with self.database.begin() as session:
            held = await queries.lock(session, self.conversation_id)
            held.sqlmodel_update(fields)
            session.add(held)

    async def switch_off(self) -> None:
        """Its channel."""
        async with self.database.begin() as session:
            conversation = await session.get_one(Conversation, self.conversation_id)
            channel = await session.get_one(Channel, conversation.channel_id)
            channel.active = False
            session.add(channel)

    async def conversation(self) -> Conversation:
        async with self.database.begin() as session:
            return await session.get_one(Conversation, self.conversation_id)

    async def cycle(self) -> ResolutionCycle:
        async with self.database.begin() as session:
            return await session.get_one(ResolutionCycle, self.cycle_id)

    async def survey(self) -> SurveyResponse | None:
        async with self.database.begin() as session:
            found = await session.exec(select(SurveyResponse).where(col(SurveyResponse.cycle_id) == self.cycle_id))
            return found.one_or_none()

    async def events(self, *types: str) -> list[Mapping[str, Any]]:
        """The payloads of its events of these types, in order."""
        async with self.database.begin() as session:
            found = await session.exec(
                select(Event)
                .where(col(Event.conversation_id) == self.conversation_id, col(Event.type).in_(types))
                .order_by(col(Event.id))
            )
            return [{"type": event.type, **event.payload} for event in found.all()]

    async def snapshot(self) -> str:
        """Everything that an answer could change, as text."""
        async with self.database.begin() as session:
            rows: list[Any] = []
            for table in (Conversation, ResolutionCycle, SurveyResponse, Message, Event, Assignment, Agent):
                rows += (await session.exec(select(table).order_by("id"))).all()
            return "\n".join(repr(row) for row in rows)


async def make(
    database: Database,
    vault: Vault,
    *,
    language: str | None = None,
    text: str = "My door hangs.",
    subject: str | None = None,
) -> Matter:
    """A conversation with one inbound message, assigned to its first agent."""
    channel = Channel(type="webchat", name="Site", secrets=vault.seal("{}"))
    contact = Contact(name="Mei Customer", language=language)
    agent = Agent(name="Ada Secretname", email=f"{uuid4()}@example.test", load=1)
    async with database.begin() as session:
        session.add_all([channel, contact, agent])
        await session.flush()
        identity = ContactIdentity(contact_id=contact.id, channel_id=channel.id, kind="visitor", value="v")
        session.add(identity)
        await session.flush()
        conversation = Conversation(
            channel_id=channel.id,
            channel_type="webchat",
            contact_id=contact.id,
            identity_id=identity.id,
            subject=subject,
            last_seq=1,
        )
        session.add(conversation)
        await session.flush()
        session.add(
            Message(
                conversation_id=conversation.id,
                seq=1,
                channel_id=channel.id,
                direction=Direction.INBOUND,
                author_type=AuthorType.CONTACT,
                text=text,
            )
        )
        held = await queries.lock(session, conversation.id)
        await assignment.assign(session, held, agent_id=agent.id, weight=1, how="offer", actor=SYSTEM)
    return Matter(database, vault, conversation.id, contact.id, agent)
