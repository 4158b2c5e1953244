"""Mailboxes that are read by IMAP: how far each was read and by whom, and the mails that could not be taken in."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Word, one_of


class MailboxState(StrEnum):
    """`refused`: the server does not know our name or password, so it is asked rarely."""

    NEW = "new"
    READING = "reading"
    WATCHING = "watching"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class ParkedState(StrEnum):
    PARKED = "parked"
    STORED = "stored"
    DISCARDED = "discarded"


class Mailbox(SQLModel, table=True):
    """One row per channel with an `imap_url`. `source` is the mailbox (host, user, folder): another one begins anew.

    Every UID up to `last_uid` is stored or parked, as long as the server's `uid_validity` stays. `since` is what "new"
    counts from. `lease` names the reader whose turn it is until `lease_until`: only it may move the cursor.
    """

    __table_args__ = (one_of("state", MailboxState),)
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    source: str = Word(default="")
    uid_validity: int | None = Field(default=None, sa_type=BigInteger)
    last_uid: int = Field(default=0, sa_type=BigInteger)
    since: datetime = Now()
    state: str = Word(default=MailboxState.NEW)
    detail: str | None = Word(default=None)
    state_at: datetime = Now()
    attempts: int = 0
    due_at: datetime = Now()
    lease: UUID | None = None
    lease_until: datetime | None = Moment(default=None)


class ParkedMail(SQLModel, table=True):
    """A mail that could not be taken in: its raw bytes (only the header of one that was too large), and why.

    `digest` keeps one mail from being parked twice. `size` is what the server said.
    """

    __tablename__ = "parked_mail"
    __table_args__ = (
        one_of("state", ParkedState),
        Index("uq_parked_mail_digest", "channel_id", "digest", unique=True),
    )
    id: UUID = Id()
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    uid_validity: int = Field(sa_type=BigInteger)
    uid: int = Field(sa_type=BigInteger)
    digest: str = Word()
    size: int = Field(sa_type=BigInteger)
    whole: bool
    raw: bytes = Field(sa_type=LargeBinary)
    reason: str = Word()
    state: str = Word(default=ParkedState.PARKED)
    parked_at: datetime = Now()
    settled_at: datetime | None = Moment(default=None)


class CallToken(SQLModel, table=True):
    """A one-time word of a provider's signed call that does not cover its body: the same word, another body is a forgery."""

    __tablename__ = "call_token"
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    token: str = Word(primary_key=True)
    digest: str = Word()
    seen_at: datetime = Now()
