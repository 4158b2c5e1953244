"""Several people on one conversation: who helps, listens, joins and whispers; and that the customer never learns."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from sqlmodel import col, select

from app.db import driver
from app.desk import snapshot
from app.events import tail
from app.events.stream import START, StreamEvent
from app.models import Agent, Conversation, Event, Outbox, Participant
from app.models.words import EventScope, Role, TokenKind
from app.web import pages
from tests.desk.house import Caller, House, build_app, build_client

NOBODY = "01930000-0000-7000-8000-000000000000"


async def _taking_part(house: House, conversation: UUID) -> dict[UUID, str]:
    """Who takes part, as the table says; the conversation's own list says the same."""
    async with house.database.begin() as session:
        rows = (await session.exec(select(Participant).where(col(Participant.conversation_id) == conversation))).all()
        listed = (await session.get_one(Conversation, conversation)).participant_ids
    assert sorted(listed) == sorted(row.agent_id for row in rows)
    return {row.agent_id: row.role for row in rows}


async def _stream(house: House) -> list[StreamEvent]:
    async with house.database.begin() as session:
        events, _ = await tail.read(await driver(session), START, 1000)
    return events


async def _events(house: House, *types: str) -> list[Event]:
    async with house.database.begin() as session:
        return list((await session.exec(select(Event).where(col(Event.type).in_(types)).order_by(col(Event.id)))).all())


async def _office(house: House) -> tuple[UUID, Caller, Caller, UUID]:
    """(queue, assignee, another member, conversation)."""
    queue = await house.queue()
    agent, member = await house.agent(queue), await house.agent(queue)
    return queue, agent, member, await house.conversation(queue, assignee=agent)


async def test_collaborator_sees_it_and_writes_notes_but_no_replies(house: House) -> None:
    _, agent, _, conversation = await _office(house)
    helper = await house.agent(await house.queue("Other"))
    path = f"/conversations/{conversation}"
    await helper.call("GET", path, expect=404)
    shown = await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    assert [(item["agent_id"], item["role"], item["added_by"]) for item in shown["items"]] == [
        (str(helper.id), "collaborator", str(agent.id))
    ]
    await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    assert await _taking_part(house, conversation) == {helper.id: "collaborator"}

    async with house.database.begin() as session:
        _, welcome = await snapshot.of_agent(session, helper.id)
    assert [each["id"] for each in welcome["conversations"]] == [str(conversation)], "the socket's welcome has it too"
    detail = await helper.get(path)
    assert detail["participant_ids"] == [str(helper.id)]
    assert [(each["agent_id"], each["name"]) for each in detail["participants"]] == [(str(helper.id), "Ada")]
    for part in ("/messages", "/events", "/sla", "/collaborators"):
        await helper.get(path + part)
    assert [item["id"] for item in await helper.all("/conversations")] == [str(conversation)]
    await helper.post(f"{path}/messages", {"kind": "note", "text": "use the long screws"})
    for verb, body in (
        ("messages", {"text": "hello"}),
        ("resolve", {"problem": "a", "resolution": "b", "commitment": "c"}),
        ("classify", {"category": "urgent", "reason": "x"}),
        ("transfer", {"agent_id": str(helper.id)}),
        ("collaborators", {"agent_id": str(agent.id)}),
        ("whisper", {"text": "psst"}),
    ):
        assert (await helper.post(f"{path}/{verb}", body, expect=409))["code"] == "not-assigned", verb
    for verb in ("monitor", "join", "take"):
        assert (await helper.post(f"{path}/{verb}", expect=403))["code"] == "forbidden", verb


