"""Making good: recovery tasks after a low score or a "not solved", and return contacts that were promised."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word, one_of
from app.models.words import FollowUpKind, FollowUpOutcome, FollowUpState, RecoveryCause, RecoveryState, Remedy

_TO_DO = "state IN ('open', 'in_progress') AND told_at IS NULL"


class RecoveryTask(SQLModel, table=True):
    """Somebody was not content: a supervisor makes it good by `due_at`, and the customer says whether that helped.

    At most one per cycle by itself; by hand as many as it takes, one at a time. It holds no rating: who may see one sees
    it in the survey response. `told_at`: when it was told to be overdue. `asked_at`: when the customer was asked.
    """

    __tablename__ = "recovery_task"
    __table_args__ = (
        one_of("cause", RecoveryCause),
        one_of("state", RecoveryState),
        one_of("remedy", Remedy, nullable=True),
        CheckConstraint("(amount IS NULL) = (currency IS NULL)", name="amount_with_currency"),
        Index("uq_recovery_task_cycle", "cycle_id", unique=True, postgresql_where="cause <> 'by_hand'"),
        Index("ix_recovery_task_to_do", "due_at", postgresql_where=_TO_DO),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id", ondelete="CASCADE")])
    cycle_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("resolution_cycle.id", ondelete="CASCADE")])
    cause: str = Word()
    state: str = Word(default=RecoveryState.OPEN)
    assignee_id: UUID | None = Field(
        default=None, index=True, sa_column_args=[ForeignKey("agent.id", ondelete="SET NULL")]
    )
    due_at: datetime = Moment()
    remedy: str | None = Word(default=None)
    text: str | None = Word(default=None)
    amount: Decimal | None = Field(default=None, sa_type=Numeric(15, 3))
    currency: str | None = Word(default=None)
    told_at: datetime | None = Moment(default=None)
    done_at: datetime | None = Moment(default=None)
    asked_at: datetime | None = Moment(default=None)
    decided_at: datetime | None = Moment(default=None)
    decided_via: str | None = Word(default=None)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class FollowUp(SQLModel, table=True):
    """A return contact: at `due_at` its assignee is told, and `grace_s` later they and the supervisors that it is missed.

    `next_at` is when to tell the next of these, None when there is nothing more to tell. `follows_id` is the one that was
    put off for it.
    """

    __tablename__ = "follow_up"
    __table_args__ = (
        one_of("kind", FollowUpKind),
        one_of("state", FollowUpState),
        one_of("outcome", FollowUpOutcome, nullable=True),
        CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name="outcome_when_done"),
        CheckConstraint("grace_s >= 0", name="grace_not_negative"),
        Index("ix_follow_up_next", "next_at", postgresql_where="next_at IS NOT NULL"),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id", ondelete="CASCADE")])
    kind: str = Word()
    due_at: datetime = Moment()
    grace_s: float
    assignee_id: UUID = Field(index=True, sa_column_args=[ForeignKey("agent.id")])
    note: str | None = Word(default=None)
    state: str = Word(default=FollowUpState.PLANNED)
    outcome: str | None = Word(default=None)
    result: str | None = Word(default=None)
    follows_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("follow_up.id", ondelete="SET NULL")])
    next_at: datetime | None = Moment(default=None)
    due_told_at: datetime | None = Moment(default=None)
    missed_at: datetime | None = Moment(default=None)
    done_at: datetime | None = Moment(default=None)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()
