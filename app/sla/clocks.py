"""The clocks of one conversation, whose row the caller holds: they follow what becomes of it.

Moments are the database's, read while the conversation is held (sheet.py). What is due by itself, the watcher notices.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.events import log as events
from app.models import Conversation, SlaClock, SlaPolicy
from app.models.words import ClockMetric, ClockState, ConversationStatus
from app.sla import book, measures, sheet
from app.sla.policy import METRICS, OPENING, stands_still, targets
from app.sla.run import stretches
from app.sla.sheet import Sheet

_ANSWERED = frozenset(
    {ClockMetric.FIRST_RESPONSE, ClockMetric.NEXT_RESPONSE, ClockMetric.PERIODIC_UPDATE, ClockMetric.FOLLOW_UP}
)
_WORK = frozenset(METRICS) - {ClockMetric.FOLLOW_UP}


async def start(session: AsyncSession, conversation: Conversation) -> None:
    """The clocks of the conversation's cycle run from now. No-op for those that are there.

    They run by the versions of policies that the conversation was given; those are chosen now where it has none yet.
    """
    limits = await _limits(session, conversation)
    here = await sheet.read(session, [conversation.id], {policy.id for policy in limits.values()})
    running = {clock.metric for clock in here.clocks if clock.cycle == conversation.cycle}
    for metric in OPENING:
        if metric in limits and metric not in running:
            here.start(conversation, metric, limits[metric])
    await _close(session, conversation, here)


async def meet(session: AsyncSession, conversation: Conversation, *metrics: ClockMetric) -> None:
    """It has been done: its clock stops for good."""
    await _stop(session, conversation, ClockState.MET, metrics)


async def cancel(session: AsyncSession, conversation: Conversation) -> None:
    """What still runs, or waits to run on, is of no interest any more."""
    await _stop(session, conversation, ClockState.CANCELLED, METRICS)


async def closed(session: AsyncSession, conversation: Conversation) -> None:
    """The customer has answered: they have been asked in time or not, and nothing else is of interest any more."""
    here = await _open(session, conversation)
    for clock in here.clocks:
        here.stop(clock, ClockState.MET if clock.metric == ClockMetric.FOLLOW_UP else ClockState.CANCELLED)
    await _close(session, conversation, here)


async def replied(session: AsyncSession, conversation: Conversation, *, answered_at: datetime | None = None) -> None:
    """We have written to the customer, in the message that is the conversation's last: what was owed is met, and the
    next word is due within the time for updates. A call was answered at `answered_at`, a moment before we heard of it."""
    here = await _open(session, conversation)
    heard_at = here.at
    for clock in here.clocks:
        if clock.metric in _ANSWERED:
            if answered_at is not None and clock.running_since is not None:
                here.at = min(heard_at, max(answered_at, clock.running_since))
            here.stop(clock, ClockState.MET)
            here.at = heard_at
    policy = await _setting(session, conversation, ClockMetric.PERIODIC_UPDATE)
    if policy is not None and conversation.status != ConversationStatus.RESOLVED:
        here = await _with(session, here, policy)
        paused = stands_still(policy, ClockMetric.PERIODIC_UPDATE, status=conversation.status, assigned=True)
        here.start(conversation, ClockMetric.PERIODIC_UPDATE, policy, turn=conversation.last_seq, paused=paused)
    await _close(session, conversation, here)


async def resolved(session: AsyncSession, conversation: Conversation) -> None:
    """The work is done: its clocks are met, and the customer has to be asked within the time for that."""
    here = await _open(session, conversation)
    for clock in here.clocks:
        if clock.metric in _WORK:
            here.stop(clock, ClockState.MET)
    policy = await _setting(session, conversation, ClockMetric.FOLLOW_UP)
    if policy is not None:
        here = await _with(session, here, policy)
        here.start(conversation, ClockMetric.FOLLOW_UP, policy)
    await _close(session, conversation, here)


async def follow(session: AsyncSession, conversation: Conversation) -> None:
    """After a change of state or assignee: clocks stand still or run on as their policies say, and the time in an
    agent's hands begins."""
    here = await _open(session, conversation)
    assigned = conversation.assignee_id is not None
    for clock in here.clocks:
        _follow(here, clock, status=conversation.status, assigned=assigned)
    if assigned and conversation.status == ConversationStatus.OPEN:
        policy = await _setting(session, conversation, ClockMetric.HANDLING)
        if policy is not None and not any(clock.metric == ClockMetric.HANDLING for clock in here.clocks):
            here = await _with(session, here, policy)
            here.start(conversation, ClockMetric.HANDLING, policy)
    await _close(session, conversation, here)


async def talking(session: AsyncSession, conversation: Conversation) -> None:
    """Somebody of ours is on the line, whoever it is: the time in hand runs, until `follow` is called at the end."""
    here = await _open(session, conversation)
    clock = next((clock for clock in here.clocks if clock.metric == ClockMetric.HANDLING), None)
    if clock is not None and clock.state == ClockState.PAUSED:
        here.go(clock)
    elif clock is None and (policy := await _setting(session, conversation, ClockMetric.HANDLING)) is not None:
        here = await _with(session, here, policy)
        here.start(conversation, ClockMetric.HANDLING, policy)
    await _close(session, conversation, here)


async def in_hand(session: AsyncSession, conversation: Conversation) -> None:
    """`follow` after a change of assignee: costs nothing where nobody measures the time in their hands."""
    limits = conversation.limits
    if limits is None or len(limits) < len(METRICS) or limits[METRICS.index(ClockMetric.HANDLING)] is not None:
        await follow(session, conversation)


