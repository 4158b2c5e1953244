"""Edits, deletions, reactions and what was written elsewhere: each once, nothing lost, in whatever order."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import col, select

from app.channels.base import Change, ChangeKind, Echo, InboundFile, Parsed, RemoteFile, Sender
from app.clock import now
from app.db import Database
from app.delivery import outbox
from app.events import shapes
from app.intake import changes, early_changes
from app.intake.echoes import ours
from app.models import Attachment, Conversation, Event, MediaFetch, Message
from app.models.words import DeliveryStatus
from app.wakeups import Wakeups
from tests.delivery.house import message_of
from tests.intake.conftest import Door, message

AT = now()
GRACE = Sender("partner", "grace")
K = ChangeKind


def change(key: str, kind: ChangeKind, text: str | None = None, *, after_s: float = 0, **more: Any) -> Change:
    named = more or {"external_id": "m1"}
    return Change(key, kind, GRACE, text=text, at=AT + timedelta(seconds=after_s), **named)


async def hear(door: Door, *made: Change, said: tuple[Echo, ...] = ()) -> None:
    parsed = Parsed(changes=made, echoes=said)
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=parsed)


async def stored(database: Database) -> list[Message]:
    async with database.begin() as session:
        return list((await session.exec(select(Message).order_by(col(Message.seq)))).all())


async def told(database: Database, kind: str) -> list[Event]:
    async with database.begin() as session:
        found = select(Event).where(Event.type == kind).order_by(col(Event.pos), col(Event.id))
        return list((await session.exec(found)).all())


async def test_edit_react_delete(database: Database, door: Door) -> None:
    await door.come_in(message("m1", text="my card is 4111"))
    await hear(door, change("c1", K.EDIT, "my card is lost"))
    await hear(door, change("c2", K.REACTION, "\U0001f64f"))
    [row] = await stored(database)
    shown = shapes.stored_message(row)
    assert (shown["text"], shown["edited"], shown["reactions"]) == ("my card is lost", True, ["\U0001f64f"])
    await hear(door, change("c3", K.REACTION), change("c4", K.DELETE))
    [row] = await stored(database)
    shown = shapes.stored_message(row)
    assert (shown["text"], shown["deleted"], "reactions" in shown) == ("", True, False)
    assert [entry.get("was") for entry in row.content["history"]] == ["my card is 4111", None, None, "my card is lost"]
    events = await told(database, "message.updated")
    assert [(event.payload["change"]["kind"], event.payload["change"]["text"]) for event in events] == [
        ("edit", "my card is lost"),
        ("reaction", "\U0001f64f"),
        ("reaction", None),
        ("delete", None),
    ]
    assert {(event.payload["message_id"], event.payload["seq"], event.actor_type) for event in events} == {
        (str(row.id), 1, "contact")
    }


async def waiting(database: Database) -> int:
    async with database.begin() as session:
        return int((await session.execute(text("SELECT count(*) FROM early_change"))).scalar_one())


async def test_what_comes_before_its_message_is_applied_when_that_is_here(database: Database, door: Door) -> None:
    await hear(door, change("c2", K.EDIT, "third", after_s=2), change("c1", K.EDIT, "second", after_s=1))
    await hear(door, change("c3", K.REACTION, "\U0001f64f"), change("c2", K.EDIT, "third", after_s=2))
    await hear(door, change("c4", K.EDIT, "of another", external_id="m2"))
    await early_changes.step(database)
    assert await waiting(database) == 4
    await door.come_in(message("m1", text="first"))
    for _ in range(2):
        assert await early_changes.step(database) is None
        [row] = await stored(database)
        shown = shapes.stored_message(row)
        assert (shown["text"], shown["edited"], shown["reactions"]) == ("third", True, ["\U0001f64f"])
        assert [entry["key"] for entry in row.content["history"]] == ["c2", "c1", "c3"]
        assert len(await told(database, "message.updated")) == 2
        assert await waiting(database) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["edit first", "deletion first"])
async def test_a_deletion_that_comes_first_wins(database: Database, door: Door, order: tuple[int, int]) -> None:
    made = change("c1", K.EDIT, "kept?", after_s=5), change("c2", K.DELETE)
    await hear(door, *(made[place] for place in order))
    await door.come_in(message("m1", text="my card is 4111"))
    await early_changes.step(database)
    [row] = await stored(database)
    shown = shapes.stored_message(row)
    assert (shown["text"], shown["deleted"]) == ("", True)
    assert await waiting(database) == 0


async def test_who_stores_the_message_wakes_who_applies(database: Database, door: Door) -> None:
    wakeups = Wakeups(database)
    woken = wakeups.subscribe(early_changes.TOPIC)
    await wakeups.start()
    try:
        await hear(door, change("c1", K.EDIT, "second"))
        woken.clear()
        await door.come_in(message("m1"))
        async with asyncio.timeout(60):
            await woken.wait()
    finally:
        await wakeups.stop()


async def test_change_and_message_at_the_same_moment(database: Database, door: Door) -> None:
    """On two connections, in every order that the database finds: once each, and none is left over."""

    async def both(number: int) -> None:
        edit = change(f"c{number}", K.EDIT, "edited", external_id=f"r{number}")
        calls = [
            door.come_in(message(f"r{number}", f"sender {number}")),
            hear(door, edit),
            early_changes.step(database),
        ]
        await asyncio.gather(*(calls if number % 2 else reversed(calls)))

    for first in range(0, 40, 8):
        await asyncio.gather(*(both(number) for number in range(first, first + 8)))
    await early_changes.step(database)
    rows = await stored(database)
    assert [(row.text, len(row.content["history"])) for row in rows] == [("edited", 1)] * 40
    assert len(await told(database, "message.updated")) == 40
    assert await waiting(database) == 0


async def test_what_never_comes_is_kept_a_while_and_no_more_than_so_much(
    database: Database, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_changes, "KEPT_PER_CHANNEL", 3)
    await hear(door, *(change(f"c{number}", K.EDIT, "x", external_id=f"n{number}") for number in range(5)))
    assert await waiting(database) == 3
    async with database.begin() as session:
        await early_changes.expire(session, after_s=3_600)
    assert await waiting(database) == 3
    async with database.begin() as session:
        await session.execute(text("UPDATE early_change SET created_at = now() - interval '2 h'"))
        await early_changes.expire(session, after_s=3_600)
    assert await waiting(database) == 0


async def test_a_change_of_ours_waits_for_the_providers_id(database: Database, door: Door) -> None:
    [opened] = await door.come_in(message("m1"))
    await hear(door, change("c1", K.REACTION, "\U0001f44d", provider_message_id="p-1"))
    await early_changes.step(database)
    assert await waiting(database) == 1
    async with database.begin() as session:
        conversation = await session.get_one(Conversation, opened.conversation_id)
        conversation.last_seq += 1
        ours_ = message_of(conversation, seq=conversation.last_seq, provider_message_id="p-1")
        session.add_all([conversation, ours_])
    await early_changes.step(database)
    assert await waiting(database) == 0
    [_, row] = await stored(database)
    assert shapes.stored_message(row)["reactions"] == ["\U0001f44d"]


async def test_a_customer_whom_we_know_is_named(database: Database, door: Door) -> None:
    await door.come_in(message("m1"))
    nameless = replace(message("m2"), sender=Sender("partner", "grace"))
    await door.come_in(nameless)
    rows = await stored(database)
    assert [row.author_name for row in rows] == ["grace", "grace"]
    payloads = [event.payload["message"]["author"]["name"] for event in await told(database, "message.created")]
    assert payloads == ["grace", "grace"]


async def test_fifty_times_at_once_is_once(database: Database, door: Door) -> None:
    await door.come_in(message("m1"))
    await asyncio.gather(*(hear(door, change("c1", K.EDIT, "new")) for _ in range(50)))
    [row] = await stored(database)
    assert len(row.content["history"]) == 1
    assert len(await told(database, "message.updated")) == 1


async def test_what_is_ours_is_only_reacted_to_or_changed_by_us_elsewhere(database: Database, door: Door) -> None:
    await door.come_in(message("m1"))
    reply = await write(database, text="our answer", status="sent", provider_message_id="p1")
    await hear(
        door,
        change("c1", K.EDIT, "their words", external_id="p1"),
        change("c2", K.DELETE, external_id="p1"),
        change("c3", K.REACTION, "\U0001f44d", external_id="p1", provider_message_id="p1"),
        change("c4", K.DELETE, external_id="of another time"),
        change("c5", K.DELETE, provider_message_id="m1"),
        said=(Echo("e1", GRACE, "from the phone"),),
    )
    assert [item.text for item in await stored(database)] == ["hello", "our answer", "from the phone"]
    row = (await stored(database))[1]
    assert (row.id, row.text, list(row.content["reactions"].values())) == (reply.id, "our answer", ["\U0001f44d"])
    assert len(await told(database, "message.updated")) == 1
    named: list[dict[str, Any]] = [{"provider_message_id": "p1"}, {"provider_message_id": "e1"}]
    await hear(door, change("c6", K.EDIT, "better", **named[0]), change("c7", K.DELETE, **named[1]))
    assert [item.text for item in await stored(database)] == ["hello", "better", ""]
    events = await told(database, "message.updated")
    assert [event.actor_type for event in events] == ["contact", "system", "system"]


@given(st.permutations([0, 1, 2, 3]), st.booleans())
def test_the_newest_edit_counts_in_whatever_order_and_nothing_is_lost(order: list[int], deleted: bool) -> None:
    made = [change(f"c{n}", K.EDIT, f"text {n}", after_s=n) for n in range(4)]
    news = [made[n] for n in order]
    if deleted:
        news.insert(order[0], change("d", K.DELETE, after_s=9))
    text, content = "first", dict[str, Any]()
    for item in itertools.chain(news, news):
        text, content, _ = changes.changed(text, content, item)
    assert text == ("" if deleted else "text 3")
    kept = {entry[name] for entry in content["history"] for name in ("was", "text") if entry.get(name)}
    assert kept >= {"first", "text 0", "text 1", "text 2", "text 3"}
    assert len(content["history"]) == len(news)


async def write(database: Database, **fields: Any) -> Message:
    """A reply of ours in the only conversation."""
    async with database.begin() as session:
        held = (await session.exec(select(Conversation).with_for_update())).one()
        held.last_seq += 1
        reply = message_of(held, seq=held.last_seq, created_at=now(), **fields)
        session.add_all([held, reply])
        if reply.status == DeliveryStatus.SENDING:
            await outbox.enqueue(session, reply)
    return reply


async def test_what_was_written_elsewhere_is_an_answer(database: Database, door: Door) -> None:
    await door.come_in(message("m1"))
    files = (InboundFile("a.txt", "text/plain", b"hello"), RemoteFile("b.jpg", "image/jpeg", None, {"media_id": "7"}))
    echo = Echo("e1", GRACE, "From the phone in the shop", AT, files, {"app_id": "x"})
    await asyncio.gather(*(hear(door, said=(echo,)) for _ in range(20)))
    _, row = await stored(database)
    assert (row.direction, row.author_type, row.author_name, row.status) == ("outbound", "system", "elsewhere", "sent")
    assert (row.text, row.external_id, row.seq) == ("From the phone in the shop", "e1", 2)
    assert row.content == {"app_id": "x", "elsewhere": True}
    created = await told(database, "message.created")
    assert [event.payload["message"]["author"]["name"] for event in created] == ["grace", "elsewhere"]
    async with database.begin() as session:
        [conversation] = (await session.exec(select(Conversation))).all()
        assert conversation.first_replied_at is not None
        assert (await session.exec(select(Attachment.message_id))).all() == [row.id]
        assert (await session.exec(select(MediaFetch.ref))).all() == [{"media_id": "7"}]
    await door.come_in(message("m2"))
    assert [item.seq for item in await stored(database)] == [1, 2, 3]


async def test_an_echo_of_what_we_sent_is_not_a_second_message(database: Database, door: Door) -> None:
    await door.come_in(message("m1"))
    await write(database, text="known", status="sent", provider_message_id="p1")
    lost = await write(database, text="may have been sent", status="unknown")
    early = await write(database, text="being sent", status="sending")
    await hear(
        door,
        said=(Echo("p1", GRACE, "known"), Echo("p2", GRACE, "may have been sent"), Echo("p3", GRACE, "being sent")),
    )
    rows = {row.id: row for row in await stored(database)}
    assert len(rows) == 4
    assert (rows[lost.id].status, rows[lost.id].provider_message_id) == ("sent", "p2")
    assert (rows[early.id].status, rows[early.id].provider_message_id) == ("sent", "p3")
    await hear(door, said=(Echo("p4", GRACE, "known"), Echo("p5", Sender("partner", "nobody"), "x")))
    assert [row.external_id for row in await stored(database)][4:] == ["p4"], "the same words, said once more"


@pytest.mark.parametrize(
    ("said", "files", "fields", "expected"),
    [
        ("x" * 80, (), {"text": "x" * 2000, "provider_message_id": "last"}, "part"),
        ("x" * 80, (), {"text": "x" * 900, "provider_message_id": "last"}, None),
        ("ok", (), {"text": "ok " * 2000, "provider_message_id": "last"}, None),
        ("", (1,), {"text": "see", "attachments": [{}], "provider_message_id": "last"}, "part"),
        ("", (1,), {"text": "", "attachments": [{}], "provider_message_id": "last"}, None),
        ("", (1,), {"text": "", "attachments": [{}], "status": "sending"}, "part"),
        ("see", (), {"text": "see", "attachments": [{}], "provider_message_id": "last"}, "part"),
        ("", (1,), {"text": "see", "status": "sending"}, None),
    ],
)
def test_the_parts_of_what_we_sent(said: str, files: tuple[int, ...], fields: dict[str, Any], expected: str) -> None:
    echo = Echo("e", GRACE, said, files=tuple(RemoteFile("f", "image/png", None, {}) for _ in files))
    base = Message(seq=1, direction="outbound", author_type="agent", status="sent", text="")  # type: ignore[call-arg]
    row = base.model_copy(update={"attachments": [], "provider_message_id": None, **fields})
    assert ours(replace(echo), row, limit=1000) == expected
