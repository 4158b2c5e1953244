"""A telephone call is one message, whatever is told of it, however often and in whatever order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import col, select

from app import catalog as catalogs
from app.catalog import CatalogCache
from app.channels.base import CallUpdate, InboundMessage, Parsed, RemoteFile, Sender
from app.clock import now
from app.conversations import calls_fold
from app.db import Database
from app.events import shapes
from app.events.frames import Call as CallFrame
from app.intake import calls_situation
from app.intake.media import Fetcher
from app.intake.store import FileStore
from app.models import (
    Attachment,
    Call,
    Channel,
    Contact,
    Conversation,
    Event,
    InboundJournal,
    MediaFetch,
    Message,
    QueueEntry,
    SlaClock,
)
from app.settings import Settings
from app.vault import Vault
from app.wakeups import Wakeups
from tests.intake.conftest import SECRET, Door, open_door
from tests.support.providers import HttpServer

AT = now() - timedelta(minutes=5)
GRACE = Sender("phone", "+447700900123", phone="+447700900123", address={"to": "+447700900123"})


def update(key: str, state: str | None = None, *, after_s: float = 0, call_id: str = "C1", **more: Any) -> CallUpdate:
    named = {"sender": GRACE, "caller": "07700 900123", "callee": "+442079460018", **more}
    return CallUpdate(key=key, call_id=call_id, state=state, at=AT + timedelta(seconds=after_s), **named)


def recording(name: str = "R1", **ref: Any) -> RemoteFile:
    return RemoteFile(
        f"{name}.mp3", "audio/mpeg", None, {"id": name, "duration_s": 12.0, **(ref or {"url": "https://x/" + name})}
    )


WHOLE = (
    update("ring", "ringing"),
    update("answer", "answered", after_s=9),
    update("key 1", digits="4", after_s=11),
    update("key 2", digits="2", after_s=12),
    update("end", "ended", after_s=69, cause="16 normal clearing", sender=None),
    update("rec", recording=recording(), after_s=75, sender=None),
    update("words", transcript="My wardrobe is scratched.", after_s=80, sender=None),
)


@pytest.fixture
async def line(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Door]:
    sealed = catalogs.seal_secrets(vault, {"secret": SECRET})
    async with database.begin() as session:
        session.add(Channel(type="voice", name="line", config={"provider": "generic"}, secrets=sealed))
    door = await open_door(database, vault, settings)
    yield door
    await door.intake.stop()


async def hear(door: Door, *told: CallUpdate) -> None:
    await door.intake.store(door.account, transport="test", headers={}, body=b"raw", parsed=Parsed(calls=told))


async def stored(database: Database) -> list[Message]:
    async with database.begin() as session:
        return list((await session.exec(select(Message).order_by(col(Message.created_at), col(Message.seq)))).all())


async def events_of(database: Database, kind: str) -> list[Event]:
    async with database.begin() as session:
        found = select(Event).where(Event.type == kind).order_by(col(Event.pos), col(Event.id))
        return list((await session.exec(found)).all())


async def the_call(database: Database) -> dict[str, Any]:
    [row] = await stored(database)
    return shapes.stored_message(row)


async def test_from_ringing_to_transcript_is_one_message(database: Database, line: Door) -> None:
    for step in WHOLE:
        await hear(line, step)
    shown = await the_call(database)
    call = shown["call"]
    CallFrame.model_validate(call)
    assert (shown["kind"], shown["direction"], shown["author"]["type"]) == ("call", "inbound", "contact")
    assert (call["state"], call["from"], call["to"]) == ("ended", "+447700900123", "+442079460018")
    assert (call["talk_s"], call["duration_s"], call["cause"]) == (60, 69, "16 normal clearing")
    assert (call["digits"], call["transcript"]) == ("42", "My wardrobe is scratched.")
    assert (call["recording"]["name"], call["recording"]["duration_s"], call["recording"]["url"]) == (
        "R1.mp3",
        12,
        None,
    )
    assert shown["text"] == "Telephone call from +447700900123\n\nMy wardrobe is scratched."
    async with database.begin() as session:
        [fetch] = (await session.exec(select(MediaFetch))).all()
        [contact] = (await session.exec(select(Contact))).all()
        journal = (await session.exec(select(InboundJournal))).all()
    assert (fetch.ref["url"], contact.phone) == ("https://x/R1", "+447700900123")
    assert {row.status for row in journal} == {"stored"}
    assert len(await events_of(database, "message.created")) == 1
    changes = [event.payload["change"] for event in await events_of(database, "message.updated")]
    assert [change["call"]["state"] for change in changes] == ["answered"] * 3 + ["ended"] * 3
    assert {change["kind"] for change in changes} == {"call"}


@pytest.mark.parametrize("seed", range(4))
async def test_shuffled_and_repeated_fifty_times_at_once(database: Database, line: Door, seed: int) -> None:
    import random

    told = list(WHOLE) * 50
    random.Random(seed).shuffle(told)
    await asyncio.gather(*(hear(line, step) for step in told))
    call = (await the_call(database))["call"]
    want = calls_fold.fold(calls_fold.entry(step) for step in WHOLE)
    assert {name: value for name, value in call.items() if name != "recording"} == {
        name: want[name] for name in call if name != "recording"
    }
    assert call["recording"]["name"] == "R1.mp3"
    async with database.begin() as session:
        assert len((await session.exec(select(MediaFetch))).all()) == 1
        assert len((await session.exec(select(Conversation))).all()) == 1
        assert len((await session.exec(select(Call))).all()) == 1
    assert len(await events_of(database, "message.created")) == 1


@given(st.permutations(range(len(WHOLE))), st.integers(0, 3))
def test_every_order_tells_the_same(order: list[int], twice: int) -> None:
    told = [calls_fold.entry(WHOLE[place]) for place in order]
    by_key = {item["key"]: item for item in [*told, *told[:twice]]}
    assert calls_fold.fold(by_key.values()) == calls_fold.fold(calls_fold.entry(step) for step in WHOLE)


def test_every_single_order_of_five_steps() -> None:
    five = [calls_fold.entry(step) for step in WHOLE[:2] + WHOLE[4:]]
    assert len({str(calls_fold.fold(order)) for order in itertools.permutations(five)}) == 1


async def test_what_comes_before_anybody_says_who_calls_waits(database: Database, line: Door) -> None:
    for step in reversed(WHOLE[2:]):
        await hear(line, replace(step, sender=None))
    assert await stored(database) == []
    async with database.begin() as session:
        [row] = (await session.exec(select(Call))).all()
        assert (row.message_id, len(row.updates)) == (None, 5)
    await hear(line, WHOLE[0])
    await hear(line, WHOLE[1])
    call = (await the_call(database))["call"]
    assert (call["state"], call["digits"], call["transcript"]) == ("ended", "42", "My wardrobe is scratched.")
    assert call["recording"]["name"] == "R1.mp3"


async def clock(database: Database, metric: str) -> SlaClock | None:
    async with database.begin() as session:
        return (await session.exec(select(SlaClock).where(SlaClock.metric == metric))).one_or_none()


async def test_the_answer_meets_the_first_response_when_it_was_given(database: Database, line: Door) -> None:
    await hear(line, update("ring", "ringing"))
    async with database.begin() as session:  # half a minute ago, by our clock
        await session.execute(text("UPDATE message SET created_at = now() - interval '30 s'"))
        await session.execute(
            text(
                "UPDATE sla_clock SET created_at = created_at - interval '30 s', running_since = running_since - interval '30 s', "
                "due_at = due_at - interval '30 s', next_at = next_at - interval '30 s'"
            )
        )
    await hear(line, update("answer", "answered", after_s=9))
    met = await clock(database, "first_response")
    assert met is not None
    assert (met.target_s, met.state, met.breached_at) == (15, "met", None)
    assert abs(met.elapsed_us - 9_000_000) < 1_000_000
    handling = await clock(database, "handling")
    assert handling is not None
    assert handling.state == "running"
    await hear(line, update("end", "ended", after_s=69))
    handling = await clock(database, "handling")
    assert handling is not None
    assert handling.state == "paused", "nobody has the matter: the time in hand was the talk"


async def test_too_late_is_a_breach(database: Database, line: Door) -> None:
    await hear(line, update("ring", "ringing"))
    async with database.begin() as session:
        await session.execute(text("UPDATE message SET created_at = now() - interval '60 s'"))
        await session.execute(
            text(
                "UPDATE sla_clock SET created_at = created_at - interval '60 s', running_since = running_since - interval '60 s', "
                "due_at = due_at - interval '60 s', next_at = next_at - interval '60 s'"
            )
        )
    await hear(line, update("answer", "answered", after_s=40))
    met = await clock(database, "first_response")
    assert met is not None
    assert met.state == "met"
    assert met.breached_at == met.due_at


async def test_a_caller_who_hangs_up_is_a_missed_call_that_still_waits(database: Database, line: Door) -> None:
    await hear(line, update("ring", "ringing"), update("end", "ended", after_s=20))
    shown = await the_call(database)
    assert (shown["call"]["state"], shown["text"]) == ("missed", "Missed call from +447700900123")
    async with database.begin() as session:
        assert (await session.execute(text("SELECT state FROM queue_entry"))).scalars().all() == ["waiting"]
        [conversation] = (await session.exec(select(Conversation))).all()
    assert (conversation.status, conversation.first_replied_at) == ("open", None)


async def test_a_withheld_number_is_somebody_new_each_time(database: Database, line: Door) -> None:
    for call_id in ("C1", "C2"):
        nobody = Sender("anonymous", call_id)
        await hear(line, update("ring", "ringing", call_id=call_id, sender=nobody, caller="anonymous"))
    async with database.begin() as session:
        assert len((await session.exec(select(Contact))).all()) == 2
    texts = {row.text for row in await stored(database)}
    assert texts == {"Telephone call from a withheld number"}


async def test_the_next_call_joins_the_matter(database: Database, line: Door) -> None:
    await hear(line, *WHOLE)
    await hear(line, update("ring", "ringing", call_id="C2"))
    rows = await stored(database)
    assert [row.seq for row in rows] == [1, 2]
    assert len({row.conversation_id for row in rows}) == 1


async def test_an_outbound_call_of_theirs_is_ours(database: Database, line: Door) -> None:
    await hear(line, update("ring", "ringing", direction="outbound", caller="+442079460018", callee="+447700900123"))
    [row] = await stored(database)
    shown = shapes.stored_message(row)
    assert (shown["direction"], shown["author"]["type"], row.author_id) == ("outbound", "system", None)
    assert (shown["call"]["direction"], shown["call"]["to"]) == ("outbound", "+447700900123")
    [created] = await events_of(database, "message.created")
    assert created.payload["message"]["author"] == shown["author"]
    assert created.payload["message"]["call"]["state"] == "ringing"


async def test_a_recording_that_was_uploaded_to_us(database: Database, line: Door) -> None:
    async with database.begin() as session:
        upload = Attachment(sha256="0" * 64, size=5, media_type="audio/ogg", name="talk.ogg")
        session.add(upload)
    await hear(line, WHOLE[0], update("rec", recording=recording("B1", blob_id=str(upload.id))))
    call = (await the_call(database))["call"]
    assert (call["recording"]["name"], call["recording"]["size"]) == ("talk.ogg", 5)
    assert call["recording"]["url"].startswith("/api/v1/attachments/")
    await hear(line, update("rec 2", recording=recording("B2", blob_id="no such upload"), after_s=99))
    assert "no upload" in (await the_call(database))["call"]["recording"]["error"]


async def test_what_was_said_may_be_grave(database: Database, line: Door) -> None:
    await hear(line, update("ring", "ringing"))
    await hear(
        line,
        update("words", "voicemail", transcript="There is a gas leak, smoke and fire, somebody is injured, emergency!"),
    )
    async with database.begin() as session:
        [conversation] = (await session.exec(select(Conversation))).all()
    assert (conversation.category, conversation.severity) == ("urgent", "critical")


async def test_the_situation_of_a_caller(database: Database, line: Door, vault: Vault, settings: Settings) -> None:
    catalog = await CatalogCache(database, vault, Wakeups(database)).current()
    other = Sender("phone", "+447700900999")
    await hear(line, update("ring", "ringing"))
    await hear(line, update("ring", "ringing", call_id="C2", sender=other))
    places = [await calls_situation.read(database, line.account.id, call_id, catalog) for call_id in ("C1", "C2")]
    assert [(place.stage, place.position) for place in places if place] == [("waiting", 1), ("waiting", 2)]
    assert await calls_situation.read(database, line.account.id, "C3", catalog) is None
    await hear(line, update("end", "ended", after_s=3))
    over = await calls_situation.read(database, line.account.id, "C1", catalog)
    assert over is not None
    assert over.stage == "over"


async def test_only_callers_on_the_line_are_counted_before_one(
    database: Database, line: Door, vault: Vault, settings: Settings
) -> None:
    catalog = await CatalogCache(database, vault, Wakeups(database)).current()
    told = {"hangs up": "ended", "leaves a message": "voicemail", "waits": None}
    for number, (call_id, end) in enumerate(told.items()):
        caller = Sender("phone", f"+4477009001{number:02}")
        await hear(line, update(f"{call_id} ring", "ringing", call_id=call_id, sender=caller))
        if end is not None:
            await hear(line, update(f"{call_id} end", end, call_id=call_id, sender=caller, after_s=3))
    mails = [InboundMessage(f"mail {number}", Sender("email", f"{number}@x.example"), "hello") for number in range(3)]
    await line.intake.store(
        line.account, transport="test", headers={}, body=b"raw", parsed=Parsed(messages=mails)
    )  # what else waits in a queue that is shared
    await hear(line, update("last", "ringing", call_id="last", sender=Sender("phone", "+447700900999")))
    async with database.begin() as session:
        assert len((await session.exec(select(QueueEntry))).all()) == 7
    place = await calls_situation.read(database, line.account.id, "last", catalog)
    assert place is not None
    assert (place.stage, place.position) == ("waiting", 2), "behind the one who waits"


async def test_a_recording_in_a_network_of_ours_is_fetched(
    database: Database, line: Door, vault: Vault, settings: Settings
) -> None:
    """A telephone system is usually next door, and its signature is the operator's word."""
    catalog = CatalogCache(database, vault, Wakeups(database))
    async with HttpServer() as pbx, httpx.AsyncClient() as http:
        await hear(line, WHOLE[0], update("rec", recording=recording(url=f"{pbx.base}/a.wav"), after_s=9))
        store = FileStore(settings.attachments_dir, limit=100)
        fetcher = Fetcher(database, catalog, settings, http, store, poke=lambda: None)
        await fetcher.step()
        await fetcher.idle()
        await fetcher.drain(within_s=0)
    assert (await stored(database))[0].attachments[-1]["sha256"]


async def test_a_call_has_its_name_and_began_when_it_rang(database: Database, line: Door) -> None:
    await hear(line, update("answer", "answered", after_s=9))
    await hear(line, update("end", "ended", after_s=69))
    await hear(line, update("ring", "ringing"))
    [row] = await stored(database)
    shown = shapes.stored_message(row)
    assert (shown["call"]["call_id"], shown["sent_at"]) == ("C1", shown["call"]["started_at"])
    assert row.sent_at == AT
