"""What is told, and when: as a table, and over random histories with simulated time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.feedback.announcements import DAY, SHIPPED, Situation, acknowledges, choose, decide, lately, may_tell
from app.models import AnnouncementPolicy
from app.models.progress import CHANGES

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LIVE, ORDINARY = SHIPPED
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "status", "in_hand", "told"),
    [
        (["assigned"], "open", True, "assigned"),
        (["assigned"], "open", False, None),
        (["assigned", "on_hold"], "on_hold", True, "on_hold"),
        (["on_hold"], "open", True, None),
        (["assigned", "on_hold"], "open", True, "assigned"),
        (["assigned", "transferred"], "open", False, "transferred"),
        (["transferred"], "open", True, "transferred"),
        (["reopened", "assigned", "transferred"], "open", True, "reopened"),
        (["assigned"], "waiting_on_customer", True, None),
        (["assigned"], "snoozed", True, None),
        (["on_hold", "assigned"], "resolved", True, None),
        (["reopened"], "closed", False, None),
        ([], "open", True, None),
    ],
)
def test_several_changes_are_one_notice_of_the_present_state(
    changes: list[str], status: str, in_hand: bool, told: str | None
) -> None:
    assert decide(ORDINARY, changes, Situation(AT, status, in_hand)).what == told


def test_who_hears_from_a_person_is_not_told_by_a_machine() -> None:
    assert decide(ORDINARY, ["assigned"], Situation(AT, "open", True, wrote_at=AT - MINUTE)).what is None
    assert decide(ORDINARY, ["assigned"], Situation(AT, "open", True, wrote_at=AT - HOUR)).what == "assigned"
    live = decide(ORDINARY, ["assigned"], Situation(AT, "open", True, live=True))
    assert (live.what, live.again_at) == (None, AT + 15 * MINUTE)


def test_too_early_is_later_and_too_often_is_tomorrow() -> None:
    waits = decide(ORDINARY, ["on_hold"], Situation(AT, "on_hold", True, [AT - 5 * MINUTE]))
    assert (waits.what, waits.again_at) == (None, AT + 10 * MINUTE)
    twice = decide(ORDINARY, ["on_hold"], Situation(AT, "on_hold", True, [AT - 20 * MINUTE, AT - 5 * MINUTE]))
    assert (twice.what, twice.again_at) == (None, AT + 10 * MINUTE), "the newest one counts"
    often = [AT - 9 * HOUR, AT - 5 * HOUR, AT - HOUR]
    assert decide(ORDINARY, ["on_hold"], Situation(AT, "on_hold", True, often)).again_at == AT - 9 * HOUR + DAY


def test_what_no_policy_wants_is_let_go() -> None:
    for policy in (None, LIVE, AnnouncementPolicy(code="x", name="x", changes=list(CHANGES), per_day=0)):
        decision = decide(policy, list(CHANGES), Situation(AT, "open", True))
        assert (decision.what, decision.again_at) == (None, None)


def test_the_shipped_policies_leave_chats_and_calls_alone() -> None:
    for kind, code in (
        ("webchat", "live"),
        ("voice", "live"),
        ("partner", "live"),
        ("email", "ordinary"),
        ("sms", "ordinary"),
    ):
        chosen = choose(SHIPPED, {"channel_type": kind})
        assert chosen is not None
        assert chosen.code == code
        assert may_tell(SHIPPED, kind) == (code == "ordinary")
    vip = AnnouncementPolicy(code="vip", name="x", position=1, match={"tier": ["vip"]}, changes=["on_hold"])
    assert may_tell([vip, *SHIPPED], "webchat")
    assert not may_tell([], "email")


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, True),
        ({"first": None}, False),
        ({"first": {"direction": "inbound", "kind": "message", "automatic": True}}, False),
        ({"first": {"direction": "inbound", "kind": "call", "automatic": False}}, False),
        ({"first": {"direction": "outbound", "kind": "reply", "automatic": False}}, False),
        ({"status": "resolved"}, False),
        ({"status": "closed"}, False),
        ({"status": "on_hold"}, True),
        ({"replied": True}, False),
        ({"age_s": 3_601.0}, False),
        ({"policy": LIVE}, False),
        ({"policy": None}, False),
    ],
)
def test_what_is_acknowledged(changed: dict[str, object], wanted: bool) -> None:
    first = {"direction": "inbound", "kind": "message", "automatic": False}
    usual: dict[str, object] = {"policy": ORDINARY, "first": first, "status": "open", "replied": False, "age_s": 1.0}
    asked = {**usual, **changed}
    policy = asked.pop("policy")
    assert acknowledges(policy, **asked) is wanted  # type: ignore[arg-type]


_STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 60, 600, 1_000, 3_600, 20_000, 50_000]),
        st.sampled_from(
            [*CHANGES, *CHANGES, *CHANGES, "agent writes", "chat begins", "chat ends", "chat ends", "look"]
        ),
        st.sampled_from(["open", "open", "open", "on_hold", "on_hold", "waiting_on_customer", "resolved"]),
        st.sampled_from([True, True, False]),
    ),
    min_size=5,
    max_size=60,
)


@settings(max_examples=300)
@given(steps=_STEPS, gap=st.sampled_from([0, 60, 900, 2_000, 7_200]), per_day=st.sampled_from([0, 1, 3, 10]))
def test_never_within_the_gap_never_more_than_so_many_a_day(
    steps: list[tuple[int, str, str, bool]], gap: int, per_day: int
) -> None:
    """As the loop does it: something happens or time passes, the decider is asked, and again when it said so."""
    policy = AnnouncementPolicy(code="x", name="x", changes=list(CHANGES), min_gap_s=gap, per_day=per_day)
    clock, live = AT, False
    told: list[datetime] = []
    kept: list[datetime] = []
    pending: set[str] = set()
    wrote_at: datetime | None = None
    again_at: datetime | None = None

    def ask(at: datetime, status: str, in_hand: bool) -> None:
        nonlocal kept, pending, again_at
        kept = lately(kept, at)
        decision = decide(policy, pending, Situation(at, status, in_hand, kept, wrote_at, live))
        assert decision.what is None or decision.again_at is None
        assert decision.again_at is None or decision.again_at > at, "a loop would spin"
        again_at = decision.again_at
        if decision.what is not None:
            assert wrote_at is None or at - wrote_at >= timedelta(seconds=gap)
            assert not live
            told.append(at)
            kept = [*kept, at]
        if again_at is None:
            pending = set()

    for passed, what, status, in_hand in steps:
        clock += timedelta(seconds=passed)
        while again_at is not None and again_at <= clock:
            ask(again_at, status, in_hand)
        if what in CHANGES:
            pending.add(what)
        wrote_at = clock if what == "agent writes" else wrote_at
        live = {"chat begins": True, "chat ends": False}.get(what, live)
        ask(clock, status, in_hand)
    for earlier, later in pairwise(told):
        assert later - earlier >= timedelta(seconds=gap)
    for moment in told:
        assert sum(1 for other in told if moment <= other < moment + DAY) <= per_day
