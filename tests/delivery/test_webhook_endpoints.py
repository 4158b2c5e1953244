"""Webhooks to other systems: once each, signed, in order per conversation, whatever the receiver does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from app.channels.signatures import verify_webhook, webhook_key
from app.clock import now
from app.db import STATEMENTS, Database
from app.delivery.webhooks import again, fanout, secrets
from app.delivery.webhooks.breaker import Policy
from app.delivery.webhooks.claims import Limits
from app.models import WebhookEndpoint
from app.settings import Settings
from app.vault import Vault
from tests.delivery.webhook_house import LATER, Receiver, Wires
from tests.support.providers import Answer

HOUR = 3_600.0


@pytest.fixture
async def wires(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[Wires]:
    made = Wires(database, vault, settings)
    yield made
    await made.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


async def test_an_event_is_told_signed_once(wires: Wires, receiver: Receiver) -> None:
    [conversation] = await wires.conversations()
    await wires.happen([conversation], first=0)
    endpoint = await wires.endpoint(receiver)
    await wires.happen([conversation])
    await wires.fill()
    deliverer = wires.deliverer()
    await wires.call(deliverer)
    [(path, headers, body)] = receiver.requests
    assert path == "/hooks?token=hidden"
    verify_webhook([webhook_key(receiver.secrets[0])], headers, body, at=now())
    told = receiver.bodies[0]
    assert set(told) == {"type", "timestamp", "data"}
    assert told["type"] == "conversation.updated"
    assert told["data"] == {"conversation_id": str(conversation), "seq": 3, "n": 1}, "from its creation on"
    [row] = await wires.rows()
    assert (row.state, row.attempts, row.status, row.error) == ("delivered", 1, 200, None)
    assert headers["webhook-id"] == str(row.id)
    assert not await wires.lanes()
    assert (await wires.health(endpoint)).failures == 0
    await wires.fill()
    assert await wires.call(deliverer) is None
    assert len(receiver.requests) == 1


async def test_a_failure_is_tried_again_before_what_comes_after_it(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(2)
    endpoint = await wires.endpoint(receiver, max_in_flight=1)
    await wires.happen(ids[:1], 2)
    await wires.fill()
    receiver.answers = [(500, {}, b"broken"), (302, {"location": f"{receiver.base}/else"}, b""), (429, {}, b"")]
    deliverer = wires.deliverer(schedule=LATER)
    errors = []
    for _ in range(3):
        await wires.call(deliverer)
        rows = await wires.rows("waiting")
        errors.append(rows[0].error)
        assert (len(rows), rows[1].attempts) == (2, 0)
        assert (await wires.lanes())[0].due_at > now()
        await wires.pass_time(1_000)
    assert errors == ["answered 500: broken", "answered 302: redirects are not followed", "answered 429"]
    await wires.happen(ids[1:])  # another conversation does not wait for this one
    await wires.call(deliverer)
    assert [len(set(receiver.ids[:4])), len(receiver.ids)] == [1, 5]
    assert receiver.told()[str(ids[0])] == [1, 2]
    health = await wires.health(endpoint)
    assert (health.failures, health.failing_since, health.not_before) == (0, None, None)
    assert health.last_error == "answered 429", "for the operator"


async def test_it_stays_away_as_long_as_it_is_asked_to(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(2)
    endpoint = await wires.endpoint(receiver, max_in_flight=1)
    await wires.happen(ids)
    await wires.fill()
    receiver.answers = [(503, {"retry-after": "300"}, b"")]
    deliverer = wires.deliverer()
    delay = await wires.call(deliverer)
    delay = await wires.call(deliverer)
    assert len(receiver.requests) == 1, "the other conversation waits too"
    assert delay is not None
    assert 290 < delay <= 300
    assert (await wires.health(endpoint)).not_before is not None
    await wires.pass_time(400)
    await wires.call(deliverer)
    await wires.call(deliverer)
    assert len(receiver.requests) == 3


async def test_after_a_day_it_is_a_dead_letter_and_the_next_goes(wires: Wires, receiver: Receiver) -> None:
    [conversation] = await wires.conversations()
    endpoint = await wires.endpoint(receiver)
    await wires.happen([conversation], 1)
    await wires.fill()
    await wires.pass_time(24 * HOUR + 1)
    await wires.happen([conversation], 1, first=2)
    await wires.fill()
    receiver.answers = [(400, {}, b"no")]
    deliverer = wires.deliverer(schedule=LATER)
    await wires.call(deliverer)
    await wires.call(deliverer)
    assert [(row.state, row.error) for row in await wires.rows()] == [("dead", "answered 400: no"), ("delivered", None)]
    assert await wires.replay_dead(endpoint) == 1
    await wires.call(deliverer)
    assert receiver.told()[str(conversation)] == [1, 2]
    assert receiver.ids[0] == receiver.ids[2], "it is known by its id"
    assert await wires.count("delivered") == 2


async def test_gone_switches_it_off_and_loses_nothing(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(3)
    endpoint = await wires.endpoint(receiver, max_in_flight=1)
    await wires.happen(ids, 2)
    await wires.fill()
    receiver.answers = [(410, {}, b"")]
    deliverer = wires.deliverer()
    await wires.call(deliverer)
    assert len(receiver.requests) == 1 or receiver.told().keys() <= {str(id) for id in ids}
    before = len(receiver.requests)
    async with wires.database.begin() as session:
        row = await session.get_one(WebhookEndpoint, endpoint)
        assert (row.active, row.off_reason, row.version) == (False, "it answered 410 Gone", 2)
    await wires.happen(ids, 1, first=3)
    await wires.fill()
    await wires.pass_time(10)
    assert await wires.call(deliverer) is None
    assert len(receiver.requests) == before
    async with wires.database.begin() as session:
        row = await session.get_one(WebhookEndpoint, endpoint)
        row.active = True
        session.add(row)
        await again.start_over(session, endpoint)
    await wires.fill()
    async with wires.running():
        await wires.until_told()
    assert receiver.told() == {str(id): [1, 2, 3] for id in ids}


async def test_private_addresses_when_they_are_refused_and_the_cloud_s_own_always(
    wires: Wires, receiver: Receiver
) -> None:
    ids = await wires.conversations(1)
    first = await wires.endpoint(receiver)
    second = await wires.endpoint("http://169.254.169.254/latest")
    await wires.happen(ids)
    await wires.fill()
    await wires.call(wires.deliverer(settings={"webhook_endpoints_private": False}, schedule=LATER))
    assert receiver.requests == []
    errors = {row.endpoint_id: row.error for row in await wires.rows("waiting")}
    assert "ROUNDTRIP_WEBHOOK_ENDPOINTS_PRIVATE" in (errors[first] or "")
    assert "link-local" in (errors[second] or "")


async def test_notes_are_told_to_who_asks_for_them(wires: Wires, receiver: Receiver, other: Receiver) -> None:
    [conversation] = await wires.conversations()
    await wires.endpoint(receiver)
    await wires.endpoint(other, include_notes=True)
    for direction in ("inbound", "note", "outbound"):
        await wires.happen([conversation], type="message.created", message={"direction": direction})
    await wires.happen([conversation], transfer={"note": "they shout", "agent_id": None}, reason="rude", fired=[])
    await wires.run(
        "SELECT append_event_v1(:id, 'message.created', 'agents', '{}', '{}', false, 'system', NULL, NULL, "
        '\'{"n": 9, "message": {"direction": "note", "whisper": true}}\')',
        id=conversation,
    )
    await wires.run(
        "SELECT append_event_v1(:id, 'offer.created', 'agents', '{}', '{}', false, 'system', NULL, NULL, '{}')",
        id=conversation,
    )
    await wires.fill()
    await wires.call(wires.deliverer())
    shown = [body["data"].get("message", {}).get("direction") for body in receiver.bodies]
    assert shown == ["inbound", "outbound", None]
    assert receiver.bodies[2]["data"]["transfer"]["note"] is None
    assert "reason" not in receiver.bodies[2]["data"]
    assert len(other.bodies) == 5
    assert other.bodies[3]["data"]["reason"] == "rude"
    assert other.bodies[4]["data"]["message"]["whisper"] is True


async def test_only_what_it_wants_from_where_it_wants_it(wires: Wires, receiver: Receiver, other: Receiver) -> None:
    [conversation] = await wires.conversations()
    queue = UUID(int=7)
    await wires.endpoint(receiver, events=["conversation.updated"], channel_ids=[wires.matters.channel_id])
    await wires.endpoint(other, queue_ids=[queue])
    await wires.happen([conversation], type="conversation.resolved")
    await wires.happen([conversation], type="conversation.assigned", assignee={"id": str(queue), "name": "Ada"})
    await wires.run(
        "SELECT append_event_v1(:id, 'sla.warned', 'conversation', ARRAY[CAST(:queue AS uuid)], '{}', false, 'system', "
        "NULL, NULL, '{}')",
        id=conversation,
        queue=queue,
    )
    await wires.fill()
    await wires.call(wires.deliverer())
    assert [body["type"] for body in receiver.bodies] == ["conversation.updated"]
    assert receiver.bodies[0]["data"]["changed"] == ["assignee_id"]
    assert [body["type"] for body in other.bodies] == ["sla.warned"]


async def test_both_secrets_sign_until_the_old_one_is_retired(wires: Wires, receiver: Receiver) -> None:
    [conversation] = await wires.conversations()
    endpoint = await wires.endpoint(receiver)
    deliverer = wires.deliverer()
    [first] = receiver.secrets

    async def rotate(**options: bool) -> str:
        async with wires.database.begin() as session:
            row = await session.get_one(WebhookEndpoint, endpoint)
            until = now() if not options else now().replace(year=now().year + 1)
            made = secrets.rotate(wires.vault, row, old_until=until)
            session.add(row)
            assert made not in row.secrets
            return made

    second = await rotate(later=True)
    receiver.secrets = [second, first]
    await wires.happen([conversation])
    await wires.fill()
    await wires.call(deliverer)
    third = await rotate(later=True)
    receiver.secrets = [third, second]
    await wires.happen([conversation], first=2)
    await wires.fill()
    await wires.call(deliverer)
    await wires.run("UPDATE webhook_endpoint SET old_secret_until = now()")
    receiver.secrets = [third]
    await wires.happen([conversation], first=3)
    await wires.fill()
    await wires.call(deliverer)
    assert receiver.told() == {str(conversation): [1, 2, 3]}


@pytest.mark.timeout(900)
async def test_an_hour_down_with_ten_thousand_events(wires: Wires, receiver: Receiver, other: Receiver) -> None:
    """All is told once it is back, in order, each once; hardly anything was tried in between; the other endpoint
    noticed nothing."""
    ids = await wires.conversations(500)
    down = await wires.endpoint(receiver, events=["conversation.updated"])
    await wires.endpoint(other, events=["conversation.resolved"])
    receiver.up = False
    deliverer = wires.deliverer(schedule=LATER, policy=Policy())
    for quarter in range(4):
        await wires.happen(ids, 5, first=5 * quarter + 1)
        await wires.happen(ids[:50], first=quarter, type="conversation.resolved")
        await wires.fill()

        async def other_has_all(wanted: int = 50 * (quarter + 1)) -> bool:
            await deliverer.step()
            return len(other.requests) >= wanted

        await wires.until(other_has_all)
        await deliverer.idle()
        await wires.pass_time(900)
    assert other.told() == {str(id): [0, 1, 2, 3] for id in ids[:50]}
    assert other.repeats == 0
    assert len(receiver.requests) < 30, "it was left alone"
    health = await wires.health(down)
    assert health.failures >= 5
    assert health.failing_since is not None
    assert await wires.count("waiting") == 10_000

    receiver.up = True
    receiver.requests.clear()
    before = STATEMENTS._value.get()
    async with wires.running(schedule=LATER, policy=Policy()):
        while not await wires.told_unless_idle(30):  # a call may fail on a busy machine, and is due again much later
            await wires.pass_time(900)
    statements = (STATEMENTS._value.get() - before) / 10_000
    print(f"\n{statements:.3f} statements per delivered event")
    assert receiver.told() == {str(id): list(range(1, 21)) for id in ids}
    assert receiver.repeats == 0
    assert receiver.most <= 8, "as many at once as it takes"
    assert (await wires.health(down)).failures == 0
    assert statements < 0.5


async def test_one_conversation_that_is_refused_does_not_hold_up_the_others(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(40)
    await wires.endpoint(receiver)
    refused = str(ids[7])

    async def picky(path: str, headers: dict[str, str], body: bytes) -> Answer:
        if refused.encode() in body:
            return 400, {}, b"not this one"
        return await receiver.next(path, headers, body)

    receiver.answer = picky
    await wires.happen(ids, 3)
    await wires.fill()
    async with wires.running(schedule=LATER):

        async def the_others_are_told() -> bool:
            return await wires.count("waiting") == 3

        await wires.until(the_others_are_told)
    told = receiver.told()
    assert told.pop(refused) == [1], "it stands before the next of its conversation"
    assert told == {str(id): [1, 2, 3] for id in ids if str(id) != refused}


async def test_one_that_hangs_does_not_hold_up_the_others(wires: Wires, receiver: Receiver, other: Receiver) -> None:
    ids, go = await wires.conversations(100), asyncio.Event()

    async def hang(path: str, headers: dict[str, str], body: bytes) -> Answer:
        await go.wait()
        return await receiver.next(path, headers, body)

    receiver.answer = hang
    await wires.endpoint(receiver)
    await wires.endpoint(other)
    await wires.happen(ids, 2)
    await wires.fill()
    async with wires.running(settings={"send_timeout_s": 100}, limits=Limits(total=40)):

        async def all_told() -> bool:
            return len(other.requests) == 200

        await wires.until(all_told)
        assert not receiver.requests
        go.set()
        await wires.until_told()
    assert receiver.told() == {str(id): [1, 2] for id in ids}


async def test_deliverers_of_many_processes_tell_each_once_and_in_order(
    wires: Wires, receiver: Receiver, settings: Settings
) -> None:
    """Three, racing also with the filling of the queue; some calls fail on the way."""
    ids = await wires.conversations(30)
    await wires.endpoint(receiver)
    calls = 0

    async def now_and_then(path: str, headers: dict[str, str], body: bytes) -> Answer:
        nonlocal calls
        calls += 1
        answer = await receiver.next(path, headers, body)
        if calls % 7 == 0:
            receiver.requests.append(("refused", headers, body))
            return 500, {}, b""
        return answer

    receiver.answer = now_and_then
    databases = [Database(settings) for _ in range(3)]

    async def keep_happening() -> None:
        for n in range(1, 21):
            await wires.happen(ids, first=n)
            await asyncio.gather(*(wires.fill(database) for database in databases))

    try:
        async with wires.running(databases[0]), wires.running(databases[1]), wires.running(databases[2]):
            await keep_happening()
            await wires.until_told()
    finally:
        await wires.close()
        for database in databases:
            await database.close()
    assert receiver.told() == {str(id): list(range(1, 21)) for id in ids}
    assert {row.state for row in await wires.rows()} == {"delivered"}
    assert len(await wires.rows()) == 600


async def test_a_process_that_died_with_calls_in_flight(wires: Wires, receiver: Receiver) -> None:
    [conversation] = await wires.conversations()
    await wires.endpoint(receiver)
    await wires.happen([conversation], 3)
    await wires.fill()
    second = asyncio.Event()

    async def hang(path: str, headers: dict[str, str], body: bytes) -> Answer:
        if receiver.requests:
            second.set()
            await asyncio.Event().wait()
        return await receiver.next(path, headers, body)

    receiver.answer = hang
    dying = wires.deliverer()
    await dying.step()
    await second.wait()
    await dying.drain(0)
    receiver.answer = receiver.next
    successor = wires.deliverer()
    delay = await wires.call(successor)
    assert len(receiver.requests) == 1, "the lease still holds"
    assert delay is not None
    assert 30 < delay <= 40
    await wires.pass_time(60)
    await wires.call(successor)
    assert receiver.told() == {str(conversation): [1, 2, 3]}
    assert receiver.repeats == 1, "what was not written down is told again, with the id it had"


async def test_a_transaction_that_is_late_hides_nothing(wires: Wires, receiver: Receiver) -> None:
    """An event that commits after younger ones were written: nobody goes past its place."""
    ids = await wires.conversations(2)
    await wires.endpoint(receiver)
    connection = await wires.database.connect()
    try:
        held = connection.transaction()
        await held.start()
        append = "SELECT append_event_v1($1, 'conversation.updated', 'conversation', '{}', '{}', false, 'system', NULL, NULL, $2)"
        await connection.execute(append, ids[0], '{"n": 1}')
        await wires.happen(ids[1:])
        filler = fanout.FanOut(wires.database, asyncio.Event())
        for _ in range(3):
            assert await filler.step() is not None, "it looks again soon"
        assert await wires.rows() == []
        await held.commit()
    finally:
        await connection.close()
    await wires.fill()
    await wires.call(wires.deliverer())
    assert receiver.told() == {str(id): [1] for id in ids}


async def test_what_is_queued_while_a_lane_comes_to_its_end_is_not_lost(wires: Wires, receiver: Receiver) -> None:
    """The filling is not committed yet when the last call of the lane is written down, which would remove the lane."""
    [conversation] = await wires.conversations()
    await wires.endpoint(receiver)
    await wires.happen([conversation])
    await wires.fill()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def hold(path: str, headers: dict[str, str], body: bytes) -> Answer:
        arrived.set()
        await go.wait()
        return await receiver.next(path, headers, body)

    receiver.answer = hold
    deliverer = wires.deliverer()
    await deliverer.step()
    await arrived.wait()
    await wires.happen([conversation], first=2)
    async with wires.database.begin() as session:
        assert await fanout.fill(session)
        go.set()
        written = asyncio.create_task(deliverer.idle())
        done, _ = await asyncio.wait({written}, timeout=2)
        assert not done, "it waits for the filling"
    await written
    await wires.call(deliverer)
    assert receiver.told() == {str(conversation): [1, 2]}


async def test_what_waited_too_long_while_it_was_down_is_given_up_and_comes_back_in_order(
    wires: Wires, receiver: Receiver
) -> None:
    ids = await wires.conversations(30)
    endpoint = await wires.endpoint(receiver)
    receiver.up = False
    await wires.happen(ids, 3)
    await wires.fill()
    deliverer = wires.deliverer(schedule=LATER)
    await wires.call(deliverer)
    await wires.pass_time(25 * HOUR)
    await wires.happen(ids, 1, first=4)
    await wires.fill()
    await wires.sweep()
    assert await wires.count("dead") == 90
    assert await wires.count("waiting") == 30
    receiver.up = True
    receiver.requests.clear()
    async with wires.running():
        await wires.until_told()
        assert receiver.told() == {str(id): [4] for id in ids}
        receiver.requests.clear()
        assert await wires.replay_dead(endpoint) == 90
        await wires.until_told()
    assert receiver.told() == {str(id): [1, 2, 3] for id in ids}


async def test_old_rows_go(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(3)
    endpoint = await wires.endpoint(receiver)
    await wires.happen(ids, 2)
    await wires.fill()
    await wires.call(wires.deliverer())
    await wires.sweep()
    assert await wires.count("delivered") == 6
    await wires.pass_time(25 * HOUR)
    await wires.sweep()
    assert await wires.rows() == []
    async with wires.database.begin() as session:
        moment = now().replace(year=now().year - 1)
        assert await again.since(session, endpoint, moment, limit=100) == 6, "the log still has them"
    before = receiver.ids[:]
    await wires.call(wires.deliverer())
    assert sorted(receiver.ids[6:]) == sorted(before)


async def test_without_endpoints_nothing_is_asked(wires: Wires) -> None:
    filler = fanout.FanOut(wires.database, asyncio.Event())
    assert await filler.step() is None
    await wires.happen(await wires.conversations())
    before = STATEMENTS._value.get()
    for _ in range(20):
        assert await filler.step() is None
    assert STATEMENTS._value.get() == before


async def test_what_was_not_begun_is_given_back_when_a_process_stops(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(6)
    await wires.endpoint(receiver, max_in_flight=1)
    await wires.happen(ids, 3)
    await wires.fill()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def hold(path: str, headers: dict[str, str], body: bytes) -> Answer:
        if len(receiver.requests) == 4:
            arrived.set()
            await go.wait()
        return await receiver.next(path, headers, body)

    receiver.answer = hold
    stopping = wires.deliverer()
    while not arrived.is_set():
        await stopping.step()
        await asyncio.wait({asyncio.create_task(arrived.wait())}, timeout=0.05)
    draining = asyncio.create_task(stopping.drain(30))
    go.set()
    await draining
    assert len(receiver.requests) == 5, "the one under way came to its end, no other began"
    assert all(lane.lease_until is None for lane in await wires.lanes())
    async with wires.running():
        await wires.until_told()
    assert receiver.told() == {str(id): [1, 2, 3] for id in ids}
    assert receiver.repeats == 0


async def test_one_process_learns_from_the_other_that_it_is_back(wires: Wires, receiver: Receiver) -> None:
    ids = await wires.conversations(40)
    await wires.endpoint(receiver)
    await wires.happen(ids)
    await wires.fill()
    receiver.up = False
    one, other = wires.deliverer(schedule=LATER), wires.deliverer(schedule=LATER)
    await wires.call(one)
    await wires.call(one)
    receiver.up = True
    await wires.pass_time(60)
    await wires.call(other)
    for _ in range(20):
        await wires.call(one)
    assert receiver.told().keys() == {str(id) for id in ids}
    assert await wires.count("waiting") == 0
