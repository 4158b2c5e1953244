"""`/api/v1/webhook-endpoints`: who may, what is refused, what is shown; secrets once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from sqlmodel import col, select

from app.clock import now, rfc3339
from app.db import Database
from app.desk import frames
from app.events.stream import StreamEvent
from app.models import Event, WebhookEndpoint
from app.models.words import Role
from app.settings import Settings
from app.vault import Vault
from tests.delivery.webhook_house import LATER, Receiver, Wires
from tests.desk.house import Caller, House, build_app, build_client, build_context
from tests.support.sockets import checked

PATH = "/webhook-endpoints"


@pytest.fixture
async def wires(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Wires]:
    made = Wires(database, vault, settings)
    yield made
    await made.close()


@pytest.fixture
async def desk(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    context = build_context(database, vault, settings)
    async with build_client(build_app(context)) as http:
        yield House(context, http)
    await context.http.aclose()


@pytest.fixture
async def admin(desk: House) -> Caller:
    return await desk.caller()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


async def make(admin: Caller, receiver: Receiver | None = None, **more: Any) -> dict[str, Any]:
    url = f"{receiver.base}/hook" if receiver else "https://crm.example/hook"
    made: dict[str, Any] = await admin.post(PATH, {"url": url, "events": ["*"], **more})
    if receiver:
        receiver.secrets = [made["secret"]]
    return made


async def test_made_shown_changed_and_gone(admin: Caller, desk: House) -> None:
    queue = str(await desk.queue())
    made = await make(admin, events=["message.created", "message.created"], queue_ids=[queue], description="CRM")
    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["state"], made["version"]) == (["message.created"], "ok", 1)
    shown = await admin.get(f"{PATH}/{made['id']}")
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert await admin.all(PATH, limit=1) == [shown]
    changed = await admin.patch(f"{PATH}/{made['id']}", 1, {"active": False, "events": ["*"]})
    assert (changed["state"], changed["events"], changed["version"]) == ("off", ["*"], 2)
    assert await admin.all(PATH, active="true") == []
    await admin.patch(f"{PATH}/{made['id']}", 1, {"active": True}, expect=412)
    await admin.call("PATCH", f"{PATH}/{made['id']}", json={"active": True}, expect=428)
    await admin.call("POST", f"{PATH}/{made['id']}/test", expect=409)
    async with desk.database.begin() as session:
        row = await session.get_one(WebhookEndpoint, UUID(made["id"]))
        assert made["secret"] not in row.secrets, "sealed at rest"
    await admin.call("DELETE", f"{PATH}/{made['id']}", expect=204)
    await admin.call("GET", f"{PATH}/{made['id']}", expect=404)
    await admin.call("POST", f"{PATH}/{made['id']}/replay", json={"dead": True}, expect=404)


async def test_the_same_key_makes_one(admin: Caller) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"url": "https://crm.example/hook", "events": ["*"]}
    first = await admin.call("POST", PATH, json=body, headers=headers, expect=201)
    again = await admin.call("POST", PATH, json=body, headers=headers, expect=201)
    assert first.json() == again.json()
    assert len(await admin.all(PATH)) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "ftp://crm.example"}, "url"),
        ({"url": "https://user:secret@crm.example/"}, "url"),
        ({"url": "https://crm.example:0/"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://crm.example/ x"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["message.read"]}, "events"),
        ({"channel_ids": [str(uuid4())]}, "channel_ids"),
        ({"queue_ids": [str(uuid4())]}, "queue_ids"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_what_is_wrong_is_named(admin: Caller, wrong: dict[str, Any], field: str) -> None:
    body = {"url": "https://crm.example/hook", "events": ["*"], **wrong}
    refused = await admin.post(PATH, body, expect=422)
    assert field in refused["field"] or any(field in error["field"] for error in refused["errors"])
    assert "secret@" not in str(refused)


async def test_only_administrators(desk: House, admin: Caller) -> None:
    made = await make(admin)
    for caller in (await desk.agent(), await desk.agent(role=Role.SUPERVISOR)):
        await caller.post(PATH, {"url": "https://x.example", "events": ["*"]}, expect=403)
        for path in ("", f"/{made['id']}", f"/{made['id']}/dead-letters", f"/{made['id']}/deliveries"):
            await caller.call("GET", PATH + path, expect=403)
        for verb in ("rotate", "test"):
            await caller.post(f"{PATH}/{made['id']}/{verb}", expect=403)


async def test_a_test_call_goes_first_even_to_one_that_is_down(admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin, receiver)
    path = f"{PATH}/{made['id']}"
    ids = await wires.conversations(20)
    await wires.happen(ids)
    await wires.fill()
    receiver.up = False
    deliverer = wires.deliverer(schedule=LATER)
    await wires.call(deliverer)
    await wires.run("UPDATE webhook_breaker SET not_before = now() + interval '1 hour'")
    shown = await admin.get(path)
    assert (shown["state"], shown["waiting"], shown["dead"]) == ("down", 20, 0)
    assert shown["failures"] >= 5
    assert shown["last_error"] == "answered 503: down"
    assert shown["failing_since"] <= shown["next_try_at"]
    assert shown["oldest"] <= shown["failing_since"]
    assert await wires.call(deliverer) is not None
    before = len(receiver.requests)

    failed = await admin.post(f"{path}/test", expect=202)
    await wires.call(deliverer)
    assert receiver.bodies[-1]["type"] == "ping"
    [item] = [item for item in await admin.all(f"{path}/deliveries", state="dead") if item["id"] == failed["id"]]
    assert (item["type"], item["error"], item["status"], item["attempts"]) == ("ping", "answered 503: down", 503, 1)
    assert await admin.all(f"{path}/dead-letters") == []
    assert len(receiver.requests) == before + 1, "the others did not lose an attempt by it"

    receiver.up = True
    tested = await admin.post(f"{path}/test", expect=202)
    async with wires.running(schedule=LATER):
        await wires.until_told()
    assert receiver.ids[before + 1] == tested["id"]
    assert receiver.bodies[before + 1]["data"] == {"endpoint_id": made["id"]}
    assert (await admin.get(path))["state"] == "ok"
    assert len(await admin.all(f"{path}/deliveries", state="delivered", limit=7)) == 21


async def test_supervisors_hear_once_that_it_is_down_and_that_it_is_back(
    desk: House, admin: Caller, wires: Wires, receiver: Receiver
) -> None:
    supervisor, agent = await desk.agent(role=Role.SUPERVISOR), await desk.agent()
    await make(admin, receiver, description="CRM")
    ids = await wires.conversations(30)
    await wires.happen(ids)
    await wires.fill()
    receiver.up = False
    deliverer = wires.deliverer(schedule=LATER)
    for _ in range(4):
        await wires.call(deliverer)
        await wires.pass_time(60)
    receiver.up = True
    async with wires.running(schedule=LATER):
        await wires.until_told()
    async with desk.database.begin() as session:
        found = await session.exec(
            select(Event).where(col(Event.type) == "webhook_endpoint.updated").order_by(col(Event.id))
        )
        told = found.all()
    assert [event.payload["endpoint"]["state"] for event in told] == ["down", "ok"]
    for event in told:
        assert event.agents == [supervisor.id]
        assert agent.id not in event.agents
        frame = StreamEvent({**event.model_dump(), "payload": orjson.dumps(event.payload).decode()}).frame
        assert checked(frames.FRAMES, frame.text)["endpoint"]["host"] == "127.0.0.1"


async def test_dead_letters_are_listed_in_order_and_replayed(admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin, receiver)
    path = f"{PATH}/{made['id']}"
    started = now()
    [conversation] = await wires.conversations()
    await wires.happen([conversation], 6)
    await wires.fill()
    await wires.pass_time(90_000)
    await wires.sweep()
    dead = await admin.all(f"{path}/dead-letters", limit=4)
    assert [item["state"] for item in dead] == ["dead"] * 6
    assert dead[0]["error"].startswith("given up")
    deliverer = wires.deliverer()
    chosen = [dead[3]["id"], dead[1]["id"]]
    assert await admin.post(f"{path}/replay", {"ids": chosen}, expect=202) == {"queued": 2}
    await wires.call(deliverer)
    assert receiver.ids == [dead[1]["id"], dead[3]["id"]], "in their order"
    assert await admin.post(f"{path}/replay", {"dead": True}, expect=202) == {"queued": 4}
    await wires.call(deliverer)
    assert receiver.ids[2:] == [dead[n]["id"] for n in (0, 2, 4, 5)]
    since = {"since": rfc3339(started)}
    assert await admin.post(f"{path}/replay", since, expect=202) == {"queued": 6}
    assert await admin.post(f"{path}/replay", {"since": rfc3339(now())}, expect=202) == {"queued": 0}
    await wires.call(deliverer)
    assert receiver.ids[6:] == [item["id"] for item in dead]
    wrongs: list[dict[str, Any]] = [{}, {"dead": True, **since}, {"ids": []}, {"ids": [str(uuid4())]}, {"dead": False}]
    for wrong in wrongs:
        await admin.post(f"{path}/replay", wrong, expect=422)
    for edge in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert (await admin.post(f"{path}/replay", {"since": edge}, expect=422))["field"] == "since"


async def test_a_replay_has_its_limit(desk: House, admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin, receiver)
    desk.context.settings.webhook_replay_limit = 5
    await wires.happen(await wires.conversations(), 6)
    await wires.fill()
    refused = await admin.post(f"{PATH}/{made['id']}/replay", {"since": "2026-01-01T00:00:00Z"}, expect=422)
    assert refused["field"] == "since"


async def test_rotation_over_http(admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin, receiver)
    path = f"{PATH}/{made['id']}"
    rotated = await admin.post(f"{path}/rotate", expect=200)
    assert rotated["version"] == 2
    assert rotated["old_secret_until"] is not None
    [conversation] = await wires.conversations()
    receiver.secrets = [rotated["secret"], made["secret"]]
    await wires.happen([conversation])
    await wires.fill()
    await wires.call(wires.deliverer())
    last = await admin.post(f"{path}/rotate", {"overlap_s": 0}, expect=200)
    assert last["old_secret_until"] is None
    receiver.secrets = [last["secret"]]
    await wires.happen([conversation], first=2)
    await wires.fill()
    await wires.call(wires.deliverer())
    assert receiver.told() == {str(conversation): [1, 2]}
    await admin.post(f"{path}/rotate", {"overlap_s": -1}, expect=422)


async def test_another_address_starts_over(admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin)
    path = f"{PATH}/{made['id']}"
    await wires.run("UPDATE webhook_endpoint SET url = 'http://127.0.0.1:1/'")
    [conversation] = await wires.conversations()
    await wires.happen([conversation], 2)
    await wires.fill()
    deliverer = wires.deliverer(schedule=LATER)
    await wires.call(deliverer)
    await wires.run("UPDATE webhook_breaker SET failures = 9, not_before = now() + interval '1 hour'")
    assert (await admin.get(path))["last_error"] == "no answer (ConnectError)"
    await wires.call(deliverer)
    receiver.secrets = [made["secret"]]
    assert (await admin.patch(path, 1, {"url": receiver.base}))["state"] == "ok"
    await wires.call(deliverer)
    assert receiver.told() == {str(conversation): [1, 2]}


async def test_deleting_while_it_is_being_told(admin: Caller, wires: Wires, receiver: Receiver) -> None:
    made = await make(admin, receiver)
    ids = await wires.conversations(50)
    await wires.happen(ids, 4)
    await wires.fill()
    async with wires.running():
        await receiver.arrived.wait()
        answer: httpx.Response = await admin.call("DELETE", f"{PATH}/{made['id']}")
        assert answer.status_code == 204, answer.text
        await asyncio.sleep(0)
    assert await wires.rows() == []
    assert await wires.lanes() == []
