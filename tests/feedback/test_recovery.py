"""Who was not content is made good to: opened once, by a deadline, told to supervisors only, and confirmed by the customer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.conversations import closing, feedback, queries
from app.conversations.recovering import Overdue
from app.db import Database
from app.errors import AlreadyAnswered, Conflict, Invalid
from app.feedback import outcomes, policy, recovery_words
from app.feedback.recovery_states import require
from app.feedback.survey import Answer
from app.models import Agent, ClosingPolicy, Event, Message, RecoveryTask, Team, TeamMember
from app.models.words import ConversationStatus, MessageKind, RecoveryState, Role
from app.vault import Vault
from tests.conversations.conftest import others
from tests.desk.conftest import admin, house, supervisor
from tests.desk.house import Caller, House
from tests.web.matter import Matter, make

__all__ = ["admin", "house", "others", "supervisor"]
DONE = {"state": "done", "remedy": "compensation", "text": "A new hinge is on its way."}


@pytest.fixture
async def matter(database: Database, vault: Vault) -> Matter:
    return await make(database, vault)


async def answer(matter: Matter, *, on: Database | None = None, **given: Any) -> None:
    assert matter.cycle_id is not None
    async with (on or matter.database).begin() as session:
        said = Answer.model_validate(given)
        await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=said, via="test")


async def tasks(database: Database) -> list[RecoveryTask]:
    async with database.begin() as session:
        return list((await session.exec(select(RecoveryTask).order_by(col(RecoveryTask.id)))).all())


async def told(database: Database, type: str) -> list[Event]:
    async with database.begin() as session:
        found = await session.exec(select(Event).where(col(Event.type) == type).order_by(col(Event.id)))
        return list(found.all())


async def receipts(matter: Matter) -> list[Message]:
    async with matter.database.begin() as session:
        found = await session.exec(
            select(Message).where(col(Message.kind) == MessageKind.RECEIPT).order_by(col(Message.seq))
        )
        return list(found.all())


async def pass_time(database: Database, seconds: float) -> None:
    async with database.begin() as session:
        await session.execute(
            text("UPDATE recovery_task SET due_at = due_at - make_interval(secs => :gone)"), {"gone": seconds}
        )


async def figures(database: Database) -> tuple[int, int]:
    async with database.begin() as session:
        today = datetime.now(UTC).date()
        days = timedelta(days=2)
        found = await outcomes.report(session, since=today - days, until=today + days, by=["day"], where={})
    return found.total["recoveries"], found.total["recovered"]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"csat": 2}, "low_score"),
        ({"csat": 3, "nps": 6}, "low_score"),
        ({"outcome": "confirmed", "nps": 0}, "low_score"),
        ({"outcome": "rejected"}, "rejection"),
        ({"outcome": "rejected", "csat": 1}, "rejection"),
        ({"csat": 3, "nps": 7}, None),
        ({"outcome": "confirmed", "csat": 5, "content": 1}, None),
        ({"comment": "so so"}, None),
    ],
)
async def test_what_opens_one(matter: Matter, given: dict[str, Any], cause: str | None) -> None:
    await matter.resolve()
    await answer(matter, **given)
    opened = await tasks(matter.database)
    assert [task.cause for task in opened] == ([cause] if cause else [])
    assert await figures(matter.database) == (len(opened), 0)
    if opened:
        assert opened[0].due_at - opened[0].created_at == timedelta(days=1)


async def test_the_limits_and_the_time_are_those_of_the_policy_when_it_was_resolved(matter: Matter) -> None:
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="mine", name="Mine", position=1, low_csat=None, low_nps=8, recovery_due_s=60))
    await matter.resolve()
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE closing_policy SET low_csat = 5, low_nps = 10, recovery_due_s = 1"))
    await answer(matter, csat=1, nps=9)
    assert await tasks(matter.database) == []
    await answer(matter, nps=8)
    [task] = await tasks(matter.database)
    assert task.due_at - task.created_at == timedelta(seconds=60)


def test_cycles_of_before_have_the_shipped_limits() -> None:
    assert policy.is_low({}, csat=2, nps=None)
    assert policy.is_low({"code": "old"}, csat=None, nps=6)
    assert not policy.is_low({"low_csat": None, "low_nps": None}, csat=1, nps=0)


async def test_a_rejection_and_low_ratings_at_once_open_one(matter: Matter, others: list[Database]) -> None:
    """On connections of their own, again and again; whichever was first, it is one of a rejection."""
    rounds = 8
    for number in range(rounds):
        await matter.resolve()
        await asyncio.gather(
            answer(matter, on=others[0], outcome="rejected"),
            answer(matter, on=others[1], csat=1),
            answer(matter, on=others[2], nps=0, comment=f"round {number}"),
            answer(matter, csat=2, nps=1),
        )
        of_cycle = [task for task in await tasks(matter.database) if task.cycle_id == matter.cycle_id]
        assert [task.cause for task in of_cycle] == ["rejection"]
    assert len(await told(matter.database, "recovery.opened")) == rounds
    assert await figures(matter.database) == (rounds, 0)
    states = [task.state for task in await tasks(matter.database)]
    assert states == ["failed"] * (rounds - 1) + ["open"], "the next rejection ends what the one before asked for"


async def test_the_index_decides_where_no_lock_would(matter: Matter, others: list[Database]) -> None:
    """The same cycle, without the conversation's lock: a second task cannot be."""
    await matter.resolve()
    statement = text(
        "INSERT INTO recovery_task(id, conversation_id, cycle_id, cause, state, due_at, version) "
        "VALUES (gen_random_uuid(), :conversation, :cycle, 'low_score', 'open', now(), 1) "
        "ON CONFLICT (cycle_id) WHERE cause <> 'by_hand' DO NOTHING"
    )

    async def insert(database: Database) -> None:
        async with database.begin() as session:
            await session.execute(statement, {"conversation": matter.conversation_id, "cycle": matter.cycle_id})

    await asyncio.gather(*(insert(database) for database in others))
    assert len(await tasks(matter.database)) == 1
    await answer(matter, outcome="rejected", csat=1)
    assert len(await tasks(matter.database)) == 1


