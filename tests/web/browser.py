"""A real browser on a real server: what a customer does with the keyboard alone."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.types import ASGIApp

expect.set_options(timeout=30_000)  # what is awaited comes late on a busy machine, and costs nothing when it comes
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def executable() -> str | None:
    """An installed Chromium; `ROUNDTRIP_TEST_BROWSER` names another one."""
    given = os.environ.get("ROUNDTRIP_TEST_BROWSER")
    return given or next((path for name in _NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = executable()
    if path is None:
        pytest.skip("no Chromium on this machine: the pages were NOT tried in a real browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The application under uvicorn on a free port; yields its base URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server ended"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def tab_to(page: Page, field: str, *, limit: int = 40) -> None:
    """Press Tab until the element with this id has the focus."""
    for _ in range(limit):
        if await focused(page) == field:
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{field} cannot be reached by Tab")


async def focused(page: Page) -> Any:
    """The id of what has the focus, or its name for a radio group entered at another button."""
    return await page.locator(":focus").get_attribute("id") if await page.locator(":focus").count() else None


async def sign_in(page: Page, base: str, token: str) -> None:
    """At the agents' console."""
    await page.goto(base + "/console")
    await page.get_by_label("Your agent token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("connected", exact=True).wait_for()
