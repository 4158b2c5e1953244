"""Every state of the customer's pages and of the widget, held against WCAG 2.1 A and AA by an automated checker."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from app.clock import now
from app.db import Database
from app.ids import new_id
from app.models.words import ConversationStatus
from app.settings import Settings
from app.vault import Vault
from tests.support.server import Server
from tests.support.sockets import Desk
from tests.web import matter as matters
from tests.web.axe import violations
from tests.web.browser import chromium
from tests.web.matter import Matter
from tests.web.test_form_page import make as make_form
from tests.web.test_recovery_page import answer, make_good

KEY = b"a key for the journeys, long enough"
EACH = pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("zh", "dark")])
INSIDE = """e => { const box = e.getBoundingClientRect();
    return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight; }"""
CHAT = {
    "en": (
        "Messages",
        "New message (1)",
        "Please choose an answer first",
        "Yes, it is solved",
        "Thank you",
        "No answer is needed",
    ),
    "zh": ("消息", "新消息 (1)", "请先选择", "已解决", "感谢您的反馈", "无需再答复"),
}


@dataclass
class Walk:
    """A browser that looks at one state after the other, and what it found wrong."""

    page: Page
    base: str
    language: str
    found: list[str] = field(default_factory=list)

    async def look(self, name: str, path: str | None = None) -> None:
        """Go there, or stay, and check."""
        if path is not None:
            await self.page.goto(f"{self.base}{path}?lang={self.language}")
        assert await self.page.get_attribute("html", "lang") == {"en": "en", "zh": "zh-Hans"}[self.language], name
        await self.check(name)

    async def check(self, name: str) -> None:
        self.found += [f"{name}: {line}" for line in await violations(self.page)]

    async def send(self) -> None:
        """Press the page's one button."""
        async with self.page.expect_navigation():
            await self.page.locator("main form button[type=submit]").press("Enter")


@asynccontextmanager
async def walking(server: Server, language: str, scheme: Any) -> AsyncIterator[Walk]:
    locale = {"en": "en-GB", "zh": "zh-CN"}[language]
    async with chromium() as browser:
        page = await (await browser.new_context(color_scheme=scheme, locale=locale)).new_page()
        page.set_default_timeout(30_000)
        walk = Walk(page, server.base, language)
        yield walk
    assert walk.found == [], "\n".join(walk.found)


@pytest.fixture
async def matter(live_database: str) -> AsyncIterator[Matter]:
    """Resolved, on the live server's database."""
    database = Database(Settings(DATABASE_URL=live_database))
    made = await matters.make(database, Vault(KEY), subject="A door")
    await made.resolve()
    yield made
    await database.close()


@EACH
async def test_receipts(server: Server, matter: Matter, language: str, scheme: str) -> None:
    async with walking(server, language, scheme) as walk:
        page = walk.page
        await walk.look("open", matter.receipt)
        await walk.send()
        await expect(page.locator("#outcome-confirmed")).to_be_focused()
        await walk.look("nothing chosen")
        await page.locator("#nps-3").press("Space")
        await page.locator("#comment").fill("x" * 4001)
        await walk.send()
        await expect(page.locator("#comment")).to_be_focused()
        await walk.look("too long")
        await page.locator("#comment").fill("No.")
        await page.locator("#outcome-rejected").press("Space")
        await walk.send()
        await expect(page.get_by_role("status")).to_be_focused()
        await walk.look("rejected just now")
        await walk.look("rejected", matter.receipt)
        rejected = matter.receipt
        await matter.resolve()
        await walk.look("not asked to rate", matter.receipt)
        await answer(matter, outcome="confirmed", csat=1)
        await walk.look("confirmed", matter.receipt)
        await make_good(matter)
        await walk.look("made good", matter.receipt)
        await matter.reopen()
        await walk.look("gone on since", rejected)
        for name, path in (
            ("forged", "/f/forged"),
            ("expired", "/f/" + matter.vault.sign("feedback", new_id(), valid_s=-1)),
            ("file, forged", "/files/forged"),
        ):
            await walk.look(name, path)


