"""Which state may follow which (pure)."""

from app.errors import Conflict, ConversationClosed
from app.models.words import ConversationStatus as S

PARKED = frozenset({S.WAITING_ON_CUSTOMER, S.ON_HOLD, S.SNOOZED})
WORKING = PARKED | {S.OPEN}

_ALLOWED: dict[S, frozenset[S]] = {
    S.OPEN: frozenset({S.WAITING_ON_CUSTOMER, S.ON_HOLD, S.SNOOZED, S.RESOLVED}),
    S.WAITING_ON_CUSTOMER: frozenset({S.OPEN, S.ON_HOLD, S.SNOOZED, S.RESOLVED}),
    S.ON_HOLD: frozenset({S.OPEN, S.WAITING_ON_CUSTOMER, S.SNOOZED, S.RESOLVED}),
    S.SNOOZED: frozenset({S.OPEN, S.ON_HOLD, S.WAITING_ON_CUSTOMER, S.RESOLVED}),
    S.RESOLVED: frozenset({S.OPEN, S.CLOSED}),
    S.CLOSED: frozenset(),
}


def require(current: str, wanted: S) -> None:
    """Raises ConversationClosed, or Conflict naming both states."""
    if wanted in _ALLOWED[S(current)]:
        return
    if current == S.CLOSED:
        raise ConversationClosed
    raise Conflict(f"a conversation that is {current} cannot become {wanted}", status_now=current)


def require_working(current: str) -> None:
    """For replies, transfers and corrections. Raises ConversationClosed or Conflict."""
    if current == S.CLOSED:
        raise ConversationClosed
    if current not in WORKING:
        raise Conflict(f"the conversation is {current}; reopen it first", status_now=current)
