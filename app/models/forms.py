"""What a form leaves besides its message: consents, and short-lived marks against repetition and floods."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word


class Consent(SQLModel, table=True):
    """What a contact agreed to, by which message, in which words (`digest` is the SHA-256 of `text`)."""

    id: UUID = Id()
    contact_id: UUID = Field(index=True, sa_column_args=[ForeignKey("contact.id", ondelete="CASCADE")])
    purpose: str = Word()
    version: str = Word()
    text: str = Word()
    digest: str = Word()
    channel_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("channel.id", ondelete="SET NULL")])
    message_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("message.id", ondelete="SET NULL")])
    given_at: datetime = Now()
    withdrawn_at: datetime | None = Moment(default=None)
    withdrawn_by: str | None = Word(default=None)


class FormSeen(SQLModel, table=True):
    """Submissions of the last day by digest: a repetition finds the `key` of the first one. Older rows go."""

    __tablename__ = "form_seen"
    __table_args__ = (Index("ix_form_seen_since", "since"),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    digest: str = Word(primary_key=True)
    key: str = Word()
    since: datetime = Now()


class FormCount(SQLModel, table=True):
    """How many submissions came by a channel, or from one address, since its window began. Older rows go."""

    __tablename__ = "form_count"
    __table_args__ = (Index("ix_form_count_since", "since"),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    source: str = Word(primary_key=True)
    hits: int = 0
    since: datetime = Now()
