"""Clients that are cut off at random and come back: agents and visitors who keep every event they were given."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.support.server import Server

Frame = dict[str, Any]
_RECEIPT = {"problem": "It was late.", "resolution": "It is there.", "commitment": "We ask again."}


@dataclass
class Toll:
    """What happened in a run, for the assertions and for the report."""

    connects: int = 0
    cuts: int = 0
    repeats: int = 0
    resyncs: int = 0
    frames: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Bot:
    """Connects to any of the servers, resumes by cursor, and lives until it is told to stop."""

    path = ""

    def __init__(self, servers: Sequence[Server], rng: random.Random, toll: Toll, **hello: Any) -> None:
        self.servers, self.rng, self.toll, self.hello = servers, rng, toll, hello
        self.first: str | None = None
        self.applied: list[str] = []
        self.calm = False
        self._ids = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._name = f"{rng.getrandbits(64):016x}"

    @property
    def cursor(self) -> str | None:
        return self.applied[-1] if self.applied else self.first

    def cut(self) -> None:
        """As if the network had gone: no goodbye."""
        if self._socket is not None:
            self.toll.cuts += 1
            self._socket.transport.abort()

    async def live(self) -> None:
        while True:
            with suppress(OSError, WebSocketException, TimeoutError):
                await self._one_connection(self.rng.choice(self.servers))
            self._socket = None
            await asyncio.sleep(self.rng.uniform(0.01, 0.3))

    async def _one_connection(self, server: Server) -> None:
        async with connect(
            server.socket_base + self.path, max_size=None, compression=None, ping_interval=None, open_timeout=10
        ) as socket:
            more = {"cursor": self.cursor} if self.cursor else {}
            await socket.send(orjson.dumps({"type": "hello", **self.hello, **more}).decode())
            self.toll.connects += 1
            async for text in socket:
                frame = orjson.loads(text)
                self.toll.frames += 1
                if frame["type"] == "welcome":
                    self._socket = socket
                    await self._welcomed(frame)
                elif frame["type"] == "error":
                    self.toll.refused[frame["code"]] += 1
                    await self.refused(frame)
                elif frame["type"] == "resync_required":
                    self.toll.resyncs += 1
                elif frame["type"] == "ok":
                    await self.answered(frame)
                elif "cursor" in frame:
                    await self._apply(frame)

    async def _welcomed(self, frame: Frame) -> None:
        if self.first is None:
            self.first = frame["cursor"]
        await self.welcomed(frame)

    async def _apply(self, frame: Frame) -> None:
        if self.cursor is not None and frame["cursor"] <= self.cursor:
            self.toll.repeats += 1
            return
        self.applied.append(frame["cursor"])
        if not self.calm:
            await self.react(frame)

    async def send(self, type: str, **fields: Any) -> None:
        if self._socket is not None:
            command = {"type": type, "id": f"{self._name}-{next(self._ids)}", **fields}
            with suppress(WebSocketException):
                await self._socket.send(orjson.dumps(command).decode())

    async def welcomed(self, frame: Frame) -> None: ...

    async def react(self, frame: Frame) -> None: ...

    async def answered(self, frame: Frame) -> None: ...

    async def refused(self, frame: Frame) -> None: ...


class AgentBot(Bot):
    """Takes most offers, answers, now and then hands over or resolves."""

    path = "/desk/live"

    def __init__(
        self, servers: Sequence[Server], rng: random.Random, toll: Toll, agent: Frame, queues: Sequence[str]
    ) -> None:
        super().__init__(servers, rng, toll, token=agent["token"])
        self.agent, self.queues = agent, queues

    async def welcomed(self, frame: Frame) -> None:
        if self.calm:
            await self.rest()
        else:
            if frame["agent"]["availability"] != "online":
                await self.send("availability.set", availability="online")
            for offer in frame["offers"]:
                await self.send("offer.accept", offer_id=offer["offer_id"])

    async def rest(self) -> None:
        """Takes nothing more, so that the log comes to an end."""
        await self.send("availability.set", availability="away")

    async def react(self, frame: Frame) -> None:
        kind, chance = frame["type"], self.rng.random()
        if kind == "offer.created" and chance < 0.8:
            await self.send("offer.accept", offer_id=frame["offer_id"])
        elif kind == "offer.created" and chance < 0.9:
            await self.send("offer.reject", offer_id=frame["offer_id"])
        elif kind == "message.created" and frame["message"]["direction"] == "inbound":
            await self._handle(frame["conversation_id"], chance)

    async def _handle(self, conversation_id: str, chance: float) -> None:
        """Commands for what is not theirs are refused, as they should be."""
        if chance < 0.25:
            number = f"{self._name}-reply-{next(self._ids)}"
            await self.send(
                "message.send", conversation_id=conversation_id, kind="reply", text="Yes.", client_message_id=number
            )
        elif chance < 0.3:
            await self.send(
                "conversation.transfer", conversation_id=conversation_id, queue_id=self.rng.choice(self.queues)
            )
        elif chance < 0.4:
            await self.send("conversation.resolve", conversation_id=conversation_id, **_RECEIPT)


class WidgetBot(Bot):
    """Writes again and again; what was not acknowledged is sent once more, with the same id."""

    path = "/widget/live"

    def __init__(self, servers: Sequence[Server], rng: random.Random, toll: Toll, channel_id: str) -> None:
        super().__init__(servers, rng, toll, channel_id=channel_id)
        self.unanswered: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self.conversation_id: str | None = None

    async def welcomed(self, frame: Frame) -> None:
        self.hello["visitor_token"] = frame["visitor_token"]
        for number, text in list(self.unanswered.items()):
            await self.send("message.send", client_message_id=number, text=text)

    async def write(self) -> None:
        number = f"{self._name}-{len(self.acknowledged) + len(self.unanswered)}"
        self.unanswered[number] = f"Where is my parcel {number}?"
        await self.send("message.send", client_message_id=number, text=self.unanswered[number])

    async def answered(self, frame: Frame) -> None:
        number = frame.get("client_message_id")
        if number is not None and self.unanswered.pop(number, None) is not None:
            self.acknowledged.append(number)
            self.conversation_id = frame["conversation_id"]

    async def refused(self, frame: Frame) -> None:
        if frame["code"] in ("rate-limited", "unavailable"):
            await asyncio.sleep(frame.get("retry_after", 1))
            for number, text in list(self.unanswered.items()):
                await self.send("message.send", client_message_id=number, text=text)
