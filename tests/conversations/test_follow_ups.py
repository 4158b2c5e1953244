"""Return contacts: told when they are due and when they were missed, once each, and what they bring."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.conversations import feedback, follow_ups, queries
from app.conversations.returning import Returning
from app.db import Database
from app.events.log import SYSTEM
from app.feedback.survey import Answer
from app.models import Agent, ClosingPolicy, Event, FollowUp, RecoveryTask, SlaClock
from app.models.words import ConversationStatus, CycleState, FollowUpKind
from tests.desk.house import Caller, House
from tests.web.matter import Matter

HOUR = timedelta(hours=1)


def later(hours: float = 1) -> str:
    return (datetime.now(UTC) + hours * HOUR).isoformat()


@pytest.fixture
async def agent(house: House, matter: Matter) -> Caller:
    """Has the conversation."""
    caller = await house.agent()
    await matter.change(owner_id=caller.id, assignee_id=caller.id)
    return caller


async def planned(caller: Caller, matter: Matter, **given: Any) -> dict[str, Any]:
    body = {"due_at": later(), "kind": "call", **given}
    made: dict[str, Any] = await caller.post(f"/conversations/{matter.conversation_id}/follow-ups", body)
    return made


async def put(caller: Caller, row: dict[str, Any], **given: Any) -> dict[str, Any]:
    changed: dict[str, Any] = await caller.patch(f"/follow-ups/{row['id']}", row["version"], given)
    return changed


async def told(matter: Matter, type: str) -> list[Event]:
    async with matter.database.begin() as session:
        found = await session.exec(select(Event).where(col(Event.type) == type).order_by(col(Event.id)))
        return list(found.all())


async def pass_time(matter: Matter, hours: float) -> None:
    async with matter.database.begin() as session:
        gone = "make_interval(secs => :gone)"
        await session.execute(
            text(f"UPDATE follow_up SET due_at = due_at - {gone}, next_at = next_at - {gone}"), {"gone": hours * 3_600}
        )


async def rows(matter: Matter) -> list[FollowUp]:
    async with matter.database.begin() as session:
        return list((await session.exec(select(FollowUp).order_by(col(FollowUp.id)))).all())


async def test_planned_for_the_owner_and_told(matter: Matter, agent: Caller) -> None:
    made = await planned(agent, matter, note="ask about the hinge")
    assert (made["assignee_id"], made["state"], made["due"], made["missed"]) == (str(agent.id), "planned", False, False)
    [event] = await told(matter, "follow_up.planned")
    assert event.payload["follow_up"]["note"] == "ask about the hinge"
    listed = await agent.get(f"/conversations/{matter.conversation_id}/follow-ups")
    assert [row["id"] for row in listed["items"]] == [made["id"]]


async def test_who_is_named_sees_the_matter_from_now_on(matter: Matter, agent: Caller, house: House) -> None:
    helper, stranger = await house.agent(), await house.agent()
    path = f"/conversations/{matter.conversation_id}"
    await helper.call("GET", path, expect=404)
    made = await planned(agent, matter, assignee_id=str(helper.id))
    await helper.call("GET", path, expect=200)
    assert [row["id"] for row in await helper.all("/follow-ups", mine=True)] == [made["id"]]
    assert await stranger.all("/follow-ups") == []
    headers = {"If-Match": '"1"'}
    await stranger.call("PATCH", f"/follow-ups/{made['id']}", json={"note": "x"}, headers=headers, expect=404)
    done = await put(helper, made, outcome="reached", result="all is well")
    assert (done["state"], done["outcome"], done["result"]) == ("done", "reached", "all is well")


async def test_what_cannot_be_planned(matter: Matter, agent: Caller, admin: Caller, house: House) -> None:
    gone = await house.agent()
    async with house.database.begin() as session:
        (await session.get_one(Agent, gone.id)).active = False
    path = f"/conversations/{matter.conversation_id}/follow-ups"
    for given, field in (
        ({"due_at": later(-1), "kind": "call"}, "due_at"),
        ({"due_at": "9999-12-31T23:59:59-14:00", "kind": "call"}, "due_at"),
        ({"due_at": later(), "kind": "call", "note": "\x00"}, "note"),
        ({"due_at": later(), "kind": "letter"}, "kind"),
        ({"due_at": later(), "kind": "call", "assignee_id": str(gone.id)}, "assignee_id"),
    ):
        assert (await agent.post(path, given, expect=422))["field"] == field
    await matter.change(owner_id=None, assignee_id=None)
    nobody = await admin.post(path, {"due_at": later(), "kind": "call"}, expect=422)
    assert nobody["field"] == "assignee_id"
    await matter.change(owner_id=gone.id)
    gone_too = await admin.post(path, {"due_at": later(), "kind": "call"}, expect=422)
    assert "works here" in gone_too["detail"]


async def test_of_who_has_left_whoever_plans_it_takes_over(matter: Matter, agent: Caller, supervisor: Caller) -> None:
    first = await planned(agent, matter)
    async with matter.database.begin() as session:
        (await session.get_one(Agent, agent.id)).active = False
    assert (await planned(supervisor, matter))["assignee_id"] == str(supervisor.id)
    put_off = {"outcome": "rescheduled", "next_due_at": later(-9)}
    refused = await supervisor.patch(f"/follow-ups/{first['id']}", first["version"], put_off, expect=422)
    assert refused["field"] == "next_due_at"
    done = await put(supervisor, first, outcome="rescheduled", next_due_at=later(9))
    following = next(row for row in await rows(matter) if str(row.id) == done["next_id"])
    assert following.assignee_id == supervisor.id


async def test_due_and_missed_are_told_once_each_by_several_loops(
    matter: Matter, agent: Caller, supervisor: Caller, others: list[Database]
) -> None:
    loops = [Returning(database) for database in (matter.database, *others)]
    assert await loops[0].step() is None
    made = await planned(agent, matter)
    await planned(agent, matter, due_at=later(100))
    wait = await loops[0].step()
    assert wait is not None
    assert 3_500 < wait <= 3_600
    assert await told(matter, "follow_up.due") == []
    await pass_time(matter, 1)
    for _ in range(3):
        await asyncio.gather(*(loop.step() for loop in loops))
    [due] = await told(matter, "follow_up.due")
    assert (due.agents, due.payload["follow_up"]["id"]) == ([agent.id], made["id"])
    assert await told(matter, "follow_up.missed") == []
    [listed] = await agent.all("/follow-ups", due=True)
    assert (listed["due"], listed["missed"]) == (True, False)
    await pass_time(matter, 1)
    for _ in range(3):
        await asyncio.gather(*(loop.step() for loop in loops))
    [missed] = await told(matter, "follow_up.missed")
    assert set(missed.agents) == {agent.id, supervisor.id}
    assert len(await told(matter, "follow_up.due")) == 1
    assert len(await supervisor.all("/follow-ups", missed=True)) == 1
    wait = await loops[0].step()
    assert wait is not None
    assert wait > 3_600, "the other one of the same matter is left alone until its time"


async def test_many_of_many_matters_by_many_loops(
    matter: Matter, agent: Caller, supervisor: Caller, others: list[Database]
) -> None:
    """While they are being changed, too: each is told exactly as often as it should."""
    made = [await planned(agent, matter) for _ in range(12)]
    await pass_time(matter, 5)

    async def finish(row: dict[str, Any]) -> None:
        await put(agent, row, outcome="reached")

    async def work(database: Database) -> None:
        while await Returning(database).step() is not None:
            await asyncio.sleep(0)

    await asyncio.gather(*(work(database) for database in others), *(finish(row) for row in made[::2]))
    for type in ("follow_up.due", "follow_up.missed"):
        counted = [event.payload["follow_up"]["id"] for event in await told(matter, type)]
        assert len(counted) == len(set(counted))
        assert {row["id"] for row in made[1::2]} <= set(counted)


async def test_after_a_long_standstill_it_is_due_before_it_is_missed(matter: Matter, agent: Caller) -> None:
    await planned(agent, matter)
    await pass_time(matter, 100)
    loop = Returning(matter.database)
    assert await loop.step() == 0
    assert await loop.step() is None
    async with matter.database.begin() as session:
        found = await session.exec(
            select(Event.type).where(col(Event.type).in_(["follow_up.due", "follow_up.missed"])).order_by(col(Event.id))
        )
        assert list(found.all()) == ["follow_up.due", "follow_up.missed"]


async def test_the_grace_is_the_policys(matter: Matter, agent: Caller) -> None:
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="mine", name="Mine", position=1, follow_up_grace_s=7_200))
    made = await planned(agent, matter)
    assert made["grace_s"] == 7_200
    await pass_time(matter, 2)
    loop = Returning(matter.database)
    wait = await loop.step()
    assert wait is not None
    assert 3_500 < wait <= 3_600
    assert await told(matter, "follow_up.missed") == []


async def test_the_loop_never_speaks_before_its_time(matter: Matter, agent: Caller) -> None:
    """By the database's clock, however often it looks."""
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="quick", name="Quick", position=1, follow_up_grace_s=0.3))
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        await follow_ups.plan(
            session,
            held,
            kind=FollowUpKind.CALL,
            due_at=datetime.now(UTC) + timedelta(seconds=0.5),
            assignee_id=agent.id,
            note=None,
            actor=SYSTEM,
        )
    loop = Returning(matter.database)
    while (wait := await loop.step()) is not None:
        if wait:
            await asyncio.sleep(wait / 3)
    [row] = await rows(matter)
    [due], [missed] = await told(matter, "follow_up.due"), await told(matter, "follow_up.missed")
    assert due.created_at >= row.due_at
    assert missed.created_at >= row.due_at + timedelta(seconds=0.3)


