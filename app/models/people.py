"""Agents, their sockets and tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Texts, Word, one_of
from app.models.words import Availability, Role, TokenKind


class Agent(SQLModel, table=True):
    """`load` is the weight held by pending offers and open assignments, in the same units as `capacity`.

    `missed_offers` counts offers in a row that they let pass. `phone` is where they are rung: E.164, or a SIP address.
    """

    __table_args__ = (
        one_of("role", Role),
        one_of("availability", Availability),
        CheckConstraint("load >= 0", name="load_not_negative"),
        CheckConstraint("capacity >= 0", name="capacity_not_negative"),
    )
    id: UUID = Id()
    name: str = Word()
    email: str = Word(unique=True)
    phone: str | None = Word(default=None)
    role: str = Word(default=Role.AGENT)
    capacity: int = 6
    load: int = 0
    skills: list[str] = Texts()
    languages: list[str] = Texts()
    availability: str = Word(default=Availability.OFFLINE)
    active: bool = True
    last_offered_at: datetime | None = Moment(default=None)
    missed_offers: int = 0
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class AgentSession(SQLModel, table=True):
    """One open desk socket. Presence is a lease: a process that dies stops renewing it."""

    __tablename__ = "agent_session"
    id: UUID = Id()
    agent_id: UUID = Field(sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")], index=True)
    process: str = Word()
    lease_until: datetime = Moment()
    closed_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()


class ApiToken(SQLModel, table=True):
    """Only the digest is stored; the token itself is shown once."""

    __tablename__ = "api_token"
    __table_args__ = (one_of("kind", TokenKind), Index("uq_api_token_digest", "digest", unique=True))
    id: UUID = Id()
    kind: str = Word()
    name: str = Word()
    digest: bytes = Field(sa_type=LargeBinary)
    agent_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("agent.id", ondelete="CASCADE")])
    role: str = Word(default=Role.ADMIN)
    revoked_at: datetime | None = Moment(default=None)
    created_at: datetime = Now()
