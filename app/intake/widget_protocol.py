"""The frames of `/widget/live`, typed; docs/protocol.md is generated from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from app.events import frames
from app.events.frames import Event, Place, ServerFrame, Wire
from app.models.words import ConversationStatus, CycleState

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
    """The same `client_message_id` twice is one message; with another text it is refused (`idempotency-mismatch`)."""

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


class Shown(Wire):
    """What a customer may know of their conversation."""

    id: UUID
    status: ConversationStatus
    subject: str | None
    last_seq: Place
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ShownWhole(Shown):
    """With its newest messages, how far the customer has read, and the page where they follow it."""

    read_seq: Place
    progress_url: str
    messages: list[frames.Message]


class Contact(Wire):
    id: UUID
    name: str | None


class Welcome(ServerFrame):
    """The answer to hello. Keep `visitor_token`: it is who you are the next time."""

    type: Literal["welcome"]
    re: frames.CommandId | None
    visitor_token: str
    contact: Contact | None
    conversation: ShownWhole | None
    cursor: frames.Cursor
    heartbeat_s: float


class Ok(ServerFrame):
    """The command `re` was done and committed; its results are beside."""

    type: Literal["ok"]
    re: frames.CommandId | None
    message_id: UUID | None = None
    conversation_id: UUID | None = None
    seq: Place | None = None
    client_message_id: str | None = None
    duplicate: bool | None = None
    receipt_id: UUID | None = None
    state: CycleState | None = None
    conversation_status: ConversationStatus | None = None


class ConversationUpdated(Event):
    """It changed its state."""

    type: Literal["conversation.updated"]
    conversation: Shown


class Named(Wire):
    name: str


class AgentJoined(Event):
    """Who answers you from now on."""

    type: Literal["agent.joined"]
    agent: Named


class Writer(Wire):
    type: Literal["agent"]
    name: str


class TypingShown(ServerFrame):
    """Somebody writes an answer, or stopped."""

    type: Literal["typing"]
    conversation_id: UUID
    on: bool
    author: Writer


ANSWERS: tuple[type[ServerFrame], ...] = (Welcome, Ok, frames.Error, frames.Pong)
EVENTS: tuple[type[ServerFrame], ...] = (
    frames.MessageCreated,
    frames.MessageStatus,
    frames.MessageUpdated,
    ConversationUpdated,
    AgentJoined,
    frames.FeedbackRequested,
)
EPHEMERAL: tuple[type[ServerFrame], ...] = (TypingShown, frames.ResyncRequired, frames.Draining)
FRAMES: TypeAdapter[Any] = frames.adapter(*ANSWERS, *EVENTS, *EPHEMERAL)
