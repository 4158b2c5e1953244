"""What keeps rubbish and repetition out of forms, across processes; and who a submission is taken to be from."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.channels import form_token
from app.channels.form_config import FormConfig
from app.channels.form_read import Submission
from app.clock import now
from app.db import Database
from app.errors import TooManyRequests
from app.intake import form_marks, form_trap
from app.models import Channel
from app.vault import Vault
from tests.support.server import Server

JSON = {"accept": "application/json"}


@pytest.fixture
async def form(database: Database) -> Channel:
    row = Channel(type="form", name="form", config={}, secrets="")
    async with database.begin() as session:
        session.add(row)
    return row


async def test_the_limit_holds_on_two_connections_at_once(database: Database, form: Channel) -> None:
    async def one() -> bool:
        refused = False
        async with database.begin() as session:
            try:
                await form_marks.count(session, form.id, "here", limit=7, window_s=3600)
            except TooManyRequests as problem:
                refused = 0 < problem.extra["retry_after"] <= 3600
        return not refused

    assert sum(await asyncio.gather(*(one() for _ in range(15)))) == 7
    async with database.begin() as session:
        await form_marks.count(session, form.id, "elsewhere", limit=7, window_s=3600)
    async with database.begin() as session:
        await form_marks.count(session, form.id, "here", limit=1, window_s=0)  # a new window


async def test_twins_get_one_key_on_two_connections_at_once(database: Database, form: Channel) -> None:
    async def key(*marks: tuple[str, float]) -> str:
        async with database.begin() as session:
            return await form_marks.key_of(session, form.id, marks)

    keys = await asyncio.gather(*(key(("named", 3600), ("same", 3600)) for _ in range(10)))
    assert len(set(keys)) == 1
    assert await key(("same", 3600)) == keys[0], "another page, the same text within minutes"
    assert await key(("same", 0)) != keys[0], "later it is another message"
    assert await key(("named", 3600), ("same", 0)) == keys[0], "but for who repeats the very submission"
    assert await key(("other", 3600)) != keys[0]


async def test_what_no_window_looks_back_at_goes(database: Database, form: Channel) -> None:
    async with database.begin() as session:
        await form_marks.count(session, form.id, "", limit=9, window_s=60)
        await form_marks.key_of(session, form.id, [("a", 60)])
        await session.execute(text("UPDATE form_count SET since = now() - interval '3 days'"))
        await session.execute(text("UPDATE form_seen SET since = now() - interval '3 days'"))
        await form_marks.key_of(session, form.id, [("b", 60)])
        await form_marks.forget(session)
        left = [
            (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar()
            for table in ("form_count", "form_seen")
        ]
    assert left == [0, 1]


def test_what_gives_a_robot_away(vault: Vault) -> None:
    channel = Channel(type="form", name="x", secrets="")
    at = now()

    def why(submission: Submission, **config: Any) -> str | None:
        made = FormConfig.model_validate({"min_fill_s": 2, **config})
        return form_trap.reason(made, submission, vault=vault, channel_id=channel.id, at=at)

    token = form_token.issue(vault, channel.id, at=at)
    assert why(Submission({})) is None
    assert why(Submission({}, trap="x")) == "the hidden field was filled in"
    assert why(Submission({}, token=token)) == "it was filled in within 2 s"
    assert why(Submission({}, token=token), min_fill_s=0) is None
    assert why(Submission({}, token="forged")) == "the page's token is forged"
    assert why(Submission({}), require_token=True) == "it did not come from our page"


def filled(text: str, email: str = "", **more: str) -> dict[str, str]:
    return {"email": email or f"{secrets.token_hex(4)}@x.example", "message": text, "consent": "on", **more}


async def post(form: dict[str, Any], fields: dict[str, str], **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(form["webhook_url"], data=fields, headers={**JSON, **headers})


async def messages(server: Server, form: dict[str, Any]) -> list[dict[str, Any]]:
    found = await server.api("GET", "/conversations?channel_type=form&limit=200")
    mine = [item for item in found["items"] if item["channel_id"] == form["id"]]
    lists = [await server.api("GET", f"/conversations/{item['id']}/messages") for item in mine]
    return [message for page in lists for message in page["items"]]


async def test_fifty_at_once_on_two_processes_are_one_message(server: Server) -> None:
    form = await server.make_channel("form", {"address_limit": 1000})
    same = filled("The same, fifty times", submission_id="s1")
    answers = await asyncio.gather(*(post(form, same) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["progress_url"] for answer in answers}) == 1
    assert (await post(form, {**same, "submission_id": "s2"})).json()["progress_url"] is None
    assert len(await messages(server, form)) == 1
    again = await post(form, {**same, "message": "Something else"})
    assert again.json() == {"status": "stored", "progress_url": None}, "joined: not everybody with an address may look"
    assert len(await messages(server, form)) == 2


async def test_the_limit_of_an_address_holds_across_processes(server: Server) -> None:
    form = await server.make_channel("form", {"address_limit": 5, "limit_window_s": 3600})
    answers = await asyncio.gather(*(post(form, filled(f"number {number}")) for number in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 7
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["code"], int(refused.headers["retry-after"]) > 0) == ("rate-limited", True)
    shown = await post(form, filled("by hand"), accept="text/html")
    assert (shown.status_code, "text/html" in shown.headers["content-type"]) == (429, True)


async def test_repeats_and_what_is_wrong_do_not_count(server: Server) -> None:
    form = await server.make_channel("form", {"address_limit": 2, "limit_window_s": 3600})
    same = filled("The same")
    sent = [await post(form, same) for _ in range(4)]
    sent += [await post(form, {**same, "email": "nobody"}) for _ in range(3)]
    sent += [await post(form, filled("Another")), await post(form, filled("Too many")), await post(form, same)]
    assert [answer.status_code for answer in sent] == [200] * 4 + [422] * 3 + [200, 429, 200]
    assert int(sent[-2].headers["retry-after"]) > 0
    assert len(await messages(server, form)) == 2


async def test_repeats_are_limited_with_the_channel(server: Server) -> None:
    form = await server.make_channel("form", {"channel_limit": 3, "limit_window_s": 3600})
    same = filled("The same")
    assert [(await post(form, same)).status_code for _ in range(5)] == [200] * 4 + [429]


async def test_what_a_robot_repeats_counts(server: Server) -> None:
    form = await server.make_channel("form", {"address_limit": 2, "limit_window_s": 3600})
    robot = filled("Buy", reference_check="x")
    assert [(await post(form, robot)).status_code for _ in range(4)] == [200, 200, 429, 429]


async def test_a_sites_own_server_sends_for_everybody(server: Server) -> None:
    networks = ["127.0.0.0/8", "::1/128"]
    form = await server.make_channel("form", {"address_limit": 2, "trusted_addresses": networks})
    assert {(await post(form, filled(f"number {number}"))).status_code for number in range(5)} == {200}


async def test_a_foreign_site_is_not_genuine_and_a_listed_one_may_read_the_answer(server: Server) -> None:
    form = await server.make_channel("form", {"allowed_origins": ["https://shop.example"]})
    foreign = await post(form, filled("x"), origin="https://evil.example")
    assert (foreign.status_code, foreign.json()["code"]) == (401, "not-genuine")
    listed = await post(form, filled("y"), origin="https://shop.example")
    assert listed.status_code == 200
    assert listed.headers["access-control-allow-origin"] == "https://shop.example"
    assert len(await messages(server, form)) == 1


async def test_every_wrong_field_is_named(server: Server) -> None:
    form = await server.make_channel("form", {})
    refused = await post(form, {"email": "nobody", "message": ""})
    assert refused.status_code == 422
    assert [item["field"] for item in refused.json()["errors"]] == ["email", "message", "consent"]
    async with httpx.AsyncClient() as client:
        garbage = await client.post(form["webhook_url"], content=b"{", headers={"content-type": "application/json"})
        large = await client.post(
            form["webhook_url"], content=b"x" * 12_000_001, headers={"content-type": "text/plain"}
        )
    assert (garbage.status_code, large.status_code) == (400, 413)
    assert await messages(server, form) == []


async def test_one_customer_is_one_contact(server: Server) -> None:
    form, other = await server.make_channel("form", {}), await server.make_channel("form", {})
    email = f"{secrets.token_hex(4)}@x.example"
    known = await server.api("POST", "/contacts", {"name": "Grace", "email": email})
    for channel, said in ((form, "one"), (form, "two"), (other, "three")):
        assert (await post(channel, filled(said, email.upper()))).status_code == 200
    found = [*await messages(server, form), *await messages(server, other)]
    assert {message["author"]["id"] for message in found} == {known["id"]}
    assert len({message["conversation_id"] for message in found}) == 2, "one per form"
