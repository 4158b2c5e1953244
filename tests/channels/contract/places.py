"""A described channel in a house without loops: calls go in as its provider makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import Call
from app.channels.kit import Description
from app.channels.kit.values import CHANNEL_ID
from app.clock import now
from app.db import Database
from app.ids import new_id
from app.models import Conversation, Event, InboundJournal, Message
from app.models.words import DeliveryStatus, Direction
from tests.channels.contract import DESCRIPTIONS
from tests.delivery.house import message_of
from tests.desk.house import Caller, House

NOWHERE = "http://127.0.0.1:9"


@dataclass
class Place:
    """One channel of a described type in a house without loops."""

    house: House
    admin: Caller
    description: Description

    @property
    def database(self) -> Database:
        return self.house.database

    async def open(self) -> dict[str, Any]:
        """Made by the API, then given the id that the described calls are signed for."""
        type = self.description.adapter.type
        config = dict(self.description.config(NOWHERE))
        made = await self.admin.post("/channels", {"type": type, "name": type, "config": config})
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE channel SET id = :new WHERE id = :old"), {"new": CHANNEL_ID, "old": made["id"]}
            )
            await self.house.context.catalog.changed(session)
        return dict(made)

    def call(self, payload: bytes) -> Call:
        assert self.description.incoming is not None
        return self.description.incoming.sign(self.description.config(NOWHERE), payload, now())

    async def take(self, call: Call) -> int:
        where = urlsplit(call.url)
        answer = await self.house.http.request(
            call.method,
            where.path,
            params=dict(call.query) or None,
            content=call.body,
            headers=dict(call.headers),
        )
        return answer.status_code

    async def hear(self, payload: bytes) -> int:
        return await self.take(self.call(payload))

    async def messages(self, direction: Direction = Direction.INBOUND) -> Sequence[Message]:
        async with self.database.begin() as session:
            found = select(Message).where(col(Message.direction) == direction).order_by(col(Message.id))
            return (await session.exec(found)).all()

    async def journal(self) -> Sequence[InboundJournal]:
        async with self.database.begin() as session:
            return (await session.exec(select(InboundJournal).order_by(col(InboundJournal.id)))).all()

    async def events(self, type: str) -> list[dict[str, Any]]:
        async with self.database.begin() as session:
            found = select(Event).where(col(Event.type) == type).order_by(col(Event.pos), col(Event.id))
            return [event.payload for event in (await session.exec(found)).all()]

    async def sent(self, provider_id: str) -> Message:
        """An answer that the provider has taken, in the conversation that there is."""
        async with self.database.begin() as session:
            [conversation] = (await session.exec(select(Conversation).with_for_update())).all()
            message = message_of(
                conversation,
                seq=conversation.last_seq + 1,
                id=new_id(),
                status=DeliveryStatus.SENT,
                provider_message_id=provider_id,
                sent_at=now(),
            )
            conversation.last_seq += 1
            session.add_all([conversation, message])
        return message


async def place(house: House, name: str) -> Place:
    return Place(house, await house.caller(), DESCRIPTIONS[name])
