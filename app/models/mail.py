"""What is remembered of mails besides the messages they became."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Now, Word


class AutomaticMail(SQLModel, table=True):
    """An automatic message of ours that was given to a channel for an address: how many of them one address gets in a day
    is limited (delivery/automatic.py). Rows older than that are swept."""

    __tablename__ = "automatic_mail"
    __table_args__ = (Index("ix_automatic_mail_address", "channel_id", "address", "at"),)
    message_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("message.id", ondelete="CASCADE")])
    channel_id: UUID = Field(sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    address: str = Word()
    at: datetime = Now()
