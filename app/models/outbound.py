"""What is to be sent, and every attempt at it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word


class Outbox(SQLModel, table=True):
    """A message on its way out; the row goes when the outcome is settled. Per conversation the lowest id goes first."""

    __table_args__ = (
        Index("ix_outbox_channel_due", "channel_id", "due_at", "id"),
        Index("ix_outbox_conversation", "conversation_id", "id"),
    )
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    message_id: UUID = Field(unique=True, sa_column_args=[ForeignKey("message.id")])
    conversation_id: UUID
    channel_id: UUID
    attempts: int = 0
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
