"""Attachments, contacts, the journal, and the edge itself."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import select

from app.ids import new_id
from app.models import Attachment, Contact, Event, InboundJournal
from app.models.words import JournalStatus
from app.settings import Settings
from tests.desk.house import SECRET, Caller, House, build_app, build_client

PNG = {"Content-Type": "image/png"}


async def upload(caller: Caller, data: bytes, name: str = "chair.png", **headers: str) -> Any:
    sent = {**PNG, **headers}
    response = await caller.call("POST", "/attachments", content=data, params={"name": name}, headers=sent, expect=201)
    return response.json()


async def test_file_goes_with_the_reply_and_is_seen_by_who_sees_that(house: House, supervisor: Caller) -> None:
    queue = await house.default_queue()
    agent, stranger = await house.agent(queue), await house.agent()
    conversation = await house.conversation(queue, assignee=agent)
    file = await upload(agent, b"\x89PNG...")
    assert (file["name"], file["media_type"], file["size"]) == ("chair.png", "image/png", 7)
    await stranger.call("GET", f"/attachments/{file['id']}", expect=404)
    await agent.call("GET", f"/attachments/{file['id']}", expect=404)

    body = {"text": "like this one?", "attachments": [file["id"]], "client_message_id": "c1"}
    sent = await agent.post(f"/conversations/{conversation}/messages", body)
    assert [item["id"] for item in sent["attachments"]] == [file["id"]]
    assert await agent.post(f"/conversations/{conversation}/messages", body) == sent
    for caller in (agent, supervisor):
        got = await caller.call("GET", f"/attachments/{file['id']}", expect=200)
        assert got.content == b"\x89PNG..."
        assert got.headers["content-type"] == "image/png"
        assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''chair.png"
        assert got.headers["x-content-type-options"] == "nosniff"
    await stranger.call("GET", f"/attachments/{file['id']}", expect=404)


async def test_file_of_a_conversation_out_of_sight_cannot_be_sent_on(house: House, supervisor: Caller) -> None:
    queue, other = await house.default_queue(), await house.queue()
    agent, stranger = await house.agent(queue), await house.agent(other)
    first, second = await house.conversation(queue, assignee=agent), await house.conversation(other, assignee=stranger)
    file = await upload(agent, b"private")
    body = {"text": "x", "attachments": [file["id"]]}
    await agent.post(f"/conversations/{first}/messages", body)
    refused = await stranger.post(f"/conversations/{second}/messages", body, expect=422)
    assert refused["field"] == "attachments.0"
    forwarded = await supervisor.post(f"/conversations/{second}/messages", body)
    copy = forwarded["attachments"][0]["id"]
    assert copy != file["id"]
    await stranger.call("GET", f"/attachments/{copy}", expect=200)
    await stranger.call("GET", f"/attachments/{file['id']}", expect=404)


async def test_script_is_only_a_file(house: House, supervisor: Caller) -> None:
    file = await upload(
        supervisor,
        b"<script>alert(1)</script>",
        '../../etc/"page\r\n.html',
        **{"Content-Type": "text/html; charset=utf-8"},
    )
    assert file["name"] == '"page.html'
    got = await supervisor.call("GET", f"/attachments/{file['id']}", expect=200)
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''%22page.html"
    assert "sandbox" in got.headers["content-security-policy"]
    odd = await upload(supervisor, b"x", **{"Content-Type": "nonsense"})
    assert odd["media_type"] == "application/octet-stream"


async def test_upload_has_limits(house: House, supervisor: Caller) -> None:
    house.context.settings = house.context.settings.model_copy(update={"attachment_limit": 10})
    too_large = await supervisor.call("POST", "/attachments", content=b"x" * 11, headers=PNG, expect=413)
    assert too_large.json()["code"] == "too-large"

    async def pieces() -> Any:
        for _ in range(11):
            yield b"x"

    assert (await supervisor.call("POST", "/attachments", content=pieces(), headers=PNG)).status_code == 413
    await supervisor.call("POST", "/attachments", content=b"x" * 10, headers=PNG, expect=201)
    assert (await supervisor.call("POST", "/attachments", content=b"", headers=PNG, expect=422)).json()[
        "field"
    ] == "body"


async def test_same_upload_twice_by_its_key(house: House, supervisor: Caller) -> None:
    first = await upload(supervisor, b"x", **{"Idempotency-Key": "k"})
    assert await upload(supervisor, b"x", **{"Idempotency-Key": "k"}) == first
    other = await supervisor.call(
        "POST", "/attachments", content=b"y", params={"name": "chair.png"}, headers={**PNG, "Idempotency-Key": "k"}
    )
    assert other.json()["code"] == "idempotency-mismatch"
    async with house.database.begin() as session:
        assert len((await session.exec(select(Attachment))).all()) == 1


async def test_large_json_is_refused(supervisor: Caller) -> None:
    body = b'{"name": "' + b"x" * 2_000_000 + b'"}'
    response = await supervisor.call(
        "POST", "/contacts", content=body, headers={"Content-Type": "application/json"}, expect=413
    )
    assert response.json()["limit"] == 2_000_000


async def test_without_a_token_nothing_is_said(house: House) -> None:
    for header in (None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer rt_admin_nope", "Bearer a b"):
        headers = {} if header is None else {"Authorization": header}
        for path in ("conversations", "channels", f"conversations/{uuid4()}", "queues?limit=x"):
            response = await house.http.get(f"/api/v1/{path}", headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), (header, path)
            assert response.headers["www-authenticate"] == "Bearer"
        response = await house.http.post("/api/v1/queues", headers=headers, content=b"{")
        assert response.status_code == 401


async def test_deactivated_agent_is_unauthorized(house: House, admin: Caller) -> None:
    agent = await house.agent()
    await admin.patch(f"/agents/{agent.id}", 1, {"active": False})
    await agent.call("GET", "/conversations", expect=401)


async def test_contacts_of_ones_conversations(house: House, supervisor: Caller) -> None:
    queue = await house.default_queue()
    agent, stranger = await house.agent(queue), await house.agent()
    conversation = await house.conversation(queue)
    contact = (await supervisor.get(f"/conversations/{conversation}"))["contact"]
    walked_in = await supervisor.post("/contacts", {"name": "Walk-in 50%", "phone": "+86 10 1234"})
    assert [item["id"] for item in await agent.all("/contacts")] == [contact["id"]]
    assert await stranger.all("/contacts") == []
    await stranger.call("GET", f"/contacts/{contact['id']}", expect=404)
    await agent.call("GET", f"/contacts/{walked_in['id']}", expect=404)
    await agent.post("/contacts", {"name": "x"}, expect=403)
    shown = await agent.get(f"/contacts/{contact['id']}")
    assert [identity["kind"] for identity in shown["identities"]] == ["partner"]
    changed = await agent.patch(f"/contacts/{contact['id']}", 1, {"tier": "vip", "attributes": {"stairs": 3}})
    assert (changed["tier"], changed["attributes"]) == ("vip", {"stairs": 3})
    headers = {"If-Match": '"1"'}
    await stranger.call("PATCH", f"/contacts/{contact['id']}", json={"tier": "x"}, headers=headers, expect=404)


async def test_contacts_are_searched(house: House, supervisor: Caller) -> None:
    await supervisor.post("/contacts", {"name": "Walk-in 50%", "phone": "+86 10 1234"})
    await supervisor.post("/contacts", {"email": "MEI@example.org"})
    for q, found in (
        *(("walk", 1), ("50%", 1), ("5_%", 0), ("%", 1), ("mei@", 1)),
        *(("1234", 1), ("nobody", 0), ("\\", 0)),
    ):
        assert len(await supervisor.all("/contacts", q=q)) == found, q
    refused = await supervisor.call("GET", "/contacts", params={"q": "walk\x00"}, expect=422)
    assert refused.json()["field"] == "q"


async def test_contact_values_stay_out_of_the_record(house: House, supervisor: Caller) -> None:
    made = await supervisor.post("/contacts", {"name": "Mei Lin"})
    await supervisor.patch(f"/contacts/{made['id']}", 1, {"phone": "12345"})
    async with house.database.begin() as session:
        events = [event.payload for event in (await session.exec(select(Event))).all()]
    assert events[1]["changed"] == ["phone"]
    assert "Mei" not in str(events)
    assert "12345" not in str(events)


BAD_JSON = [
    rb'{"name": "x", "attributes": {"a": "\u0000"}}',
    rb'{"name": "x", "attributes": {"a": "\ud800"}}',
    rb'{"name": "x", "attributes": {"a": NaN}}',
    rb'{"name": "\ud800"}',
    rb'{"name": "\u0000"}',
    b'{"name": "\xff"}',
    b"[]",
    b"null",
    b"",
]


async def test_bodies_that_cannot_be_stored_are_refused(supervisor: Caller) -> None:
    headers = {"Content-Type": "application/json"}
    for body in BAD_JSON:
        refused = await supervisor.call("POST", "/contacts", content=body, headers=headers)
        assert refused.status_code in (400, 422), body
        assert refused.json()["code"] in ("invalid", "bad-request")


async def test_queries_that_cannot_be_asked(supervisor: Caller) -> None:
    for path in ("/conversations?channel_type=%00", "/canned-replies?shortcut=%00", "/contacts?email=%00"):
        assert (await supervisor.call("GET", path)).status_code in (200, 422), path


async def test_every_list_can_be_walked(house: House, supervisor: Caller) -> None:
    await house.add(*(Contact(name=str(number)) for number in range(7)))
    for limit in (1, 3, 7, 200):
        names = [item["name"] for item in await supervisor.all("/contacts", limit=limit)]
        assert names == [str(number) for number in reversed(range(7))]
    rules = [item["code"] for item in await supervisor.all("/classification-rules", limit=20)]
    assert len(rules) == len(set(rules)) > 20


async def _journalled(house: House, **fields: Any) -> UUID:
    channel_id = await house.channel()
    values: dict[str, Any] = {"status": JournalStatus.FAILED, "error": "text: missing", "body": b"{}", **fields}
    row = InboundJournal(id=new_id(), channel_id=channel_id, transport="http", **values)
    await house.add(row)
    return row.id


async def test_journal_shows_the_raw_call(house: House, admin: Caller) -> None:
    headers = {"webhook-id": "1", "X-Telegram-Bot-Api-Secret-Token": SECRET, "authorization": "Basic x"}
    failed = await _journalled(house, body=b"\x00\xff", headers=headers)
    await _journalled(house, status=JournalStatus.STORED, error=None)
    assert len(await admin.all("/inbound-journal", limit=1)) == 2
    listed = await admin.all("/inbound-journal", status="failed")
    assert [item["id"] for item in listed] == [str(failed)]
    shown = await admin.call("GET", f"/inbound-journal/{failed}", expect=200)
    assert base64.b64decode(shown.json()["body"]) == b"\x00\xff"
    assert shown.json()["headers"]["webhook-id"] == "1"
    assert SECRET not in shown.text
    assert "Basic" not in shown.text


async def test_failed_call_is_read_again(house: House, admin: Caller) -> None:
    house.context.intake.start()
    try:
        body = b'{"id": "m1", "from": {"id": "u1", "name": "Mei"}, "text": "hello"}'
        failed = await _journalled(house, body=body)
        first = await admin.post(f"/inbound-journal/{failed}/replay", expect=200)
        second = await admin.post(f"/inbound-journal/{failed}/replay", expect=200)
    finally:
        await house.context.intake.stop()
    assert (first["id"], first["status"]) == (str(failed), "replayed")
    assert len(first["messages"]) == 1
    assert second["messages"] == first["messages"]
    await admin.post(f"/inbound-journal/{uuid4()}/replay", expect=404)


async def test_slow_body_holds_no_connection(house: House, admin: Caller, settings: Settings) -> None:
    """More callers than connections send their bodies slowly; others are served meanwhile."""
    go_on = asyncio.Event()
    callers = settings.pool_size * 2 + 5

    async def slowly() -> Any:
        yield b'{"name": '
        await go_on.wait()
        yield b'"A"}'

    headers = {"Content-Type": "application/json"}
    tasks = [
        asyncio.create_task(admin.call("POST", "/contacts", content=slowly(), headers=headers)) for _ in range(callers)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await admin.get("/queues")
    go_on.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} == {201}


async def test_the_document_tells_the_truth(house: House, admin: Caller) -> None:
    """Every call is documented with its security, its headers, its answer and its refusals."""
    async with build_client(build_app(house.context)) as http:
        document = (await http.get("/openapi.json")).json()
    paths = {path: calls for path, calls in document["paths"].items() if path.startswith("/api/v1/")}
    assert len(paths) > 25
    for path, calls in paths.items():
        for method, call in calls.items():
            assert call["security"], (method, path)
            assert any(status.startswith("2") for status in call["responses"]), (method, path)
            for status in ("422", "default"):
                assert list(call["responses"][status]["content"]) == ["application/problem+json"], (method, path)
            headers = {one["name"]: one["required"] for one in call.get("parameters", ()) if one["in"] == "header"}
            assert headers == {"post": {"Idempotency-Key": False}, "patch": {"If-Match": True}}.get(method, {})
