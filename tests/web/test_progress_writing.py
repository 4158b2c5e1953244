"""The page of a matter takes a message: the same way in as every other, once however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlmodel import col, select

from app import problems
from app.clock import now
from app.conversations import feedback
from app.db import Database
from app.delivery import reach
from app.feedback.survey import Answer
from app.ids import new_id
from app.intake.page_messages import PageMessages
from app.models import Channel, Conversation, Message
from app.models.words import ConversationStatus, CycleState, Direction
from app.settings import Settings
from app.vault import Vault
from app.web import pages
from tests.desk.house import build_context
from tests.web import matter as matters
from tests.web.browser import chromium, focused, served, tab_to
from tests.web.html import HTMLParser, one
from tests.web.matter import Matter

HTML = {"Accept": "text/html"}


@pytest.fixture
async def app(database: Database, vault: Vault, settings: Settings) -> AsyncIterator[FastAPI]:
    """The pages, with the way in behind them."""
    context = build_context(database, vault, settings)
    context.page_messages = PageMessages(context)
    context.intake.start()
    app = FastAPI()
    problems.install(app)
    pages.mount(app)
    app.state.context = context
    yield app
    await context.intake.stop()
    await context.http.aclose()


@pytest.fixture
async def made(database: Database, vault: Vault) -> Matter:
    return await matters.make(database, vault)


async def inbound(matter: Matter, conversation_id: Any = None) -> list[Message]:
    async with matter.database.begin() as session:
        found = await session.exec(
            select(Message)
            .where(
                col(Message.conversation_id) == (conversation_id or matter.conversation_id),
                col(Message.direction) == Direction.INBOUND,
            )
            .order_by(col(Message.seq))
        )
        return list(found.all())


async def form(client: httpx.AsyncClient, path: str) -> dict[str, str]:
    """What a browser sends besides the text."""
    page = HTMLParser((await client.get(path)).text)
    return {str(node.attributes["name"]): str(node.attributes["value"]) for node in page.css("#write input")}


async def confirm(matter: Matter) -> None:
    async with matter.database.begin() as session:
        said = Answer.model_validate({"outcome": "confirmed"})
        assert matter.cycle_id is not None
        await feedback.answer_receipt(session, cycle_id=matter.cycle_id, answer=said, via="test")


async def test_a_double_click_is_one_message(client: httpx.AsyncClient, made: Matter) -> None:
    hidden = await form(client, made.progress)
    sent = {**hidden, "text": "Any news?\r\nI am waiting."}
    answers = await asyncio.gather(*(client.post(made.progress, data=sent) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {303}
    first, written = await inbound(made)
    assert (written.text, written.author_type, written.author_id) == (
        "Any news?\nI am waiting.",
        "contact",
        made.contact_id,
    )
    assert (written.channel_id, written.seq, written.content["page"]) == (
        first.channel_id, 2, str(made.conversation_id),
    )  # fmt: skip
    [created] = await made.events("message.created")
    assert created["message"]["id"] == str(written.id)
    shown = HTMLParser((await client.get(made.progress.rsplit("/", 1)[0] + "/" + answers[0].headers["location"])).text)
    assert "received your message" in one(shown, "[role=status]").text()
    assert "I am waiting." in one(shown, ".messages").text()
    other = await client.post(made.progress, data={**hidden, "text": "One more thing."})
    assert other.status_code == 303, "another text under the same id, after going back, is not lost"
    assert len(await inbound(made)) == 3


@pytest.mark.parametrize(("language", "words"), [("en", "Please write a message."), ("zh", "请填写留言。")])
async def test_what_is_wrong_is_named_beside_the_field(
    client: httpx.AsyncClient, made: Matter, settings: Settings, language: str, words: str
) -> None:
    page = await client.post(f"{made.progress}?lang={language}", data={"text": " \r\n "})
    assert page.status_code == 422
    html = HTMLParser(page.text)
    area = one(html, "textarea#text").attributes
    assert area["aria-invalid"] == "true"
    assert "autofocus" in area
    assert str(area["aria-describedby"]).split() == ["text-hint", "text-error"]
    assert one(html, "#text-error").text() == words
    assert one(html, "[role=alert] a").attributes["href"] == "#text"
    long = "x" * (settings.page_text_limit + 1)
    page = await client.post(f"{made.progress}?lang={language}", data={"text": long, "id": "mine"})
    assert page.status_code == 422
    assert str(settings.page_text_limit) in one(page.text, "#text-error").text()
    assert one(page.text, "textarea#text").text().strip() == long, "what they wrote is not lost"
    assert one(page.text, "#write input[name=id]").attributes["value"] == "mine"
    assert len(await inbound(made)) == 1


async def test_all_processes_count_together(
    client: httpx.AsyncClient, app: FastAPI, made: Matter, settings: Settings, vault: Vault, database: Database
) -> None:
    limit = settings.page_messages
    other = build_context(database, vault, settings)
    other.intake.start()
    try:
        for number in range(limit):
            at = PageMessages(other) if number % 2 else app.state.context.page_messages
            await at.take(made.conversation_id, text=f"Message {number}", key=str(number))
    finally:
        await other.intake.stop()
        await other.http.aclose()
    page = await client.post(made.progress, data={"text": "One too many"})
    assert page.status_code == 429
    assert int(page.headers["Retry-After"]) > 0
    assert "Please wait" in one(page.text, "#text-error").text()
    assert one(page.text, "textarea#text").text().strip() == "One too many"
    assert len(await inbound(made)) == limit + 1
    again = await client.post(made.progress, data={"text": "Message 0", "id": "0"})
    assert again.status_code == 303, "what is stored already is answered as stored, and used up nothing"
    another = await matters.make(database, vault)
    assert (await client.post(another.progress, data={"text": "Mine"})).status_code == 303


@pytest.mark.parametrize(
    ("given", "field"),
    [({"text": {"a": 1}}, "text"), ({"text": ["x"]}, "text"), ({"text": 5}, "text"), ({"text": "\u200b \u3164"}, "text"),
     ({"text": "Hello", "id": {}}, "id")],
)  # fmt: skip
async def test_only_a_text_is_one(client: httpx.AsyncClient, made: Matter, given: dict[str, Any], field: str) -> None:
    answer = await client.post(made.progress, json=given, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert len(await inbound(made)) == 1


async def test_a_message_reopens_what_was_resolved(client: httpx.AsyncClient, made: Matter) -> None:
    await made.resolve()
    page = HTMLParser((await client.get(made.progress)).text)
    assert "please confirm it above" in one(page, "#text-hint").text()
    assert one(page, "a.button").text().startswith("Confirm the result")
    assert (await client.post(made.progress, data={"text": "The other door hangs too."})).status_code == 303
    conversation = await made.conversation()
    assert (conversation.status, conversation.cycle, conversation.assignee_id) == ("open", 2, made.agent.id)
    assert (await made.cycle()).state == CycleState.SUPERSEDED


async def test_an_answer_to_the_receipt_is_taken_at_its_word(client: httpx.AsyncClient, made: Matter) -> None:
    await made.resolve()
    assert (await client.post(made.progress, data={"text": "yes, solved"})).status_code == 303
    assert (await made.cycle()).state == CycleState.CONFIRMED
    assert (await made.conversation()).status == ConversationStatus.CLOSED


async def test_within_the_window_a_closed_matter_goes_on(client: httpx.AsyncClient, made: Matter) -> None:
    await made.resolve()
    await confirm(made)
    answer = await client.post(made.progress, data={"text": "It hangs again."})
    assert "sent=here" in answer.headers["location"]
    conversation = await made.conversation()
    assert (conversation.status, conversation.cycle, conversation.owner_id) == ("open", 2, made.agent.id)


async def test_after_the_window_another_matter_follows_and_the_page_leads_there(
    client: httpx.AsyncClient, made: Matter, vault: Vault
) -> None:
    await made.resolve()
    await confirm(made)
    await made.change(closed_at=now() - timedelta(days=8), reopen_until=now() - timedelta(days=1))
    hidden = await form(client, made.progress)
    first, twin = [await client.post(made.progress, data={**hidden, "text": "It hangs again."}) for _ in range(2)]
    token = first.headers["location"].split("?")[0]
    follower = vault.verify("progress", token)
    assert vault.verify("progress", twin.headers["location"].split("?")[0]) == follower != made.conversation_id
    async with made.database.begin() as session:
        opened = await session.get_one(Conversation, follower)
        assert opened.follows_id == made.conversation_id
    [message] = await inbound(made, follower)
    assert message.text == "It hangs again."
    shown = HTMLParser((await client.get("/c/" + first.headers["location"])).text)
    assert "follows the one before" in one(shown, "[role=status]").text()
    before = HTMLParser((await client.get(made.progress)).text)
    link = next(node for node in before.css("a.button") if "goes on here" in node.text())
    assert vault.verify("progress", str(link.attributes["href"]).split("?")[0]) == follower
    again = await client.post(made.progress, data={"text": "And the drawer."})
    assert "sent=elsewhere" in again.headers["location"]
    assert len(await inbound(made, follower)) == 2


async def test_a_matter_opened_by_others_is_not_shown(client: httpx.AsyncClient, made: Matter) -> None:
    """Whoever has typed somebody's address into a form once must not read along in what they open later."""
    await made.resolve()
    await confirm(made)
    await made.change(reopen_until=None)
    before = await made.conversation()
    fields = before.model_dump(include={"channel_id", "channel_type", "contact_id", "identity_id"})
    async with made.database.begin() as session:
        opened = Conversation(**fields, follows_id=made.conversation_id, last_seq=1)
        session.add(opened)
        await session.flush()
        session.add(
            Message(
                conversation_id=opened.id,
                seq=1,
                channel_id=before.channel_id,
                direction="inbound",
                author_type="contact",
                text="by their own hand",
            )
        )
    answer = await client.post(made.progress, data={"text": "Hello?"})
    assert answer.headers["location"].split("?")[0] == made.progress.rsplit("/", 1)[1]
    assert "goes on here" not in (await client.get(made.progress)).text
    told = await client.post(made.progress, json={"text": "Hello?"}, headers={"Accept": "application/json"})
    assert told.json() == {"status": "stored", "where": "elsewhere", "progress_url": None}


