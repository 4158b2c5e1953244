"""The typed protocol against the code: what is sent is known, and what is known is documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app import socket_frames
from app.desk import frames as desk
from app.desk.protocol import COMMANDS
from app.errors import Invalid
from app.events import frames
from app.intake import widget_protocol as widget
from tests.support.sockets import Desk, NotInTheProtocol, Widget, checked

APP = Path(__file__).resolve().parent.parent.parent / "app"
ID = "01a20181-1c22-7782-8121-d3c7f5d7d0f2"
READ = {"type": "conversation.read", "conversation_id": ID, "seq": 3}


def kinds(*models: type[frames.ServerFrame]) -> set[str]:
    return {kind for model in models for kind in frames.kind_of(model)}


def test_every_type_is_there_once() -> None:
    for protocol in (desk, widget):
        models = (*protocol.ANSWERS, *protocol.EVENTS, *protocol.EPHEMERAL)
        found = [kind for model in models for kind in frames.kind_of(model)]
        assert len(found) == len(set(found))


def test_every_event_that_is_appended_for_sockets_is_in_the_protocol() -> None:
    """Events of conversations by any of the three ways into the log; `audit` reaches no socket."""
    appended: set[str] = set()
    for path in APP.rglob("*.py"):
        source = path.read_text()
        for call in re.finditer(
            r"\bevents\.append(?:_for_agents|_for_each)?\(([^)]{0,200}?)\"([a-z_]+\.[a-z_]+)\"", source
        ):
            appended.add(call.group(2))
    assert {"message.created", "offer.created", "conversation.updated"} <= appended
    assert appended <= kinds(*desk.EVENTS)


def test_a_command_that_cannot_be_kept_names_its_field() -> None:
    for command, field in (
        ({"type": "offer.reject", "offer_id": ID, "reason": "no\x00"}, "reason"),
        ({"type": "message.send", "conversation_id": ID, "text": "\x00"}, "text"),
    ):
        with pytest.raises(Invalid) as refused:
            socket_frames.parse(COMMANDS, orjson.dumps(command).decode())
        assert (refused.value.extra["field"], refused.value.detail) == (field, "must not contain the character NUL")


def test_a_frame_is_held_to_its_fields() -> None:
    assert checked(desk.FRAMES, orjson.dumps(READ)) == READ
    wrong: list[dict[str, Any]] = [
        {**READ, "type": "no.such"},
        {**READ, "more": 1},
        {**READ, "seq": "three"},
        {key: value for key, value in READ.items() if key != "seq"},
    ]
    for frame in wrong:
        with pytest.raises(NotInTheProtocol):
            checked(desk.FRAMES, orjson.dumps(frame))


def test_the_customer_s_frames_have_no_room_for_the_inside() -> None:
    shown = {"id": ID, "status": "open", "subject": None, "last_seq": 1, "created_at": "2026-01-01T00:00:00Z"}
    shown["updated_at"] = shown["created_at"]
    event = {"type": "conversation.updated", "cursor": "0" * 28, "conversation_id": ID, "seq": 1, "conversation": shown}
    widget.FRAMES.validate_python(event)
    with pytest.raises(ValidationError):
        widget.FRAMES.validate_python({**event, "changed": ["queue_id"]})
    with pytest.raises(ValidationError):
        widget.FRAMES.validate_python({**event, "conversation": {**shown, "priority": 2}})
    assert kinds(*widget.EVENTS) <= kinds(*desk.EVENTS)


async def test_a_client_of_the_tests_refuses_what_is_not_in_the_protocol() -> None:
    for client in (Desk("", "token"), Widget("", "channel")):
        client._keep(orjson.dumps({"type": "typing", "surprise": True}))
        with pytest.raises(NotInTheProtocol):
            await client.expect("typing")
