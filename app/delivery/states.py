"""The status of an outbound message only moves forward, in whatever order the news of it arrives."""

from app.models.words import DeliveryStatus

RANK: dict[DeliveryStatus, int] = {
    DeliveryStatus.QUEUED: 0,
    DeliveryStatus.SENDING: 1,
    # "It may have been sent": whatever we learn later is better.
    DeliveryStatus.UNKNOWN: 2,
    DeliveryStatus.SENT: 3,
    # Above `sent`: some providers take every message and refuse it later. What was seen to arrive did arrive.
    DeliveryStatus.FAILED: 4,
    DeliveryStatus.DELIVERED: 5,
    DeliveryStatus.READ: 6,
}


def advance(current: DeliveryStatus, new: DeliveryStatus) -> DeliveryStatus | None:
    """The status after hearing `new`, or None when it tells nothing new."""
    return new if RANK[new] > RANK[current] else None


def before(new: DeliveryStatus) -> list[DeliveryStatus]:
    """Every status that `new` replaces."""
    return [current for current in DeliveryStatus if advance(current, new)]
