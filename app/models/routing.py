"""Who should answer: entries waiting in queues, offers, assignments, and why."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Texts, Word, one_of
from app.models.words import Category, ComplaintType, EntryState, Matter, OfferStatus, Severity


class QueueEntry(SQLModel, table=True):
    """A conversation that needs an agent. `order_at` = `enqueued_at` - boost: the order of service.

    `escalated` entries are offered to supervisors first. `excluded` lists agents who rejected or missed it.
    """

    __tablename__ = "queue_entry"
    __table_args__ = (
        one_of("state", EntryState),
        Index("ix_queue_entry_order", "order_at", "conversation_id", postgresql_where="state = 'waiting'"),
    )
    conversation_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("conversation.id")])
    queue_id: UUID = Field(index=True, sa_column_args=[ForeignKey("queue.id")])
    state: str = Word(default=EntryState.WAITING)
    weight: int
    skills: list[str] = Texts()
    escalated: bool = False
    target_agent_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id")])
    excluded: list[str] = Texts()
    note: str | None = Word(default=None)
    enqueued_at: datetime = Now()
    order_at: datetime = Now()


class Offer(SQLModel, table=True):
    """While pending it holds `weight` of the agent's capacity; at most one is pending per conversation."""

    __table_args__ = (
        one_of("status", OfferStatus),
        Index("uq_offer_pending", "conversation_id", unique=True, postgresql_where="status = 'pending'"),
        Index("ix_offer_expiry", "expires_at", postgresql_where="status = 'pending'"),
        Index("ix_offer_agent_pending", "agent_id", postgresql_where="status = 'pending'"),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    agent_id: UUID = Field(sa_column_args=[ForeignKey("agent.id")])
    queue_id: UUID
    weight: int
    status: str = Word(default=OfferStatus.PENDING)
    escalated: bool = False
    reason: str | None = Word(default=None)
    created_at: datetime = Now()
    expires_at: datetime = Moment()
    decided_at: datetime | None = Moment(default=None)


class Assignment(SQLModel, table=True):
    """An agent works on a conversation and pays `weight` of capacity until `ended_at`."""

    __table_args__ = (
        Index("uq_assignment_current", "conversation_id", unique=True, postgresql_where="ended_at IS NULL"),
        Index("ix_assignment_agent_current", "agent_id", postgresql_where="ended_at IS NULL"),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    agent_id: UUID = Field(sa_column_args=[ForeignKey("agent.id")])
    weight: int
    how: str = Word()
    started_at: datetime = Now()
    ended_at: datetime | None = Moment(default=None)


class RoutingDecision(SQLModel, table=True):
    """One choice of the dispatcher with its candidates, scores and exclusions, as `GET .../routing` shows it."""

    __tablename__ = "routing_decision"
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    queue_id: UUID
    agent_id: UUID | None = None
    offer_id: UUID | None = None
    explanation: dict[str, Any] = Json({})
    created_at: datetime = Now()


class Classification(SQLModel, table=True):
    """Each result with the rules that fired, and each correction with who made it and why."""

    __table_args__ = (
        one_of("category", Category),
        one_of("matter", Matter),
        one_of("severity", Severity, nullable=True),
        one_of("complaint_type", ComplaintType, nullable=True),
    )
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    message_id: UUID | None = None
    category: str = Word()
    matter: str = Word()
    severity: str | None = Word(default=None)
    complaint_type: str | None = Word(default=None)
    source: str = Word(default="rules")
    fired: list[dict[str, Any]] = Json([])
    agent_id: UUID | None = None
    reason: str | None = Word(default=None)
    created_at: datetime = Now()
