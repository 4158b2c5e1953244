"""What was heard of a telephone call, whoever tells first."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Json, Now, Word


class Call(SQLModel, table=True):
    """`updates` are all that was told, each once by its key, in the order of their coming; how the call stands is worked
    out of them (conversations/calls_fold.py). A call that we place is named by its message until its provider names it.

    `message_id` and its conversation are None until somebody told who calls. `over`: nobody is on the line any more.
    """

    __table_args__ = (
        Index("uq_call_message", "message_id", unique=True),
        Index("ix_call_conversation", "conversation_id"),
    )
    channel_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("channel.id", ondelete="CASCADE")])
    call_id: str = Word(primary_key=True)
    message_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("message.id")])
    conversation_id: UUID | None = Field(default=None, sa_column_args=[ForeignKey("conversation.id")])
    updates: list[dict[str, Any]] = Json([])
    over: bool = False
    created_at: datetime = Now()
