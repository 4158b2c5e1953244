"""Clocks that run against a conversation."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word, one_of
from app.models.words import ClockMetric, ClockState


class SlaClock(SQLModel, table=True):
    """`next_at` is when the watcher has to look again (warning, then deadline); None when it never has to.

    Elapsed time is `elapsed_us` plus what has run since `running_since`. A breach carries its deadline as its time.
    """

    __tablename__ = "sla_clock"
    __table_args__ = (
        one_of("metric", ClockMetric),
        one_of("state", ClockState),
        Index("uq_sla_clock_conversation_metric_cycle", "conversation_id", "metric", "cycle", unique=True),
        Index("ix_sla_clock_next", "next_at", postgresql_where="next_at IS NOT NULL"),
        {"postgresql_with": {"fillfactor": 80}},
    )
    id: UUID = Id()
    conversation_id: UUID = Field(sa_column_args=[ForeignKey("conversation.id")])
    policy_id: UUID = Field(sa_column_args=[ForeignKey("sla_policy.id")])
    metric: str = Word()
    cycle: int = 1
    target_s: int
    warn_percent: int
    state: str = Word(default=ClockState.RUNNING)
    elapsed_us: int = Field(default=0, sa_type=BigInteger)
    running_since: datetime | None = Moment(default=None)
    warn_at: datetime | None = Moment(default=None)
    due_at: datetime | None = Moment(default=None)
    next_at: datetime | None = Moment(default=None)
    warned_at: datetime | None = Moment(default=None)
    breached_at: datetime | None = Moment(default=None)
    met_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()