async def test_another_time_or_assignee_is_told_anew_and_a_cancelled_one_never(
    matter: Matter, agent: Caller, house: House
) -> None:
    made = await planned(agent, matter)
    await pass_time(matter, 3)
    loop = Returning(matter.database)
    await loop.step()
    await loop.step()
    assert len(await told(matter, "follow_up.missed")) == 1
    moved = await put(agent, made, due_at=later(2))
    assert (moved["missed"], moved["due"]) == (False, False)
    await pass_time(matter, 2)
    await loop.step()
    assert len(await told(matter, "follow_up.due")) == 2
    other = await house.agent()
    moved = await put(agent, moved, assignee_id=str(other.id))
    await loop.step()
    assert (await told(matter, "follow_up.due"))[-1].agents == [other.id]
    over = await put(agent, moved, state="cancelled")
    await pass_time(matter, 3)
    assert await loop.step() is None
    refused = await agent.patch(f"/follow-ups/{over['id']}", over["version"], {"outcome": "reached"}, expect=409)
    assert refused["state"] == "cancelled"


async def test_who_left_is_stood_in_for_by_the_supervisors(matter: Matter, agent: Caller, supervisor: Caller) -> None:
    await planned(agent, matter)
    await pass_time(matter, 1)
    async with matter.database.begin() as session:
        (await session.get_one(Agent, agent.id)).active = False
    await Returning(matter.database).step()
    assert [event.agents for event in await told(matter, "follow_up.due")] == [[supervisor.id]]


