"""After resolving: the cycle that waits for the customer's word, and what they said."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Text
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Word, one_of
from app.models.words import CycleState

RECEIPT_CHANNELS = (
    *("email", "sms", "whatsapp", "telegram", "line", "wecom", "wechat", "messenger", "instagram", "viber", "slack"),
)


class ClosingPolicy(SQLModel, table=True):
    """How a matter is brought to its end: `match` maps facts to accepted words as SLA policies do, the first match by
    (position, code) counts. Times are seconds.

    A receipt that is not answered is asked about again after each of `remind_after_s`, and taken as confirmed after
    `confirm_after_s` (None: never). A message within `reopen_window_s` of closing goes on with the same matter, a later
    one follows it up. A contact who was asked to rate us within `survey_gap_s` is not asked again. A rating of `low_csat`
    or `low_nps` at most (None: none) opens a recovery task, due within `recovery_due_s`. A follow-up is missed when
    nothing is known of it `follow_up_grace_s` after its time. A receipt that the customer's own channel does not carry goes
    by the first of `receipt_channels` on which they are known and can be written to.
    """

    __tablename__ = "closing_policy"
    __table_args__ = (
        CheckConstraint("confirm_after_s > 0", name="confirm_after_positive"),
        CheckConstraint("reopen_window_s >= 0", name="reopen_window_not_negative"),
        CheckConstraint("survey_gap_s >= 0", name="survey_gap_not_negative"),
        CheckConstraint("low_csat BETWEEN 1 AND 5", name="low_csat"),
        CheckConstraint("low_nps BETWEEN 0 AND 10", name="low_nps"),
        CheckConstraint("recovery_due_s > 0", name="recovery_due_positive"),
        CheckConstraint("follow_up_grace_s >= 0", name="follow_up_grace_not_negative"),
    )
    id: UUID = Id()
    code: str = Word(unique=True)
    name: str = Word()
    position: int = 100
    match: dict[str, Any] = Json({})
    confirm_after_s: float | None = None
    remind_after_s: list[Any] = Json([])
    reopen_window_s: float = 604_800
    survey: bool = True
    survey_gap_s: float = 2_592_000
    low_csat: int | None = None
    low_nps: int | None = None
    recovery_due_s: float = 86_400
    follow_up_grace_s: float = 3_600
    receipt_channels: list[str] = Field(
        default_factory=lambda: list(RECEIPT_CHANNELS), sa_type=ARRAY(Text), nullable=False
    )
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class ResolutionCycle(SQLModel, table=True):
    """One resolve and the customer's answer to it. The three texts are the feedback receipt.

    `policy` is the closing policy as it was then. While it is pending, `next_at` is when to remind or, at `confirm_by`,
    to take silence as a yes. `reached_at`: the receipt went to that identity instead of the conversation's own, and an
    answer may come from there. `unreached`: the message that did not arrive, to be sent by another channel.
    """

    __tablename__ = "resolution_cycle"
    __table_args__ = (
        one_of("state", CycleState),
        Index("uq_resolution_cycle_conversation_number", "conversation_id", "number", unique=True),
        Index("uq_resolution_cycle_pending", "conversation_id", unique=True, postgresql_where="state = 'pending'"),
        Index("ix_resolution_cycle_due", "next_at", postgresql_where="next_at IS NOT NULL"),
        Index("ix_resolution_cycle_reached_at", "reached_at", postgresql_where="reached_at IS NOT NULL"),
        Index("ix_resolution_cycle_unreached", "unreached", postgresql_where="unreached IS NOT NULL"),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(sa_column_args=[ForeignKey("conversation.id")])
    number: int
    state: str = Word(default=CycleState.PENDING)
    problem: str = Word()
    resolution: str = Word()
    commitment: str = Word()
    language: str = Word(default="en")
    resolved_by: UUID | None = None
    channel_id: UUID
    queue_id: UUID | None = None
    message_id: UUID | None = None
    decided_at: datetime | None = Moment(default=None)
    decided_via: str | None = Word(default=None)
    policy: dict[str, Any] = Json({})
    survey_asked: bool = True
    reminders: int = 0
    confirm_by: datetime | None = Moment(default=None)
    next_at: datetime | None = Moment(default=None)
    reached_at: UUID | None = Field(
        default=None, sa_column_args=[ForeignKey("contact_identity.id", ondelete="SET NULL")]
    )
    unreached: UUID | None = None
    created_at: datetime = Now()


class SurveyResponse(SQLModel, table=True):
    """The customer's ratings of one cycle; anonymous ones are shown to agents without the customer's name."""

    __tablename__ = "survey_response"
    __table_args__ = (
        CheckConstraint("csat BETWEEN 1 AND 5", name="csat"),
        CheckConstraint("nps BETWEEN 0 AND 10", name="nps"),
        CheckConstraint("content BETWEEN 1 AND 5", name="content"),
        CheckConstraint("efficiency BETWEEN 1 AND 5", name="efficiency"),
        CheckConstraint("attitude BETWEEN 1 AND 5", name="attitude"),
    )
    id: UUID = Id()
    cycle_id: UUID = Field(unique=True, sa_column_args=[ForeignKey("resolution_cycle.id")])
    csat: int | None = None
    nps: int | None = None
    content: int | None = None
    efficiency: int | None = None
    attitude: int | None = None
    comment: str | None = Word(default=None)
    anonymous: bool = False
    created_at: datetime = Now()
    updated_at: datetime = Now()
