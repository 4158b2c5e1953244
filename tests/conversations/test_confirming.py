"""A receipt without an answer: asked about again, taken as confirmed, and never settled twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.clock import now
from app.conversations import closing, feedback, queries
from app.conversations.confirming import Confirmer
from app.db import Database
from app.errors import AlreadyAnswered, Conflict, ConversationClosed
from app.events.log import SYSTEM
from app.feedback import outcomes
from app.feedback.survey import Answer
from app.models import ClosingPolicy, Message
from app.models.words import ConversationStatus, CycleState, MessageKind
from tests.desk.house import Caller
from tests.web import matter as matters
from tests.web.matter import Matter

HOUR = 3_600


async def pass_time(matter: Matter, seconds: float) -> None:
    """As if all of it had happened earlier."""
    async with matter.database.begin() as session:
        for statement in (
            "UPDATE resolution_cycle SET created_at = created_at - make_interval(secs => :gone), confirm_by = confirm_by - make_interval(secs => :gone), "
            "next_at = next_at - make_interval(secs => :gone)",
            "UPDATE conversation SET closed_at = closed_at - make_interval(secs => :gone), reopen_until = reopen_until - make_interval(secs => :gone)",
        ):
            await session.execute(text(statement), {"gone": seconds})


async def receipts(matter: Matter) -> list[Message]:
    async with matter.database.begin() as session:
        found = await session.exec(
            select(Message).where(col(Message.kind) == MessageKind.RECEIPT).order_by(col(Message.seq))
        )
        return list(found.all())


async def say_nothing(matter: Matter, confirmer: Confirmer) -> None:
    """Until the shipped policy takes it as a yes."""
    for hours in (24, 48):
        await pass_time(matter, hours * HOUR)
        await confirmer.step()


async def policy(matter: Matter, **fields: Any) -> None:
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="mine", name="Mine", position=1, **fields))


async def test_the_shipped_policy_reminds_after_a_day_and_confirms_after_three(
    matter: Matter, confirmer: Confirmer
) -> None:
    await matter.resolve()
    wait = await confirmer.step()
    assert wait is not None
    assert 23 * HOUR < wait <= 24 * HOUR
    await pass_time(matter, 24 * HOUR)
    await confirmer.step()
    await confirmer.step()
    first, reminder = await receipts(matter)
    assert (reminder.content["reminder"], reminder.content["receipt"]["id"]) == (1, first.content["receipt"]["id"])
    assert "have not heard from you" in reminder.text
    assert (await matter.conversation()).status == ConversationStatus.RESOLVED
    await pass_time(matter, 48 * HOUR)
    await confirmer.step()
    cycle, conversation = await matter.cycle(), await matter.conversation()
    assert (cycle.state, cycle.decided_via, cycle.next_at) == (CycleState.CONFIRMED, "timeout", None)
    assert conversation.status == ConversationStatus.CLOSED
    [closed] = await matter.events("conversation.closed")
    assert closed["via"] == "timeout"
    assert len(await receipts(matter)) == 2
    assert await confirmer.step() is None


async def test_after_a_standstill_the_reminder_comes_first_and_leaves_the_customer_its_time(
    matter: Matter, confirmer: Confirmer
) -> None:
    """Down for longer than all of it: each reminder of the policy goes out, and what it leaves until the next passes."""
    await policy(matter, confirm_after_s=72 * HOUR, remind_after_s=[48 * HOUR, 24 * HOUR])
    await matter.resolve()
    await pass_time(matter, 100 * HOUR)
    for sent in (2, 3):
        for _ in range(2):
            wait = await confirmer.step()
            assert len(await receipts(matter)) == sent
        assert wait is not None
        assert 23 * HOUR < wait <= 24 * HOUR
        assert (await matter.conversation()).status == ConversationStatus.RESOLVED
        await pass_time(matter, 24 * HOUR)
    assert await confirmer.step() is None
    assert ((await matter.cycle()).decided_via, len(await receipts(matter))) == ("timeout", 3)


async def test_a_policy_of_ones_own_counts_from_the_next_receipt_on(matter: Matter, confirmer: Confirmer) -> None:
    await policy(matter, match={"channel_type": ["webchat"]}, confirm_after_s=None, remind_after_s=[60, 120])
    await matter.resolve()
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE closing_policy SET confirm_after_s = 1, remind_after_s = '[]'"))
    for expected in (2, 3, 3):
        await pass_time(matter, 60)
        await confirmer.step()
        assert len(await receipts(matter)) == expected
    await pass_time(matter, 1_000 * HOUR)
    assert await confirmer.step() is None
    cycle = await matter.cycle()
    assert (cycle.state, cycle.policy["code"]) == (CycleState.PENDING, "mine")


async def test_without_any_policy_the_shipped_figures_count(matter: Matter) -> None:
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE closing_policy SET active = false"))
    cycle = await matter.resolve()
    assert cycle.confirm_by == cycle.created_at + timedelta(hours=72)


async def test_who_answered_is_not_asked_again(matter: Matter, confirmer: Confirmer) -> None:
    for outcome in ("rejected", "confirmed"):
        cycle = await matter.resolve()
        async with matter.database.begin() as session:
            answer = Answer.model_validate({"outcome": outcome})
            await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via="test")
    await pass_time(matter, 100 * HOUR)
    assert await confirmer.step() is None
    assert len(await receipts(matter)) == 2


async def test_nobody_is_asked_to_rate_us_twice_in_a_month(matter: Matter) -> None:
    asked = []
    for days in (0, 29, 2):
        await pass_time(matter, days * 24 * HOUR)
        asked.append((await matter.resolve()).survey_asked)
        await matter.reopen()
    assert asked == [True, False, True]
    assert ["rate our service" in message.text for message in await receipts(matter)] == asked


async def test_two_matters_resolved_at_once_ask_their_customer_for_one_rating(
    matter: Matter, others: list[Database]
) -> None:
    twin = await matters.make(matter.database, matter.vault)
    await twin.change(contact_id=matter.contact_id)
    for _ in range(4):
        apart = (replace(matter, database=others[0]), replace(twin, database=others[1]))
        cycles = await asyncio.gather(*(one.resolve() for one in apart))
        assert sorted(cycle.survey_asked for cycle in cycles) == [False, True]
        await asyncio.gather(*(one.reopen() for one in apart))
        await pass_time(matter, 31 * 24 * HOUR)


async def test_confirm_reject_reopen_and_silence_at_once_have_one_outcome(
    matter: Matter, others: list[Database]
) -> None:
    """Each on a connection of its own, again and again; the losers are told why."""
    seen: Counter[str] = Counter()
    await policy(matter, remind_after_s=[])
    for _ in range(12):
        cycle = await matter.resolve()
        await pass_time(matter, 73 * HOUR)

        async def answer(database: Database, outcome: str, cycle_id: Any = cycle.id) -> str:
            async with database.begin() as session:
                said = Answer.model_validate({"outcome": outcome})
                await feedback.answer_receipt(session, cycle_id=cycle_id, answer=said, via=outcome)
            return outcome

        async def reopen(database: Database) -> str:
            async with database.begin() as session:
                held = await queries.lock(session, matter.conversation_id)
                if held.status != ConversationStatus.RESOLVED:
                    raise Conflict("decided")
                await closing.reopen(session, held, actor=SYSTEM, reason="test")
            return "superseded"

        async def silence(database: Database) -> str:
            await Confirmer(database, link=str).step()
            return "timeout"

        await asyncio.gather(
            answer(others[0], "confirmed"),
            answer(others[1], "rejected"),
            reopen(others[2]),
            silence(matter.database),
            return_exceptions=True,
        )
        settled, conversation = await matter.cycle(), await matter.conversation()
        seen[settled.decided_via or ""] += 1
        assert settled.state != CycleState.PENDING
        closed = settled.state == CycleState.CONFIRMED
        assert conversation.status == (ConversationStatus.CLOSED if closed else ConversationStatus.OPEN)
        if closed:
            await matter.reopen()
    told = await matter.events("conversation.closed", "feedback.received")
    ends = len([event for event in told if event["type"] == "conversation.closed"])
    assert seen["confirmed"] + seen["timeout"] <= ends <= seen.total(), "each once, some of them taken up again"
    said = Counter(event["outcome"] for event in told if event["type"] == "feedback.received")
    assert said == {each: seen[each] for each in ("confirmed", "rejected") if seen[each]}
    with pytest.raises(AlreadyAnswered):
        await _answer_again(matter)


async def _answer_again(matter: Matter) -> None:
    state = (await matter.cycle()).state
    other = "rejected" if state != CycleState.REJECTED else "confirmed"
    async with matter.database.begin() as session:
        assert matter.cycle_id is not None
        answer = Answer.model_validate({"outcome": other})
        await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=answer, via="late")


async def test_four_processes_remind_once(matter: Matter, others: list[Database], confirmer: Confirmer) -> None:
    await matter.resolve()
    await pass_time(matter, 25 * HOUR)
    steps = [Confirmer(database, link=str).step() for database in others]
    await asyncio.gather(confirmer.step(), *steps)
    assert len(await receipts(matter)) == 2


async def test_a_closed_one_goes_on_within_its_window_and_not_after(matter: Matter, confirmer: Confirmer) -> None:
    await matter.resolve()
    await say_nothing(matter, confirmer)
    window = (await matter.conversation()).reopen_until
    assert window is not None
    assert timedelta(days=6) < window - now() <= timedelta(days=7)
    await matter.reopen()
    again = await matter.conversation()
    assert (again.status, again.cycle, again.closed_at, again.reopen_until) == (ConversationStatus.OPEN, 2, None, None)
    assert again.assignee_id == matter.agent.id
    await matter.resolve()
    await say_nothing(matter, confirmer)
    await pass_time(matter, 8 * 24 * HOUR)
    with pytest.raises(ConversationClosed):
        await matter.reopen()


async def silent(matter: Matter, confirmer: Confirmer) -> None:
    await matter.resolve()
    await say_nothing(matter, confirmer)
    assert (await matter.cycle()).decided_via == closing.SILENCE


async def say(matter: Matter, *, on: Database | None = None, **given: Any) -> feedback.Taken:
    assert matter.cycle_id is not None
    async with (on or matter.database).begin() as session:
        answer = Answer.model_validate(given)
        return await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=answer, via="page")


async def counted(matter: Matter) -> dict[str, int]:
    """What is not nought, of what becomes of a cycle."""
    names = ("confirmed", "by_silence", "unasked", "rejected", "reopened", "first_contact", "recoveries", "recovered")
    async with matter.database.begin() as session:
        found = await outcomes.report(session, since=date(2000, 1, 1), until=date(2100, 1, 1), by=["day"], where={})
    return {name: found.total[name] for name in names if found.total[name]}


async def test_not_solved_after_silence_goes_on_with_the_same_owner(matter: Matter, confirmer: Confirmer) -> None:
    """Nobody had answered: it is a rejection, and what silence had made of an earlier recovery is undone, too."""
    await silent(matter, confirmer)
    assert await counted(matter) == {"confirmed": 1, "by_silence": 1, "first_contact": 1}
    await say(matter, outcome="rejected", csat=1, comment="It hangs again.", about="result")
    conversation, survey = await matter.conversation(), await matter.survey()
    assert (conversation.status, conversation.cycle) == (ConversationStatus.OPEN, 2)
    assert conversation.assignee_id == matter.agent.id
    assert survey is not None
    assert (survey.csat, survey.comment) == (1, "It hangs again.")
    [reopened] = await matter.events("conversation.reopened")
    assert reopened["reason"] == "rejected"
    assert await counted(matter) == {"rejected": 1, "reopened": 1, "recoveries": 1}
    with pytest.raises(AlreadyAnswered):
        await say(matter, outcome="confirmed")
    await silent(matter, confirmer)
    assert await counted(matter) == {
        "confirmed": 1, "by_silence": 1, "rejected": 1, "reopened": 1, "recoveries": 1, "recovered": 1,
    }  # fmt: skip
    await say(matter, outcome="rejected")
    assert await counted(matter) == {"rejected": 2, "reopened": 2, "recoveries": 2}


async def test_solved_after_silence_is_their_word(matter: Matter, confirmer: Confirmer) -> None:
    await silent(matter, confirmer)
    for _ in range(2):
        await say(matter, outcome="confirmed", nps=10)
    assert (await matter.cycle()).decided_via == "page"
    assert await counted(matter) == {"confirmed": 1, "first_contact": 1}
    [received] = await matter.events("feedback.received")
    assert received["outcome"] == "confirmed"
    assert len(await matter.events("conversation.closed")) == 1
    with pytest.raises(AlreadyAnswered):
        await say(matter, outcome="rejected")


async def test_not_solved_after_the_window_is_refused_and_the_rest_is_kept(
    matter: Matter, confirmer: Confirmer
) -> None:
    await silent(matter, confirmer)
    await pass_time(matter, 8 * 24 * HOUR)
    taken = await say(matter, outcome="rejected", csat=2, comment="Late, but still.")
    with pytest.raises(ConversationClosed):
        taken.require()
    survey = await matter.survey()
    assert survey is not None
    assert (survey.csat, survey.comment) == (2, "Late, but still.")
    assert (await matter.conversation()).status == ConversationStatus.CLOSED
    assert await counted(matter) == {"confirmed": 1, "by_silence": 1, "first_contact": 1, "recoveries": 1}


async def test_an_old_receipt_moves_nothing_after_silence_either(matter: Matter, confirmer: Confirmer) -> None:
    await silent(matter, confirmer)
    old = matter.cycle_id
    await matter.reopen()
    await silent(matter, confirmer)
    matter.cycle_id = old
    with pytest.raises(AlreadyAnswered):
        await say(matter, outcome="rejected")
    assert (await matter.conversation()).cycle == 2


async def test_two_answers_after_silence_have_one_outcome(
    matter: Matter, others: list[Database], confirmer: Confirmer
) -> None:
    await policy(matter, remind_after_s=[])
    for _ in range(6):
        await matter.resolve()
        await pass_time(matter, 73 * HOUR)
        said = ("rejected", "rejected", "confirmed")
        answers = (say(matter, on=on, outcome=outcome) for on, outcome in zip(others, said, strict=True))
        await asyncio.gather(confirmer.step(), *answers, return_exceptions=True)
        cycle, conversation = await matter.cycle(), await matter.conversation()
        closed = cycle.state == CycleState.CONFIRMED
        assert (cycle.decided_via, cycle.state in (CycleState.CONFIRMED, CycleState.REJECTED)) == ("page", True)
        assert conversation.status == (ConversationStatus.CLOSED if closed else ConversationStatus.OPEN)
        if closed:
            await matter.reopen()
    known = await counted(matter)
    assert (known.get("confirmed", 0) + known.get("rejected", 0), known["reopened"]) == (6, 6)
    assert "by_silence" not in known


async def fail(matter: Matter) -> None:
    """Every message of ours."""
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE message SET status = 'failed' WHERE direction = 'outbound'"))


async def test_whom_no_receipt_reached_has_not_confirmed(matter: Matter, confirmer: Confirmer) -> None:
    """It closes at the same time, and counts as nothing but that; what they say later counts."""
    await matter.resolve()
    await fail(matter)
    await pass_time(matter, 24 * HOUR)
    await confirmer.step()
    await fail(matter)
    await pass_time(matter, 48 * HOUR)
    await confirmer.step()
    cycle, conversation = await matter.cycle(), await matter.conversation()
    assert (cycle.state, cycle.decided_via, conversation.status) == ("unasked", "timeout", ConversationStatus.CLOSED)
    [closed] = await matter.events("conversation.closed")
    assert (closed["via"], closed["asked"]) == ("timeout", False)
    assert await counted(matter) == {"unasked": 1}
    await say(matter, outcome="confirmed")
    assert await counted(matter) == {"confirmed": 1, "first_contact": 1}


async def test_whom_one_of_the_receipts_reached_was_asked(matter: Matter, confirmer: Confirmer) -> None:
    await matter.resolve()
    await fail(matter)
    await say_nothing(matter, confirmer)
    [closed] = await matter.events("conversation.closed")
    assert (closed["asked"], await counted(matter)) == (True, {"confirmed": 1, "by_silence": 1, "first_contact": 1})


async def test_policies_through_the_api(admin: Caller) -> None:
    [shipped] = await admin.all("/closing-policies")
    assert (shipped["code"], shipped["confirm_after_s"], shipped["remind_after_s"]) == ("ordinary", 259_200, [86_400])
    body = {"code": "vip", "name": "VIP", "match": {"tier": ["vip"]}, "confirm_after_s": 3_600, "remind_after_s": [60]}
    made = await admin.post("/closing-policies", body)
    assert made["reopen_window_s"] == 604_800
    path = f"/closing-policies/{made['id']}"
    late = await admin.patch(path, 1, {"remind_after_s": [60, 3_600]}, expect=422)
    assert late["field"] == "remind_after_s.1"
    never = await admin.patch(path, 1, {"confirm_after_s": None})
    assert never["confirm_after_s"] is None
    for given, field in (({"survey_gap_s": -1}, "survey_gap_s"), ({"match": {"mood": ["bad"]}}, "match.mood")):
        refused = await admin.patch(path, 2, given, expect=422)
        assert refused["field"].startswith(field)
    await admin.call("DELETE", path, expect=204)
    assert [each["code"] for each in await admin.all("/closing-policies", active=True)] == ["ordinary"]