def _follow(here: Sheet, clock: SlaClock, *, status: str, assigned: bool) -> None:
    reason = stands_still(here.policies[clock.policy_id], clock.metric, status=status, assigned=assigned)
    if reason is None and clock.state == ClockState.PAUSED:
        here.go(clock)
    elif reason is not None and clock.state == ClockState.RUNNING:
        here.stop(clock, ClockState.PAUSED, reason)
    elif reason is not None:
        here.wait_for(clock, reason)


async def retarget(session: AsyncSession, conversation: Conversation, *, newest: bool = False) -> bool:
    """Choose its policies again, by what it is now. Returns whether its limits are others than before.

    Running clocks keep what they have counted; one that is late already keeps its limit. A policy that still applies
    keeps the version that the conversation was given, unless `newest` is asked for.
    """
    facts = await book.facts(session, conversation)
    chosen = targets(await book.in_force(session), facts)
    if chosen is None:
        return False
    before = conversation.limits or []
    known = await book.policies(session, [policy_id for policy_id in before if policy_id is not None])
    kept = {} if newest else {policy.code: policy.id for policy in known.values()}
    limits = [
        kept.get(chosen.by[metric].code, chosen.by[metric].id) if metric in chosen.by else None for metric in METRICS
    ]
    if conversation.limits == limits:
        return False
    conversation.limits = limits
    conversation.sla_policy_id = kept.get(chosen.policy.code, chosen.policy.id)
    session.add(conversation)
    await _aim(session, conversation)
    return True


async def _aim(session: AsyncSession, conversation: Conversation) -> None:
    """Bring its clocks under its limits."""
    limits = await _limits(session, conversation)
    here = await sheet.read(session, [conversation.id], {policy.id for policy in limits.values()})
    history = await sheet.pauses(session, here.clocks) if here.clocks else {}
    for clock in here.clocks:
        policy = limits.get(ClockMetric(clock.metric))
        if policy is None:
            here.stop(clock, ClockState.CANCELLED)
        elif policy.id != clock.policy_id and clock.breached_at is None:
            stood = [(since, until) for _, since, until in history[clock.id]]
            here.aim(clock, policy, stretches(clock.created_at, stood, here.at))
            _follow(here, clock, status=conversation.status, assigned=conversation.assignee_id is not None)
    await _add(session, conversation, here, limits)
    await _close(session, conversation, here)


async def _add(
    session: AsyncSession, conversation: Conversation, here: Sheet, limits: dict[ClockMetric, SlaPolicy]
) -> None:
    """Limits that it had not before begin now, while there is work to do."""
    if conversation.status in (ConversationStatus.RESOLVED, ConversationStatus.CLOSED):
        return
    there = await sheet.metrics_of(session, conversation)
    if conversation.first_replied_at is not None:
        there.add(ClockMetric.FIRST_RESPONSE)
    for metric in OPENING:
        if metric in limits and metric not in there:
            policy = limits[metric]
            paused = stands_still(policy, metric, status=conversation.status, assigned=True)
            here.start(conversation, metric, policy, paused=paused)
    if ClockMetric.HANDLING in limits and ClockMetric.HANDLING not in there and conversation.assignee_id is not None:
        policy = limits[ClockMetric.HANDLING]
        paused = stands_still(policy, ClockMetric.HANDLING, status=conversation.status, assigned=True)
        here.start(conversation, ClockMetric.HANDLING, policy, paused=paused)


async def _stop(
    session: AsyncSession, conversation: Conversation, state: ClockState, metrics: Collection[ClockMetric]
) -> None:
    here = await _open(session, conversation)
    for clock in here.clocks:
        if clock.metric in metrics:
            here.stop(clock, state)
    await _close(session, conversation, here)


async def _open(session: AsyncSession, conversation: Conversation) -> Sheet:
    return await sheet.read(session, [conversation.id])


async def _with(session: AsyncSession, here: Sheet, policy: SlaPolicy) -> Sheet:
    """The sheet knows this policy and its calendar too."""
    here.policies = {**here.policies, policy.id: policy}
    if policy.calendar_id not in here.timelines:
        here.timelines = {**here.timelines, **await book.timelines(session, [policy.calendar_id])}
    return here


async def _close(session: AsyncSession, conversation: Conversation, here: Sheet) -> None:
    """Write it down, and tell what was found late."""
    await here.save(session, [conversation])
    for clock in here.missed:
        frame = measures.frame(conversation, clock, here.policies[clock.policy_id])
        await events.append(session, conversation, "sla.breached", frame)
    measures.count(session, [(clock.metric, "breached", measures.lag_s(clock, here.at)) for clock in here.missed])


async def _setting(session: AsyncSession, conversation: Conversation, metric: ClockMetric) -> SlaPolicy | None:
    """The policy that sets this limit of the conversation."""
    return (await _limits(session, conversation)).get(metric)


async def _limits(session: AsyncSession, conversation: Conversation) -> dict[ClockMetric, SlaPolicy]:
    """By metric. One that is older than its limits (or was made by hand) is given them now, under the policy it has."""
    if conversation.limits is None:
        conversation.limits = await _choose(session, conversation)
        session.add(conversation)
    ids: dict[ClockMetric, UUID] = {
        metric: policy_id
        for metric, policy_id in zip(METRICS, conversation.limits, strict=False)
        if policy_id is not None
    }
    policies = await book.policies(session, ids.values())
    return {metric: policies[policy_id] for metric, policy_id in ids.items()}


async def _choose(session: AsyncSession, conversation: Conversation) -> list[UUID | None]:
    first = await session.get(SlaPolicy, conversation.sla_policy_id) if conversation.sla_policy_id else None
    found = targets(await book.in_force(session), await book.facts(session, conversation), first=first)
    return found.limits() if found else [None for _ in METRICS]
