"""Teams, queues and their settings over HTTP: who serves what, what is refused and why, who waits in which order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.clock import now
from app.models import Calendar, QueueCount, QueueDelta, QueueEntry
from app.models.words import Role
from app.routing import members
from tests.desk.house import Caller, House

NOBODY = "01930000-0000-7000-8000-000000000000"
NEW_AGENT = {"name": "Ada", "email": "ada@example.org"}


async def test_who_is_in_a_team_serves_its_queues(house: House, admin: Caller) -> None:
    agent, queue = await house.agent(), await house.queue()
    conversation = await house.conversation(queue)
    team = await admin.post("/teams", {"name": "Joiners"})
    await admin.call("PUT", f"/teams/{team['id']}/members/{agent.id}", expect=204)
    await agent.call("GET", f"/conversations/{conversation}", expect=404)

    await admin.call("PUT", f"/queues/{queue}/teams/{team['id']}", json={"level": 2}, expect=204)
    await agent.get(f"/conversations/{conversation}")
    assert [item["id"] for item in await agent.all("/conversations")] == [str(conversation)]
    assert [item["id"] for item in await admin.all("/agents", queue_id=queue)] == [str(agent.id)]
    assert [item["id"] for item in await admin.all("/agents", team_id=team["id"])] == [str(agent.id)]
    shown = await admin.get(f"/agents/{agent.id}")
    assert (shown["queue_ids"], shown["queues"], shown["team_ids"]) == ([str(queue)], [], [team["id"]])
    [member] = await agent.all(f"/queues/{queue}/members")
    assert (member["agent_id"], member["level"], member["own_level"]) == (str(agent.id), 2, None)
    assert await agent.all(f"/queues/{queue}/teams") == [{"team_id": team["id"], "name": "Joiners", "level": 2}]
    async with house.database.begin() as session:
        assert await members.queues_of(session, agent.id) == [queue]

    await admin.call("DELETE", f"/teams/{team['id']}/members/{agent.id}", expect=204)
    await agent.call("GET", f"/conversations/{conversation}", expect=404)
    assert await admin.all(f"/queues/{queue}/members") == []


async def test_team_that_is_gone_serves_nothing(house: House, admin: Caller) -> None:
    agent, queue = await house.agent(), await house.queue()
    team = await admin.post("/teams", {"name": "Joiners"})
    await admin.patch(f"/agents/{agent.id}", 1, {"team_ids": [team["id"]]})
    await admin.call("PUT", f"/queues/{queue}/teams/{team['id']}", expect=204)
    assert (await admin.get(f"/agents/{agent.id}"))["queue_ids"] == [str(queue)]
    await admin.call("DELETE", f"/teams/{team['id']}", expect=204)
    shown = await admin.get(f"/agents/{agent.id}")
    assert (shown["queue_ids"], shown["team_ids"]) == ([], [])
    await admin.call("GET", f"/teams/{team['id']}", expect=404)


async def test_teams_are_named_listed_and_changed(house: House, admin: Caller) -> None:
    agent = await house.agent()
    made = [await admin.post("/teams", {"name": name}) for name in ("A", "B")]
    assert (await admin.post("/teams", {"name": "A"}, expect=409))["field"] == "name"
    changed = await admin.patch(f"/teams/{made[0]['id']}", 1, {"name": "C"})
    assert (changed["name"], changed["version"]) == ("C", 2)
    await admin.patch(f"/teams/{made[0]['id']}", 1, {"name": "D"}, expect=412)
    await admin.call("PUT", f"/teams/{made[1]['id']}/members/{agent.id}", expect=204)
    await admin.call("PUT", f"/teams/{made[1]['id']}/members/{agent.id}", expect=204)
    assert [team["name"] for team in await agent.all("/teams")] == ["C", "B"]
    assert [team["name"] for team in await agent.all("/teams", agent_id=agent.id)] == ["B"]
    assert [mate["agent_id"] for mate in await agent.all(f"/teams/{made[1]['id']}/members")] == [str(agent.id)]
    await admin.call("PUT", f"/teams/{made[1]['id']}/members/{NOBODY}", expect=404)


async def test_members_have_levels(house: House, admin: Caller) -> None:
    queue, other = await house.queue(), await house.queue("Other")
    body = {**NEW_AGENT, "queues": [{"queue_id": str(queue), "level": 3}]}
    agent = await admin.post("/agents", body)
    assert agent["queues"] == [{"queue_id": str(queue), "level": 3}]
    path = f"/queues/{queue}/members/{agent['id']}"
    await admin.call("PUT", path, json={"level": 2}, expect=204)
    assert (await admin.all(f"/queues/{queue}/members"))[0]["level"] == 2
    await admin.call("PUT", path, expect=204)
    assert (await admin.all(f"/queues/{queue}/members"))[0]["level"] == 1
    for wrong in (0, 10, "high"):
        assert (await admin.call("PUT", path, json={"level": wrong}, expect=422)).json()["field"] == "level"
    moved = await admin.patch(f"/agents/{agent['id']}", 1, {"queue_ids": [str(other)]})
    assert moved["queues"] == [{"queue_id": str(other), "level": 1}]


async def test_the_lowest_level_counts(house: House, admin: Caller) -> None:
    queue, agent = await house.queue(), await house.agent()
    team = await admin.post("/teams", {"name": "T"})
    await admin.call("PUT", f"/teams/{team['id']}/members/{agent.id}", expect=204)
    await admin.call("PUT", f"/queues/{queue}/teams/{team['id']}", json={"level": 1}, expect=204)
    await admin.call("PUT", f"/queues/{queue}/members/{agent.id}", json={"level": 4}, expect=204)
    [member] = await admin.all(f"/queues/{queue}/members")
    assert (member["level"], member["own_level"]) == (1, 4)
    await admin.call("DELETE", f"/queues/{queue}/teams/{team['id']}", expect=204)
    [member] = await admin.all(f"/queues/{queue}/members")
    assert (member["level"], member["own_level"]) == (4, 4)


BAD_PLACES: list[tuple[dict[str, Any], str]] = [
    ({"queue_ids": [], "queues": []}, "queues"),
    ({"team_ids": [NOBODY]}, "team_ids"),
    ({"queues": [{"queue_id": NOBODY}]}, "queues"),
    ({"queues": [{"queue_id": NOBODY, "level": 0}]}, "queues.0.level"),
]


async def test_refused_place_is_named(admin: Caller) -> None:
    for place, field in BAD_PLACES:
        assert (await admin.post("/agents", {**NEW_AGENT, **place}, expect=422))["field"] == field, place


async def test_team_alone_is_place_enough(house: House, admin: Caller) -> None:
    team = await admin.post("/teams", {"name": "T"})
    made = await admin.post("/agents", {**NEW_AGENT, "team_ids": [team["id"]]})
    assert (made["queue_ids"], made["team_ids"]) == ([], [team["id"]])


async def test_queue_keeps_its_settings(house: House, admin: Caller) -> None:
    calendar = Calendar(name="Office")
    await house.add(calendar)
    over = await house.queue("Over")
    given = {
        "name": "Repairs",
        "assignment": "direct",
        "rings": [{"after_s": 60, "max_level": 3}, {"after_s": 30, "drop_skills": ["wood"]}],
        "calendar_id": str(calendar.id),
        "when_closed": "overflow",
        "overflow_queue_id": str(over),
        "overflow_after_s": 120.5,
        "max_wait_s": 600,
        "sticky_window_s": 0,
        "sticky_wait_s": 15,
    }
    made = await admin.post("/queues", given)
    rings = [
        {"after_s": 30.0, "drop_skills": ["wood"], "max_level": None},
        {"after_s": 60.0, "drop_skills": [], "max_level": 3},
    ]
    assert {name: made[name] for name in given} == {**given, "rings": rings}
    changed = await admin.patch(f"/queues/{made['id']}", 1, {"rings": [], "calendar_id": None, "max_wait_s": None})
    assert (changed["rings"], changed["calendar_id"], changed["max_wait_s"]) == ([], None, None)
    assert changed["overflow_queue_id"] == str(over)
    stored = (await house.context.catalog.current()).queue(UUID(made["id"]))
    assert stored is not None
    assert stored.rings == []


BAD_QUEUES: list[tuple[dict[str, Any], str]] = [
    ({"assignment": "lottery"}, "assignment"),
    ({"rings": [{"after_s": 0, "max_level": 1}]}, "rings.0.after_s"),
    ({"rings": [{"after_s": 5}]}, "rings.0"),
    ({"rings": [{"after_s": 5, "max_level": 1}, {"after_s": 5, "max_level": 2}]}, "rings.1.after_s"),
    ({"rings": [{"after_s": 5, "max_level": 10}]}, "rings.0.max_level"),
    ({"rings": [{"after_s": 5, "max_level": 3}, {"after_s": 9, "max_level": 2}]}, "rings.1.max_level"),
    ({"rings": [{"after_s": 9, "max_level": 2}, {"after_s": 5, "max_level": 3}]}, "rings.0.max_level"),
    (
        {
            "rings": [
                {"after_s": 5, "max_level": 3},
                {"after_s": 7, "drop_skills": ["x"]},
                {"after_s": 9, "max_level": 1},
            ]
        },
        "rings.2.max_level",
    ),
    ({"rings": [{"after_s": 5, "widen": True}]}, "rings.0.widen"),
    ({"rings": [{"after_s": 5, "drop_skills": [1]}]}, "rings.0.drop_skills.0"),
    ({"calendar_id": NOBODY}, "calendar_id"),
    ({"when_closed": "sleep"}, "when_closed"),
    ({"when_closed": "overflow"}, "overflow_queue_id"),
    ({"overflow_queue_id": NOBODY}, "overflow_queue_id"),
    ({"overflow_after_s": 5}, "overflow_queue_id"),
    ({"overflow_after_s": -1}, "overflow_after_s"),
    ({"max_wait_s": 0}, "max_wait_s"),
    ({"sticky_window_s": -1}, "sticky_window_s"),
    ({"sticky_wait_s": -1}, "sticky_wait_s"),
]


async def test_refused_setting_is_named(house: House, admin: Caller) -> None:
    queue = await house.queue()
    for body, field in BAD_QUEUES:
        assert (await admin.post("/queues", {"name": "Q", **body}, expect=422))["field"] == field, body
        assert (await admin.patch(f"/queues/{queue}", 1, body, expect=422))["field"] == field, body


async def test_overflow_does_not_go_round_in_circles(house: House, admin: Caller) -> None:
    a, b, c = [str(await house.queue(name)) for name in "ABC"]
    await admin.patch(f"/queues/{a}", 1, {"overflow_queue_id": b})
    await admin.patch(f"/queues/{b}", 1, {"overflow_queue_id": c})
    for queue in (c, b, a):
        version = (await admin.get(f"/queues/{c}"))["version"]
        problem = await admin.patch(f"/queues/{c}", version, {"overflow_queue_id": queue}, expect=422)
        assert problem["field"] == "overflow_queue_id"
        assert "circles" in problem["detail"]
    problem = (await admin.call("DELETE", f"/queues/{c}", expect=409)).json()
    assert "B overflows into it" in problem["detail"]
    await admin.patch(f"/queues/{b}", 2, {"overflow_queue_id": None})
    await admin.call("DELETE", f"/queues/{c}", expect=204)
    assert (await admin.patch(f"/queues/{b}", 3, {"overflow_queue_id": c}, expect=422))["field"] == "overflow_queue_id"


async def test_two_changes_at_once_do_not_close_a_circle(house: House, admin: Caller) -> None:
    """Each alone is fine: only one of them comes first."""
    for _ in range(5):
        ids = [str(await house.queue(f"{n}{_}")) for n in range(4)]
        answers = await asyncio.gather(
            *(
                admin.call(
                    "PATCH",
                    f"/queues/{queue}",
                    json={"overflow_queue_id": ids[(n + 1) % 4]},
                    headers={"If-Match": '"1"'},
                )
                for n, queue in enumerate(ids)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 422]


async def test_active_queues_have_names_of_their_own(house: House, admin: Caller) -> None:
    made = await admin.post("/queues", {"name": "Spare parts"})
    problem = await admin.post("/queues", {"name": "spare Parts"}, expect=409)
    assert (problem["code"], problem["field"]) == ("already-exists", "name")
    other = await admin.post("/queues", {"name": "Other"})
    assert (await admin.patch(f"/queues/{other['id']}", 1, {"name": "Spare parts"}, expect=409))["field"] == "name"
    await admin.call("DELETE", f"/queues/{made['id']}", expect=204)
    again = await admin.post("/queues", {"name": "Spare parts"})
    problem = await admin.patch(f"/queues/{made['id']}", 2, {"active": True}, expect=409)
    assert problem["field"] == "name"
    answers = await asyncio.gather(*(admin.call("POST", "/queues", json={"name": "Twin"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await admin.get(f"/queues/{again['id']}"))["active"] is True


async def test_what_waits_goes_by_the_new_settings(house: House, admin: Caller) -> None:
    queue = await house.queue()
    conversation = await house.conversation(queue)
    async with house.database.begin() as session:
        assert (await session.get_one(QueueEntry, conversation)).next_at is None
    await admin.patch(f"/queues/{queue}", 1, {"max_wait_s": 60})
    async with house.database.begin() as session:
        assert (await session.get_one(QueueEntry, conversation)).next_at is not None


async def test_queue_shows_how_many_wait(house: House, admin: Caller) -> None:
    """Counted and not yet added up alike; how the differences come about is routing's own test."""
    queue = await house.queue()
    async with house.database.begin() as session:
        await session.execute(text("DELETE FROM queue_delta"))
    assert (await admin.get(f"/queues/{queue}"))["counts"] == {"waiting": 0, "offered": 0}
    await house.add(
        QueueCount(queue_id=queue, waiting=5, offered=2),
        QueueDelta(queue_id=queue, waiting=3, offered=-1),
        QueueDelta(queue_id=queue, waiting=-1, offered=1),
    )
    assert (await admin.get(f"/queues/{queue}"))["counts"] == {"waiting": 7, "offered": 2}


