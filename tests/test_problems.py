"""Every way in which a call can go wrong, as the caller sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Query
from prometheus_client import REGISTRY
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import errors, log, problems, violations
from app.db import Database
from app.edge import Correlation
from app.errors import Problem


class Thing(BaseModel):
    name: str
    parts: list[int] = []


def build() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.post("/things/{number}")
    async def make(number: int, thing: Thing, size: Annotated[int, Query(ge=1)] = 1) -> dict[str, Any]:
        return {"number": number, "correlation": log.correlation.get()}

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/http/{status}")
    async def http(status: int) -> None:
        raise HTTPException(status, "no", headers={"X-Why": "because"})

    @app.get("/lost")
    async def lost() -> None:
        raise ConnectionRefusedError("no database here")

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Correlation(build()))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk.test") as http:
        yield http


def check(response: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem.get("field") == field
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/things/1", {"parts": [1, "x"]}, ["name", "parts.1"]),
        ("/things/1?size=0", {"name": "a"}, ["size"]),
        ("/things/one", {"name": "a"}, ["number"]),
        ("/things/1", [], ["body"]),
    ],
)
async def test_validation_names_every_field(client: httpx.AsyncClient, path: str, body: Any, fields: list[str]) -> None:
    problem = check(await client.post(path, json=body), 422, "invalid", fields[0])
    assert [item["field"] for item in problem["errors"]] == fields
    assert all(item["detail"] for item in problem["errors"])


async def test_given_values_are_not_repeated(client: httpx.AsyncClient) -> None:
    response = await client.post("/things/1", json={"name": {"secret": "hunter2"}})
    check(response, 422, "invalid", "name")
    assert "hunter2" not in response.text


async def test_broken_json_is_a_bad_request(client: httpx.AsyncClient) -> None:
    response = await client.post("/things/1", content=b'{"name": ', headers={"content-type": "application/json"})
    check(response, 400, "bad-request")


async def test_nothing_there_and_wrong_method(client: httpx.AsyncClient) -> None:
    check(await client.get("/nowhere"), 404, "not-found")
    response = await client.delete("/boom")
    check(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


async def test_http_exceptions_keep_their_headers(client: httpx.AsyncClient) -> None:
    response = await client.get("/http/413")
    check(response, 413, "too-large")
    assert response.headers["x-why"] == "because"
    check(await client.get("/http/418"), 418, "http-418")


async def test_unexpected_errors_tell_nothing_but_their_id() -> None:
    """Wherever the middleware stands: around the application, or the first that it adds."""
    inside = build()
    inside.add_middleware(Correlation)
    for app in (Correlation(build()), inside):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://desk.test") as client:
            response = await client.get("/boom", headers={"X-Request-Id": "abc-1"})
        problem = check(response, 500, "internal-error")
        assert problem["correlation_id"] == response.headers["x-request-id"] == "abc-1"
        assert "hunter2" not in response.text


async def test_lost_database_says_try_again(client: httpx.AsyncClient) -> None:
    response = await client.get("/lost")
    check(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"


def _kinds(kind: type[Problem]) -> list[type[Problem]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _kinds(child))]


@pytest.mark.parametrize("kind", _kinds(Problem), ids=lambda kind: kind.__name__)
def test_each_problem_can_be_rendered(kind: type[Problem]) -> None:
    response = problems.render(kind(field="x", status="kept out"))
    assert response.status_code == kind.status
    assert b'"field":"x"' in response.body
    assert b"kept out" not in response.body
    assert ("www-authenticate" in response.headers) == (kind.status == 401)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in _kinds(Problem)]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (3, "3"), (3.1, "4")])
def test_retry_after_is_whole_seconds(seconds: float, header: str) -> None:
    assert problems.render(errors.TooManyRequests(retry_after=seconds)).headers["retry-after"] == header


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é", "<script>"])
async def test_correlation_ids_that_are_none_are_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/nowhere", headers={b"X-Request-Id": given.encode()})
    assert len(response.headers["x-request-id"]) == 32


async def test_correlation_id_comes_in_and_goes_out(client: httpx.AsyncClient) -> None:
    for name in ("X-Request-Id", "X-Correlation-Id"):
        response = await client.post("/things/1", json={"name": "a"}, headers={name: "trace-7"})
        assert response.headers["x-request-id"] == "trace-7"
        assert response.json()["correlation"] == "trace-7"
    own = [(await client.post("/things/1", json={"name": "a"})).headers["x-request-id"] for _ in range(2)]
    assert own[0] != own[1]
    assert log.correlation.get() is None


async def test_requests_are_counted_by_route(client: httpx.AsyncClient) -> None:
    def counted(route: str, status: str) -> float:
        labels = {"method": "POST", "route": route, "status": status}
        return REGISTRY.get_sample_value("roundtrip_http_requests_total", labels) or 0

    route = "/things/{number}"
    before = counted(route, "200"), counted(route, "422"), counted("unmatched", "404")
    await client.post("/things/1", json={"name": "a"})
    await client.post("/things/2", json={})
    await client.post("/nowhere/2", json={})
    after = counted(route, "200"), counted(route, "422"), counted("unmatched", "404")
    assert after == tuple(value + 1 for value in before)


QUEUE = (
    "INSERT INTO queue(id, name, skills, assignment, rings, when_closed, sticky_window_s, sticky_wait_s, is_default, active, "
    "version) VALUES (gen_random_uuid(), {}, '{{}}', 'offer', '[]', 'wait', 0, 0, {}, true, 1)"
)
CHANNEL = (
    "INSERT INTO channel(id, type, name, queue_id, config, secrets, active, version) "
    "VALUES (gen_random_uuid(), 'x', 'x', gen_random_uuid(), '{}', '', true, 1)"
)
REPLY = "INSERT INTO canned_reply(id, shortcut, language, text, version) VALUES (gen_random_uuid(), 'a', 'en', 'x', 1)"


@pytest.mark.parametrize(
    ("statements", "kind", "field"),
    [
        ([REPLY, REPLY], errors.AlreadyExists, "shortcut"),
        ([QUEUE.format("'q'", "true")], errors.AlreadyExists, "is_default"),
        ([QUEUE.format("NULL", "false")], errors.Invalid, "name"),
        (["UPDATE category_setting SET weight = 0"], errors.Invalid, "weight"),
        ([CHANNEL], errors.Invalid, "queue_id"),
        (["SELECT '\"\\u0000\"'::jsonb"], errors.Invalid, None),
        (["SELECT 99999999999::int4"], errors.Invalid, None),
        (["SET LOCAL lock_timeout = '1ms'", "DO $$ BEGIN RAISE lock_not_available; END $$"], errors.Unavailable, None),
        (["DO $$ BEGIN RAISE deadlock_detected; END $$"], errors.Unavailable, None),
        (["SELECT nonsense"], None, None),
    ],
)
async def test_database_refusals_have_names(
    database: Database, statements: list[str], kind: type[Problem] | None, field: str | None
) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.begin() as session:
            for statement in statements:
                await (await session.connection()).execute(text(statement.replace(":", "\\:")))
    problem = violations.named(caught.value)
    if kind is None:
        assert problem is None
    else:
        assert type(problem) is kind
        assert problem.extra.get("field") == field


async def test_row_in_use_is_a_conflict(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.begin() as session:
            connection = await session.connection()
            for statement in (
                "INSERT INTO channel(id, type, name, config, secrets, active, version) "
                "VALUES ('00000000-0000-0000-0000-000000000001', 'x', 'x', '{}', '', true, 1)",
                "INSERT INTO contact(id, tier, attributes, version) "
                "VALUES ('00000000-0000-0000-0000-000000000002', 'standard', '{}', 1)",
                "INSERT INTO contact_identity(id, contact_id, channel_id, kind, value, address) VALUES "
                "('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000002', "
                "'00000000-0000-0000-0000-000000000001', 'x', 'x', '{}')",
                "INSERT INTO conversation(id, channel_id, channel_type, contact_id, identity_id, status, category, matter, "
                "corrected, priority, last_seq, stream_pos, cycle, contact_read_seq, participant_ids) VALUES (gen_random_uuid(), "
                "'00000000-0000-0000-0000-000000000001', 'x', '00000000-0000-0000-0000-000000000002', "
                "'00000000-0000-0000-0000-000000000003', 'open', 'routine', 'enquiry', false, 0, 0, 0, 1, 0, '{}')",
                "DELETE FROM contact",
            ):
                await connection.execute(text(statement))
    problem = violations.named(caught.value)
    assert type(problem) is errors.Conflict


def test_other_errors_are_not_ours_to_name() -> None:
    quiet: Callable[[BaseException], Problem | None] = violations.named
    assert quiet(FileNotFoundError("x")) is None
    assert type(quiet(OSError("Multiple exceptions: ..."))) is errors.Unavailable