async def test_a_slip_of_the_finger_is_withdrawn_while_nobody_has_begun(matter: Matter, supervisor: Caller) -> None:
    """Told, counted out, and there again when it is low after all, or not solved; with all of its time."""
    await matter.resolve()
    await answer(matter, csat=1)
    await answer(matter, csat=5)
    [task] = await tasks(matter.database)
    assert (task.state, task.decided_via, await figures(matter.database)) == ("cancelled", "corrected", (0, 0))
    [news] = await told(matter.database, "recovery.updated")
    assert (news.payload["changed"], news.payload["task"]["state"], news.agents) == (
        ["state"],
        "cancelled",
        [supervisor.id],
    )
    await pass_time(matter.database, 90_000)
    await answer(matter, nps=2)
    [task] = await tasks(matter.database)
    assert (task.state, task.cause, task.decided_via) == ("open", "low_score", None)
    assert task.due_at - task.created_at >= timedelta(days=1)
    await answer(matter, nps=10)
    await answer(matter, outcome="rejected")
    [task] = await tasks(matter.database)
    assert (task.state, task.cause, await figures(matter.database)) == ("open", "rejection", (1, 0))
    await answer(matter, csat=4)
    assert [each.state for each in await tasks(matter.database)] == ["open"], "it is not about the score any more"


@pytest.mark.parametrize("given", [{"state": "in_progress"}, {"remedy": "apology"}, {"state": "cancelled"}])
async def test_what_somebody_has_begun_stays_as_it_is(
    matter: Matter, supervisor: Caller, given: dict[str, str]
) -> None:
    await matter.resolve()
    await answer(matter, csat=1)
    [task] = await supervisor.all("/recovery-tasks")
    kept = await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, given)
    for csat in (5, 2):
        await answer(matter, csat=csat)
        [task] = await supervisor.all("/recovery-tasks")
        assert (task["version"], task["state"], task["via"]) == (kept["version"], kept["state"], None)
    assert await figures(matter.database) == (1, 0)


async def test_a_low_rating_of_what_was_taken_up_again_opens_none(matter: Matter) -> None:
    await matter.resolve()
    await answer(matter, outcome="confirmed")
    await matter.reopen()
    await answer(matter, csat=1)
    await matter.resolve()
    assert (await tasks(matter.database), await figures(matter.database)) == ([], (0, 0))


async def _supervisors(matter: Matter, house: House) -> tuple[Caller, Caller]:
    """One of the owner's team, one of the queue."""
    queue = await house.default_queue()
    team, of_team = Team(name="North"), await house.agent(role=Role.SUPERVISOR)
    of_queue = await house.agent(queue, role=Role.SUPERVISOR)
    await house.add(team, *(TeamMember(team_id=team.id, agent_id=each) for each in (of_team.id, matter.agent.id)))
    await matter.change(queue_id=queue)
    return of_team, of_queue


