"""What a late matter asks for is done: each thing once, by whichever process is first."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.conversations import classification
from app.db import Database
from app.events.stream import StreamEvent, Viewer
from app.models import Event, QueueEntry, QueueMember, SlaAction, Team, TeamMember
from app.models.words import ClockMetric, EntryState, EventScope, Role
from app.routing.escalation import BATCH, Escalations
from app.settings import Settings
from app.sla.watcher import Watcher
from tests.routing.world import FixedCatalog, World
from tests.sla.matters import Matters

FIRST = ClockMetric.FIRST_RESPONSE
HOUR = 3_600


class House:
    """Matters whose breaches ask for something, and the loop that does it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.world, self.matters = World(database, settings), Matters(database)

    async def loop(self, database: Database | None = None) -> Escalations:
        return Escalations(database or self.database, FixedCatalog(await self.world.catalog()))

    async def run(self) -> None:
        loop = await self.loop()
        while await loop.step() == 0:
            pass

    async def late(self, *do: dict[str, Any], count: int = 1, **fields: Any) -> list[UUID]:
        """Conversations whose first response is late, under a policy that asks for `do`."""
        escalations = [{"after_s": 0, "level": 1, "do": list(do)}]
        await self.matters.policy("asks", first_response_s=HOUR, warnings=[], escalations=escalations)
        ids = await self.matters.open(count, policy="asks", **fields)
        await self.matters.pass_time(2 * HOUR, metric=FIRST)
        await Watcher(self.database).step()
        return ids

    async def one(self, *do: dict[str, Any], **fields: Any) -> UUID:
        """A late conversation, and what it asks for done."""
        [conversation_id] = await self.late(*do, **fields)
        await self.run()
        return conversation_id

    async def states(self) -> list[tuple[str, str | None]]:
        return [(action.state, action.error) for action in await self.matters.actions()]

    async def notified(self) -> list[Event]:
        return await self.matters.told(kind="sla.notified")


@pytest.fixture
def house(database: Database, settings: Settings) -> House:
    return House(database, settings)


async def test_nothing_to_do(house: House) -> None:
    assert await (await house.loop()).step() is None


async def test_the_owner_is_notified(house: House) -> None:
    owner, other = await house.matters.agent(), await house.matters.agent(role=Role.SUPERVISOR)
    conversation_id = await house.one({"notify": "owner"}, owner_id=owner)
    [event] = await house.notified()
    [breach] = await house.matters.told(conversation_id, "sla.breached")
    assert (event.scope, event.agents, event.conversation_id) == (EventScope.AGENTS, [owner], conversation_id)
    assert event.payload == {**breach.payload, "stage": "breached", "notify": "owner"}
    shown = StreamEvent({**event.model_dump(), "payload": "{}"})
    assert shown.visible_to(Viewer(owner, Role.AGENT))
    assert not shown.visible_to(Viewer(other, Role.SUPERVISOR))
    assert await house.states() == [("done", None)]


async def test_without_an_owner_who_has_it_and_else_supervisors(house: House) -> None:
    gone = await house.matters.agent(active=False)
    assignee, supervisor = await house.matters.agent(), await house.matters.agent(role=Role.SUPERVISOR)
    first = await house.one({"notify": "owner"}, owner_id=gone, assignee_id=assignee)
    [second] = await house.matters.open(policy="asks", owner_id=gone)
    await house.matters.pass_time(2 * HOUR, second, metric=FIRST)
    await Watcher(house.database).step()
    await house.run()
    assert [(event.conversation_id, event.agents) for event in await house.notified()] == [
        (first, [assignee]),
        (second, [supervisor]),
    ]