async def test_put_off_makes_the_next_one(matter: Matter, agent: Caller) -> None:
    made = await planned(agent, matter, kind="visit", note="bring a hinge")
    for given, field in (
        ({"outcome": "rescheduled"}, "next_due_at"),
        ({"outcome": "reached", "next_due_at": later()}, "next_due_at"),
        ({"outcome": "rescheduled", "next_due_at": later(-1)}, "next_due_at"),
        ({"result": "x"}, "result"),
        ({"outcome": "reached", "note": "x"}, "note"),
        ({"state": "done"}, "state"),
    ):
        refused = await agent.patch(f"/follow-ups/{made['id']}", 1, given, expect=422)
        assert refused["field"] == field, refused
    done = await put(agent, made, outcome="rescheduled", next_due_at=later(5))
    first, second = (await agent.get(f"/conversations/{matter.conversation_id}/follow-ups"))["items"]
    assert (done["next_id"], second["follows_id"]) == (second["id"], first["id"])
    assert (second["kind"], second["note"], second["state"]) == ("visit", "bring a hinge", "planned")


@pytest.mark.parametrize(
    ("outcome", "status", "state"),
    [
        ("solved", ConversationStatus.CLOSED, CycleState.CONFIRMED),
        ("not_solved", ConversationStatus.OPEN, CycleState.REJECTED),
        ("reached", ConversationStatus.RESOLVED, CycleState.PENDING),
        ("not_reached", ConversationStatus.RESOLVED, CycleState.PENDING),
    ],
)
async def test_what_the_customer_said_counts(
    matter: Matter, agent: Caller, outcome: str, status: str, state: str
) -> None:
    await matter.resolve()
    made = await planned(agent, matter)
    done = await put(agent, made, outcome=outcome)
    cycle = await matter.cycle()
    assert (done["conversation_status"], cycle.state) == (status, state)
    if state != CycleState.PENDING:
        assert cycle.decided_via == "follow_up"
    async with matter.database.begin() as session:
        tasks = (await session.exec(select(RecoveryTask.cause))).all()
    assert list(tasks) == (["rejection"] if outcome == "not_solved" else [])


