"""An account that is not well pauses alone, in every process, and nothing that waits for it is spent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.channels.base import Outgoing, SendError, SendFailure, Sent
from app.db import Database
from app.delivery import accounts
from app.delivery.claims import Limits
from app.delivery.health import Health
from tests.delivery.house import ONCE, FakeAdapter, FixedCatalog, House, step_and_settle


async def state_of(house: House, channel_id: UUID) -> dict[str, Any]:
    async with house.database.begin() as session:
        return (await accounts.shown(session, [channel_id]))[channel_id]


async def end_the_wait(house: House) -> None:
    async with house.database.begin() as session:
        await session.execute(text("UPDATE channel_state SET until = now() - interval '1 s'"))
        await session.execute(text("UPDATE outbox SET due_at = now() - interval '1 s' WHERE due_at > now()"))


@asynccontextmanager
async def tuned(house: House, **given: Any) -> AsyncIterator[House]:
    """The same house as an operator with other settings has it."""
    settings = house.settings.model_copy(update=given)
    database = Database(settings)
    try:
        yield replace(house, database=database, settings=settings)
    finally:
        await database.close()


def refusing(failure: SendFailure, *, until: dict[str, bool], after_s: float | None = None) -> Any:
    async def answer(outgoing: Outgoing) -> Sent:
        if not until.get("well"):
            raise SendError(failure, "not now", retry_after_s=after_s)
        return Sent()

    return answer


async def test_a_limited_account_waits_alone_and_spends_nothing(house: House) -> None:
    world: dict[str, bool] = {}
    limited, well = FakeAdapter(answer=refusing(SendFailure.RETRY, until=world, after_s=3_000)), FakeAdapter()
    limited_id, well_id = await house.channel(limited), await house.channel(well)
    for _ in range(20):
        await house.write(await house.conversation(limited_id))
        await house.write(await house.conversation(well_id))
    sender = house.sender(limits=Limits(per_channel=4))
    for _ in range(12):
        await step_and_settle(sender)
    # Those that were in flight when it said so; nobody else, and never again.
    assert len(limited.calls) == 4
    assert len(well.calls) == 20
    shown = await state_of(house, limited_id)
    assert (shown["state"], shown["detail"]) == ("limited", "not now")
    assert (await state_of(house, well_id))["state"] == "ok"
    assert [row.waived for row in await house.outbox()].count(1) == 4
    assert all(row.first_attempt_at is None for row in await house.outbox())
    delay = await sender.step()
    assert delay is not None
    assert 2_000 < delay <= 3_000

    world["well"] = True
    await end_the_wait(house)
    async with house.sending() as running:
        await running.until_empty()
    assert len(limited.calls) == 24
    assert (await state_of(house, limited_id))["state"] == "ok"
    assert set((await house.statuses()).values()) == {"sent"}


async def test_a_wait_for_one_recipient_holds_up_nobody_else(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        if outgoing.text == "too fast":
            raise SendError(SendFailure.RETRY, "this pair", retry_after_s=3_000, only_this=True)
        return Sent()

    adapter = FakeAdapter(answer=answer)
    channel_id = await house.channel(adapter)
    await house.write(await house.conversation(channel_id), text="too fast")
    sender = house.sender()
    await step_and_settle(sender)
    await house.write(await house.conversation(channel_id))
    await step_and_settle(sender)
    assert len(adapter.calls) == 2
    assert (await state_of(house, channel_id))["state"] == "ok"


async def test_refused_credentials_pause_until_the_configuration_is_changed(house: House) -> None:
    world: dict[str, bool] = {}
    adapter = FakeAdapter(answer=refusing(SendFailure.REAUTH, until=world))
    channel_id = await house.channel(adapter)
    [message] = await house.write(await house.conversation(channel_id))
    await house.write(await house.conversation(channel_id))
    sender = house.sender(limits=Limits(per_channel=1))
    for _ in range(3):
        await step_and_settle(sender)
    assert len(adapter.calls) == 1
    stored = await house.message(message.id)
    assert (stored.status, stored.error) == ("sending", "not sent yet: the channel's credentials were refused: not now")
    assert (await state_of(house, channel_id))["state"] == "reauth"
    assert await sender.step() is None  # nothing ends this by itself

    world["well"] = True
    async with house.database.begin() as session:
        await accounts.cleared(session, channel_id)
    async with house.sending() as running:
        await running.until_empty()
    assert set((await house.statuses()).values()) == {"sent"}
    assert (await state_of(house, channel_id))["state"] == "ok"


class Checkable(FakeAdapter):
    """Its credentials can be tried."""

    good: bool = False
    checks: int = 0

    async def check(self, config: Any, http: Any) -> None:
        self.checks += 1
        if not self.good:
            raise SendError(SendFailure.REAUTH, "still not")


async def test_refused_credentials_are_tried_again_without_sending(house: House) -> None:
    world: dict[str, bool] = {}
    adapter = Checkable(answer=refusing(SendFailure.REAUTH, until=world))
    channel_id = await house.channel(adapter)
    await house.write(await house.conversation(channel_id))
    await step_and_settle(house.sender())
    health = Health(house.database, FixedCatalog(house.accounts), house.settings, house.http)
    assert (await health.step() or 0) > 30
    assert adapter.checks == 0
    await end_the_wait(house)
    assert (await health.step() or 0) > 60  # twice as long as the first time
    assert (adapter.checks, (await state_of(house, channel_id))["detail"]) == (1, "still not")
    adapter.good = world["well"] = True
    await end_the_wait(house)
    assert await health.step() is None
    async with house.sending() as running:
        await running.until_empty()
    assert len(adapter.calls) == 2


async def test_where_nothing_can_be_tried_one_message_finds_out(house: House) -> None:
    world: dict[str, bool] = {}
    adapter = FakeAdapter(answer=refusing(SendFailure.REAUTH, until=world))
    channel_id = await house.channel(adapter)
    for _ in range(5):
        await house.write(await house.conversation(channel_id))
    sender = house.sender()
    await step_and_settle(sender)
    first = len(adapter.calls)
    health = Health(house.database, FixedCatalog(house.accounts), house.settings, house.http)
    await end_the_wait(house)
    await health.step()
    for _ in range(3):
        await step_and_settle(sender)
    assert len(adapter.calls) == first + 1
    assert (await state_of(house, channel_id))["state"] == "reauth"
    world["well"] = True
    await end_the_wait(house)
    await health.step()
    async with house.sending() as running:
        await running.until_empty()
    assert (await state_of(house, channel_id))["state"] == "ok"


async def test_the_breaker_opens_and_lets_one_through(house: House) -> None:
    async with tuned(house, breaker_failures=3, breaker_pause_s=100) as tuned_house:
        await _break_and_mend(tuned_house)


async def _break_and_mend(house: House) -> None:
    world: dict[str, bool] = {}
    adapter = FakeAdapter(answer=refusing(SendFailure.RETRY, until=world))
    channel_id = await house.channel(adapter)
    for _ in range(12):
        await house.write(await house.conversation(channel_id))
    sender, other = house.sender(limits=Limits(per_channel=3)), house.sender(limits=Limits(per_channel=3))
    for _ in range(3):
        await step_and_settle(sender)
    assert len(adapter.calls) == 3
    assert (await state_of(house, channel_id))["state"] == "broken"

    await end_the_wait(house)
    await asyncio.gather(step_and_settle(sender), step_and_settle(other))
    await asyncio.gather(step_and_settle(sender), step_and_settle(other))
    assert len(adapter.calls) == 4, "of two processes one lets one message through"
    async with house.database.begin() as session:
        pause = (
            await session.execute(text("SELECT extract(epoch FROM until - now()) FROM channel_state"))
        ).scalar_one()
    assert 150 < pause <= 200, "twice as long as the first time"

    world["well"] = True
    await end_the_wait(house)
    async with house.sending() as running:
        await running.until_empty()
    assert len(adapter.calls) == 4 + 12
    assert (await state_of(house, channel_id))["state"] == "ok"


async def test_while_one_message_finds_out_every_process_waits(house: House) -> None:
    async with tuned(house, breaker_failures=1, breaker_pause_s=100) as tuned_house:
        await _one_at_a_time(tuned_house)


async def _one_at_a_time(house: House) -> None:
    world, going, go = {"failing": True}, asyncio.Event(), asyncio.Event()

    async def answer(outgoing: Outgoing) -> Sent:
        if world["failing"]:
            raise SendError(SendFailure.RETRY, "HTTP 503")
        going.set()
        await go.wait()
        return Sent()

    adapter = FakeAdapter(answer=answer)
    channel_id = await house.channel(adapter)
    for _ in range(6):
        await house.write(await house.conversation(channel_id))
    one, other = house.sender(limits=Limits(per_channel=1)), house.sender(limits=Limits(per_channel=3))
    await step_and_settle(one)
    world["failing"] = False
    await end_the_wait(house)
    await one.step()
    await going.wait()
    for _ in range(3):
        await step_and_settle(other)
        await one.step()
    assert len(adapter.calls) == 2
    go.set()
    await one.idle()
    async with house.sending() as running:
        await running.until_empty()
    assert len(adapter.calls) == 1 + 6


async def test_failures_that_are_not_in_a_row_open_nothing(house: House) -> None:
    async with tuned(house, breaker_failures=3) as tuned_house:
        await _stumble(tuned_house)


async def _stumble(house: House) -> None:
    turn = {"n": 0}

    async def answer(outgoing: Outgoing) -> Sent:
        turn["n"] += 1
        if turn["n"] % 3:
            raise SendError(SendFailure.RETRY, "HTTP 503")
        return Sent()

    channel_id = await house.channel(FakeAdapter(answer=answer))
    conversation = await house.conversation(channel_id)
    await house.write(conversation, 6)
    async with house.sending(limits=Limits(per_channel=1)) as running:
        await running.until_empty()
    assert turn["n"] == 18
    assert (await state_of(house, channel_id))["state"] == "ok"


async def test_a_refused_message_says_nothing_of_its_account(house: House) -> None:
    async def answer(outgoing: Outgoing) -> Sent:
        raise SendError(SendFailure.PERMANENT, "HTTP 400")

    channel_id = await house.channel(FakeAdapter(answer=answer))
    for _ in range(5):
        await house.write(await house.conversation(channel_id))
    await step_and_settle(house.sender())
    assert await house.outbox() == []
    assert (await state_of(house, channel_id))["state"] == "ok"


async def test_a_hanging_account_takes_its_share_in_each_process_and_no_more(house: House) -> None:
    """Counted in steps, with and without a hundred messages for an account that never answers, in two processes."""

    async def steps_for(hanging: int) -> tuple[int, int]:
        stuck = asyncio.Event()

        async def never(outgoing: Outgoing) -> Sent:
            await stuck.wait()
            return Sent()

        slow, quick = FakeAdapter(answer=never), FakeAdapter(replace(ONCE))
        slow_id, quick_id = await house.channel(slow), await house.channel(quick)
        for _ in range(hanging):
            await house.write(await house.conversation(slow_id))
        for _ in range(40):
            await house.write(await house.conversation(quick_id))
        senders = [house.sender(limits=Limits(batch=50, total=64, per_channel=8)) for _ in range(2)]
        steps = 0
        while len(quick.calls) < 40:
            for sender in senders:
                steps += 1
                await sender.step()
                while any(key == quick_id for key in sender._flight.by_key):
                    await asyncio.sleep(0)
        taken = len(slow.calls)
        stuck.set()
        for sender in senders:
            await sender.drain(30)
        async with house.database.begin() as session:
            await session.execute(text("DELETE FROM outbox"))
        return steps, taken

    alone, _ = await steps_for(0)
    beside, taken = await steps_for(100)
    assert beside == alone
    assert taken == 2 * 8