async def test_collaborator_reads_its_files_and_knows_its_customer(house: House) -> None:
    _, agent, _, conversation = await _office(house)
    helper = await house.agent()
    path = f"/conversations/{conversation}"
    upload = await agent.call("POST", "/attachments", params={"name": "plan.txt"}, content=b"a plan", expect=201)
    file = upload.json()
    await agent.post(f"{path}/messages", {"text": "see the plan", "attachments": [file["id"]]})
    contact = (await agent.get(path))["contact_id"]
    for hidden in (f"/attachments/{file['id']}", f"/contacts/{contact}"):
        await helper.call("GET", hidden, expect=404)
    await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    assert (await helper.call("GET", f"/attachments/{file['id']}", expect=200)).content == b"a plan"
    assert (await helper.get(f"/contacts/{contact}"))["name"] == "Mei"


async def test_who_is_removed_is_told_and_sees_it_no_more(house: House) -> None:
    _, agent, member, conversation = await _office(house)
    helper = await house.agent()
    path = f"/conversations/{conversation}"
    await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    assert (await member.call("DELETE", f"{path}/collaborators/{helper.id}", expect=409)).json()[
        "code"
    ] == "not-assigned"
    await agent.call("DELETE", f"{path}/collaborators/{helper.id}", expect=204)
    await agent.call("DELETE", f"{path}/collaborators/{helper.id}", expect=204)
    await helper.call("GET", path, expect=404)
    assert await _taking_part(house, conversation) == {}
    added, removed = await _events(house, "conversation.updated")
    assert added.payload["changed"] == removed.payload["changed"] == ["participants"]
    assert added.payload["conversation"]["participant_ids"] == [str(helper.id)]
    assert (removed.payload["participants"], removed.payload["conversation"]["participant_ids"]) == ([], [])
    assert helper.id in added.agents
    assert helper.id in removed.agents
    await agent.post(f"{path}/messages", {"kind": "note", "text": "alone again"})
    assert helper.id not in (await _events(house, "message.created"))[-1].agents


async def test_collaborator_leaves_by_themselves(house: House) -> None:
    _, agent, _, conversation = await _office(house)
    one, two = await house.agent(), await house.agent()
    path = f"/conversations/{conversation}"
    for helper in (one, two):
        await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    await one.call("DELETE", f"{path}/collaborators/{one.id}", expect=204)
    await two.post(f"{path}/leave", expect=200)
    assert await _taking_part(house, conversation) == {}


async def test_a_team_helps_and_the_note_mentions_them(house: House, admin: Caller) -> None:
    _, agent, _, conversation = await _office(house)
    helpers = [await house.agent() for _ in range(3)]
    gone = await house.agent()
    team = await admin.post("/teams", {"name": "Wood"})
    for each in (*helpers, gone, agent):
        await admin.call("PUT", f"/teams/{team['id']}/members/{each.id}", expect=204)
    await admin.call("DELETE", f"/agents/{gone.id}", expect=204)
    path = f"/conversations/{conversation}"
    shown = await agent.post(f"{path}/collaborators", {"team_id": team["id"], "note": "which glue?"}, expect=200)
    wanted = {str(each.id) for each in helpers}
    assert {item["agent_id"] for item in shown["items"]} == wanted
    note = (await helpers[0].get(f"{path}/messages"))["items"][-1]
    assert (note["text"], note["kind"], set(note["mentions"])) == ("which glue?", "note", wanted)
    [mentioned] = await _events(house, "agent.mentioned")
    assert (mentioned.scope, {str(each) for each in mentioned.agents}) == (EventScope.AGENTS, wanted)
    assert mentioned.payload["by"] == {"id": str(agent.id), "name": "Ada"}


async def test_refused_collaborator_is_named(house: House, admin: Caller) -> None:
    _, agent, _, conversation = await _office(house)
    gone = await house.agent()
    await admin.call("DELETE", f"/agents/{gone.id}", expect=204)
    empty = await admin.post("/teams", {"name": "Empty"})
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "agent_id"),
        ({"agent_id": str(agent.id)}, "agent_id"),
        ({"agent_id": NOBODY}, "agent_id"),
        ({"agent_id": str(gone.id)}, "agent_id"),
        ({"agent_id": NOBODY, "team_id": NOBODY}, "agent_id"),
        ({"team_id": NOBODY}, "team_id"),
        ({"team_id": empty["id"]}, "team_id"),
        ({"agent_id": NOBODY, "note": ""}, "note"),
    ]
    for body, field in bad:
        problem = await agent.post(f"/conversations/{conversation}/collaborators", body, expect=422)
        assert problem["field"] == field, body
    assert await _taking_part(house, conversation) == {}


