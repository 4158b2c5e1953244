"""The agent's socket: who may come in, what is offered, what is replayed, and what happens to the slow."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from functools import partial
from typing import Any

import httpx
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
        await desk.expect("offer.expired")


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
