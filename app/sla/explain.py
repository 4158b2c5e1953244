"""Why each clock of a conversation is due when it is: what was counted, when it stood still, what comes when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.events import shapes
from app.models import CalendarVersion, Conversation, SlaClock, SlaPolicy
from app.models.words import ClockState
from app.sla import book, run, sheet, stages
from app.sla.run import Run, Timeline, stretches

SHOWN = 500
"""Of the intervals of one clock, the first so many are shown."""
_NOW = text("SELECT clock_timestamp()")
Pauses = Sequence[tuple[str, datetime, datetime | None]]


async def explain(session: AsyncSession, conversation: Conversation) -> list[dict[str, Any]]:
    """Each clock, oldest cycle first. Times are RFC 3339, the rest seconds.

    `remaining_s` is negative when it is late, None when the clock has stopped for good; a clock that stands still has
    no `due_at`. `intervals` are what was counted, `pauses` why it stood still, `stages` what is told when; `because`
    are the facts by which its policy was chosen, and `why` says it in a sentence.
    """
    query = select(SlaClock).where(col(SlaClock.conversation_id) == conversation.id)
    order = col(SlaClock.cycle), col(SlaClock.metric), col(SlaClock.turn)
    clocks = (await session.exec(query.order_by(*order).execution_options(populate_existing=True))).all()
    if not clocks:
        return []
    at: datetime = (await session.execute(_NOW)).scalar_one()
    policies = await book.policies(session, {clock.policy_id for clock in clocks})
    calendars = {clock.calendar_id for clock in clocks}
    timelines = await book.timelines(session, calendars)
    names = await _names(session, [calendar_id for calendar_id in calendars if calendar_id])
    stood = await sheet.pauses(session, clocks)
    facts = await book.facts(session, conversation)
    return [
        {
            **_clock(clock, policies[clock.policy_id], timelines[clock.calendar_id], stood[clock.id], at),
            "calendar": names.get(clock.calendar_id, "24x7"),
            "because": {name: facts.get(name) for name in policies[clock.policy_id].match},
            "why": _why(clock, names.get(clock.calendar_id, "24x7"), stood[clock.id]),
        }
        for clock in clocks
    ]


async def _names(session: AsyncSession, calendar_ids: Sequence[UUID]) -> Mapping[UUID | None, str]:
    if not calendar_ids:
        return {}
    query = select(CalendarVersion).where(col(CalendarVersion.calendar_id).in_(calendar_ids))
    rows = (await session.exec(query.order_by(col(CalendarVersion.version)))).all()
    return {row.calendar_id: row.name for row in rows}


def _clock(clock: SlaClock, policy: SlaPolicy, timeline: Timeline, stood: Pauses, at: datetime) -> dict[str, Any]:
    counted = Run(clock.elapsed_us, clock.running_since)
    elapsed_s = run.elapsed_us(counted, timeline, at) / 1_000_000
    live = clock.state in sheet.LIVE
    return {
        "id": str(clock.id),
        "policy": {"id": str(policy.id), "code": policy.code, "version": policy.version, "name": policy.name},
        "metric": clock.metric,
        "cycle": clock.cycle,
        "turn": clock.turn,
        "target_s": clock.target_s,
        "state": clock.state,
        "level": clock.level,
        "started_at": shapes.moment(clock.created_at),
        "due_at": shapes.moment(clock.due_at),
        "warned_at": shapes.moment(clock.warned_at),
        "breached_at": shapes.moment(clock.breached_at),
        "retargeted_at": shapes.moment(clock.retargeted_at),
        "met_at": shapes.moment(clock.met_at),
        "elapsed_s": elapsed_s,
        "remaining_s": clock.target_s - elapsed_s if live else None,
        "calendar_id": str(clock.calendar_id) if clock.calendar_id else None,
        "calendar_version": clock.calendar_version,
        "intervals": _intervals(clock, timeline, stood, at),
        "pauses": [
            {"reason": reason, "from": shapes.moment(since), "to": shapes.moment(until)}
            for reason, since, until in stood
        ],
        "stages": _stages(clock, policy),
    }


def _intervals(clock: SlaClock, timeline: Timeline, stood: Pauses, at: datetime) -> list[dict[str, Any]]:
    """The last one has no end while it runs."""
    end = clock.met_at or at
    runs = stretches(clock.created_at, [(since, until) for _, since, until in stood], end)
    if clock.state == ClockState.CANCELLED:
        runs = []  # when it ended was not kept: it is of no interest
    counted = [span for start, until in runs for span in run.spans(timeline, start, until)]
    return [
        {
            "from": shapes.moment(start),
            "to": None if clock.state == ClockState.RUNNING and until == at else shapes.moment(until),
            "counted_s": (until - start).total_seconds(),
        }
        for start, until in islice(counted, SHOWN)
    ]


def _stages(clock: SlaClock, policy: SlaPolicy) -> list[dict[str, Any]]:
    plan = stages.plan(policy, clock.target_s)
    return [
        {
            "kind": stage.kind,
            "level": stage.level,
            "after_s": stage.after_us / 1_000_000,
            "at": shapes.moment(clock.stage_at[number]) if number < len(clock.stage_at) else None,
            "fired": number < clock.stage,
            "do": [dict(action) for action in stage.do],
        }
        for number, stage in enumerate(plan.stages)
    ]


def _why(clock: SlaClock, calendar: str, stood: Pauses) -> str:
    hours = "around the clock" if clock.calendar_id is None else f"in the hours of {calendar!r}"
    still = f", not counting {len(stood)} pause{'s' if len(stood) > 1 else ''}" if stood else ""
    end = {
        ClockState.PAUSED: "it stands still, so it is not due",
        ClockState.MET: "it was met",
        ClockState.CANCELLED: "it was called off",
        ClockState.RUNNING: "it is due then" if clock.due_at else "that is never reached",
    }[ClockState(clock.state)]
    return f"{clock.target_s} s {hours} from {shapes.moment(clock.created_at)}{still}: {end}"
