"""Where a matter stands, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.web import texts
from app.web.progress import Clock, standing

AT = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
SOON, LATE = AT + timedelta(hours=1), AT - timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "role", "owned", "state", "who", "first", "current"),
    [
        ("open", None, False, "waiting", "nobody", "agent", "received"),
        ("open", None, True, "waiting", "back", "agent", "received"),
        ("open", "agent", True, "working", "agent", "work", "working"),
        ("open", "supervisor", True, "working", "supervisor", "work", "working"),
        ("waiting_on_customer", "agent", True, "waiting_on_customer", "agent", "reply", "working"),
        ("on_hold", "agent", True, "on_hold", "agent", "hold", "working"),
        ("snoozed", "agent", True, "snoozed", "agent", "snoozed", "working"),
        ("resolved", "agent", True, "resolved", "agent", "confirm", "result"),
        ("resolved", None, True, "resolved", "back", "confirm", "result"),
        ("closed", "agent", True, "closed", None, "nothing", None),
    ],
)
def test_states(
    status: str, role: str | None, owned: bool, state: str, who: str | None, first: str, current: str | None
) -> None:
    seen = standing(status=status, handler_role=role, owned=owned, clocks=[], snoozed_until=SOON, at=AT)
    assert (seen.state, seen.who, seen.promises[0].key) == (state, who, first)
    assert next((name for name, step in seen.steps if step == "current"), None) == current
    for table in texts.TABLES.values():
        assert f"state_{seen.state}" in table
        assert seen.who is None or f"who_{seen.who}" in table
        for promise in seen.promises:
            assert f"next_{promise.key}" in table
        for name, step in seen.steps:
            assert f"step_{name}" in table
            assert f"step_{step}" in table


def test_only_running_clocks_are_promises_nearest_first() -> None:
    clocks = [
        Clock("resolution", "running", SOON),
        Clock("first_response", "running", LATE),
        Clock("resolution", "paused", SOON),
        Clock("first_response", "met", SOON),
        Clock("resolution", "cancelled", LATE),
        Clock("resolution", "running", None),
    ]
    seen = standing(status="open", handler_role="agent", owned=True, clocks=clocks, snoozed_until=None, at=AT)
    assert [(promise.key, promise.late) for promise in seen.promises] == [
        ("work", False),
        ("first_response", True),
        ("resolution", False),
    ]


@pytest.mark.parametrize("status", ["resolved", "closed"])
def test_no_deadline_after_the_work_is_done(status: str) -> None:
    clocks = [Clock("resolution", "running", SOON)]
    seen = standing(status=status, handler_role=None, owned=True, clocks=clocks, snoozed_until=None, at=AT)
    assert [promise.at for promise in seen.promises] == [None]


def test_snoozed_without_a_time() -> None:
    seen = standing(status="snoozed", handler_role=None, owned=True, clocks=[], snoozed_until=None, at=AT)
    assert seen.promises[0].key == "hold"