async def test_who_waits_is_shown_in_the_order_of_service(house: House, supervisor: Caller) -> None:
    queue, other = await house.queue(), await house.queue("Other")
    member, stranger = await house.agent(queue), await house.agent(other)
    start = now()
    expected: list[str] = []
    for number in range(7):
        conversation = await house.conversation(queue)
        async with house.database.begin() as session:
            entry = await session.get_one(QueueEntry, conversation)
            entry.enqueued_at = start - timedelta(seconds=number)
            entry.order_at = start - timedelta(seconds=number // 2 * 100)  # some at the very same moment
            entry.boosts, entry.ring = {"tier:vip": 900}, number
        expected.append(str(conversation))
    await house.conversation(other)
    whole = await supervisor.all(f"/queues/{queue}/entries")
    order = {item["conversation"]["id"]: (item["order_at"], item["conversation"]["id"]) for item in whole}
    assert [item["conversation"]["id"] for item in whole] == sorted(expected, key=order.__getitem__)
    for limit in (1, 2, 3, 7, 200):
        assert [item["ring"] for item in await member.all(f"/queues/{queue}/entries", limit=limit)] == [
            item["ring"] for item in whole
        ]
    first = whole[0]
    assert (first["state"], first["boosts"], first["weight"]) == ("waiting", {"tier:vip": 900.0}, 1)
    assert 5.5 < first["waited_s"] < 600
    await stranger.call("GET", f"/queues/{queue}/entries", expect=403)
    await supervisor.call("GET", f"/queues/{NOBODY}/entries", expect=404)
    for cursor in ("AAAA", "!!!"):
        problem = (await member.call("GET", f"/queues/{queue}/entries", params={"cursor": cursor}, expect=422)).json()
        assert problem["field"] == "cursor"


ADMIN_ONLY = [
    ("POST", "/teams"),
    ("PATCH", f"/teams/{NOBODY}"),
    ("DELETE", f"/teams/{NOBODY}"),
    ("PUT", f"/teams/{NOBODY}/members/{NOBODY}"),
    ("DELETE", f"/teams/{NOBODY}/members/{NOBODY}"),
    ("PUT", f"/queues/{NOBODY}/teams/{NOBODY}"),
    ("DELETE", f"/queues/{NOBODY}/teams/{NOBODY}"),
    ("POST", "/boosts"),
    ("PATCH", f"/boosts/{NOBODY}"),
    ("DELETE", f"/boosts/{NOBODY}"),
    ("POST", "/graded-responses"),
    ("PATCH", f"/graded-responses/{NOBODY}"),
    ("DELETE", f"/graded-responses/{NOBODY}"),
]


async def test_set_up_is_for_administrators(house: House, supervisor: Caller, admin: Caller) -> None:
    agent = await house.agent()
    for method, path in ADMIN_ONLY:
        for caller in (supervisor, agent):
            assert (await caller.call(method, path, expect=403)).json()["role"] == "admin", (method, path)
    for path in ("/boosts", "/graded-responses"):
        await supervisor.get(path)
        await agent.call("GET", path, expect=403)
        assert (await admin.call("GET", f"{path}/{NOBODY}", expect=404)).json()["code"] == "not-found"


@pytest.mark.parametrize("path", ["/queues", "/agents", "/teams", "/conversations", "/contacts", "/boosts"])
async def test_filter_that_is_not_known_is_refused(admin: Caller, path: str) -> None:
    problem = (await admin.call("GET", path, params={"colour": "red"}, expect=422)).json()
    assert (problem["code"], problem["field"]) == ("invalid", "colour")
    await admin.get(path, params={"limit": 1})


async def test_unknown_filter_tells_strangers_nothing(house: House) -> None:
    nobody = Caller(house.http, "rt_agent_nobody")
    await nobody.call("GET", "/queues", params={"colour": "red"}, expect=401)


async def test_boosts_are_data(house: House, admin: Caller) -> None:
    made = await admin.post("/boosts", {"fact": "repeat", "value": "030", "boost_s": 120})
    assert (made["fact"], made["value"], made["boost_s"], made["version"]) == ("repeat", "30", 120.0, 1)
    assert (await admin.post("/boosts", {"fact": "repeat", "value": "30", "boost_s": 1}, expect=409))[
        "field"
    ] == "value"
    again = await admin.post("/boosts", {"fact": "tier", "value": "VIP", "boost_s": 1}, expect=409)
    assert (again["code"], again["field"]) == ("already-exists", "value")
    changed = await admin.patch(f"/boosts/{made['id']}", 1, {"boost_s": 60})
    assert (changed["boost_s"], changed["version"]) == (60.0, 2)
    await admin.patch(f"/boosts/{made['id']}", 1, {"boost_s": 5}, expect=412)
    assert (await admin.patch(f"/boosts/{made['id']}", 2, {"value": "soon"}, expect=422))["field"] == "value"
    assert [boost["id"] for boost in await admin.all("/boosts", fact="repeat") if boost["value"] == "30"] == [
        made["id"]
    ]
    await admin.call("DELETE", f"/boosts/{made['id']}", expect=204)
    await admin.call("GET", f"/boosts/{made['id']}", expect=404)


BAD_BOOSTS = [
    ({"fact": "moon", "value": "full", "boost_s": 1}, "fact"),
    ({"fact": "tier", "value": "  ", "boost_s": 1}, "value"),
    ({"fact": "tier", "value": "vip", "boost_s": -1}, "boost_s"),
    ({"fact": "repeat", "value": "1.5", "boost_s": 1}, "value"),
    ({"fact": "repeat", "value": "0", "boost_s": 1}, "value"),
    ({"fact": "repeat", "value": "٣", "boost_s": 1}, "value"),
    ({"fact": "severity", "value": "awful", "boost_s": 1}, "value"),
    ({"fact": "matter", "value": "gossip", "boost_s": 1}, "value"),
]


async def test_refused_boost_names_the_field(admin: Caller) -> None:
    for body, field in BAD_BOOSTS:
        assert (await admin.post("/boosts", body, expect=422))["field"] == field, body


async def test_graded_responses_are_data(house: House, admin: Caller) -> None:
    body = {"code": "own", "name": "Own", "match": {"severity": ["major"]}, "escalate": True}
    made = await admin.post("/graded-responses", body)
    assert (made["match"], made["escalate"], made["specialists"], made["position"]) == (body["match"], True, [], 100)
    assert (await admin.post("/graded-responses", body, expect=409))["field"] == "code"
    changed = await admin.patch(f"/graded-responses/{made['id']}", 1, {"specialists": ["safety"]})
    assert (changed["specialists"], changed["version"]) == (["safety"], 2)
    assert "own" in {row.code for row in (await house.context.catalog.current()).graded}
    await admin.call("DELETE", f"/graded-responses/{made['id']}", expect=204)
    assert (await admin.get(f"/graded-responses/{made['id']}"))["active"] is False
    assert "own" not in {row.code for row in (await house.context.catalog.current()).graded}


BAD_GRADES: list[tuple[dict[str, Any], str]] = [
    ({}, "escalate"),
    ({"escalate": True, "match": {"tier": ["vip"]}}, "match.tier"),
    ({"escalate": True, "match": {"severity": ["awful"]}}, "match.severity.0"),
    ({"escalate": True, "match": {"matter": []}}, "match.matter"),
    ({"escalate": True, "code": "a b"}, "code"),
]


async def test_refused_graded_response_names_the_field(admin: Caller) -> None:
    for body, field in BAD_GRADES:
        problem = await admin.post("/graded-responses", {"code": "c", "name": "n", **body}, expect=422)
        assert problem["field"].startswith(field), (body, problem)


async def test_conversations_of_a_team_a_participant_or_nobody(house: House, admin: Caller) -> None:
    queue, other = await house.queue(), await house.queue("Other")
    agent, helper, boss = await house.agent(other), await house.agent(), await house.agent(role=Role.SUPERVISOR)
    team = await admin.post("/teams", {"name": "T"})
    await admin.call("PUT", f"/queues/{queue}/teams/{team['id']}", expect=204)
    await admin.call("PUT", f"/teams/{team['id']}/members/{agent.id}", expect=204)
    waiting, theirs = str(await house.conversation(queue)), str(await house.conversation(other, assignee=agent))
    elsewhere = str(await house.conversation(other))
    await boss.post(f"/conversations/{theirs}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    for filters, expected in (
        ({"team_id": team["id"]}, {waiting, theirs}),
        ({"team_id": team["id"], "unassigned": True}, {waiting}),
        ({"unassigned": True}, {waiting, elsewhere}),
        ({"unassigned": False}, {theirs}),
        ({"participant_id": str(helper.id)}, {theirs}),
        ({"participant_id": NOBODY}, set()),
    ):
        assert {item["id"] for item in await boss.all("/conversations", **filters)} == expected, filters
