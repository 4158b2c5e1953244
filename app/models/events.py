"""The append-only log: the audit and the stream in one table."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, Identity, Index
from sqlmodel import Field, SQLModel

from app.models.base import Json, Now, Uuids, Word, one_of
from app.models.words import EventScope


class Event(SQLModel, table=True):
    """`(pos, id)` is the order of the stream; events/log.py says why. Rows are never changed.

    `queues` and `agents` say who may see it (with supervisors and administrators); `to_customer` whether the
    widget does, if it is one of `channel_id` and of the contact. `payload` is the body of the frame.
    """

    __table_args__ = (
        one_of("scope", EventScope),
        Index("ix_event_stream", "pos", "id"),
        Index("ix_event_created", "created_at", postgresql_using="brin"),
        Index("ix_event_conversation", "conversation_id", "id"),
    )
    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    pos: int = Field(sa_type=BigInteger)
    type: str = Word()
    conversation_id: UUID | None = None
    contact_id: UUID | None = None
    channel_id: UUID | None = None
    seq: int | None = None
    scope: str = Word(default=EventScope.CONVERSATION)
    queues: list[UUID] = Uuids()
    agents: list[UUID] = Uuids()
    to_customer: bool = False
    actor_type: str = Word(default="system")
    actor_id: UUID | None = None
    correlation_id: str | None = Word(default=None)
    payload: dict[str, Any] = Json({})
    created_at: datetime = Now()
