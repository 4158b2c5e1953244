"""Each metric through the verbs that start, stop and move it: from the first message to the customer's answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import assignment, classification, closing, pausing, queries, replies
from app.db import Database
from app.events.log import SYSTEM
from app.models import Agent, Contact, Conversation, Queue, ResolutionCycle, SlaClock
from app.models.words import ClockMetric, ClockState, MessageKind
from app.sla.explain import explain
from app.sla.watcher import Watcher
from tests.intake.conftest import Door, channel, door, message
from tests.sla.matters import Matters

__all__ = ["channel", "door"]
M = ClockMetric
HOUR = 3_600
RUNNING, PAUSED, MET, CANCELLED = ClockState.RUNNING, ClockState.PAUSED, ClockState.MET, ClockState.CANCELLED


@dataclass
class Desk:
    """An agent at work in one conversation."""

    database: Database
    conversation_id: UUID
    agent: Agent

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[tuple[AsyncSession, Conversation]]:
        async with self.database.begin() as session:
            yield session, await queries.lock(session, self.conversation_id)

    async def take(self) -> None:
        async with self.holding() as (session, held):
            await assignment.assign(session, held, agent_id=self.agent.id, weight=1, how="offer", actor=SYSTEM)

    async def release(self) -> None:
        async with self.holding() as (session, held):
            await assignment.release(session, held)

    async def write(self, kind: MessageKind = MessageKind.REPLY) -> None:
        async with self.holding() as (session, held):
            await replies.send(session, held, author=self.agent, kind=kind, text="We are on it.")

    async def classify(self, *, by_agent: bool = True, **fields: Any) -> None:
        async with self.holding() as (session, held):
            known = {"category": held.category, "matter": held.matter, "severity": held.severity}
            await classification.apply(
                session,
                held,
                **{**known, "complaint_type": None, **fields},
                source="agent" if by_agent else "rules",
                agent_id=self.agent.id if by_agent else None,
            )

    async def hold(self, *, for_customer: bool = False) -> None:
        async with self.holding() as (session, held):
            await pausing.hold(session, held, waiting_on_customer=for_customer, actor=SYSTEM)

    async def go_on(self) -> None:
        async with self.holding() as (session, held):
            await pausing.resume(session, held, actor=SYSTEM)

    async def resolve(self) -> ResolutionCycle:
        parts = {"problem": "p", "resolution": "r", "commitment": "c"}
        async with self.holding() as (session, held):
            return await closing.resolve(
                session, held, agent=self.agent, **parts, link=lambda cycle: f"http://x/{cycle}"
            )

    async def answer(self, cycle: ResolutionCycle, *, solved: bool) -> None:
        verb = closing.confirm if solved else closing.reject
        async with self.holding() as (session, held):
            await verb(session, held, await session.get_one(ResolutionCycle, cycle.id), via="page")

    async def clocks(self, metric: ClockMetric) -> list[SlaClock]:
        query = select(SlaClock).where(
            col(SlaClock.conversation_id) == self.conversation_id, col(SlaClock.metric) == metric
        )
        async with self.database.begin() as session:
            return list((await session.exec(query.order_by(col(SlaClock.cycle), col(SlaClock.turn)))).all())

    async def states(self, metric: ClockMetric) -> list[str]:
        return [clock.state for clock in await self.clocks(metric)]

    async def explained(self, metric: ClockMetric) -> dict[str, Any]:
        async with self.holding() as (session, held):
            return next(item for item in reversed(await explain(session, held)) if item["metric"] == metric)


@pytest.fixture
async def agent(database: Database) -> Agent:
    made = Agent(name="Ada", email="ada@example.org", capacity=9)
    async with database.begin() as session:
        session.add(made)
    return made


async def come_in(door: Door, matters: Matters, agent: Agent, text: str = "hello") -> Desk:
    [stored] = await door.come_in(message("first", text=text))
    return Desk(matters.database, stored.conversation_id, agent)


async def under(door: Door, matters: Matters, code: str, **fields: Any) -> None:
    """This policy is in force for the messages to come."""
    await matters.policy(code, **fields)
    await door.intake._catalog.newest()


async def test_next_response_runs_once_for_each_turn_of_the_customer(
    door: Door, matters: Matters, agent: Agent
) -> None:
    await under(door, matters, "fast", next_response_s=600)
    desk = await come_in(door, matters, agent)
    await door.come_in(message("before we replied"))
    assert await desk.clocks(M.NEXT_RESPONSE) == []
    await desk.write()
    await door.come_in(message("automatic", automatic=True))
    assert await desk.clocks(M.NEXT_RESPONSE) == []
    [turn] = await door.come_in(message("a turn"))
    await door.come_in(message("the same turn"), message("still"))
    [clock] = await desk.clocks(M.NEXT_RESPONSE)
    assert (clock.turn, clock.state, clock.stage_at, clock.target_s) == (turn.seq, RUNNING, [], 600)
    await Watcher(matters.database).step()
    [clock] = await desk.clocks(M.NEXT_RESPONSE)
    assert clock.running_since is not None
    assert clock.stage_at == [clock.running_since + timedelta(seconds=s) for s in (480, 600)]
    assert (clock.next_at, clock.due_at) == tuple(clock.stage_at)
    await desk.write()
    await desk.write()
    assert await desk.states(M.NEXT_RESPONSE) == [MET]
    await door.come_in(message("another turn"))
    await desk.write()
    assert await desk.states(M.NEXT_RESPONSE) == [MET, MET]


async def test_a_reply_before_the_stages_were_worked_out_is_measured_all_the_same(
    door: Door, matters: Matters, agent: Agent
) -> None:
    await under(door, matters, "fast", next_response_s=600)
    desk = await come_in(door, matters, agent)
    await desk.write()
    await door.come_in(message("a turn"))
    await matters.pass_time(700, metric=M.NEXT_RESPONSE)
    await desk.write()
    [clock] = await desk.clocks(M.NEXT_RESPONSE)
    assert (clock.state, clock.breached_at) == (MET, clock.due_at)
    assert clock.due_at == clock.created_at + timedelta(seconds=600)
    assert [row.payload["clock"]["metric"] for row in await matters.told()] == [M.NEXT_RESPONSE]


async def test_updates_are_due_from_our_first_reply_and_again_from_each(
    door: Door, matters: Matters, agent: Agent
) -> None:
    await under(door, matters, "informed", periodic_update_s=HOUR)
    desk = await come_in(door, matters, agent)
    assert await desk.clocks(M.PERIODIC_UPDATE) == []
    await desk.write()
    await desk.write()
    assert await desk.states(M.PERIODIC_UPDATE) == [MET, RUNNING]
    await desk.hold()
    assert await desk.states(M.PERIODIC_UPDATE) == [MET, PAUSED]
    await desk.write()
    assert await desk.states(M.PERIODIC_UPDATE) == [MET, MET, PAUSED]
    await desk.go_on()
    assert await desk.states(M.PERIODIC_UPDATE) == [MET, MET, RUNNING]
    await desk.resolve()
    assert await desk.states(M.PERIODIC_UPDATE) == [MET, MET, MET]


@pytest.mark.parametrize("solved", [True, False])
async def test_confirmation_within_24_hours_of_the_work_being_done(
    door: Door, matters: Matters, agent: Agent, solved: bool
) -> None:
    desk = await come_in(door, matters, agent)
    assert await desk.clocks(M.FOLLOW_UP) == []
    cycle = await desk.resolve()
    [clock] = await desk.clocks(M.FOLLOW_UP)
    assert (clock.state, clock.target_s) == (RUNNING, 24 * HOUR)
    assert await desk.states(M.RESOLUTION) == [MET]
    await desk.answer(cycle, solved=solved)
    assert await desk.states(M.FOLLOW_UP) == [MET]
    assert await desk.states(M.RESOLUTION) == ([MET] if solved else [MET, RUNNING])


async def test_confirmation_that_nobody_asked_for_is_missed(door: Door, matters: Matters, agent: Agent) -> None:
    desk = await come_in(door, matters, agent)
    await desk.resolve()
    await matters.pass_time(25 * HOUR, metric=M.FOLLOW_UP)
    await Watcher(matters.database).step()
    assert [(row.type, row.payload["clock"]["metric"]) for row in await matters.told()] == [
        ("sla.warned", M.FOLLOW_UP),
        ("sla.breached", M.FOLLOW_UP),
    ]


async def test_a_complaint_is_analysed_from_its_opening(door: Door, matters: Matters, agent: Agent) -> None:
    desk = await come_in(door, matters, agent, text="I want to complain!")
    [clock] = await desk.clocks(M.ANALYSIS)
    assert (clock.state, clock.target_s) == (RUNNING, 2 * HOUR)
    await desk.write(MessageKind.NOTE)
    assert await desk.states(M.ANALYSIS) == [MET]


async def test_one_that_becomes_a_complaint_is_analysed_from_then_on(
    door: Door, matters: Matters, agent: Agent
) -> None:
    desk = await come_in(door, matters, agent)
    await matters.pass_time(3 * HOUR)
    await desk.classify(matter="complaint", by_agent=False)
    [clock] = await desk.clocks(M.ANALYSIS)
    assert (clock.state, clock.elapsed_us) == (RUNNING, 0)
    assert now() - clock.created_at < timedelta(minutes=5)
    await desk.classify(severity="major")
    assert await desk.states(M.ANALYSIS) == [MET]


async def test_handling_is_the_time_in_an_agents_hands(door: Door, matters: Matters, agent: Agent) -> None:
    await under(door, matters, "calls", handling_s=600)
    desk = await come_in(door, matters, agent)
    assert await desk.clocks(M.HANDLING) == []
    await desk.take()
    await matters.pass_time(100, metric=M.HANDLING)
    await desk.release()
    [clock] = await desk.clocks(M.HANDLING)
    assert (clock.state, clock.due_at) == (PAUSED, None)
    await matters.pass_time(5_000, metric=M.HANDLING)
    await desk.take()
    await desk.hold(for_customer=True)
    await desk.hold()
    await desk.go_on()
    await matters.pass_time(100, metric=M.HANDLING)
    shown = await desk.explained(M.HANDLING)
    assert [pause["reason"] for pause in shown["pauses"]] == ["unassigned", "waiting_on_customer", "on_hold"]
    assert shown["remaining_s"] == pytest.approx(400, abs=60)
    await desk.resolve()
    [clock] = await desk.clocks(M.HANDLING)
    assert (clock.state, clock.breached_at) == (MET, None)
    assert 200 <= clock.elapsed_us / 1e6 < 260


async def test_clocks_stand_still_only_in_the_states_that_the_policy_names(
    door: Door, matters: Matters, agent: Agent
) -> None:
    await under(door, matters, "strict", resolution_s=HOUR, pauses=["waiting_on_customer"])
    desk = await come_in(door, matters, agent)
    await desk.hold()
    assert await desk.states(M.RESOLUTION) == [RUNNING]
    await desk.hold(for_customer=True)
    assert await desk.states(M.RESOLUTION) == [PAUSED]
    await desk.hold()
    assert await desk.states(M.RESOLUTION) == [RUNNING]
    assert await desk.states(M.FIRST_RESPONSE) == [RUNNING], "an answer is owed, whatever we wait for"
    [pause] = (await desk.explained(M.RESOLUTION))["pauses"]
    assert pause["reason"] == "waiting_on_customer"
    assert pause["to"] is not None


async def test_a_new_cycle_is_not_late_from_the_start(door: Door, matters: Matters, agent: Agent) -> None:
    desk = await come_in(door, matters, agent)
    cycle = await desk.resolve()
    await matters.pass_time(1_000 * HOUR)
    await desk.answer(cycle, solved=False)
    await Watcher(matters.database).step()
    assert [row.payload["clock"]["metric"] for row in await matters.told(kind="sla.breached")] == [M.FOLLOW_UP]
    first, again = await desk.clocks(M.RESOLUTION)
    assert (first.state, again.state, again.cycle, again.elapsed_us, again.breached_at) == (MET, RUNNING, 2, 0, None)


async def test_a_transfer_keeps_the_clocks(door: Door, matters: Matters, agent: Agent) -> None:
    desk = await come_in(door, matters, agent)
    before = [clock.model_dump() for clock in await matters.clocks()]
    async with matters.database.begin() as session:
        queue = Queue(name="Elsewhere")
        session.add(queue)
    async with desk.holding() as (session, held):
        await assignment.move_to_queue(session, held, queue.id)
    assert [clock.model_dump() for clock in await matters.clocks()] == before


async def test_the_tier_of_a_known_contact_counts_from_the_first_message(
    door: Door, matters: Matters, agent: Agent
) -> None:
    await under(door, matters, "vip", match={"tier": ["vip"]}, first_response_s=60)
    desk = await come_in(door, matters, agent)
    [usual] = await desk.clocks(M.FIRST_RESPONSE)
    assert usual.target_s == 24 * HOUR
    await desk.answer(await desk.resolve(), solved=True)
    async with matters.database.begin() as session:
        contact = (await session.exec(select(Contact))).one()
        contact.tier = "vip"
        session.add(contact)
        await session.execute(text("UPDATE conversation SET reopen_until = now()"))
    [stored] = await door.come_in(message("again"))
    assert stored.conversation_id != desk.conversation_id
    clock = await matters.clock(stored.conversation_id, M.FIRST_RESPONSE)
    assert (clock.target_s, clock.due_at) == (60, clock.created_at + timedelta(seconds=60))
    assert (await matters.clock(stored.conversation_id, M.RESOLUTION)).target_s == 24 * HOUR
