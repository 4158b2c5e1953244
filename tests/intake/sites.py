"""A customer's site with our widget: browsers, tabs, users who log in."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import jwt

from tests.support.server import Server
from tests.support.sockets import Widget

SECRET = "the site's backend and we know this, and nobody else"


@dataclass
class Site:
    server: Server
    channel_id: str
    queue_id: str

    def tab(self, **hello: Any) -> Widget:
        """A widget in a browser; `visitor_token` says in which one."""
        return Widget(self.server.socket_base, self.channel_id, **hello)

    async def conversations(self, contact_id: str) -> list[dict[str, Any]]:
        found = await self.server.api("GET", f"/conversations?contact_id={contact_id}&limit=100")
        items: list[dict[str, Any]] = found["items"]
        return items

    async def texts(self, conversation_id: str) -> list[str]:
        """In order; fails on a gap in `seq`."""
        found = await self.server.api("GET", f"/conversations/{conversation_id}/messages?limit=200")
        assert [item["seq"] for item in found["items"]] == list(range(1, len(found["items"]) + 1))
        return [item["text"] for item in found["items"]]

    async def answer(self, conversation_id: str, text: str, **more: Any) -> dict[str, Any]:
        """As the service."""
        body = {"kind": "reply", "text": text, **more}
        sent: dict[str, Any] = await self.server.api("POST", f"/conversations/{conversation_id}/messages", body)
        return sent


def passport(user: str, *, secret: str = SECRET, valid_s: int = 600, **claims: Any) -> str:
    """What the site's backend signs for a user who is logged in."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + valid_s, **claims}, secret, algorithm="HS256")


async def open_site(server: Server, **config: Any) -> Site:
    queue = await server.api("POST", "/queues", {"name": f"Shop {secrets.token_hex(3)}"})
    channel = await server.make_channel(
        "webchat", {"allowed_origins": [], "identity_secret": SECRET, **config}, queue_id=queue["id"]
    )
    return Site(server, channel["id"], queue["id"])


def said(text: str) -> Any:
    """For `expect`: a message with this text."""
    return lambda frame: frame["message"]["text"] == text
