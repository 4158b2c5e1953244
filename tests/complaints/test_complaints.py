"""Complaints through the API: registered as they are classified, analysed, handled, improved, counted and taken away."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.complaints.actions import Reminder
from app.models import Complaint, Event
from tests.desk.house import Caller, House

TODAY = datetime.now(UTC).date()


@pytest.fixture
async def agent(house: House) -> Caller:
    return await house.agent(await house.default_queue())


async def complained(house: House, agent: Caller, **fields: Any) -> UUID:
    """A complaint that `agent` works on."""
    given = {"matter": "complaint", "complaint_type": "product", "severity": "minor", **fields}
    return await house.conversation(await house.default_queue(), assignee=agent, **given)


async def events(house: House, type: str) -> list[Event]:
    async with house.database.begin() as session:
        found = await session.exec(select(Event).where(col(Event.type) == type).order_by(col(Event.id)))
        return list(found.all())


async def test_registered_when_it_is_classified_as_one_and_never_twice(house: House, agent: Caller) -> None:
    conversation = await house.conversation(await house.default_queue(), assignee=agent)
    await agent.call("GET", f"/complaints/{conversation}", expect=404)
    body = {
        "category": "complex",
        "matter": "complaint",
        "complaint_type": "attitude",
        "severity": "major",
        "reason": "x",
    }
    for _ in range(2):
        await agent.post(f"/conversations/{conversation}/classify", body, expect=200)
    found = await agent.get(f"/complaints/{conversation}")
    assert (found["type"], found["severity"], found["progress"]) == ("attitude", "major", "registered")
    assert found["number"].startswith(f"C-{TODAY.year}-")
    assert found["complainant"]["name"] == "Mei"
    assert [item["conversation_id"] for item in await agent.all("/complaints")] == [str(conversation)]


async def test_one_that_was_none_leaves_the_register_and_keeps_its_record(house: House, agent: Caller) -> None:
    conversation = await complained(house, agent)
    await agent.patch(f"/complaints/{conversation}", 1, {"what": "It broke."})
    enquiry = {"category": "routine", "matter": "enquiry", "reason": "they only asked"}
    await agent.post(f"/conversations/{conversation}/classify", enquiry, expect=200)
    assert await agent.all("/complaints") == []
    again = {"category": "routine", "matter": "complaint", "complaint_type": "product", "reason": "they did complain"}
    await agent.post(f"/conversations/{conversation}/classify", again, expect=200)
    [listed] = await agent.all("/complaints")
    assert (listed["what"], listed["version"]) == ("It broke.", 2)


async def test_the_record_is_versioned_and_told(house: House, agent: Caller) -> None:
    conversation = await complained(house, agent)
    given = {"what": "A leg broke.", "product": "Chair", "demands": "A new one.", "result": "Replaced."}
    changed = await agent.patch(f"/complaints/{conversation}", 1, given)
    assert {name: changed[name] for name in given} == given
    assert changed["version"] == 2
    await agent.patch(f"/complaints/{conversation}", 1, {"what": "late"}, expect=412)
    await agent.call("PATCH", f"/complaints/{conversation}", json={"what": "x"}, expect=428)
    [told] = await events(house, "complaint.updated")
    assert (told.conversation_id, sorted(told.payload["changed"])) == (conversation, sorted(given))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"what": ""}, "what"),
        ({"anonymous": None}, "anonymous"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"severity": "major"}, "severity"),
        ({"occurred_at": "0001-01-01T00:00:00Z"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"occurred_at": f"{TODAY.year + 2}-01-01T00:00:00Z"}, "occurred_at"),
        ({"what": "\u200b\u3164 "}, "what"),
    ],
)
async def test_a_refused_change_names_the_field(house: House, agent: Caller, given: dict[str, Any], field: str) -> None:
    conversation = await complained(house, agent)
    answer = await agent.patch(f"/complaints/{conversation}", 1, given, expect=422)
    assert answer["field"] == field


async def test_steps_go_forward_only_and_the_analysis_meets_its_limit(house: House, agent: Caller) -> None:
    conversation = await complained(house, agent)
    analysed = await agent.post(f"/complaints/{conversation}/steps", {"progress": "analysed", "note": "A weak joint."})
    assert [(step["progress"], step["agent_id"]) for step in analysed["steps"]] == [("analysed", str(agent.id))]
    refused = await agent.post(f"/complaints/{conversation}/steps", {"progress": "registered"}, expect=409)
    assert refused["progress"] == "analysed"
    closed = await agent.post(f"/complaints/{conversation}/steps", {"progress": "closed"})
    assert [step["progress"] for step in closed["steps"]] == ["analysed", "closed"]
    assert closed["progress"] == "closed"


async def test_two_who_take_the_same_step_take_it_once(house: House, agent: Caller, supervisor: Caller) -> None:
    conversation = await complained(house, agent)
    path, step = f"/complaints/{conversation}/steps", {"progress": "handled"}
    answers = await asyncio.gather(*(caller.call("POST", path, json=step) for caller in (agent, supervisor) * 4))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_five_whys_and_a_tree(house: House, agent: Caller) -> None:
    conversation = await complained(house, agent)
    tree = [
        {
            "text": "A leg broke.",
            "root": False,
            "because": [
                {"text": "The joint is weak.", "root": True, "because": []},
                {"text": "It was overloaded.", "root": False, "because": []},
            ],
        }
    ]
    for causes in ([], tree, tree):
        answer = await agent.call("PUT", f"/complaints/{conversation}/causes", json={"causes": causes}, expect=200)
        assert answer.json()["causes"] == causes
    empty = {"causes": [{"text": "a", "because": [{"text": " "}]}]}
    refused = await agent.call("PUT", f"/complaints/{conversation}/causes", json=empty, expect=422)
    assert refused.json()["field"] == "causes.0.because.0.text"
    assert (await agent.get(f"/complaints/{conversation}"))["causes"] == tree


async def test_a_corrective_action_from_plan_to_effect(house: House, agent: Caller, supervisor: Caller) -> None:
    conversation, engineer = await complained(house, agent), await house.agent()
    plan = {"text": "A stronger joint.", "owner_id": str(engineer.id), "due_on": str(TODAY)}
    action = await agent.post(f"/complaints/{conversation}/actions", plan)
    assert (action["status"], action["overdue"], action["version"]) == ("not_started", False, 1)
    assert [item["id"] for item in await engineer.all("/corrective-actions")] == [action["id"]]
    assert await agent.all("/corrective-actions") == []
    path = f"/corrective-actions/{action['id']}"
    done = await engineer.patch(path, 1, {"status": "done", "effect": "None broke since."})
    assert done["done_at"] is not None
    stranger = await house.agent()
    await stranger.patch(path, 2, {"status": "cancelled"}, expect=404)
    again = await supervisor.patch(path, 2, {"status": "in_progress"})
    assert again["done_at"] is None
    nobody = {**plan, "owner_id": str(uuid4())}
    yesterday = {"due_on": str(TODAY - timedelta(days=1))}
    for wrong, field in ((nobody, "owner_id"), ({**plan, **yesterday}, "due_on"), ({**plan, "text": "\u2060"}, "text")):
        refused = await agent.post(f"/complaints/{conversation}/actions", wrong, expect=422)
        assert refused["field"] == field
    assert (await supervisor.patch(path, 3, yesterday, expect=422))["field"] == "due_on"


async def test_who_is_late_is_told_once_by_whoever_is_first(house: House, agent: Caller, supervisor: Caller) -> None:
    conversation, engineer = await complained(house, agent), await house.agent()
    plan = {"text": "A stronger joint.", "owner_id": str(engineer.id), "due_on": str(TODAY)}
    action = await agent.post(f"/complaints/{conversation}/actions", plan)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE corrective_action SET due_on = due_on - 1"))
    await agent.post(f"/complaints/{conversation}/actions", {**plan, "due_on": str(TODAY + timedelta(days=1))})
    await asyncio.gather(*(Reminder(house.database).step() for _ in range(4)))
    await Reminder(house.database).step()
    [told] = await events(house, "corrective_action.overdue")
    assert told.payload["action"]["id"] == action["id"]
    assert set(told.agents) == {engineer.id, supervisor.id}
    assert [item["id"] for item in await supervisor.all("/corrective-actions", overdue=True)] == [action["id"]]
    later = await engineer.patch(f"/corrective-actions/{action['id']}", 1, {"due_on": str(TODAY)})
    assert not later["overdue"]


async def test_an_anonymous_one_names_nobody_anywhere(house: House, agent: Caller, supervisor: Caller) -> None:
    conversation = await complained(house, agent)
    await agent.patch(f"/complaints/{conversation}", 1, {"anonymous": True})
    shown = [
        await agent.get(f"/complaints/{conversation}"),
        await supervisor.all("/complaints"),
        (await supervisor.call("GET", "/complaints/export", expect=200)).text,
        (await supervisor.call("GET", "/complaints/export", params={"format": "jsonl"}, expect=200)).text,
    ]
    assert "Mei" not in str(shown)
    assert "mei@example.org" not in str(shown)


async def test_filtered_counted_and_paged(house: House, agent: Caller, supervisor: Caller) -> None:
    first = await complained(house, agent, complaint_type="attitude", severity="major")
    second = await complained(house, agent)
    third = await complained(house, agent, owner_id=supervisor.id)
    await agent.patch(f"/complaints/{second}", 1, {"product": "Chair", "what": "100% broken"})
    await agent.post(f"/complaints/{third}/steps", {"progress": "closed"})

    async def found(**wanted: Any) -> list[str]:
        return [item["conversation_id"] for item in await supervisor.all("/complaints", **wanted)]

    assert await found(limit=1) == [str(third), str(second), str(first)]
    assert await found(type="attitude") == await found(severity="major") == [str(first)]
    assert await found(product="Chair") == await found(q="100%") == [str(second)]
    assert await found(progress="closed") == await found(agent_id=str(supervisor.id)) == [str(third)]
    assert await found(channel_type="voice") == []
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert await found(**{"from": future}) == []
    assert len(await found(to=future)) == 3
    by_type = await supervisor.get("/complaints/statistics")
    assert by_type["total"] == 3
    assert by_type["items"] == [
        {"value": "product", "complaints": 2, "closed": 1},
        {"value": "attitude", "complaints": 1, "closed": 0},
    ]
    by_agent = await supervisor.get("/complaints/statistics", params={"by": "agent", "progress": "closed"})
    assert by_agent["items"] == [{"value": {"id": str(supervisor.id), "name": "Ada"}, "complaints": 1, "closed": 1}]
    by_month = await supervisor.get("/complaints/statistics", params={"by": "month"})
    assert [item["value"] for item in by_month["items"]] == [f"{datetime.now(UTC):%Y-%m}"]
    refused = await supervisor.call(
        "GET", "/complaints", params={"from": future, "to": "2020-01-01T00:00:00Z"}, expect=422
    )
    assert refused.json()["field"] == "from"
    for name in ("product", "q", "channel_type"):
        refused = await supervisor.call("GET", "/complaints", params={name: "\x00"}, expect=422)
        assert refused.json()["field"] == name


async def test_others_complaints_are_not_there(house: House, agent: Caller) -> None:
    queue = await house.queue("Other")
    other = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=other, matter="complaint")
    assert await agent.all("/complaints") == []
    await agent.call("GET", f"/complaints/{conversation}", expect=404)
    await agent.call("GET", "/complaints/export", expect=403)
    mate = await house.agent(queue)
    await mate.post(f"/complaints/{conversation}/steps", {"progress": "handled"}, expect=409)


async def test_the_table_is_whole_and_starts_no_formula(
    house: House, agent: Caller, supervisor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.complaints.register.PAGE", 2)
    made = [await complained(house, agent) for _ in range(5)]
    await agent.patch(f"/complaints/{made[0]}", 1, {"what": '=HYPERLINK("x")\n"第二行", and more'})
    for conversation, said in zip(made[1:], ("＝1+1", "\ufeff=1", "\u200b ＠SUM(1)", "A ＝ B"), strict=True):
        await agent.patch(f"/complaints/{conversation}", 1, {"what": said})
    answer = await supervisor.call("GET", "/complaints/export", expect=200)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["conversation_id"] for row in rows] == [str(each) for each in made]
    assert rows[0]["what"] == '\'=HYPERLINK("x")\n"第二行", and more'
    assert [row["what"] for row in rows[1:]] == ["'＝1+1", "'\ufeff=1", "'\u200b ＠SUM(1)", "A ＝ B"]
    lines = (await supervisor.call("GET", "/complaints/export", params={"format": "jsonl"}, expect=200)).content
    assert [orjson.loads(line)["conversation_id"] for line in lines.splitlines()] == [str(each) for each in made]


async def test_what_was_a_complaint_before_the_register_was_there_is_in_it(house: House, agent: Caller) -> None:
    """As on an installation that is brought to this version."""
    from app.migrate import ROOT

    conversation = await complained(house, agent)
    async with house.database.begin() as session:
        await session.execute(text("DELETE FROM complaint"))
    async with house.database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await raw.driver_connection.execute((ROOT / "app/complaints/register.sql").read_text())
        await connection.commit()
    async with house.database.begin() as session:
        assert (await session.exec(select(Complaint.conversation_id))).all() == [conversation]