async def test_mention_calls_in_who_could_not_see_it(house: House) -> None:
    _, agent, member, conversation = await _office(house)
    outsider, boss = await house.agent(), await house.agent(role=Role.SUPERVISOR)
    path = f"/conversations/{conversation}/messages"
    everyone = [str(each.id) for each in (outsider, member, boss, agent, outsider)]
    body = {"kind": "note", "text": "please look", "mentions": everyone, "client_message_id": "m1"}
    sent = await agent.post(path, body)
    assert sent["mentions"] == [str(each.id) for each in (outsider, member, boss)]
    assert await agent.post(path, body) == sent
    assert await _taking_part(house, conversation) == {outsider.id: "collaborator"}
    assert (await outsider.get(path))["items"][-1]["text"] == "please look"
    [event] = await _events(house, "agent.mentioned")
    assert set(event.agents) == {outsider.id, member.id, boss.id}
    assert event.payload["message"]["id"] == sent["id"]
    [told] = await _events(house, "message.created")
    assert outsider.id in told.agents  # they get the note itself too

    plain = await member.post(path, {"kind": "note", "text": "nobody meant"})
    assert "mentions" not in plain
    assert "whisper" not in plain


async def test_refused_mention_is_named(house: House) -> None:
    _, agent, member, conversation = await _office(house)
    path = f"/conversations/{conversation}/messages"
    for body, field in (
        ({"kind": "reply", "text": "x", "mentions": [str(member.id)]}, "mentions"),
        ({"kind": "note", "text": "x", "mentions": [str(member.id), NOBODY]}, "mentions.1"),
        ({"kind": "note", "text": "x", "mentions": ["Ada"]}, "mentions.0"),
        ({"kind": "note", "text": "x", "mentions": [NOBODY] * 21}, "mentions"),
    ):
        assert (await agent.post(path, body, expect=422))["field"] == field, body
    assert not await _events(house, "agent.mentioned", "message.created")


async def test_whisper_is_for_the_assignee_its_author_and_supervisors(house: House) -> None:
    _, agent, member, conversation = await _office(house)
    boss, listener, deaf = [await house.agent(role=Role.SUPERVISOR) for _ in range(3)]
    helper = await house.agent()
    path = f"/conversations/{conversation}"
    await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id)}, expect=200)
    await listener.post(f"{path}/monitor", expect=200)
    body = {"text": "offer them a refund", "client_message_id": "w1"}
    said = await boss.post(f"{path}/whisper", body)
    assert (said["kind"], said["whisper"], said["status"], said["seq"]) == ("note", True, None, 2)
    assert await boss.post(f"{path}/whisper", body) == said
    back = await agent.post(f"{path}/whisper", {"text": "how much?"})
    await agent.post(f"{path}/messages", {"kind": "note", "text": "for all of us"})

    key = await house.caller(Role.SUPERVISOR, TokenKind.API)
    for caller in (agent, boss, listener, deaf, key):
        assert [item["seq"] for item in await caller.all(f"{path}/messages", limit=2)] == [1, 2, 3, 4]
        assert "refund" in json.dumps(await caller.all(f"{path}/events"))
    for caller in (member, helper):
        seen = await caller.all(f"{path}/messages", limit=2)
        assert [item["seq"] for item in seen] == [1, 4]
        told = json.dumps([*seen, *(await caller.all(f"{path}/events", limit=2)), await caller.get(path)])
        assert "refund" not in told
        assert "how much" not in told
        assert "for all of us" in told
        assert (await caller.get(f"{path}/messages", params={"after_seq": 1}))["items"][0]["seq"] == 4
    first, second, note = await _events(house, "message.created")
    assert (first.scope, set(first.agents)) == (EventScope.AGENTS, {agent.id, boss.id, listener.id})
    assert (second.scope, set(second.agents)) == (EventScope.AGENTS, {agent.id, listener.id})
    assert back["author"]["id"] == str(agent.id)
    assert note.scope == EventScope.CONVERSATION

    # Who has it next does not hear what was said to the one before.
    await boss.post(f"{path}/assign", {"agent_id": str(member.id)}, expect=200)
    assert [item["seq"] for item in await member.all(f"{path}/messages")] == [1, 4]
    assert [item["seq"] for item in await agent.all(f"{path}/messages")] == [1, 2, 3, 4]


