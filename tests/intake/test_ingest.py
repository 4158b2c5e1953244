"""Exactly once, in one order, in one open conversation: alone, in batches and in races."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import clock
from app.conversations import closing, pausing, queries
from app.db import Database
from app.errors import Unavailable
from app.events import shapes
from app.events.log import SYSTEM
from app.intake.lane import STATEMENT, Entry, Lane, arguments
from app.models import (
    Agent,
    Channel,
    Classification,
    Contact,
    Conversation,
    Event,
    InboundJournal,
    Message,
    QueueEntry,
    ResolutionCycle,
    SlaClock,
    SurveyResponse,
)
from app.routing import endings, manual
from app.settings import Settings
from app.vault import Vault
from tests.intake.conftest import Door, message, open_door


async def rows(database: Database, table: Any, *where: Any) -> list[Any]:
    async with database.begin() as session:
        return list((await session.exec(select(table).where(*where).order_by(col(table.id)))).all())


async def conversation(database: Database) -> Conversation:
    [found] = await rows(database, Conversation)
    assert isinstance(found, Conversation)
    return found


async def resolve(session: AsyncSession, held: Conversation) -> ResolutionCycle:
    parts = {"problem": "p", "resolution": "r", "commitment": "c"}
    return await closing.resolve(session, held, agent=None, **parts, link=lambda cycle: f"http://x/f/{cycle}")


async def test_a_first_message_opens_everything_it_needs(database: Database, door: Door) -> None:
    [stored] = await door.come_in(message("k1", text="The door of my wardrobe is scratched, I want to complain!"))
    opened = await conversation(database)
    assert (stored.outcome, stored.seq, stored.conversation_id) == ("stored", 1, opened.id)
    assert (opened.status, opened.last_seq, opened.matter) == ("open", 1, "complaint")
    async with database.begin() as session:
        entry = (await session.exec(select(QueueEntry))).one()
        assert (entry.conversation_id, entry.state) == (opened.id, "waiting")
        [result] = (await session.exec(select(Classification))).all()
        assert result.fired, "the rules that fired are kept"
        clocks = {clock.metric: clock for clock in (await session.exec(select(SlaClock))).all()}
    assert set(clocks) == {"first_response", "resolution", "analysis"}
    assert clocks["resolution"].target_s == 4 * 3600
    assert [event.type for event in await rows(database, Event)] == ["conversation.created", "message.created"]
    [journal] = await rows(database, InboundJournal)
    assert (journal.status, journal.body) == ("stored", b"raw")


async def test_what_sockets_are_shown_is_what_the_tables_hold(database: Database, door: Door) -> None:
    await door.come_in(message("k1"))
    [created, told] = await rows(database, Event)
    [stored] = await rows(database, Message)
    assert created.payload == {"conversation": shapes.conversation(await conversation(database))}
    assert told.payload == {"message": shapes.stored_message(stored)}


async def test_twice_in_a_call_and_again_later_is_one_message(database: Database, door: Door) -> None:
    first = await door.come_in(message("k1"), message("k1"), message("k2"))
    again = await door.come_in(message("k2"))
    assert [item.outcome for item in first] == ["stored", "duplicate", "stored"]
    assert [item.seq for item in first] == [1, 1, 2]
    assert (again[0].outcome, again[0].message_id) == ("duplicate", first[2].message_id)
    assert (await conversation(database)).last_seq == 2
    assert [row.status for row in await rows(database, InboundJournal)] == ["stored", "duplicate"]


async def test_what_could_not_be_read_is_journalled_and_spoils_nothing(database: Database, door: Door) -> None:
    [stored] = await door.come_in(message("good"), errors=["item 2: no text"])
    assert stored.outcome == "stored"
    await door.come_in(ignored=["poll_answer"])
    journal = await rows(database, InboundJournal)
    assert [(row.status, row.error) for row in journal] == [("failed", "item 2: no text"), ("ignored", "poll_answer")]


async def test_a_resolved_conversation_is_reopened_by_the_next_message(database: Database, door: Door) -> None:
    await door.come_in(message("k1"))
    async with database.begin() as session:
        held = await queries.lock(session, (await conversation(database)).id)
        await resolve(session, held)
    await door.come_in(message("auto", text="I am out of office", automatic=True))
    assert (await conversation(database)).status == "resolved", "an auto-reply moves nothing"
    [stored] = await door.come_in(message("k2"))
    again = await conversation(database)
    assert (again.status, again.cycle, stored.seq) == ("open", 2, 4)
    [journal] = await rows(
        database, InboundJournal, col(InboundJournal.id) == (await rows(database, InboundJournal))[-1].id
    )
    assert journal.status == "stored"


async def test_what_nobody_had_waits_again_when_it_is_reopened(database: Database, door: Door) -> None:
    await door.come_in(message("k1"))
    async with database.begin() as session:
        held = await queries.lock(session, (await conversation(database)).id)
        await endings.rescind(session, held, reason="resolved")
        await resolve(session, held)
    async with database.begin() as session:
        assert (await session.exec(select(QueueEntry))).all() == []
    await door.come_in(message("k2"))
    async with database.begin() as session:
        assert (await session.exec(select(QueueEntry))).one().state == "waiting"


async def test_a_message_that_meets_a_resolve_halfway_reopens(database: Database, door: Door) -> None:
    """It waits for the row, and then acts on what the other has made of it."""
    await door.come_in(message("k1"))
    async with database.begin() as session:
        held = await queries.lock(session, (await conversation(database)).id)
        arriving = asyncio.create_task(door.come_in(message("k2")))
        async with database.begin() as other:
            while not (
                await other.execute(
                    text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ingest_v1%'")
                )
            ).first():
                await asyncio.sleep(0.01)
        await resolve(session, held)
    [stored] = await arriving
    again = await conversation(database)
    assert (again.status, again.cycle, stored.seq, again.last_seq) == ("open", 2, 3, 3)


async def test_a_snoozed_conversation_is_woken(database: Database, door: Door) -> None:
    await door.come_in(message("k1"))
    async with database.begin() as session:
        held = await queries.lock(session, (await conversation(database)).id)
        later = clock.now() + timedelta(hours=1)
        await pausing.snooze(session, held, until=later, now=clock.now(), actor=SYSTEM)
    await door.come_in(message("k2"))
    woken = await conversation(database)
    assert (woken.status, woken.snoozed_until, woken.last_seq) == ("open", None, 2)


async def load(database: Database, agent: Agent) -> int:
    async with database.begin() as session:
        return (await session.get_one(Agent, agent.id)).load


async def test_what_is_woken_takes_its_room_again_at_what_it_costs_now(database: Database, door: Door) -> None:
    """A routine matter was snoozed; the message that wakes it is urgent."""
    await door.come_in(message("k1", text="When do you open?"))
    agent = Agent(name="Ada", email="ada@desk.example", capacity=2)
    async with database.begin() as session:
        session.add(agent)
    async with database.begin() as session:
        held = await queries.lock(session, (await conversation(database)).id)
        await manual.assign(session, held, agent_id=agent.id, actor=SYSTEM)
        later = clock.now() + timedelta(hours=1)
        await pausing.snooze(session, held, until=later, now=clock.now(), actor=SYSTEM)
    assert await load(database, agent) == 0
    await door.come_in(message("k2", text="URGENT: the lamp is smoking, there is a fire!"))
    assert (await load(database, agent), (await conversation(database)).status) == (2, "open")


async def test_a_more_urgent_message_raises_the_conversation(database: Database, door: Door) -> None:
    await door.come_in(message("k1", text="When do you open?"))
    assert (await conversation(database)).category == "routine"
    await door.come_in(message("k2", text="URGENT: the lamp is smoking, there is a fire!"))
    assert (await conversation(database)).category == "urgent"
    await door.come_in(message("k3", text="When do you open?"))
    assert (await conversation(database)).category == "urgent", "it is never lowered by the rules"
    async with database.begin() as session:
        entry = (await session.exec(select(QueueEntry))).one()
    assert entry.weight == 2


async def test_a_graver_message_of_the_same_urgency_raises_the_severity(database: Database, door: Door) -> None:
    await door.come_in(message("g1", text="URGENT, please call me back as soon as possible about my order"))
    before = await conversation(database)
    assert (before.category, before.severity) == ("urgent", None)
    await door.come_in(message("g2", text="This is a formal complaint: your product burnt my child, I call my lawyer"))
    after = await conversation(database)
    assert (after.category, after.matter, after.severity) == ("urgent", "complaint", "critical")
    await door.come_in(message("g3", text="URGENT, please call me back"))
    assert (await conversation(database)).severity == "critical", "it is never lowered by the rules"


async def test_a_priority_raised_for_a_missed_limit_hides_no_urgency(database: Database, door: Door) -> None:
    await door.come_in(message("m1", text="where is my parcel"))
    async with database.begin() as session:
        await session.execute(text("UPDATE conversation SET priority = 5"))
    await door.come_in(message("m2", text="URGENT: there is smoke coming out of it, it is on fire"))
    found = await conversation(database)
    assert (found.category, found.priority) == ("urgent", 5)


async def closed(database: Database, conversation_id: UUID) -> None:
    async with database.begin() as session:
        held = await queries.lock(session, conversation_id)
        cycle = await resolve(session, held)
        await closing.confirm(session, held, cycle, via="test")


async def window_over(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("UPDATE conversation SET reopen_until = now() WHERE status = 'closed'"))


async def test_within_its_window_a_closed_matter_goes_on(database: Database, door: Door) -> None:
    [first] = await door.come_in(message("k1"))
    await closed(database, first.conversation_id)
    calls = [door.come_in(message(f"k{number}")) for number in range(2, 10)]
    again = [stored for [stored] in await asyncio.gather(*calls)]
    assert {stored.conversation_id for stored in again} == {first.conversation_id}
    found = await conversation(database)
    assert (found.status, found.cycle, found.reopen_until, found.follows_id) == ("open", 2, None, None)
    reopened = [event for event in await rows(database, Event) if event.type == "conversation.reopened"]
    assert len(reopened) == 1


async def test_an_automatic_answer_reopens_nothing(database: Database, door: Door) -> None:
    [first] = await door.come_in(message("k1"))
    await closed(database, first.conversation_id)
    await door.come_in(message("k2", automatic=True))
    assert next(row.status for row in await rows(database, Conversation) if row.id == first.conversation_id) == "closed"


async def test_after_its_window_a_closed_matter_is_followed_by_another(database: Database, door: Door) -> None:
    [first] = await door.come_in(message("k1"))
    await closed(database, first.conversation_id)
    await window_over(database)
    [second] = await door.come_in(message("k2"))
    assert second.conversation_id != first.conversation_id
    assert second.seq == 1
    _, follow_up = await rows(database, Conversation)
    assert (follow_up.id, follow_up.follows_id) == (second.conversation_id, first.conversation_id)
    created = [event for event in await rows(database, Event) if event.type == "conversation.created"][-1]
    assert created.payload["conversation"]["follows_id"] == str(first.conversation_id)
    await closed(database, second.conversation_id)
    await window_over(database)
    [third] = await door.come_in(message("k3"))
    assert (await rows(database, Conversation))[-1].follows_id == second.conversation_id != third.conversation_id


async def test_any_mix_of_batches_in_any_race_equals_the_model(
    database: Database, vault: Vault, settings: Settings, channel: Channel
) -> None:
    """Four lanes, hot senders, keys drawn again and again; the model: each key once, each sender one conversation."""
    doors = [await open_door(database, vault, settings) for _ in range(4)]
    randomness = random.Random(7)
    keys = [(f"key-{number}", f"sender-{number % 12}") for number in range(240)]
    drawn = [randomness.choice(keys) for _ in range(900)]
    work = asyncio.Queue[list[tuple[str, str]]]()
    while drawn:
        size = randomness.randint(1, 6)
        work.put_nowait([drawn.pop() for _ in range(min(size, len(drawn)))])
    acknowledged: dict[str, set[UUID]] = defaultdict(set)

    async def caller(door: Door) -> None:
        while not work.empty():
            call = work.get_nowait()
            for item, stored in zip(call, await door.come_in(*(message(*pair) for pair in call)), strict=True):
                acknowledged[item[0]].add(stored.message_id)

    await asyncio.gather(*(caller(door) for door in doors for _ in range(8)))
    for door in doors:
        await door.intake.stop()
    stored = await rows(database, Message)
    assert sorted(row.external_id for row in stored) == sorted(acknowledged)
    assert all(len(ids) == 1 for ids in acknowledged.values()), "every caller was told the same message"
    by_conversation: dict[UUID, list[Message]] = defaultdict(list)
    for row in stored:
        by_conversation[row.conversation_id].append(row)
    senders = dict(keys)
    assert len(by_conversation) == len({senders[key] for key in acknowledged})
    for group in by_conversation.values():
        assert sorted(row.seq for row in group) == list(range(1, len(group) + 1))
        assert len({senders[row.external_id or ""] for row in group}) == 1


async def test_one_statement_for_however_many_calls(database: Database, door: Door) -> None:
    """What arrives while a batch is in flight is one batch."""
    from app.db import STATEMENTS

    await door.come_in(message("warm", "warm"))
    before = STATEMENTS._value.get()
    await asyncio.gather(*(door.come_in(message(f"k{n}", f"s{n % 5}")) for n in range(60)))
    assert STATEMENTS._value.get() - before <= 3


async def test_a_full_backlog_refuses_and_keeps_what_it_took(
    database: Database, door: Door, settings: Settings
) -> None:
    lane = Lane(database, batch=8, backlog=4)
    entries = [Entry(door.account.id, "test", {}, b"", f"c{n}", [], status="ignored") for n in range(6)]
    waiting = [asyncio.ensure_future(lane.submit(entry)) for entry in entries]
    await asyncio.sleep(0)
    refused = [future for future in waiting if future.done()]
    assert len(refused) == 2
    with pytest.raises(Unavailable) as problem:
        await refused[0]
    assert problem.value.extra["retry_after"] == 1
    with pytest.raises(Unavailable):
        await refused[1]
    lane.start()
    await asyncio.gather(*(future for future in waiting if future not in refused))
    await lane.stop()
    assert len(await rows(database, InboundJournal)) == 4


async def test_a_call_that_cannot_be_written_fails_alone(database: Database, door: Door) -> None:
    lane = Lane(database, batch=8, backlog=64)
    good = Entry(door.account.id, "test", {}, b"", "good", [], status="ignored")
    bad = Entry(door.account.id, "test", {}, b"", "bad", [], status="no such status")
    futures = [asyncio.ensure_future(lane.submit(entry)) for entry in (good, bad)]
    await asyncio.sleep(0)
    lane.start()
    done = await asyncio.gather(*futures, return_exceptions=True)
    await lane.stop()
    assert done[0] == []
    assert isinstance(done[1], Exception)
    assert len(await rows(database, InboundJournal)) == 1


async def test_arrays_run_in_parallel(door: Door) -> None:
    entries = [Entry(door.account.id, "test", {}, b"1", "a", []), Entry(door.account.id, "test", {}, b"2", "b", [])]
    values = arguments(entries)
    assert len(values) == STATEMENT.count("$")
    assert [len(value) for value in values] == [2, 2, 0, 0, 0, 0, 0, 0, 0]


async def waits_for_an_answer(database: Database, door: Door) -> UUID:
    """One that is resolved, with its receipt out."""
    [first] = await door.come_in(message("k1"))
    async with database.begin() as session:
        await resolve(session, await queries.lock(session, first.conversation_id))
    return first.conversation_id


async def settled(database: Database) -> tuple[str, str, int, int | None]:
    """Status, state of the newest cycle, how many cycles, and the satisfaction."""
    cycles = await rows(database, ResolutionCycle)
    ratings = [row.csat for row in await rows(database, SurveyResponse)]
    return (await conversation(database)).status, cycles[-1].state, len(cycles), ratings[0] if ratings else None


@pytest.mark.parametrize(
    ("said", "status", "state"),
    [
        ("Yes, solved!", "closed", "confirmed"),
        ("还没解决", "open", "rejected"),
        ("5", "resolved", "pending"),
        ("Thanks!", "resolved", "pending"),
    ],
)
async def test_an_answer_to_a_receipt_in_the_channel_itself(
    database: Database, door: Door, said: str, status: str, state: str
) -> None:
    conversation_id = await waits_for_an_answer(database, door)
    calls = [door.come_in(message("answer", text=said)) for _ in range(5)]
    outcomes = [stored for [stored] in await asyncio.gather(*calls)]
    assert {stored.conversation_id for stored in outcomes} == {conversation_id}
    assert sorted(stored.outcome for stored in outcomes) == ["duplicate"] * 4 + ["stored"]
    assert (await settled(database))[:2] == (status, state)
    kept = (await rows(database, Message))[-1]
    assert (kept.text, kept.content["answer"]["cycle"]) == (said, 1)
    assert (await conversation(database)).last_inbound_at == kept.created_at


async def test_a_rating_after_the_confirmation_counts_and_reopens_nothing(database: Database, door: Door) -> None:
    await waits_for_an_answer(database, door)
    for number, said in enumerate(("yes", "4", "谢谢")):
        await door.come_in(message(f"answer-{number}", text=said))
    assert await settled(database) == ("closed", "confirmed", 1, 4)
    await door.come_in(message("more", text="no"))
    assert (await settled(database))[0] == "open", "after the confirmation a no is an ordinary message"


async def test_what_says_more_is_an_ordinary_message(database: Database, door: Door) -> None:
    await waits_for_an_answer(database, door)
    await door.come_in(message("answer", text="Yes, but the second one is still broken"))
    found = await conversation(database)
    assert (found.status, found.cycle) == ("open", 2)


async def test_somebody_elses_yes_settles_nothing(database: Database, door: Door) -> None:
    conversation_id = await waits_for_an_answer(database, door)
    async with database.begin() as session:
        await session.execute(text("UPDATE conversation SET contact_id = :id"), {"id": await _another(session)})
    await door.come_in(message("answer", text="yes"))
    async with database.begin() as session:
        [cycle] = (await session.exec(select(ResolutionCycle))).all()
    assert (cycle.conversation_id, cycle.state) == (conversation_id, "superseded")


async def _another(session: AsyncSession) -> UUID:
    other = Contact(name="Somebody")
    session.add(other)
    await session.flush()
    return other.id