@EACH
async def test_progress(server: Server, matter: Matter, language: str, scheme: str) -> None:
    await matter.reopen()
    await matter.write("A technician comes.")
    async with walking(server, language, scheme) as walk:
        await walk.look("working", matter.progress)
        await walk.send()
        await walk.look("nothing written")
        await walk.page.locator("#text").fill("Any news?")
        await walk.send()
        await walk.look("written")
        await matter.resolve()
        for status in ConversationStatus:
            await matter.change(status=status, snoozed_until=now() + timedelta(days=1))
            await walk.look(status, matter.progress)
        await matter.switch_off()
        await walk.look("takes no messages", matter.progress)
        await walk.look("forged", "/c/forged")


@EACH
async def test_forms(server: Server, language: str, scheme: str) -> None:
    form = await make_form(server)
    async with walking(server, language, scheme) as walk:
        await walk.look("form", f"/forms/{form['id']}")
        await walk.send()
        await expect(walk.page.locator("#field-2")).to_be_focused()
        await walk.look("errors")
        await walk.page.locator("#field-2").fill("mei@customer.example")
        await walk.page.locator("#field-4").fill(f"It wobbles {secrets.token_hex(4)}")
        await walk.page.locator("#field-7").press("Space")
        await walk.send()
        await walk.look("thanks")


async def resolved(desk: Desk, conversation: str) -> None:
    parts = {"problem": "It flickers.", "resolution": "A new lamp.", "commitment": "We call."}
    await desk.command("conversation.resolve", conversation_id=conversation, **parts)


async def back_to(page: Page, wanted: Locator) -> None:
    """Press Shift and Tab until it has the focus."""
    for _ in range(20):
        if await wanted.evaluate("e => e.getRootNode().activeElement === e"):
            return
        await page.keyboard.press("Shift+Tab")
    raise AssertionError("it cannot be reached by the keyboard")


@EACH
async def test_the_widget_by_keyboard(server: Server, language: str, scheme: str) -> None:
    """The receipt's question is announced, reached, refused, answered; and the next one does not ask for a rating again."""
    name, news, refused, yes, thanks, settled = CHAT[language]
    queue = await server.api("POST", "/queues", {"name": f"Chat {secrets.token_hex(3)}"})
    agent = await server.make_agent("Ada Agent", queue_ids=[queue["id"]])
    channel = await server.make_channel("webchat", {"allowed_origins": []}, queue_id=queue["id"])
    async with Desk(server.socket_base, agent["token"]) as desk, walking(server, language, scheme) as walk:
        await desk.online()
        page = walk.page
        await page.goto(f"{server.base}/widget/demo?channel_id={channel['id']}")
        await walk.check("closed")
        launch, card, write = page.locator(".launch"), page.locator(".ask"), page.locator(".bar textarea")
        await launch.press("Enter")
        await expect(write).to_be_focused()
        await page.keyboard.type("My lamp flickers.")
        await page.keyboard.press("Enter")
        offer = await desk.expect("offer.created")
        await desk.command("offer.accept", offer_id=offer["offer_id"])
        await expect(page.get_by_role("log", name=name)).to_contain_text("Ada Agent")
        await walk.check("a chat")
        await page.keyboard.press("Escape")
        await expect(launch).to_be_focused()
        await resolved(desk, offer["conversation_id"])
        await expect(page.get_by_role("status").filter(has_text=news)).to_have_count(1)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log").locator(".ask")).to_be_visible()
        await back_to(page, card.get_by_role("button"))
        await page.keyboard.press("Enter")
        first = card.get_by_role("radio", name=yes)
        await expect(first).to_be_focused()
        await expect(card.get_by_role("alert")).to_have_text(refused)
        await expect(card.locator("fieldset").first).to_have_attribute("aria-describedby", "wrong")
        await walk.check("a receipt, refused")
        await page.keyboard.press("Space")
        await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("Tab")
        await page.keyboard.type("All good.")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log")).to_contain_text(thanks)
        await expect(card).to_have_count(0)
        await expect(write).to_be_focused()
        received = await desk.expect("feedback.received")
        assert received["ratings"]["csat"] == 5
        await page.keyboard.type("Oh, it flickers again.")
        await page.keyboard.press("Enter")
        await desk.expect("conversation.reopened")
        await resolved(desk, offer["conversation_id"])
        await expect(card.get_by_role("radio")).to_have_count(2)
        await page.set_viewport_size({"width": 320, "height": 256})
        assert await page.locator(".panel").evaluate(INSIDE), "enlarged four times it is still all there"
        await page.keyboard.type("And the switch is loose.")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("log")).to_contain_text(settled)
        await expect(card).to_have_count(0)
