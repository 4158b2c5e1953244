"""What an operator sets up: channels, queues, weights, rules, policies, canned replies."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Texts, Word, one_of
from app.models.words import Category


class Queue(SQLModel, table=True):
    """`category` is the one it takes (none: any). Exactly one queue is the default, where everything else lands."""

    __table_args__ = (
        one_of("category", Category, nullable=True),
        Index("uq_queue_default", "is_default", unique=True, postgresql_where="is_default"),
        CheckConstraint("offer_timeout_s > 0", name="offer_timeout_positive"),
    )
    id: UUID = Id()
    name: str = Word()
    category: str | None = Word(default=None)
    skills: list[str] = Texts()
    offer_timeout_s: float | None = None
    is_default: bool = False
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class QueueMember(SQLModel, table=True):
    __tablename__ = "queue_member"
    queue_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("queue.id", ondelete="CASCADE")])
    agent_id: UUID = Field(primary_key=True, index=True, sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")])


class Channel(SQLModel, table=True):
    """One configured account of a channel type. `config` is public, `secrets` is sealed by the vault."""

    id: UUID = Id()
    type: str = Word(index=True)
    name: str = Word()
    queue_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("queue.id", ondelete="SET NULL")])
    config: dict[str, Any] = Json({})
    secrets: str = Word()
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class CategorySetting(SQLModel, table=True):
    """What a category costs of an agent's capacity, and how many seconds of head start it has in its queue."""

    __tablename__ = "category_setting"
    __table_args__ = (one_of("category", Category), CheckConstraint("weight > 0", name="weight_positive"))
    category: str = Word(primary_key=True)
    weight: int
    boost_s: float = 0
    version: int = 1


class ClassificationRule(SQLModel, table=True):
    """When any pattern matches, `scores` are added; routing/classify.py says how they decide."""

    __tablename__ = "classification_rule"
    id: UUID = Id()
    code: str = Word(unique=True)
    name: str = Word()
    position: int = 100
    patterns: list[str] = Texts()
    scores: dict[str, Any] = Json({})
    active: bool = True
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class SlaPolicy(SQLModel, table=True):
    """A version of a policy is never changed: an edit makes the next version and retires this one.

    `match` maps facts of a conversation to the accepted words; all must hold. First match by position wins.
    Targets are seconds; None means no such clock.
    """

    __tablename__ = "sla_policy"
    __table_args__ = (
        Index("uq_sla_policy_code_version", "code", "version", unique=True),
        Index("uq_sla_policy_current", "code", unique=True, postgresql_where="retired_at IS NULL"),
        CheckConstraint("warn_percent BETWEEN 1 AND 99", name="warn_percent"),
    )
    id: UUID = Id()
    code: str = Word()
    version: int = 1
    name: str = Word()
    position: int = 100
    match: dict[str, Any] = Json({})
    first_response_s: int | None = None
    resolution_s: int | None = None
    warn_percent: int = 80
    retired_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class CannedReply(SQLModel, table=True):
    __tablename__ = "canned_reply"
    id: UUID = Id()
    shortcut: str = Word(unique=True)
    language: str = Word(default="en")
    text: str = Word()
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()
