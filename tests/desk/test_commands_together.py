"""The frames by which several people work on one conversation do what the same calls over HTTP do."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from app.desk import commands, protocol
from app.errors import Forbidden, NotAssigned
from app.models.words import Role
from tests.desk.house import Caller, House


async def _do(house: House, caller: Caller, type: str, conversation: UUID, **fields: Any) -> dict[str, Any]:
    frame = {"type": type, "conversation_id": str(conversation), **fields}
    return await commands.execute(house.context, caller.token, protocol.COMMANDS.validate_python(frame))


async def test_given_by_hand(house: House) -> None:
    queue = await house.queue()
    agent, boss = await house.agent(queue), await house.agent(role=Role.SUPERVISOR)
    conversation = await house.conversation(queue)
    picked = await _do(house, agent, "conversation.pick_up", conversation)
    assert picked["conversation"]["assignee_id"] == str(agent.id)
    with pytest.raises(Forbidden):
        await _do(house, agent, "conversation.take", conversation)
    with pytest.raises(Forbidden):
        await _do(house, agent, "conversation.assign", conversation, agent_id=str(agent.id))
    taken = await _do(house, boss, "conversation.take", conversation)
    assert taken["conversation"]["assignee_id"] == str(boss.id)
    given = await _do(house, boss, "conversation.assign", conversation, agent_id=str(agent.id), force=True)
    assert given["conversation"]["assignee_id"] == str(agent.id)


async def test_taking_part(house: House) -> None:
    queue = await house.queue()
    agent, helper, boss = await house.agent(queue), await house.agent(), await house.agent(role=Role.SUPERVISOR)
    conversation = await house.conversation(queue, assignee=agent)
    shown = await _do(house, boss, "conversation.monitor", conversation)
    assert shown["conversation"]["participant_ids"] == [str(boss.id)]
    with pytest.raises(Forbidden):
        await _do(house, agent, "conversation.monitor", conversation)
    await _do(house, boss, "conversation.join", conversation)
    whisper = {"text": "slower", "client_message_id": "w"}
    said = await _do(house, boss, "conversation.whisper", conversation, **whisper)
    assert await _do(house, boss, "conversation.whisper", conversation, **whisper) == said
    assert (said["seq"], said["status"]) == (2, None)
    await _do(house, boss, "conversation.leave", conversation)

    collaborator = {"agent_id": str(helper.id)}
    added = await _do(house, agent, "collaborator.add", conversation, **collaborator, note="help")
    assert [each["agent_id"] for each in added["collaborators"]] == [str(helper.id)]
    with pytest.raises(NotAssigned):
        await _do(house, helper, "collaborator.add", conversation, agent_id=str(boss.id))
    sent = await _do(house, helper, "message.send", conversation, kind="note", text="@", mentions=[str(boss.id)])
    assert sent["seq"] == 4
    await _do(house, agent, "collaborator.remove", conversation, **collaborator)
    assert (await boss.get(f"/conversations/{conversation}"))["participants"] == []


async def test_customer_sees_only_those_type_who_may_write_to_them(house: House) -> None:
    queue = await house.queue()
    agent, helper = await house.agent(queue), await house.agent()
    member, boss = await house.agent(queue), await house.agent(role=Role.SUPERVISOR)
    conversation = await house.conversation(queue, assignee=agent)
    await _do(house, agent, "collaborator.add", conversation, agent_id=str(helper.id))
    await _do(house, boss, "conversation.monitor", conversation)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    house.context.wakeups.on_ephemeral(told.put_nowait)
    await house.context.wakeups.start()
    try:
        for caller, outward in ((agent, True), (helper, False), (member, False), (boss, False)):
            await _do(house, caller, "typing", conversation)
            fact = await asyncio.wait_for(told.get(), 20)
            assert fact["frame"]["author"]["id"] == str(caller.id)
            assert {str(helper.id), str(boss.id), str(agent.id)} <= set(fact["agents"])
            assert ("customer" in fact) == ("contact_id" in fact) == outward
        await _do(house, boss, "conversation.join", conversation)
        await _do(house, boss, "typing", conversation)
        assert "customer" in await asyncio.wait_for(told.get(), 20)
    finally:
        await house.context.wakeups.stop()
