"""Clocks of held conversations, read at one moment of the database's clock, changed in memory, written back at once.

The arithmetic is pure (run.py, stages.py); here is what a change means for a row. A deadline that has passed is a
breach, also when nobody noticed before: whoever stops a clock first notices it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.ids import new_id
from app.models import Conversation, SlaClock, SlaPolicy
from app.models.words import ClockMetric, ClockState
from app.sla import actions, book, stages
from app.sla import run as runs
from app.sla.policy import seconds
from app.sla.run import Run, Span, Timeline
from app.wakeups import wake

LIVE = (ClockState.RUNNING.value, ClockState.PAUSED.value)
_COLUMNS = """
    id uuid, conversation_id uuid, policy_id uuid, metric text, cycle int, turn int, target_s int, calendar_id uuid,
    calendar_version int, state text, elapsed_us bigint, running_since timestamptz, stage int, breach_stage int,
    level int, stage_at timestamptz[], due_at timestamptz, next_at timestamptz, warned_at timestamptz,
    breached_at timestamptz, retargeted_at timestamptz, met_at timestamptz, created_at timestamptz
"""
_NAMES = [column.split()[0] for column in _COLUMNS.replace("\n", " ").split(",")]
_CHANGED = [name for name in _NAMES if name not in ("id", "conversation_id", "metric", "cycle", "turn", "created_at")]
_READ = text(f"""
    SELECT (SELECT clock_timestamp()) AS at, {", ".join("k." + name for name in _NAMES)}
    FROM (VALUES (1)) AS once LEFT JOIN sla_clock k
        ON k.conversation_id = ANY(CAST(:ids AS uuid[])) AND k.state = ANY(CAST(:states AS text[]))
""")
_MAKE = text(f"""
    INSERT INTO sla_clock({", ".join(_NAMES)})
    SELECT {", ".join(_NAMES)} FROM jsonb_to_recordset(CAST(:clocks AS jsonb)) AS x({_COLUMNS})
    ON CONFLICT DO NOTHING
""")
_SAVE = text(f"""
    WITH saved AS (
        UPDATE sla_clock k SET {", ".join(f"{name} = x.{name}" for name in _CHANGED)}
        FROM jsonb_to_recordset(CAST(:clocks AS jsonb)) AS x({_COLUMNS})
        WHERE k.id = x.id
    ), went AS (
        UPDATE sla_pause p SET ended_at = w.at
        FROM jsonb_to_recordset(CAST(:went AS jsonb)) AS w(clock_id uuid, reason text, at timestamptz)
        WHERE p.clock_id = w.clock_id AND p.ended_at IS NULL AND p.reason IS DISTINCT FROM w.reason
    ), stood AS (
        INSERT INTO sla_pause(id, clock_id, reason, started_at)
        SELECT id, clock_id, reason, at
        FROM jsonb_to_recordset(CAST(:stood AS jsonb)) AS s(id uuid, clock_id uuid, reason text, at timestamptz)
        WHERE NOT EXISTS (
            SELECT 1 FROM sla_pause p WHERE p.clock_id = s.clock_id AND p.ended_at IS NULL AND p.reason = s.reason)
    )
    INSERT INTO sla_attainment_delta(day, policy_id, metric, channel_id, queue_id, agent_id, met, breached, late, elapsed_us)
    SELECT (d.at AT TIME ZONE 'UTC')::date, d.policy_id, d.metric, c.channel_id, c.queue_id, coalesce(c.assignee_id, c.owner_id),
           d.met, d.breached, d.late, d.elapsed_us
    FROM jsonb_to_recordset(CAST(:facts AS jsonb)) AS d(conversation_id uuid, at timestamptz, policy_id uuid, metric text,
                                                        met int, breached int, late int, elapsed_us bigint)
    JOIN conversation c ON c.id = d.conversation_id
""")
_PAUSES = text("""
    SELECT clock_id, reason, started_at, ended_at FROM sla_pause
    WHERE clock_id = ANY(CAST(:ids AS uuid[])) ORDER BY started_at, id
