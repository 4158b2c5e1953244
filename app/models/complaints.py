"""Complaints: the record that is kept of one, why it happened, and what is done so that it does not again."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word, one_of
from app.models.words import ComplaintProgress, CorrectiveStatus


class Complaint(SQLModel, table=True):
    """One per conversation, made by the database when the conversation is classified as a complaint (complaints/register.sql).

    `number` counts all of them (sequence `complaint_number`). Type, severity, channel, customer and agents are the conversation's. `what`, `product`, `demands` and `result` are
    written by people. `anonymous`: the register names nobody.
    """

    __table_args__ = (
        one_of("progress", ComplaintProgress),
        Index("uq_complaint_number", "number", unique=True),
        Index("ix_complaint_registered", "registered_at"),
    )
    conversation_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("conversation.id", ondelete="CASCADE")])
    number: int
    registered_at: datetime = Now()
    what: str | None = Word(default=None)
    product: str | None = Word(default=None)
    demands: str | None = Word(default=None)
    occurred_at: datetime | None = Moment(default=None)
    anonymous: bool = False
    progress: str = Word(default=ComplaintProgress.REGISTERED)
    result: str | None = Word(default=None)
    version: int = 1
    updated_at: datetime = Now()


class ComplaintStep(SQLModel, table=True):
    """When a complaint got as far as this, and by whom (None: by a key)."""

    __tablename__ = "complaint_step"
    __table_args__ = (one_of("progress", ComplaintProgress),)
    complaint_id: UUID = Field(
        primary_key=True, sa_column_args=[ForeignKey("complaint.conversation_id", ondelete="CASCADE")]
    )
    progress: str = Word(primary_key=True)
    agent_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id", ondelete="SET NULL")])
    note: str | None = Word(default=None)
    created_at: datetime = Now()


class ComplaintCause(SQLModel, table=True):
    """Why something happened: of the complaint itself, or of the cause `parent_id`. Five whys are a chain of five."""

    __tablename__ = "complaint_cause"
    id: UUID = Id()
    complaint_id: UUID = Field(index=True, sa_column_args=[ForeignKey("complaint.conversation_id", ondelete="CASCADE")])
    parent_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("complaint_cause.id", ondelete="CASCADE")])
    position: int
    text: str = Word()
    root: bool = False


class CorrectiveAction(SQLModel, table=True):
    """Work of ours so that it does not happen again: what, whose, by when, and whether it helped.

    It is overdue when `due_on` is over and it is not done; `told_at` says when its owner was told so.
    """

    __tablename__ = "corrective_action"
    __table_args__ = (
        one_of("status", CorrectiveStatus),
        CheckConstraint("(status = 'done') = (done_at IS NOT NULL)", name="done"),
        Index(
            "ix_corrective_action_untold",
            "due_on",
            postgresql_where="told_at IS NULL AND status NOT IN ('done', 'cancelled')",
        ),
    )
    id: UUID = Id()
    complaint_id: UUID = Field(index=True, sa_column_args=[ForeignKey("complaint.conversation_id", ondelete="CASCADE")])
    text: str = Word()
    owner_id: UUID = Field(index=True, sa_column_args=[ForeignKey("agent.id")])
    due_on: date
    status: str = Word(default=CorrectiveStatus.NOT_STARTED)
    effect: str | None = Word(default=None)
    done_at: datetime | None = Moment(default=None)
    told_at: datetime | None = Moment(default=None)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()
