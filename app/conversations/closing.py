"""The end of a matter: resolved by us, confirmed or rejected by the customer, closed or reopened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.text import blank
from app.clock import now
from app.conversations import asking, assignment, queries, states
from app.errors import Conflict, ConversationClosed, Invalid
from app.events import log as events
from app.events import shapes
from app.events.log import SYSTEM, Actor
from app.feedback import outcomes, policy, recovery
from app.models import Agent, CategorySetting, ClosingPolicy, Conversation, ResolutionCycle
from app.models.words import (
    ClockMetric,
    ConversationStatus,
    CycleState,
    Matter,
    RecoveryCause,
    RecoveryState,
)
from app.sla import book, clocks
from app.wakeups import wake

TOPIC = "confirm"
PART_LIMIT = 4_000
SILENCE = outcomes.SILENCE
_ASKED_LATELY = text(
    "SELECT EXISTS (SELECT 1 FROM resolution_cycle r JOIN conversation c ON c.id = r.conversation_id "
    "WHERE c.contact_id = :contact AND r.survey_asked AND r.created_at > now() - make_interval(secs => :gap))"
)
# Two matters of one customer that are resolved at once would both ask: neither sees the other yet.
_ONE_BY_ONE = text("SELECT pg_advisory_xact_lock(hashtextextended('survey ' || :contact, 0))")
_UNASKED = text(
    "SELECT coalesce(bool_and(status = 'failed'), false) FROM message WHERE conversation_id = :conversation "
    "AND kind = 'receipt' AND content->'receipt'->>'id' = :cycle"
)
_OTHER_OPEN = text(
    "SELECT EXISTS (SELECT 1 FROM conversation WHERE identity_id = :identity AND channel_id = :channel "
    "AND status <> 'closed')"
)


async def resolve(
    session: AsyncSession,
    conversation: Conversation,
    *,
    agent: Agent | None,
    problem: str,
    resolution: str,
    commitment: str,
    link: Callable[[UUID], str],
) -> ResolutionCycle:
    """Say that the work is done, and ask the customer: the feedback receipt goes out on their own channel.

    `link` makes the address of the receipt's page from the cycle's id. Raises Invalid for an empty part,
    ConversationClosed, Conflict when it is resolved already.
    """
    parts = _checked(problem=problem, resolution=resolution, commitment=commitment)
    states.require(conversation.status, ConversationStatus.RESOLVED)
    moment = now()
    cycle = await _new_cycle(session, conversation, parts, agent, moment)
    session.add(cycle)
    first = cycle.number == 1
    complaint = first and conversation.matter == Matter.COMPLAINT
    outcomes.count(session, cycle, resolved=1, matters=int(first), complaints=int(complaint))
    conversation.status = ConversationStatus.RESOLVED
    conversation.resolved_at = moment
    conversation.snoozed_until = None
    session.add(conversation)
    await clocks.resolved(session, conversation)
    await assignment.free(session, conversation)
    actor = Actor("agent", agent.id) if agent else SYSTEM
    await events.append(
        session,
        conversation,
        "conversation.resolved",
        {"conversation": shapes.conversation(conversation), "cycle": cycle.number},
        actor=actor,
        to_customer=True,
    )
    cycle.message_id = await _send_receipt(session, conversation, cycle, agent, link(cycle.id))
    session.add(cycle)
    await wake(session, TOPIC)
    return cycle


def _checked(**parts: str) -> dict[str, str]:
    """The three texts of a receipt. Raises Invalid naming the one that is empty or too long."""
    for name, part in parts.items():
        if blank(part):
            raise Invalid("the receipt needs this part", field=name)
        if len(part) > PART_LIMIT:
            raise Invalid(f"longer than {PART_LIMIT} characters", field=name)
    return {name: part.strip() for name, part in parts.items()}


async def _new_cycle(
    session: AsyncSession, conversation: Conversation, parts: Mapping[str, str], agent: Agent | None, moment: datetime
) -> ResolutionCycle:
    """As the closing policy wants it: until when it waits, and whether it asks for a rating."""
    contact = await queries.contact_of(session, conversation)
    rules = await policy_of(session, conversation)
    return ResolutionCycle(
        conversation_id=conversation.id,
        number=conversation.cycle,
        problem=parts["problem"],
        resolution=parts["resolution"],
        commitment=parts["commitment"],
        language=await asking.language_for(session, contact.language, parts["problem"]),
        resolved_by=agent.id if agent else None,
        channel_id=conversation.channel_id,
        queue_id=conversation.queue_id,
        policy=rules,
        survey_asked=await _survey_due(session, conversation, rules),
        confirm_by=policy.confirm_by(rules, moment),
        next_at=policy.next_at(rules, moment, reminders=0),
        created_at=moment,
    )


async def policy_of(session: AsyncSession, conversation: Conversation) -> dict[str, Any]:
    """The closing policy of this matter as it is now, in the form that a cycle keeps."""
    known = (await session.exec(select(ClosingPolicy).where(col(ClosingPolicy.active)))).all()
    facts = await book.facts(session, conversation) if known else {}
    return policy.snapshot(policy.choose(known, facts))


async def _survey_due(session: AsyncSession, conversation: Conversation, rules: Mapping[str, Any]) -> bool:
    """Whether the customer is asked to rate us this time."""
    if not rules["survey"]:
        return False
    await session.execute(_ONE_BY_ONE, {"contact": str(conversation.contact_id)})
    asked = await session.execute(_ASKED_LATELY, {"contact": conversation.contact_id, "gap": rules["survey_gap_s"]})
    return not asked.scalar_one()


async def remind(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    *,
    at: datetime,
    link: Callable[[UUID], str],
) -> None:
    """Ask again about a receipt that nobody answered. `at`: the database's time; what follows counts from this reminder."""
    cycle.reminders += 1
    since = policy.counted_from(cycle.policy, at, reminders=cycle.reminders)
    cycle.confirm_by = policy.confirm_by(cycle.policy, since)
    cycle.next_at = policy.next_at(cycle.policy, since, reminders=cycle.reminders)
    session.add(cycle)
    await _send_receipt(session, conversation, cycle, None, link(cycle.id), reminder=True)


