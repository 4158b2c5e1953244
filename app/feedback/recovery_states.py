"""Which state of a recovery task may follow which, and what it needs for that. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from app.errors import Conflict, Invalid
from app.models.words import RecoveryState as S

TO_DO = (S.OPEN, S.IN_PROGRESS)
LIVE = (*TO_DO, S.DONE)
KNOWN = (S.CONFIRMED, S.FAILED)
"""We know whether it helped."""
_ALLOWED: Mapping[S, frozenset[S]] = {
    S.OPEN: frozenset({S.IN_PROGRESS, S.DONE, S.CANCELLED}),
    S.IN_PROGRESS: frozenset({S.OPEN, S.DONE, S.CANCELLED}),
    S.DONE: frozenset({S.IN_PROGRESS, *KNOWN}),
}


def require(before: Mapping[str, Any], given: Mapping[str, Any], changed: Collection[str]) -> None:
    """Of a task as it is and what is given instead. Raises Conflict for a state that cannot follow, or when it is over;
    Invalid for a done one without a remedy, and for an amount without its currency."""
    state = S(before["state"])
    if state not in LIVE:
        raise Conflict(f"the task is {state}", state=state)
    wanted = S(given.get("state") or state)
    if "state" in changed and wanted not in _ALLOWED[state]:
        raise Conflict(f"a task that is {state} cannot become {wanted}", state=state)
    after = {**before, **given}
    require_money(after["amount"], after["currency"])
    if wanted is S.DONE:
        for name in ("remedy", "text"):
            if not after[name]:
                raise Invalid("say what was done for the customer", field=name)


def require_money(amount: Any, currency: Any) -> None:
    """Raises Invalid."""
    if (amount is None) != (currency is None):
        raise Invalid("an amount needs its currency, and a currency an amount", field="currency")
