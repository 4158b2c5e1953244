"""`/f/{token}` once something was made good: what was done is shown, and the same link takes the answer."""

from __future__ import annotations

import httpx
import pytest
from sqlmodel import select

from app.conversations import queries, recovering
from app.events.log import SYSTEM
from app.models import RecoveryTask
from app.models.words import ConversationStatus
from tests.web.html import HTMLParser, one
from tests.web.matter import Matter

DONE = {"state": "done", "remedy": "apology", "text": "We are sorry.\nA new hinge is on its way."}


async def make_good(matter: Matter) -> None:
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        task = (await session.exec(select(RecoveryTask))).one()
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


async def test_in_chinese(client: httpx.AsyncClient, matter: Matter) -> None:
    await client.post(matter.receipt, data={"outcome": "confirmed", "nps": "0"})
    await make_good(matter)
    page = HTMLParser((await client.get(matter.receipt + "?lang=zh")).text)
    assert "我们的补救措施" in page.text()
    assert one(page, "fieldset.outcome legend").text(strip=True) == "现在解决了吗？"


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
