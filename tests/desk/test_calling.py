"""Calling a customer back over HTTP: who may, by which line, to which number; and where agents are rung."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from sqlmodel import col, select

from app.catalog import seal_secrets
from app.models import Call, Channel, Contact, Conversation, Event, Message, Outbox
from app.models.words import Role
from tests.desk.house import Caller, House


async def line(house: House, number: str = "+442079460018", **config: Any) -> str:
    login = {"provider": "twilio", "account_sid": "AC1", "number": number, **config}
    channel = Channel(
        type="voice", name=number, config=login, secrets=seal_secrets(house.context.vault, {"auth_token": "secret"})
    )
    await house.add(channel)
    return str(channel.id)


async def matter(house: House, phone: str | None = "07700 900123") -> tuple[UUID, Caller]:
    """A conversation by another channel, and its agent with a telephone."""
    queue = await house.queue()
    agent = await house.agent(queue)
    conversation_id = await house.conversation(queue, assignee=agent)
    async with house.database.begin() as session:
        conversation = await session.get_one(Conversation, conversation_id)
        contact = await session.get_one(Contact, conversation.contact_id)
        contact.phone = phone
        assert agent.agent is not None
        ringing = await session.get_one(type(agent.agent), agent.id)
        ringing.phone = "+442079460999"
        session.add_all([contact, ringing])
    return conversation_id, agent


async def outbox(house: House) -> list[Outbox]:
    async with house.database.begin() as session:
        return list((await session.exec(select(Outbox))).all())


async def test_an_agents_telephone_is_a_number_or_a_sip_address(house: House, admin: Caller) -> None:
    person = {"name": "Ada", "email": "ada@desk.example"}
    made = await admin.post("/agents", {**person, "phone": " +44 20 7946 0999 "})
    assert made["phone"] == "+442079460999"
    sip = await admin.patch(f"/agents/{made['id']}", made["version"], {"phone": "sip:ada@pbx.example"})
    assert sip["phone"] == "sip:ada@pbx.example"
    for wrong in ("02079460999", "ada", "sip:", "+44"):
        refused = await admin.patch(f"/agents/{made['id']}", sip["version"], {"phone": wrong}, expect=422)
        assert "phone" in str(refused)
    gone = await admin.patch(f"/agents/{made['id']}", sip["version"], {"phone": None})
    assert gone["phone"] is None
    assert (await admin.get(f"/agents/{made['id']}"))["phone"] is None


async def test_a_call_is_a_message_that_goes_out_by_the_line(house: House) -> None:
    conversation_id, agent = await matter(house)
    channel_id = await line(house)
    made = await agent.post(f"/conversations/{conversation_id}/call")
    assert (made["kind"], made["direction"], made["status"], made["seq"]) == ("call", "outbound", "queued", 2)
    assert (made["call"]["state"], made["call"]["to"], made["call"]["from"]) == (
        "queued",
        "+447700900123",
        "+442079460018",
    )
    [row] = await outbox(house)
    assert (str(row.message_id), str(row.channel_id)) == (made["id"], channel_id)
    async with house.database.begin() as session:
        message = await session.get_one(Message, row.message_id)
        assert message.content["dial"] == {
            "to": "+447700900123",
            "agent": "+442079460999",
            "webhook": f"{house.context.settings.base_url}/channels/{channel_id}/webhook",
        }
        assert (await session.exec(select(Call.message_id))).all() == [row.message_id]
        told = (await session.exec(select(Event).where(col(Event.type) == "message.created"))).all()
    assert [event.payload["message"]["call"]["state"] for event in told] == ["queued"]
    shown = (await agent.get(f"/conversations/{conversation_id}/messages"))["items"]
    assert "dial" not in str(shown), "the agent's own number stays inside"
    assert shown[-1]["call"]["state"] == "queued"


async def test_two_clicks_are_one_call(house: House) -> None:
    conversation_id, agent = await matter(house)
    await line(house)
    path, same = f"/conversations/{conversation_id}/call", {"client_message_id": "c1"}
    answers = await asyncio.gather(*(agent.post(path, same) for _ in range(8)))
    assert len({answer["id"] for answer in answers}) == 1
    other = await agent.post(path, {}, expect=409)
    assert other["message_id"] == answers[0]["id"]
    assert len(await outbox(house)) == 1


async def test_what_cannot_be_called(house: House, admin: Caller) -> None:
    conversation_id, agent = await matter(house, phone=None)
    path = f"/conversations/{conversation_id}/call"
    assert (await agent.post(path, {}, expect=422))["field"] == "channel_id", "there is no line"
    first = await line(house)
    assert (await agent.post(path, {}, expect=422))["field"] == "to", "no number is known"
    assert (await agent.post(path, {"to": "no number"}, expect=422))["field"] == "to"
    await line(house, "+442079460019")
    assert (await agent.post(path, {"to": "+447700900123"}, expect=422))["field"] == "channel_id", "which one?"
    unknown = {"to": "+447700900123", "channel_id": str(conversation_id)}
    assert (await agent.post(path, unknown, expect=422))["field"] == "channel_id"
    await admin.post(path, {"to": "+447700900123", "channel_id": first}, expect=403)
    stranger = await house.agent()
    await stranger.post(path, {"to": "+447700900123"}, expect=404)
    made = await agent.post(path, {"to": "07700 900124", "channel_id": first})
    assert made["call"]["to"] == "+447700900124"


async def test_who_has_no_telephone_calls_nobody(house: House) -> None:
    conversation_id, _ = await matter(house)
    await line(house)
    supervisor = await house.agent(role=Role.SUPERVISOR)
    refused = await supervisor.post(f"/conversations/{conversation_id}/call", {}, expect=409)
    assert "phone" in refused["detail"]
    assert await outbox(house) == []


async def test_a_line_that_is_never_asked_places_no_calls(house: House) -> None:
    conversation_id, agent = await matter(house)
    async with house.database.begin() as session:
        sealed = seal_secrets(house.context.vault, {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
        session.add(Channel(type="voice", name="pbx", config={"provider": "generic"}, secrets=sealed))
    refused = await agent.post(f"/conversations/{conversation_id}/call", {"to": "+447700900123"}, expect=409)
    assert "callback_url" in refused["detail"]