async def test_nobody_whispers_to_nobody(house: House) -> None:
    queue, agent, member, conversation = await _office(house)
    boss = await house.agent(role=Role.SUPERVISOR)
    waiting = await house.conversation(queue)
    closed = await house.conversation(queue, assignee=agent, status="closed")
    assert (await boss.post(f"/conversations/{waiting}/whisper", {"text": "hm"}, expect=409))["code"] == "conflict"
    problem = await boss.post(f"/conversations/{closed}/whisper", {"text": "hm"}, expect=409)
    assert problem["code"] == "conversation-closed"
    assert (await boss.post(f"/conversations/{conversation}/whisper", {"text": " "}, expect=422))["field"] == "text"
    problem = await member.post(f"/conversations/{conversation}/whisper", {"text": "hm"}, expect=409)
    assert problem["code"] == "not-assigned"


async def test_supervisor_listens_then_joins_then_leaves(house: House) -> None:
    _, agent, member, conversation = await _office(house)
    boss = await house.agent(role=Role.SUPERVISOR)
    key = await house.caller(Role.SUPERVISOR, TokenKind.API)
    path = f"/conversations/{conversation}"
    for verb in ("monitor", "join"):
        assert (await member.post(f"{path}/{verb}", expect=403))["role"] == "supervisor"
        assert (await key.post(f"{path}/{verb}", expect=403))["code"] == "forbidden"

    shown = await boss.post(f"{path}/monitor", expect=200)
    assert shown["participant_ids"] == [str(boss.id)]
    assert await _taking_part(house, conversation) == {boss.id: "monitor"}
    assert "join" in (await boss.post(f"{path}/messages", {"text": "Hello Mei"}, expect=409))["detail"]
    await boss.post(f"{path}/messages", {"kind": "note", "text": "good so far"})
    assert not await _events(house, "agent.joined")

    await boss.post(f"{path}/join", expect=200)
    await boss.post(f"{path}/join", expect=200)
    assert await _taking_part(house, conversation) == {boss.id: "joined"}
    await boss.post(f"{path}/messages", {"text": "Hello Mei"})
    [joined] = await _events(house, "agent.joined")
    assert joined.to_customer
    assert joined.payload == {"agent": {"id": str(boss.id), "name": "Ada"}}
    await agent.post(f"{path}/collaborators", {"agent_id": str(boss.id)}, expect=200)
    assert await _taking_part(house, conversation) == {boss.id: "joined"}  # helping is less
    await agent.call("DELETE", f"{path}/collaborators/{boss.id}", expect=204)
    assert await _taking_part(house, conversation) == {boss.id: "joined"}

    await boss.post(f"{path}/leave", expect=200)
    await boss.post(f"{path}/leave", expect=200)
    assert await _taking_part(house, conversation) == {}
    await boss.post(f"{path}/assign", {"agent_id": str(boss.id)}, expect=200)
    assert (await boss.post(f"{path}/monitor", expect=409))["code"] == "conflict"