async def test_supervisors_of_the_queue_and_else_all_of_them(house: House) -> None:
    queue_id = await house.world.queue()
    here = await house.matters.agent(role=Role.SUPERVISOR)
    elsewhere = await house.matters.agent(role=Role.SUPERVISOR)
    await house.matters.agent(role=Role.SUPERVISOR, active=False)
    await house.matters.agent(role=Role.ADMIN)
    member = await house.matters.agent()
    async with house.database.begin() as session:
        session.add_all(QueueMember(queue_id=queue_id, agent_id=agent_id) for agent_id in (here, member))
    await house.one({"notify": "supervisor"}, queue_id=queue_id)
    [other] = await house.matters.open(policy="asks")
    await house.matters.pass_time(2 * HOUR, other, metric=FIRST)
    await Watcher(house.database).step()
    await house.run()
    assert [event.agents for event in await house.notified()] == [[here], sorted([here, elsewhere])]


async def test_managers_are_the_administrators(house: House) -> None:
    admins = sorted([await house.matters.agent(role=Role.ADMIN) for _ in range(2)])
    await house.matters.agent(role=Role.SUPERVISOR)
    await house.one({"notify": "manager"})
    assert [event.agents for event in await house.notified()] == [admins]


async def test_nobody_to_notify(house: House) -> None:
    await house.one({"notify": "owner"}, {"notify": "manager"})
    assert await house.notified() == []
    assert await house.states() == [
        ("skipped", "there is no owner to notify"),
        ("skipped", "there is no manager to notify"),
    ]


async def test_priority_goes_up_and_never_down(house: House) -> None:
    conversation_id = await house.one({"priority": 7}, {"priority": 3})
    assert (await house.matters.conversation(conversation_id)).priority == 7
    [event] = await house.matters.told(conversation_id, "conversation.updated")
    assert (event.payload["changed"], event.payload["conversation"]["priority"]) == (["priority"], 7)
    assert await house.states() == [("done", None), ("skipped", "its priority is 7 already")]


@pytest.mark.parametrize("action", [{"priority": 7}, {"requeue": True}, {"add_team": str(uuid4())}])
async def test_a_closed_one_is_left_alone(house: House, action: dict[str, Any]) -> None:
    [conversation_id] = await house.late(action)
    async with house.matters.holding(conversation_id) as (session, conversation):
        conversation.status = "closed"
        session.add(conversation)
    await house.run()
    assert await house.states() == [("skipped", "the conversation is closed")]


async def test_one_that_nobody_has_waits_for_supervisors(house: House) -> None:
    [conversation_id] = await house.late({"requeue": True}, category="urgent")
    target, since = await house.matters.agent(), None
    queue_id = (await house.matters.conversation(conversation_id)).queue_id
    assert queue_id is not None
    async with house.database.begin() as session:
        entry = QueueEntry(
            conversation_id=conversation_id, queue_id=queue_id, weight=2, target_agent_id=target, excluded=["x"]
        )
        session.add(entry)
        await session.flush()
        await session.refresh(entry)
        since = entry.enqueued_at
    await house.run()
    found = await house.matters.entry(conversation_id)
    assert found is not None
    assert (found.escalated, found.state, found.target_agent_id, found.excluded) == (True, EntryState.WAITING, None, [])
    assert found.enqueued_at == since
    [event] = await house.matters.told(conversation_id, "conversation.updated")
    assert event.payload["escalated"] == {
        "metric": "first_response",
        "level": 1,
        "stage": "breached",
        "policy": "asks",
    }


async def test_an_offer_that_is_out_gives_way_and_a_supervisor_is_asked(house: House) -> None:
    world = house.world
    queue_id = await world.queue()
    agent, supervisor = await world.agent(queue_id), await world.agent(role=Role.SUPERVISOR)
    [conversation_id] = await house.late({"requeue": True}, queue_id=queue_id)
    async with world.holding(conversation_id) as (session, _):
        session.add(QueueEntry(conversation_id=conversation_id, queue_id=queue_id, weight=1))
    await world.dispatch()
    assert (await world.offered(conversation_id)).agent_id == agent.id
    await house.run()
    await world.dispatch()
    asked = await world.offers(conversation_id)
    assert [(offer.agent_id, offer.status) for offer in asked] == [
        (agent.id, "rescinded"),
        (supervisor.id, "pending"),
    ]
    assert await world.load(agent) == 0
    assert await world.broken() == []


