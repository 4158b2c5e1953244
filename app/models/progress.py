"""Customers are told that their message came, and how their matter moves: by which rules, in which words, and what is due."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Texts, Word, one_of


class Announced(StrEnum):
    """What a notice tells."""

    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    ON_HOLD = "on_hold"
    TRANSFERRED = "transferred"
    REOPENED = "reopened"


CHANGES = (Announced.ASSIGNED, Announced.ON_HOLD, Announced.TRANSFERRED, Announced.REOPENED)
"""What can happen to a matter that its customer is told; the first message is acknowledged."""


class AnnouncementPolicy(SQLModel, table=True):
    """What customers are told without asking: `match` maps facts to accepted words as closing policies do, the first match by
    (position, code) counts. Times are seconds.

    A first message is acknowledged unless that would come later than `acknowledge_within_s`. `changes` are told at least
    `min_gap_s` apart and at most `per_day` within 24 hours; what comes in between becomes one notice of the present state.
    """

    __tablename__ = "announcement_policy"
    __table_args__ = (
        CheckConstraint("acknowledge_within_s > 0", name="acknowledge_within_positive"),
        CheckConstraint("min_gap_s >= 0", name="min_gap_not_negative"),
        CheckConstraint("per_day >= 0", name="per_day_not_negative"),
    )
    id: UUID = Id()
    code: str = Word(unique=True)
    name: str = Word()
    position: int = 100
    match: dict[str, Any] = Json({})
    acknowledge: bool = True
    acknowledge_within_s: float = 3_600
    changes: list[str] = Texts()
    min_gap_s: float = 900
    per_day: int = 3
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class AnnouncementText(SQLModel, table=True):
    """The operator's own words for a notice, instead of ours: in a language, for one type of channel or for all."""

    __tablename__ = "announcement_text"
    __table_args__ = (
        one_of("what", Announced),
        Index(
            "uq_announcement_text",
            "what",
            "language",
            "channel_type",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )
    id: UUID = Id()
    what: str = Word()
    language: str = Word()
    channel_type: str | None = Word(default=None)
    subject: str | None = Word(default=None)
    text: str = Word()
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class Announcement(SQLModel, table=True):
    """What the customer of a conversation is still to be told, and when they were told something lately.

    `assigned`: somebody had it before. No foreign key: whoever follows the log must never wait for a conversation.
    """

    __table_args__ = (Index("ix_announcement_due", "due_at", postgresql_where="due_at IS NOT NULL"),)
    conversation_id: UUID = Field(primary_key=True)
    acknowledge: bool = False
    assigned: bool = False
    changes: list[str] = Texts()
    told_at: list[datetime] = Field(default_factory=list, sa_type=ARRAY(DateTime(timezone=True)), nullable=False)
    due_at: datetime | None = Moment(default=None)
    updated_at: datetime = Now()


class AnnouncementCursor(SQLModel, table=True):
    """How far the event log was read for announcements; there is one row."""

    __tablename__ = "announcement_cursor"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    pos: int = Field(sa_type=BigInteger)
    event_id: int = Field(sa_type=BigInteger)
