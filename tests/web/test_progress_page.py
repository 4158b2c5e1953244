"""`/c/{token}`: where a matter stands, without names and without notes."""

from __future__ import annotations

from datetime import timedelta

import httpx

from app.clock import now
from app.db import Database
from app.ids import new_id
from app.models import Message, SlaClock, SlaPolicy
from app.models.words import ClockMetric, ConversationStatus, MessageKind
from app.vault import Vault
from tests.web import matter as matters
from tests.web.html import HTMLParser, language, one
from tests.web.matter import PROBLEM, Matter

JSON = {"Accept": "application/json"}


async def test_shows_state_role_promise_and_messages(
    client: httpx.AsyncClient, database: Database, vault: Vault
) -> None:
    made = await matters.make(database, vault, text="My <b>door</b> hangs.", subject="Door & hinge")
    await made.write("A technician comes on Thursday.")
    await made.write("The customer is difficult.", kind=MessageKind.NOTE)
    due = now() + timedelta(hours=2)
    async with database.begin() as session:
        policy = SlaPolicy(code="test", name="Test")
        session.add(policy)
        await session.flush()
        session.add(
            SlaClock(
                conversation_id=made.conversation_id,
                policy_id=policy.id,
                metric=ClockMetric.RESOLUTION,
                target_s=7200,
                due_at=due,
            )
        )
    page = await client.get(made.progress)
    assert page.status_code == 200
    html = HTMLParser(page.text)
    body = one(html, "main").text()
    assert "A colleague is working on it." in body
    assert "A member of our service team" in body
    assert "We aim to have it solved by" in body
    assert "(in 2 h)" in body
    assert "My <b>door</b> hangs." in body
    assert "A technician comes on Thursday." in body
    assert "Door & hinge" in body
    assert one(html, ".steps .current").text().startswith("In hand")
    for secret in ("difficult", "Ada", "Secretname", made.agent.email, str(made.agent.id)):
        assert secret not in page.text
        assert secret not in (await client.get(made.progress, headers=JSON)).text
    shown = (await client.get(made.progress, headers=JSON)).json()
    assert shown["status"] == "open"
    assert [item["what"] for item in shown["next"]] == ["work", "resolution"]
    assert [item["from"] for item in shown["messages"]] == ["customer", "service"]


async def test_a_pending_receipt_is_shown_with_its_link(client: httpx.AsyncClient, matter: Matter) -> None:
    html = HTMLParser((await client.get(matter.progress)).text)
    link = one(html, "a.button").attributes["href"]
    assert link is not None
    path = "/f/" + link.split("/f/")[1]
    assert PROBLEM in (await client.get(path)).text
    assert html.css(".part dd")[0].text() == PROBLEM
    assert (await client.post(path, data={"outcome": "confirmed"})).status_code == 200
    html = HTMLParser((await client.get(matter.progress)).text)
    assert "Closed." in one(html, ".facts").text()
    assert html.css_first("a.button") is None
    assert "Confirmed by you" in one(html, ".verdict").text()


async def test_an_old_receipt_has_no_link(client: httpx.AsyncClient, database: Database, matter: Matter) -> None:
    async with database.begin() as session:
        cycle = await session.get_one(type(await matter.cycle()), matter.cycle_id)
        cycle.created_at = now() - timedelta(days=365)
        session.add(cycle)
    html = HTMLParser((await client.get(matter.progress)).text)
    assert html.css(".part dd")[0].text() == PROBLEM
    assert html.css_first("main a") is None


async def test_every_state_has_words(client: httpx.AsyncClient, matter: Matter) -> None:
    for status in ConversationStatus:
        for wished in ("en", "zh"):
            await matter.change(status=status, snoozed_until=now() + timedelta(days=1))
            page = await client.get(f"{matter.progress}?lang={wished}")
            assert page.status_code == 200, status
            assert len(HTMLParser(page.text).css(".facts dd")) >= 2
            assert "{when}" not in page.text


async def test_links_of_other_kinds_do_not_open_it(client: httpx.AsyncClient, vault: Vault, matter: Matter) -> None:
    assert (await client.get("/c" + matter.receipt[2:])).status_code == 404
    assert (await client.get("/c/" + vault.sign("progress", new_id(), valid_s=60))).status_code == 404
    expired = await client.get("/c/" + vault.sign("progress", matter.conversation_id, valid_s=-1))
    assert expired.status_code == 410
    assert PROBLEM not in expired.text
    assert (await client.post("/c" + matter.receipt[2:], data={"text": "x"})).status_code == 404


async def test_looking_changes_nothing(client: httpx.AsyncClient, matter: Matter) -> None:
    before = await matter.snapshot()
    for method in ("GET", "HEAD"):
        assert (await client.request(method, matter.progress)).status_code == 200
    assert await matter.snapshot() == before


async def test_language_of_the_contact_then_of_the_browser(
    client: httpx.AsyncClient, database: Database, vault: Vault
) -> None:
    made = await matters.make(database, vault)
    for accept, expected in (("zh-TW,zh;q=0.9", "zh-Hans"), ("fr,en;q=0.5", "en"), ("", "en")):
        page = await client.get(made.progress, headers={"Accept-Language": accept})
        assert language(page.text) == expected


async def test_a_long_matter_shows_its_newest_messages(
    client: httpx.AsyncClient, database: Database, vault: Vault
) -> None:
    made = await matters.make(database, vault, text="the very first")
    async with database.begin() as session:
        conversation = await session.get_one(type(await made.conversation()), made.conversation_id)
        for seq in range(2, 260):
            session.add(
                Message(
                    conversation_id=made.conversation_id,
                    seq=seq,
                    channel_id=conversation.channel_id,
                    direction="inbound",
                    author_type="contact",
                    text=f"message {seq}.",
                )
            )
    page = await client.get(made.progress)
    assert "message 259." in page.text
    assert "the very first" not in page.text
    assert "Older messages are not shown" in page.text
