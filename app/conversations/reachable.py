"""What goes out in a conversation now: the capabilities of the way by which its answers go, which need not be its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.registry import ADAPTERS
from app.conversations import ways
from app.conversations.ways import Way
from app.delivery import reach
from app.delivery.reach import Reach
from app.delivery.window import Window
from app.models import Channel, Contact, ContactIdentity, Conversation

_CLOSED = Window(False, None, ("note",), why="no_channel")


@dataclass(frozen=True, slots=True)
class Reachable:
    """`way` is None where nothing reaches the customer: then only notes are taken, and `reach` says so."""

    way: Way | None
    reach: Reach

    @property
    def capabilities(self) -> dict[str, Any]:
        return reach.shape(self.reach)


async def of(session: AsyncSession, conversation: Conversation) -> Reachable:
    way = await ways.find(session, conversation)
    if way is None:
        return Reachable(None, _mute(await reach.of(session, conversation)))
    found = await reach.of(session, conversation, channel_id=way.channel_id, identity_id=way.identity_id)
    return Reachable(way, found)


async def of_many(session: AsyncSession, conversations: Sequence[Conversation]) -> dict[UUID, Reachable]:
    """The same at once: most go by their own channel, which is read together."""
    own = [one for one in conversations if _answers(one.channel_type)]
    known = await reach.of_many(session, [one.id for one in own])
    found = {one.id: Reachable(Way(one.channel_id), known[one.id]) for one in own}
    others = [one for one in conversations if one.id not in found]
    kept = await _at_hand(session, others)
    found |= {one.id: await of(session, one) for one in others}
    del kept
    return found


def _answers(channel_type: str) -> bool:
    adapter = ADAPTERS.get(channel_type)
    return adapter is None or adapter.capabilities.answers


def _mute(own: Reach) -> Reach:
    return replace(own, window=_CLOSED)


async def _at_hand(session: AsyncSession, conversations: Sequence[Conversation]) -> list[SQLModel]:
    """What each of them is looked up by, read together; the session has it as long as somebody holds it."""
    wanted: list[tuple[type[Any], set[UUID | None]]] = [
        (Channel, {one.channel_id for one in conversations}),
        (Contact, {one.contact_id for one in conversations}),
        (ContactIdentity, {one.identity_id for one in conversations}),
    ]
    kept: list[SQLModel] = []
    for table, ids in wanted:
        if named := [id for id in ids if id is not None]:
            kept += (await session.exec(select(table).where(col(table.id).in_(named)))).all()
    return kept
