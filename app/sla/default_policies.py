"""The shipped time limits, as data: one policy for each kind of matter that has limits of its own.

Codes are stable: an operator's changes hang on them. The first policy that matches counts, and what it leaves open comes
from the next one (policy.py): so a channel says how fast it answers, the matter how soon it is done. A complaint in the
chat is answered within 30 s and handled within 4 h.

Chats and calls have 10 minutes in an agent's hands, which the manuals want on average: the clock shows which ones took
longer, the reports the average. A complaint is analysed within 2 h. Whatever the matter, the customer is asked within
24 h of the work being done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from app.models.words import PAUSES, Matter, Severity

MINUTE, HOUR = 60, 3_600
URGENT_TO_SUPERVISORS = {"after_s": 0, "level": 1, "do": [{"requeue": True, "if": {"category": ["urgent"]}}]}
"""An urgent matter that misses a limit is offered to supervisors at once."""


class PolicyData(TypedDict):
    """The columns of an SlaPolicy that are not made by the database. Targets are seconds, None where open."""

    code: str
    name: str
    position: int
    match: dict[str, Any]
    first_response_s: int | None
    resolution_s: int | None
    next_response_s: int | None
    periodic_update_s: int | None
    follow_up_s: int | None
    analysis_s: int | None
    handling_s: int | None
    pauses: list[str]
    warnings: list[dict[str, Any]]
    escalations: list[dict[str, Any]]


def _policy(
    position: int,
    code: str,
    name: str,
    match: Mapping[str, str],
    *,
    first_response_s: int,
    resolution_s: int | None,
    follow_up_s: int | None = None,
    analysis_s: int | None = None,
    handling_s: int | None = None,
) -> PolicyData:
    return {
        "code": code,
        "name": name,
        "position": position,
        "match": {fact: [word] for fact, word in match.items()},
        "first_response_s": first_response_s,
        "resolution_s": resolution_s,
        "next_response_s": None,
        "periodic_update_s": None,
        "follow_up_s": follow_up_s,
        "analysis_s": analysis_s,
        "handling_s": handling_s,
        "pauses": [word.value for word in PAUSES],
        "warnings": [{"percent": 80}],
        "escalations": [dict(URGENT_TO_SUPERVISORS)],
    }


# Channels come first. A complaint is stricter than any severity, so it comes before them; how bad a problem is says more
# than what it is about, so severities come before matters. An urgent matter of unknown severity has the limits of a major
# problem (our own addition). What fits nowhere is an ordinary matter.
POLICIES: Sequence[PolicyData] = (
    _policy(
        10,
        "webchat",
        "Web chat",
        {"channel_type": "webchat"},
        first_response_s=30,
        resolution_s=None,
        handling_s=10 * MINUTE,
    ),
    _policy(
        11,
        "phone",
        "Phone",
        {"channel_type": "voice"},
        first_response_s=15,
        resolution_s=None,
        handling_s=10 * MINUTE,
    ),
    _policy(
        20,
        "complaint",
        "Complaint",
        {"matter": Matter.COMPLAINT.value},
        first_response_s=2 * HOUR,
        resolution_s=4 * HOUR,
        analysis_s=2 * HOUR,
    ),
    _policy(
        30,
        "critical-fault",
        "Critical fault: emergency response",
        {"severity": Severity.CRITICAL.value},
        first_response_s=24 * HOUR,
        resolution_s=72 * HOUR,
    ),
    _policy(
        31,
        "major-problem",
        "Major problem, management involved",
        {"severity": Severity.MAJOR.value},
        first_response_s=2 * HOUR,
        resolution_s=48 * HOUR,
    ),
    _policy(
        32,
        "minor-problem",
        "Minor problem",
        {"severity": Severity.MINOR.value},
        first_response_s=24 * HOUR,
        resolution_s=24 * HOUR,
    ),
    _policy(
        35,
        "urgent",
        "Urgent, nothing more known",
        {"category": "urgent"},
        first_response_s=2 * HOUR,
        resolution_s=48 * HOUR,
    ),
    _policy(
        40,
        "repair-under-warranty",
        "Repair under warranty",
        {"matter": Matter.SERVICE_REQUEST.value, "warranty": "yes"},
        first_response_s=24 * HOUR,
        resolution_s=72 * HOUR,
    ),
    _policy(
        41,
        "repair",
        "Repair",
        {"matter": Matter.SERVICE_REQUEST.value},
        first_response_s=48 * HOUR,
        resolution_s=72 * HOUR,
    ),
    _policy(
        50,
        "enquiry",
        "Enquiry",
        {"matter": Matter.ENQUIRY.value},
        first_response_s=24 * HOUR,
        resolution_s=24 * HOUR,
    ),
    _policy(
        51,
        "feedback",
        "Feedback, compliments, suggestions",
        {"matter": Matter.FEEDBACK.value},
        first_response_s=24 * HOUR,
        resolution_s=48 * HOUR,
    ),
    _policy(
        900,
        "ordinary",
        "Ordinary matter",
        {},
        first_response_s=24 * HOUR,
        resolution_s=48 * HOUR,
        follow_up_s=24 * HOUR,
    ),
)
