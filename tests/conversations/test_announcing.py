"""Customers hear at once that their message came, and of changes without a flood: once, whatever runs at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.catalog import ChannelAccount, seal_secrets
from app.channels.base import InboundMessage, Parsed, Refusal, RefusalReason, Sender
from app.context import Context
from app.conversations import assignment, closing, pausing, queries, replies
from app.conversations.announcing import Announcer
from app.db import Database
from app.delivery import refusals
from app.events.log import SYSTEM, Actor
from app.models import (
    Agent,
    AnnouncementPolicy,
    AnnouncementText,
    Channel,
    Conversation,
    Event,
    Message,
    Outbox,
    SlaClock,
)
from app.models.words import ClockState, ConversationStatus, MessageKind
from app.settings import Settings
from app.vault import Vault
from tests.desk.house import Caller, House, build_context

MINUTE, HOUR = 60, 3_600


@dataclass
class Street:
    """A channel, customers on it, and the loop that tells them."""

    context: Context
    account: ChannelAccount
    announcer: Announcer
    agent: Agent

    @property
    def database(self) -> Database:
        return self.context.database

    async def come_in(self, said: str = "My door hangs.", *, who: str = "mei", **more: Any) -> UUID:
        sender = Sender("email", f"{who}@customer.example", "Mei", address={"email": f"{who}@customer.example"})
        message = InboundMessage(external_id=str(uuid4()), sender=sender, text=said, **more)
        [stored] = await self.context.intake.store(
            self.account, transport="test", headers={}, body=b"", parsed=Parsed(messages=[message])
        )
        return stored.conversation_id

    async def told(self, conversation_id: UUID) -> list[Message]:
        async with self.database.begin() as session:
            found = await session.exec(
                select(Message)
                .where(col(Message.conversation_id) == conversation_id, col(Message.kind) == MessageKind.NOTICE)
                .order_by(col(Message.seq))
            )
            return list(found.all())

    async def kinds(self, conversation_id: UUID) -> list[str]:
        return [message.content["notice"]["what"] for message in await self.told(conversation_id)]

    async def assign(self, conversation_id: UUID) -> None:
        async with self.database.begin() as session:
            held = await queries.lock(session, conversation_id)
            await assignment.hold_capacity(session, self.agent.id, 1, force=True)
            await assignment.assign(
                session, held, agent_id=self.agent.id, weight=1, how="offer", actor=Actor("agent", self.agent.id)
            )

    async def hold(self, conversation_id: UUID, *, resume: bool = False) -> None:
        async with self.database.begin() as session:
            held = await queries.lock(session, conversation_id)
            if resume:
                await pausing.resume(session, held, actor=SYSTEM)
            else:
                await pausing.hold(session, held, waiting_on_customer=False, actor=SYSTEM)

    async def write(self, conversation_id: UUID) -> None:
        async with self.database.begin() as session:
            held = await queries.lock(session, conversation_id)
            await replies.send(session, held, author=self.agent, kind=MessageKind.REPLY, text="We look into it.")

    async def pass_time(self, seconds: float) -> None:
        """As if all of it had happened earlier."""
        async with self.database.begin() as session:
            for statement in (
                "UPDATE message SET created_at = created_at - make_interval(secs => :gone)",
                "UPDATE conversation SET created_at = created_at - make_interval(secs => :gone), "
                "last_inbound_at = last_inbound_at - make_interval(secs => :gone)",
                "UPDATE announcement SET due_at = due_at - make_interval(secs => :gone), "
                "told_at = ARRAY(SELECT t - make_interval(secs => :gone) FROM unnest(told_at) AS t)",
            ):
                await session.execute(text(statement), {"gone": seconds})


@pytest.fixture
async def context(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Context]:
    context = build_context(database, vault, settings)
    context.intake.start()
    yield context
    await context.intake.stop()
    await context.http.aclose()


async def open_street(context: Context, channel: Channel) -> Street:
    agent = Agent(name="Ada", email=f"{uuid4()}@desk.example", role="supervisor")
    async with context.database.begin() as session:
        session.add_all([channel, agent])
        await context.catalog.changed(session)
    announcer = Announcer(context.database, context.catalog, link=lambda id: f"http://test/c/{id}")
    await announcer.step()  # what happened before is not told
    account = await context.catalog.channel(channel.id)
    assert account is not None
    return Street(context, account, announcer, agent)


@pytest.fixture
async def street(context: Context) -> Street:
    config = {"address": "care@shop.example"}
    return await open_street(context, Channel(type="email", name="Mail", config=config, secrets=""))


async def policy(street: Street, **fields: Any) -> None:
    async with street.database.begin() as session:
        session.add(AnnouncementPolicy(code="mine", name="Mine", position=1, **fields))
        await street.context.catalog.changed(session)


async def test_a_first_message_is_acknowledged_at_once_with_the_link(street: Street) -> None:
    id = await street.come_in(subject="Door")
    await street.announcer.step()
    [notice] = await street.told(id)
    assert notice.text.startswith("Hello Mei,\n\nwe have received your message")
    assert notice.text.endswith(f"http://test/c/{id}")
    assert (notice.subject, notice.author_type, notice.status, notice.seq) == ("Re: Door", "system", "queued", 2)
    async with street.database.begin() as session:
        conversation = await session.get_one(Conversation, id)
        assert conversation.first_replied_at is None, "nobody has answered yet"
        clocks = (await session.exec(select(SlaClock).where(col(SlaClock.metric) == "first_response"))).all()
        assert [clock.state for clock in clocks] == [ClockState.RUNNING]
        assert (await session.exec(select(Outbox.message_id))).all() == [notice.id]
        told = (await session.exec(select(Event).where(col(Event.type) == "message.created"))).all()
    assert [event.payload["message"]["kind"] for event in told] == ["message", "notice"]
    assert told[1].to_customer
    await street.come_in("And one more thing.")
    await street.announcer.step()
    assert await street.kinds(id) == ["acknowledged"]


async def test_in_chinese_to_who_writes_chinese(street: Street) -> None:
    id = await street.come_in("我的门坏了")
    await street.announcer.step()
    assert "已收到您的消息" in (await street.told(id))[0].text


async def test_a_channel_made_a_moment_ago_is_told_of_by_who_has_not_heard_of_it(
    street: Street, others: list[Database]
) -> None:
    """Another process made the channel; our announcer reads the log before the news of it gets here."""
    stale = build_context(others[0], street.context.vault, street.context.settings)
    announcer = Announcer(stale.database, stale.catalog, link=lambda id: f"http://test/c/{id}")
    await announcer.step()
    newer = {
        kind: await open_street(street.context, Channel(type=kind, name=kind, config=config, secrets=""))
        for kind, config in (("email", {"address": "new@shop.example"}), ("webchat", {}))
    }
    assert not {each.account.id for each in newer.values()} & (await stale.catalog.current()).channels.keys()
    told, silent = await newer["email"].come_in(who="ann"), await newer["webchat"].come_in(who="bob")
    await announcer.step()
    await stale.http.aclose()
    assert await street.kinds(told) == ["acknowledged"]
    assert await street.kinds(silent) == []


async def test_four_processes_acknowledge_once(street: Street, others: list[Database]) -> None:
    """All of it is due, and held by somebody, until all of them look at the same moment."""
    ids = [await street.come_in(who=f"customer{number}") for number in range(12)]
    contexts = [build_context(database, street.context.vault, street.context.settings) for database in others]
    loops = [Announcer(each.database, each.catalog, link=lambda id: f"http://test/c/{id}") for each in contexts]
    async with street.database.begin() as session:
        assert len(await queries.try_lock_many(session, ids)) == len(ids)
        assert await asyncio.wait_for(street.announcer.step(), 60) == pytest.approx(0.05), "they are busy"

    async def run(announcer: Announcer) -> None:
        for _ in range(200):
            if await announcer.step() is None:
                return

    await asyncio.gather(*(run(each) for each in [street.announcer, *loops]))
    for each in contexts:
        await each.http.aclose()
    for id in ids:
        assert await street.kinds(id) == ["acknowledged"]


async def test_nothing_automatic_is_answered_automatically(street: Street) -> None:
    id = await street.come_in("I am away.", automatic=True)
    await street.announcer.step()
    assert await street.told(id) == []


async def test_who_refused_or_is_answered_already_hears_nothing(street: Street) -> None:
    refused = await street.come_in(who="ann")
    sender = Sender("email", "ann@customer.example")
    async with street.database.begin() as session:
        refusal = Refusal(key="1", sender=sender, reason=RefusalReason.OPT_OUT)
        assert await refusals.apply(session, street.account.id, refusal)
    answered = await street.come_in(who="bob")
    await street.assign(answered)
    await street.write(answered)
    await street.announcer.step()
    assert await street.told(refused) == await street.told(answered) == []
    async with street.database.begin() as session:
        assert (await session.get_one(Conversation, refused)).last_seq == 1, "no failed message either"


async def test_what_comes_too_late_does_not_come(street: Street) -> None:
    id = await street.come_in()
    await street.pass_time(2 * HOUR)
    await street.announcer.step()
    assert await street.told(id) == []


async def test_ten_changes_in_a_second_are_one_announcement(street: Street) -> None:
    id = await street.come_in()
    await street.announcer.step()
    await street.assign(id)
    for _ in range(5):
        await street.hold(id)
        await street.hold(id, resume=True)
    await street.hold(id)
    wait = await street.announcer.step()
    assert wait is not None
    assert 14 * MINUTE < wait <= 15 * MINUTE, "it was acknowledged a moment ago"
    assert await street.kinds(id) == ["acknowledged"]
    await street.pass_time(15 * MINUTE)
    for _ in range(3):
        await street.announcer.step()
    assert await street.kinds(id) == ["acknowledged", "on_hold"]
    await street.hold(id, resume=True)
    await street.assign(id)
    await street.pass_time(HOUR)
    await street.announcer.step()
    assert len(await street.kinds(id)) == 2, "that somebody has it is told the first time only"


async def test_changes_on_many_connections_are_one_announcement(street: Street, others: list[Database]) -> None:
    """The changes run while the loops look."""
    id = await street.come_in()
    await street.announcer.step()
    await street.pass_time(HOUR)
    await street.assign(id)
    contexts = [build_context(database, street.context.vault, street.context.settings) for database in others]
    loops = [Announcer(each.database, each.catalog, link=lambda id: f"http://test/c/{id}") for each in contexts]

    async def change() -> None:
        for _ in range(5):
            await street.hold(id)
            await street.hold(id, resume=True)

    async def run(announcer: Announcer) -> None:
        for _ in range(8):
            await announcer.step()

    await asyncio.gather(change(), *(run(each) for each in loops))
    for each in contexts:
        await each.http.aclose()
    assert len(await street.told(id)) == 2


async def test_at_most_so_many_a_day(street: Street) -> None:
    id = await street.come_in()
    await street.assign(id)
    for _ in range(8):
        await street.announcer.step()
        await street.pass_time(HOUR)
        await street.hold(id)
        await street.announcer.step()
        await street.hold(id, resume=True)
    assert len(await street.told(id)) == 3
    await street.pass_time(24 * HOUR)
    await street.hold(id)
    await street.announcer.step()
    assert (await street.kinds(id))[3:] == ["on_hold"]


async def test_who_hears_from_an_agent_is_not_told_by_a_machine(street: Street) -> None:
    id = await street.come_in()
    await street.announcer.step()
    await street.pass_time(HOUR)
    await street.assign(id)
    await street.write(id)
    assert await street.announcer.step() is None
    await street.pass_time(HOUR)
    await street.announcer.step()
    assert await street.kinds(id) == ["acknowledged"]


async def test_reopened_by_us_is_told_by_the_customer_not(street: Street) -> None:
    async def resolve(id: UUID) -> None:
        async with street.database.begin() as session:
            held = await queries.lock(session, id)
            await closing.resolve(
                session, held, agent=street.agent, problem="p", resolution="r", commitment="c", link=str
            )

    async def reopen(id: UUID, actor: Actor) -> None:
        async with street.database.begin() as session:
            await closing.reopen(session, await queries.lock(session, id), actor=actor, reason="test")

    ids = [await street.come_in(who=who) for who in ("ann", "bob")]
    for id in ids:
        await street.assign(id)
    await street.announcer.step()
    await street.pass_time(HOUR)
    for id in ids:
        await resolve(id)
    await street.pass_time(HOUR)
    await street.announcer.step()
    await reopen(ids[0], Actor("agent", street.agent.id))
    await street.come_in("Not solved at all, I fear: it hangs on the other side now.", who="bob")
    await street.announcer.step()
    assert (await street.kinds(ids[0]))[-1] == "reopened"
    assert "reopened" not in await street.kinds(ids[1])


async def test_what_is_over_by_then_is_not_told(street: Street) -> None:
    id = await street.come_in()
    await street.announcer.step()
    await street.assign(id)
    await street.announcer.step()
    async with street.database.begin() as session:
        held = await queries.lock(session, id)
        await closing.resolve(session, held, agent=street.agent, problem="p", resolution="r", commitment="c", link=str)
    await street.pass_time(HOUR)
    assert await street.announcer.step() is None
    assert await street.kinds(id) == ["acknowledged"]
    async with street.database.begin() as session:
        assert (await session.get_one(Conversation, id)).status == ConversationStatus.RESOLVED


async def test_a_policy_and_words_of_ones_own(street: Street) -> None:
    await policy(street, match={"channel_type": ["email"]}, changes=["on_hold"], min_gap_s=0, per_day=9)
    async with street.database.begin() as session:
        own = "{name}, see {link}"
        session.add(
            AnnouncementText(what="acknowledged", language="en", channel_type="email", text=own, subject="We care")
        )
        await street.context.catalog.changed(session)
    id = await street.come_in()
    await street.assign(id)
    await street.announcer.step()
    [notice] = await street.told(id)
    assert (notice.text, notice.subject) == (f"Mei, see http://test/c/{id}", "We care")
    for _ in range(2):
        await street.hold(id)
        await street.announcer.step()
        await street.hold(id, resume=True)
        await street.announcer.step()
    assert await street.kinds(id) == ["acknowledged", "on_hold", "on_hold"]


async def test_chats_are_left_alone(context: Context) -> None:
    street = await open_street(context, Channel(type="webchat", name="Site", secrets=""))
    id = await street.come_in()
    await street.assign(id)
    await street.announcer.step()
    assert await street.told(id) == []
    async with street.database.begin() as session:
        assert (await session.execute(text("SELECT count(*) FROM announcement"))).scalar_one() == 0


async def test_what_a_channel_counts_is_left_to_people(context: Context, vault: Vault) -> None:
    """Three messages at least stay for agents where so many may be sent until the customer writes again."""
    sealed = seal_secrets(vault, {})
    channel = Channel(
        type="email", name="Few", config={"address": "few@shop.example"}, secrets=sealed, limits={"window_count": 3}
    )
    street = await open_street(context, channel)
    id = await street.come_in()
    await street.announcer.step()
    assert await street.told(id) == []
    async with street.database.begin() as session:
        await session.execute(text("UPDATE channel SET limits = '{\"window_count\": 4}'"))
    id = await street.come_in(who="ann")
    await street.announcer.step()
    assert await street.kinds(id) == ["acknowledged"]


async def test_one_that_fails_keeps_nobody_waiting(street: Street) -> None:
    """A row that cannot be settled is put off; the others are told."""
    broken, fine = await street.come_in(who="ann"), await street.come_in(who="bob")
    async with street.database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO message(id, conversation_id, seq, channel_id, direction, kind, author_type, text, content, attachments) "
                "SELECT gen_random_uuid(), id, 2, channel_id, 'inbound', 'message', 'contact', '', '{}', '[]' FROM conversation "
                "WHERE id = :id"
            ),
            {"id": broken},
        )  # its next number is taken
    await street.announcer.step()
    await street.announcer.step()
    assert await street.kinds(fine) == ["acknowledged"]
    assert await street.told(broken) == []
    async with street.database.begin() as session:
        waits = await session.execute(
            text("SELECT due_at > now() + interval '1 minute' FROM announcement WHERE conversation_id = :id"),
            {"id": broken},
        )
        assert waits.scalar_one() is True


async def test_policies_and_texts_are_kept_by_administrators(house: House, admin: Caller, supervisor: Caller) -> None:
    listed = await supervisor.all("/announcement-policies")
    assert [row["code"] for row in sorted(listed, key=lambda row: row["position"])] == ["live", "ordinary"]
    made = await admin.post("/announcement-policies", {"code": "vip", "name": "VIP", "match": {"tier": ["vip"]}})
    assert (made["changes"], made["min_gap_s"], made["per_day"]) == (
        ["assigned", "on_hold", "transferred", "reopened"], 900, 3,
    )  # fmt: skip
    changed = await admin.patch(f"/announcement-policies/{made['id']}", made["version"], {"changes": [], "per_day": 1})
    assert (changed["changes"], changed["per_day"]) == ([], 1)
    for wrong in ({"changes": ["closed"]}, {"per_day": -1}, {"min_gap_s": None}, {"match": {"colour": ["red"]}}):
        await admin.patch(f"/announcement-policies/{made['id']}", changed["version"], wrong, expect=422)
    await admin.post("/announcement-policies", {"code": "vip", "name": "again"}, expect=409)
    await supervisor.post("/announcement-policies", {"code": "x", "name": "x"}, expect=403)
    await admin.call("DELETE", f"/announcement-policies/{made['id']}", expect=204)
    assert (await admin.get(f"/announcement-policies/{made['id']}"))["active"] is False
    assert "vip" not in {row.code for row in (await house.context.catalog.current()).announcements}

    own = {"what": "acknowledged", "language": "FR", "text": "Bonjour {name} : {link}"}
    row = await admin.post("/announcement-texts", own)
    assert (row["language"], row["channel_type"]) == ("fr", None)
    await admin.post("/announcement-texts", own, expect=409)
    problem = await admin.post("/announcement-texts", {**own, "language": "de", "text": "{link} {who}"}, expect=422)
    assert (problem["field"], "{who}" in problem["detail"]) == ("text", True)
    await admin.post("/announcement-texts", {**own, "language": "de", "text": "no link"}, expect=422)
    await admin.post("/announcement-texts", {**own, "language": "de", "channel_type": "pigeon"}, expect=422)
    for bad, field, said in (
        ({"text": "{link}\x00"}, "text", "NUL"),
        ({"subject": "a\x00"}, "subject", "NUL"),
        ({"subject": "\u200b"}, "subject", "empty"),
        ({"text": "{link}" + "x" * 4_000}, "text", "4000 characters"),
    ):
        for problem in (
            await admin.post("/announcement-texts", {**own, "language": "de", **bad}, expect=422),
            await admin.patch(f"/announcement-texts/{row['id']}", row["version"], bad, expect=422),
        ):
            assert (problem["field"], said in problem["detail"]) == (field, True), problem
    changed = await admin.patch(f"/announcement-texts/{row['id']}", row["version"], {"subject": "Votre demande"})
    assert changed["subject"] == "Votre demande"
    assert len((await house.context.catalog.current()).announcement_texts) == 1
    await admin.call("DELETE", f"/announcement-texts/{row['id']}", expect=204)
    assert await supervisor.all("/announcement-texts") == []
