"""What became of resolutions: every step of a cycle adds to the figures of the day, channel, queue and agent of its
resolution, so that rates compare like with like; a loop adds the differences up, and a report reads both."""

from __future__ import annotations

from datetime import UTC
from functools import partial

from sqlmodel.ext.asyncio.session import AsyncSession

from app.figures import Folder as Folding
from app.figures import Ledger
from app.models import OutcomeDelta, ResolutionCycle, SurveyResponse
from app.models.words import CycleState

FIGURES = (
    "resolved", "matters", "complaints", "confirmed", "by_silence", "rejected", "reopened", "first_contact",
    "csat_count", "csat_sum", "csat_good", "nps_count", "promoters", "detractors", "recoveries", "recovered",
    "unasked",
)  # fmt: skip
"""`resolved`: cycles. `matters`: those that were the first of their conversation, `complaints` of these. `confirmed`, some of
them `by_silence`, `rejected`. `reopened`: the conversation went on after it, for whatever reason. `first_contact`: confirmed
in the first cycle and not reopened since. `csat_good`: 4 or 5. `promoters`: 9 or 10, `detractors`: 0 to 6.
`recoveries`: tasks to make it good, `recovered`: those that ended well. `unasked`: closed by time although no receipt reached
the customer, which is no confirmation."""
SILENCE = "timeout"
"""How a resolution was settled that nobody answered."""
GOOD, PROMOTER, DETRACTOR = 4, 9, 6
LEDGER = Ledger(
    table="outcome",
    key=("day", "channel_id", "queue_id", "agent_id"),
    figures=FIGURES,
    joins="""
        LEFT JOIN channel c ON c.id = f.channel_id
        LEFT JOIN queue q ON q.id = f.queue_id
        LEFT JOIN agent g ON g.id = f.agent_id
    """,
    by={
        "day": ("f.day",),
        "channel": ("f.channel_id", "c.name", "c.type"),
        "queue": ("f.queue_id", "q.name"),
        "agent": ("f.agent_id", "g.name"),
    },
    filters={name: f"f.{name} = :{name}" for name in ("channel_id", "queue_id", "agent_id")},
)
Folder = partial(Folding, ledger=LEDGER)
report = LEDGER.report


def count(session: AsyncSession, cycle: ResolutionCycle, **figures: int) -> None:
    """Add to the figures of its resolution, in the caller's transaction."""
    if any(figures.values()):
        session.add(
            OutcomeDelta(
                day=cycle.created_at.astimezone(UTC).date(),
                channel_id=cycle.channel_id,
                queue_id=cycle.queue_id,
                agent_id=cycle.resolved_by,
                **figures,
            )
        )


def standing(cycle: ResolutionCycle) -> dict[str, int]:
    """What a cycle adds by its state, as long as the matter is not taken up again."""
    confirmed = cycle.state == CycleState.CONFIRMED
    return {
        "confirmed": int(confirmed),
        "by_silence": int(confirmed and cycle.decided_via == SILENCE),
        "first_contact": int(confirmed and cycle.number == 1),
        "rejected": int(cycle.state == CycleState.REJECTED),
        "unasked": int(cycle.state == CycleState.UNASKED),
    }


def ratings(response: SurveyResponse) -> dict[str, int]:
    """What a response adds as it is."""
    csat, nps = response.csat, response.nps
    return {
        "csat_count": int(csat is not None),
        "csat_sum": csat or 0,
        "csat_good": int(csat is not None and csat >= GOOD),
        "nps_count": int(nps is not None),
        "promoters": int(nps is not None and nps >= PROMOTER),
        "detractors": int(nps is not None and nps <= DETRACTOR),
    }
