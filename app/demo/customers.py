"""Simulated customers, one per channel at a time: they write, wait for the answer, and answer the receipt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib
import httpx
import orjson
from websockets.asyncio.client import connect

from app.demo.providers import Inbox
from app.demo.script import STORIES, Story
from app.demo.transcript import Transcript

_LINK = re.compile(r"https?://\S+/f/[\w-]+")
_PATIENCE_S = 60


class Customers:
    """Who they are and how they reach us: `channels` maps a type to what the API said of it."""

    def __init__(
        self,
        base: str,
        channels: dict[str, dict[str, Any]],
        secret: bytes,
        smtp_port: int,
        inbox: Inbox,
        transcript: Transcript,
    ) -> None:
        self._base, self._channels, self._secret, self._smtp_port = base, channels, secret, smtp_port
        self._inbox, self._transcript = inbox, transcript
        self._stories = itertools.cycle(STORIES)
        self._http = httpx.AsyncClient(timeout=10)

    async def run(self, channel: str, *, pause_s: float) -> None:
        """One customer after another on this channel, for ever."""
        walks: dict[str, Callable[[Story, str], Awaitable[None]]] = {
            "webchat": self._webchat,
            "partner": self._partner,
            "telegram": self._telegram,
            "email": self._email,
        }
        while True:
            story = next(self._stories)
            self._transcript.say(channel, story.customer, story.opening)
            self._transcript.count("asked")
            try:
                await walks[channel](story, secrets.token_hex(4))
            except (TimeoutError, OSError, httpx.HTTPError) as error:
                self._transcript.say("house", channel, f"the customer gave up: {type(error).__name__}")
            await asyncio.sleep(pause_s)

    async def _webchat(self, story: Story, run: str) -> None:
        url = self._base.replace("http", "ws", 1) + "/widget/live"
        async with connect(url, compression=None) as socket, asyncio.timeout(_PATIENCE_S):
            await socket.send(orjson.dumps({"type": "hello", "channel_id": self._channels["webchat"]["id"]}).decode())
            message = {"type": "message.send", "client_message_id": run, "text": story.opening}
            await socket.send(orjson.dumps(message).decode())
            solved = story.solved
            async for text in socket:
                frame = orjson.loads(text)
                if frame["type"] == "message.created" and frame["message"]["kind"] == "reply":
                    self._hear("webchat", story, frame["message"]["text"])
                if frame["type"] == "feedback.requested":
                    await self._answer("webchat", story, frame["receipt"]["url"], solved=solved)
                    solved = True
                if frame["type"] == "conversation.updated" and frame["conversation"]["status"] == "closed":
                    return

    async def _partner(self, story: Story, run: str) -> None:
        sender = {"id": run, "name": story.customer}
        body = orjson.dumps({"id": f"demo-{run}", "from": sender, "text": story.opening, "conversation_ref": run})
        at = str(int(time.time()))
        mac = hmac.new(self._secret, f"demo-{run}.{at}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json",
            "webhook-id": f"demo-{run}",
            "webhook-timestamp": at,
            "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        }
        await self._post("partner", body, headers)
        await self._converse("partner", story, run)

    async def _telegram(self, story: Story, run: str) -> None:
        chat = int(run, 16)
        person = {"id": chat, "is_bot": False, "first_name": story.customer}
        message = {"message_id": 1, "from": person, "chat": {"id": chat, "type": "private"}, "date": int(time.time())}
        update = {"update_id": chat, "message": {**message, "text": story.opening}}
        headers = {"content-type": "application/json", "x-telegram-bot-api-secret-token": "demo-hook"}
        await self._post("telegram", orjson.dumps(update), headers)
        await self._converse("telegram", story, str(chat))

    async def _email(self, story: Story, run: str) -> None:
        address = f"{story.customer.lower()}-{run}@customers.example"
        mail = EmailMessage()
        mail["From"], mail["To"] = f"{story.customer} <{address}>", "care@demo.example"
        mail["Subject"], mail["Message-ID"] = "A question", f"<{run}@customers.example>"
        mail.set_content(story.opening)
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=self._smtp_port)
        await self._converse("email", story, address)

    async def _post(self, channel: str, body: bytes, headers: dict[str, str]) -> None:
        path = f"/channels/{self._channels[channel]['id']}/webhook"
        answer = await self._http.post(self._base + path, content=body, headers=headers)
        answer.raise_for_status()

    async def _converse(self, channel: str, story: Story, key: str) -> None:
        """Read what arrives for this customer until they have confirmed; "not solved" is said at most once."""
        solved = story.solved
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                text = await self._inbox.next(key)
                if (found := _LINK.search(text)) is None:
                    self._hear(channel, story, text.strip().splitlines()[0])
                else:
                    await self._answer(channel, story, found.group(0), solved=solved)
                    if solved:
                        return
                    solved = True

    def _hear(self, channel: str, story: Story, text: str) -> None:
        self._transcript.say(channel, story.customer, f"reads: {text}")

    async def _answer(self, channel: str, story: Story, link: str, *, solved: bool) -> None:
        """Open the page behind the link and say what they think."""
        outcome = {"outcome": "confirmed" if solved else "rejected", "csat": story.csat, "nps": 8 if solved else 3}
        answer = await self._http.post(
            self._base + urlsplit(link).path, json=outcome, headers={"accept": "application/json"}
        )
        answer.raise_for_status()
        word = "confirms: solved" if solved else "says: not solved"
        self._transcript.say(channel, story.customer, f"{word}, rates {story.csat} of 5")
        self._transcript.count("confirmed" if solved else "rejected")
