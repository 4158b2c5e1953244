"""What is to be sent, every attempt at it, and what may be sent to whom and when."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Word, one_of
from app.models.words import AccountState, RefusalReason, TemplateStatus


class Outbox(SQLModel, table=True):
    """A message on its way out; the row goes when the outcome is settled. Per conversation the lowest id goes first.

    `waived` attempts do not count: they failed for the whole account, not for this message. `identity_id` is whom it
    goes to, where that is not the identity the conversation came by.
    """

    __table_args__ = (
        Index("ix_outbox_channel_due", "channel_id", "due_at", "id"),
        Index("ix_outbox_conversation", "conversation_id", "id"),
    )
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    message_id: UUID = Field(unique=True, sa_column_args=[ForeignKey("message.id")])
    conversation_id: UUID
    channel_id: UUID
    identity_id: UUID | None = None
    attempts: int = 0
    waived: int = 0
    due_at: datetime = Now()
    lease_until: datetime | None = Moment(default=None)
    first_attempt_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class DeliveryAttempt(SQLModel, table=True):
    """Written before the call goes out, so that a crash in flight leaves its trace; settled after."""

    __tablename__ = "delivery_attempt"
    id: UUID = Id()
    message_id: UUID = Field(index=True, sa_column_args=[ForeignKey("message.id")])
    number: int
    started_at: datetime = Now()
    ended_at: datetime | None = Moment(default=None)
    outcome: str | None = Word(default=None)
    detail: str | None = Word(default=None)


class ChannelState(SQLModel, table=True):
    """How an account stands at its provider, for all processes; a channel without a row is fine (delivery/accounts.py).

    Until `until` nothing is sent on it. `failures` counts what failed in a row. `half_open`: after `until` one message
    may find out whether it works again.
    """

    __tablename__ = "channel_state"
    __table_args__ = (one_of("state", AccountState),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    state: str = Word()
    detail: str | None = Word(default=None)
    failures: int = 0
    half_open: bool = False
    since: datetime = Now()
    until: datetime | None = Moment(default=None)


class MessageTemplate(SQLModel, table=True):
    """A text that the provider approved, with `{{1}}`, `{{2}}`, ... for its parameters: what may be sent at any time."""

    __tablename__ = "message_template"
    __table_args__ = (
        one_of("status", TemplateStatus),
        Index("uq_message_template_name", "channel_id", "name", "language", unique=True),
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    name: str = Word()
    language: str = Word()
    body: str = Word()
    status: str = Word(default=TemplateStatus.APPROVED)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class ContactRefusal(SQLModel, table=True):
    """Whether somebody is not to be written to on a channel, by the name they go by there; one row per reason.

    `refused` is false once it was taken back, so that older news of it changes nothing.
    """

    __tablename__ = "contact_refusal"
    __table_args__ = (one_of("reason", RefusalReason),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    kind: str = Word(primary_key=True)
    value: str = Word(primary_key=True)
    reason: str = Word(primary_key=True)
    refused: bool
    key: str = Word()
    at: datetime = Moment()
    detail: str | None = Word(default=None)
    created_at: datetime = Now()


class OrphanStatus(SQLModel, table=True):
    """What a provider said of a message of ours before its own answer had told us the message's id there."""

    __tablename__ = "orphan_status"
    __table_args__ = (
        Index("uq_orphan_status", "channel_id", "provider_message_id", "status", unique=True),
        Index("ix_orphan_status_created", "created_at"),
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    provider_message_id: str = Word()
    status: str = Word()
    detail: str | None = Word(default=None)
    error_code: str | None = Word(default=None)
    created_at: datetime = Now()


class EarlyChange(SQLModel, table=True):
    """An edit, deletion or reaction that was here before its message: `change` is what it says besides its columns."""

    __tablename__ = "early_change"
    __table_args__ = (
        Index("uq_early_change_key", "channel_id", "key", unique=True),
        Index("ix_early_change_external", "channel_id", "external_id"),
        Index("ix_early_change_created", "created_at"),
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    key: str = Word()
    external_id: str | None = Word(default=None)
    provider_message_id: str | None = Word(default=None)
    change: dict[str, Any] = Json({})
    created_at: datetime = Now()
