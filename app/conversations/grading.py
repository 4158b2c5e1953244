"""Who is asked first about a conversation: its graded response, by what kind of matter it is (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.models import Conversation, GradedResponse
from app.models.words import Matter, Severity


@dataclass(frozen=True, slots=True)
class Grade:
    """`escalate`: supervisors first, with agents who have one of the skills `specialists`. `code` says by which row."""

    escalate: bool = False
    specialists: tuple[str, ...] = ()
    code: str | None = None


ORDINARY = Grade()


def grade(
    responses: Sequence[GradedResponse], category: str, matter: str, severity: str | None, complaint_type: str | None
) -> Grade:
    """The first active response by (position, code) of which every fact holds; without one it is ordinary."""
    facts = {"category": category, "matter": matter, "severity": severity, "complaint_type": complaint_type}
    fitting = [response for response in responses if response.active and _matches(response, facts)]
    if not fitting:
        return ORDINARY
    first = min(fitting, key=lambda response: (response.position, response.code))
    return Grade(first.escalate, tuple(first.specialists), first.code)


def of(responses: Sequence[GradedResponse], conversation: Conversation) -> Grade:
    """The grade of a conversation as it is classified now."""
    return grade(
        responses,
        conversation.category,
        conversation.matter,
        conversation.severity,
        conversation.complaint_type,
    )


def grave(grade: Grade, matter: str, severity: str | None) -> bool:
    """Whether a senior has to hear of it whoever handles it: an escalated complaint, or what is major or critical."""
    return grade.escalate and (matter == Matter.COMPLAINT or severity in (Severity.MAJOR, Severity.CRITICAL))


def _matches(response: GradedResponse, facts: Mapping[str, str | None]) -> bool:
    return all(facts.get(name) in accepted for name, accepted in response.match.items())