async def _send_receipt(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    agent: Agent | None,
    url: str,
    *,
    reminder: bool = False,
) -> UUID:
    message = await asking.send(session, conversation, cycle, agent=agent, url=url, reminder=reminder)
    shape = shapes.receipt(cycle, url)
    await events.append(session, conversation, "feedback.requested", {"receipt": shape}, to_customer=True)
    return message.id


async def confirm(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, via: str) -> None:
    """The customer says it is solved, or says nothing for long enough (`SILENCE`): the conversation is closed. After silence
    what they say counts instead.

    Raises Conflict when the cycle is settled.
    """
    late = unheard(conversation, cycle)
    _settle(session, cycle, CycleState.CONFIRMED, via, late=late)
    actor = SYSTEM if via == SILENCE else Actor("contact", conversation.contact_id)
    if not late:
        await _close(session, conversation, cycle, actor=actor)
    await recovery.settle(session, conversation, cycle, RecoveryState.CONFIRMED, via=via, actor=actor)


async def lapse(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle) -> None:
    """Nothing was heard for long enough: silence is taken as a yes, unless every receipt failed and nobody was asked.

    Raises Conflict when the cycle is settled.
    """
    key = {"conversation": conversation.id, "cycle": str(cycle.id)}
    if not (await session.execute(_UNASKED, key)).scalar_one():
        await confirm(session, conversation, cycle, via=SILENCE)
        return
    _settle(session, cycle, CycleState.UNASKED, SILENCE)
    await _close(session, conversation, cycle, actor=SYSTEM)


def unheard(conversation: Conversation, cycle: ResolutionCycle) -> bool:
    """It was closed since nothing was heard, and goes on being closed: the customer may still say how it is."""
    closed = conversation.status == ConversationStatus.CLOSED and conversation.cycle == cycle.number
    return closed and cycle.decided_via == SILENCE


def waits(conversation: Conversation, cycle: ResolutionCycle) -> bool:
    """For the customer's word: nobody has answered, and it may still be one or the other."""
    return cycle.state == CycleState.PENDING or (unheard(conversation, cycle) and within_window(conversation))


async def _close(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, actor: Actor) -> None:
    states.require(conversation.status, ConversationStatus.CLOSED)
    moment = now()
    conversation.status = ConversationStatus.CLOSED
    conversation.closed_at = moment
    conversation.reopen_until = moment + timedelta(seconds=cycle.policy.get("reopen_window_s", 0))
    session.add(conversation)
    await clocks.closed(session, conversation)
    told = {"cycle": cycle.number, "via": cycle.decided_via, "asked": cycle.state != CycleState.UNASKED}
    await events.append(
        session,
        conversation,
        "conversation.closed",
        {"conversation": shapes.conversation(conversation), **told},
        actor=actor,
        to_customer=True,
    )


