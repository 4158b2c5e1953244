"""Cursors and visibility, without a database."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events.hub import DeskSubscriber, Hub
from app.events.stream import START, Position, StreamEvent, Viewer
from app.models.words import EventScope, Role

IDS = [UUID(int=number) for number in range(1, 6)]
positions = st.builds(Position, st.integers(0, 2**55), st.integers(0, 2**55))


@given(positions, positions)
def test_cursors_sort_like_positions_and_come_back(one: Position, other: Position) -> None:
    assert (one < other) == (one.cursor() < other.cursor())
    assert Position.parse(one.cursor()) == one


@pytest.mark.parametrize("cursor", ["", "abc", "g" * 28, "0" * 27, "0" * 29, "A" * 28, "٣" * 28])
def test_what_we_did_not_make_is_not_a_cursor(cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (int() says what is wrong in its own words)
        Position.parse(cursor)


def event(**fields: Any) -> StreamEvent:
    row = {
        "pos": 7,
        "id": 9,
        "type": "message.created",
        "conversation_id": IDS[0],
        "contact_id": IDS[1],
        "seq": 3,
        "scope": EventScope.CONVERSATION,
        "queues": [],
        "agents": [],
        "to_customer": False,
        "payload": '{"message": {"text": "hi"}}',
    }
    return StreamEvent({**row, **fields})


def test_a_frame_has_type_cursor_and_place_in_front() -> None:
    body = orjson.loads(event().frame.text)
    assert list(body)[:4] == ["type", "cursor", "conversation_id", "seq"]
    assert body["message"] == {"text": "hi"}
    assert orjson.loads(event(payload="{}", conversation_id=None).frame.text) == {
        "type": "message.created",
        "cursor": Position(7, 9).cursor(),
    }


def test_the_customer_sees_nothing_of_the_inside() -> None:
    assert event().customer_frame is None
    inner = {
        "id": "1",
        "status": "open",
        "subject": None,
        "last_seq": 1,
        "created_at": "",
        "updated_at": "",
        "category": "urgent",
    }
    payload = orjson.dumps({"conversation": inner, "changed": ["category"]}).decode()
    shown = event(type="conversation.updated", payload=payload, to_customer=True).customer_frame
    assert shown is not None
    assert b"urgent" not in shown.text
    assert b"changed" not in shown.text


subsets = st.lists(st.sampled_from(IDS), max_size=3, unique=True)


@given(
    st.lists(st.builds(Viewer, st.sampled_from(IDS), st.sampled_from(list(Role)), subsets.map(frozenset)), max_size=6),
    st.sampled_from(list(EventScope)),
    subsets,
    subsets,
)
def test_the_hub_finds_exactly_those_who_may_see(
    viewers: list[Viewer], scope: EventScope, queues: list[UUID], agents: list[UUID]
) -> None:
    hub = Hub(Mock())
    subscribers = [DeskSubscriber(Mock(), viewer, START) for viewer in viewers]
    for subscriber in subscribers:
        hub.join_desk(subscriber)
    told = event(scope=scope, queues=queues, agents=agents)
    hub.publish(told)
    for subscriber in subscribers:
        assert bool(subscriber.held) == told.visible_to(subscriber.viewer)
    for subscriber in subscribers:
        hub.leave_desk(subscriber)
    assert hub.agents_here == []
