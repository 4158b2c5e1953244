"""A POST with an Idempotency-Key is done once, however often and from wherever it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from sqlalchemy import func
from sqlmodel import SQLModel, select
from starlette.types import Message as Frame
from starlette.types import Receive, Scope, Send

from app import edge
from app.db import Database
from app.models import Agent, CannedReply, IdempotencyKey, Message, Queue
from app.settings import Settings
from app.vault import Vault
from tests.desk.house import Caller, House, build_app, build_client, build_context

PATHS: dict[str, tuple[dict[str, str], type[SQLModel]]] = {
    "/queues": ({"name": "A"}, Queue),
    "/agents": ({"name": "Ada", "email": "ada@example.org"}, Agent),
    "/canned-replies": ({"shortcut": "hi", "text": "Hello"}, CannedReply),
}


@pytest.fixture
async def house(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[House]:
    context = build_context(database, vault, settings)
    async with build_client(build_app(context)) as http:
        yield House(context, http)
    await context.http.aclose()


@pytest.fixture
async def admin(house: House) -> Caller:
    return await house.caller()


async def count(house: House, table: type[SQLModel]) -> int:
    async with house.database.begin() as session:
        return (await session.exec(select(func.count()).select_from(table))).one()


async def send(caller: Caller, path: str, body: object, key: str) -> httpx.Response:
    return await caller.call("POST", path, json=body, headers={"Idempotency-Key": key})


async def test_second_call_gets_the_first_answer(house: House, admin: Caller) -> None:
    for path, (body, table) in PATHS.items():
        before = await count(house, table)
        first = await send(admin, path, body, path)
        second = await send(admin, path, body, path)
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        assert second.headers["etag"] == first.headers["etag"]
        assert second.headers["content-type"] == first.headers["content-type"]
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert await count(house, table) == before + 1


async def test_twenty_at_once_are_one(house: House, admin: Caller) -> None:
    body = {"name": "Ada", "email": "ada@example.org"}
    answers = await asyncio.gather(*(send(admin, "/agents", body, "k1") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["token"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await count(house, Agent) == 1


async def test_reply_to_a_customer_goes_out_once(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path, body = f"/conversations/{conversation}/messages", {"text": "Help is on its way."}
    answers = await asyncio.gather(*(send(agent, path, body, "k1") for _ in range(8)))
    assert {answer.json()["seq"] for answer in answers} == {2}
    assert await count(house, Message) == 2


async def test_another_body_or_path_is_refused(admin: Caller) -> None:
    await send(admin, "/queues", {"name": "A"}, "k1")
    for path, body in (("/queues", {"name": "B"}), ("/queues?x=1", {"name": "A"}), ("/contacts", {"name": "A"})):
        refused = await send(admin, path, body, "k1")
        assert refused.status_code == 422
        assert (refused.json()["code"], refused.json()["field"]) == ("idempotency-mismatch", "Idempotency-Key")


async def test_keys_of_two_callers_never_meet(house: House, admin: Caller) -> None:
    other = await house.caller()
    await send(admin, "/queues", {"name": "A"}, "k1")
    assert (await send(other, "/queues", {"name": "B"}, "k1")).status_code == 201


async def test_refusal_is_not_kept(house: House, admin: Caller) -> None:
    """What failed may be sent again once the reason is gone."""
    body = {"shortcut": "hi", "text": "Hello"}
    there = (await admin.post("/canned-replies", body))["id"]
    assert (await send(admin, "/canned-replies", body, "k1")).status_code == 409
    assert await count(house, IdempotencyKey) == 0
    await admin.call("DELETE", f"/canned-replies/{there}", expect=204)
    assert (await send(admin, "/canned-replies", body, "k1")).status_code == 201


async def test_kept_answer_needs_a_valid_token(house: House, admin: Caller) -> None:
    made = await admin.post("/api-keys", {"name": "CRM"})
    key = Caller(house.http, made["key"])
    await send(key, "/queues", {"name": "A"}, "k1")
    await admin.call("DELETE", f"/api-keys/{made['id']}", expect=204)
    assert (await send(key, "/queues", {"name": "A"}, "k1")).status_code == 401


async def test_kept_answer_is_sealed(house: House, admin: Caller) -> None:
    made = (await send(admin, "/agents", {"name": "Ada", "email": "ada@example.org"}, "k1")).json()
    async with house.database.begin() as session:
        row = (await session.exec(select(IdempotencyKey))).one()
    kept = json.dumps(row.model_dump(mode="json"))
    assert made["token"] not in kept
    assert made["email"] not in kept
    assert admin.token not in kept


async def test_key_has_to_be_a_key(admin: Caller) -> None:
    for key in ["", "x" * 256, "ends with a blank ", "tab\there"]:
        refused = await send(admin, "/queues", {"name": "A"}, key)
        assert (refused.status_code, refused.json()["field"]) == (422, "Idempotency-Key"), key


async def test_old_keys_are_free_again(house: House, admin: Caller) -> None:
    await send(admin, "/queues", {"name": "A"}, "k1")
    async with house.database.begin() as session:
        await edge.forget_keys(session, hours=24)
    assert await count(house, IdempotencyKey) == 1
    async with house.database.begin() as session:
        await edge.forget_keys(session, hours=0)
    assert await count(house, IdempotencyKey) == 0


async def test_answer_comes_after_the_commit(house: House, admin: Caller) -> None:
    """When the first byte of the answer leaves, another connection sees the row."""
    seen: list[bool] = []
    watcher = await asyncpg.connect(house.database.dsn)
    app = build_app(house.context)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Frame) -> None:
            if message["type"] == "http.response.start":
                found = await watcher.fetchval("SELECT count(*) FROM canned_reply WHERE shortcut = $1", shortcut)
                seen.append(found == 1)
            await send(message)

        await app(scope, receive, answer)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(watched), base_url="http://desk.test") as http:
        caller = Caller(http, admin.token)
        for headers in ({}, {"Idempotency-Key": str(uuid4())}):
            shortcut = uuid4().hex
            body = {"shortcut": shortcut, "text": "Hello"}
            await caller.call("POST", "/canned-replies", json=body, headers=headers, expect=201)
    await watcher.close()
    assert seen == [True, True]


async def test_answered_refusal_is_rolled_back(house: House) -> None:
    """Also one that is answered instead of raised; and its key stays free."""
    app = FastAPI()
    app.state.context = house.context
    router = APIRouter(route_class=edge.Edge)

    @router.post("/replies/{status}")
    async def make(status: int, session: edge.SessionDep) -> Response:
        session.add(CannedReply(shortcut=f"s{status}", text="Hello"))
        return Response(status_code=status)

    app.include_router(router)
    async with build_client(app) as http:
        for status, stored in ((409, 0), (500, 0), (201, 1)):
            answer = await http.post(f"/replies/{status}", headers={"Idempotency-Key": f"k{status}"})
            assert answer.status_code == status
            assert await count(house, CannedReply) == stored
            assert await count(house, IdempotencyKey) == stored