async def test_who_works_on_it_keeps_it_until_a_supervisor_accepts(house: House) -> None:
    world = house.world
    queue_id = await world.queue()
    agent, supervisor = await world.agent(queue_id), await world.agent(role=Role.SUPERVISOR)
    [conversation_id] = await house.late({"requeue": True}, queue_id=queue_id)
    async with world.holding(conversation_id) as (session, _):
        session.add(QueueEntry(conversation_id=conversation_id, queue_id=queue_id, weight=1))
    await world.dispatch()
    await world.accept(await world.offered(conversation_id))
    await house.run()
    assert (await world.conversation(conversation_id)).assignee_id == agent.id
    await world.dispatch()
    offer = await world.offered(conversation_id)
    assert offer.agent_id == supervisor.id
    await world.accept(offer)
    assert (await world.conversation(conversation_id)).assignee_id == supervisor.id
    assert await world.broken() == []


async def test_one_that_a_supervisor_has_or_is_asked_about_stays(house: House) -> None:
    supervisor = await house.matters.agent(role=Role.SUPERVISOR)
    theirs = await house.one({"requeue": True}, {"requeue": True}, assignee_id=supervisor)
    assert await house.matters.entry(theirs) is None
    assert await house.states() == [("skipped", "a supervisor has it")] * 2
    [other] = await house.matters.open(policy="asks")
    await house.matters.pass_time(2 * HOUR, other, metric=FIRST)
    await Watcher(house.database).step()
    await house.run()
    assert (await house.states())[2:] == [("done", None), ("skipped", "supervisors are being asked already")]


async def test_a_team_joins_in(house: House) -> None:
    team, empty = Team(name="Quality"), Team(name="Nobody")
    assignee, helper = await house.matters.agent(), await house.matters.agent()
    gone = await house.matters.agent(active=False)
    async with house.database.begin() as session:
        session.add_all([team, empty])
        await session.flush()
        session.add_all(TeamMember(team_id=team.id, agent_id=agent_id) for agent_id in (assignee, helper, gone))
    wanted = [{"add_team": str(team_id)} for team_id in (team.id, team.id, empty.id)]
    conversation_id = await house.one(*wanted, assignee_id=assignee)
    assert (await house.matters.conversation(conversation_id)).participant_ids == [helper]
    [event] = await house.matters.told(conversation_id, "conversation.updated")
    assert event.payload["changed"] == ["participants"]
    assert [(item["agent_id"], item["role"]) for item in event.payload["participants"]] == [
        (str(helper), "collaborator")
    ]
    assert helper in event.agents
    assert await house.states() == [
        ("done", None),
        ("skipped", "its agents take part already"),
        ("skipped", "the team has no agents"),
    ]


async def test_webhooks_are_left_to_their_caller(house: House) -> None:
    await house.one({"webhook": "https://example.com/"})
    assert await house.states() == [("pending", None)]
    assert await (await house.loop()).step() is None


async def test_one_that_cannot_be_done_stops_no_other(house: House) -> None:
    """It is tried again for a day."""
    admin = await house.matters.agent(role=Role.ADMIN)
    [broken, fine] = await house.late({"notify": "manager"}, count=2)
    await _spoil(house, broken, {"add_team": "not an id"})
    await house.run()
    by = {action.conversation_id: action for action in await house.matters.actions()}
    assert (by[fine].state, by[broken].state, by[broken].attempts) == ("done", "pending", 1)
    assert "badly formed" in (by[broken].error or "")
    assert [event.agents for event in await house.notified()] == [[admin]]
    seconds = await (await house.loop()).step()
    assert seconds is not None
    assert 0 < seconds <= 2.5
    async with house.database.begin() as session:
        await session.execute(text("UPDATE sla_action SET created_at = now() - interval '1 day', due_at = now()"))
    await house.run()
    by = {action.conversation_id: action for action in await house.matters.actions()}
    assert (by[broken].state, by[broken].attempts) == ("dead", 2)
    assert by[broken].done_at is not None
    assert await (await house.loop()).step() is None


