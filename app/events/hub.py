"""From the one tail of a process to its many sockets: each event to those who may see it, encoded once.

Desks that see alike form a group: what a page of the tail brings them is joined once and written once to each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import Counter, Gauge

from app.db import Database, driver
from app.events import tail
from app.events.stream import CONTACT_MERGED, Position, StreamEvent, Viewer
from app.events.tail import Tail
from app.models.words import EventScope
from app.sockets import Bundle, Frame, Peer

SOCKETS = Gauge("roundtrip_sockets", "Connected sockets", ["kind"])
FRAMES = Counter("roundtrip_frames_sent_total", "Event frames handed to sockets", ["kind"])
_DESKS, _WIDGETS = SOCKETS.labels("desk"), SOCKETS.labels("widget")
_DESK_FRAMES, _WIDGET_FRAMES = FRAMES.labels("desk"), FRAMES.labels("widget")
HELD_LIMIT = 2_000


class Subscriber(ABC):
    """A socket that follows the stream. While `held` is a list, what happens waits there behind a replay.

    A replay that takes so long that too much is held lets go of the events: they are read from the log in their turn.
    """

    __slots__ = ("after", "behind", "held", "peer")

    def __init__(self, peer: Peer, after: Position) -> None:
        self.peer, self.after = peer, after
        self.held: list[tuple[Position | None, Frame]] | None = []
        self.behind = False

    def deliver(self, position: Position, frame: Frame) -> None:
        """Give it an event, unless the client has had it from another process already."""
        if position <= self.after:
            return
        if self.held is None:
            self.peer.send(frame)
        elif len(self.held) < HELD_LIMIT:
            self.held.append((position, frame))
        else:
            self.held = [(place, kept) for place, kept in self.held if place is None]
            self.behind = True

    def tell(self, frame: Frame) -> None:
        """Give it a fact that is not in the log. Before its welcome and replay a socket is told nothing else."""
        if self.held is None:
            self.peer.send(frame)
        elif len(self.held) < 2 * HELD_LIMIT:
            self.held.append((None, frame))

    def release(self) -> None:
        """The replay is done: what came meanwhile follows it."""
        held, self.held = self.held or [], None
        for position, frame in held:
            if position is None or position > self.after:
                self.peer.send(frame)

    @abstractmethod
    def frame_of(self, event: StreamEvent) -> Frame | None:
        """What its client gets of an event, None when it is not for them."""


class DeskSubscriber(Subscriber):
    """`session_id` names the socket, `token_id` what it was opened with."""

    __slots__ = ("session_id", "token_id", "viewer")

    def __init__(
        self, peer: Peer, viewer: Viewer, after: Position, *, session_id: str = "", token_id: UUID | None = None
    ) -> None:
        super().__init__(peer, after)
        self.viewer, self.session_id, self.token_id = viewer, session_id, token_id

    def frame_of(self, event: StreamEvent) -> Frame | None:
        return event.frame if event.visible_to(self.viewer) else None


class WidgetSubscriber(Subscriber):
    """What happens with a contact on one channel: their mails are not for the chat on a site."""

    __slots__ = ("channel_id", "contact_id")

    def __init__(self, peer: Peer, contact_id: UUID, channel_id: UUID, after: Position) -> None:
        super().__init__(peer, after)
        self.contact_id, self.channel_id = contact_id, channel_id

    def merged(self, event: StreamEvent) -> None:
        """The contact was merged into another, or another into it: live, in its place among the events."""

    def frame_of(self, event: StreamEvent) -> Frame | None:
        mine = event.contact_id == self.contact_id and event.channel_id == self.channel_id
        return event.customer_frame if mine else None


class _Group:
    """Desks that see the same, but for what names their agent."""

    __slots__ = ("key", "members")

    def __init__(self, key: tuple[bool, frozenset[UUID]]) -> None:
        self.key = key
        self.members: set[DeskSubscriber] = set()


class Hub:
    """The sockets of one process, found by what they may see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tail = Tail(database, self.publish)
        self._groups: dict[tuple[bool, frozenset[UUID]], _Group] = {}
        self._seniors = self._groups[True, frozenset()] = _Group((True, frozenset()))
        self._by_queue: dict[UUID, set[_Group]] = defaultdict(set)
        self._by_agent: dict[UUID, set[DeskSubscriber]] = defaultdict(set)
        self._by_contact: dict[UUID, set[WidgetSubscriber]] = defaultdict(set)
        self._catching_up: set[DeskSubscriber] = set()
        self._desks = self._widgets = 0
        self.peers: set[Peer] = set()

    # who is there

    def join_desk(self, subscriber: DeskSubscriber) -> Position:
        """Live frames are held from this moment on; returns the position after which they come."""
        self._enter(subscriber)
        self._catching_up.add(subscriber)
        self._desks += 1
        _DESKS.set(self._desks)
        return self.tail.position

    def leave_desk(self, subscriber: DeskSubscriber) -> None:
        self._exit(subscriber)
        self._catching_up.discard(subscriber)
        self._desks -= 1
        _DESKS.set(self._desks)

    def change_viewer(self, agent_id: UUID, viewer: Viewer) -> bool:
        """An agent's role or queues were changed: their open sockets follow at once. False when nothing is new."""
        changed = [desk for desk in self._by_agent.get(agent_id, ()) if desk.viewer != viewer]
        for subscriber in changed:
            self._exit(subscriber)
            subscriber.viewer = viewer
            self._enter(subscriber)
        return bool(changed)

    def _enter(self, subscriber: DeskSubscriber) -> None:
        viewer = subscriber.viewer
        key = (viewer.sees_all, frozenset() if viewer.sees_all else viewer.queues)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
            for queue_id in key[1]:
                self._by_queue[queue_id].add(group)
        group.members.add(subscriber)
        self._by_agent[viewer.agent_id].add(subscriber)

    def _exit(self, subscriber: DeskSubscriber) -> None:
        group = self._group_of(subscriber)
        group.members.discard(subscriber)
        if not group.members and group is not self._seniors:
            del self._groups[group.key]
            _drop(self._by_queue, group.key[1], group)
        _drop(self._by_agent, [subscriber.viewer.agent_id], subscriber)

    def _group_of(self, subscriber: DeskSubscriber) -> _Group:
        viewer = subscriber.viewer
        return self._seniors if viewer.sees_all else self._groups[False, viewer.queues]

    def join_widget(self, subscriber: WidgetSubscriber) -> Position:
        self._by_contact[subscriber.contact_id].add(subscriber)
        self._widgets += 1
        _WIDGETS.set(self._widgets)
        return self.tail.position

    def leave_widget(self, subscriber: WidgetSubscriber) -> None:
        _drop(self._by_contact, [subscriber.contact_id], subscriber)
        self._widgets -= 1
        _WIDGETS.set(self._widgets)

    @property
    def agents_here(self) -> list[UUID]:
        return list(self._by_agent)

    def desks_of(self, agent_id: UUID) -> list[DeskSubscriber]:
        return list(self._by_agent.get(agent_id, ()))

    # what they get

    def publish(self, events: Sequence[StreamEvent]) -> None:
        """Called by the tail for each page, in order."""
        sent = 0
        for group, shown in self._by_sight(events).items():
            apart = self._named_apart(group, shown, events) | (self._catching_up & group.members)
            if shown and len(apart) < len(group.members):
                bundle = Bundle([event.frame for event in shown])
                alike = group.members - apart if apart else group.members
                for desk in alike:
                    desk.peer.write(bundle)
                sent += len(alike) * len(shown)
            for desk in apart:
                sent += self._publish_to(desk, events)
        _DESK_FRAMES.inc(sent)
        self._publish_to_widgets(events)

    def _by_sight(self, events: Sequence[StreamEvent]) -> dict[_Group, list[StreamEvent]]:
        """The groups that these events concern, with what all their members see of them."""
        found: dict[_Group, list[StreamEvent]] = {}
        for event in events:
            for group in self._groups_for(event):
                found.setdefault(group, []).append(event)
            for agent_id in event.agents:
                for desk in self._by_agent.get(agent_id, ()):
                    found.setdefault(self._group_of(desk), [])
        return found

    def _groups_for(self, event: StreamEvent) -> Iterable[_Group]:
        """The indexes only narrow the search: `visible_to` says the same for each member of these (tested)."""
        if event.scope == EventScope.CONVERSATION:
            found = {group for queue_id in event.queues for group in self._by_queue.get(queue_id, ())}
            found.add(self._seniors)
            return found
        return list(self._groups.values()) if event.scope == EventScope.EVERYONE else ()

    def _named_apart(
        self, group: _Group, shown: Sequence[StreamEvent], events: Sequence[StreamEvent]
    ) -> set[DeskSubscriber]:
        """Members who see more than their group, because an event names their agent."""
        apart: set[DeskSubscriber] = set()
        common = set(shown)
        for event in events:
            if event.agents and event not in common and event.scope != EventScope.AUDIT:
                for agent_id in event.agents:
                    apart |= self._by_agent.get(agent_id, _NOBODY)
        return apart & group.members

    def _publish_to(self, desk: DeskSubscriber, events: Sequence[StreamEvent]) -> int:
        seen = [event for event in events if event.visible_to(desk.viewer)]
        if seen and desk.held is None and seen[0].position > desk.after:
            self._catching_up.discard(desk)
            desk.peer.write(Bundle([event.frame for event in seen]))
            return len(seen)
        for event in seen:
            desk.deliver(event.position, event.frame)
        return len(seen)

    def _publish_to_widgets(self, events: Sequence[StreamEvent]) -> None:
        sent = 0
        for event in events:
            widgets = self._by_contact.get(event.contact_id) if event.contact_id else None
            if widgets and event.type == CONTACT_MERGED:
                for widget in list(widgets):
                    widget.merged(event)
            elif widgets and (frame := event.customer_frame) is not None:
                here = [widget for widget in widgets if widget.channel_id == event.channel_id]
                for widget in here:
                    widget.deliver(event.position, frame)
                sent += len(here)
        if sent:
            _WIDGET_FRAMES.inc(sent)

    async def catch_up(self, subscriber: Subscriber, upto: Position) -> None:
        """Replay what lies between the client's cursor and the moment it joined, then let the held frames follow."""
        reached = subscriber.after
        while True:
            async for page in tail.replay(self._database, reached, upto):
                for event in page:
                    if (frame := subscriber.frame_of(event)) is not None:
                        subscriber.peer.send(frame)
                await subscriber.peer.drained()
                if not subscriber.peer.open:
                    return
            if not subscriber.behind:
                break
            reached, upto, subscriber.behind = max(reached, upto), self.tail.position, False
            subscriber.held = [(place, kept) for place, kept in subscriber.held or () if place is None]
        subscriber.release()
        if isinstance(subscriber, DeskSubscriber) and self.tail.position >= subscriber.after:
            self._catching_up.discard(subscriber)

    async def too_far_behind(self, after: Position, *, limit: int, window_s: float) -> str | None:
        """Why a replay from there is out of the question: too long, or out of the window; None when it is not."""
        async with self._database.begin() as session:
            missed, stale = await tail.behind(await driver(session), after, limit=limit + 1, window_s=window_s)
        if missed > limit:
            return "too much was missed to replay it"
        return "the cursor is older than what is kept for replays" if stale else None

    async def beyond_the_end(self, after: Position) -> bool:
        """Whether no event can have had this place yet: it is from another database, or from before a restore."""
        async with self._database.begin() as session:
            return after > await tail.end(await driver(session))

    def tell(self, fact: Mapping[str, Any]) -> None:
        """An ephemeral fact from any process: `frame` to the desks of `queues` and `agents`, and of supervisors unless
        `seniors` is false, but not to the session `but`; `customer` (if any) to the widgets of `contact_id` on `channel_id`. Never
        stored, carries no cursor."""
        if frame := fact.get("frame"):
            shown, but = Frame(orjson.dumps(frame)), fact.get("but")
            for desk in self._desks_of(fact):
                if but is None or desk.session_id != but:
                    desk.tell(shown)
        if (customer := fact.get("customer")) and (contact_id := fact.get("contact_id")):
            shown = Frame(orjson.dumps(customer))
            for widget in self._by_contact.get(UUID(contact_id), ()):
                if str(widget.channel_id) == fact.get("channel_id"):
                    widget.tell(shown)

    def _desks_of(self, fact: Mapping[str, Any]) -> set[DeskSubscriber]:
        desks = set(self._seniors.members) if fact.get("seniors", True) else set()
        for queue_id in fact.get("queues", ()):
            for group in self._by_queue.get(UUID(queue_id), ()):
                desks |= group.members
        for agent_id in fact.get("agents", ()):
            desks |= self._by_agent.get(UUID(agent_id), _NOBODY)
        return desks

    def tell_everyone(self, frame: Frame) -> None:
        """Draining: every socket of this process."""
        for peer in self.peers:
            peer.send(frame)


_NOBODY: frozenset[DeskSubscriber] = frozenset()


def _drop(index: dict[UUID, set[Any]], keys: Iterable[UUID], member: object) -> None:
    for key in keys:
        members = index.get(key)
        if members is not None:
            members.discard(member)
            if not members:
                del index[key]
