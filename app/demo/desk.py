"""Simulated agents: consoles that accept what they are offered, answer, and resolve."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.demo.script import STORIES, Story
from app.demo.transcript import Transcript


class DemoAgent:
    """One console. Finds the story by the customer's words, as a person would by reading."""

    def __init__(self, url: str, name: str, token: str, transcript: Transcript, *, pace_s: float) -> None:
        self._url, self._name, self._token = url, name, token
        self._transcript, self._pace_s = transcript, pace_s
        self._numbers = itertools.count(1)
        self._cursor: str | None = None
        self._offers: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Reconnect and resume for ever, as a console does."""
        while True:
            try:
                async with connect(self._url, compression=None) as socket:
                    await self._work(socket)
            except (ConnectionClosed, OSError):
                await asyncio.sleep(0.3)

    async def _work(self, socket: ClientConnection) -> None:
        await self._send(socket, "hello", token=self._token, cursor=self._cursor)
        await self._send(socket, "availability.set", availability="online")
        async for text in socket:
            frame = orjson.loads(text)
            self._cursor = frame.get("cursor", self._cursor)
            self._take(socket, frame)

    def _take(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "message.created" and frame["message"]["direction"] == "inbound":
            self._words.setdefault(frame["conversation_id"], frame["message"]["text"])
        elif kind == "offer.created":
            self._offers[frame["offer_id"]] = frame["conversation_id"]
            self._later(self._accept(socket, frame["offer_id"]))
        elif kind == "offer.accepted" and frame["offer_id"] in self._offers:
            self._later(self._handle(socket, self._offers.pop(frame["offer_id"])))
        elif kind == "conversation.assigned" and frame["how"] == "reopen" and frame["assignee"]["name"] == self._name:
            self._later(self._again(socket, frame["conversation_id"]))
        elif kind == "sla.breached":
            self._transcript.say("house", "SLA", f"{frame['clock']['metric']} breached at {frame['clock']['due_at']}")

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _accept(self, socket: ClientConnection, offer_id: str) -> None:
        await asyncio.sleep(self._pace_s / 2)
        self._transcript.say("desk", self._name, "accepts the offer")
        await self._send(socket, "offer.accept", offer_id=offer_id)

    async def _handle(self, socket: ClientConnection, conversation_id: str) -> None:
        story = self._story(conversation_id)
        await asyncio.sleep(self._pace_s)
        await self._reply(socket, conversation_id, story.answer)
        await asyncio.sleep(self._pace_s)
        await self._resolve(socket, conversation_id, story)

    async def _again(self, socket: ClientConnection, conversation_id: str) -> None:
        await asyncio.sleep(self._pace_s)
        await self._reply(socket, conversation_id, "I have looked into it once more, and put it right.")
        await asyncio.sleep(self._pace_s)
        await self._resolve(socket, conversation_id, self._story(conversation_id))

    async def _reply(self, socket: ClientConnection, conversation_id: str, text: str) -> None:
        self._transcript.say("desk", self._name, f"replies: {text}")
        await self._send(
            socket,
            "message.send",
            conversation_id=conversation_id,
            kind="reply",
            text=text,
            client_message_id=f"{self._name}-{next(self._numbers)}",
        )

    async def _resolve(self, socket: ClientConnection, conversation_id: str, story: Story) -> None:
        self._transcript.say("desk", self._name, f"resolves: {story.resolution}")
        self._transcript.count("resolved")
        await self._send(
            socket,
            "conversation.resolve",
            conversation_id=conversation_id,
            problem=story.problem,
            resolution=story.resolution,
            commitment=story.commitment,
        )

    def _story(self, conversation_id: str) -> Story:
        words = self._words.get(conversation_id, "")
        return next((story for story in STORIES if story.opening in words), STORIES[0])

    async def _send(self, socket: ClientConnection, command: str, /, **fields: Any) -> None:
        frame = {"type": command, "id": f"{command}-{next(self._numbers)}", **fields}
        await socket.send(orjson.dumps(frame).decode())