async def reject(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, via: str) -> None:
    """The customer says it is not solved: the same matter goes on with the same owner, and is made good. After silence, too.

    Raises Conflict when the cycle is settled; what `require_window` does after silence.
    """
    late = unheard(conversation, cycle)
    silent_since = cycle.decided_at if late else None
    if late:
        await require_window(session, conversation)
    _settle(session, cycle, CycleState.REJECTED, via, late=late)
    outcomes.count(session, cycle, reopened=1)
    actor = Actor("contact", conversation.contact_id)
    await _open_again(session, conversation, actor, reason="rejected")
    await recovery.settle(
        session, conversation, cycle, RecoveryState.FAILED, via=via, actor=actor, silent_since=silent_since
    )
    await recovery.for_cycle(session, conversation, cycle, RecoveryCause.REJECTION)


async def reopen(session: AsyncSession, conversation: Conversation, *, actor: Actor, reason: str) -> None:
    """Go on with a resolved matter, or a closed one within its window: an agent's wish, or the customer wrote again.

    Raises ConversationClosed when the window is over, or another conversation of the customer is open by now.
    """
    if conversation.status == ConversationStatus.CLOSED:
        await require_window(session, conversation)
    cycle = await queries.newest_cycle(session, conversation)
    if cycle is not None:
        undone = cycle.state == CycleState.CONFIRMED and cycle.number == 1
        outcomes.count(session, cycle, reopened=1, first_contact=-int(undone))
        if cycle.state == CycleState.PENDING:
            _settle(session, cycle, CycleState.SUPERSEDED, reason)
    await _open_again(session, conversation, actor, reason=reason)


async def require_window(session: AsyncSession, conversation: Conversation) -> None:
    """Raises ConversationClosed when a closed one cannot be reopened any more, or another of the customer is open by now."""
    if not within_window(conversation):
        raise ConversationClosed(
            "the matter was closed, and the time to take it up again is over: please write to us again"
        )
    other = {"identity": conversation.identity_id, "channel": conversation.channel_id}
    if (await session.execute(_OTHER_OPEN, other)).scalar_one():
        raise ConversationClosed("the customer has another open conversation by now")


def within_window(conversation: Conversation) -> bool:
    """Whether a closed one may still be reopened, as far as its time goes."""
    return conversation.reopen_until is not None and conversation.reopen_until > now()


def _settle(session: AsyncSession, cycle: ResolutionCycle, state: CycleState, via: str, *, late: bool = False) -> None:
    """`late`: instead of what silence was taken for."""
    if cycle.state != CycleState.PENDING and not late:
        raise Conflict("this receipt has been answered already", state=cycle.state)
    before = outcomes.standing(cycle)
    cycle.state, cycle.decided_at, cycle.decided_via, cycle.next_at = state, now(), via, None
    after = outcomes.standing(cycle)
    outcomes.count(session, cycle, **{name: after[name] - before[name] for name in after})
    session.add(cycle)


async def _open_again(session: AsyncSession, conversation: Conversation, actor: Actor, *, reason: str) -> None:
    if conversation.status != ConversationStatus.CLOSED:
        states.require(conversation.status, ConversationStatus.OPEN)
    await clocks.meet(session, conversation, ClockMetric.FOLLOW_UP)
    conversation.status = ConversationStatus.OPEN
    conversation.cycle += 1
    conversation.resolved_at = None
    conversation.closed_at = None
    conversation.reopen_until = None
    back_to = await _who_goes_on(session, conversation)
    session.add(conversation)
    await events.append(
        session,
        conversation,
        "conversation.reopened",
        {"conversation": shapes.conversation(conversation), "reason": reason},
        actor=actor,
        to_customer=True,
    )
    await clocks.start(session, conversation)
    if back_to is None:
        conversation.assignee_id = None
        session.add(conversation)
        await assignment.wait_in_queue(session, conversation)
        return
    setting = await session.get(CategorySetting, conversation.category)
    weight = setting.weight if setting else 1
    await assignment.hold_capacity(session, back_to, weight, force=True)
    await assignment.assign(session, conversation, agent_id=back_to, weight=weight, how="reopen", actor=SYSTEM)


async def _who_goes_on(session: AsyncSession, conversation: Conversation) -> UUID | None:
    """The owner, else whoever handled it last; None when neither is there any more: then it waits for anybody."""
    for agent_id in (conversation.owner_id, conversation.assignee_id):
        if agent_id and (agent := await session.get(Agent, agent_id)) and agent.active:
            return agent_id
    return None
