"""Conversations, their messages and attachments."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Uuids, Word, one_of
from app.models.words import (
    AuthorType,
    Category,
    ComplaintType,
    ConversationStatus,
    DeliveryStatus,
    Direction,
    Matter,
    MessageKind,
    ParticipantRole,
    Severity,
)


class Conversation(SQLModel, table=True):
    """The unit of consistency: its row lock gives one order to everything that happens in it.

    `last_seq` counts messages without a gap. `stream_pos` is the newest position of its events in the log
    (events/log.py). `participant_ids` are the agents of its participants, who see what happens in it. `limits` are
    the versions of policies that set its time limits, in the order of ClockMetric (None: not worked out yet).
    A message until `reopen_until` goes on with a closed one; a later one opens another, which `follows_id`.
    `reply_channel_id` is where answers go when its own channel carries none (conversations/reach.py). Only
    `conversations/*`, `sla/*` (the limits) and `intake/ingest` write these rows. No index holds a column that every
    message changes: such updates stay on their page and touch no index.
    """

    __table_args__ = (
        one_of("status", ConversationStatus),
        one_of("category", Category),
        one_of("matter", Matter),
        one_of("severity", Severity, nullable=True),
        one_of("complaint_type", ComplaintType, nullable=True),
        Index(
            "uq_conversation_open_identity_channel",
            "identity_id",
            "channel_id",
            unique=True,
            postgresql_where="status <> 'closed'",
        ),
        Index("ix_conversation_queue_open", "queue_id", postgresql_where="status <> 'closed'"),
        Index("ix_conversation_assignee_open", "assignee_id", postgresql_where="status <> 'closed'"),
        Index("ix_conversation_snoozed", "snoozed_until", postgresql_where="snoozed_until IS NOT NULL"),
        Index("ix_conversation_closed", "identity_id", "channel_id", "closed_at", postgresql_where="status = 'closed'"),
        {"postgresql_with": {"fillfactor": 70}},
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id")])
    channel_type: str = Word()
    contact_id: UUID = Field(index=True, sa_column_args=[ForeignKey("contact.id")])
    identity_id: UUID = Field(sa_column_args=[ForeignKey("contact_identity.id")])
    queue_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("queue.id")])
    status: str = Word(default=ConversationStatus.OPEN)
    category: str = Word(default=Category.ROUTINE)
    matter: str = Word(default=Matter.ENQUIRY)
    severity: str | None = Word(default=None)
    complaint_type: str | None = Word(default=None)
    warranty: str | None = Word(default=None)
    corrected: bool = False
    priority: int = 0
    owner_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id")])
    assignee_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id")])
    participant_ids: list[UUID] = Uuids()
    subject: str | None = Word(default=None)
    external_ref: str | None = Word(default=None)
    reply_channel_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("channel.id", ondelete="SET NULL")])
    sla_policy_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("sla_policy.id")])
    limits: list[UUID | None] | None = Field(default=None, sa_type=ARRAY(PgUUID(as_uuid=True)), nullable=True)
    last_seq: int = 0
    stream_pos: int = Field(default=0, sa_type=BigInteger)
    cycle: int = 1
    snoozed_until: datetime | None = Moment(default=None)
    contact_read_seq: int = 0
    last_inbound_at: datetime | None = Moment(default=None)
    first_replied_at: datetime | None = Moment(default=None)
    resolved_at: datetime | None = Moment(default=None)
    closed_at: datetime | None = Moment(default=None)
    reopen_until: datetime | None = Moment(default=None)
    follows_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("conversation.id", ondelete="SET NULL")])
    correlation_id: str | None = Word(default=None)
    created_at: datetime = Now()
    updated_at: datetime = Now()


class Participant(SQLModel, table=True):
    """An agent who takes part besides the assignee: from another team, or a supervisor who listens or has joined."""

    __tablename__ = "conversation_participant"
    __table_args__ = (one_of("role", ParticipantRole),)
    conversation_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("conversation.id")])
    agent_id: UUID = Field(primary_key=True, index=True, sa_column_args=[ForeignKey("agent.id")])
    role: str = Word(default=ParticipantRole.COLLABORATOR)
    added_by: UUID | None = None
    created_at: datetime = Now()


class AgentRead(SQLModel, table=True):
    """How far an agent has read."""

    __tablename__ = "agent_read"
    conversation_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("conversation.id")])
    agent_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")])
    seq: int = 0


class Message(SQLModel, table=True):
    """`external_id` is the provider's stable key; with the channel it makes an inbound message exactly one row.

    `content` holds what is channel-specific: address, mail headers, kind of media, unmapped provider fields.
    `thread_key` is the mail Message-ID by which later mails find this conversation.
    """

    __table_args__ = (
        one_of("direction", Direction),
        one_of("kind", MessageKind),
        one_of("author_type", AuthorType),
        one_of("status", DeliveryStatus, nullable=True),
        Index(
            "uq_message_channel_external",
            "channel_id",
            "external_id",
            unique=True,
            postgresql_where="external_id IS NOT NULL",
        ),
        Index("uq_message_conversation_seq", "conversation_id", "seq", unique=True),
        Index(
            "uq_message_author_client",
            "conversation_id",
            "author_id",
            "client_message_id",
            unique=True,
            postgresql_where="client_message_id IS NOT NULL AND direction <> 'inbound'",
        ),
        Index("ix_message_thread", "channel_id", "thread_key", postgresql_where="thread_key IS NOT NULL"),
        Index(
            "ix_message_provider",
            "channel_id",
            "provider_message_id",
            postgresql_where="provider_message_id IS NOT NULL",
        ),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(sa_column_args=[ForeignKey("conversation.id")])
    seq: int
    channel_id: UUID
    direction: str = Word()
    kind: str = Word(default=MessageKind.MESSAGE)
    author_type: str = Word()
    author_id: UUID | None = None
    author_name: str | None = Word(default=None)
    text: str = Word(default="")
    subject: str | None = Word(default=None)
    content: dict[str, Any] = Json({})
    attachments: list[dict[str, Any]] = Json([])
    external_id: str | None = Word(default=None)
    thread_key: str | None = Word(default=None)
    client_message_id: str | None = Word(default=None)
    provider_message_id: str | None = Word(default=None)
    status: str | None = Word(default=None)
    error: str | None = Word(default=None)
    error_code: str | None = Word(default=None)
    correlation_id: str | None = Word(default=None)
    sent_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class Attachment(SQLModel, table=True):
    """A stored file; the bytes lie in the store under their SHA-256, once however often they arrive."""

    id: UUID = Id()
    sha256: str = Word(index=True)
    size: int = Field(sa_type=BigInteger)
    media_type: str = Word()
    name: str = Word()
    message_id: UUID | None = Field(default=None, index=True, sa_column_args=[ForeignKey("message.id")])
    created_at: datetime = Now()


class MediaFetch(SQLModel, table=True):
    """A file of a message that is still at its provider; the row goes when the file is stored or given up."""

    __tablename__ = "media_fetch"
    __table_args__ = (Index("ix_media_fetch_due", "due_at", "attachment_id"),)
    attachment_id: UUID = Field(primary_key=True)
    message_id: UUID = Field(sa_column_args=[ForeignKey("message.id")])
    conversation_id: UUID
    channel_id: UUID
    ref: dict[str, Any] = Json({})
    attempts: int = 0
    due_at: datetime = Now()
    lease_until: datetime | None = Moment(default=None)
    first_attempt_at: datetime | None = Moment(default=None)