async def _close(matter: Matter) -> None:
    cycle = await matter.resolve()
    async with matter.database.begin() as session:
        answer = Answer.model_validate({"outcome": "confirmed"})
        await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via="test")


async def test_not_solved_reopens_what_was_closed_while_that_can_be(matter: Matter, agent: Caller) -> None:
    await _close(matter)
    first = await put(agent, await planned(agent, matter), outcome="not_solved")
    assert first["conversation_status"] == "open"
    assert [event.payload["reason"] for event in await told(matter, "conversation.reopened")] == ["not_solved"]
    await _close(matter)
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE conversation SET reopen_until = now()"))
    second = await put(agent, await planned(agent, matter), outcome="not_solved")
    assert (second["conversation_status"], second["state"], second["outcome"]) == ("closed", "done", "not_solved")


@pytest.mark.parametrize(("outcome", "state"), [("solved", "confirmed"), ("not_solved", "failed")])
async def test_a_recovery_is_confirmed_by_the_telephone_too(
    matter: Matter, agent: Caller, supervisor: Caller, outcome: str, state: str
) -> None:
    cycle = await matter.resolve()
    async with matter.database.begin() as session:
        answer = Answer.model_validate({"outcome": "confirmed", "csat": 1})
        await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via="test")
    [task] = await supervisor.all("/recovery-tasks")
    body = {"state": "done", "remedy": "apology", "text": "We are sorry."}
    await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, body)
    await put(agent, await planned(agent, matter), outcome=outcome)
    [task] = await supervisor.all("/recovery-tasks")
    assert (task["state"], task["via"]) == (state, "follow_up")


async def test_who_was_reached_has_been_asked_in_time(matter: Matter, agent: Caller) -> None:
    """The limit for asking after the work is met by a call as well as by a message."""
    clock_id = await _follow_up_clock(matter)
    await put(agent, await planned(agent, matter), outcome="not_reached")
    assert await _state(matter, clock_id) == "running"
    await put(agent, await planned(agent, matter), outcome="reached")
    assert await _state(matter, clock_id) == "met"


async def _follow_up_clock(matter: Matter) -> UUID:
    await matter.resolve()
    async with matter.database.begin() as session:
        clock = (await session.exec(select(SlaClock).where(col(SlaClock.metric) == "follow_up"))).one()
        assert clock.state == "running"
        return clock.id


async def _state(matter: Matter, clock_id: UUID) -> str:
    async with matter.database.begin() as session:
        return (await session.get_one(SlaClock, clock_id)).state


async def test_lists(matter: Matter, agent: Caller, supervisor: Caller, house: House) -> None:
    other = await house.agent()
    for hours in (3, 1, 2):
        await planned(agent, matter, due_at=later(hours))
    mine = await planned(agent, matter, due_at=later(4), assignee_id=str(other.id))
    every = await supervisor.all("/follow-ups", limit=1)
    assert [row["due_at"] for row in every] == sorted(row["due_at"] for row in every)
    assert len(every) == 4
    assert len(await supervisor.all("/follow-ups", assignee_id=agent.id)) == 3
    assert [row["id"] for row in await other.all("/follow-ups", mine=True)] == [mine["id"]]
    assert await supervisor.all("/follow-ups", mine=True) == []
    await put(other, mine, outcome="reached")
    assert len(await supervisor.all("/follow-ups", state="planned")) == 3
    assert await supervisor.all("/follow-ups", due=True) == []
    assert len(await supervisor.all("/follow-ups", missed=False)) == 4
