"""`/f/{token}`: what a customer sees, what an answer does, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import closing, queries
from app.db import Database
from app.feedback.survey import COMMENT_LIMIT
from app.ids import new_id
from app.models import ResolutionCycle
from app.models.words import ConversationStatus, CycleState
from app.settings import Settings
from app.vault import Vault
from tests.web import matter as matters
from tests.web.html import HTMLParser, checked, language, one
from tests.web.matter import COMMITMENT, PROBLEM, RESOLUTION, Matter

JSON = {"Accept": "application/json"}


async def test_shows_the_three_parts_and_a_labelled_form(client: httpx.AsyncClient, matter: Matter) -> None:
    answer = await client.get(matter.receipt)
    assert answer.status_code == 200
    page = HTMLParser(answer.text)
    assert [node.text(strip=True) for node in page.css(".part dd")] == [PROBLEM, RESOLUTION, COMMITMENT]
    assert language(answer.text) == "en"
    assert page.css_first("script") is None
    form = one(page, "form")
    assert form.attributes["method"] == "post"
    labelled = {node.attributes["for"] for node in page.css("label")}
    fields = [node for node in form.css("input, textarea, select") if node.attributes.get("type") != "hidden"]
    assert {str(node.attributes["name"]) for node in fields} == {
        "outcome", "csat", "nps", "content", "efficiency", "attitude", "comment", "anonymous",
    }  # fmt: skip
    assert all(node.attributes["id"] in labelled for node in fields)
    assert all(node.css_first("legend") for node in form.css("fieldset"))
    assert checked(answer.text) == {}


async def test_is_private(client: httpx.AsyncClient, matter: Matter) -> None:
    for path in (matter.receipt, "/f/forged", matter.progress):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert "noindex" in headers["x-robots-tag"]
        assert headers["cache-control"] == "no-store"


async def test_looking_changes_nothing(client: httpx.AsyncClient, matter: Matter) -> None:
    before = await matter.snapshot()
    for query in ("", "?outcome=confirmed", "?csat=5&nps=9&lang=zh", "?outcome=rejected&comment=x"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, matter.receipt + query)
            assert answer.status_code == 200
        assert (await client.get(matter.receipt + query, headers=JSON)).json()["state"] == "pending"
    assert await matter.snapshot() == before


async def test_no_other_method_does_anything(client: httpx.AsyncClient, matter: Matter) -> None:
    before = await matter.snapshot()
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert (await client.request(method, matter.receipt + "?outcome=confirmed")).status_code == 405
    assert await matter.snapshot() == before


async def test_two_tabs_and_the_back_button(client: httpx.AsyncClient, matter: Matter) -> None:
    """Each tab is told what became of the matter, not what its own form once hoped for."""
    yes, no = {"about": "result", "outcome": "confirmed"}, {"about": "result", "outcome": "rejected"}
    assert "the matter is closed" in (await client.post(matter.receipt, data=yes)).text
    other = await client.post(matter.receipt, data={**no, "comment": "My second thought"})
    assert (other.status_code, "My second thought" in other.text) == (409, True)
    await matter.reopen()
    again = await client.post(matter.receipt, data=yes)
    assert again.status_code == 200
    assert "taken up again" in again.text
    assert "matter is closed" not in again.text
    await matter.resolve()
    assert "open again" in (await client.post(matter.receipt, data=no)).text
    late = matter.receipt
    await matter.resolve()
    again = await client.post(late, data=no)
    assert "You told us that it is not solved." in again.text
    assert "open again" not in again.text
    assert (await matter.cycle()).state == CycleState.PENDING, "an answer to an older receipt is none to this one"


async def test_a_flood_of_answers_is_stopped(client: httpx.AsyncClient, matter: Matter, settings: Settings) -> None:
    """Each change is told to the desk and to partners; what changes nothing counts for nothing."""
    limit = settings.page_messages
    for number in range(limit):
        assert (await client.post(matter.receipt, data={"comment": f"Comment {number}"})).status_code == 200
    assert (await client.post(matter.receipt, data={"comment": f"Comment {limit - 1}"})).status_code == 200
    page = await client.post(matter.receipt + "?lang=zh", data={"comment": "One too many"})
    assert page.status_code == 429
    assert 0 < int(page.headers["Retry-After"]) <= settings.page_messages_window_s
    assert "One too many" in page.text
    assert "您在短时间内" in one(page.text, "[role=status]").text()
    refused = await client.post(matter.receipt, json={"csat": 1}, headers=JSON)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate-limited")
    assert len(await matter.events("feedback.received")) == limit
    assert (await client.post(matter.receipt, json={"outcome": "rejected"}, headers=JSON)).status_code == 200
    assert (await matter.cycle()).state == CycleState.REJECTED, "whether it is solved can be said at any time"
    await matter.resolve()
    assert (await client.post(matter.receipt, json={"csat": 4}, headers=JSON)).status_code == 200, "another receipt"


async def test_who_was_asked_lately_is_not_asked_again(client: httpx.AsyncClient, matter: Matter) -> None:
    """Not by the page either; what somebody rates of their own accord counts."""
    assert (await client.get(matter.receipt, headers=JSON)).json()["survey"] is True
    await client.post(matter.receipt, data={"outcome": "rejected"})
    await matter.resolve()
    page = HTMLParser((await client.get(matter.receipt)).text)
    names = {node.attributes["name"] for node in page.css("form input, form textarea")}
    assert names == {"outcome", "about", "comment"}
    assert (await client.get(matter.receipt, headers=JSON)).json()["survey"] is False
    assert checked((await client.get(matter.receipt + "?csat=5")).text) == {"csat": "5"}
    settled = HTMLParser((await client.post(matter.receipt, data={"outcome": "confirmed"})).text)
    assert settled.css_first("form") is None
    nothing = await client.post(matter.receipt, data={"comment": " "})
    assert (nothing.status_code, one(nothing.text, "[role=alert] a").attributes["href"]) == (422, "#comment")
    assert one(nothing.text, "#comment-error").text() == "Give a rating or a comment."
    assert (await client.post(matter.receipt, data={"csat": "5"})).status_code == 200
    survey = await matter.survey()
    assert survey is not None
    assert survey.csat == 5


@pytest.mark.parametrize(("language", "words"), [("en", "heard nothing more"), ("zh", "未再收到您的答复")])
async def test_silence_is_not_called_a_yes(
    client: httpx.AsyncClient, matter: Matter, language: str, words: str
) -> None:
    async with matter.database.begin() as session:
        conversation = await queries.lock(session, matter.conversation_id)
        cycle = await session.get_one(ResolutionCycle, matter.cycle_id)
        await closing.confirm(session, conversation, cycle, via=closing.SILENCE)
    for path in (matter.receipt, matter.progress):
        page = HTMLParser((await client.get(f"{path}?lang={language}")).text)
        assert words in one(page, "main").text()
    asked = HTMLParser((await client.get(f"{matter.receipt}?lang={language}&outcome=rejected")).text)
    assert one(asked, "#outcome-rejected").attributes.keys() >= {"checked"}, "while it can be reopened it is asked"
    await matter.change(reopen_until=now())
    given = {"outcome": "rejected", "csat": "1", "comment": "But it is not!"}
    late = await client.post(f"{matter.receipt}?lang={language}", data=given)
    assert late.status_code == 409
    assert words in late.text
    assert "But it is not!" in late.text
    plain = {"accept": "application/json"}
    refused = await client.post(matter.receipt, json={**given, "about": "result"}, headers=plain)
    assert (refused.status_code, refused.json()["code"]) == (409, "conversation-closed")
    kept = (await client.get(matter.receipt, headers=plain)).json()
    assert (kept["ratings"]["csat"], kept["comment"], kept["question"]) == (1, "But it is not!", None)
    await matter.change(reopen_until=now() + timedelta(days=1))
    taken = await client.post(f"{matter.receipt}?lang={language}", data=given)
    assert taken.status_code == 200
    assert (await matter.conversation()).status == ConversationStatus.OPEN


async def test_a_one_click_link_only_fills_the_form(client: httpx.AsyncClient, matter: Matter) -> None:
    answer = await client.get(matter.receipt + "?solved=yes&csat=5&nps=11&attitude=best")
    assert checked(answer.text) == {"outcome": "confirmed", "csat": "5"}
    assert (await matter.cycle()).state == CycleState.PENDING


async def test_confirming_closes(client: httpx.AsyncClient, matter: Matter) -> None:
    form = {
        "outcome": "confirmed",
        "csat": "5",
        "nps": "9",
        "content": "4",
        "comment": "Thanks\r\na lot",
        "anonymous": "false",
    }
    answer = await client.post(matter.receipt, data=form)
    assert answer.status_code == 200
    assert "Thank you" in answer.text
    conversation, cycle, survey = await matter.conversation(), await matter.cycle(), await matter.survey()
    assert conversation.status == ConversationStatus.CLOSED
    assert (cycle.state, cycle.decided_via) == (CycleState.CONFIRMED, "page")
    assert survey is not None
    assert (survey.csat, survey.nps, survey.content, survey.attitude) == (5, 9, 4, None)
    assert (survey.comment, survey.anonymous) == ("Thanks\na lot", False)
    happened = await matter.events("feedback.received", "conversation.closed")
    assert [event["type"] for event in happened] == ["feedback.received", "conversation.closed"]
    assert happened[0]["ratings"] == {"csat": 5, "nps": 9, "content": 4, "efficiency": None, "attitude": None}
    again = await client.get(matter.receipt)
    assert "You confirmed this result" in again.text
    assert 'name="outcome"' not in again.text


async def test_rejecting_reopens_to_the_same_owner(client: httpx.AsyncClient, matter: Matter) -> None:
    answer = await client.post(matter.receipt, data={"outcome": "rejected", "comment": "It still hangs."})
    assert answer.status_code == 200
    assert "open again" in answer.text
    conversation = await matter.conversation()
    assert conversation.status == ConversationStatus.OPEN
    assert conversation.cycle == 2
    assert conversation.assignee_id == conversation.owner_id == matter.agent.id
    assert (await matter.cycle()).state == CycleState.REJECTED
    [received] = await matter.events("feedback.received")
    assert received["comment"] == "It still hangs."


async def test_json_both_ways(client: httpx.AsyncClient, matter: Matter) -> None:
    shown = (await client.get(matter.receipt, headers=JSON)).json()
    assert (shown["problem"], shown["resolution"], shown["commitment"]) == (PROBLEM, RESOLUTION, COMMITMENT)
    assert shown["url"].endswith(matter.receipt)
    answer = await client.post(matter.receipt, json={"solved": True, "rating": 4}, headers=JSON)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["conversation_status"]) == ("confirmed", "closed")
    assert body["ratings"]["csat"] == 4
    assert (await matter.cycle()).decided_via == "api"


async def test_json_in_without_an_accept_header_is_answered_in_json(app: FastAPI, matter: Matter) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post(matter.receipt, json={"outcome": "no"})
    assert answer.json()["state"] == "rejected"


async def test_a_multipart_form_is_a_form(client: httpx.AsyncClient, matter: Matter) -> None:
    answer = await client.post(matter.receipt, files={"outcome": (None, "confirmed")})
    assert answer.status_code == 200
    assert (await matter.cycle()).state == CycleState.CONFIRMED


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_forged_and_expired_links(client: httpx.AsyncClient, vault: Vault, matter: Matter, method: str) -> None:
    good = matter.receipt
    flipped = good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1]  # the last one has bits that say nothing
    other_purpose = "/f" + matter.progress[2:]
    nobody = "/f/" + vault.sign("feedback", new_id(), valid_s=60)
    old = "/f/" + vault.sign("feedback", new_id(), valid_s=-1)
    before = await matter.snapshot()
    for path, status, code in (
        (flipped, 404, "not-found"),
        (other_purpose, 404, "not-found"),
        (nobody, 404, "not-found"),
        ("/f/x", 404, "not-found"),
        ("/f/%00%ff柜", 404, "not-found"),
        (old, 410, "gone"),
    ):
        body: dict[str, Any] = {"data": {"outcome": "confirmed"}} if method == "POST" else {}
        page = await client.request(method, path, **body)
        assert page.status_code == status, path
        assert "<h1>" in page.text
        problem = await client.request(method, path, headers=JSON, **body)
        assert problem.status_code == status
        assert problem.headers["content-type"] == "application/problem+json"
        assert problem.json()["code"] == code
    assert await matter.snapshot() == before


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"csat": "6"}, "csat"),
        ({"nps": "-1"}, "nps"),
        ({"attitude": "best"}, "attitude"),
        ({"outcome": "perhaps"}, "outcome"),
        ({}, "outcome"),
        ({"comment": "x" * (COMMENT_LIMIT + 1)}, "comment"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_typed_is_lost(
    client: httpx.AsyncClient, matter: Matter, form: dict[str, str], field: str
) -> None:
    before = await matter.snapshot()
    typed = {"efficiency": "3", "comment": "What I <wrote>", "anonymous": "true", "outcome": "confirmed", **form}
    if not form:
        typed = {"anonymous": "true"}
    answer = await client.post(matter.receipt, data=typed)
    assert answer.status_code == 422
    page = HTMLParser(answer.text)
    assert page.css_first("[role=alert]") is not None
    assert page.css_first(f"#{field}-error") is not None
    if form:
        assert checked(answer.text)["efficiency"] == "3"
        assert one(page, "textarea").text().strip() == typed["comment"]
    assert checked(answer.text)["anonymous"] == "true"
    problem = await client.post(matter.receipt, json=typed, headers=JSON)
    assert problem.status_code == 422
    assert problem.json()["field"] == field
    assert await matter.snapshot() == before


async def test_the_same_answer_twice_is_one(client: httpx.AsyncClient, matter: Matter) -> None:
    form = {"outcome": "confirmed", "csat": "5"}
    await client.post(matter.receipt, data=form)
    before = await matter.snapshot()
    assert (await client.post(matter.receipt, data=form)).status_code == 200
    assert await matter.snapshot() == before


@pytest.mark.parametrize(("first", "second"), [("confirmed", "rejected"), ("rejected", "confirmed")])
async def test_the_opposite_answer_is_refused(
    client: httpx.AsyncClient, matter: Matter, first: str, second: str
) -> None:
    await client.post(matter.receipt, data={"outcome": first})
    before = await matter.snapshot()
    page = await client.post(matter.receipt, data={"outcome": second, "csat": "2", "comment": "I think otherwise"})
    assert page.status_code == 409
    assert "answered before" in page.text
    assert "I think otherwise" in page.text
    assert checked(page.text)["csat"] == "2"
    problem = await client.post(matter.receipt, json={"outcome": second}, headers=JSON)
    assert problem.status_code == 409
    assert (problem.json()["code"], problem.json()["state"]) == ("already-answered", first)
    assert await matter.snapshot() == before


async def test_ratings_do_not_settle_and_may_come_later(client: httpx.AsyncClient, matter: Matter) -> None:
    answer = await client.post(matter.receipt, data={"csat": "3", "nps": "0"})
    assert answer.status_code == 200
    assert (await matter.cycle()).state == CycleState.PENDING
    assert checked(answer.text) == {"csat": "3", "nps": "0"}
    assert "Please also tell us below whether it is solved." in answer.text
    await client.post(matter.receipt, data={"outcome": "confirmed", "csat": "4"})
    answer = await client.post(matter.receipt, data={"attitude": "5"})
    assert answer.status_code == 200
    survey = await matter.survey()
    assert survey is not None
    assert (survey.csat, survey.nps, survey.attitude) == (4, 0, 5)
    assert len(await matter.events("feedback.received")) == 3


async def test_an_anonymous_rating_counts_and_is_not_told(client: httpx.AsyncClient, matter: Matter) -> None:
    form = {"outcome": "confirmed", "csat": "1", "comment": "Rude.", "anonymous": "true"}
    await client.post(matter.receipt, data=form)
    survey = await matter.survey()
    assert survey is not None
    assert (survey.csat, survey.comment, survey.anonymous) == (1, "Rude.", True)
    [received] = await matter.events("feedback.received")
    assert (received["ratings"], received["comment"], received["anonymous"]) == ({}, None, True)
    for taken_back in ({}, {"anonymous": "false", "nps": "1"}):
        if taken_back:
            await client.post(matter.receipt, data=taken_back)
        page = await client.get(matter.receipt)
        assert "Rude." not in page.text
        assert checked(page.text) == {}
        assert one(page.text, "input[name=anonymous]").attributes["value"] == "true"
        shown = (await client.get(matter.receipt, headers=JSON)).json()
        assert (shown["ratings"]["csat"], shown["comment"], shown["anonymous"]) == (None, None, True)
    told = await matter.events("feedback.received")
    assert [event["ratings"] for event in told] == [{}, {}], "whoever has the link cannot take it back"


async def test_the_reason_of_an_anonymous_rejection_reaches_who_has_to_act(
    client: httpx.AsyncClient, matter: Matter
) -> None:
    await client.post(
        matter.receipt, data={"outcome": "rejected", "csat": "1", "reason": "Still hangs", "anonymous": "true"}
    )
    [received] = await matter.events("feedback.received")
    assert (received["ratings"], received["comment"]) == ({}, "Still hangs")


async def test_after_the_matter_was_taken_up_again(client: httpx.AsyncClient, matter: Matter) -> None:
    await matter.reopen()
    page = await client.get(matter.receipt)
    assert "taken up again" in page.text
    assert 'name="outcome"' not in page.text
    for outcome in ("confirmed", "rejected"):
        refused = await client.post(matter.receipt, json={"outcome": outcome}, headers=JSON)
        assert (refused.status_code, refused.json()["code"]) == (409, "already-answered")
    assert (await client.post(matter.receipt, data={"csat": "2"})).status_code == 200
    assert (await matter.conversation()).status == ConversationStatus.OPEN


async def test_answers_at_the_same_time_settle_it_once(client: httpx.AsyncClient, matter: Matter) -> None:
    words = ["confirmed", "rejected"] * 8
    answers = await asyncio.gather(
        *(client.post(matter.receipt, json={"outcome": word, "csat": 3}, headers=JSON) for word in words)
    )
    settled = (await matter.cycle()).state
    for word, answer in zip(words, answers, strict=True):
        assert answer.status_code == (200 if word == settled else 409)
    assert len(await matter.events("conversation.closed", "conversation.reopened")) == 1
    assert len(await matter.events("feedback.received")) == 1


async def test_committed_before_answered(
    app: FastAPI, client: httpx.AsyncClient, database: Database, matter: Matter
) -> None:
    class Broken:
        @asynccontextmanager
        async def begin(self) -> AsyncIterator[AsyncSession]:
            async with database.begin() as session:
                yield session
                raise OSError("the commit failed")

    app.state.context.database = Broken()
    answer = await client.post(matter.receipt, data={"outcome": "confirmed"})
    assert answer.status_code >= 500
    assert (await matter.cycle()).state == CycleState.PENDING


async def test_what_people_wrote_is_text(client: httpx.AsyncClient, database: Database, vault: Vault) -> None:
    evil = "<script>alert(1)</script>{{ 7*7 }}\"'"
    made = await matters.make(database, vault)
    await made.resolve(problem=evil, resolution=evil, commitment=evil)
    answer = await client.post(made.receipt, data={"comment": evil + "</textarea><b>", "csat": "9"})
    assert "<script>" not in answer.text
    assert "</textarea><b>" not in answer.text
    assert one(answer.text, ".part dd").text() == evil


async def test_bodies_that_are_none(client: httpx.AsyncClient, matter: Matter) -> None:
    before = await matter.snapshot()
    json_in = {**JSON, "Content-Type": "application/json"}
    big = await client.post(matter.receipt, content=b'{"comment":"' + b"x" * 200_000 + b'"}', headers=json_in)
    assert (big.status_code, big.json()["code"]) == (413, "too-large")
    for content in (b"{", b"[]", b"\xff", b""):
        bad = await client.post(matter.receipt, content=content, headers=json_in)
        assert (bad.status_code, bad.json()["code"]) == (400, "bad-request")
    upload = await client.post(matter.receipt + "?lang=zh", files={"outcome": ("a.txt", b"confirmed")})
    assert upload.status_code == 400
    assert one(upload.text, "main").text(strip=True).isascii() is False
    assert "could not" not in upload.text
    assert await matter.snapshot() == before


@pytest.mark.parametrize(
    ("customer", "query", "accept", "expected"),
    [
        ("zh-CN", "", "en", "zh-Hans"),
        ("zh-CN", "?lang=en", "zh", "en"),
        ("de", "", "zh", "en"),
        ("en", "?lang=zh-TW", "en", "zh-Hans"),
    ],
)
async def test_language(
    client: httpx.AsyncClient, database: Database, vault: Vault, customer: str, query: str, accept: str, expected: str
) -> None:
    made = await matters.make(database, vault, language=customer)
    await made.resolve()
    page = await client.get(made.receipt + query, headers={"Accept-Language": accept})
    assert language(page.text) == expected
