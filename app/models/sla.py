"""Clocks that run against a conversation, and what comes of them."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Uuids, Word, one_of
from app.models.words import ActionState, ClockMetric, ClockState, JobState


class SlaClock(SQLModel, table=True):
    """One limit of one conversation. All writers hold the conversation.

    Elapsed time is `elapsed_us` plus the open time of its calendar (none: 24x7) since `running_since`. `stage_at` are
    the moments of its stages: warnings, the breach (the `breach_stage`th), escalations; `stage` of them have been told.
    `next_at` is the next one, None when there is none. With a `next_at` and no `stage_at` the watcher has to work the
    stages out first. `turn` is the message that started it, where a metric comes more than once in a cycle, else 0.
    A breach carries its deadline as its time. `retargeted_at`: when it was given other limits while it ran.
    """

    __tablename__ = "sla_clock"
    __table_args__ = (
        one_of("metric", ClockMetric),
        one_of("state", ClockState),
        Index("uq_sla_clock_conversation_metric_cycle_turn", "conversation_id", "metric", "cycle", "turn", unique=True),
        Index(
            "uq_sla_clock_next_response",
            "conversation_id",
            unique=True,
            postgresql_where="metric = 'next_response' AND state = 'running'",
        ),
        Index("ix_sla_clock_next", "next_at", postgresql_where="next_at IS NOT NULL"),
        Index(
            "ix_sla_clock_calendar",
            "calendar_id",
            "calendar_version",
            postgresql_where="state = 'running' AND calendar_id IS NOT NULL",
        ),
        {"postgresql_with": {"fillfactor": 80}},
    )
    id: UUID = Id()
    conversation_id: UUID = Field(sa_column_args=[ForeignKey("conversation.id")])
    policy_id: UUID = Field(sa_column_args=[ForeignKey("sla_policy.id")])
    metric: str = Word()
    cycle: int = 1
    turn: int = 0
    target_s: int
    calendar_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("calendar.id")])
    calendar_version: int | None = None
    state: str = Word(default=ClockState.RUNNING)
    elapsed_us: int = Field(default=0, sa_type=BigInteger)
    running_since: datetime | None = Moment(default=None)
    stage: int = 0
    breach_stage: int = 1
    level: int = 0
    stage_at: list[datetime] = Field(default_factory=list, sa_type=ARRAY(DateTime(timezone=True)), nullable=False)
    due_at: datetime | None = Moment(default=None)
    next_at: datetime | None = Moment(default=None)
    warned_at: datetime | None = Moment(default=None)
    breached_at: datetime | None = Moment(default=None)
    retargeted_at: datetime | None = Moment(default=None)
    met_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class SlaPause(SQLModel, table=True):
    """When a clock stood still, and why."""

    __tablename__ = "sla_pause"
    id: UUID = Id()
    clock_id: UUID = Field(index=True, sa_column_args=[ForeignKey("sla_clock.id", ondelete="CASCADE")])
    reason: str = Word()
    started_at: datetime = Moment()
    ended_at: datetime | None = Moment(default=None)


class SlaAction(SQLModel, table=True):
    """Something to do because a stage of a clock fired; written with the firing, done once by a loop.

    `action` is one of {"notify": "owner" | "supervisor" | "manager"}, {"priority": n}, {"requeue": true},
    {"add_team": id}, {"webhook": url}.
    """

    __tablename__ = "sla_action"
    __table_args__ = (
        one_of("state", ActionState),
        Index("uq_sla_action_clock_policy_stage", "clock_id", "policy_id", "stage", "position", unique=True),
        Index("ix_sla_action_due", "due_at", "id", postgresql_where="state = 'pending'"),
    )
    id: UUID = Id()
    clock_id: UUID = Field(sa_column_args=[ForeignKey("sla_clock.id", ondelete="CASCADE")])
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    policy_id: UUID = Field(sa_column_args=[ForeignKey("sla_policy.id")])
    metric: str = Word()
    stage: int
    position: int
    kind: str = Word()
    level: int = 0
    action: dict[str, Any] = Json({})
    state: str = Word(default=ActionState.PENDING)
    attempts: int = 0
    due_at: datetime = Now()
    lease_until: datetime | None = Moment(default=None)
    error: str | None = Word(default=None)
    done_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class SlaAttainmentDelta(SQLModel, table=True):
    """What one clock adds to its day's figures; inserted in the transaction that makes it so, folded by a loop.

    Each clock that comes to an end in time is `met` once, each that misses its deadline `breached` once (and `late`
    when it is met after all). `elapsed_us` is its business time when it was met, late or not.
    """

    __tablename__ = "sla_attainment_delta"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    day: date
    policy_id: UUID
    metric: str = Word()
    channel_id: UUID
    queue_id: UUID | None = None
    agent_id: UUID | None = None
    met: int
    breached: int
    late: int
    elapsed_us: int = Field(sa_type=BigInteger)


class SlaAttainment(SQLModel, table=True):
    """The same, added up. `day` is that of UTC; `agent_id` is who had the conversation."""

    __tablename__ = "sla_attainment"
    __table_args__ = (
        Index(
            "uq_sla_attainment",
            "day",
            "policy_id",
            "metric",
            "channel_id",
            "queue_id",
            "agent_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
    id: UUID = Id()
    day: date
    policy_id: UUID
    metric: str = Word()
    channel_id: UUID
    queue_id: UUID | None = None
    agent_id: UUID | None = None
    met: int = Field(default=0, sa_type=BigInteger)
    breached: int = Field(default=0, sa_type=BigInteger)
    late: int = Field(default=0, sa_type=BigInteger)
    elapsed_us: int = Field(default=0, sa_type=BigInteger)


class SlaJob(SQLModel, table=True):
    """A policy applied to the conversations that are open: how far it has come.

    The walk follows the index of open conversations from (`at_identity`, `at_channel`); those in others' hands are
    kept in `left_ids` and tried again.
    """

    __tablename__ = "sla_job"
    __table_args__ = (
        one_of("state", JobState),
        CheckConstraint("seen >= 0", name="seen_not_negative"),
        Index("ix_sla_job_running", "id", postgresql_where="state = 'running'"),
    )
    id: UUID = Id()
    policy_id: UUID = Field(index=True, sa_column_args=[ForeignKey("sla_policy.id")])
    state: str = Word(default=JobState.RUNNING)
    at_identity: UUID | None = None
    at_channel: UUID | None = None
    walked: bool = False
    left_ids: list[UUID] = Uuids()
    seen: int = 0
    changed: int = 0
    created_at: datetime = Now()
    finished_at: datetime | None = Moment(default=None)


class CalendarVersion(SQLModel, table=True):
    """What a calendar said from `since` on; kept by a trigger, so that time counted under it stays counted."""

    __tablename__ = "calendar_version"
    calendar_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("calendar.id", ondelete="CASCADE")])
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    since: datetime = Moment()
    name: str = Word()
    time_zone: str = Word()
    weekly: dict[str, Any] = Json({})
    exceptions: dict[str, Any] = Json({})
    holidays: dict[str, Any] | None = Json()
