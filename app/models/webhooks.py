"""Other systems that are told what happens: their endpoints, and what each has still to be told."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlmodel import Field, SQLModel

from app.models.base import Id, Moment, Now, Texts, Uuids, Word, one_of


class DeliveryState(StrEnum):
    """Of one event on its way to one endpoint."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class WebhookEndpoint(SQLModel, table=True):
    """`events` are names, or `*`. Empty filters let everything through. `secrets` is sealed: the current one, and until
    `old_secret_until` the one before it. `off_reason` says why we switched it off ourselves."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (CheckConstraint("max_in_flight > 0", name="max_in_flight_positive"),)
    id: UUID = Id()
    url: str = Word()
    description: str | None = Word(default=None)
    events: list[str] = Texts()
    channel_ids: list[UUID] = Uuids()
    queue_ids: list[UUID] = Uuids()
    include_notes: bool = False
    max_in_flight: int = 8
    secrets: str = Word()
    old_secret_until: datetime | None = Moment(default=None)
    active: bool = True
    off_reason: str | None = Word(default=None)
    version: int = 1
    created_at: datetime = Now()
    updated_at: datetime = Now()


class WebhookCursor(SQLModel, table=True):
    """How far in the event log an endpoint's queue was filled; a row of its own, because only the filling holds it."""

    __tablename__ = "webhook_cursor"
    endpoint_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("webhook_endpoint.id", ondelete="CASCADE")])
    pos: int = Field(sa_type=BigInteger)
    event_id: int = Field(sa_type=BigInteger)


class WebhookBreaker(SQLModel, table=True):
    """How an endpoint has answered lately: `failures` in a row, `probes` of them alone while it was down.

    It is not called before `not_before`: the next probe, or what it asked for itself.
    """

    __tablename__ = "webhook_breaker"
    endpoint_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("webhook_endpoint.id", ondelete="CASCADE")])
    failures: int = 0
    probes: int = 0
    failing_since: datetime | None = Moment(default=None)
    not_before: datetime | None = Moment(default=None)
    last_error: str | None = Word(default=None)
    last_error_at: datetime | None = Moment(default=None)


class WebhookLane(SQLModel, table=True):
    """One conversation that an endpoint has still to be told of: whoever leases it calls with its events in their order.

    A test call has a lane of its own. `turn` counts the leases, so that one that was overtaken is known.
    """

    __tablename__ = "webhook_lane"
    __table_args__ = (Index("ix_webhook_lane_due", "endpoint_id", "due_at", "lane_id"),)
    endpoint_id: UUID = Field(primary_key=True, sa_column_args=[ForeignKey("webhook_endpoint.id", ondelete="CASCADE")])
    lane_id: UUID = Field(primary_key=True)
    due_at: datetime = Now()
    lease_until: datetime | None = Moment(default=None)
    turn: int = 0


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint. `id` is the call's `webhook-id`, made of endpoint and event: however often an event is
    queued, it is the same. The body is made of the event when it is sent. In a lane `event_id` is the order.

    A test call has the event 0. `queued_at` is when it was queued last; `attempts` count from then.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        one_of("state", DeliveryState),
        Index("ix_webhook_delivery_lane", "endpoint_id", "lane_id", "event_id", postgresql_where="state = 'waiting'"),
        Index("ix_webhook_delivery_listed", "endpoint_id", "state", "event_id", "id"),
        Index("ix_webhook_delivery_old", "queued_at", postgresql_where="state = 'waiting'"),
        Index("ix_webhook_delivery_done", "state", "done_at", postgresql_where="state <> 'waiting'"),
    )
    id: UUID = Id()
    endpoint_id: UUID = Field(sa_column_args=[ForeignKey("webhook_endpoint.id", ondelete="CASCADE")])
    lane_id: UUID
    event_id: int = Field(sa_type=BigInteger)
    conversation_id: UUID | None = None
    type: str = Word()
    state: str = Word(default=DeliveryState.WAITING)
    attempts: int = 0
    status: int | None = None
    error: str | None = Word(default=None)
    queued_at: datetime = Now()
    done_at: datetime | None = Moment(default=None)
