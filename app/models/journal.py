"""Every genuine call from outside, raw, before anything is made of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlmodel import Field, SQLModel

from app.models.base import Id, Json, Moment, Now, Word, one_of
from app.models.words import JournalStatus


class InboundJournal(SQLModel, table=True):
    """`error` says, per item, what could not be understood; such rows can be replayed after a fix."""

    __tablename__ = "inbound_journal"
    __table_args__ = (
        one_of("status", JournalStatus),
        Index("ix_inbound_journal_unsettled", "status", "id", postgresql_where="status IN ('failed', 'received')"),
        Index("ix_inbound_journal_channel", "channel_id", "id"),
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    transport: str = Word()
    headers: dict[str, Any] = Json({})
    body: bytes = Field(sa_type=LargeBinary)
    status: str = Word()
    error: str | None = Word(default=None)
    correlation_id: str | None = Word(default=None)
    received_at: datetime = Now()


class ChannelCursor(SQLModel, table=True):
    """How far a source of a channel was read whose messages are pulled (intake/pulling.py).

    `bell` is the newest call that rang it, at `rung_at`. `due_at`: when to pull next; None when nothing waits there.
    `attempts` failed in a row. `lease_until` is whose turn it is: only who set it may move the cursor.
    """

    __tablename__ = "channel_cursor"
    __table_args__ = (Index("ix_channel_cursor_due", "due_at", postgresql_where="due_at IS NOT NULL"),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    source: str = Word(primary_key=True)
    cursor: str = Word(default="")
    bell: dict[str, str] = Json({})
    rung_at: datetime = Now()
    lease_until: datetime | None = Moment(default=None)
    attempts: int = 0
    due_at: datetime | None = Moment(default=None)
