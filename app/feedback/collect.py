"""Keep what the customer said of one resolution. What it means for the conversation is decided above."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.events import log as events
from app.events.log import Actor
from app.feedback import outcomes
from app.feedback.survey import RATINGS, Answer
from app.models import Conversation, ResolutionCycle, SurveyResponse


async def response_of(session: AsyncSession, cycle: ResolutionCycle) -> SurveyResponse | None:
    """What was said so far."""
    found = await session.exec(select(SurveyResponse).where(col(SurveyResponse.cycle_id) == cycle.id))
    return found.one_or_none()


async def record(session: AsyncSession, conversation: Conversation, *, cycle: ResolutionCycle, answer: Answer) -> None:
    """One response per cycle: what is given now amends what was given before. An outcome of `answer` is one that settles it.
    The caller holds the conversation.

    What was said anonymously stays so: the link lies in the conversation, where others than the customer could take it
    back. Appends `feedback.received`, unless the same was said before.
    """
    response = await response_of(session, cycle) or SurveyResponse(cycle_id=cycle.id)
    anonymous = answer.anonymous or response.anonymous
    given: dict[str, Any] = {**answer.ratings, "comment": answer.comment, "anonymous": anonymous}
    changes = {name: value for name, value in given.items() if value not in (None, getattr(response, name))}
    if not changes and answer.outcome is None:
        return
    if changes:
        before = outcomes.ratings(response)
        for name, value in changes.items():
            setattr(response, name, value)
        after = outcomes.ratings(response)
        outcomes.count(session, cycle, **{name: after[name] - before[name] for name in after})
        response.updated_at = now()
        session.add(response)
    await events.append(
        session,
        conversation,
        "feedback.received",
        _payload(cycle, answer, response),
        actor=Actor("contact", conversation.contact_id),
    )


def _payload(cycle: ResolutionCycle, answer: Answer, response: SurveyResponse) -> dict[str, Any]:
    """Who works on a conversation knows its customer, so an anonymous rating is not told there: it counts in the
    figures only. The reason for "not solved" is told, because somebody has to act on it."""
    hidden = response.anonymous
    told = not hidden or answer.outcome == "rejected"
    return {
        "cycle": {"id": str(cycle.id), "number": cycle.number, "state": answer.outcome or cycle.state},
        "outcome": answer.outcome,
        "ratings": {} if hidden else {name: getattr(response, name) for name in RATINGS},
        "comment": response.comment if told else None,
        "anonymous": hidden,
    }