async def test_nobody_joins_what_is_over(house: House) -> None:
    queue, agent, _, _ = await _office(house)
    boss = await house.agent(role=Role.SUPERVISOR)
    for status, verb, code in (
        ("closed", "monitor", "conversation-closed"),
        ("closed", "join", "conversation-closed"),
        ("resolved", "join", "conflict"),
    ):
        conversation = await house.conversation(queue, assignee=agent, status=status)
        assert (await boss.post(f"/conversations/{conversation}/{verb}", expect=409))["code"] == code


async def test_who_is_no_supervisor_any_more_listens_nowhere(house: House, admin: Caller) -> None:
    queue, agent, _, conversation = await _office(house)
    other = await house.conversation(queue, assignee=agent)
    boss = await house.agent(role=Role.SUPERVISOR)
    await boss.post(f"/conversations/{conversation}/monitor", expect=200)
    await agent.post(f"/conversations/{other}/collaborators", {"agent_id": str(boss.id)}, expect=200)
    await admin.patch(f"/agents/{boss.id}", 1, {"role": "agent"})
    assert await _taking_part(house, conversation) == {}
    assert await _taking_part(house, other) == {boss.id: "collaborator"}
    await boss.call("GET", f"/conversations/{conversation}", expect=404)
    await boss.get(f"/conversations/{other}")
    await admin.call("DELETE", f"/agents/{boss.id}", expect=204)
    assert await _taking_part(house, other) == {}


async def test_the_list_follows_the_table_whoever_comes_at_once(house: House) -> None:
    _, agent, _, conversation = await _office(house)
    helpers = [await house.agent() for _ in range(5)]
    bosses = [await house.agent(role=Role.SUPERVISOR) for _ in range(3)]
    path = f"/conversations/{conversation}"
    for _ in range(2):
        await asyncio.gather(
            *(agent.call("POST", f"{path}/collaborators", json={"agent_id": str(each.id)}) for each in helpers),
            *(agent.call("DELETE", f"{path}/collaborators/{each.id}") for each in helpers[:3]),
            *(boss.call("POST", f"{path}/{verb}") for boss in bosses for verb in ("monitor", "join", "leave")),
        )
        now = await _taking_part(house, conversation)
        assert {each.id for each in helpers[3:]} <= now.keys()


async def test_customer_never_sees_any_of_it(house: House, admin: Caller) -> None:
    """On the widget, on the progress page, in what goes to the provider."""
    _, agent, _, conversation = await _office(house)
    boss, helper = await house.agent(role=Role.SUPERVISOR), await house.agent()
    await admin.patch(f"/agents/{boss.id}", 1, {"name": "Grace Hidden"})
    await admin.patch(f"/agents/{helper.id}", 1, {"name": "Linus Hidden"})
    path = f"/conversations/{conversation}"
    await boss.post(f"{path}/monitor", expect=200)
    await agent.post(f"{path}/collaborators", {"agent_id": str(helper.id), "note": "secret one"}, expect=200)
    await helper.post(f"{path}/messages", {"kind": "note", "text": "secret two", "mentions": [str(boss.id)]})
    await boss.post(f"{path}/whisper", {"text": "secret three"})
    await agent.post(f"{path}/messages", {"text": "Hello Mei"})

    frames = [event.customer_frame for event in await _stream(house)]
    widget = b"\n".join(frame.text for frame in frames if frame is not None).decode()
    app = build_app(house.context)
    pages.mount(app)
    async with build_client(app) as http:
        url = house.context.progress_link(conversation).removeprefix(house.context.settings.base_url)
        page = await http.get(url)
        listed = await http.get(url, headers={"Accept": "application/json"})
    async with house.database.begin() as session:
        sent = [row.message_id for row in (await session.exec(select(Outbox))).all()]
    [reply] = [item for item in await agent.all(f"{path}/messages") if item["kind"] == "reply"]
    assert sent == [UUID(reply["id"])]
    for shown in (widget, page.text, listed.text):
        assert "Hello Mei" in shown
        for hidden in ("secret", "Hidden", "participant", str(boss.id), str(helper.id), "whisper", "monitor"):
            assert hidden not in shown, hidden

    await boss.post(f"{path}/join", expect=200)
    joined = [json.loads(frame.text) for e in await _stream(house) if (frame := e.customer_frame) is not None][-1]
    assert (joined["type"], joined["agent"]) == ("agent.joined", {"name": "Grace Hidden"})


