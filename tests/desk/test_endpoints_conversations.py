"""Conversations over HTTP: who sees what, who may do what, and what every verb answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel import col, select

from app.clock import now, rfc3339
from app.models import Agent, Conversation, Message, Offer, Outbox, QueueEntry
from app.models.words import Role, TokenKind
from tests.desk.house import Caller, House

NOBODY = "01930000-0000-7000-8000-000000000000"
RECEIPT = {"problem": "The chair broke.", "resolution": "We replaced it.", "commitment": "It will hold."}
READS = ("", "/messages", "/events", "/sla", "/routing")
VERBS: dict[str, dict[str, Any]] = {
    "messages": {"text": "hello"},
    "classify": {"category": "urgent", "reason": "it smokes"},
    "transfer": {},
    "resolve": RECEIPT,
    "reopen": {},
    "snooze": {"until": "2099-01-01T00:00:00Z"},
    "hold": {},
    "resume": {},
}


async def test_conversation_has_everything_at_hand(house: House, supervisor: Caller) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    shown = await supervisor.get(f"/conversations/{conversation}")
    assert shown["id"] == str(conversation)
    assert shown["contact"]["name"] == "Mei"
    assert (shown["category"], shown["priority"], shown["last_seq"]) == ("routine", 0, 1)
    assert shown["owner_id"] == shown["assignee_id"] == str(agent.id)
    assert isinstance(shown["sla"], list)
    assert shown["created_at"].endswith("Z")


async def test_what_is_not_yours_is_not_there(house: House) -> None:
    queue, other = await house.default_queue(), await house.queue()
    stranger = await house.agent(other)
    member, owner = await house.agent(queue), await house.agent(other)
    conversation = await house.conversation(queue, assignee=owner)
    key = await house.caller(Role.SUPERVISOR, TokenKind.API)
    for path in READS:
        hidden = await stranger.call("GET", f"/conversations/{conversation}{path}", expect=404)
        assert hidden.json()["code"] == "not-found"
        for caller in (member, owner, key):
            await caller.get(f"/conversations/{conversation}{path}")
        await member.call("GET", f"/conversations/{NOBODY}{path}", expect=404)


async def test_only_who_has_it_may_act_in_it(house: House) -> None:
    queue = await house.default_queue()
    owner, member, stranger = await house.agent(queue), await house.agent(queue), await house.agent()
    conversation = await house.conversation(queue, assignee=owner)
    for verb, body in VERBS.items():
        path = f"/conversations/{conversation}/{verb}"
        assert (await member.post(path, body, expect=409))["code"] == "not-assigned", verb
        assert (await stranger.post(path, body, expect=404))["code"] == "not-found", verb
        assert (await owner.call("POST", path, json=body)).status_code in (200, 201, 409, 422), verb


async def test_who_is_offered_it_sees_it(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent()
    conversation = await house.conversation(queue)
    path = f"/conversations/{conversation}"
    await agent.call("GET", path, expect=404)
    offer = Offer(
        conversation_id=conversation,
        agent_id=agent.id,
        queue_id=queue,
        weight=1,
        expires_at=now() + timedelta(minutes=1),
    )
    await house.add(offer)
    assert (await agent.get(path))["offer"]["agent_id"] == str(agent.id)
    assert len(await agent.all("/conversations")) == 1
    await agent.post(f"{path}/messages", {"kind": "note", "text": "I know them"})
    async with house.database.begin() as session:
        (await session.get_one(Offer, offer.id)).status = "expired"
    await agent.call("GET", path, expect=404)
    await agent.post(f"{path}/messages", {"kind": "note", "text": "late"}, expect=404)


async def test_list_holds_what_you_see_and_each_once(house: House, supervisor: Caller) -> None:
    queue, other = await house.default_queue(), await house.queue()
    agent = await house.agent(queue)
    theirs = {str(await house.conversation(queue)) for _ in range(7)}
    hidden = {str(await house.conversation(other)) for _ in range(4)}
    for limit in (1, 2, 3, 7, 200):
        seen = [item["id"] for item in await agent.all("/conversations", limit=limit)]
        assert len(seen) == 7
        assert set(seen) == theirs
        assert seen == sorted(seen, reverse=True)
    everything = [item["id"] for item in await supervisor.all("/conversations", limit=4)]
    assert len(everything) == 11
    assert set(everything) == theirs | hidden


async def test_list_can_be_filtered(house: House, supervisor: Caller) -> None:
    queue, other = await house.default_queue(), await house.queue()
    agent = await house.agent(queue)
    plain = str(await house.conversation(queue))
    urgent = str(await house.conversation(other, assignee=agent, category="urgent", status="on_hold"))
    contact = (await supervisor.get(f"/conversations/{urgent}"))["contact_id"]
    await supervisor.post(f"/conversations/{plain}/messages", {"kind": "note", "text": "a change is an event"})
    later = rfc3339(now() + timedelta(hours=1))
    for filters, expected in (
        ({"status": "on_hold"}, {urgent}),
        ({"category": "routine"}, {plain}),
        ({"queue_id": str(other)}, {urgent}),
        ({"assignee_id": str(agent.id)}, {urgent}),
        ({"contact_id": contact}, {urgent}),
        ({"channel_type": "partner"}, {plain, urgent}),
        ({"channel_type": "webchat"}, set()),
        ({"updated_after": later}, set()),
        ({"updated_after": "2020-01-01T00:00:00Z", "status": "open"}, {plain}),
    ):
        assert {item["id"] for item in await supervisor.all("/conversations", **filters)} == expected, filters


BAD_FILTERS = [
    ({"status": "asleep"}, "status"),
    ({"category": "vip"}, "category"),
    ({"queue_id": "x"}, "queue_id"),
    ({"updated_after": "yesterday"}, "updated_after"),
    ({"updated_after": "2026-01-01T00:00:00"}, "updated_after"),
    ({"limit": "0"}, "limit"),
    ({"limit": "201"}, "limit"),
    ({"cursor": "!!!"}, "cursor"),
    ({"cursor": "AAAA"}, "cursor"),
    ({"cursor": "é"}, "cursor"),
]


async def test_refused_filter_is_named(supervisor: Caller) -> None:
    for params, field in BAD_FILTERS:
        problem = (await supervisor.call("GET", "/conversations", params=params, expect=422)).json()
        assert (problem["code"], problem["field"]) == ("invalid", field), params


async def test_messages_go_on_where_one_stopped(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}/messages"
    for number in range(2, 7):
        sent = await agent.post(path, {"text": f"reply {number}"})
        assert (sent["seq"], sent["direction"], sent["status"]) == (number, "outbound", "queued")
    for limit in (1, 2, 5, 200):
        assert [item["seq"] for item in await agent.all(path, limit=limit)] == [1, 2, 3, 4, 5, 6]
    assert [item["seq"] for item in (await agent.get(path, params={"after_seq": 4}))["items"]] == [5, 6]
    assert (await agent.call("GET", path, params={"cursor": "AAAA"}, expect=422)).json()["field"] == "cursor"


async def test_reply_goes_out_and_note_stays_inside(house: House) -> None:
    queue = await house.default_queue()
    agent, member = await house.agent(queue), await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}/messages"
    note = await member.post(path, {"kind": "note", "text": "a regular"})
    reply = await agent.post(path, {"kind": "reply", "text": "Hello Mei", "client_message_id": "c1"})
    again = await agent.post(path, {"kind": "reply", "text": "Hello Mei", "client_message_id": "c1"})
    assert (note["direction"], note["status"], note["author"]["id"]) == ("note", None, str(member.id))
    assert reply == again
    async with house.database.begin() as session:
        queued = (await session.exec(select(Outbox))).all()
        assert [str(row.message_id) for row in queued] == [reply["id"]]


async def test_api_key_speaks_for_the_installation(house: House) -> None:
    key = await house.caller(Role.SUPERVISOR, TokenKind.API)
    conversation = await house.conversation(await house.default_queue())
    sent = await key.post(f"/conversations/{conversation}/messages", {"text": "We are on it."})
    assert sent["author"] == {"type": "system", "id": None, "name": None}


BAD_BODIES = [
    ("messages", {"text": " "}, "text"),
    ("messages", {"kind": "shout", "text": "x"}, "kind"),
    ("messages", {"text": "x", "attachments": [NOBODY]}, "attachments.0"),
    ("messages", {"text": "x", "to": "y"}, "to"),
    ("classify", {"category": "urgent"}, "reason"),
    ("classify", {"category": "big", "reason": "x"}, "category"),
    (
        "classify",
        {"category": "urgent", "matter": "enquiry", "complaint_type": "process", "reason": "x"},
        "complaint_type",
    ),
    ("transfer", {}, "agent_id"),
    ("transfer", {"agent_id": NOBODY}, "agent_id"),
    ("transfer", {"queue_id": NOBODY}, "queue_id"),
    ("resolve", {**RECEIPT, "resolution": ""}, "resolution"),
    ("resolve", {**RECEIPT, "commitment": "   "}, "commitment"),
    ("resolve", {**RECEIPT, "problem": "x" * 4001}, "problem"),
    ("snooze", {"until": "2020-01-01T00:00:00Z"}, "until"),
    ("snooze", {"until": "tomorrow"}, "until"),
    ("hold", {"waiting_on_customer": "perhaps"}, "waiting_on_customer"),
]


async def test_refused_verb_names_the_field(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    for verb, body, field in BAD_BODIES:
        problem = await agent.post(f"/conversations/{conversation}/{verb}", body, expect=422)
        assert (problem["code"], problem["field"]) == ("invalid", field), (verb, body)


async def test_correction_is_kept_and_moves_what_waits(house: House, supervisor: Caller) -> None:
    queue = await house.default_queue()
    experts = await house.queue("Experts", category="complex")
    conversation = await house.conversation(queue)
    path = f"/conversations/{conversation}"
    body = {"category": "complex", "severity": "major", "complaint_type": "product", "reason": "a whole kitchen"}
    shown = await supervisor.post(f"{path}/classify", body, expect=200)
    assert (shown["category"], shown["severity"]) == ("complex", "major")
    assert (shown["matter"], shown["complaint_type"]) == ("complaint", "product")
    assert shown["queue_id"] == str(experts)
    history = await supervisor.all(f"{path}/events")
    assert history[0]["payload"]["reason"] == "a whole kitchen"
    kept = await supervisor.post(f"{path}/classify", {"category": "routine", "reason": "no"}, expect=200)
    assert (kept["severity"], kept["complaint_type"]) == ("major", "product")
    cleared = {"category": "routine", "matter": "enquiry", "severity": None, "reason": "no"}
    shown = await supervisor.post(f"{path}/classify", cleared, expect=200)
    assert (shown["severity"], shown["complaint_type"]) == (None, None)


async def test_transfer_to_a_queue_frees_the_agent(house: House) -> None:
    queue, other = await house.default_queue(), await house.queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}"
    shown = await agent.post(f"{path}/transfer", {"queue_id": str(other), "note": "for you"}, expect=200)
    assert (shown["queue_id"], shown["assignee_id"], shown["owner_id"]) == (str(other), None, str(agent.id))
    async with house.database.begin() as session:
        assert (await session.get_one(Agent, agent.id)).load == 0
        assert (await session.get_one(QueueEntry, conversation)).note == "for you"


async def test_resolve_sends_the_receipt_and_reopen_goes_on(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}"
    shown = await agent.post(f"{path}/resolve", RECEIPT, expect=200)
    assert shown["status"] == "resolved"
    assert {name: shown["receipt"][name] for name in RECEIPT} == RECEIPT
    token = shown["receipt"]["url"].removeprefix(f"{house.context.settings.base_url}/f/")
    assert house.context.vault.verify("feedback", token) == UUID(shown["receipt"]["id"])
    async with house.database.begin() as session:
        receipt = (await session.exec(select(Message).where(col(Message.kind) == "receipt"))).one()
        assert shown["receipt"]["url"] in receipt.text
        assert (await session.get_one(Agent, agent.id)).load == 0
    assert (await agent.post(f"{path}/resolve", RECEIPT, expect=409))["code"] == "conflict"
    assert (await agent.post(f"{path}/messages", {"text": "one more"}, expect=409))["code"] == "conflict"
    assert (await agent.post(f"{path}/resume", expect=409))["code"] == "conflict"

    again = await agent.post(f"{path}/reopen", {"reason": "they called"}, expect=200)
    assert (again["status"], again["cycle"], again["assignee_id"]) == ("open", 2, str(agent.id))
    assert (await agent.post(f"{path}/reopen", expect=409))["code"] == "conflict"


async def test_matter_that_nobody_had_waits_again_when_reopened(house: House, supervisor: Caller) -> None:
    conversation = await house.conversation(await house.default_queue())
    path = f"/conversations/{conversation}"
    await supervisor.post(f"{path}/resolve", RECEIPT, expect=200)
    assert (await supervisor.get(f"{path}/routing"))["entry"] is None
    await supervisor.post(f"{path}/reopen", expect=200)
    assert (await supervisor.get(f"{path}/routing"))["entry"]["state"] == "waiting"


async def test_closed_conversation_stays_closed(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent, status="closed")
    for verb in ("messages", "resolve", "reopen", "snooze", "hold", "resume"):
        problem = await agent.post(f"/conversations/{conversation}/{verb}", VERBS[verb], expect=409)
        assert problem["code"] == "conversation-closed", verb
    await agent.post(f"/conversations/{conversation}/messages", {"kind": "note", "text": "for the record"})


async def test_pauses(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}"
    assert (await agent.post(f"{path}/hold", expect=200))["status"] == "on_hold"
    waiting = await agent.post(f"{path}/hold", {"waiting_on_customer": True}, expect=200)
    assert waiting["status"] == "waiting_on_customer"
    snoozed = await agent.post(f"{path}/snooze", {"until": "2099-01-01T08:00:00+08:00"}, expect=200)
    assert (snoozed["status"], snoozed["snoozed_until"]) == ("snoozed", "2099-01-01T00:00:00.000000Z")
    opened = await agent.post(f"{path}/reopen", expect=200)
    assert (opened["status"], opened["cycle"]) == ("open", 1)
    assert (await agent.post(f"{path}/resume", expect=200))["status"] == "open"


async def test_history_says_who_did_what_when(house: House) -> None:
    queue = await house.default_queue()
    agent = await house.agent(queue)
    conversation = await house.conversation(queue, assignee=agent)
    path = f"/conversations/{conversation}"
    await agent.post(f"{path}/messages", {"text": "hello"}, headers={"X-Request-Id": "trace-9"})
    await agent.post(f"{path}/resolve", RECEIPT, expect=200)
    everything = await agent.all(f"{path}/events", limit=1)
    assert [event["type"] for event in everything][:2] == ["message.created", "conversation.resolved"]
    assert everything[0]["actor"] == {"type": "agent", "id": str(agent.id), "name": "Ada"}
    assert everything[0]["correlation_id"] == "trace-9"
    assert [event["id"] for event in everything] == sorted({event["id"] for event in everything})
    assert len(everything) == len(await agent.all(f"{path}/events"))


async def test_refused_verb_leaves_nothing_behind(house: House, supervisor: Caller) -> None:
    """A refusal after work has begun: the whole transaction goes."""
    conversation = await house.conversation(await house.default_queue())
    path = f"/conversations/{conversation}"
    before = await supervisor.get(path)
    for nothing in (" ", "\u200b\u3164\ufeff"):
        refused = await supervisor.post(f"{path}/resolve", {**RECEIPT, "commitment": nothing}, expect=422)
        assert refused["field"] == "commitment"
    await supervisor.post(f"{path}/messages", {"text": "x", "attachments": [NOBODY]}, expect=422)
    assert await supervisor.get(path) == before
    assert (await supervisor.get(f"{path}/routing"))["entry"]["state"] == "waiting"
    async with house.database.begin() as session:
        assert (await session.get_one(Conversation, conversation)).last_seq == 1
