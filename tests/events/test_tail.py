"""The order of the stream against transactions that race, and that are held open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest

from app.db import Database
from app.events import tail
from app.events.stream import START, Position, StreamEvent
from app.events.tail import Tail
from app.ids import new_id

APPEND = "SELECT append_event_v1($1, $2, 'conversation', '{}', '{}', false, 'system', NULL, NULL, '{}')"


@pytest.fixture
async def conversations(database: Database) -> list[UUID]:
    """Three conversations, written bare."""
    connection = await database.connect()
    channel, made = new_id(), []
    await connection.execute(
        "INSERT INTO channel(id, type, name, config, secrets, active, version) VALUES ($1, 'partner', 'x', '{}', '', true, 1)",
        channel,
    )
    for _ in range(3):
        contact, identity, conversation = new_id(), new_id(), new_id()
        await connection.execute(
            "INSERT INTO contact(id, tier, attributes, version) VALUES ($1, 'standard', '{}', 1)", contact
        )
        await connection.execute(
            "INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address) VALUES ($1, $2, $3, 'x', $4, '{}')",
            identity, contact, channel, str(identity),
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO conversation(id, channel_id, channel_type, contact_id, identity_id, status, category, matter, corrected,"
            " priority, last_seq, stream_pos, cycle, contact_read_seq, participant_ids)"
            " VALUES ($1, $2, 'partner', $3, $4, 'open', 'routine', 'enquiry', false, 0, 0, 0, 1, 0, '{}')",
            conversation, channel, contact, identity,
        )  # fmt: skip
        made.append(conversation)
    await connection.close()
    return made


async def everything(database: Database) -> list[StreamEvent]:
    connection = await database.connect()
    events, blocked = await tail.read(connection, START, 100_000)
    await connection.close()
    assert not blocked
    return events


async def test_writers_whose_transaction_is_older_than_their_turn(
    database: Database, conversations: list[UUID]
) -> None:
    """Each writer gets its transaction id early, waits, and only then takes the conversation: ids and turns differ.

    The live tail, polling all the while, must see per conversation the order in which the lock was had.
    """
    turns: dict[UUID, list[str]] = {conversation: [] for conversation in conversations}
    seen: list[StreamEvent] = []
    complete = asyncio.Event()

    def see(page: Sequence[StreamEvent]) -> None:
        seen.extend(page)
        if len(seen) == 12 * 15:
            complete.set()

    live = Tail(database, see)
    await live.start()
    stop = asyncio.Event()

    async def poll() -> None:
        while not stop.is_set():
            await live.step()

    async def writer(number: int) -> None:
        randomness = random.Random(number)
        connection = await database.connect()
        for turn in range(15):
            conversation = randomness.choice(conversations)
            async with connection.transaction():
                await connection.execute("SELECT pg_current_xact_id()")
                await asyncio.sleep(randomness.random() * 0.01)
                await connection.execute("SELECT 1 FROM conversation WHERE id = $1 FOR UPDATE", conversation)
                name = f"w{number}-{turn}"
                await connection.execute(APPEND, conversation, name)
                turns[conversation].append(name)
        await connection.close()

    polling = asyncio.create_task(poll())
    await asyncio.gather(*(writer(number) for number in range(12)))
    await asyncio.wait_for(complete.wait(), 30)
    stop.set()
    await polling
    await live.stop()
    assert [event.position for event in seen] == sorted(event.position for event in seen)
    for conversation, expected in turns.items():
        assert [event.type for event in seen if event.conversation_id == conversation] == expected
    assert [event.position for event in await everything(database)] == [event.position for event in seen]


async def test_an_open_transaction_holds_the_stream_and_loses_nothing(
    database: Database, conversations: list[UUID]
) -> None:
    holder, other = await database.connect(), await database.connect()
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(APPEND, conversations[0], "slow")
    for number in range(5):
        await other.execute(APPEND, conversations[1], f"quick {number}")
    events, blocked = await tail.read(other, START, 100)
    assert (events, blocked) == ([], True)
    assert await tail.newest(other) == START
    await transaction.commit()
    events, blocked = await tail.read(other, START, 100)
    assert not blocked
    assert [event.type for event in events] == ["slow", *(f"quick {number}" for number in range(5))]
    await holder.close()
    await other.close()


async def test_every_page_size_reads_the_same(database: Database, conversations: list[UUID]) -> None:
    connection = await database.connect()
    for number in range(23):
        await connection.execute(APPEND, conversations[number % 3], f"e{number}")
    whole = [event.position for event in await everything(database)]
    for size in (1, 2, 7, 50):
        found: list[Position] = []
        while True:
            page, _ = await tail.read(connection, found[-1] if found else START, size)
            if not page:
                break
            found += [event.position for event in page]
        assert found == whole
    assert await tail.behind(connection, whole[4], limit=100) == (len(whole) - 5, False)
    assert await tail.behind(connection, whole[4], limit=3) == (3, False)
    await connection.close()


async def test_a_cursor_is_too_old_when_the_next_event_is(database: Database, conversations: list[UUID]) -> None:
    connection = await database.connect()
    for number in range(3):
        await connection.execute(APPEND, conversations[0], f"e{number}")
    first, second, third = [event.position for event in await everything(database)]
    await connection.execute("UPDATE event SET created_at = now() - interval '2 hours' WHERE id <= $1", second.id)
    assert await tail.behind(connection, first, limit=9, window_s=3_600) == (2, True)
    assert await tail.behind(connection, second, limit=9, window_s=3_600) == (1, False)
    assert await tail.behind(connection, third, limit=9, window_s=3_600) == (0, False)
    await connection.close()


async def test_one_query_per_wakeup(database: Database, conversations: list[UUID]) -> None:
    live = Tail(database, lambda page: None)
    await live.start()
    connection: asyncpg.Connection = await database.connect()
    for number in range(100):
        await connection.execute(APPEND, conversations[number % 3], f"e{number}")
    before = tail.READS._value.get()
    assert await live.step() is None
    assert tail.READS._value.get() == before + 1, "a hundred events, one query"
    await connection.close()
    await live.stop()