async def test_it_goes_to_a_supervisor_of_the_owners_team_else_of_the_queue_else_to_all(
    matter: Matter, house: House
) -> None:
    await house.agent(role=Role.SUPERVISOR)
    await matter.resolve()
    await answer(matter, outcome="rejected")
    of_team, of_queue = await _supervisors(matter, house)
    await matter.resolve()
    await answer(matter, outcome="rejected")
    async with house.database.begin() as session:
        row = await session.get_one(Agent, of_team.id)
        row.active = False
        session.add(row)
    await matter.resolve()
    await answer(matter, outcome="rejected")
    assert [task.assignee_id for task in await tasks(house.database)] == [None, of_team.id, of_queue.id]


async def test_told_to_supervisors_without_a_figure_and_hidden_from_agents(
    matter: Matter, house: House, supervisor: Caller, admin: Caller
) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    await matter.change(queue_id=queue)
    await matter.resolve()
    await answer(matter, outcome="confirmed", csat=1, comment="never again", anonymous=True)
    [opened] = await told(house.database, "recovery.opened")
    assert (opened.scope, opened.agents) == ("agents", [supervisor.id])
    assert not {"csat", "nps", "score", "comment"} & opened.payload["task"].keys()
    assert "never again" not in str(opened.payload)
    seen = [event["type"] for event in await agent.all(f"/conversations/{matter.conversation_id}/events")]
    assert "conversation.closed" in seen
    assert not [type for type in seen if type.startswith("recovery.")]
    for path in ("/recovery-tasks", f"/recovery-tasks/{opened.payload['task']['id']}"):
        await agent.call("GET", path, expect=403)
    await agent.call("POST", f"/conversations/{matter.conversation_id}/recovery-tasks", json={}, expect=403)
    [listed] = await supervisor.all("/recovery-tasks")
    assert (listed["cause"], listed["score"]) == ("low_score", None)
    types = [event["type"] for event in await admin.all(f"/conversations/{matter.conversation_id}/events")]
    assert "recovery.opened" in types


async def test_who_rated_anonymously_is_not_asked_in_the_matter(matter: Matter, supervisor: Caller) -> None:
    await matter.resolve()
    await answer(matter, outcome="confirmed", csat=1, anonymous=True)
    [task] = await supervisor.all("/recovery-tasks")
    done = await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, DONE)
    assert (done["state"], done["asked_at"], len(await receipts(matter))) == ("done", None, 1)
    with pytest.raises(AlreadyAnswered):
        await answer(matter, outcome="rejected")
    known = await supervisor.patch(f"/recovery-tasks/{task['id']}", done["version"], {"state": "confirmed"})
    assert (known["state"], known["via"]) == ("confirmed", "by_hand")
    assert await figures(matter.database) == (1, 1)


async def test_who_rated_openly_is_seen_asked_and_content(matter: Matter, supervisor: Caller) -> None:
    await matter.resolve()
    await answer(matter, outcome="confirmed", csat=2, nps=3, comment="too slow")
    [task] = await supervisor.all("/recovery-tasks", assignee_id="none")
    assert (task["score"]["csat"], task["score"]["comment"], task["overdue"]) == (2, "too slow", False)
    path = f"/recovery-tasks/{task['id']}"
    begun = await supervisor.patch(path, 1, {"state": "in_progress", "assignee_id": str(supervisor.id)})
    lacking = await supervisor.patch(path, begun["version"], {"state": "done", "text": "x"}, expect=422)
    assert lacking["field"] == "remedy"
    paid = {**DONE, "amount": "12.5", "currency": "EUR"}
    done = await supervisor.patch(path, begun["version"], paid)
    assert (done["amount"], done["asked_at"] is not None) == ("12.50", True)
    question = (await receipts(matter))[-1]
    assert "A new hinge is on its way." in question.text
    assert "12.50 EUR" in question.text
    assert question.text.splitlines()[-1].startswith("http")
    assert question.content["recovery"]["remedy"] == "compensation"
    await answer(matter, outcome="confirmed", csat=5)
    [task] = await supervisor.all("/recovery-tasks", state="confirmed", conversation_id=matter.conversation_id)
    assert (task["via"], task["state"]) == ("test", "confirmed")
    assert await figures(matter.database) == (1, 1)
    assert (await matter.conversation()).status == ConversationStatus.CLOSED
    over = await supervisor.patch(path, task["version"], {"text": "y"}, expect=409)
    assert over["state"] == "confirmed"