async def test_it_opens_no_window_and_takes_no_refusal_back(
    client: httpx.AsyncClient, made: Matter, database: Database
) -> None:
    """What was not written on the channel tells nothing about the channel."""
    async with database.begin() as session:
        conversation = await session.get_one(Conversation, made.conversation_id)
        channel = await session.get_one(Channel, conversation.channel_id)
        channel.limits = {"window_h": 24}
        session.add(channel)
        await session.execute(text("UPDATE message SET created_at = now() - interval '25 hours'"))
    assert (await client.post(made.progress, data={"text": "Hello?"})).status_code == 303
    async with database.begin() as session:
        conversation = await session.get_one(Conversation, made.conversation_id)
        known = await reach.of(session, conversation)
    assert (known.window.open, known.window.why) == (False, "time")


async def test_a_channel_that_was_switched_off_takes_nothing(
    client: httpx.AsyncClient, made: Matter, database: Database
) -> None:
    async with database.begin() as session:
        channel = await session.get_one(Channel, (await made.conversation()).channel_id)
        channel.active = False
        session.add(channel)
    page = HTMLParser((await client.get(made.progress)).text)
    assert page.css_first("form") is None
    assert (await client.post(made.progress, data={"text": "Hello?"})).status_code == 409
    assert len(await inbound(made)) == 1


