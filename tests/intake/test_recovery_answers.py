"""Something was made good, and the customer says in the channel itself whether it helped."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from app.conversations import closing, feedback, queries, recovering
from app.db import Database
from app.events.log import SYSTEM
from app.feedback.survey import Answer
from app.models import Conversation, Message, RecoveryTask
from tests.intake.conftest import Door, message

DONE = {"state": "done", "remedy": "apology", "text": "We are sorry."}


async def asked(database: Database, door: Door) -> None:
    """Closed with a low score, made good, and asked."""
    [first] = await door.come_in(message("k1"))
    assert first.conversation_id is not None
    parts = {"problem": "p", "resolution": "r", "commitment": "c"}
    async with database.begin() as session:
        held = await queries.lock(session, first.conversation_id)
        cycle = await closing.resolve(session, held, agent=None, **parts, link=str)
    async with database.begin() as session:
        answer = Answer.model_validate({"outcome": "confirmed", "csat": 1})
        await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via="test")
    async with database.begin() as session:
        held = await queries.lock(session, first.conversation_id)
        task = (await session.exec(select(RecoveryTask))).one()
        await recovering.change(session, held, task, DONE, actor=SYSTEM, link=str)


@pytest.mark.parametrize(
    ("said", "state", "status"),
    [
        ("Yes, solved!", "confirmed", "closed"),
        ("Hi Ada,\n\nit works now.\n\ngrace", "confirmed", "closed"),
        ("还没解决", "failed", "open"),
        ("Thanks!", "done", "closed"),
        ("4", "done", "closed"),
        ("When does the hinge come?", "done", "open"),
    ],
)
async def test_in_their_own_words(database: Database, door: Door, said: str, state: str, status: str) -> None:
    await asked(database, door)
    for key in ("answer", "answer"):
        await door.come_in(message(key, text=said))
    async with database.begin() as session:
        task = (await session.exec(select(RecoveryTask))).one()
        conversation = (await session.exec(select(Conversation))).one()
        kept = (await session.exec(select(Message).order_by(col(Message.seq).desc()))).first()
    assert (task.state, conversation.status) == (state, status)
    assert kept is not None
    assert kept.text == said
    if state != "done":
        assert (task.decided_via, kept.content["answer"]["rule"]) == (
            "message",
            "solved" if state == "confirmed" else "not_solved",
        )
