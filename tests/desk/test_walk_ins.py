"""Matters that an agent enters by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from app.catalog import seal_secrets
from app.channels import capable
from app.channels.registry import ADAPTERS
from app.desk import auth
from app.desk.endpoints import walk_ins
from app.models import Agent, Channel, Contact, ContactIdentity, Conversation, Outbox, QueueEntry, SlaClock
from app.models.words import Role
from tests.desk.house import Caller, House

PATH = "/conversations"
ANNA = {"name": "Anna", "email": "anna@example.org"}


@pytest.fixture
async def clerk(house: House) -> AsyncIterator[Caller]:
    """An agent whose intake runs."""
    house.context.intake.start()
    yield await house.agent()
    await house.context.intake.stop()


def matter(text: str = "The drawer does not close.", **more: Any) -> dict[str, Any]:
    return {"contact": ANNA, "text": text, **more}


async def rows(house: House, table: Any, *where: Any) -> list[Any]:
    async with house.database.begin() as session:
        return list((await session.exec(select(table).where(*where))).all())


async def add_channel(house: House, type: str, config: dict[str, Any], secrets: dict[str, Any]) -> str:
    row = Channel(type=type, name=type, config=config, secrets=seal_secrets(house.context.vault, secrets))
    async with house.database.begin() as session:
        session.add(row)
        await house.context.catalog.changed(session)
    return str(row.id)


async def mailing(house: House) -> str:
    return await add_channel(house, "email", {"address": "help@shop.example"}, {"smtp_url": "smtp://127.0.0.1:9"})


async def test_it_is_a_conversation_like_any_other(house: House, clerk: Caller, supervisor: Caller) -> None:
    at = "2026-11-20T09:30:00Z"
    made = await clerk.post(PATH, matter(subject="Drawer", channel="letter", occurred_at=at))
    assert (made["channel_type"], made["status"], made["subject"]) == ("walk_in", "open", "Drawer")
    assert made["progress_url"].startswith("http")
    shown = await supervisor.get(f"{PATH}/{made['id']}")
    assert (shown["contact"]["name"], shown["contact"]["email"]) == ("Anna", "anna@example.org")
    [message] = (await supervisor.get(f"{PATH}/{made['id']}/messages"))["items"]
    assert message["id"] == made["message_id"]
    assert (message["direction"], message["text"], message["sent_at"]) == (
        "inbound",
        matter()["text"],
        "2026-11-20T09:30:00.000000Z",
    )
    assert message["entered"] == {"by": {"id": str(clerk.id), "name": "Ada"}, "channel": "letter"}
    assert len(await rows(house, QueueEntry)) == 1
    assert {clock.metric for clock in await rows(house, SlaClock)} >= {"first_response", "resolution"}
    events = await supervisor.get(f"{PATH}/{made['id']}/events")
    assert [event["type"] for event in events["items"]][:2] == ["conversation.created", "message.created"]


async def test_what_the_agent_knows_counts_more_than_the_rules(house: House, clerk: Caller) -> None:
    queue_id = await house.queue("Repairs", category="complex")
    given = matter(matter="complaint", severity="major", category="urgent", queue_id=str(queue_id))
    made = await clerk.post(PATH, given)
    assert (made["matter"], made["severity"], made["category"]) == ("complaint", "major", "urgent")
    assert (made["complaint_type"] is not None, made["queue_id"]) == (True, str(queue_id))
    [entry] = await rows(house, QueueEntry)
    assert (entry.queue_id, entry.escalated) == (queue_id, True)
    [row] = await rows(house, Conversation)
    assert row.corrected


async def test_who_enters_it_may_keep_it(house: House, clerk: Caller) -> None:
    made = await clerk.post(PATH, matter(assign_to_me=True))
    assert made["assignee_id"] == made["owner_id"] == str(clerk.id)
    assert await rows(house, QueueEntry) == []
    [agent] = await rows(house, Agent, Agent.id == clerk.id)
    assert agent.load == 1


async def test_who_has_no_room_keeps_nothing_and_nothing_is_stored(house: House, clerk: Caller) -> None:
    full = await house.agent(capacity=1)
    async with house.database.begin() as session:
        agent = await session.get_one(Agent, full.id)
        agent.load = 1
        session.add(agent)
    refused = await full.call("POST", PATH, json=matter(assign_to_me=True), expect=409)
    assert refused.json()["code"] == "capacity-exceeded"
    assert await rows(house, Conversation) == []


async def test_the_same_key_is_the_same_matter(house: House, clerk: Caller) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await clerk.post(PATH, matter(), headers=headers)
    again = await clerk.call("POST", PATH, json=matter(), headers=headers, expect=201)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first, "true")
    await clerk.call("POST", PATH, json=matter("another"), headers=headers, expect=422)
    other = await clerk.post(PATH, matter(), headers={"Idempotency-Key": "k2"})
    assert other["id"] != first["id"]
    assert other["contact_id"] == first["contact_id"], "one customer, two matters"


async def test_an_answer_that_was_lost_is_found_by_its_key(house: House, clerk: Caller) -> None:
    """The matter was stored, and the process died before it said so: the key was not kept."""
    async with house.database.begin() as session:
        principal = await auth.authenticate(session, clerk.token)
        given = walk_ins.NewConversation.model_validate(matter(assign_to_me=True))
        key = walk_ins.key_of(principal.token_id, "k1")
        lost = await walk_ins.enter(given, session, house.context, principal, key=key)
    made = await clerk.post(PATH, matter(assign_to_me=True), headers={"Idempotency-Key": "k1"})
    assert (made["id"], made["message_id"]) == (str(lost.id), str(lost.message_id))
    assert len(await rows(house, Conversation)) == len(await rows(house, Contact)) == 1


async def test_whoever_is_known_is_not_made_again(house: House, clerk: Caller) -> None:
    channel_id = UUID(await mailing(house))
    known = Contact(name="Ben")
    await house.add(
        known, ContactIdentity(contact_id=known.id, channel_id=channel_id, kind="email", value="ben@x.example")
    )
    by_writing = await clerk.post(PATH, matter(contact={"email": "Ben@x.example"}))
    recorded = Contact(name="Eve", phone="+4930123456")
    await house.add(recorded)
    by_number = await clerk.post(PATH, matter(contact={"phone": "+49 (30) 123-456", "name": "E."}))
    by_id = await clerk.post(PATH, matter(contact={"id": str(recorded.id)}))
    nobody = await clerk.post(PATH, matter(contact={}))
    assert by_writing["contact_id"] == str(known.id)
    assert by_number["contact_id"] == by_id["contact_id"] == str(recorded.id)
    assert nobody["contact_id"] not in (str(known.id), str(recorded.id))


async def test_the_same_new_customer_by_many_at_once_is_one(house: House, clerk: Caller) -> None:
    made = await asyncio.gather(*(clerk.post(PATH, matter(f"matter {number}")) for number in range(5)))
    assert len({one["id"] for one in made}) == 5
    assert len({one["contact_id"] for one in made}) == 1
    assert len(await rows(house, Contact)) == 1


async def test_how_they_can_be_answered_is_told_up_front(house: House, clerk: Caller) -> None:
    cannot = await clerk.post(PATH, matter(assign_to_me=True))
    assert cannot["answers"] == {"possible": False, "channel_id": None, "channel_type": None, "name": None}
    path = f"{PATH}/{cannot['id']}/messages"
    refused = await clerk.call("POST", path, json={"kind": "reply", "text": "Come by tomorrow"}, expect=409)
    assert (refused.json()["code"], refused.json()["allowed"]) == ("no-reply-channel", ["note"])
    await clerk.post(path, {"kind": "note", "text": "We ring her tomorrow"})

    by_mail = await mailing(house)
    can = await clerk.get(f"{PATH}/{cannot['id']}")
    assert can["answers"] == {"possible": True, "channel_id": by_mail, "channel_type": "email", "name": "email"}
    sent = await clerk.post(path, {"kind": "reply", "text": "Come by tomorrow"})
    assert sent["status"] == "queued"
    [waiting] = await rows(house, Outbox)
    [identity] = await rows(house, ContactIdentity, ContactIdentity.kind == "email")
    assert (str(waiting.channel_id), waiting.identity_id) == (by_mail, identity.id)
    assert (identity.value, identity.address) == ("anna@example.org", {"email": "anna@example.org"})


async def test_a_channel_that_comes_later_changes_nothing_for_who_waits(house: House, clerk: Caller) -> None:
    first = await mailing(house)
    made = await clerk.post(PATH, matter(assign_to_me=True))
    await mailing(house)
    seen = await clerk.get(f"{PATH}/{made['id']}")
    assert made["answers"]["channel_id"] == seen["answers"]["channel_id"] == first
    await clerk.post(f"{PATH}/{made['id']}/messages", {"kind": "reply", "text": "Come by tomorrow"})
    [waiting] = await rows(house, Outbox)
    assert str(waiting.channel_id) == first


async def test_capabilities_are_those_of_the_way_that_answers_take(house: House, clerk: Caller) -> None:
    made = await clerk.post(PATH, matter(assign_to_me=True))
    path = f"{PATH}/{made['id']}"

    async def told() -> list[dict[str, Any]]:
        [listed] = (await clerk.get(PATH))["items"]
        return [(await clerk.get(path))["capabilities"], listed["capabilities"]]

    for mute in await told():
        assert (mute["answers"], mute["window"]["open"]) == (False, False)
        assert (mute["window"]["allowed"], mute["window"]["why"]) == (["note"], "no_channel")
    await add_channel(house, "sms", {"account_sid": "AC1", "number": "+15005550006"}, {"auth_token": "t"})
    assert [can["answers"] for can in await told()] == [False, False], "there is an address, and no number"
    await mailing(house)
    for can in await told():
        assert (can["answers"], can["window"]["open"], can["window"]["allowed"]) == (True, True, ["reply"])
        assert can["text"] == capable.shape(ADAPTERS["email"].capabilities)["text"]


async def test_why_a_named_channel_does_not_do_is_told(house: House, clerk: Caller, admin: Caller) -> None:
    texting = await add_channel(house, "sms", {"account_sid": "AC1", "number": "+15005550006"}, {"auth_token": "t"})
    made = await clerk.post(PATH, matter(reply_channel_id=texting, assign_to_me=True))
    path = f"{PATH}/{made['id']}/messages"
    refused = await clerk.call("POST", path, json={"kind": "reply", "text": "x"}, expect=409)
    assert refused.json()["detail"] == "Answers go by sms, and no address of the customer is known for it."
    await admin.call("DELETE", f"/channels/{texting}", expect=204)
    refused = await clerk.call("POST", path, json={"kind": "reply", "text": "x"}, expect=409)
    assert refused.json()["detail"] == "The channel by which answers to this one go is not active."


async def test_there_is_one_channel_for_walk_ins(house: House, clerk: Caller, admin: Caller) -> None:
    another = {"type": "walk_in", "name": "Back door"}
    refused = (await admin.call("POST", "/channels", json=another, expect=409)).json()
    assert (refused["code"], refused["field"]) == ("already-exists", "type")


async def test_a_named_channel_is_the_one(house: House, clerk: Caller) -> None:
    await mailing(house)
    texting = await add_channel(house, "sms", {"account_sid": "AC1", "number": "+15005550006"}, {"auth_token": "t"})
    contact = {**ANNA, "phone": "+4930123456"}
    made = await clerk.post(PATH, matter(contact=contact, reply_channel_id=texting, assign_to_me=True))
    assert (made["answers"]["channel_type"], made["answers"]["channel_id"]) == ("sms", texting)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"text": "  "}, "text"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at"),
        ({"queue_id": "01930000-0000-7000-8000-000000000000"}, "queue_id"),
        ({"reply_channel_id": "01930000-0000-7000-8000-000000000000"}, "reply_channel_id"),
        ({"contact": {"id": "01930000-0000-7000-8000-000000000000"}}, "contact.id"),
        ({"contact": {"id": "01930000-0000-7000-8000-000000000000", "name": "x"}}, "contact"),
        ({"channel": "pigeon"}, "channel"),
    ],
)
async def test_what_is_wrong_is_named(house: House, clerk: Caller, wrong: dict[str, Any], field: str) -> None:
    refused = await clerk.call("POST", PATH, json={**matter(), **wrong}, expect=422)
    assert refused.json()["field"] == field
    assert await rows(house, Conversation) == []


async def test_a_key_of_the_installation_enters_matters_and_keeps_none(house: House, clerk: Caller) -> None:
    key = await house.caller(Role.AGENT)
    made = await key.post(PATH, matter())
    assert made["assignee_id"] is None
    await key.call("POST", PATH, json=matter(assign_to_me=True), expect=403)


async def test_a_house_that_switched_walk_ins_off_says_so(house: House, clerk: Caller, admin: Caller) -> None:
    [channel] = (await admin.get("/channels?type=walk_in"))["items"]
    await admin.call("DELETE", f"/channels/{channel['id']}", expect=204)
    await clerk.call("POST", PATH, json=matter(), expect=409)


async def test_as_many_at_once_as_there_are_connections_wait_for_nobody(house: House, clerk: Caller) -> None:
    """Each call holds a connection of the desk's pool while the intake works: it must not need another one of them."""
    many = 2 * house.context.settings.pool_size + 5
    people = [{"name": "Anna", "email": f"anna{number}@example.org"} for number in range(many)]
    calls = [clerk.call("POST", PATH, json={"contact": one, "text": "It squeaks."}) for one in people]
    answers = await asyncio.gather(*calls)  # whoever waits for a connection in vain gets a 503 after 30 s
    assert {answer.status_code for answer in answers} == {201}
