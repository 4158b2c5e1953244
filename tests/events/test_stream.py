"""Cursors and visibility, without a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events import tail
from app.events.hub import HELD_LIMIT, DeskSubscriber, Hub, WidgetSubscriber
from app.events.stream import START, Position, StreamEvent, Viewer
from app.models.words import EventScope, Role
from app.sockets import Bundle, Frame

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
        "channel_id": IDS[2],
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


class Ear:
    """A peer that remembers the frames it was given, in order."""

    open = True

    def __init__(self) -> None:
        self.heard: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.heard.append(frame)

    def write(self, bundle: Bundle) -> None:
        assert bundle.wire == b"".join(frame.wire for frame in bundle.frames)
        self.heard.extend(bundle.frames)


viewers_drawn = st.builds(Viewer, st.sampled_from(IDS), st.sampled_from(list(Role)), subsets.map(frozenset))
scopes = st.tuples(st.sampled_from(list(EventScope)), subsets, subsets)


@given(
    st.lists(st.tuples(viewers_drawn, st.booleans(), st.integers(0, 9)), max_size=6),
    st.lists(st.lists(scopes, max_size=4), max_size=3),
)
def test_the_hub_gives_everybody_exactly_what_they_may_see(
    drawn: list[tuple[Viewer, bool, int]], pages: list[list[tuple[EventScope, list[UUID], list[UUID]]]]
) -> None:
    """Pages of events to sockets of which some are live and some still replay, and some came with a cursor that is
    further than this process: each gets what `visible_to` says, in order, each once."""
    hub, ears, desks = Hub(Mock()), [], []
    for viewer, live, after in drawn:
        ears.append(Ear())
        desk = DeskSubscriber(cast(Any, ears[-1]), viewer, Position(after, 0))
        desks.append(desk)
        hub.join_desk(desk)
        if live:
            desk.release()
    number, every = 0, []
    for page in pages:
        told = []
        for scope, queues, agents in page:
            number += 1
            told.append(event(pos=number, id=number, scope=scope, queues=queues, agents=agents))
        every += told
        if told:
            hub.publish(told)
    for desk, ear in zip(desks, ears, strict=True):
        if desk.held is not None:
            assert ear.heard == []
            desk.release()
        shown = [one.frame for one in every if one.visible_to(desk.viewer) and one.position > desk.after]
        assert ear.heard == shown
    for desk in desks:
        hub.leave_desk(desk)
    assert hub.agents_here == []
    assert len(hub._groups) == 1
    assert not hub._by_queue


def test_what_is_held_behind_a_long_replay_is_bounded_and_ephemeral_facts_are_kept() -> None:
    hub, ear = Hub(Mock()), Ear()
    desk = DeskSubscriber(cast(Any, ear), Viewer(IDS[0], Role.SUPERVISOR), START)
    hub.join_desk(desk)
    hub.tell({"frame": {"type": "queue.counts"}})
    for number in range(1, HELD_LIMIT + 1):
        hub.publish([event(pos=number, id=number)])
    assert desk.behind
    assert len(desk.held or ()) == 1
    assert ear.heard == []


async def test_a_replay_that_fell_behind_reads_on_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """More happens during the replay than is held: the rest is read from the log, nothing is missed or doubled."""
    hub, ear = Hub(Mock()), Ear()
    log = [event(pos=number, id=number) for number in range(1, 3 * HELD_LIMIT)]
    happened = 10

    async def replay(_: Any, after: Position, upto: Position) -> AsyncIterator[list[StreamEvent]]:
        nonlocal happened
        yield [one for one in log if after < one.position <= upto]
        burst = log[happened : happened + HELD_LIMIT + 5]
        happened += len(burst)
        if burst:
            hub.tail.position = burst[-1].position
            hub.publish(burst)

    async def drained() -> None:
        pass

    monkeypatch.setattr(tail, "replay", replay)
    monkeypatch.setattr(ear, "drained", drained, raising=False)
    hub.tail.position = log[happened - 1].position
    desk = DeskSubscriber(cast(Any, ear), Viewer(IDS[0], Role.SUPERVISOR), START)
    await hub.catch_up(desk, hub.join_desk(desk))
    assert ear.heard == [one.frame for one in log]


def test_a_desk_that_moves_between_queues_sees_what_it_may_from_then_on() -> None:
    hub, ear = Hub(Mock()), Ear()
    desk = DeskSubscriber(cast(Any, ear), Viewer(IDS[0], Role.AGENT, frozenset(IDS[:1])), START)
    hub.join_desk(desk)
    desk.release()
    hub.publish([event(pos=1, id=1, queues=IDS[:1])])
    assert hub.change_viewer(IDS[0], Viewer(IDS[0], Role.AGENT, frozenset(IDS[1:2])))
    assert not hub.change_viewer(IDS[0], Viewer(IDS[0], Role.AGENT, frozenset(IDS[1:2])))
    hub.publish([event(pos=2, id=2, queues=IDS[:1]), event(pos=3, id=3, queues=IDS[1:2])])
    assert [orjson.loads(frame.text)["cursor"] for frame in ear.heard] == [
        Position(1, 1).cursor(),
        Position(3, 3).cursor(),
    ]


def test_a_fact_goes_to_those_it_is_for() -> None:
    hub = Hub(Mock())
    ears = {name: Ear() for name in ("mine", "other socket of mine", "colleague", "boss", "stranger")}
    viewers = {
        "mine": Viewer(IDS[0], Role.AGENT, frozenset(IDS[:1])),
        "other socket of mine": Viewer(IDS[0], Role.AGENT, frozenset(IDS[:1])),
        "colleague": Viewer(IDS[1], Role.AGENT, frozenset(IDS[:1])),
        "boss": Viewer(IDS[2], Role.SUPERVISOR),
        "stranger": Viewer(IDS[3], Role.AGENT, frozenset(IDS[3:4])),
    }
    for name, viewer in viewers.items():
        desk = DeskSubscriber(cast(Any, ears[name]), viewer, START, session_id=name)
        hub.join_desk(desk)
        desk.release()

    def heard() -> set[str]:
        found = {name for name, ear in ears.items() if ear.heard}
        for ear in ears.values():
            ear.heard.clear()
        return found

    hub.tell({"queues": [str(IDS[0])], "frame": {"type": "x"}})
    assert heard() == {"mine", "other socket of mine", "colleague", "boss"}
    hub.tell({"agents": [str(IDS[0])], "seniors": False, "but": "mine", "frame": {"type": "x"}})
    assert heard() == {"other socket of mine"}


def test_what_is_not_for_a_widget_or_cannot_be_shown_is_left_out_and_stops_nobody() -> None:
    hub, ear = Hub(Mock()), Ear()
    widget = WidgetSubscriber(cast(Any, ear), IDS[1], IDS[2], START)
    hub.join_widget(widget)
    widget.release()
    elsewhere = event(pos=6, to_customer=True, channel_id=IDS[0])
    hub.publish([elsewhere, event(type="conversation.assigned", to_customer=True), event(pos=8, to_customer=True)])
    assert [orjson.loads(frame.text)["type"] for frame in ear.heard] == ["message.created"]