async def test_links_of_other_kinds_write_nothing(client: httpx.AsyncClient, vault: Vault, made: Matter) -> None:
    await made.resolve()
    for path in (
        "/c" + made.receipt[2:],
        "/c/" + vault.sign("progress", new_id(), valid_s=60),
        "/c/" + vault.sign("progress", made.conversation_id, valid_s=-1),
        "/c/forged",
    ):
        assert (await client.post(path, data={"text": "x"})).status_code in (404, 410)
    assert (await client.post("/f" + made.progress[2:], data={"outcome": "confirmed"})).status_code == 404
    assert len(await inbound(made)) == 1
    assert (await made.cycle()).state == CycleState.PENDING


@pytest.mark.parametrize(
    ("language", "label", "thanks"),
    [("en", "Your message", "We have received your message."), ("zh", "您的留言", "我们已收到您的留言。")],
)
async def test_by_keyboard_without_scripts(
    app: FastAPI, database: Database, vault: Vault, language: str, label: str, thanks: str
) -> None:
    made = await matters.make(database, vault, language=language)
    async with served(app) as base, chromium() as browser:
        context = await browser.new_context(java_script_enabled=False)
        page = await context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        await page.goto(base + made.progress)
        assert await page.get_by_label(label, exact=True).get_attribute("id") == "text"
        await tab_to(page, "text")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").wait_for()
        assert await focused(page) == "text", "the focus is where the error is"
        assert await page.get_by_label(label, exact=True).get_attribute("aria-invalid") == "true"
        await page.keyboard.type("Is there any news?")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text(thanks).wait_for()
        assert await page.get_by_text("Is there any news?").count() == 1
        await page.reload()
        assert await page.get_by_text("Is there any news?").count() == 1
        assert not [problem for problem in problems if "favicon" not in problem and "422" not in problem]
    assert [message.text for message in await inbound(made)][1:] == ["Is there any news?"]
