"""Whether it helped is asked by the ways of a receipt, and answered from wherever it was asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from app.channels.base import SendFailure
from app.channels.receipts import payload_of
from app.conversations import feedback, queries, recovering
from app.conversations.confirming import Confirmer
from app.db import Database
from app.events.log import SYSTEM
from app.feedback.survey import Answer
from app.models import Message, RecoveryTask
from app.models.words import DeliveryStatus
from tests.desk.conftest import admin, house
from tests.feedback.test_asking import Texting, confirmer, fail, known_on, matter, open_window, receipts, sms
from tests.web.matter import Matter

__all__ = ["admin", "confirmer", "house", "matter", "sms"]
DONE = {"state": "done", "remedy": "compensation", "text": "A voucher for your next order."}


async def make_good(matter: Matter) -> Message:
    """The question that is asked of a closed matter with a low score."""
    assert matter.cycle_id is not None
    async with matter.database.begin() as session:
        said = Answer.model_validate({"outcome": "confirmed", "csat": "1"})
        await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=said, via="test")
    return await done(matter, **DONE)


async def done(matter: Matter, **given: Any) -> Message:
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        task = (await session.exec(select(RecoveryTask))).one()
        await recovering.change(session, held, task, given, actor=SYSTEM, link=lambda id: f"http://test/f/{id}")
    return (await receipts(matter))[-1]


async def outcome(matter: Matter) -> tuple[str, str | None, str]:
    async with matter.database.begin() as session:
        task = (await session.exec(select(RecoveryTask))).one()
    return task.state, task.decided_via, (await matter.conversation()).status


async def test_in_the_best_form_of_its_own_channel(matter: Matter) -> None:
    await open_window(matter)
    await matter.resolve()
    asked = await make_good(matter)
    assert (asked.status, "instead" in asked.content) == (DeliveryStatus.QUEUED, False)
    assert "A voucher for your next order." in asked.text
    assert asked.content["question"] == "Is it settled for you now?"
    assert [(item["title"], item["payload"]) for item in asked.content["choices"]] == [
        ("Yes, solved", payload_of(matter.cycle_id, "confirmed", "remedy")),  # type: ignore[arg-type]
        ("Not solved", payload_of(matter.cycle_id, "rejected", "remedy")),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("failure", [SendFailure.WINDOW, SendFailure.RECIPIENT])
async def test_what_did_not_arrive_goes_by_the_next_and_in_the_end_nobody_was_asked(
    matter: Matter, confirmer: Confirmer, failure: SendFailure
) -> None:
    await open_window(matter)
    await matter.resolve()
    email = await known_on(matter, "email", "mei@customer.test")
    first = await make_good(matter)
    await fail(matter, first, failure)
    await confirmer.step()
    [_, _, second] = await receipts(matter)
    assert (second.channel_id, second.content["instead"]["by"]) == (email, "email")
    assert await asked_at(matter)
    await fail(matter, second, failure)
    await confirmer.step()
    await confirmer.step()
    assert len(await receipts(matter)) == 3, "each channel once"
    assert not await asked_at(matter)
    await open_window(matter)
    await done(matter, state="in_progress")
    again = await done(matter, **DONE)
    assert again.channel_id == first.channel_id
    await fail(matter, again, failure)
    await confirmer.step()
    assert (await receipts(matter))[-1].channel_id == email, "what is done once more is asked about by all ways"


async def asked_at(matter: Matter) -> bool:
    async with matter.database.begin() as session:
        return (await session.exec(select(RecoveryTask))).one().asked_at is not None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("YES", ("confirmed", "message", "closed")),
        ("still not working", ("failed", "message", "open")),
        ("4", ("done", None, "closed")),
    ],
)
async def test_words_from_where_it_was_asked_instead(
    matter: Matter, sms: Texting, said: str, expected: tuple[str, str | None, str]
) -> None:
    asked = await make_good(matter)
    assert (asked.channel_id, asked.content["instead"]["why"]) == (sms.channel_id, "window-closed")
    assert "Reply YES if it is settled now" in asked.text
    await later(matter.database, matter.conversation_id)
    assert await sms.say(said) == [matter.conversation_id]
    assert await outcome(matter) == expected


async def later(database: Database, conversation_id: UUID) -> None:
    """What was confirmed long ago is asked about now."""
    async with database.begin() as session:
        held = await queries.lock(session, conversation_id)
        cycle = await queries.newest_cycle(session, held)
        assert cycle is not None
        assert cycle.decided_at is not None
        cycle.decided_at = cycle.created_at = cycle.decided_at.replace(year=2020)
        session.add(cycle)


async def test_its_buttons_answer_it_and_those_of_the_receipt_do_not(matter: Matter, sms: Texting) -> None:
    await make_good(matter)
    assert matter.cycle_id is not None
    old, new = (payload_of(matter.cycle_id, "rejected", about) for about in ("result", "remedy"))
    await sms.say("Not solved", pressed=old)
    assert await outcome(matter) == ("done", None, "closed")
    await sms.say("Not solved", pressed=new)
    assert await outcome(matter) == ("failed", "button", "open")
    async with matter.database.begin() as session:
        kept = (await session.exec(select(Message.text).where(col(Message.external_id).is_not(None)))).all()
    assert sorted(kept) == ["Not solved", "Not solved"]
