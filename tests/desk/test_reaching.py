"""What can go out now: windows, templates, refusals, sizes; refused at once with what is possible instead."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.catalog import seal_secrets
from app.channels.base import Refusal, RefusalReason, Sender, StatusUpdate
from app.clock import now
from app.delivery import receipts, refusals
from app.ids import new_id
from app.models import Attachment, Channel, Conversation, Message
from app.models.words import AuthorType, Direction
from tests.desk.house import Caller, House


async def on(house: House, type: str, agent: Caller, **config: Any) -> UUID:
    """A conversation on a channel of this type, assigned to the agent; the customer has just written."""
    channel = Channel(type=type, name=f"our {type}", secrets=seal_secrets(house.context.vault, {}), config=config)
    await house.add(channel)
    house.channel_id = channel.id
    return await house.conversation(await house.default_queue(), assignee=agent)


async def long_ago(house: House, conversation_id: UUID, **ago: float) -> None:
    async with house.database.begin() as session:
        await session.execute(
            text("UPDATE message SET created_at = now() - CAST(:ago AS interval) WHERE conversation_id = :id"),
            {"id": conversation_id, "ago": timedelta(**ago)},
        )


async def writes_again(house: House, conversation_id: UUID, **fields: Any) -> None:
    async with house.database.begin() as session:
        held = await session.get_one(Conversation, conversation_id, with_for_update=True, populate_existing=True)
        held.last_seq += 1
        session.add(held)
        values = {"direction": Direction.INBOUND, "author_type": AuthorType.CONTACT, "text": "hello?", **fields}
        session.add(Message(conversation_id=held.id, seq=held.last_seq, channel_id=held.channel_id, **values))


async def sends(agent: Caller, conversation_id: UUID, expect: int = 201, **body: Any) -> Any:
    return await agent.post(f"/conversations/{conversation_id}/messages", body or {"text": "hi"}, expect=expect)


async def count(house: House, table: str) -> int:
    async with house.database.begin() as session:
        return int((await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def capabilities(agent: Caller, conversation_id: UUID) -> Any:
    return (await agent.get(f"/conversations/{conversation_id}"))["capabilities"]


@pytest.mark.parametrize(
    ("type", "hours"), [("whatsapp", 24), ("messenger", 24), ("instagram", 24), ("wechat", 48), ("wecom", 48)]
)
async def test_a_closed_window_refuses_and_loses_nothing(house: House, type: str, hours: int) -> None:
    agent = await house.agent()
    conversation_id = await on(house, type, agent)
    elsewhere = await on(house, "sms", agent)
    async with house.database.begin() as session:  # the same customer, by text message
        await session.execute(
            text(
                "UPDATE conversation o SET contact_id = c.contact_id FROM conversation c WHERE c.id = :c AND o.id = :o"
            ),
            {"c": conversation_id, "o": elsewhere},
        )
    await long_ago(house, conversation_id, hours=hours - 1)
    window = (await capabilities(agent, conversation_id))["window"]
    assert (window["open"], "reply" in window["allowed"]) == (True, True)
    await sends(agent, conversation_id)
    before = await count(house, "message")
    await long_ago(house, conversation_id, hours=hours, seconds=1)
    refused = await sends(agent, conversation_id, 409, text="too late")
    assert (refused["code"], refused["window"]["why"]) == ("window-closed", "time")
    assert [item["channel_type"] for item in refused["elsewhere"]] == ["sms"]
    assert refused["allowed"] == (["template"] if type == "whatsapp" else [])
    assert await count(house, "message") == before
    # The very text can be kept as a note, or go by the other way.
    await sends(agent, conversation_id, kind="note", text="too late")
    await sends(agent, UUID(refused["elsewhere"][0]["conversation_id"]), text="too late")
    await writes_again(house, conversation_id)
    await sends(agent, conversation_id, text="in time")


async def test_an_answer_that_was_stored_is_there_again_after_the_window(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "whatsapp", agent)
    first = await sends(agent, conversation_id, text="hi", client_message_id="m1")
    await long_ago(house, conversation_id, hours=25)
    assert (await sends(agent, conversation_id, text="hi", client_message_id="m1"))["id"] == first["id"]


async def test_people_may_answer_longer_where_the_operator_has_the_tag(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "messenger", agent, human_agent=True)
    await long_ago(house, conversation_id, hours=25)
    assert (await capabilities(agent, conversation_id))["window"]["allowed"] == ["tag"]
    await sends(agent, conversation_id)
    # A receipt is no person's word.
    parts = {"problem": "a", "resolution": "b", "commitment": "c"}
    await agent.post(f"/conversations/{conversation_id}/resolve", parts, expect=200)
    messages = (await agent.get(f"/conversations/{conversation_id}/messages"))["items"]
    assert [(item["kind"], item["status"], item.get("error_code")) for item in messages[1:]] == [
        ("reply", "queued", None),
        ("receipt", "failed", "window-closed"),
    ]
    assert await count(house, "outbox") == 1
    await long_ago(house, conversation_id, hours=7 * 24 + 1)
    assert not (await capabilities(agent, conversation_id))["window"]["open"]


async def test_messages_are_counted_where_the_provider_counts_them(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "wechat", agent)
    await sends(agent, conversation_id, text="长" * 700)  # 2100 bytes: two messages
    assert (await capabilities(agent, conversation_id))["window"]["remaining"] == 3
    refused = await sends(agent, conversation_id, 409, text="长" * 2400)
    assert (refused["code"], refused["window"]["remaining"]) == ("window-closed", 3)
    for _ in range(3):
        await sends(agent, conversation_id)
    refused = await sends(agent, conversation_id, 409)
    assert (refused["code"], refused["window"]["why"]) == ("window-closed", "count")
    await writes_again(house, conversation_id)
    assert (await capabilities(agent, conversation_id))["window"]["remaining"] == 5


async def test_a_window_is_decided_under_the_lock_that_the_customer_needs(house: House) -> None:
    """A customer who writes at this moment is either seen, or comes after the refusal."""
    agent = await house.agent()
    conversation_id = await on(house, "whatsapp", agent)
    await long_ago(house, conversation_id, hours=30)
    async with house.database.begin() as session:
        held = await session.get_one(Conversation, conversation_id, with_for_update=True)
        reply = asyncio.create_task(sends(agent, conversation_id))
        await asyncio.wait({reply}, timeout=0.3)
        assert not reply.done()
        held.last_seq += 1
        values: dict[str, Any] = {"direction": Direction.INBOUND, "author_type": AuthorType.CONTACT, "text": "hello?"}
        session.add_all(
            [held, Message(conversation_id=held.id, seq=held.last_seq, channel_id=held.channel_id, **values)]
        )
    assert (await reply)["status"] == "queued"


async def test_what_the_provider_said_later_counts_until_the_customer_writes(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "sms", agent)
    sent = await sends(agent, conversation_id)
    async with house.database.begin() as session:
        await session.execute(text("DELETE FROM outbox"))
        await session.execute(
            text("UPDATE message SET status = 'failed', error_code = 'window-closed' WHERE id = :id"),
            {"id": sent["id"]},
        )
        await session.execute(
            text("INSERT INTO delivery_attempt(id, message_id, number, outcome) VALUES (:id, :message, 1, 'window')"),
            {"id": new_id(), "message": sent["id"]},
        )
    refused = await sends(agent, conversation_id, 409)
    assert (refused["code"], refused["window"]["why"]) == ("window-closed", "provider")
    await writes_again(house, conversation_id)
    await sends(agent, conversation_id)


async def test_templates_go_out_at_any_time(house: House, admin: Caller) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "whatsapp", agent)
    path = f"/channels/{house.channel_id}/templates"
    made = await admin.post(path, {"name": "delivery", "language": "en", "body": "{{1}} comes on {{2}}."})
    assert (made["parameters"], made["status"]) == (2, "approved")
    assert (await admin.post(path, {"name": "delivery", "language": "en", "body": "x"}, expect=409))["field"] == "name"
    gap = {"name": "gap", "language": "en", "body": "{{1}} {{3}}"}
    assert (await admin.post(path, gap, expect=422))["field"] == "body"
    await admin.post(path, {"name": "later", "language": "en", "body": "soon", "status": "pending"})
    await agent.post(path, gap, expect=403)

    await long_ago(house, conversation_id, hours=30)
    refused = await sends(agent, conversation_id, 409, text="hello")
    assert refused["templates"] == [{"name": "delivery", "language": "en", "body": "{{1}} comes on {{2}}."}]
    use = {"name": "delivery", "language": "en", "parameters": ["The chair", "Monday"]}
    sent = await sends(agent, conversation_id, template=use, client_message_id="t1")
    assert (sent["text"], sent["template"], sent["status"]) == ("The chair comes on Monday.", use, "queued")
    assert (await sends(agent, conversation_id, template=use, client_message_id="t1"))["id"] == sent["id"]
    for wrong, field in (
        ({**use, "parameters": ["one"]}, "template.parameters"),
        ({**use, "parameters": ["one", "two\nlines"]}, "template.parameters.1"),
        ({**use, "language": "de"}, "template.name"),
        ({**use, "name": "later", "parameters": []}, "template.name"),
    ):
        assert (await sends(agent, conversation_id, 422, template=wrong))["field"] == field
    assert (await sends(agent, conversation_id, 422, text="and", template=use))["field"] == "template"
    changed = await admin.patch(f"{path}/{made['id']}", made["version"], {"status": "paused"})
    assert changed["status"] == "paused"
    assert (await sends(agent, conversation_id, 422, template=use))["field"] == "template.name"
    await admin.call("DELETE", f"{path}/{made['id']}", expect=204)
    assert [item["name"] for item in await agent.all(path)] == ["later"]


async def refuses(
    house: House, conversation_id: UUID, reason: RefusalReason, *, on: bool = True, **fields: Any
) -> bool:
    async with house.database.begin() as session:
        found = await session.execute(
            text("SELECT i.kind, i.value, i.channel_id FROM conversation c JOIN contact_identity i ON i.id = c.identity_id "
                 "WHERE c.id = :id"), {"id": conversation_id},
        )  # fmt: skip
        row = found.one()
    refusal = Refusal(fields.pop("key", str(uuid4())), Sender(row.kind, row.value), reason, on=on, **fields)
    async with house.database.begin() as session:
        return await refusals.apply(session, row.channel_id, refusal)


async def test_who_opted_out_is_not_written_to_until_they_opt_in(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "sms", agent)
    assert await refuses(house, conversation_id, RefusalReason.OPT_OUT, key="s1", at=now() - timedelta(hours=2))
    assert not await refuses(house, conversation_id, RefusalReason.OPT_OUT, key="s1", at=now() - timedelta(hours=2))
    refused = await sends(agent, conversation_id, 409, text="hi", anyway=True)
    assert (refused["code"], refused["reason"], refused["may_be_overridden"]) == ("recipient-refused", "opt_out", False)
    assert (await capabilities(agent, conversation_id))["refusals"][0]["reason"] == "opt_out"
    await writes_again(house, conversation_id)
    await sends(agent, conversation_id, 409)
    assert await refuses(house, conversation_id, RefusalReason.OPT_OUT, on=False, at=now() - timedelta(hours=1))
    # News of before that come late.
    assert not await refuses(house, conversation_id, RefusalReason.OPT_OUT, key="s2", at=now() - timedelta(hours=3))
    await sends(agent, conversation_id)
    events = await agent.all(f"/conversations/{conversation_id}/events")
    told = [event["payload"]["refusals"] for event in events if event["payload"].get("changed") == ["refusals"]]
    assert [[item["reason"] for item in each] for each in told] == [["opt_out"], []]


async def test_who_blocked_us_and_writes_has_taken_it_back(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "telegram", agent)
    await long_ago(house, conversation_id, minutes=5)
    await refuses(house, conversation_id, RefusalReason.BLOCKED)
    assert (await sends(agent, conversation_id, 409))["reason"] == "blocked"
    await writes_again(house, conversation_id, content={"automatic": True})
    await sends(agent, conversation_id, 409)
    await writes_again(house, conversation_id)
    await sends(agent, conversation_id)


async def test_an_address_that_failed_may_be_tried_all_the_same(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "email", agent, address="help@shop.example")
    await refuses(house, conversation_id, RefusalReason.UNREACHABLE, detail="5.1.1")
    assert (await sends(agent, conversation_id, 409))["may_be_overridden"] is True
    await sends(agent, conversation_id, text="hi", anyway=True)


async def test_a_refusal_that_a_status_brings_is_kept(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "sms", agent)
    sent = await sends(agent, conversation_id)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE message SET provider_message_id = 'SM1' WHERE id = :id"), {"id": sent["id"]})
    assert house.channel_id is not None
    update = StatusUpdate("SM1", "failed", detail="21610", refusal=RefusalReason.OPT_OUT)
    assert await receipts.take(house.database, house.channel_id, update)
    assert (await sends(agent, conversation_id, 409))["reason"] == "opt_out"


async def test_what_the_channel_does_not_carry_is_refused_by_its_field(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "wechat", agent)
    pdf = Attachment(sha256="0" * 64, size=10, media_type="application/pdf", name="bill.pdf")
    photo = Attachment(sha256="1" * 64, size=11_000_000, media_type="image/jpeg", name="photo.jpg")
    await house.add(pdf, photo)
    for file in (pdf, photo):
        refused = await sends(agent, conversation_id, 422, text="see", attachments=[str(file.id)])
        assert refused["field"] == "attachments.0"
        assert file.name in refused["detail"]
    assert (await sends(agent, conversation_id, 422, text="长" * 4000))["field"] == "text"


async def test_an_operator_has_other_figures(house: House, admin: Caller) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "partner", agent)
    channel = await admin.get(f"/channels/{house.channel_id}")
    assert channel["capabilities"]["window"] == {"hours": None, "count": None, "tag_hours": None}
    assert channel["account"]["state"] == "ok"
    limits = {"window_h": 2, "text_limit": 100, "max_parts": 2}
    changed = await admin.patch(f"/channels/{house.channel_id}", channel["version"], {"limits": limits})
    assert changed["limits"] == limits
    assert changed["capabilities"]["window"]["hours"] == 2
    assert (await sends(agent, conversation_id, 422, text="word " * 60))["field"] == "text"
    await long_ago(house, conversation_id, hours=3)
    assert (await sends(agent, conversation_id, 409))["code"] == "window-closed"
    await admin.patch(f"/channels/{house.channel_id}", changed["version"], {"limits": None})
    await sends(agent, conversation_id)


async def test_sending_again_is_done_once(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "partner", agent)
    sent = await sends(agent, conversation_id)
    path = f"/conversations/{conversation_id}/messages/{sent['id']}/resend"
    assert (await agent.post(path, expect=200))["status"] == "queued"
    assert await count(house, "outbox") == 1
    for status in ("failed", "unknown"):
        async with house.database.begin() as session:
            await session.execute(text("DELETE FROM outbox"))
            await session.execute(
                text("UPDATE message SET status = :status, error = 'x', error_code = 'x', provider_message_id = 'p' "
                     "WHERE id = :id"), {"id": sent["id"], "status": status},
            )  # fmt: skip
        again = await asyncio.gather(*(agent.post(path, expect=200) for _ in range(5)))
        assert {item["status"] for item in again} == {"queued"}
        assert (again[0]["error"], again[0].get("error_code")) == (None, None)
        assert await count(house, "outbox") == 1
    async with house.database.begin() as session:
        await session.execute(text("UPDATE message SET status = 'delivered' WHERE id = :id"), {"id": sent["id"]})
    assert (await agent.post(path, expect=200))["status"] == "delivered"
    events = await agent.all(f"/conversations/{conversation_id}/events")
    assert [event["payload"]["status"] for event in events if event["type"] == "message.status"] == ["queued"] * 2
    await agent.post(f"/conversations/{conversation_id}/messages/{uuid4()}/resend", expect=404)


async def test_sending_again_needs_an_open_window_too(house: House) -> None:
    agent = await house.agent()
    conversation_id = await on(house, "whatsapp", agent)
    sent = await sends(agent, conversation_id)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE message SET status = 'failed' WHERE id = :id"), {"id": sent["id"]})
        await session.execute(text("DELETE FROM outbox"))
    await long_ago(house, conversation_id, hours=25)
    refused = await agent.post(f"/conversations/{conversation_id}/messages/{sent['id']}/resend", expect=409)
    assert refused["code"] == "window-closed"
