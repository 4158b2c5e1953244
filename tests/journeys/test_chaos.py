"""Promises 1, 2 and 5 at once: sockets cut at random, a process killed, and everyone has exactly what they should."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app.events.stream import START, Position, StreamEvent, Viewer
from tests.conftest import sibling
from tests.journeys.chaos import AgentBot, Bot, Toll, WidgetBot
from tests.support.server import Server

pytestmark = pytest.mark.timeout(300)
SECONDS = float(os.environ.get("ROUNDTRIP_CHAOS_S", "60"))
AGENTS = int(os.environ.get("ROUNDTRIP_CHAOS_SOCKETS", "300"))
WIDGETS = AGENTS
QUEUES = max(AGENTS // 10, 1)
CUT_EVERY_S, CUT_SHARE = 2.0, 0.08
WRITE_EVERY_S = 8.0
_ENVIRONMENT = {
    "ROUNDTRIP_PRESENCE_GRACE_S": "2",
    "ROUNDTRIP_OFFER_TIMEOUT_CHAT_S": "4",
    "ROUNDTRIP_LOG_LEVEL": "warning",
    "ROUNDTRIP_WIDGET_RATE_PER_S": "1000",
    "ROUNDTRIP_WIDGET_BURST": "10000",
    "ROUNDTRIP_WIDGET_HELLO_BURST": "100000",
    "ROUNDTRIP_WIDGET_NEWCOMER_BURST": "100000",
}


@asynccontextmanager
async def two_servers(cluster_url: str, home: Path) -> AsyncIterator[tuple[Server, Server, str]]:
    name = f"chaos_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(cluster_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    url = sibling(cluster_url, name)
    one = await Server(url, home, environment=_ENVIRONMENT).start()
    two = await Server(url, home, admin=one.admin, environment=_ENVIRONMENT).start()
    try:
        yield one, two, url
    finally:
        for server in (one, two):
            await server.kill()
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await connection.close()


async def people(servers: Sequence[Server], rng: random.Random, toll: Toll) -> tuple[list[AgentBot], list[WidgetBot]]:
    server = servers[0]
    queues = [(await server.api("POST", "/queues", {"name": f"Queue {n}"}))["id"] for n in range(QUEUES)]
    config: dict[str, list[str]] = {"allowed_origins": []}
    channels = [(await server.make_channel("webchat", config, queue_id=queue_id))["id"] for queue_id in queues]
    made = [await server.make_agent(f"Agent {n}", queue_ids=[queues[n % QUEUES]]) for n in range(AGENTS)]
    agents = [AgentBot(servers, random.Random(rng.random()), toll, agent, queues) for agent in made]
    widgets = [WidgetBot(servers, random.Random(rng.random()), toll, channels[n % QUEUES]) for n in range(WIDGETS)]
    return agents, widgets


async def cut_some(bots: Sequence[Bot], rng: random.Random) -> None:
    while True:
        await asyncio.sleep(CUT_EVERY_S)
        for bot in rng.sample(bots, max(1, int(len(bots) * CUT_SHARE))):
            bot.cut()


async def keep_writing(widgets: Sequence[WidgetBot], rng: random.Random) -> None:
    while True:
        await asyncio.sleep(WRITE_EVERY_S / len(widgets))
        await rng.choice(widgets).write()


class Log:
    """The event log, and what of it each bot should have."""

    def __init__(self, rows: Sequence[asyncpg.Record]) -> None:
        self._by_agent: dict[UUID, list[StreamEvent]] = defaultdict(list)
        self._by_queue: dict[UUID, list[StreamEvent]] = defaultdict(list)
        self._by_contact: dict[UUID, list[StreamEvent]] = defaultdict(list)
        self._contact_of: dict[UUID, UUID] = {}
        self.size = len(rows)
        for event in map(StreamEvent, rows):
            for agent_id in set(event.agents):
                self._by_agent[agent_id].append(event)
            for queue_id in set(event.queues):
                self._by_queue[queue_id].append(event)
            if event.contact_id is not None:
                self._by_contact[event.contact_id].append(event)
                if event.conversation_id is not None:
                    self._contact_of[event.conversation_id] = event.contact_id

    @classmethod
    async def read(cls, connection: asyncpg.Connection) -> Log:
        return cls(
            await connection.fetch(
                "SELECT id, pos, type, conversation_id, contact_id, channel_id, seq, scope, queues, agents, to_customer, payload::text "
                "FROM event WHERE scope <> 'audit' ORDER BY pos, id"
            )
        )

    def of_agent(self, bot: AgentBot) -> list[str]:
        viewer = Viewer(UUID(bot.agent["id"]), "agent", frozenset(UUID(id) for id in bot.agent["queue_ids"]))
        near = self._by_agent[viewer.agent_id] + [e for queue_id in viewer.queues for e in self._by_queue[queue_id]]
        seen = {event.position: event for event in near if event.visible_to(viewer)}
        return self._after(bot, seen.values())

    def of_widget(self, bot: WidgetBot) -> list[str]:
        contact_id = self._contact_of.get(UUID(bot.conversation_id)) if bot.conversation_id else None
        near = self._by_contact[contact_id] if contact_id else []
        return self._after(bot, [event for event in near if event.customer_frame is not None])

    @staticmethod
    def _after(bot: Bot, events: Iterable[StreamEvent]) -> list[str]:
        first = Position.parse(bot.first) if bot.first else START
        return [event.position.cursor() for event in sorted(events, key=lambda e: e.position) if event.position > first]


async def test_every_stream_is_the_log_while_sockets_are_cut_and_a_process_is_killed(
    cluster_url: str, tmp_path: Path
) -> None:
    rng, toll = random.Random(os.environ.get("ROUNDTRIP_CHAOS_SEED", "7")), Toll()
    async with two_servers(cluster_url, tmp_path) as (one, two, url):
        agents, widgets = await people([one, two], rng, toll)
        bots: list[Bot] = [*agents, *widgets]
        lives = [asyncio.create_task(bot.live()) for bot in bots]
        trouble = [asyncio.create_task(cut_some(bots, rng)), asyncio.create_task(keep_writing(widgets, rng))]
        await asyncio.sleep(SECONDS / 3)
        await two.kill()
        await asyncio.sleep(SECONDS / 12)
        await two.start()
        await asyncio.sleep(SECONDS * 7 / 12)
        for task in trouble:
            task.cancel()
        for bot in bots:
            bot.calm = True
        for agent in agents:
            await agent.rest()
        connection = await asyncpg.connect(url)
        try:
            await _settled(bots, widgets, connection)
            await _compare(agents, widgets, connection, toll)
        finally:
            await connection.close()
            for task in lives:
                task.cancel()
            for task in [*lives, *trouble]:
                with suppress(asyncio.CancelledError):
                    await task


async def _settled(bots: Sequence[Bot], widgets: Sequence[WidgetBot], connection: asyncpg.Connection) -> None:
    """Everything written is acknowledged, and for a moment nobody hears anything new."""
    async with asyncio.timeout(90):
        while any(widget.unanswered for widget in widgets):
            await asyncio.sleep(0.2)
        still = 0
        before = (-1, -1)
        while still < 10:
            await asyncio.sleep(0.2)
            now = (await connection.fetchval("SELECT count(*) FROM event"), sum(len(bot.applied) for bot in bots))
            still = still + 1 if now == before else 0
            before = now


async def _compare(
    agents: Sequence[AgentBot], widgets: Sequence[WidgetBot], connection: asyncpg.Connection, toll: Toll
) -> None:
    log = await Log.read(connection)
    print(f"\n{toll}, {log.size} events, {sum(len(bot.applied) for bot in agents)} applied by agents")
    wrong = [bot.agent["name"] for bot in agents if bot.applied != log.of_agent(bot)]
    assert not wrong, f"the streams of {len(wrong)} agents differ from the log: {wrong[:5]}"
    astray = [n for n, bot in enumerate(widgets) if bot.applied != log.of_widget(bot)]
    assert not astray, f"the streams of {len(astray)} widgets differ from the log: {astray[:5]}"
    assert toll.repeats == 0, "a resumed stream repeats nothing"
    assert toll.resyncs == 0, "nothing was so old that it could not be replayed"
    assert toll.refused["internal-error"] == 0, toll.refused
    rows = await connection.fetch(
        "SELECT client_message_id, count(*) AS times FROM message WHERE direction = 'inbound' GROUP BY 1"
    )
    times = {row["client_message_id"]: row["times"] for row in rows}
    acknowledged = [number for widget in widgets for number in widget.acknowledged]
    assert all(times.get(number) == 1 for number in acknowledged), "acknowledged is stored, once"
    assert len(acknowledged) > SECONDS, "there was something to lose"
    gaps = await connection.fetchval(
        "SELECT count(*) FROM (SELECT conversation_id FROM message GROUP BY 1 HAVING max(seq) <> count(*)) g"
    )
    assert gaps == 0, "seq has no gap in any conversation"
