"""An event as it travels: its place in the stream, who may see it, its frame (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from app import log
from app.models.words import SENIORS, EventScope
from app.sockets import Frame

_logger = log.get("stream")
_CURSOR = re.compile(r"[0-9a-f]{28}")
CONTACT_MERGED = "contact.merged"


class Position(NamedTuple):
    """The place in the log; compares as the stream runs."""

    pos: int
    id: int

    def cursor(self) -> str:
        """28 hexadecimal digits that sort as text like the positions they stand for."""
        return f"{self.pos:014x}{self.id:014x}"

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Raises ValueError for anything that `cursor` did not make."""
        if not _CURSOR.fullmatch(cursor):
            raise ValueError("not a cursor")
        return cls(int(cursor[:14], 16), int(cursor[14:], 16))


START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Viewer:
    """An agent as far as seeing goes."""

    agent_id: UUID
    role: str
    queues: frozenset[UUID] = field(default_factory=frozenset)

    @property
    def sees_all(self) -> bool:
        return self.role in SENIORS


class StreamEvent:
    """One row of the log. Its frames are made when somebody first needs them, and then shared."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.position = Position(row["pos"], row["id"])
        self.type: str = row["type"]
        self.conversation_id: UUID | None = row["conversation_id"]
        self.contact_id: UUID | None = row["contact_id"]
        self.channel_id: UUID | None = row["channel_id"]
        self.seq: int | None = row["seq"]
        self.scope: str = row["scope"]
        self.queues: list[UUID] = row["queues"]
        self.agents: list[UUID] = row["agents"]
        self.to_customer: bool = row["to_customer"]
        self._payload: str = row["payload"]

    def visible_to(self, viewer: Viewer) -> bool:
        """The one rule of who sees what, live and in a replay."""
        if self.scope == EventScope.EVERYONE:
            return True
        if self.scope == EventScope.AUDIT:
            return False
        if viewer.agent_id in self.agents:
            return True
        if self.scope == EventScope.AGENTS:
            return False
        return viewer.sees_all or not viewer.queues.isdisjoint(self.queues)

    @cached_property
    def frame(self) -> Frame:
        """What the desk gets: the payload with type, cursor, conversation and seq in front."""
        return Frame(self._head(self.type) + self._tail(self._payload))

    @cached_property
    def customer_frame(self) -> Frame | None:
        """What the customer's widget gets: nothing of how we work inside. One that cannot be made is left out: it must
        not stop the stream of all."""
        if not self.to_customer:
            return None
        try:
            made = _for_customer(self.type, self._payload)
        except (KeyError, TypeError) as error:
            _logger.error("event without a customer's frame", type=self.type, error=repr(error))
            return None
        if made is None:
            return None
        kind, payload = made
        return Frame(self._head(kind) + self._tail(payload))

    def _head(self, kind: str) -> bytes:
        head = f'{{"type":"{kind}","cursor":"{self.position.cursor()}"'
        if self.conversation_id is not None:
            head += f',"conversation_id":"{self.conversation_id}"'
            if kind not in ("message.status", "message.updated"):  # they bring their message's own
                head += f',"seq":{self.seq or 0}'
        return head.encode()

    @staticmethod
    def _tail(payload: str) -> bytes:
        body = payload[1:].lstrip()
        return b"}" if body == "}" else b"," + body.encode()


def _for_customer(kind: str, payload: str) -> tuple[str, str] | None:
    if kind in ("message.created", "message.status", "message.updated", "feedback.requested"):
        return kind, payload
    body = orjson.loads(payload)
    if kind == "conversation.assigned":
        return "agent.joined", _dump({"agent": {"name": body["assignee"]["name"]}})
    if kind == "agent.joined":
        return kind, _dump({"agent": {"name": body["agent"]["name"]}})
    if kind.startswith("conversation."):
        return "conversation.updated", _dump({"conversation": customer_conversation(body["conversation"])})
    return None


def customer_conversation(shape: Mapping[str, Any]) -> dict[str, Any]:
    """What a customer may know of their conversation."""
    return {key: shape[key] for key in ("id", "status", "subject", "last_seq", "created_at", "updated_at")}


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
