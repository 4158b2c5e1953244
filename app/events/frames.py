"""The frames that servers send, typed: what both sockets share. docs/protocol.md is generated from these.

Nothing is validated while serving: the tests hold every frame that they get against these.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from app.models.words import (
    AuthorType,
    Category,
    ComplaintType,
    ConversationStatus,
    CycleState,
    DeliveryStatus,
    Direction,
    Matter,
    MessageKind,
    Severity,
)

Cursor = Annotated[str, Field(pattern="^[0-9a-f]{28}$")]
CommandId = str | int
Count = Annotated[int, Field(ge=0)]
Place = Annotated[int, Field(ge=0, description="a message's place in its conversation, from 1 without a gap")]


class Wire(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class Person(Wire):
    """A colleague."""

    id: UUID
    name: str


class Author(Wire):
    """Who wrote it. `name` is null where nobody told us."""

    type: AuthorType
    id: UUID | None
    name: str | None


class File(Wire):
    """`url` is null until the file is stored here; `error` says why it will not be."""

    id: UUID
    name: str
    media_type: str
    size: int | None
    url: str | None
    error: str | None = None


class Template(Wire):
    """The approved text that a message was sent by."""

    name: str
    language: str
    parameters: list[str]


class Instead(Wire):
    """A receipt went `by` another type of channel than the matter's own, because of `why`."""

    channel_type: str
    by: str
    why: str


class Recording(File):
    """Of a call; `duration_s` where it was told."""

    duration_s: float | None


class Call(Wire):
    """A telephone call as it stands. `call_id` is its name at the provider, null until there is one. `talk_s` counts from
    the answer, `duration_s` from the beginning; `attempts` agents were rung in vain. `answered_by` says what picked up,
    where that was found out."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    call_id: str | None
    state: Literal["ringing", "answered", "ended", "missed", "voicemail", "queued"]
    direction: Literal["inbound", "outbound"]
    from_: Annotated[str | None, Field(alias="from")]
    to: str | None
    started_at: AwareDatetime | None
    answered_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    duration_s: float | None
    talk_s: float | None
    cause: str | None
    transcript: str | None
    digits: str | None
    answered_by: str | None
    attempts: Count
    recording: Recording | None


class Entered(Wire):
    """What an agent wrote down for the customer, who came by this `channel`. `by` is null for another system."""

    by: Person | None
    channel: Literal["walk_in", "phone", "letter", "other"]


class Message(Wire):
    """`status` is of outbound messages only. A note may have `mentions`, or be a `whisper`. What its customer `edited` or
    `deleted` says so; a deleted one has neither text nor files any more. `reactions` are emojis. One that
    was `entered` by hand says by whom."""

    id: UUID
    conversation_id: UUID
    seq: Place
    direction: Direction
    kind: MessageKind
    author: Author
    text: str
    subject: str | None
    attachments: list[File]
    status: DeliveryStatus | None
    error: str | None
    client_message_id: str | None
    created_at: AwareDatetime
    sent_at: AwareDatetime | None
    mentions: list[UUID] = []
    whisper: bool = False
    edited: bool = False
    deleted: bool = False
    reactions: list[str] = []
    entered: Entered | None = None
    call: Call | None = None
    error_code: str | None = None
    template: Template | None = None
    instead: Instead | None = None


class Conversation(Wire):
    """`last_seq` is the newest message's place; `cycle` counts from 1 and grows with each reopening. What the customer writes
    until `reopen_until` goes on with a closed one; later it opens another, which `follows_id`."""

    id: UUID
    channel_id: UUID
    channel_type: str
    contact_id: UUID
    queue_id: UUID | None
    status: ConversationStatus
    category: Category
    matter: Matter
    severity: Severity | None
    complaint_type: ComplaintType | None
    priority: int
    owner_id: UUID | None
    assignee_id: UUID | None
    participant_ids: list[UUID]
    subject: str | None
    external_ref: str | None
    cycle: Annotated[int, Field(ge=1)]
    last_seq: Place
    snoozed_until: AwareDatetime | None
    resolved_at: AwareDatetime | None
    closed_at: AwareDatetime | None
    reopen_until: AwareDatetime | None
    follows_id: UUID | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Receipt(Wire):
    """What we understood, what was done, what we promise next; `url` is the page that asks for an answer. `survey`: whether
    the customer is to be asked to rate us, which nobody is twice within the gap of the closing policy."""

    id: UUID
    conversation_id: UUID
    number: int
    state: CycleState
    problem: str
    resolution: str
    commitment: str
    language: str
    survey: bool = True
    url: str
    created_at: AwareDatetime


class ServerFrame(Wire):
    """A server frame."""


class Event(ServerFrame):
    """From the log: in the order of `cursor`, replayed to who comes back."""

    cursor: Cursor
    conversation_id: UUID
    seq: Place


class MessageCreated(Event):
    """A message of either side, or a note (only agents get those)."""

    type: Literal["message.created"]
    message: Message


class MessageStatus(Event):
    """How far the outbound message at `seq` has come; `error` says why it failed, or is being tried again, `error_code`
    in a stable word why it failed. One that an agent sends again is `queued` once more."""

    type: Literal["message.status"]
    message_id: UUID
    status: DeliveryStatus
    error: str | None
    client_message_id: str | None
    error_code: str | None = None


class MessageChange(Wire):
    """`text` is the new text of an edit, the emoji of a reaction (null: taken back). `call`: how a call stands now."""

    kind: Literal["edit", "delete", "reaction", "call"]
    text: str | None
    at: AwareDatetime | None
    call: Call | None = None


class MessageUpdated(Event):
    """The customer edited or deleted their message at `seq`, or reacted to one; a deleted one is shown without its text. A
    telephone call went on: answered, ended, recorded, transcribed."""

    type: Literal["message.updated"]
    message_id: UUID
    change: MessageChange


class FeedbackRequested(Event):
    """The customer was asked whether it is solved."""

    type: Literal["feedback.requested"]
    receipt: Receipt


class ResyncRequired(ServerFrame):
    """The cursor cannot be resumed; the welcome that follows is a fresh snapshot."""

    type: Literal["resync_required"]
    reason: str


class Draining(ServerFrame):
    """This process is going away; reconnect with your cursor after so many seconds."""

    type: Literal["draining"]
    reconnect_in_s: float


class Pong(ServerFrame):
    """The answer to ping."""

    type: Literal["pong"]
    re: CommandId | None


class Error(ServerFrame):
    """The command `re` was refused; `code` is stable, `detail` is for people, `field` names a wrong field."""

    model_config = ConfigDict(extra="allow")
    type: Literal["error"]
    re: CommandId | None
    code: str
    detail: str
    field: str | None = None


def kind_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The values that a frame's `type` can have."""
    found: tuple[str, ...] = get_args(model.model_fields["type"].annotation)
    return found


def adapter(*models: type[BaseModel]) -> TypeAdapter[Any]:
    """Any one of these frames, told apart by its `type`."""
    union: Any = models[0]
    for model in models[1:]:
        union = union | model
    return TypeAdapter(Annotated[union, Field(discriminator="type")])