async def test_what_this_version_does_not_know_is_skipped(house: House) -> None:
    [conversation_id] = await house.late({"notify": "manager"})
    await _spoil(house, conversation_id, {"sing": True})
    await house.run()
    assert await house.states() == [("skipped", "this version does not know sing")]


async def test_one_that_somebody_holds_is_done_a_moment_later(house: House) -> None:
    await house.matters.agent(role=Role.ADMIN)
    [conversation_id] = await house.late({"notify": "manager"})
    async with house.matters.holding(conversation_id):
        seconds = await (await house.loop()).step()
        assert seconds is not None
        assert 0 < seconds < 0.1
        assert await house.notified() == []
    await house.run()
    assert len(await house.notified()) == 1


async def test_many_processes_do_each_thing_once(house: House, settings: Settings) -> None:
    await house.matters.agent(role=Role.ADMIN)
    await house.late({"notify": "manager"}, {"priority": 5}, {"requeue": True}, count=BATCH + 20)
    databases = [Database(settings) for _ in range(3)]
    try:
        loops = [await house.loop(database) for database in databases]

        async def work(loop: Escalations) -> None:
            while (seconds := await loop.step()) is not None:
                await asyncio.sleep(seconds)

        await asyncio.gather(*(work(loop) for loop in loops))
    finally:
        for database in databases:
            await database.close()
    told = Counter(event.conversation_id for event in await house.notified())
    assert set(told.values()) == {1}
    assert len(told) == BATCH + 20
    actions = await house.matters.actions()
    assert {(action.state, action.attempts) for action in actions} == {("done", 1)}
    async with house.database.begin() as session:
        entries = (await session.exec(select(QueueEntry.escalated))).all()
    assert entries == [True] * (BATCH + 20)


async def test_a_process_that_dies_in_between_loses_nothing(house: House) -> None:
    """It had notified and raised the priority, and was about to tell that, when it died."""
    await house.matters.agent(role=Role.ADMIN)
    [conversation_id] = await house.late({"priority": 5}, {"notify": "manager"})
    stop = await house.database.connect()
    try:
        await stop.execute("BEGIN")
        await stop.execute("LOCK TABLE event IN EXCLUSIVE MODE")
        dying = asyncio.create_task((await house.loop()).step())
        while not await stop.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'event'::regclass)"
        ):
            await asyncio.sleep(0.01)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await stop.execute("ROLLBACK")
    finally:
        await stop.close()
    assert (await house.matters.conversation(conversation_id)).priority == 0
    assert {state for state, _ in await house.states()} == {"pending"}
    await house.run()
    assert (await house.matters.conversation(conversation_id)).priority == 5
    assert len(await house.notified()) == 1
    assert {state for state, _ in await house.states()} == {"done"}


async def _spoil(house: House, conversation_id: UUID, action: dict[str, Any]) -> None:
    async with house.database.begin() as session:
        row = (await session.exec(select(SlaAction).where(col(SlaAction.conversation_id) == conversation_id))).one()
        row.action = action
        session.add(row)


async def test_a_raised_priority_outlives_a_rule_and_hides_no_urgency(house: House) -> None:
    [conversation_id] = await house.late({"priority": 5})
    await house.run()
    async with house.matters.holding(conversation_id) as (session, conversation):
        await classification.apply(
            session,
            conversation,
            category="urgent",
            matter="enquiry",
            severity=None,
            complaint_type=None,
            source="rules",
        )
    assert (await house.matters.conversation(conversation_id)).priority == 5
