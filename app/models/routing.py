"""Who should answer: entries waiting in queues, offers, assignments, and why."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Texts, Word, one_of
from app.models.words import Category, ComplaintType, DecisionKind, EntryState, Matter, OfferStatus, Severity

LANE = ("queue_id", "escalated", "weight", "ring", "skills", "specialists")
"""Waiting entries that agree in these are alike for every agent, but for `excluded` and who has them."""


class QueueEntry(SQLModel, table=True):
    """A conversation that needs an agent. `order_at` = `enqueued_at` - the sum of `boosts`: the order of service.

    `escalated` entries are offered to supervisors first, with `specialists` to agents who have one of these skills as
    well. `excluded` lists agents who rejected or missed it, until `round_at`; `target_agent_id` alone is asked until
    `target_until`. `entered_at` is when it came into this queue: `ring` and what else its queue does with those who
    wait count from there; `next_at` is when the next of all these is due (routing/patience.py).
    """

    __tablename__ = "queue_entry"
    __table_args__ = (
        one_of("state", EntryState),
        Index(
            "ix_queue_entry_lane",
            *LANE,
            "order_at",
            "conversation_id",
            postgresql_where="state = 'waiting' AND target_agent_id IS NULL",
        ),
        Index("ix_queue_entry_target", "target_agent_id", postgresql_where="target_agent_id IS NOT NULL"),
        Index("ix_queue_entry_next", "next_at", postgresql_where="next_at IS NOT NULL"),
    )
    conversation_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("conversation.id")])
    queue_id: UUID = Field(index=True, sa_column_args=[ForeignKey("queue.id")])
    state: str = Word(default=EntryState.WAITING)
    weight: int
    skills: list[str] = Texts()
    escalated: bool = False
    specialists: list[str] = Texts()
    ring: int = 0
    target_agent_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id")])
    excluded: list[str] = Texts()
    note: str | None = Word(default=None)
    enqueued_at: datetime = Now()
    order_at: datetime = Now()
    boosts: dict[str, Any] = Json({})
    entered_at: datetime = Now()
    target_until: datetime | None = Moment(default=None)
    round_at: datetime | None = Moment(default=None)
    next_at: datetime | None = Moment(default=None)


class QueueCount(SQLModel, table=True):
    """How many entries a queue has in each state, kept by adding up `queue_delta`."""

    __tablename__ = "queue_count"
    queue_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("queue.id", ondelete="CASCADE")])
    waiting: int = 0
    offered: int = 0


class QueueDelta(SQLModel, table=True):
    """A change of those numbers, written by a trigger with the change itself and added up a moment later."""

    __tablename__ = "queue_delta"
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    queue_id: UUID
    waiting: int
    offered: int


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
    """One choice of the dispatcher with its candidates, scores and exclusions, or what else was done with an entry, as
    `GET .../routing` shows it."""

    __tablename__ = "routing_decision"
    __table_args__ = (one_of("kind", DecisionKind),)
    id: UUID = Id()
    conversation_id: UUID = Field(index=True, sa_column_args=[ForeignKey("conversation.id")])
    queue_id: UUID
    kind: str = Word(default=DecisionKind.OFFER)
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
