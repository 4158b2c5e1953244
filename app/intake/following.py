"""How a widget follows its visitor's stream: across merges of the contact, with links to files in place of addresses
that need an account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson

from app.events.hub import WidgetSubscriber
from app.events.stream import CONTACT_MERGED, Position, StreamEvent
from app.sockets import Frame, Peer

FileLink = Callable[[UUID], str]
_WITH_FILES = b'"/api/v1/attachments/'


class Follower(WidgetSubscriber):
    """Ends at a merge of its contact: what it has shown is not all there is any more, or not theirs by this name.

    `ended` is then called with the contact to go on as and with the place in the stream, and this follower is silent:
    another one takes over. A merge of `absorbed`, of which the welcome told already, is no news.
    """

    __slots__ = ("_absorbed", "_ended", "_link", "over")

    def __init__(
        self,
        peer: Peer,
        contact_id: UUID,
        channel_id: UUID,
        after: Position,
        *,
        link: FileLink,
        ended: Callable[[UUID, Position, bool], None],
        absorbed: UUID | None = None,
    ) -> None:
        super().__init__(peer, contact_id, channel_id, after)
        self._link, self._ended, self._absorbed = link, ended, absorbed
        self.over = False

    def merged(self, event: StreamEvent) -> None:
        """Live: the rest of the stream comes to whoever takes over."""
        self._look_at(event, live=True)

    def _look_at(self, event: StreamEvent, *, live: bool) -> None:
        told = orjson.loads(event.frame.text)
        if self.over or event.position <= self.after or told["source"] == str(self._absorbed):
            return
        self.over = True
        self._ended(UUID(told["into"]), event.position, live)

    def frame_of(self, event: StreamEvent) -> Frame | None:
        """In a replay, which reads everything that was said to anybody."""
        if self.over or event.contact_id != self.contact_id:
            return None
        if event.type == CONTACT_MERGED:
            self._look_at(event, live=False)
            return None
        made = super().frame_of(event)
        return self._openable(made) if made else None

    def deliver(self, position: Position, frame: Frame) -> None:
        if not self.over:
            super().deliver(position, self._openable(frame))

    def release(self) -> None:
        if not self.over:
            super().release()

    def _openable(self, frame: Frame) -> Frame:
        if _WITH_FILES not in frame.wire:
            return frame
        told = orjson.loads(frame.text)
        message = told.get("message")
        return Frame(orjson.dumps({**told, "message": with_links(message, self._link)})) if message else frame


def with_links(message: Mapping[str, Any], link: FileLink) -> dict[str, Any]:
    """A message as its customer gets it: files that are here have an address that opens without an account, for a time."""
    files = [
        {**item, "url": link(UUID(item["id"])) if item["url"] else None} for item in message.get("attachments") or ()
    ]
    return {**message, "attachments": files}
