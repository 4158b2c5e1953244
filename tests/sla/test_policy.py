"""Which limits apply: every shipped row by name, and how policies go together."""

from __future__ import annotations

import pytest

from app.models import SlaPolicy
from app.models.words import ClockMetric
from app.sla.default_policies import POLICIES
from app.sla.policy import Facts, applies, choose, explain, matches, stands_still, targets
from app.sla.stages import plan

SHIPPED = [SlaPolicy(**data) for data in POLICIES]
FIRST, DONE = ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION
ANALYSIS, HANDLING = ClockMetric.ANALYSIS, ClockMetric.HANDLING
HOUR = 3_600


def facts(channel_type: str = "email", matter: str = "enquiry", severity: str | None = None, **more: str) -> Facts:
    common = {"category": "routine", "tier": "standard"}
    return {**common, "channel_type": channel_type, "matter": matter, "severity": severity, **more}


@pytest.mark.parametrize(
    ("code", "given", "first_response_s", "resolution_s"),
    [
        ("webchat", facts("webchat"), 30, 24 * HOUR),
        ("phone", facts("voice"), 15, 24 * HOUR),
        ("complaint", facts(matter="complaint", severity="minor"), 2 * HOUR, 4 * HOUR),
        ("enquiry", facts(matter="enquiry"), 24 * HOUR, 24 * HOUR),
        ("minor-problem", facts(matter="service_request", severity="minor"), 24 * HOUR, 24 * HOUR),
        ("ordinary", facts(matter="something else"), 24 * HOUR, 48 * HOUR),
        ("major-problem", facts(matter="service_request", severity="major"), 2 * HOUR, 48 * HOUR),
        ("urgent", facts(matter="service_request", category="urgent"), 2 * HOUR, 48 * HOUR),
        ("repair", facts(matter="service_request"), 48 * HOUR, 72 * HOUR),
        ("repair", facts(matter="service_request", warranty="no"), 48 * HOUR, 72 * HOUR),
        ("repair-under-warranty", facts(matter="service_request", warranty="yes"), 24 * HOUR, 72 * HOUR),
        ("critical-fault", facts(matter="service_request", severity="critical"), 24 * HOUR, 72 * HOUR),
        ("feedback", facts(matter="feedback"), 24 * HOUR, 48 * HOUR),
    ],
)
def test_each_row_of_the_limits(code: str, given: Facts, first_response_s: int, resolution_s: int) -> None:
    found = targets(SHIPPED, given)
    assert found is not None
    assert (found.policy.code, found.seconds(FIRST), found.seconds(DONE)) == (code, first_response_s, resolution_s)
    assert choose(SHIPPED, given) is found.policy


