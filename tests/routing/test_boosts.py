"""Head starts: which facts give how much, that intake and requeueing agree on them, and what is shipped."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.channels.base import InboundMessage, Sender
from app.conversations import contacts, grading
from app.events.log import SYSTEM
from app.intake import lane
from app.intake.prepare import Preparer
from app.models import Boost, Conversation, GradedResponse, QueueEntry
from app.models.words import Category, Matter, Severity
from app.routing import queues
from app.seed import GRADED
from tests.routing.world import World


async def boosts_of(world: World, conversation: UUID) -> dict[str, float]:
    async with world.database.begin() as session:
        found = await session.execute(
            text(
                "SELECT b.* FROM conversation c, boosts_v1(c.category, c.matter, c.severity, c.channel_type, c.contact_id, "
                "c.id, c.created_at) b WHERE c.id = :id"
            ),
            {"id": conversation},
        )
        row = found.one()
    assert row.boost_s == sum(row.boosts.values())
    return dict(row.boosts)


async def change(world: World, conversation: UUID, **facts: Any) -> None:
    """Facts of the conversation, or of its contact."""
    async with world.holding(conversation) as (session, held):
        contact: dict[str, Any] = {name: facts.pop(name) for name in ("tier", "attributes") if name in facts}
        for name, value in facts.items():
            setattr(held, name, value)
        session.add(held)
        if "tier" in contact:
            await session.execute(
                text("UPDATE contact SET tier = :tier WHERE id = :id"), {**contact, "id": held.contact_id}
            )
        if "attributes" in contact:
            await session.execute(
                text("UPDATE contact SET attributes = CAST(:a AS jsonb) WHERE id = :id"),
                {"a": contact["attributes"], "id": held.contact_id},
            )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, {}),
        ({"category": "urgent"}, {"category:urgent": 600}),
        ({"severity": "critical"}, {"severity:critical": 3600}),
        ({"severity": "major", "category": "complex"}, {"severity:major": 900, "category:complex": 120}),
        ({"tier": "vip"}, {"tier:vip": 900}),
        ({"attributes": '{"risk": "high"}'}, {"risk:high": 600}),
        ({"attributes": '{"risk": "low"}', "severity": "minor"}, {}),
        ({"tier": "vip", "severity": "critical"}, {"tier:vip": 900, "severity:critical": 3600}),
    ],
)
async def test_what_is_shipped(world: World, facts: dict[str, str], expected: dict[str, float]) -> None:
    conversation = await world.waits(await world.queue())
    await change(world, conversation, **facts)
    assert await boosts_of(world, conversation) == expected


async def test_every_fact_can_boost_and_all_that_hold_add_up(world: World) -> None:
    async with world.database.begin() as session:
        session.add_all(
            Boost(fact=fact, value=value, boost_s=seconds)
            for fact, value, seconds in (
                ("matter", "complaint", 7),
                ("channel_type", "partner", -3),
                ("matter", "feedback", 100),
                ("repeat", "x", 5),
            )
        )
    conversation = await world.waits(await world.queue())
    await change(world, conversation, matter="complaint")
    assert await boosts_of(world, conversation) == {"matter:complaint": 7, "channel_type:partner": -3}


async def test_a_contact_who_came_before(world: World) -> None:
    queue = await world.queue()
    old, new = await world.waiting(queue, 2)
    async with world.database.begin() as session:
        await session.execute(
            text(
                "UPDATE conversation SET contact_id = (SELECT contact_id FROM conversation WHERE id = :old) WHERE id = :new"
            ),
            {"old": old, "new": new},
        )
    assert await boosts_of(world, new) == {"repeat:7": 300}
    assert await boosts_of(world, old) == {}, "the first one was the first"
    for days, expected in ((6.9, {"repeat:7": 300}), (7.1, {})):
        async with world.holding(old) as (session, held):
            held.created_at = (await session.get_one(Conversation, new)).created_at - timedelta(days=days)
            session.add(held)
        assert await boosts_of(world, new) == expected


async def test_the_entry_keeps_what_its_place_is_made_of(world: World) -> None:
    queue = await world.queue()
    conversation = await world.waits(queue, age_s=100)
    await change(world, conversation, tier="vip", category="urgent")
    await world.enqueue(conversation, queue_id=queue)
    entry = await world.entry(conversation)
    assert entry is not None
    assert entry.boosts == {"tier:vip": 900, "category:urgent": 600}
    assert entry.order_at == entry.enqueued_at - timedelta(seconds=1500)
    assert entry.weight == 2
    assert isinstance(entry, QueueEntry)


async def test_case_makes_no_difference_to_a_tier_or_a_risk(world: World) -> None:
    conversation = await world.waits(await world.queue())
    await change(world, conversation, tier="VIP", attributes='{"risk": "High"}')
    assert await boosts_of(world, conversation) == {"tier:vip": 900, "risk:high": 600}


async def test_a_contact_that_is_merged_takes_its_head_start_along(world: World) -> None:
    queue = await world.queue()
    ours, theirs = await world.waits(queue, age_s=50), await world.waits(queue, age_s=100)
    kept, gone = await world.conversation(ours), await world.conversation(theirs)
    await change(world, theirs, tier="vip")
    async with world.database.begin() as session:
        await contacts.merge(session, source=gone.contact_id, target=kept.contact_id, actor=SYSTEM)
    for conversation in (ours, theirs):
        entry = await world.entry(conversation)
        assert entry is not None
        assert entry.boosts["tier:vip"] == 900
        assert entry.order_at == entry.enqueued_at - timedelta(seconds=sum(entry.boosts.values()))


def response(code: str, position: int, **fields: Any) -> GradedResponse:
    return GradedResponse(code=code, name=code, position=position, **fields)


@pytest.mark.parametrize(
    ("category", "matter", "severity", "expected"),
    [
        ("routine", "enquiry", None, grading.ORDINARY),
        ("routine", "complaint", "minor", grading.ORDINARY),
        ("routine", "complaint", "major", grading.Grade(True, (), "serious-complaint")),
        ("urgent", "complaint", "critical", grading.Grade(True, (), "serious-complaint")),
        ("urgent", "enquiry", None, grading.Grade(True, ("technical_support",), "urgent")),
        ("complex", "enquiry", "critical", grading.ORDINARY),
    ],
)
def test_the_shipped_grades(category: str, matter: str, severity: str | None, expected: grading.Grade) -> None:
    assert grading.grade(GRADED, category, matter, severity, None) == expected


@given(st.data())
def test_the_first_by_position_that_matches(data: st.DataObject) -> None:
    words: dict[str, list[str]] = {"category": list(Category), "matter": list(Matter), "severity": list(Severity)}
    facts = {name: data.draw(st.sampled_from(values)) for name, values in words.items()}
    rows = [
        response(
            f"r{n}",
            data.draw(st.integers(0, 3)),
            match={
                name: data.draw(st.lists(st.sampled_from(values), min_size=1))
                for name, values in words.items()
                if data.draw(st.booleans())
            },
            escalate=data.draw(st.booleans()),
            active=data.draw(st.booleans()),
        )
        for n in range(data.draw(st.integers(0, 5)))
    ]
    found = grading.grade(rows, complaint_type=None, **facts)
    expected = None
    for row in sorted(rows, key=lambda row: (row.position, row.code)):
        if row.active and not [name for name in row.match if facts[name] not in row.match[name]]:
            expected = row
            break
    assert (found.code, found.escalate) == ((expected.code, expected.escalate) if expected else (None, False))


async def test_intake_makes_the_entry_as_everybody_does(world: World) -> None:
    """A first message: its grade, its boosts and when something is due next are there with it."""
    channel = await world.channel("partner")
    async with world.database.begin() as session:
        await session.execute(text("UPDATE queue SET max_wait_s = 90, rings = '[{\"after_s\": 40}]' WHERE is_default"))
    account: Any = SimpleNamespace(id=channel, type="partner", name="partner", queue_id=None)
    preparer = Preparer(await world.catalog())
    messages = [
        preparer.prepare(
            account,
            InboundMessage(external_id=f"m{n}", sender=Sender("partner", f"c{n}"), text="Hello", category=category),
            target=None,
            files=[],
            correlation_id="x",
        )
        for n, category in enumerate(("urgent", "routine"))
    ]
    connection = await world.database.connect()
    entries = [lane.Entry(channel, "webhook", {}, b"", "x", [message]) for message in messages]
    rows = await connection.fetch(lane.STATEMENT, *lane.arguments(entries))
    await connection.close()
    urgent, routine = [await world.entry(row["o_conversation"]) for row in rows]
    assert urgent is not None
    assert routine is not None
    assert (urgent.escalated, urgent.specialists) == (True, ["technical_support"])
    assert (urgent.weight, urgent.boosts) == (2, {"category:urgent": 600})
    assert urgent.order_at == urgent.enqueued_at - timedelta(minutes=10)
    assert (routine.escalated, routine.specialists, routine.boosts) == (False, [], {})
    assert routine.entered_at == routine.enqueued_at == routine.order_at
    for entry in (urgent, routine):
        assert entry.next_at == entry.entered_at + timedelta(seconds=40)
    again = await world.conversation(urgent.conversation_id)
    async with world.holding(again.id) as (session, held):
        await queues.requeue(session, held, await world.catalog())
    same = await world.entry(again.id)
    assert same is not None
    for name in ("escalated", "specialists", "weight", "boosts", "order_at", "entered_at", "next_at"):
        assert getattr(same, name) == getattr(urgent, name), name
