"""Commands that are done once, whatever is sent again: the answer is kept with the deed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.desk import commands, protocol
from app.errors import IdempotencyMismatch, NotAssigned, Problem
from app.events import frames
from app.models import Assignment, Message, ResolutionCycle
from tests.desk.house import Caller, House

RECEIPT = {"problem": "It broke.", "resolution": "It is mended.", "commitment": "We ask again."}


def command(type: str, **fields: Any) -> Any:
    return protocol.COMMANDS.validate_python({"type": type, **fields})


async def do(house: House, who: Caller, type: str, **fields: Any) -> Any:
    return await commands.execute(house.context, who.token, command(type, **fields))


@pytest.fixture
async def queue(house: House) -> UUID:
    return await house.queue()


@pytest.fixture
async def agent(house: House, queue: UUID) -> Caller:
    return await house.agent(queue)


async def messages(house: House, conversation_id: UUID) -> list[str]:
    async with house.database.begin() as session:
        found = await session.exec(
            select(Message.text).where(col(Message.conversation_id) == conversation_id).order_by(col(Message.seq))
        )
        return list(found.all())


async def test_a_note_sent_again_with_its_id_is_one_note(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    note = {"conversation_id": conversation_id, "kind": "note", "text": "call back at noon"}
    first = await do(house, agent, "message.send", id="n1", **note)
    assert await do(house, agent, "message.send", id="n1", **note) == first
    assert await messages(house, conversation_id) == ["my chair is broken", "call back at noon"]


async def test_the_same_id_with_another_frame_is_another_command(house: House, queue: UUID, agent: Caller) -> None:
    """A client that counts from 1 on each connection; and only the newest frame of an id is remembered."""
    conversation_id = await house.conversation(queue, assignee=agent)
    for said in ("one", "two", "two", "one"):
        await do(house, agent, "message.send", id=1, conversation_id=conversation_id, kind="note", text=said)
    assert await messages(house, conversation_id) == ["my chair is broken", "one", "two", "one"]


async def test_without_an_id_everything_is_done_as_often_as_it_is_said(
    house: House, queue: UUID, agent: Caller
) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    for _ in range(2):
        await do(house, agent, "message.send", conversation_id=conversation_id, kind="note", text="again")
    assert (await messages(house, conversation_id)).count("again") == 2


async def test_ids_of_two_agents_never_meet(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    other = await house.agent(queue)
    note = {"id": "same", "conversation_id": conversation_id, "kind": "note", "text": "mine"}
    assert (await do(house, agent, "message.send", **note)) != (await do(house, other, "message.send", **note))
    assert (await messages(house, conversation_id)).count("mine") == 2


async def test_a_transfer_sent_again_answers_as_before_though_the_conversation_is_gone(
    house: House, queue: UUID, agent: Caller
) -> None:
    """Done twice it would be refused: it is not theirs any more."""
    elsewhere = await house.queue("Elsewhere")
    conversation_id = await house.conversation(queue, assignee=agent, owner_id=None)
    frame = {"id": "t", "conversation_id": conversation_id, "queue_id": elsewhere, "note": "for you"}
    answer = await do(house, agent, "conversation.transfer", **frame)
    assert answer["conversation"]["queue_id"] == str(elsewhere)
    assert await do(house, agent, "conversation.transfer", **frame) == answer
    with pytest.raises(Problem):
        await do(house, agent, "conversation.transfer", **{**frame, "id": "u"})


async def test_resolve_on_two_sockets_at_once_is_done_by_one(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    frame = {"id": 7, "conversation_id": conversation_id, **RECEIPT}
    answers = await asyncio.gather(*(do(house, agent, "conversation.resolve", **frame) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    async with house.database.begin() as session:
        cycles = (await session.exec(select(ResolutionCycle))).all()
        current = (await session.exec(select(Assignment).where(col(Assignment.ended_at).is_(None)))).all()
    assert len(cycles) == 1
    assert current == []


async def test_a_refusal_is_not_remembered(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue)
    frame = {"id": "r", "conversation_id": conversation_id, "category": "urgent", "reason": "it burns"}
    with pytest.raises(NotAssigned):
        await do(house, agent, "conversation.classify", **frame)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE conversation SET assignee_id = :agent"), {"agent": agent.id})
    answer = await do(house, agent, "conversation.classify", **frame)
    assert answer["conversation"]["category"] == "urgent"


async def test_the_memory_ends(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    note = {"id": "n", "conversation_id": conversation_id, "kind": "note", "text": "again"}
    await do(house, agent, "message.send", **note)
    async with house.database.begin() as session:
        await session.execute(text("UPDATE idempotency_key SET created_at = now() - interval '16 minutes'"))
    await do(house, agent, "message.send", **note)
    await do(house, agent, "message.send", **note)
    assert (await messages(house, conversation_id)).count("again") == 2


async def test_what_is_kept_is_sealed(house: House, queue: UUID, agent: Caller) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    await do(house, agent, "conversation.resolve", id="x", conversation_id=conversation_id, **RECEIPT)
    async with house.database.begin() as session:
        kept = (await session.execute(text("SELECT principal, key, answer FROM idempotency_key"))).one()
    assert kept.principal == f"desk:{agent.id}"
    assert kept.key == "x"
    assert "mended" not in kept.answer


@pytest.mark.parametrize("kind", ["reply", "note"])
async def test_a_client_message_id_with_another_text_is_refused(
    house: House, queue: UUID, agent: Caller, kind: str
) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    frame = {"conversation_id": conversation_id, "kind": kind, "client_message_id": "c1"}
    first = await do(house, agent, "message.send", text="one", **frame)
    assert await do(house, agent, "message.send", text="one", **frame) == first
    with pytest.raises(IdempotencyMismatch) as refused:
        await do(house, agent, "message.send", text="two", **frame)
    assert refused.value.extra["field"] == "client_message_id"
    assert await messages(house, conversation_id) == ["my chair is broken", "one"]


async def test_how_far_an_agent_has_read_only_grows_and_never_beyond_the_end(
    house: House, queue: UUID, agent: Caller
) -> None:
    conversation_id = await house.conversation(queue, assignee=agent)
    for text_ in ("a", "b", "c"):
        await do(house, agent, "message.send", conversation_id=conversation_id, kind="note", text=text_)
    read = {"conversation_id": conversation_id}
    assert (await do(house, agent, "conversation.read", seq=3, **read))["seq"] == 3
    assert (await do(house, agent, "conversation.read", seq=1, **read))["seq"] == 3
    assert (await do(house, agent, "conversation.read", seq=99, **read))["seq"] == 4
    stranger = await house.agent()
    with pytest.raises(Problem):
        await do(house, stranger, "conversation.read", seq=1, **read)


@pytest.mark.parametrize("given", ["x" * 256, "a\x00b", [1], {"a": 1}])
def test_an_id_is_short_text_or_a_number(given: Any) -> None:
    with pytest.raises(ValueError, match="id"):
        command("ping", id=given)


def test_every_command_that_moves_something_is_remembered() -> None:
    harmless = {"availability.set", "offer.accept", "typing"}
    harmless |= {"collaborator.remove", *(f"conversation.{verb}" for verb in ("read", "monitor", "join", "leave"))}
    for model in commands._HANDLERS:
        kind = frames.kind_of(model)[0]
        if kind in harmless:
            assert not model.once, kind
        else:
            assert model.once or model.is_remembered is not protocol.Command.is_remembered, kind
