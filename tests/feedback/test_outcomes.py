"""The figures of outcomes are what a recount says, whatever happened, and by whomever they are added up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from app.conversations import classification, closing, feedback, queries
from app.conversations.confirming import Confirmer
from app.db import Database
from app.events.log import SYSTEM
from app.feedback import outcomes
from app.feedback.outcomes import FIGURES, Folder
from app.feedback.survey import Answer
from app.models import Event, ResolutionCycle, SurveyResponse
from app.models.words import ConversationStatus
from app.vault import Vault
from tests.desk.conftest import admin, house, supervisor
from tests.desk.house import Caller
from tests.web.matter import Matter, make

__all__ = ["admin", "house", "supervisor"]
TODAY = datetime.now(UTC).date()


async def totals(database: Database) -> dict[str, int]:
    async with database.begin() as session:
        found = await outcomes.report(session, since=date(2000, 1, 1), until=date(2100, 1, 1), by=["channel"], where={})
    rows: Counter[str] = Counter()
    for _, figures in found.rows:
        rows.update(figures)
    assert {name: rows[name] for name in FIGURES} == dict(found.total)
    return dict(found.total)


async def recount(database: Database) -> dict[str, int]:
    """From the event log; ratings from what was answered, because the log does not tell anonymous ones."""
    counted: Counter[str] = Counter(dict.fromkeys(FIGURES, 0))
    async with database.begin() as session:
        told = (await session.exec(select(Event).order_by(col(Event.id)))).all()
        answered = (await session.exec(select(SurveyResponse))).all()
        cycles = {row.id: row for row in (await session.exec(select(ResolutionCycle))).all()}
    became: dict[tuple[UUID | None, int], str] = {}
    gone_on: set[tuple[UUID | None, int]] = set()
    matters: dict[UUID | None, str] = {}
    resolved: set[UUID | None] = set()
    tasks: dict[str, dict[str, Any]] = {}
    for event in told:
        if (shown := event.payload.get("conversation")) and "matter" in shown:
            matters[event.conversation_id] = shown["matter"]
        if event.type == "conversation.resolved":
            resolved.add(event.conversation_id)
            counted.update({"resolved": 1, "matters": int(event.payload["cycle"] == 1)})
        elif event.type == "conversation.closed":
            said = {"timeout": "silence" if event.payload["asked"] else "unasked"}
            became[event.conversation_id, event.payload["cycle"]] = said.get(event.payload["via"], "confirmed")
        elif event.type == "conversation.reopened":
            cycle = (event.conversation_id, event.payload["conversation"]["cycle"] - 1)
            gone_on.add(cycle)
            if event.payload["reason"] == "rejected":
                became[cycle] = "rejected"
        elif event.type == "feedback.received" and event.payload["outcome"] == "confirmed":
            became[event.conversation_id, event.payload["cycle"]["number"]] = "confirmed"
        elif event.type in ("recovery.opened", "recovery.updated"):
            tasks[event.payload["task"]["id"]] = event.payload["task"]
    counted["recoveries"] = sum(task["via"] != "corrected" for task in tasks.values())
    counted["recovered"] = sum(task["state"] == "confirmed" for task in tasks.values())
    counted["complaints"] = sum(matters[each] == "complaint" for each in resolved)
    confirmed = {cycle for cycle, state in became.items() if state in ("confirmed", "silence")}
    states = Counter(became.values())
    counted.update({"confirmed": len(confirmed), "by_silence": states["silence"], "unasked": states["unasked"]})
    counted.update({"rejected": states["rejected"], "reopened": len(gone_on)})
    counted["first_contact"] = sum(number == 1 for _, number in confirmed - gone_on)
    for response in answered:
        assert response.cycle_id in cycles
        counted.update(outcomes.ratings(response))
    return dict(counted)


async def classify(matter: Matter, to: str) -> None:
    async with matter.database.begin() as session:
        held = await queries.lock(session, matter.conversation_id)
        await classification.apply(
            session, held, category="routine", matter=to, severity=None, complaint_type=None, source="agent"
        )


async def live(matter: Matter, rng: random.Random) -> None:
    """Some history of one matter, as agents, customers and time would make it."""
    for _ in range(rng.randrange(2, 7)):
        status = (await matter.conversation()).status
        if rng.random() < 0.2:
            await classify(matter, rng.choice(["complaint", "enquiry"]))
        if status == ConversationStatus.OPEN:
            await matter.resolve()
            continue
        cycle_id = matter.cycle_id
        assert cycle_id is not None
        step = rng.choice(["answer", "answer", "rate", "reopen", "silence"])
        if step == "silence":
            async with matter.database.begin() as session:
                if rng.random() < 0.5:
                    await session.execute(text("UPDATE message SET status = 'failed' WHERE direction = 'outbound'"))
                await session.execute(
                    text(
                        "UPDATE resolution_cycle SET confirm_by = now(), next_at = now() WHERE id = :id AND state = 'pending'"
                    ),
                    {"id": cycle_id},
                )
            await Confirmer(matter.database, link=str).step()
        elif step == "reopen":
            async with matter.database.begin() as session:
                held = await queries.lock(session, matter.conversation_id)
                if held.status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED):
                    await closing.reopen(session, held, actor=SYSTEM, reason="wrote again")
        else:
            given: dict[str, Any] = {"csat": rng.randrange(1, 6), "anonymous": rng.random() < 0.3}
            if rng.random() < 0.5:
                given["nps"] = rng.randrange(11)
            silent = (await matter.cycle()).decided_via == "timeout"
            if step == "answer" and (status == ConversationStatus.RESOLVED or silent):
                given["outcome"] = rng.choice(["confirmed", "rejected"])
            async with matter.database.begin() as session:
                answer = Answer.model_validate(given)
                await feedback.answer_receipt(session, cycle_id=cycle_id, answer=answer, via="test")


@pytest.mark.parametrize("seed", range(4))
async def test_equal_to_a_recount_of_random_histories(database: Database, vault: Vault, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(8):
        matter = await make(database, vault)
        if rng.random() < 0.4:
            await matter.change(matter="complaint")
        await live(matter, rng)
        if rng.random() < 0.5:
            await Folder(database).step()
    assert await totals(database) == await recount(database)
    await asyncio.gather(*(Folder(database).step() for _ in range(4)))
    assert await totals(database) == await recount(database)


async def test_a_complaint_counts_as_what_it_turns_out_to_be(database: Database, vault: Vault) -> None:
    """Before its first resolution, after it, and in a later cycle; several times over."""
    matter = await make(database, vault)
    await classify(matter, "complaint")
    assert (await totals(database))["complaints"] == 0
    await matter.resolve()
    assert (await totals(database))["complaints"] == 1
    for cycle in (2, 3):
        await matter.reopen()
        for to, expected in (("enquiry", 0), ("enquiry", 0), ("complaint", 1), ("complaint", 1)):
            await classify(matter, to)
            assert (await totals(database))["complaints"] == expected, (cycle, to)
        await matter.resolve()
    assert await totals(database) == await recount(database)


async def test_the_report(database: Database, vault: Vault, supervisor: Caller) -> None:
    for given in ({"outcome": "confirmed", "csat": 5, "nps": 9}, {"outcome": "rejected", "csat": 2, "nps": 3}):
        matter = await make(database, vault)
        cycle = await matter.resolve()
        async with database.begin() as session:
            answer = Answer.model_validate(given)
            await feedback.answer_receipt(session, cycle_id=cycle.id, answer=answer, via="test")
    found = await supervisor.get("/reports/outcomes", params={"by": ["day", "agent"]})
    total = found["total"]
    assert (total["resolved"], total["ratings"], total["csat_average"]) == (2, 2, 3.5)
    rates = ("confirmation_rate", "reopen_rate", "first_contact_rate", "complaint_rate", "csat", "nps")
    assert [total[name] for name in rates] == [50, 50, 50, 0, 50, 0]
    assert {row["day"] for row in found["items"]} == {str(TODAY)}
    assert [row["agent"]["name"] for row in found["items"]] == ["Ada Secretname"] * 2
    one = await supervisor.get("/reports/outcomes", params={"agent_id": found["items"][0]["agent"]["id"]})
    assert one["total"]["resolved"] == 1
    refused = await supervisor.call(
        "GET", "/reports/outcomes", params={"from": "2026-02-01", "to": "2026-01-01"}, expect=422
    )
    assert refused.json()["field"] == "from"
