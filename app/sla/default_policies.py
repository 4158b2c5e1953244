"""The shipped time limits, as data: one policy for each kind of matter that has limits of its own.

Codes are stable: an operator's changes hang on them. The first policy that matches counts, and what it leaves open comes
from the next one (policy.py): so a channel says how fast it answers, the matter how soon it is done. A complaint in the
chat is answered within 30 s and handled within 4 h.

Not here: an average handling time of 10 minutes in chats and calls is an aim for reports, no limit of one conversation.
Confirming with the customer within 24 h of the work being done gets a clock of its own, later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from app.models.words import Matter, Severity

HOUR = 3_600


class PolicyData(TypedDict):
    """The columns of an SlaPolicy that are not made by the database. Targets are seconds, None where open."""

    code: str
    name: str
    position: int
    match: dict[str, Any]
    first_response_s: int | None
    resolution_s: int | None
    warn_percent: int


def _policy(
    position: int,
    code: str,
    name: str,
    match: Mapping[str, str],
    *,
    first_response_s: int,
    resolution_s: int | None,
) -> PolicyData:
    return {
        "code": code,
        "name": name,
        "position": position,
        "match": {fact: [word] for fact, word in match.items()},
        "first_response_s": first_response_s,
        "resolution_s": resolution_s,
        "warn_percent": 80,
    }


# Channels come first. A complaint is stricter than any severity, so it comes before them; how bad a problem is says more
# than what it is about, so severities come before matters. An urgent matter of unknown severity has the limits of a major
# problem (our own addition). What fits nowhere is an ordinary matter.
POLICIES: Sequence[PolicyData] = (
    _policy(10, "webchat", "Web chat", {"channel_type": "webchat"}, first_response_s=30, resolution_s=None),
    _policy(11, "phone", "Phone", {"channel_type": "voice"}, first_response_s=15, resolution_s=None),
    _policy(
        20,
        "complaint",
        "Complaint",
        {"matter": Matter.COMPLAINT.value},
        first_response_s=2 * HOUR,
        resolution_s=4 * HOUR,
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
    _policy(900, "ordinary", "Ordinary matter", {}, first_response_s=24 * HOUR, resolution_s=48 * HOUR),
)
