"""A live server with a queue, a partner channel, and consoles of several people in a real browser."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.providers import PartnerSystem
from tests.support.server import Server
from tests.web.browser import chromium, sign_in

NAMELESS = """[...document.querySelectorAll("button, input, select, textarea")].filter((e) => e.checkVisibility() &&
    !(e.getAttribute("aria-label") || e.labels?.length || (e.tagName === "BUTTON" && e.textContent.trim()))).length"""
FITS = """[document.documentElement, ...document.querySelectorAll("nav, #work, aside")]
    .every((e) => e.scrollWidth <= e.clientWidth)"""


expect.set_options(timeout=20_000)


@dataclass
class Office:
    """A queue with a partner channel, and consoles of several people."""

    server: Server
    browser: Browser
    queue: dict[str, Any]
    partner: PartnerSystem
    channel: dict[str, Any]
    complaints: list[str] = field(default_factory=list)
    refusals: int = 0
    tag: str = field(default_factory=lambda: secrets.token_hex(3))

    async def console(self, name: str, *, role: str = "agent", online: bool = False, outside: bool = False) -> Page:
        """Somebody's console, signed in; their name is tagged. `outside` does not serve the queue."""
        queue_ids = [] if outside else [self.queue["id"]]
        agent = await self.server.make_agent(f"{name} {self.tag}", role=role, queue_ids=queue_ids)
        page = await (
            await self.browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
        ).new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self._hear(said.text) if said.type == "error" else None)
        await sign_in(page, self.server.base, agent["token"])
        if online:
            await page.get_by_label("I am").select_option("online")
        return page

    def _hear(self, text: str) -> None:
        """The browser tells each refusal of the server, too."""
        if self.refusals and "the server responded with a status of 4" in text:
            self.refusals -= 1
        else:
            self.complaints.append(text)

    async def customer_writes(self, text: str, *, name: str = "Mei Customer", **more: Any) -> None:
        item = {"id": secrets.token_hex(8), "from": {"id": secrets.token_hex(4), "name": name}, "text": text, **more}
        async with httpx.AsyncClient() as client:
            answer = await self.partner.post(client, self.channel["webhook_url"], item)
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def office(server: Server, *, refusals: int = 0) -> AsyncIterator[Office]:
    """`refusals`: so many of the server's are expected."""
    queue = await server.api("POST", "/queues", {"name": f"Desk {secrets.token_hex(3)}"})
    partner = PartnerSystem()
    channel = await server.make_channel("partner", {"secret": partner.secret}, queue_id=queue["id"])
    async with chromium() as browser:
        place = Office(server, browser, queue, partner, channel, refusals=refusals)
        yield place
        assert (place.complaints, place.refusals) == ([], 0)


def log(page: Page) -> Locator:
    return page.get_by_role("log")


async def write(page: Page, text: str, kind: str = "") -> None:
    if kind:
        await page.get_by_role("radio", name=kind).check()
    await page.get_by_label("Your text").fill(text)
    await page.get_by_role("button", name="Send", exact=True).click()
