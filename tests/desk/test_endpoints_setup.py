"""The set-up over HTTP: who may change it, what is refused and why, and that secrets never come back."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from sqlmodel import select

from app.models import Agent, ApiToken, Channel, Event, Queue
from app.models.words import Role, TokenKind
from tests.desk.house import SECRET, Caller, House

NOBODY = "01930000-0000-7000-8000-000000000000"
NEW_AGENT = {"name": "Ada", "email": "ada@example.org"}


async def test_channel_is_ready_to_use_and_keeps_its_secret(house: House, admin: Caller) -> None:
    given = {"type": "partner", "name": "Shop", "config": {"secret": SECRET, "callback_url": "https://shop.example/in"}}
    made = await admin.post("/channels", given)
    assert made["webhook_url"] == f"{house.context.settings.base_url}/channels/{made['id']}/webhook"
    assert made["secrets_set"] == ["secret"]
    assert made["config"] == {"callback_url": "https://shop.example/in"}
    account = (await house.context.catalog.current()).channels[UUID(made["id"])]
    assert account.config.model_dump()["secret"].get_secret_value() == SECRET

    changed = await admin.patch(f"/channels/{made['id']}", 1, {"name": "Other", "config": {"callback_url": None}})
    assert (changed["name"], changed["config"], changed["secrets_set"]) == ("Other", {}, ["secret"])
    everything = [
        made,
        changed,
        await admin.get("/channels"),
        await admin.get(f"/channels/{made['id']}"),
        *(await _events(house)),
    ]
    assert SECRET not in json.dumps(everything)
    async with house.database.begin() as session:
        row = await session.get_one(Channel, UUID(made["id"]))
        assert SECRET not in str(row.model_dump())


async def test_refused_secret_is_not_repeated(admin: Caller) -> None:
    given = {"type": "telegram", "name": "Bot", "config": {"bot_token": "not a token", "secret_token": "also not one"}}
    response = await admin.call("POST", "/channels", json=given, expect=422)
    problem = response.json()
    assert [item["field"] for item in problem["errors"]] == ["config.bot_token", "config.secret_token"]
    assert problem["field"] == "config.bot_token"
    assert "not a token" not in response.text
    assert "also not one" not in response.text


async def test_deactivated_channel_leaves_the_catalog(house: House, admin: Caller) -> None:
    made = await admin.post("/channels", {"type": "webchat", "name": "Chat", "config": {}})
    await admin.call("DELETE", f"/channels/{made['id']}", expect=204)
    assert UUID(made["id"]) not in (await house.context.catalog.current()).channels
    assert (await admin.get(f"/channels/{made['id']}"))["active"] is False


REFUSED = [
    ("/channels", {"type": "pigeon", "name": "P", "config": {}}, "type"),
    ("/channels", {"type": "partner", "name": "P", "config": {"secret": SECRET, "wings": 2}}, "config.wings"),
    ("/channels", {"type": "partner", "name": "P", "config": {}}, "config.secret"),
    ("/channels", {"type": "webchat", "name": "P", "config": {}, "queue_id": NOBODY}, "queue_id"),
    ("/channels", {"type": "webchat", "name": "P", "colour": "red"}, "colour"),
    ("/channels", {"name": "P"}, "type"),
    ("/queues", {"name": "   "}, "name"),
    ("/queues", {"name": "a\u0000b"}, "name"),
    ("/queues", {"name": "Q", "category": "vip"}, "category"),
    ("/queues", {"name": "Q", "offer_timeout_s": 0}, "offer_timeout_s"),
    ("/agents", {**NEW_AGENT, "email": "nobody"}, "email"),
    ("/agents", {**NEW_AGENT, "role": "king"}, "role"),
    ("/agents", {**NEW_AGENT, "capacity": -1}, "capacity"),
    ("/agents", {**NEW_AGENT, "capacity": 10**12}, "capacity"),
    ("/agents", {**NEW_AGENT, "skills": ["x", 3]}, "skills.1"),
    ("/agents", {**NEW_AGENT, "queue_ids": [NOBODY]}, "queue_ids"),
    ("/api-keys", {"name": "K", "role": "agent"}, "role"),
    ("/sla-policies", {"code": "c", "name": "n", "match": {"moon": ["full"]}, "resolution_s": 1}, "match.moon"),
    ("/sla-policies", {"code": "c", "name": "n"}, "first_response_s"),
    ("/sla-policies", {"code": "c", "name": "n", "resolution_s": 0}, "resolution_s"),
    ("/sla-policies", {"code": "c d", "name": "n", "resolution_s": 5}, "code"),
    ("/classification-rules", {"code": "c", "name": "n", "patterns": ["("], "scores": {}}, "patterns"),
    ("/classification-rules", {"code": "c", "name": "n", "patterns": [], "scores": {}}, "patterns"),
    (
        "/classification-rules",
        {"code": "c", "name": "n", "patterns": ["x"], "scores": {"luck": {"a": 1}}},
        "scores",
    ),
    ("/canned-replies", {"shortcut": "a b", "text": "hi"}, "shortcut"),
    ("/canned-replies", {"shortcut": "hi", "text": "  "}, "text"),
    ("/contacts", {"email": "nobody"}, "email"),
]


async def test_refusal_names_the_field(admin: Caller) -> None:
    for path, body, field in REFUSED:
        response = await admin.call("POST", path, json=body, expect=422)
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["status"], problem["field"]) == ("invalid", 422, field), (path, body)
        assert problem["detail"]


UNIQUE = [
    ("/agents", NEW_AGENT, "email"),
    ("/canned-replies", {"shortcut": "hi", "text": "Hello"}, "shortcut"),
    ("/sla-policies", {"code": "own", "name": "Own", "resolution_s": 60}, "code"),
    ("/classification-rules", {"code": "own", "name": "Own", "patterns": ["x"], "scores": {}}, "code"),
]


async def test_second_of_the_same_name_exists_already(admin: Caller) -> None:
    for path, body, field in UNIQUE:
        await admin.post(path, body)
        problem = await admin.post(path, body, expect=409)
        assert (problem["code"], problem["field"]) == ("already-exists", field)


async def test_email_is_one_whatever_its_case(admin: Caller) -> None:
    await admin.post("/agents", NEW_AGENT)
    await admin.post("/agents", {**NEW_AGENT, "email": "ADA@Example.org"}, expect=409)


VERSIONED = [
    ("/channels", {"type": "webchat", "name": "Chat", "config": {}}, {"name": "B"}),
    ("/queues", {"name": "A"}, {"name": "B"}),
    ("/agents", NEW_AGENT, {"name": "B"}),
    ("/sla-policies", {"code": "own", "name": "Own", "resolution_s": 60}, {"name": "B"}),
    ("/classification-rules", {"code": "own", "name": "Own", "patterns": ["x"], "scores": {}}, {"name": "B"}),
    ("/canned-replies", {"shortcut": "hi", "text": "Hello"}, {"text": "Hi"}),
    ("/contacts", {"name": "Mei"}, {"name": "B"}),
]


async def test_update_needs_the_version_it_was_made_from(admin: Caller) -> None:
    for path, body, change in VERSIONED:
        made = await admin.call("POST", path, json=body, expect=201)
        one = f"{path}/{made.json()['id']}"
        tag = made.headers["etag"]
        assert (await admin.call("GET", one)).headers["etag"] == tag == '"1"'

        missing = await admin.call("PATCH", one, json=change, expect=428)
        assert (missing.json()["code"], missing.json()["field"]) == ("precondition-required", "If-Match")
        updated = await admin.call("PATCH", one, json=change, headers={"If-Match": tag}, expect=200)
        assert updated.headers["etag"] == '"2"'
        assert updated.json()["version"] == 2
        late = await admin.call("PATCH", one, json=change, headers={"If-Match": tag}, expect=412)
        assert late.json()["code"] == "precondition-failed"


async def test_null_and_unknown_fields_of_an_update_are_refused(admin: Caller) -> None:
    made = await admin.post("/queues", {"name": "A"})
    for body, field in (({"name": None}, "name"), ({"id": NOBODY}, "id"), ({"active": None}, "active")):
        problem = await admin.patch(f"/queues/{made['id']}", 1, body, expect=422)
        assert problem["field"] == field


async def test_agent_works_in_the_default_queue_unless_told(house: House, admin: Caller) -> None:
    default = str(await house.default_queue())
    other = str(await house.queue())
    made = await admin.post("/agents", NEW_AGENT)
    assert made["queue_ids"] == [default]
    assert (await admin.post("/agents", {**NEW_AGENT, "email": "b@example.org", "queue_ids": []}))["queue_ids"] == []
    moved = await admin.patch(f"/agents/{made['id']}", 1, {"queue_ids": [other]})
    assert moved["queue_ids"] == [other]
    members = await admin.get(f"/queues/{other}/members")
    assert [member["agent_id"] for member in members["items"]] == [made["id"]]
    await admin.call("DELETE", f"/queues/{other}/members/{made['id']}", expect=204)
    await admin.call("PUT", f"/queues/{default}/members/{made['id']}", expect=204)
    await admin.call("PUT", f"/queues/{default}/members/{made['id']}", expect=204)
    assert (await admin.get(f"/agents/{made['id']}"))["queue_ids"] == [default]


async def test_token_is_shown_once_and_rotated(house: House, admin: Caller) -> None:
    made = await admin.post("/agents", NEW_AGENT)
    first = Caller(house.http, made["token"])
    await first.get("/conversations")
    assert made["token"] not in json.dumps([await admin.get("/agents"), *(await _events(house))])
    rotated = await admin.post(f"/agents/{made['id']}/token")
    await first.call("GET", "/conversations", expect=401)
    await Caller(house.http, rotated["token"]).get("/conversations")
    async with house.database.begin() as session:
        stored = (await session.exec(select(ApiToken))).all()
        assert made["token"] not in str([row.model_dump() for row in stored])


async def test_deactivated_agent_is_out_and_gives_everything_back(house: House, admin: Caller) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    await admin.call("DELETE", f"/agents/{agent.id}", expect=204)
    await agent.call("GET", "/conversations", expect=401)
    shown = await admin.get(f"/conversations/{conversation}")
    assert (shown["assignee_id"], shown["owner_id"]) == (None, str(agent.id))
    assert (await admin.get(f"/conversations/{conversation}/routing"))["entry"]["state"] == "waiting"
    async with house.database.begin() as session:
        row = await session.get_one(Agent, agent.id)
        assert (row.load, row.active) == (0, False)


async def test_api_key_works_until_it_is_revoked(house: House, admin: Caller) -> None:
    made = await admin.post("/api-keys", {"name": "CRM", "role": "supervisor"})
    key = Caller(house.http, made["key"])
    await key.get("/conversations")
    await key.call("POST", "/queues", json={"name": "Q"}, expect=403)
    assert made["key"] not in json.dumps(await admin.get("/api-keys"))
    await admin.call("DELETE", f"/api-keys/{made['id']}", expect=204)
    await key.call("GET", "/conversations", expect=401)
    assert (await admin.get("/api-keys"))["items"][0]["revoked_at"]


async def test_there_is_one_default_queue(house: House, admin: Caller) -> None:
    old = str(await house.default_queue())
    made = await admin.post("/queues", {"name": "New", "is_default": True})
    defaults = [queue["id"] for queue in await admin.all("/queues") if queue["is_default"]]
    assert defaults == [made["id"]]
    assert (await house.context.catalog.current()).default_queue.name == "New"
    assert (await admin.patch(f"/queues/{made['id']}", 1, {"is_default": False}, expect=422))["field"] == "is_default"
    await admin.call("DELETE", f"/queues/{made['id']}", expect=409)
    await admin.call("DELETE", f"/queues/{old}", expect=204)


async def test_queue_in_which_somebody_waits_stays(house: House, admin: Caller) -> None:
    queue = await house.queue()
    await house.conversation(queue)
    assert (await admin.call("DELETE", f"/queues/{queue}", expect=409)).json()["code"] == "conflict"


async def test_policy_edit_is_a_new_version(house: House, admin: Caller) -> None:
    body = {"code": "own", "name": "Own", "match": {"channel_type": ["webchat"]}, "first_response_s": 30}
    first = await admin.post("/sla-policies", body)
    second = await admin.patch(f"/sla-policies/{first['id']}", 1, {"first_response_s": 20, "resolution_s": 600})
    assert second["id"] != first["id"]
    assert (second["version"], second["match"], second["first_response_s"]) == (2, body["match"], 20)
    versions = await admin.get("/sla-policies", params={"code": "own"})
    assert [(item["version"], item["retired_at"] is None) for item in versions["items"]] == [(1, False), (2, True)]
    await admin.patch(f"/sla-policies/{first['id']}", 1, {"name": "late"}, expect=412)
    assert (
        await admin.patch(
            f"/sla-policies/{second['id']}", 2, {"resolution_s": None, "first_response_s": None}, expect=422
        )
    )["field"] == "first_response_s"
    await admin.call("DELETE", f"/sla-policies/{second['id']}", expect=204)
    assert "own" not in [policy.code for policy in (await house.context.catalog.current()).policies]
    assert (await admin.post("/sla-policies", body))["version"] == 3


async def test_category_setting_is_changed_not_made(house: House, admin: Caller) -> None:
    shown = await admin.get("/category-settings/urgent")
    changed = await admin.patch("/category-settings/urgent", shown["version"], {"weight": 4})
    assert changed["weight"] == 4
    assert (await house.context.catalog.current()).categories["urgent"].weight == 4
    assert len((await admin.get("/category-settings"))["items"]) == 3


async def test_every_change_is_in_the_record(house: House, admin: Caller) -> None:
    queue = await admin.post("/queues", {"name": "A"})
    await admin.patch(f"/queues/{queue['id']}", 1, {"name": "B", "skills": ["wood"]})
    await admin.call("DELETE", f"/queues/{queue['id']}", expect=204)
    kept = [(event["type"], event["payload"].get("changed")) for event in await _events(house)]
    assert kept == [("queue.created", None), ("queue.updated", ["name", "skills"]), ("queue.deactivated", None)]


ADMIN_ONLY = [
    ("POST", "/channels"),
    ("GET", "/channels"),
    ("PATCH", f"/channels/{NOBODY}"),
    ("DELETE", f"/channels/{NOBODY}"),
    ("POST", "/queues"),
    ("PATCH", f"/queues/{NOBODY}"),
    ("DELETE", f"/queues/{NOBODY}"),
    ("PUT", f"/queues/{NOBODY}/members/{NOBODY}"),
    ("DELETE", f"/queues/{NOBODY}/members/{NOBODY}"),
    ("POST", "/agents"),
    ("PATCH", f"/agents/{NOBODY}"),
    ("DELETE", f"/agents/{NOBODY}"),
    ("POST", f"/agents/{NOBODY}/token"),
    ("POST", "/api-keys"),
    ("GET", "/api-keys"),
    ("DELETE", f"/api-keys/{NOBODY}"),
    ("POST", "/sla-policies"),
    ("PATCH", f"/sla-policies/{NOBODY}"),
    ("DELETE", f"/sla-policies/{NOBODY}"),
    ("POST", "/classification-rules"),
    ("PATCH", f"/classification-rules/{NOBODY}"),
    ("DELETE", f"/classification-rules/{NOBODY}"),
    ("PATCH", "/category-settings/urgent"),
    ("POST", "/canned-replies"),
    ("PATCH", f"/canned-replies/{NOBODY}"),
    ("DELETE", f"/canned-replies/{NOBODY}"),
    ("GET", "/inbound-journal"),
    ("GET", f"/inbound-journal/{NOBODY}"),
    ("POST", f"/inbound-journal/{NOBODY}/replay"),
]


async def test_set_up_is_for_administrators(house: House, supervisor: Caller) -> None:
    for caller in (supervisor, await house.agent(), await house.caller(Role.SUPERVISOR, TokenKind.API)):
        for method, path in ADMIN_ONLY:
            problem = (await caller.call(method, path, expect=403)).json()
            assert (problem["code"], problem["role"]) == ("forbidden", "admin"), (method, path)


async def test_lists_of_the_set_up_are_for_supervisors(house: House, supervisor: Caller) -> None:
    agent = await house.agent()
    for path in ("/sla-policies", "/classification-rules", "/category-settings"):
        await supervisor.get(path)
        await agent.call("GET", path, expect=403)
    for path in ("/canned-replies", "/queues", "/agents"):  # an agent has to find somebody to transfer to
        await agent.get(path)


async def test_things_that_are_not_there(admin: Caller) -> None:
    for path in ("channels", "queues", "agents", "sla-policies", "classification-rules", "canned-replies", "contacts"):
        problem = (await admin.call("GET", f"/{path}/{NOBODY}", expect=404)).json()
        assert problem["code"] == "not-found"
    await admin.call("DELETE", f"/api-keys/{NOBODY}", expect=404)


async def test_changes_of_two_at_once_do_not_get_lost(house: House, admin: Caller) -> None:
    """Both read version 1; the second to arrive is told so, whatever the timing."""
    made = await admin.post("/queues", {"name": "A"})
    answers = await asyncio.gather(
        *(
            admin.call("PATCH", f"/queues/{made['id']}", json={"name": name}, headers={"If-Match": '"1"'})
            for name in ("B", "C", "D", "E")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    async with house.database.begin() as session:
        assert (await session.get_one(Queue, made["id"])).version == 2


async def _events(house: House) -> list[dict[str, Any]]:
    async with house.database.begin() as session:
        found = await session.exec(select(Event).order_by(Event.id))  # type: ignore[arg-type]
        return [{"type": event.type, "payload": event.payload} for event in found.all()]