async def test_when_it_did_not_help_the_matter_goes_on(matter: Matter, supervisor: Caller) -> None:
    await matter.resolve()
    await answer(matter, outcome="confirmed", csat=1)
    [task] = await supervisor.all("/recovery-tasks")
    await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, DONE)
    await answer(matter, outcome="rejected")
    [task] = await supervisor.all("/recovery-tasks")
    assert task["state"] == "failed"
    conversation = await matter.conversation()
    assert (conversation.status, conversation.assignee_id) == (ConversationStatus.OPEN, matter.agent.id)
    [reopened] = await matter.events("conversation.reopened")
    assert reopened["reason"] == "recovery_failed"


async def test_when_the_window_is_over_what_they_said_is_kept(matter: Matter, supervisor: Caller) -> None:
    await matter.resolve()
    await answer(matter, outcome="confirmed", csat=1)
    [task] = await supervisor.all("/recovery-tasks")
    await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, DONE)
    async with matter.database.begin() as session:
        await session.execute(text("UPDATE conversation SET reopen_until = now()"))
    await answer(matter, outcome="rejected", comment="still loose")
    [task] = await supervisor.all("/recovery-tasks")
    assert (task["state"], task["score"]["comment"]) == ("failed", "still loose")
    assert (await matter.conversation()).status == ConversationStatus.CLOSED


@pytest.mark.parametrize(("outcome", "states"), [("confirmed", ["confirmed"]), ("rejected", ["failed", "open"])])
async def test_after_a_rejection_the_next_receipt_decides(
    matter: Matter, supervisor: Caller, outcome: str, states: list[str]
) -> None:
    await matter.resolve()
    await answer(matter, outcome="rejected")
    [task] = await supervisor.all("/recovery-tasks")
    await supervisor.patch(f"/recovery-tasks/{task['id']}", 1, DONE)
    assert len(await receipts(matter)) == 1, "nobody is asked apart while the matter goes on"
    await matter.resolve()
    await answer(matter, outcome=outcome)
    assert sorted(each.state for each in await tasks(matter.database)) == states
    assert await figures(matter.database) == (len(states), int(outcome == "confirmed"))


async def test_silence_confirms_it_too(matter: Matter) -> None:
    await matter.resolve()
    await answer(matter, outcome="rejected")
    await matter.resolve()
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        cycle = await queries.newest_cycle(session, held)
        assert cycle is not None
        await closing.confirm(session, held, cycle, via=closing.SILENCE)
    [task] = await tasks(matter.database)
    assert (task.state, task.decided_via) == ("confirmed", "timeout")


async def test_by_hand(matter: Matter, supervisor: Caller, house: House) -> None:
    path = f"/conversations/{matter.conversation_id}/recovery-tasks"
    agent = await house.agent()
    for given, field in (
        ({"assignee_id": str(agent.id)}, "assignee_id"),
        ({"due_at": "2020-01-01T00:00:00Z"}, "due_at"),
        ({"amount": "5"}, "currency"),
        ({"amount": "-1", "currency": "EUR"}, "amount"),
        ({"currency": "euro", "amount": "1"}, "currency"),
    ):
        refused = await supervisor.post(path, given, expect=422)
        assert refused["field"] == field, refused
    made = await supervisor.post(path, {"remedy": "apology", "assignee_id": str(supervisor.id)})
    assert (made["cause"], made["cycle_id"], made["remedy"]) == ("by_hand", None, "apology")
    again = await supervisor.post(path, {}, expect=409)
    assert again["code"] == "already-exists"
    await supervisor.patch(f"/recovery-tasks/{made['id']}", 1, {"state": "cancelled"})
    await matter.resolve()
    second = await supervisor.post(path, {})
    assert second["cycle_id"] == str(matter.cycle_id)
    await answer(matter, csat=1)
    assert len(await tasks(matter.database)) == 2, "somebody has taken care of this cycle"
    assert await figures(matter.database) == (1, 0)


async def test_lists_and_versions(database: Database, vault: Vault, supervisor: Caller) -> None:
    for _ in range(3):
        matter = await make(database, vault)
        await matter.resolve()
        await answer(matter, outcome="rejected")
    first, *_ = rows = await supervisor.all("/recovery-tasks", limit=1)
    assert [row["due_at"] for row in rows] == sorted(row["due_at"] for row in rows)
    await supervisor.call("PATCH", f"/recovery-tasks/{first['id']}", json={"text": "x"}, expect=428)
    await supervisor.patch(f"/recovery-tasks/{first['id']}", 7, {"text": "x"}, expect=412)
    await supervisor.patch(f"/recovery-tasks/{first['id']}", 1, {"assignee_id": str(supervisor.id)})
    assert len(await supervisor.all("/recovery-tasks", assignee_id=supervisor.id)) == 1
    assert len(await supervisor.all("/recovery-tasks", assignee_id="none")) == 2
    assert await supervisor.all("/recovery-tasks", overdue=True) == []
    await pass_time(database, 90_000)
    assert len(await supervisor.all("/recovery-tasks", overdue=True, state="open")) == 3
    assert await supervisor.all("/recovery-tasks", overdue=False) == []


