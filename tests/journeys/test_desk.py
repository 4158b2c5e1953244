"""The agent's socket: who may come in, what is offered, what is replayed, and what happens to the slow."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.journeys import steps
from tests.journeys.conftest import Team
from tests.support.providers import PartnerSystem
from tests.support.server import Server
from tests.support.sockets import Desk, Refused

pytestmark = pytest.mark.timeout(120)


class Shop:
    """A partner channel of a queue, and how to write to it."""

    def __init__(self, server: Server, partner: PartnerSystem, channel: dict[str, Any]) -> None:
        self.server, self.partner, self.channel = server, partner, channel

    @classmethod
    async def open(cls, server: Server, queue_id: str) -> Shop:
        partner = PartnerSystem()
        return cls(server, partner, await server.make_channel("partner", {"secret": partner.secret}, queue_id=queue_id))

    async def write(self, text: str, sender: str = "") -> None:
        item = {"id": secrets.token_hex(8), "from": {"id": sender or secrets.token_hex(4)}, "text": text}
        async with httpx.AsyncClient() as client:
            answer = await self.partner.post(client, self.channel["webhook_url"], item)
        assert answer.status_code == 200, answer.text

    async def write_much(self, items: int) -> None:
        """Long messages, all in one call."""
        text = "x" * 95_000
        several = [{"id": secrets.token_hex(8), "from": {"id": "talkative"}, "text": text} for _ in range(items)]
        body = orjson.dumps(several)
        headers = self.partner.headers(secrets.token_hex(8), body)
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.post(self.channel["webhook_url"], content=body, headers=headers)
        assert answer.status_code == 200, answer.text


async def queue_with(server: Server, **fields: Any) -> str:
    made = await server.api("POST", "/queues", {"name": f"Q {secrets.token_hex(3)}", **fields})
    return str(made["id"])


async def test_a_wrong_token_is_told_and_closed(server: Server) -> None:
    desk = Desk(server.socket_base, "rt_agent_wrong")
    await desk.connect()
    assert (await desk.expect("error"))["code"] == "unauthorized"
    assert await desk.wait_closed() == 4401


async def test_three_bad_frames_in_a_row_and_a_good_one_between(team: Team) -> None:
    async with Desk(team.server.socket_base, team.agent["token"]) as desk:
        for frame in ("{", '{"type":"no.such"}'):
            await desk.send(frame)
            assert (await desk.expect("error"))["code"] == "bad-frame"
        await desk.command("availability.set", availability="online")
        with pytest.raises(Refused) as refused:
            await desk.command("availability.set", availability="asleep")
        assert refused.value.frame["field"] == "availability"
        for frame in ("{", "[]", '"x"'):
            await desk.send(frame)
        assert await desk.wait_closed() == 4400


async def test_nothing_is_answered_before_hello(team: Team) -> None:
    async with connect(team.server.socket_base + "/desk/live") as raw:
        await raw.send('{"type":"ping","id":1}')
        assert "bad-frame" in str(await raw.recv())
        await raw.send(f'{{"type":"hello","token":"{team.agent["token"]}"}}')
        assert '"type":"welcome"' in str(await raw.recv())


async def test_an_offer_that_is_missed_goes_to_another_and_the_late_accept_is_refused(server: Server) -> None:
    queue_id = await queue_with(server, offer_timeout_s=1)
    shop = await Shop.open(server, queue_id)
    people = [await server.make_agent(f"Agent {n}", queue_ids=[queue_id]) for n in range(2)]
    desks = [await Desk(server.socket_base, agent["token"]).open() for agent in people]
    for desk in desks:
        await desk.online()
    await shop.write("Is anybody there?")
    offers = [asyncio.create_task(desk.expect("offer.created")) for desk in desks]
    done, waiting = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED)
    first = offers.index(done.pop())
    offer = offers[first].result()
    await desks[first].expect("offer.expired", lambda frame: frame["offer_id"] == offer["offer_id"])
    with pytest.raises(Refused) as late:
        await desks[first].command("offer.accept", offer_id=offer["offer_id"])
    assert late.value.code == "offer-expired"
    second = await waiting.pop()
    answer = await desks[1 - first].command("offer.accept", offer_id=second["offer_id"])
    assert answer["conversation"]["owner_id"] == people[1 - first]["id"]
    for desk in desks:
        await desk.close()


async def test_sixty_four_accepts_of_one_offer_at_once(team: Team) -> None:
    """Many sockets of one agent and of others: one assignment, everybody told the truth."""
    shop = await Shop.open(team.server, team.queue_id)
    rival = await team.server.make_agent("Rival", queue_ids=[team.queue_id])
    await shop.write("Who takes me?")
    offer = await team.desk.expect("offer.created")
    mine = [await Desk(team.server.socket_base, team.agent["token"]).open() for _ in range(32)]
    theirs = [await Desk(team.server.socket_base, rival["token"]).open() for _ in range(32)]
    answers = await asyncio.gather(
        *(desk.command("offer.accept", offer_id=offer["offer_id"]) for desk in [*mine, *theirs]), return_exceptions=True
    )
    assert all(isinstance(answer, dict) for answer in answers[:32]), (
        "the same agent, again and again, is the same answer"
    )
    assert {answer.code for answer in answers[32:] if isinstance(answer, Refused)} == {"offer-expired"}
    assert all(isinstance(answer, Refused) for answer in answers[32:])
    history = await team.server.api("GET", f"/conversations/{offer['conversation_id']}/events?limit=200")
    assert [event["type"] for event in history["items"]].count("conversation.assigned") == 1
    for desk in [*mine, *theirs]:
        await desk.close()


async def test_capacity_is_never_exceeded(server: Server) -> None:
    queue_id = await queue_with(server)
    shop = await Shop.open(server, queue_id)
    agent = await server.make_agent("Small", capacity=2, queue_ids=[queue_id])
    async with Desk(server.socket_base, agent["token"]) as desk:
        await desk.online()
        for number in range(4):
            await shop.write(f"number {number}")
        taken = [await desk.accept_next() for _ in range(2)]
        await desk.command("ping")
        offered = [frame for frame in desk.frames if frame["type"] == "offer.created"]
        assert len(offered) == 2
        await desk.command("conversation.resolve", conversation_id=taken[0]["conversation_id"], **steps.RECEIPT)
        third = await desk.expect("offer.created")
        assert third["conversation"]["last_message"] == "number 2", "the oldest that waits comes next"


async def test_a_cursor_brings_exactly_what_was_missed(team: Team) -> None:
    shop = await Shop.open(team.server, team.queue_id)
    await shop.write("before", sender="steady")
    before = await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "before")
    for number in range(30):
        await shop.write(f"missed {number}", sender="steady")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "missed 29")
    expected = [frame for frame in team.desk.events if frame["cursor"] > before["cursor"]]
    async with Desk(team.server.socket_base, team.agent["token"], cursor=before["cursor"]) as back:
        assert back.welcome["cursor"] == before["cursor"]
        await shop.write("afterwards", sender="steady")
        await back.expect("message.created", lambda frame: frame["message"]["text"] == "afterwards")
        assert back.events[: len(expected)] == expected
        assert [frame["message"]["text"] for frame in back.events if frame["type"] == "message.created"][
            -1
        ] == "afterwards"


@pytest.mark.parametrize("cursor", ["", "garbage", "f" * 29, "f" * 28, "9" * 28])
async def test_a_cursor_that_is_not_ours_asks_for_a_fresh_start(team: Team, cursor: str) -> None:
    desk = Desk(team.server.socket_base, team.agent["token"], cursor=cursor)
    await desk.connect()
    assert "cursor" in (await desk.expect("resync_required"))["reason"]
    assert (await desk.expect("welcome"))["agent"]["id"] == team.agent["id"]
    await desk.close()


async def test_a_missed_offer_comes_back_when_nobody_else_is_there(server: Server) -> None:
    """Another member of the queue who is not online is nobody to wait for."""
    queue_id = await queue_with(server, offer_timeout_s=1)
    shop = await Shop.open(server, queue_id)
    await server.make_agent("Elsewhere", queue_ids=[queue_id])
    agent = await server.make_agent("Alone", queue_ids=[queue_id])
    async with Desk(server.socket_base, agent["token"]) as desk:
        await desk.online()
        await shop.write("Hello?")
        first = await desk.expect("offer.created")
        await desk.expect("offer.expired")
        again = await desk.expect("offer.created", within=10)
        assert again["conversation_id"] == first["conversation_id"]


async def test_an_urgent_breach_reaches_a_supervisor_even_while_an_agent_is_asked(server: Server) -> None:
    queue_id = await queue_with(server, offer_timeout_s=300)
    name = (await server.api("GET", f"/queues/{queue_id}"))["name"]
    policy = {
        "code": f"p-{secrets.token_hex(3)}",
        "name": "Two seconds",
        "position": 1,
        "match": {"queue": [name]},
        "first_response_s": 2,
    }
    await server.api("POST", "/sla-policies", policy)
    shop = await Shop.open(server, queue_id)
    silent = await server.make_agent("Silent", queue_ids=[queue_id])
    boss = await server.make_agent("Boss", role="supervisor", queue_ids=[])
    async with Desk(server.socket_base, silent["token"]) as desk, Desk(server.socket_base, boss["token"]) as office:
        await desk.online()
        await shop.write("URGENT: gas leak in the kitchen, it smells everywhere!")
        offer = await desk.expect("offer.created")
        await office.online()
        breach = await office.expect("sla.breached", lambda frame: frame["conversation_id"] == offer["conversation_id"])
        assert breach["clock"]["metric"] == "first_response"
        raised = await office.expect("offer.created")
        assert raised["conversation_id"] == offer["conversation_id"]
        assert raised["escalated"]
        withdrawn = await desk.expect("offer.rescinded")
        assert withdrawn["offer_id"] == offer["offer_id"]


async def test_many_coming_online_at_once_are_all_told_to_the_supervisor(server: Server) -> None:
    queue_id = await queue_with(server)
    boss = await server.make_agent("Boss", role="supervisor", queue_ids=[queue_id])
    people = [await server.make_agent(f"Many {number}", queue_ids=[queue_id]) for number in range(10)]
    async with Desk(server.socket_base, boss["token"]) as office:
        desks = await asyncio.gather(*(Desk(server.socket_base, agent["token"]).open() for agent in people))
        assert all(desk.frames[0]["type"] == "welcome" for desk in desks), "nothing is told before the welcome"
        await asyncio.gather(*(desk.online() for desk in desks))
        for agent in people:
            await office.expect("presence.updated", partial(_online, agent["id"]))
        await asyncio.gather(*(desk.close() for desk in desks))


async def test_one_agent_sees_nothing_of_another_queue(team: Team) -> None:
    other_queue = await queue_with(team.server)
    other = await Shop.open(team.server, other_queue)
    shop = await Shop.open(team.server, team.queue_id)
    await other.write("a secret of the other queue")
    await shop.write("mine")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "mine")
    assert not any("secret" in str(frame) for frame in team.desk.frames)
    listed = await team.server.api("GET", f"/conversations?queue_id={other_queue}", token=team.agent["token"])
    assert listed["items"] == []


async def test_a_client_that_does_not_read_is_closed_and_slows_nobody(team: Team) -> None:
    """Its buffers fill, it is closed with 4008, and what it missed comes by cursor; the other gets everything at once."""
    shop = await Shop.open(team.server, team.queue_id)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", team.server.port))
    raw.setblocking(False)
    async with connect(team.server.socket_base + "/desk/live", sock=raw, max_queue=1, ping_interval=None) as slow:
        await slow.send(f'{{"type":"hello","token":"{team.agent["token"]}"}}')
        assert "welcome" in str(await slow.recv())
        slow.transport.pause_reading()
        body = "x" * 50_000
        for number in range(120):
            await shop.write(f"{number} {body}", sender="talkative")
        await team.desk.expect("message.created", lambda frame: frame["message"]["text"].startswith("119 "))
        slow.transport.resume_reading()
        await asyncio.wait_for(_until_closed(slow), 30)
        assert slow.close_code == 4008


def _online(agent_id: str, frame: dict[str, Any]) -> bool:
    return bool(frame["agent"]["id"] == agent_id and frame["agent"]["availability"] == "online")


async def _until_closed(socket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def query(server: Server, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(server.database_url)
    try:
        return await connection.fetch(statement, *values)
    finally:
        await connection.close()


async def test_a_cursor_older_than_the_window_asks_for_a_fresh_start(team: Team) -> None:
    shop = await Shop.open(team.server, team.queue_id)
    await shop.write("first", sender="steady")
    first = await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "first")
    await shop.write("second", sender="steady")
    second = await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "second")
    aged = "UPDATE event SET created_at = now() - interval '73 hours' WHERE conversation_id = $1"
    await query(team.server, aged, second["conversation_id"])
    desk = Desk(team.server.socket_base, team.agent["token"], cursor=first["cursor"])
    await desk.connect()
    assert "older" in (await desk.expect("resync_required"))["reason"]
    assert (await desk.expect("welcome"))["cursor"] > first["cursor"]
    await desk.close()


async def test_the_counts_of_a_queue_follow_and_a_welcome_starts_from_them(team: Team) -> None:
    await team.desk.command("availability.set", availability="away")
    shop = await Shop.open(team.server, team.queue_id)
    for number in range(3):
        await shop.write(f"number {number}")
    full = await team.desk.expect("queue.counts", lambda frame: frame["waiting"] == 3)
    assert full["queue_id"] == team.queue_id
    async with Desk(team.server.socket_base, team.agent["token"]) as other:
        [queue] = other.welcome["queues"]
        assert (queue["id"], queue["waiting"], queue["offered"]) == (team.queue_id, 3, 0)
        await other.online()
        await other.expect("queue.counts", lambda frame: frame["offered"] == 3)
        await other.accept_next()
        last = await other.expect("queue.counts", lambda frame: frame["offered"] == 2)
        assert last["waiting"] == 0
    assert team.desk.welcome["queues"][0]["waiting"] == 0


async def test_what_is_read_on_one_socket_is_read_on_the_others(team: Team) -> None:
    shop = await Shop.open(team.server, team.queue_id)
    await shop.write("one", sender="steady")
    taken = await team.desk.accept_next()
    conversation_id = taken["conversation_id"]
    await shop.write("two", sender="steady")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "two")
    async with Desk(team.server.socket_base, team.agent["token"]) as other:
        [before] = other.welcome["conversations"]
        assert before["read_seq"] == 0
        await other.command("conversation.read", conversation_id=conversation_id, seq=2)
        read = await team.desk.expect("conversation.read")
        assert (read["conversation_id"], read["seq"]) == (conversation_id, 2)
        await other.command("ping")
        assert "conversation.read" not in [frame["type"] for frame in other.frames]
    async with Desk(team.server.socket_base, team.agent["token"]) as third:
        assert third.welcome["conversations"][0]["read_seq"] == 2


async def test_a_command_whose_answer_was_lost_is_answered_on_the_next_socket(team: Team) -> None:
    """The connection breaks right after the frame; sent again with its id, the transfer is done once."""
    elsewhere = await queue_with(team.server)
    shop = await Shop.open(team.server, team.queue_id)
    await shop.write("please help")
    conversation_id = (await team.desk.accept_next())["conversation_id"]
    frame = {"type": "conversation.transfer", "id": "lost", "conversation_id": conversation_id, "queue_id": elsewhere}
    first = await Desk(team.server.socket_base, team.agent["token"]).open()
    await first.send(frame)
    await first.abort()
    await team.desk.expect("conversation.updated", lambda event: event.get("transfer") is not None)
    async with Desk(team.server.socket_base, team.agent["token"]) as second:
        for _ in range(2):
            await second.send(frame)
            answer = await second.expect("ok", lambda answer: answer["re"] == "lost")
            assert answer["conversation"]["queue_id"] == elsewhere
    events = await team.server.api("GET", f"/conversations/{conversation_id}/events?limit=200")
    assert len([event for event in events["items"] if event["payload"].get("transfer")]) == 1


async def test_an_agent_who_joins_a_queue_sees_it_at_once(team: Team) -> None:
    other_queue = await queue_with(team.server)
    agent = await team.server.api("GET", f"/agents/{team.agent['id']}")
    assert agent["queue_ids"] == [team.queue_id]
    async with httpx.AsyncClient() as client:
        changed = await client.patch(
            f"{team.server.base}/api/v1/agents/{team.agent['id']}",
            json={"queue_ids": [team.queue_id, other_queue]},
            headers={"Authorization": f"Bearer {team.server.admin}", "If-Match": f'"{agent["version"]}"'},
        )
    assert changed.status_code == 200, changed.text
    told = await team.desk.expect("queues.changed")
    assert {queue["id"] for queue in told["queues"]} == {team.queue_id, other_queue}
    await (await Shop.open(team.server, other_queue)).write("new here")
    await team.desk.expect("message.created", lambda frame: frame["message"]["text"] == "new here")


@pytest.fixture
async def other_server(server: Server, tmp_path: Path) -> AsyncIterator[Server]:
    """Another process on the same database, with a quick heartbeat."""
    environment = {"ROUNDTRIP_HEARTBEAT_S": str(HEARTBEAT_S), "ROUNDTRIP_SOCKET_BUFFER": "50000000"}
    other = Server(server.database_url, tmp_path, admin=server.admin, environment=environment)
    await other.start()
    yield other
    if other.process is not None and other.process.poll() is None:
        assert await other.stop() == 0


HEARTBEAT_S = 0.7


@pytest.mark.parametrize("full", [False, True], ids=["silent", "silent and full"])
async def test_a_client_that_stops_answering_is_noticed_within_three_heartbeats(
    other_server: Server, full: bool
) -> None:
    """As when a laptop is closed: the connection stays, nobody is there, and perhaps more is to be written than its
    buffers take."""
    queue_id = await queue_with(other_server)
    agent = await other_server.make_agent("Closed Laptop", queue_ids=[queue_id])
    shop = await Shop.open(other_server, queue_id)
    async with Desk(other_server.socket_base, agent["token"]):
        pass  # a process greets its first one slowly
    gone = socket.socket()
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    gone.connect(("127.0.0.1", other_server.port))
    try:
        session_id = await asyncio.to_thread(_greet, gone, agent["token"])
        if full:
            await asyncio.gather(*(shop.write_much(25) for _ in range(3)))
        async with asyncio.timeout(4 * HEARTBEAT_S + 5):
            while await _present(other_server, agent["id"]):
                await asyncio.sleep(0.02)
        lasted = await query(
            other_server,
            "SELECT extract(epoch FROM closed_at - created_at)::float8 AS s FROM agent_session "
            "WHERE agent_id = $1 AND id = $2",
            UUID(agent["id"]),
            UUID(session_id),
        )
        assert not lasted or HEARTBEAT_S < lasted[0]["s"] < (3 * HEARTBEAT_S + 1)
    finally:
        gone.close()


def _greet(raw: socket.socket, token: str) -> str:
    """The id of the session that it is welcomed to."""
    raw.sendall(
        b"GET /desk/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        seen += raw.recv(4096)
    hello = orjson.dumps({"type": "hello", "token": token})
    raw.sendall(bytes((0x81, 0x80 | len(hello))) + bytes(4) + hello)
    while not (found := re.search(rb'"session_id":"([0-9a-f-]{36})"', seen)):
        part = raw.recv(4096)
        assert part, f"closed after {seen!r}"
        seen += part
    return found.group(1).decode()


async def _present(server: Server, agent_id: str) -> bool:
    rows = await query(server, "SELECT 1 FROM agent_session WHERE agent_id = $1 AND closed_at IS NULL", UUID(agent_id))
    return bool(rows)


async def test_a_client_that_answers_stays(other_server: Server) -> None:
    agent = await other_server.make_agent("Still Here")
    async with Desk(other_server.socket_base, agent["token"]) as desk:
        assert desk.welcome["heartbeat_s"] == HEARTBEAT_S
        await asyncio.sleep(4 * HEARTBEAT_S)
        await desk.command("ping")
        assert desk.closed is None


async def test_a_command_in_hand_is_answered_before_the_process_ends(team: Team, other_server: Server) -> None:
    """SIGTERM comes while the command waits for the conversation, which somebody holds for a moment longer."""
    shop = await Shop.open(team.server, team.queue_id)
    await shop.write("hold the line")
    conversation_id = (await team.desk.accept_next())["conversation_id"]
    desk = await Desk(other_server.socket_base, team.agent["token"]).open()
    holder = await asyncpg.connect(team.server.database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT 1 FROM conversation WHERE id = $1 FOR UPDATE", UUID(conversation_id))
    note = {"conversation_id": conversation_id, "kind": "note", "text": "written at the last moment"}
    sending = asyncio.create_task(desk.command("message.send", **note))
    await _until_waiting(holder)
    stopping = asyncio.create_task(other_server.stop())
    await desk.expect("draining")
    await transaction.commit()
    await holder.close()
    assert (await sending)["seq"] == 2
    assert await desk.wait_closed() == 1012
    assert await stopping == 0


async def _until_waiting(holder: asyncpg.Connection) -> None:
    """Somebody waits for a lock of ours."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(20):
        while not await holder.fetch(waiting):
            await asyncio.sleep(0.01)


async def test_a_revoked_token_ends_the_socket(server: Server) -> None:
    agent = await server.make_agent("Leaving")
    desk = await Desk(server.socket_base, agent["token"]).open()
    await server.api("DELETE", f"/agents/{agent['id']}")
    assert await desk.wait_closed() == 4401
