"""What webhook endpoints are sent, typed: the OpenAPI shows it under `webhooks`, the tests hold every call against it.

`data` has the fields of the desk's frame of the same name, so that one reader serves both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, create_model

from app.delivery.webhooks.payload import EVENTS, PING
from app.desk import frames as desk
from app.events import frames
from app.events.frames import Person, ServerFrame, Wire

_ENVELOPE = ("type", "cursor")


class _Assigned(Wire):
    """What an assignment adds to an update."""

    assignee: Person | None = None
    how: str | None = None


class PingData(Wire):
    """Nothing has happened."""

    endpoint_id: UUID


_FRAMES: Mapping[str, type[ServerFrame]] = {
    kind: model
    for model in (
        desk.ConversationCreated,
        desk.ConversationUpdated,
        desk.ConversationResolved,
        desk.ConversationClosed,
        desk.ConversationReopened,
        frames.MessageCreated,
        frames.MessageStatus,
        desk.SlaFired,
        desk.FeedbackReceived,
    )
    for kind in frames.kind_of(model)
    if kind in EVENTS
}


def _word(kind: str) -> str:
    return "".join(part.title() for part in kind.split("."))


def _data(kind: str, frame: type[ServerFrame]) -> type[BaseModel]:
    """The frame's fields but for its envelope."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in frame.model_fields.items() if name not in _ENVELOPE
    }
    base = _Assigned if kind == "conversation.updated" else Wire
    made: type[BaseModel] = create_model(f"{_word(kind)}Data", __base__=base, __doc__=frame.__doc__, **fields)
    return made


def _payload(kind: str, data: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {"type": (Literal[kind], ...), "timestamp": (AwareDatetime, ...), "data": (data, ...)}
    made: type[BaseModel] = create_model(f"{_word(kind)}Webhook", __base__=Wire, __doc__=data.__doc__, **fields)
    return made


PAYLOADS: Mapping[str, type[BaseModel]] = {
    **{kind: _payload(kind, _data(kind, _FRAMES[kind])) for kind in EVENTS},
    PING: _payload(PING, PingData),
}
"""By type: `{type, timestamp, data}`; `timestamp` is when it happened."""


def router() -> APIRouter:
    """For the `webhooks` of the OpenAPI: nothing is served here."""
    shown = APIRouter(tags=["webhooks out"])
    for kind, model in PAYLOADS.items():
        summary = " ".join((model.__doc__ or "").split())
        shown.add_api_route(
            kind,
            _receiver(model),
            methods=["POST"],
            summary=kind,
            description=f"{summary}\n\nAny 2xx accepts it; 410 switches the endpoint off; anything else is tried again.",
            status_code=204,
            response_model=None,
            name=kind,
        )
    return shown


def _receiver(model: type[BaseModel]) -> Callable[..., Awaitable[None]]:
    async def receive(body: BaseModel) -> None:
        """The endpoint's own code."""

    receive.__annotations__ = {"body": model, "return": None}
    return receive