async def test_overdue_is_told_once_by_several_loops_to_whom_it_concerns(
    matter: Matter, others: list[Database], house: House, supervisor: Caller
) -> None:
    chief = await house.agent(role=Role.ADMIN)
    mine = await house.agent(role=Role.SUPERVISOR)
    await matter.resolve()
    await answer(matter, outcome="rejected")
    [task] = await tasks(matter.database)
    await supervisor.patch(f"/recovery-tasks/{task.id}", 1, {"assignee_id": str(mine.id)})
    loops = [Overdue(database) for database in (matter.database, *others)]
    wait = await loops[0].step()
    assert wait is not None
    assert 86_000 < wait <= 86_400
    assert await told(matter.database, "recovery.overdue") == []
    await pass_time(matter.database, 86_400)
    for _ in range(3):
        await asyncio.gather(*(loop.step() for loop in loops))
    [late] = await told(matter.database, "recovery.overdue")
    assert set(late.agents) == {mine.id, chief.id}
    assert await loops[0].step() is None
    version = (await tasks(matter.database))[0].version
    later = datetime.now(UTC) + timedelta(hours=1)
    await supervisor.patch(f"/recovery-tasks/{task.id}", version, {"due_at": later.isoformat()})
    await pass_time(matter.database, 7_200)
    await asyncio.gather(*(loop.step() for loop in loops))
    assert len(await told(matter.database, "recovery.overdue")) == 2


async def test_one_that_nobody_has_is_told_to_all_supervisors_and_a_done_one_to_nobody(
    database: Database, vault: Vault, supervisor: Caller
) -> None:
    ids: list[UUID] = []
    for _ in range(2):
        matter = await make(database, vault)
        await matter.resolve()
        await answer(matter, outcome="rejected")
        ids.append((await tasks(database))[-1].id)
    await supervisor.patch(f"/recovery-tasks/{ids[0]}", 1, DONE)
    await pass_time(database, 90_000)
    await Overdue(database).step()
    [late] = await told(database, "recovery.overdue")
    assert (late.payload["task"]["id"], late.agents) == (str(ids[1]), [supervisor.id])


async def test_the_loop_never_speaks_before_its_time(matter: Matter) -> None:
    """By the database's clock, however often it looks."""
    async with matter.database.begin() as session:
        session.add(ClosingPolicy(code="quick", name="Quick", position=1, low_csat=None, recovery_due_s=0.4))
    await matter.resolve()
    await answer(matter, outcome="rejected")
    loop = Overdue(matter.database)
    while (wait := await loop.step()) is not None:
        if wait:
            await asyncio.sleep(wait / 3)
    [task] = await tasks(matter.database)
    [late] = await told(matter.database, "recovery.overdue")
    assert task.told_at is not None
    assert task.told_at >= task.due_at
    assert late.created_at >= task.due_at


def test_which_state_may_follow() -> None:
    row = {"remedy": "apology", "text": "Sorry.", "amount": None, "currency": None}
    allowed = {
        (before, after)
        for before in RecoveryState
        for after in RecoveryState
        if before != after and _may({**row, "state": before}, after)
    }
    assert allowed == {
        ("open", "in_progress"), ("open", "done"), ("open", "cancelled"),
        ("in_progress", "open"), ("in_progress", "done"), ("in_progress", "cancelled"),
        ("done", "in_progress"), ("done", "confirmed"), ("done", "failed"),
    }  # fmt: skip
    with pytest.raises(Invalid):
        require({**row, "state": "done"}, {"amount": Decimal(1)}, ["amount"])


def _may(before: dict[str, Any], after: RecoveryState) -> bool:
    try:
        require(before, {"state": after}, ["state"])
    except Conflict:
        return False
    return True


def test_the_question_in_both_languages() -> None:
    for language, word in (("en-GB", "looked into"), ("zh-CN", "重新跟进")):
        said = recovery_words.question(language=language, text="Done.", url="http://x", name="  Mei\nLi ", amount=None)
        assert word in said
        assert "Mei Li" in said
        assert said.endswith("\nhttp://x")
    assert recovery_words.subject_of(language="zh", subject="a\nb") == "现在解决了吗？a b"
    amounts = ["0", "10", "12.5", "1000000", "0.125"]
    assert [recovery_words.plain(Decimal(each)) for each in amounts] == ["0", "10", "12.50", "1000000", "0.125"]
