"""Several names of one person, told in one breath: whichever comes next finds the same contact and the same conversation.

It happens before the message is stored, in a transaction of its own, and once per process and person: the ordinary path
of a message has no statement more (docs/decisions/0018).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select, tuple_
from sqlmodel.ext.asyncio.session import AsyncSession

from app import log
from app.channels.base import Sender
from app.conversations import contacts
from app.db import Database, new_version
from app.errors import Unavailable
from app.events.log import SYSTEM
from app.ids import new_id
from app.intake import recognition
from app.models import Contact, ContactIdentity

Name = tuple[str, str]

_ATTEMPTS = 10
_REMEMBERED, _REMEMBERED_S = 20_000, 600.0
_RACES = ("40001", "40P01")  # serialization failure, deadlock: all of it anew
_FILLED = ("name", "email", "phone", "language")
_logger = log.get("intake")
# As ingest.sql does it: whoever makes the name makes the contact, in one statement.
_FIRST = text(
    "WITH identity AS (INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address) "
    "VALUES (:id, :contact, :channel, :kind, :value, :address) "
    "ON CONFLICT (channel_id, kind, value) DO NOTHING RETURNING contact_id) "
    "INSERT INTO contact(id, name, email, phone, language, tier, attributes, version) "
    "SELECT contact_id, :name, :email, :phone, :language, 'standard', '{}', 1 FROM identity"
).bindparams(bindparam("address", type_=JSONB))
_ALSO = text(
    "INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address, same_as) "
    "SELECT :id, i.contact_id, i.channel_id, :kind, :value, '{}', i.id FROM contact_identity i WHERE i.id = :main "
    "ON CONFLICT (channel_id, kind, value) DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A name that somebody goes by. `main` is the identity that all of theirs lead to."""

    contact_id: UUID
    main: UUID


class SomebodyWasFaster(Exception):
    """What was read is not true any more: roll back and look again."""


class Names:
    """One per process: remembers for a while whose names are together already."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: OrderedDict[Hashable, float] = OrderedDict()

    async def learn(self, channel_id: UUID, sender: Sender, *, language: str | None = None, make: bool = True) -> None:
        """Put the names of `sender` together, exactly once however many calls say so at a time. With `make` a person
        whom nobody knows becomes a contact. Raises Unavailable."""
        if not sender.also:
            return
        key = (channel_id, sender.kind, sender.value, tuple(sender.also), repr(sorted(sender.address.items())))
        if monotonic() < self._together.get(key, 0.0):
            return
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.begin() as session:
                    known = await join(session, channel_id, sender, language=language, make=make)
            except SomebodyWasFaster:
                continue
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _RACES:
                    raise
                continue
            if known:
                self._remember(key)
            return
        raise Unavailable("whose names these are changes faster than it can be written down")

    def _remember(self, key: Hashable) -> None:
        self._together[key] = monotonic() + _REMEMBERED_S
        self._together.move_to_end(key)
        while len(self._together) > _REMEMBERED:
            self._together.popitem(last=False)


async def join(
    session: AsyncSession, channel_id: UUID, sender: Sender, *, language: str | None = None, make: bool = True
) -> bool:
    """One attempt; False: nobody goes by any of the names, and none was made. Raises SomebodyWasFaster."""
    names = list(dict.fromkeys([(sender.kind, sender.value), *sender.also]))
    known = await _known(session, channel_id, names)
    if not known and not make:
        return False
    mains = sorted({one.main for one in known.values()})
    if len(mains) > 1:
        await contacts.one_merge_at_a_time(session)
        await _unite(session, channel_id, names)
        known = await _known(session, channel_id, names)
    elif not known:
        await _first(session, channel_id, sender, language)
        known = await _known(session, channel_id, names)
    mains = sorted({one.main for one in known.values()})
    if len(mains) != 1:
        raise SomebodyWasFaster
    missing = sorted(name for name in names if name not in known)
    if not await _follow(session, mains[0], sender, language, news=bool(missing)):
        raise SomebodyWasFaster
    for kind, value in missing:
        await session.execute(_ALSO, {"id": new_id(), "kind": kind, "value": value, "main": mains[0]})
    if missing:
        known = await _known(session, channel_id, names)
    if len(known) != len(names) or {one.main for one in known.values()} != {mains[0]}:
        raise SomebodyWasFaster
    return True


async def _known(session: AsyncSession, channel_id: UUID, names: Sequence[Name]) -> dict[Name, _Known]:
    identity = ContactIdentity
    found = await session.exec(
        select(identity.kind, identity.value, identity.contact_id, func.coalesce(identity.same_as, identity.id)).where(
            col(identity.channel_id) == channel_id, tuple_(col(identity.kind), col(identity.value)).in_(names)
        )
    )
    return {(kind, value): _Known(contact_id, main) for kind, value, contact_id, main in found.all()}


async def _first(session: AsyncSession, channel_id: UUID, sender: Sender, language: str | None) -> None:
    values: dict[str, Any] = {name: getattr(sender, name) for name in _FILLED}
    await session.execute(
        _FIRST,
        {
            **values,
            "id": new_id(),
            "contact": sender.contact_id or new_id(),
            "channel": channel_id,
            "kind": sender.kind,
            "value": sender.value,
            "language": sender.language or language,
            "address": dict(sender.address),
        },
    )


async def _follow(session: AsyncSession, main: UUID, sender: Sender, language: str | None, *, news: bool) -> bool:
    """Hold the identity that the names lead to, and know what the newest word of them says: where they are reached, and
    what nobody knew of them. False when it leads elsewhere meanwhile."""
    identity = await session.get_one(ContactIdentity, main, populate_existing=True)
    address = {**identity.address, **sender.address}
    if not news and address == identity.address:
        return identity.same_as is None
    held = select(ContactIdentity).where(col(ContactIdentity.id) == main).with_for_update(key_share=True)
    identity = (await session.exec(held.execution_options(populate_existing=True))).one()
    if identity.same_as is not None:
        return False
    identity.address = {**identity.address, **sender.address}
    session.add(identity)
    contact = await session.get_one(Contact, identity.contact_id, with_for_update=True, populate_existing=True)
    given = {**{name: getattr(sender, name) for name in _FILLED}, "language": sender.language or language}
    if fresh := {name: value for name, value in given.items() if value and not getattr(contact, name)}:
        for name, value in fresh.items():
            setattr(contact, name, value)
        new_version(contact)
        session.add(contact)
    await session.flush()
    return True


async def _unite(session: AsyncSession, channel_id: UUID, names: Sequence[Name]) -> None:
    """They were taken for several people. The one who was known first stays; all that the others had is theirs."""
    known = await _known(session, channel_id, names)
    first, *others = sorted({one.main for one in known.values()})
    for main in others:
        kept = await session.get_one(ContactIdentity, first, populate_existing=True)
        gone = await session.get_one(ContactIdentity, main, populate_existing=True)
        _logger.info(
            "two names of one person", channel_id=channel_id, contact_id=kept.contact_id, other=gone.contact_id
        )
        if gone.contact_id != kept.contact_id:
            await contacts.merge(session, source=gone.contact_id, target=kept.contact_id, actor=SYSTEM)
        await recognition.go_by(session, main, kept)
        leads = col(ContactIdentity.same_as)
        await session.execute(update(ContactIdentity).where(leads == main).values(same_as=first))
