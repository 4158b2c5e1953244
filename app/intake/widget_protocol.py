"""The frames of `/widget/live`, typed; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

TEXT_LIMIT = 10_000
FILES_LIMIT = 5
FILE_BYTES = 5_000_000


class Command(BaseModel):
    """A client frame. `id` is optional; an answer carries it, or the `client_message_id`, as `re`."""

    model_config = ConfigDict(extra="forbid")
    id: str | int | None = None


class Hello(Command):
    """The first frame. `identity` is a short-lived HS256 JWT of the site's own backend."""

    type: Literal["hello"]
    channel_id: UUID
    visitor_token: str | None = None
    identity: str | None = None
    cursor: str | None = None


class UploadedFile(BaseModel):
    """A file with the message, base64; at most five of 5 MB each."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=255)]
    media_type: Annotated[str, Field(max_length=255)] = "application/octet-stream"
    data: str


class SendMessage(Command):
    """The same `client_message_id` twice is one message."""

    type: Literal["message.send"]
    client_message_id: Annotated[str, Field(min_length=1, max_length=200)]
    text: Annotated[str, Field(max_length=TEXT_LIMIT)] = ""
    attachments: Annotated[list[UploadedFile], Field(max_length=FILES_LIMIT)] = []


class Typing(Command):
    """Shown to the agent, never stored."""

    type: Literal["typing"]
    on: bool = True


class ReadConversation(Command):
    """The customer has seen everything up to `seq`."""

    type: Literal["conversation.read"]
    seq: Annotated[int, Field(ge=0)]


class SubmitFeedback(BaseModel):
    """The answer to a receipt: outcome (confirmed or rejected) and ratings, as on the receipt's page."""

    model_config = ConfigDict(extra="allow")
    id: str | int | None = None
    type: Literal["feedback.submit"]
    receipt_id: UUID | None = None

    @property
    def answer(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Ping(Command):
    """Answered by `pong`."""

    type: Literal["ping"]


WidgetCommand = Annotated[
    Hello | SendMessage | Typing | ReadConversation | SubmitFeedback | Ping, Field(discriminator="type")
]
COMMANDS: TypeAdapter[Any] = TypeAdapter(WidgetCommand)

EVENTS: dict[str, str] = {
    "message.created": "message: id, seq, direction, kind, author, text, attachments, status, client_message_id",
    "message.status": "message_id, seq, status: how far an outbound message has come",
    "conversation.updated": "conversation: id, status, last_seq",
    "agent.joined": "agent: name",
    "feedback.requested": "receipt: id, problem, resolution, commitment, url",
    "typing": "conversation_id, on, author",
    "resync_required": "reason: the cursor cannot be resumed; the welcome is a fresh snapshot",
    "draining": "reconnect_in_s: this process is going away; reconnect with your cursor",
    "pong": "the answer to ping",
}
