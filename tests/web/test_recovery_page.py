"""`/f/{token}` once something was made good: what was done is shown, and the same link takes the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import col, select

from app.conversations import feedback, queries, recovering
from app.events.log import SYSTEM
from app.feedback.survey import Answer
from app.models import RecoveryTask
from app.models.words import ConversationStatus
from tests.web.browser import chromium, focused, served, tab_to
from tests.web.html import HTMLParser, one
from tests.web.matter import Matter

JSON = {"Accept": "application/json"}
WORDS = {
    "en": (
        "What we did to make it good",
        "Is it settled for you now?",
        "Please check your answer",
        "Thank you for telling us",
    ),
    "zh": ("我们的补救措施", "现在解决了吗？", "请检查您填写的内容", "感谢您告诉我们"),
}
DONE = {"state": "done", "remedy": "apology", "text": "We are sorry.\nA new hinge is on its way."}


async def answer(matter: Matter, **said: Any) -> None:
    """By the customer, elsewhere."""
    assert matter.cycle_id is not None
    async with matter.database.begin() as session:
        given = Answer.model_validate(said)
        await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=given, via="test")


async def make_good(matter: Matter) -> None:
    """What is to be made good for the newest receipt of this matter."""
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        task = (await session.exec(select(RecoveryTask).where(col(RecoveryTask.cycle_id) == matter.cycle_id))).one()
        await recovering.change(session, held, task, DONE, actor=SYSTEM, link=lambda _: "http://test" + matter.receipt)


async def state(matter: Matter) -> tuple[str, str]:
    async with matter.database.begin() as session:
        task = (await session.exec(select(RecoveryTask))).one()
    return task.state, (await matter.conversation()).status


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("confirmed", ("confirmed", ConversationStatus.CLOSED)), ("rejected", ("failed", ConversationStatus.OPEN))],
)
async def test_shown_and_answered(
    client: httpx.AsyncClient, matter: Matter, outcome: str, expected: tuple[str, str]
) -> None:
    await client.post(matter.receipt, data={"outcome": "confirmed", "csat": "1"})
    before = HTMLParser((await client.get(matter.receipt)).text)
    assert before.css_first("input[name=outcome]") is None
    await make_good(matter)
    page = HTMLParser((await client.get(matter.receipt)).text)
    assert DONE["text"].splitlines()[1] in page.text()
    assert one(page, "fieldset.outcome legend").text(strip=True) == "Is it settled for you now?"
    answered = await client.post(matter.receipt, data={"outcome": outcome, "comment": "ok"})
    assert answered.status_code == 200
    assert await state(matter) == expected
    again = await client.post(matter.receipt, data={"outcome": "rejected" if outcome == "confirmed" else "confirmed"})
    assert again.status_code == (409 if outcome == "confirmed" else 200)
    assert await state(matter) == expected


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_by_keyboard_without_scripts(app: FastAPI, matter: Matter, language: str) -> None:
    """What was made good is there to be read, and has a confirmation of its own, apart from the rating before."""
    made_good, question, check, thanks = WORDS[language]
    await answer(matter, outcome="confirmed", csat=1, comment="Never again.")
    await make_good(matter)
    async with served(app) as base, chromium() as browser:
        page = await (await browser.new_context(java_script_enabled=False)).new_page()
        page.set_default_timeout(30_000)
        await page.goto(f"{base}{matter.receipt}?lang={language}")
        told = page.get_by_role("region", name=made_good)
        assert DONE["text"].splitlines()[1] in await told.inner_text()
        assert await page.get_by_role("group", name=question).get_by_role("radio").count() == 2
        assert await page.locator("#csat-1").is_hidden(), "nobody is asked to rate us again"
        await page.get_by_role("button").press("Enter")
        await page.get_by_role("alert").get_by_text(check).wait_for()
        assert await focused(page) == "outcome-confirmed", "the focus is where the error is"
        await page.keyboard.press("ArrowDown")
        await tab_to(page, "comment")
        await page.keyboard.type("It hangs again.")
        await page.keyboard.press("Tab")
        assert await page.locator("summary:focus").count() == 1
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text(thanks).wait_for()
        assert (await page.title()).startswith(thanks)
    assert await state(matter) == ("failed", ConversationStatus.OPEN)
    survey = await matter.survey()
    assert survey is not None
    assert (survey.csat, survey.comment) == (1, "It hangs again.")


async def test_an_old_answer_that_comes_again_is_none_to_the_new_question(
    client: httpx.AsyncClient, matter: Matter
) -> None:
    """A tab that is restored sends its form once more."""
    form = {"about": "result", "outcome": "confirmed", "csat": "1"}
    await client.post(matter.receipt, data=form)
    await make_good(matter)
    shown = one((await client.get(matter.receipt)).text, "input[name=about]")
    assert shown.attributes["value"] == "remedy"
    assert (await client.get(matter.receipt, headers=JSON)).json()["question"] == "remedy"
    again = await client.post(matter.receipt, data=form)
    assert again.status_code == 200
    assert "Is it settled for you now?" in again.text
    assert "Thank you" not in again.text
    assert (await client.post(matter.receipt, data={**form, "outcome": "rejected"})).status_code == 409
    assert await state(matter) == ("done", ConversationStatus.CLOSED)


async def test_a_double_click_is_one_answer(client: httpx.AsyncClient, matter: Matter) -> None:
    await client.post(matter.receipt, data={"outcome": "confirmed", "csat": "1"})
    await make_good(matter)
    form = {"about": "remedy", "outcome": "rejected", "comment": "No."}
    pages = await asyncio.gather(*(client.post(matter.receipt, data=form) for _ in range(3)))
    for page in pages:
        assert page.status_code == 200
        assert "The matter is open again" in page.text
    assert len(await matter.events("conversation.reopened")) == 1
    assert await state(matter) == ("failed", ConversationStatus.OPEN)
    other = await client.post(matter.receipt, json={**form, "outcome": "confirmed"}, headers=JSON)
    assert (other.status_code, other.json()["code"], other.json()["state"]) == (409, "already-answered", "rejected")


async def test_after_the_window_nothing_is_promised(client: httpx.AsyncClient, matter: Matter) -> None:
    await client.post(matter.receipt, data={"outcome": "confirmed", "csat": "1"})
    await make_good(matter)
    await matter.change(reopen_until=None)
    answered = await client.post(matter.receipt, data={"outcome": "rejected"})
    assert "The matter is open again" not in answered.text
    assert await state(matter) == ("failed", ConversationStatus.CLOSED)


async def test_an_anonymous_one_is_not_asked_where_agents_could_look(client: httpx.AsyncClient, matter: Matter) -> None:
    await client.post(matter.receipt, data={"outcome": "confirmed", "csat": "1", "anonymous": "true"})
    await make_good(matter)
    page = HTMLParser((await client.get(matter.receipt)).text)
    assert "hinge is on its way" not in page.text()
    assert page.css_first("input[name=outcome]") is None
