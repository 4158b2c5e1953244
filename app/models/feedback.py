"""After resolving: the cycle that waits for the customer's word, and what they said."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word, one_of
from app.models.words import CycleState


class ResolutionCycle(SQLModel, table=True):
    """One resolve and the customer's answer to it. The three texts are the feedback receipt."""

    __tablename__ = "resolution_cycle"
    __table_args__ = (
        one_of("state", CycleState),
        Index("uq_resolution_cycle_conversation_number", "conversation_id", "number", unique=True),
        Index("uq_resolution_cycle_pending", "conversation_id", unique=True, postgresql_where="state = 'pending'"),
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
    message_id: UUID | None = None
    decided_at: datetime | None = Moment(default=None)
    decided_via: str | None = Word(default=None)
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
