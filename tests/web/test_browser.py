"""A customer with a browser, no JavaScript and no mouse, in both languages."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from app.db import Database
from app.models.words import ConversationStatus, CycleState
from app.vault import Vault
from tests.web import matter as matters
from tests.web.browser import chromium, focused, served, tab_to

WORDS = {
    "en": ("Yes, it is solved", "Thank you!", "You confirmed this result."),
    "zh": ("已解决", "谢谢您", "您已确认此处理结果"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_confirms_by_keyboard(app: FastAPI, database: Database, vault: Vault, language: str) -> None:
    made = await matters.make(database, vault, language=language)
    await made.resolve()
    solved, thanks, settled = WORDS[language]
    async with served(app) as base, chromium() as browser:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        await page.goto(base + made.receipt)
        assert await page.get_by_role("radio", name=solved).count() == 1
        await tab_to(page, "outcome-confirmed")
        assert (
            await page.locator("label[for=outcome-confirmed]").evaluate("e => getComputedStyle(e).outlineStyle")
            == "solid"
        )
        await page.keyboard.press("Space")
        await tab_to(page, "csat-1")
        for _ in range(4):
            await page.keyboard.press("ArrowRight")
        await tab_to(page, "comment")
        await page.keyboard.type("Thank you very much.")
        await tab_to(page, "anonymous")
        await page.keyboard.press("Tab")
        assert await focused(page) is None, "the button has no id"
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text(thanks).wait_for()
        await page.reload()
        await page.get_by_role("status").get_by_text(thanks).wait_for()
        await page.go_back()
        await page.get_by_text(settled).first.wait_for()
        assert await page.locator("#outcome-confirmed").count() == 0, "the form of before is not shown again"
        assert not [problem for problem in problems if "favicon" not in problem]
    survey, cycle = await made.survey(), await made.cycle()
    assert survey is not None
    assert (survey.csat, survey.comment) == (5, "Thank you very much.")
    assert cycle.state == CycleState.CONFIRMED
    assert (await made.conversation()).status == ConversationStatus.CLOSED


async def test_nothing_overflows_on_a_small_screen(app: FastAPI, database: Database, vault: Vault) -> None:
    made = await matters.make(database, vault, text="w" * 300)
    await made.resolve(problem="x" * 500)
    async with served(app) as base, chromium() as browser:
        page = await browser.new_page(viewport={"width": 320, "height": 600})
        for path in (made.receipt, made.receipt + "?lang=zh", made.progress, "/f/forged"):
            await page.goto(base + path)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
