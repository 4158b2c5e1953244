"""From the one tail of a process to its many sockets: each event to those who may see it, encoded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter, Gauge

from app.db import Database, driver
from app.events import tail
from app.events.stream import Position, StreamEvent, Viewer
from app.events.tail import Tail
from app.models.words import EventScope
from app.sockets import Frame, Peer

SOCKETS = Gauge("roundtrip_sockets", "Connected sockets", ["kind"])
FRAMES = Counter("roundtrip_frames_sent_total", "Event frames handed to sockets", ["kind"])


class Subscriber:
    """A socket that follows the stream. While `held` is a list, live frames wait there behind a replay."""

    def __init__(self, peer: Peer, after: Position) -> None:
        self.peer, self.after = peer, after
        self.held: list[Frame] | None = []

    def deliver(self, position: Position, frame: Frame) -> None:
        """Give it an event, unless the client has had it from another process already."""
        if position <= self.after:
            return
        if self.held is None:
            self.peer.send(frame)
        else:
            self.held.append(frame)

    def release(self) -> None:
        """The replay is done: what came meanwhile follows it."""
        held, self.held = self.held or [], None
        for frame in held:
            self.peer.send(frame)


class DeskSubscriber(Subscriber):
    def __init__(self, peer: Peer, viewer: Viewer, after: Position) -> None:
        super().__init__(peer, after)
        self.viewer = viewer

    def frame_of(self, event: StreamEvent) -> Frame | None:
        return event.frame if event.visible_to(self.viewer) else None


class WidgetSubscriber(Subscriber):
    def __init__(self, peer: Peer, contact_id: UUID, after: Position) -> None:
        super().__init__(peer, after)
        self.contact_id = contact_id

    def frame_of(self, event: StreamEvent) -> Frame | None:
        return event.customer_frame if event.contact_id == self.contact_id else None


class Hub:
    """The sockets of one process, found by what they may see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tail = Tail(database, self.publish)
        self._desks: set[DeskSubscriber] = set()
        self._everything: set[DeskSubscriber] = set()
        self._by_agent: dict[UUID, set[DeskSubscriber]] = defaultdict(set)
        self._by_queue: dict[UUID, set[DeskSubscriber]] = defaultdict(set)
        self._by_contact: dict[UUID, set[WidgetSubscriber]] = defaultdict(set)
        self.peers: set[Peer] = set()

    # who is there

    def join_desk(self, subscriber: DeskSubscriber) -> Position:
        """Live frames are held from this moment on; returns the position after which they come."""
        self._desks.add(subscriber)
        viewer = subscriber.viewer
        self._by_agent[viewer.agent_id].add(subscriber)
        if viewer.sees_all:
            self._everything.add(subscriber)
        for queue_id in viewer.queues:
            self._by_queue[queue_id].add(subscriber)
        SOCKETS.labels("desk").set(len(self._desks))
        return self.tail.position

    def leave_desk(self, subscriber: DeskSubscriber) -> None:
        self._desks.discard(subscriber)
        self._everything.discard(subscriber)
        _drop(self._by_agent, [subscriber.viewer.agent_id], subscriber)
        _drop(self._by_queue, subscriber.viewer.queues, subscriber)
        SOCKETS.labels("desk").set(len(self._desks))

    def change_viewer(self, agent_id: UUID, viewer: Viewer) -> None:
        """An agent's role or queues were changed: their open sockets follow at once."""
        for subscriber in list(self._by_agent.get(agent_id, ())):
            held = subscriber.held
            self.leave_desk(subscriber)
            subscriber.viewer = viewer
            self.join_desk(subscriber)
            subscriber.held = held

    def join_widget(self, subscriber: WidgetSubscriber) -> Position:
        self._by_contact[subscriber.contact_id].add(subscriber)
        SOCKETS.labels("widget").set(sum(map(len, self._by_contact.values())))
        return self.tail.position

    def leave_widget(self, subscriber: WidgetSubscriber) -> None:
        _drop(self._by_contact, [subscriber.contact_id], subscriber)
        SOCKETS.labels("widget").set(sum(map(len, self._by_contact.values())))

    @property
    def agents_here(self) -> list[UUID]:
        return list(self._by_agent)

    # what they get

    def publish(self, event: StreamEvent) -> None:
        """Called by the tail for each event, in order."""
        desks = self._desks_for(event)
        for desk in desks:
            desk.deliver(event.position, event.frame)
        FRAMES.labels("desk").inc(len(desks))
        widgets = self._by_contact.get(event.contact_id, ()) if event.contact_id else ()
        if widgets and (frame := event.customer_frame) is not None:
            for widget in widgets:
                widget.deliver(event.position, frame)
            FRAMES.labels("widget").inc(len(widgets))

    def _desks_for(self, event: StreamEvent) -> set[DeskSubscriber]:
        """The indexes only narrow the search: `visible_to` has said the same for each of these (tested)."""
        if event.scope == EventScope.AUDIT:
            return set()
        if event.scope == EventScope.EVERYONE:
            return self._desks
        found: set[DeskSubscriber] = set()
        for agent_id in event.agents:
            found |= self._by_agent.get(agent_id, set())
        if event.scope == EventScope.CONVERSATION:
            found |= self._everything
            for queue_id in event.queues:
                found |= self._by_queue.get(queue_id, set())
        return found

    async def catch_up(self, subscriber: DeskSubscriber | WidgetSubscriber, upto: Position) -> None:
        """Replay what lies between the client's cursor and the moment it joined, then let the held frames follow."""
        async for page in tail.replay(self._database, subscriber.after, upto):
            for event in page:
                if (frame := subscriber.frame_of(event)) is not None:
                    subscriber.peer.send(frame)
            await subscriber.peer.drained()
            if not subscriber.peer.open:
                return
        subscriber.release()

    async def beyond_the_end(self, after: Position) -> bool:
        """Whether no event can have had this place yet: it is from another database, or from before a restore."""
        async with self._database.begin() as session:
            return after > await tail.end(await driver(session))

    async def too_far_behind(self, after: Position, *, limit: int) -> bool:
        """Whether a replay from there would be longer than the window."""
        async with self._database.begin() as session:
            return await tail.behind(await driver(session), after, limit=limit + 1) > limit

    def tell(self, fact: Mapping[str, Any]) -> None:
        """An ephemeral fact from any process: `frame` to the desks of `queues`, `agents` and supervisors, `customer`
        (if any) to the widgets of `contact_id`. Never stored, carries no cursor."""
        desks: set[DeskSubscriber] = set(self._everything)
        for queue_id in fact.get("queues", ()):
            desks |= self._by_queue.get(UUID(queue_id), set())
        for agent_id in fact.get("agents", ()):
            desks |= self._by_agent.get(UUID(agent_id), set())
        if frame := fact.get("frame"):
            _send_all(desks, Frame(orjson.dumps(frame)))
        if (customer := fact.get("customer")) and (contact_id := fact.get("contact_id")):
            _send_all(self._by_contact.get(UUID(contact_id), ()), Frame(orjson.dumps(customer)))

    def tell_everyone(self, frame: Frame) -> None:
        """Draining: every socket of this process."""
        for peer in self.peers:
            peer.send(frame)


def _send_all(subscribers: Iterable[Subscriber], frame: Frame) -> None:
    for subscriber in subscribers:
        if subscriber.held is None:  # before its welcome and replay a socket is told nothing else
            subscriber.peer.send(frame)


def _drop(index: dict[UUID, set[Any]], keys: Iterable[UUID], subscriber: Subscriber) -> None:
    for key in keys:
        members = index.get(key)
        if members is not None:
            members.discard(subscriber)
            if not members:
                del index[key]
