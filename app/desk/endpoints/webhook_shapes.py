"""What `/webhook-endpoints` takes and shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.delivery.webhooks.payload import ALL, EVENTS
from app.desk.endpoints.shared import Body, GivenMoment, Moment, Shape, Text, not_null
from app.errors import Invalid
from app.models.webhooks import DeliveryState

_IDS = 1_000
_DAYS_30 = 30 * 86_400


def _callable_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("must be an http:// or https:// URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be an http:// or https:// URL")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("must not have a user, a password or a fragment")
    return value


def _known_events(value: list[str]) -> list[str]:
    """Each once. `*` is all of them, also those that later versions add."""
    unknown = sorted(set(value) - {ALL, *EVENTS})
    if unknown:
        raise ValueError(f"there is no {', '.join(name[:50] for name in unknown)}; * or any of {', '.join(EVENTS)}")
    return list(dict.fromkeys(value))


Url = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=2_000), AfterValidator(_callable_url)]
Events = Annotated[list[str], Field(min_length=1, max_length=50), AfterValidator(_known_events)]
Ids = Annotated[list[UUID], Field(max_length=_IDS)]
InFlight = Annotated[int, Field(ge=1, le=64, description="calls at once, of each server process")]
Description = Annotated[Text, StringConstraints(max_length=500)]


class NewEndpoint(Body):
    """`events` are names, or `*`. Empty filters let everything through. `include_notes`: internal notes and whispers too,
    and what colleagues wrote as reasons."""

    url: Url
    events: Events
    description: Description | None = None
    active: bool = True
    channel_ids: Ids = Field(default_factory=list)
    queue_ids: Ids = Field(default_factory=list)
    include_notes: bool = False
    max_in_flight: InFlight = 8


class EndpointChange(Body):
    """Another `url`, or `active` set to true, makes it start over: what failed before counts no more."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    active: bool | None = None
    channel_ids: Ids | None = None
    queue_ids: Ids | None = None
    include_notes: bool | None = None
    max_in_flight: InFlight | None = None

    _not_null = model_validator(mode="after")(
        not_null("url", "events", "active", "channel_ids", "queue_ids", "include_notes", "max_in_flight")
    )


class EndpointShape(Shape):
    """`state`: `ok`; `failing` (the last calls failed); `down` (called by one event at a time, next at `next_try_at`, the
    others wait); `off` (not `active`; `off_reason` when we did it). `waiting` events are queued for it, the oldest since
    `oldest`; `dead` ones were given up. Until `old_secret_until` two secrets sign."""

    id: UUID
    url: str
    events: list[str]
    description: str | None
    active: bool
    off_reason: str | None
    channel_ids: list[UUID]
    queue_ids: list[UUID]
    include_notes: bool
    max_in_flight: int
    old_secret_until: Moment | None
    state: Literal["ok", "failing", "down", "off"]
    failures: int
    failing_since: Moment | None
    next_try_at: Moment | None
    last_error: str | None
    last_error_at: Moment | None
    waiting: int
    oldest: Moment | None
    dead: int
    version: int
    created_at: Moment
    updated_at: Moment


class EndpointWithSecret(EndpointShape):
    """`secret` is shown this once."""

    secret: str


class Rotation(Body):
    """How long the old secret signs too; 0: not at all. Left out: as the installation has it (a day)."""

    overlap_s: Annotated[float, Field(ge=0, le=_DAYS_30, allow_inf_nan=False)] | None = None


class DeliveryShape(Shape):
    """One event for one endpoint; `id` is its `webhook-id`. `attempts`, `status` and `error` are of the time since it was
    queued; `conversation_id` is null for a test call."""

    id: UUID
    type: str
    conversation_id: UUID | None
    state: DeliveryState
    attempts: int
    status: int | None
    error: str | None
    queued_at: Moment
    done_at: Moment | None


class Replay(Body):
    """One of: `dead` (all dead letters), `ids` (these), `since` (everything from then on that the log has, delivered or not)."""

    dead: Literal[True] | None = None
    ids: Annotated[list[UUID], Field(min_length=1, max_length=_IDS)] | None = None
    since: GivenMoment | None = None

    @model_validator(mode="after")
    def _one(self) -> Any:
        if sum(value is not None for value in (self.dead, self.ids, self.since)) != 1:
            raise Invalid("exactly one of dead, ids and since", field="since")
        return self


class Requeued(Shape):
    """How many events were queued again."""

    queued: int


class Tested(Shape):
    """The `webhook-id` of the test call; what became of it is in the endpoint's deliveries."""

    id: UUID
