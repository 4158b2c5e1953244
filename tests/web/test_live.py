"""The chat widget and the agents' console, talking to each other through a live server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.support.server import Server
from tests.web.browser import chromium, sign_in


@dataclass
class Scene:
    """A visitor's page with the widget open, and an agent's console that is signed in and online."""

    server: Server
    browser: Browser
    channel: dict[str, Any]
    visitor: Page
    desk: Page
    complaints: list[str]

    async def conversation(self) -> dict[str, Any]:
        """The only one of this scene."""
        [found] = (await self.server.api("GET", f"/conversations?queue_id={self.channel['queue_id']}"))["items"]
        return dict(found)

    async def visitor_writes(self, text: str) -> None:
        await self.visitor.get_by_label("Your message").fill(text)
        await self.visitor.keyboard.press("Enter")

    async def agent_writes(self, text: str) -> None:
        await self.desk.get_by_label("Your text").fill(text)
        await self.desk.get_by_role("button", name="Send", exact=True).click()


@asynccontextmanager
async def scene(server: Server) -> AsyncIterator[Scene]:
    queue = await server.api("POST", "/queues", {"name": f"Chat {secrets.token_hex(3)}"})
    agent = await server.make_agent("Ada Agent", queue_ids=[queue["id"]])
    channel = await server.make_channel("webchat", {"allowed_origins": []}, queue_id=queue["id"])
    async with chromium() as browser:
        visitor, desk = [await (await browser.new_context(locale="en-GB")).new_page() for _ in range(2)]
        complaints: list[str] = []
        for page in (visitor, desk):
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
        await sign_in(desk, server.base, agent["token"])
        await desk.get_by_label("I am").select_option("online")
        await visitor.goto(f"{server.base}/widget/demo?channel_id={channel['id']}")
        await visitor.get_by_role("button", name="Open the chat").click()
        await expect(visitor.get_by_text("We are here")).to_be_visible()
        yield Scene(server, browser, channel, visitor, desk, complaints)
        assert complaints == []


async def test_from_the_first_word_to_the_confirmation(server: Server) -> None:
    async with scene(server) as play:
        visitor, desk = play.visitor, play.desk
        await play.visitor_writes("My oak table wobbles. <b>Help</b>")
        await desk.get_by_role("button", name="Accept").click()
        await expect(desk.get_by_role("log")).to_contain_text("My oak table wobbles. <b>Help</b>")
        await expect(visitor.get_by_role("log")).to_contain_text("Ada Agent takes care of you")
        await desk.get_by_label("Note, for colleagues only").check()
        await play.agent_writes("This one is a secret note")
        await expect(desk.get_by_role("log")).to_contain_text("secret note")
        await desk.get_by_label("Reply", exact=True).check()
        await play.agent_writes("We send a technician, see https://example.test/visit")
        await expect(visitor.get_by_role("log")).to_contain_text("We send a technician")
        await expect(visitor.get_by_role("link", name="https://example.test/visit")).to_be_visible()
        await expect(desk.get_by_role("log")).to_contain_text("read")
        for name, text in (
            ("problem", "It wobbled"),
            ("resolution", "Feet were adjusted"),
            ("commitment", "We call you"),
        ):
            await desk.locator(f"#{name}").fill(text)
        await desk.get_by_role("button", name="Send the receipt").click()
        await visitor.get_by_label("Yes, it is solved").check()
        await visitor.get_by_label("5", exact=True).check()
        await visitor.get_by_label("Anything to add?").fill("All good")
        await visitor.locator(".ask").get_by_role("button", name="Send").click()
        await expect(visitor.get_by_text("Thank you for your answer")).to_be_visible()
        await expect(desk.locator("#mine")).to_contain_text("None yet")
        assert await visitor.locator(".ask").count() == 0
        assert "secret note" not in await visitor.get_by_role("log").inner_text()
        assert (await play.conversation())["status"] == "closed"


async def test_what_is_written_while_the_server_is_away_arrives_once(server: Server) -> None:
    async with scene(server) as play:
        visitor, desk = play.visitor, play.desk
        await play.visitor_writes("First words")
        await desk.get_by_role("button", name="Accept").click()
        await expect(desk.get_by_role("log")).to_contain_text("First words")
        assert await server.stop() == 0
        await expect(visitor.get_by_text("No connection")).to_be_visible()
        await play.visitor_writes("Written into the dark")
        await expect(visitor.get_by_text("Sending…")).to_be_visible()
        await visitor.close()
        again = await visitor.context.new_page()
        await server.start()
        await again.goto(f"{server.base}/widget/demo?channel_id={play.channel['id']}")
        await again.get_by_role("button", name="Open the chat").click()
        play.visitor = again
        await expect(desk.get_by_role("log")).to_contain_text("Written into the dark", timeout=20_000)
        await expect(again.get_by_role("log")).to_contain_text("First words")
        await expect(again.get_by_text("Sending…")).to_have_count(0)
        await play.agent_writes("I am here again")
        await expect(again.get_by_role("log")).to_contain_text("I am here again")
        conversation = await play.conversation()
        messages = (await server.api("GET", f"/conversations/{conversation['id']}/messages"))["items"]
        assert [message["text"] for message in messages] == ["First words", "Written into the dark", "I am here again"]
        for page in (again, desk):
            assert (await page.get_by_role("log").inner_text()).count("Written into the dark") == 1
