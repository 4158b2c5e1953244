"""How conversations, messages and their history look in answers; `app.events.shapes` makes the values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from app.conversations.ways import Way
from app.desk.capability_shapes import ConversationCapabilities
from app.desk.endpoints.contacts import ContactShape
from app.desk.endpoints.shared import Moment, Shape
from app.events import shapes
from app.events.frames import Call, Instead
from app.models import Conversation, Message
from app.models.words import (
    Category,
    ComplaintType,
    ConversationStatus,
    CycleState,
    DeliveryStatus,
    Direction,
    Matter,
    MessageKind,
    ParticipantRole,
    Severity,
)


class ConversationShape(Shape):
    """`last_seq` is the newest message's place; `cycle` counts from 1 and grows with each reopening. What the customer writes
    until `reopen_until` goes on with a closed one; later it opens another, which `follows_id`."""

    id: UUID
    channel_id: UUID
    channel_type: str
    contact_id: UUID | None
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
    cycle: int
    last_seq: int
    snoozed_until: Moment | None
    resolved_at: Moment | None
    closed_at: Moment | None
    reopen_until: Moment | None
    follows_id: UUID | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: Conversation) -> ConversationShape:
        return cls.model_validate(shapes.conversation(row))


class ListedConversation(ConversationShape):
    """With what its channel takes now."""

    capabilities: ConversationCapabilities


class PendingOffer(Shape):
    """Who is being asked to take it, until when."""

    id: UUID
    agent_id: UUID
    escalated: bool
    created_at: Moment
    expires_at: Moment


class ParticipantShape(Shape):
    """A colleague who takes part besides the assignee: helps (notes only), listens, or has joined. Since when."""

    agent_id: UUID
    name: str
    role: ParticipantRole
    added_by: UUID | None
    created_at: Moment


class AnswersShape(Shape):
    """Whether the customer can be answered, and by which channel: another one where the conversation's own carries no
    answers. Where none does, only notes are taken."""

    possible: bool
    channel_id: UUID | None
    channel_type: str | None
    name: str | None

    @classmethod
    def of(cls, row: Conversation, way: Way | None) -> AnswersShape:
        if way is None:
            return cls(possible=False, channel_id=None, channel_type=None, name=None)
        kind = way.channel_type or row.channel_type
        return cls(possible=True, channel_id=way.channel_id, channel_type=kind, name=way.name)


class ConversationDetail(ConversationShape):
    """With everything an agent needs at hand. `sla` has one entry per clock; `.../sla` explains them."""

    contact: ContactShape
    participants: list[ParticipantShape]
    sla: list[dict[str, Any]]
    offer: PendingOffer | None
    capabilities: ConversationCapabilities
    answers: AnswersShape
    progress_url: str = Field(description="the customer's page about this matter, without an account")


class AuthorShape(Shape):
    type: str
    id: UUID | None
    name: str | None


class AttachmentRef(Shape):
    """`url` is null for a file that only the provider has; `error` says why, once it is not fetched any more."""

    id: UUID
    name: str
    media_type: str
    size: int | None
    url: str | None
    error: str | None = Field(default=None, exclude_if=lambda error: error is None)


class TemplateShape(Shape):
    """The approved text that a message was sent by."""

    name: str
    language: str
    parameters: list[str]


class ColleagueShape(Shape):
    id: UUID
    name: str


class EnteredByHand(Shape):
    """Who wrote it down for the customer, and how the customer came. `by` is null for another system."""

    by: ColleagueShape | None
    channel: str


class MessageShape(Shape):
    """`seq` counts from 1 without a gap. `status` is of outbound messages only.

    A note may have `mentions` (agents), or be a `whisper` that only its author, the assignee of the moment and
    supervisors can see. What its customer `edited` or `deleted` says so; `reactions` are emojis. What
    an agent `entered` by hand for the customer says so.
    """

    id: UUID
    conversation_id: UUID
    seq: int
    direction: Direction
    kind: MessageKind
    author: AuthorShape
    text: str
    subject: str | None
    attachments: list[AttachmentRef]
    status: DeliveryStatus | None
    error: str | None
    client_message_id: str | None
    created_at: Moment
    sent_at: Moment | None
    mentions: list[UUID] | None = Field(default=None, exclude_if=lambda mentions: mentions is None)
    whisper: bool | None = Field(default=None, exclude_if=lambda whisper: whisper is None)
    edited: bool | None = Field(default=None, exclude_if=lambda edited: edited is None)
    deleted: bool | None = Field(default=None, exclude_if=lambda deleted: deleted is None)
    reactions: list[str] | None = Field(default=None, exclude_if=lambda reactions: reactions is None)
    entered: EnteredByHand | None = Field(default=None, exclude_if=lambda entered: entered is None)
    call: Call | None = Field(default=None, exclude_if=lambda call: call is None)
    error_code: str | None = Field(default=None, exclude_if=lambda code: code is None)
    template: TemplateShape | None = Field(default=None, exclude_if=lambda template: template is None)
    instead: Instead | None = Field(default=None, exclude_if=lambda instead: instead is None)

    @classmethod
    def of(cls, row: Message) -> MessageShape:
        return cls.model_validate(shapes.stored_message(row))


class EventShape(Shape):
    """One thing that happened: who (`actor`), what (`type`, `payload`), when."""

    id: int
    type: str
    actor: AuthorShape
    seq: int | None
    correlation_id: str | None
    payload: dict[str, Any]
    created_at: Moment


class ReceiptShape(Shape):
    """The feedback receipt that went to the customer; `url` is its page."""

    id: UUID
    conversation_id: UUID
    number: int
    state: CycleState
    problem: str
    resolution: str
    commitment: str
    language: str
    url: str
    created_at: Moment


class ResolvedShape(ConversationShape):
    receipt: ReceiptShape
