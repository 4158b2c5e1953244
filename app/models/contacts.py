"""The customer and the names they go by on each channel."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Word


class Contact(SQLModel, table=True):
    """`merged_into` is set on one that turned out to be another: everything it had is there."""

    id: UUID = Id()
    name: str | None = Word(default=None)
    email: str | None = Word(default=None)
    phone: str | None = Word(default=None)
    language: str | None = Word(default=None)
    tier: str = Word(default="standard")
    attributes: dict[str, Any] = Json({})
    merged_into: UUID | None = Field(default=None, sa_column_args=[ForeignKey("contact.id", ondelete="SET NULL")])
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class ContactIdentity(SQLModel, table=True):
    """`(channel, kind, value)` names one person: a Telegram user id, a mail address, a visitor.

    `same_as` is the identity that this one goes by since they told us who they are: messages of both are that one's.
    """

    __tablename__ = "contact_identity"
    __table_args__ = (Index("uq_contact_identity_channel_kind_value", "channel_id", "kind", "value", unique=True),)
    id: UUID = Id()
    contact_id: UUID = Field(index=True, sa_column_args=[ForeignKey("contact.id", ondelete="CASCADE")])
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    kind: str = Word()
    value: str = Word()
    address: dict[str, Any] = Json({})
    same_as: UUID | None = Field(default=None, sa_column_args=[ForeignKey("contact_identity.id", ondelete="SET NULL")])
    created_at: datetime = Now()


class ProfileLookup(SQLModel, table=True):
    """The provider is asked once who an identity is; `due_at` is None once it has told, or never will (`error` says why)."""

    __tablename__ = "profile_lookup"
    __table_args__ = (Index("ix_profile_lookup_due", "channel_id", "due_at", postgresql_where="due_at IS NOT NULL"),)
    identity_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("contact_identity.id", ondelete="CASCADE")])
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    attempts: int = 0
    due_at: datetime | None = Moment(default=None)
    error: str | None = Word(default=None)
    created_at: datetime = Now()


class Visitor(SQLModel, table=True):
    """One browser with our widget; its 256-bit token is stored as a digest."""

    __table_args__ = (Index("uq_visitor_digest", "digest", unique=True),)
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    digest: bytes = Field(sa_type=LargeBinary)
    identity_kind: str = Word(default="visitor")
    identity_value: str = Word()
    name: str | None = Word(default=None)
    email: str | None = Word(default=None)
    last_seen_at: datetime = Now()
    expires_at: datetime = Moment()
    created_at: datetime = Now()