LIMITS = {  # of mission.md, M5, in its words: (first response, handled by) and what else it sets
    "web chat": ("webchat", facts("webchat"), 30, 24 * HOUR, {HANDLING: 600}),
    "phone": ("phone", facts("voice"), 15, 24 * HOUR, {HANDLING: 600}),
    "complaint": ("complaint", facts(matter="complaint"), 2 * HOUR, 4 * HOUR, {ANALYSIS: 2 * HOUR}),
    "enquiry": ("enquiry", facts(), 24 * HOUR, 24 * HOUR, {}),
    "minor problem": ("minor-problem", facts(severity="minor"), 24 * HOUR, 24 * HOUR, {}),
    "ordinary matter": ("ordinary", facts(matter="something else"), 24 * HOUR, 48 * HOUR, {}),
    "major problem, management involved": ("major-problem", facts(severity="major"), 2 * HOUR, 48 * HOUR, {}),
    "repair": ("repair", facts(matter="service_request"), 48 * HOUR, 72 * HOUR, {}),
    "repair under warranty": (
        "repair-under-warranty",
        facts(matter="service_request", warranty="yes"),
        24 * HOUR,
        72 * HOUR,
        {},
    ),
    "critical fault": ("critical-fault", facts(severity="critical"), 24 * HOUR, 72 * HOUR, {}),
    "customer feedback, compliments, suggestions": ("feedback", facts(matter="feedback"), 24 * HOUR, 48 * HOUR, {}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_each_row_of_the_manuals_limits_by_name(name: str) -> None:
    code, given, first_response_s, resolution_s, more = LIMITS[name]
    found = targets(SHIPPED, given)
    assert found is not None
    assert found.policy.code == code
    limits = {metric: found.seconds(metric) for metric in found.by}
    confirmation = {ClockMetric.FOLLOW_UP: 24 * HOUR}
    assert limits == {FIRST: first_response_s, DONE: resolution_s, **confirmation, **more}


@pytest.mark.parametrize("policy", SHIPPED, ids=lambda policy: policy.code)
def test_shipped_limits_run_around_the_clock_pause_warn_and_escalate_what_is_urgent(policy: SlaPolicy) -> None:
    assert (policy.calendar_id, policy.warnings) == (None, [{"percent": 80}])
    assert policy.pauses == ["waiting_on_customer", "on_hold", "snoozed"]
    [action] = plan(policy, 100).stages[-1].do
    assert applies(action, {"category": "urgent"})
    assert not applies(action, {"category": "routine"})


def test_why_a_policy_does_not_match() -> None:
    first, last = explain([SHIPPED[0], SHIPPED[-1]], facts())
    assert (first["matches"], last["matches"], last["against"]) == (False, True, [])
    assert first["against"] == [{"fact": "channel_type", "value": "email", "accepted": ["webchat"]}]


@pytest.mark.parametrize(
    ("metric", "status", "assigned", "reason"),
    [
        (DONE, "open", False, None),
        (DONE, "on_hold", True, "on_hold"),
        (DONE, "snoozed", True, None),
        (FIRST, "on_hold", True, None),
        (ClockMetric.NEXT_RESPONSE, "waiting_on_customer", True, None),
        (ClockMetric.PERIODIC_UPDATE, "on_hold", True, "on_hold"),
        (ClockMetric.FOLLOW_UP, "resolved", False, None),
        (HANDLING, "open", True, None),
        (HANDLING, "open", False, "unassigned"),
        (HANDLING, "snoozed", True, "snoozed"),
    ],
)
def test_what_stands_still_when(metric: ClockMetric, status: str, assigned: bool, reason: str | None) -> None:
    policy = SlaPolicy(code="p", name="P", pauses=["on_hold", "waiting_on_customer"])
    assert stands_still(policy, metric, status=status, assigned=assigned) == reason


def test_the_codes_are_stable() -> None:
    assert [policy.code for policy in SHIPPED] == [
        "webchat",
        "phone",
        "complaint",
        "critical-fault",
        "major-problem",
        "minor-problem",
        "urgent",
        "repair-under-warranty",
        "repair",
        "enquiry",
        "feedback",
        "ordinary",
    ]
    assert len({policy.position for policy in SHIPPED}) == len(SHIPPED)


@pytest.mark.parametrize("severity", [None, "minor", "major", "critical"])
def test_a_complaint_is_handled_as_a_complaint_however_bad_and_wherever(severity: str | None) -> None:
    in_chat = targets(SHIPPED, facts("webchat", matter="complaint", severity=severity))
    by_mail = targets(SHIPPED, facts("email", matter="complaint", severity=severity))
    assert in_chat is not None
    assert by_mail is not None
    assert (in_chat.seconds(FIRST), in_chat.seconds(DONE)) == (30, 4 * HOUR)
    assert (by_mail.seconds(FIRST), by_mail.seconds(DONE)) == (2 * HOUR, 4 * HOUR)


def test_each_limit_names_the_policy_that_set_it() -> None:
    found = targets(SHIPPED, facts("webchat", matter="complaint"))
    assert found is not None
    by = {metric: policy.code for metric, policy in found.by.items()}
    assert (found.policy.code, by) == (
        "webchat",
        {
            FIRST: "webchat",
            DONE: "complaint",
            ClockMetric.ANALYSIS: "complaint",
            ClockMetric.HANDLING: "webchat",
            ClockMetric.FOLLOW_UP: "ordinary",
        },
    )


def test_nothing_matches_nothing_applies() -> None:
    policy = SlaPolicy(code="vip", name="VIP", match={"tier": ["vip"]}, first_response_s=60)
    assert targets([policy], facts()) is None
    assert choose([policy], facts()) is None
    assert targets([], facts()) is None


def test_all_facts_of_a_policy_have_to_hold() -> None:
    policy = SlaPolicy(code="p", name="P", match={"tier": ["vip", "gold"], "severity": "major"})
    assert matches(policy, facts(severity="major", tier="gold"))
    assert not matches(policy, facts(severity="major"))
    assert not matches(policy, facts(tier="vip"))


def test_equal_positions_are_decided_by_the_code() -> None:
    pair = [SlaPolicy(code=code, name=code, position=5, first_response_s=1) for code in ("b", "a")]
    found = choose(pair, facts())
    assert found is not None
    assert found.code == "a"


def test_a_policy_that_applies_already_keeps_its_place() -> None:
    retired = SlaPolicy(code="webchat", name="Chat as it was", first_response_s=90)
    found = targets(SHIPPED, facts("webchat", matter="feedback"), first=retired)
    assert found is not None
    assert (found.policy, found.seconds(FIRST), found.seconds(DONE)) == (retired, 90, 48 * HOUR)