async def test_agent_picks_up_what_waits(house: House) -> None:
    queue, agent, member, taken = await _office(house)
    stranger, key = await house.agent(), await house.caller(Role.SUPERVISOR, TokenKind.API)
    waiting = await house.conversation(queue)
    path = f"/conversations/{waiting}/pick-up"
    assert (await stranger.post(path, expect=404))["code"] == "not-found"
    assert (await key.post(path, expect=403))["code"] == "forbidden"
    shown = await member.post(path, expect=200)
    assert (shown["assignee_id"], shown["owner_id"]) == (str(member.id), str(member.id))
    assert (await member.post(path, expect=200))["assignee_id"] == str(member.id)
    assert (await agent.post(path, expect=409))["code"] == "already-assigned"
    assert (await member.post(f"/conversations/{taken}/pick-up", expect=409))["code"] == "already-assigned"
    [assigned] = await _events(house, "conversation.assigned")
    assert assigned.payload["how"] == "pick_up"
    async with house.database.begin() as session:
        assert (await session.get_one(Agent, member.id)).load == 1


async def test_one_of_many_picks_it_up(house: House) -> None:
    queue = await house.queue()
    agents = [await house.agent(queue) for _ in range(6)]
    waiting = await house.conversation(queue)
    answers = await asyncio.gather(*(each.call("POST", f"/conversations/{waiting}/pick-up") for each in agents))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    async with house.database.begin() as session:
        assert sorted([(await session.get_one(Agent, each.id)).load for each in agents]) == [0, 0, 0, 0, 0, 1]


async def test_supervisor_takes_and_assigns(house: House) -> None:
    queue, agent, member, conversation = await _office(house)
    boss, full = await house.agent(role=Role.SUPERVISOR), await house.agent(queue, capacity=0)
    path = f"/conversations/{conversation}"
    for verb, body in (("take", None), ("assign", {"agent_id": str(member.id)})):
        assert (await member.post(f"{path}/{verb}", body, expect=403))["role"] == "supervisor"
    await boss.post(f"{path}/monitor", expect=200)
    shown = await boss.post(f"{path}/take", expect=200)
    assert (shown["assignee_id"], shown["owner_id"]) == (str(boss.id), str(agent.id))
    assert await _taking_part(house, conversation) == {}
    key = await house.caller(Role.SUPERVISOR, TokenKind.API)
    assert (await key.post(f"{path}/take", expect=403))["code"] == "forbidden"
    shown = await key.post(f"{path}/assign", {"agent_id": str(member.id)}, expect=200)
    assert shown["assignee_id"] == str(member.id)
    problem = await boss.post(f"{path}/assign", {"agent_id": str(full.id)}, expect=409)
    assert (problem["code"], problem["field"]) == ("capacity-exceeded", "agent_id")
    shown = await boss.post(f"{path}/assign", {"agent_id": str(full.id), "force": True}, expect=200)
    assert shown["assignee_id"] == str(full.id)
    assert (await boss.post(f"{path}/assign", {"agent_id": NOBODY}, expect=422))["field"] == "agent_id"
    assert (await boss.post(f"{path}/assign", {}, expect=422))["field"] == "agent_id"
    async with house.database.begin() as session:
        for each, load in ((agent, 0), (boss, 0), (member, 0)):
            assert (await session.get_one(Agent, each.id)).load == load