""")
_METRICS = text("SELECT DISTINCT metric FROM sla_clock WHERE conversation_id = :id AND cycle = :cycle")


@dataclass
class Sheet:
    """`missed` are the clocks that were found late; the caller tells. Nothing is written before `save`."""

    at: datetime
    clocks: list[SlaClock]
    policies: Mapping[UUID, SlaPolicy]
    timelines: Mapping[UUID | None, Timeline]
    missed: list[SlaClock] = field(default_factory=list)
    _made: list[SlaClock] = field(default_factory=list)
    _changed: dict[UUID, SlaClock] = field(default_factory=dict)
    _stood: list[dict[str, Any]] = field(default_factory=list)
    _went: list[dict[str, Any]] = field(default_factory=list)
    _facts: list[dict[str, Any]] = field(default_factory=list)
    _sooner: bool = False

    def stop(self, clock: SlaClock, state: ClockState, reason: str = "") -> None:
        """Met or cancelled for good, or paused for a `reason`."""
        ran = clock.state == ClockState.RUNNING
        self._count(clock, runs.stop(_run(clock), self.timelines[clock.calendar_id], self.at))
        if ran and clock.breached_at is None and clock.due_at is not None and clock.due_at <= self.at:
            self._miss(clock, clock.due_at)
        if not ran:
            self._went.append({"clock_id": clock.id, "at": self.at})
        if state is ClockState.PAUSED:
            self._stood.append({"id": new_id(), "clock_id": clock.id, "reason": reason, "at": self.at})
            if clock.breached_at is None:
                clock.due_at, clock.stage_at = None, clock.stage_at[: clock.stage]
        clock.state, clock.next_at = state, None
        if state is ClockState.MET:
            clock.met_at = self.at
            late = clock.breached_at is not None
            self._fact(clock, self.at, met=not late, late=late, elapsed_us=clock.elapsed_us)
        self._changed[clock.id] = clock

    def _miss(self, clock: SlaClock, deadline: datetime) -> None:
        """Late, and nobody had noticed. Escalations that follow come later, if it goes on."""
        clock.breached_at, clock.level = deadline, 1
        clock.stage = clock.breach_stage
        self.missed.append(clock)
        self._fact(clock, deadline, breached=True)

    def _fact(
        self,
        clock: SlaClock,
        at: datetime,
        *,
        met: bool = False,
        breached: bool = False,
        late: bool = False,
        elapsed_us: int = 0,
    ) -> None:
        counted = {"met": int(met), "breached": int(breached), "late": int(late), "elapsed_us": elapsed_us}
        of = {"conversation_id": clock.conversation_id, "policy_id": clock.policy_id, "metric": clock.metric}
        self._facts.append({**of, "at": at, **counted})

    def go(self, clock: SlaClock) -> None:
        """It runs on: its deadline is later by as long as it stood still."""
        self._went.append({"clock_id": clock.id, "at": self.at})
        clock.state = ClockState.RUNNING
        self._count(clock, runs.go(_run(clock), self.at))
        self.arm(clock)

    def wait_for(self, clock: SlaClock, reason: str) -> None:
        """It stands still, from now on for this reason; no-op when that is the one already."""
        self._went.append({"clock_id": clock.id, "reason": reason, "at": self.at})
        self._stood.append({"id": new_id(), "clock_id": clock.id, "reason": reason, "at": self.at})

    def arm(self, clock: SlaClock, past: Sequence[Span] = ()) -> None:
        """Work out when its stages come, under the calendar as it is now."""
        timeline = self.timelines[clock.calendar_id]
        self._count(clock, runs.fold(_run(clock), timeline))
        plan = stages.plan(self.policies[clock.policy_id], clock.target_s)
        armed = stages.arm(plan, _run(clock), timeline, fired=clock.stage, kept=clock.stage_at, past=past)
        clock.breach_stage, clock.stage_at, clock.next_at = plan.breach, armed.stage_at, armed.next_at
        if clock.breached_at is None:
            clock.due_at = armed.due_at
        clock.calendar_version = timeline[-1].version if clock.calendar_id else None
        self._changed[clock.id] = clock
        self._sooner = self._sooner or clock.next_at is not None

    def aim(self, clock: SlaClock, policy: SlaPolicy, past: Sequence[Span]) -> None:
        """Other limits from now on, what was counted stays. `past` is when it ran: by that a deadline is dated that
        has passed already. Who was warned is not warned again about what lies behind."""
        limit = seconds(policy, clock.metric)
        assert limit is not None, "the policy sets this limit"
        running = clock.state == ClockState.RUNNING
        former = self.timelines[clock.calendar_id]
        counted = runs.stop(_run(clock), former, self.at)
        clock.policy_id, clock.target_s, clock.calendar_id = policy.id, limit, policy.calendar_id
        clock.retargeted_at = self.at
        self._count(clock, Run(counted.elapsed_us, self.at if running else None))
        plan = stages.plan(policy, limit)
        behind = [runs.due(counted, former, stage.after_us, past) for stage in plan.stages]
        moments = [moment for moment in behind if moment is not None]
        told = min(len(moments), plan.breach - 1) if clock.warned_at is not None else 0
        clock.stage, clock.stage_at, clock.breach_stage = told, moments, plan.breach
        if running:
            self._arm_after(clock, moments)
        elif len(moments) >= plan.breach:
            clock.due_at, clock.stage_at = moments[plan.breach - 1], moments[: plan.breach]
            self._miss(clock, moments[plan.breach - 1])
        else:
            clock.stage_at = moments[:told]
        self._changed[clock.id] = clock

    def _arm_after(self, clock: SlaClock, moments: list[datetime]) -> None:
        """Stages that lie behind keep their moments, told or not."""
        told = clock.stage
        clock.stage = len(moments)
        self.arm(clock)
        clock.stage = told
        clock.next_at = clock.stage_at[told] if told < len(clock.stage_at) else None
        self._sooner = True

    def start(
        self,
        conversation: Conversation,
        metric: ClockMetric,
        policy: SlaPolicy,
        *,
        turn: int = 0,
        paused: str | None = None,
    ) -> SlaClock:
        """A clock that runs from now, or stands still for the reason `paused`."""
        limit = seconds(policy, metric)
        assert limit is not None, "the policy sets this limit"
        clock = SlaClock(
            conversation_id=conversation.id,
            policy_id=policy.id,
            metric=metric,
            cycle=conversation.cycle,
            turn=turn,
            target_s=limit,
            calendar_id=policy.calendar_id,
            running_since=self.at,
            created_at=self.at,
        )
        self._made.append(clock)
        self.arm(clock)
        del self._changed[clock.id]
        if paused is not None:
            self.stop(clock, ClockState.PAUSED, paused)
        return clock

    async def save(self, session: AsyncSession, conversations: Collection[Conversation]) -> None:
        """Write what changed: one statement, one more for new clocks, one more for what a breach asks for."""
        if self._made:
            await session.execute(_MAKE, {"clocks": _json([_row(clock) for clock in self._made])})
        if self._changed or self._stood or self._went:
            rows = {"clocks": [_row(clock) for clock in self._changed.values()]}
            given = {**rows, "went": self._went, "stood": self._stood, "facts": self._facts}
            await session.execute(_SAVE, {name: _json(value) for name, value in given.items()})
        if self.missed:
            facts = {conversation.id: book.own_facts(conversation) for conversation in conversations}
            fired = [
                actions.Fired(
                    clock.id, clock.conversation_id, clock.policy_id, clock.metric, clock.target_s, clock.stage
                )
                for clock in self.missed
            ]
            await actions.ask(session, fired, facts, self.policies)
        if self._sooner:
            await wake(session, "sla")

    def _count(self, clock: SlaClock, run: Run) -> None:
        clock.elapsed_us, clock.running_since = run.elapsed_us, run.running_since


async def read(
    session: AsyncSession, conversation_ids: Collection[UUID], more_policies: Collection[UUID] = ()
) -> Sheet:
    """The clocks that run or wait, brought up to date; the caller holds their conversations. One statement, unless
    there are policies that were not read before, or calendars.

    The moment is taken while they are held: whether a limit was kept does not depend on who asked first.
    """
    await session.flush()
    rows = (await session.execute(_READ, {"ids": list(conversation_ids), "states": list(LIVE)})).all()
    at: datetime = rows[0].at
    clocks = [SlaClock(**{name: getattr(row, name) for name in _NAMES}) for row in rows if row.id is not None]
    policies = await book.policies(session, {*(clock.policy_id for clock in clocks), *more_policies})
    calendars = {clock.calendar_id for clock in clocks} | {policy.calendar_id for policy in policies.values()}
    sheet = Sheet(at, clocks, policies, await book.timelines(session, calendars))
    for clock in clocks:
        if is_behind(clock, sheet.timelines[clock.calendar_id]):
            sheet.arm(clock)
    return sheet


def is_behind(clock: SlaClock, timeline: Timeline) -> bool:
    """Its stages have not been worked out, or for a former version of its calendar."""
    if clock.state != ClockState.RUNNING:
        return False
    unarmed = clock.next_at is not None and not clock.stage_at
    return unarmed or (clock.calendar_id is not None and clock.calendar_version != timeline[-1].version)


async def metrics_of(session: AsyncSession, conversation: Conversation) -> set[str]:
    """Those that have, or had, a clock in its cycle."""
    return set((await session.execute(_METRICS, {"id": conversation.id, "cycle": conversation.cycle})).scalars())


async def pauses(
    session: AsyncSession, clocks: Collection[SlaClock]
) -> Mapping[UUID, list[tuple[str, datetime, datetime | None]]]:
    """(reason, from, to) of each, in order; None: it still stands."""
    found: dict[UUID, list[tuple[str, datetime, datetime | None]]] = {clock.id: [] for clock in clocks}
    for row in (await session.execute(_PAUSES, {"ids": list(found)})).all():
        found[row.clock_id].append((row.reason, row.started_at, row.ended_at))
    return found


def _run(clock: SlaClock) -> Run:
    return Run(clock.elapsed_us, clock.running_since)


def _row(clock: SlaClock) -> dict[str, Any]:
    return {name: getattr(clock, name) for name in _NAMES}


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows, default=str).decode()
