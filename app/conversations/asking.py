"""The receipt on its way to the customer: in their language, in the form of the channel that carries it now.

Where the matter's own channel does not, it goes by the next one on which the customer is known: each channel once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.receipts import payload_of
from app.conversations import plans, queries, replies, ways
from app.conversations.plans import Plan
from app.conversations.ways import Way
from app.delivery import reach
from app.errors import Invalid
from app.events import shapes
from app.feedback import policy, receipt, receipt_words
from app.feedback.receipt_words import Written
from app.models import Agent, Conversation, Message, ReceiptTemplate, ResolutionCycle
from app.models.words import DeliveryStatus, MessageKind

_ILL = "account-broken"
_BESIDE_MENU_BYTES = 1024
_IS_ILL = text(
    "SELECT EXISTS (SELECT 1 FROM channel_state WHERE channel_id = :channel AND state IN ('reauth', 'broken'))"
)
_TRIED = text(
    "SELECT channel_id FROM message WHERE conversation_id = :conversation AND kind = 'receipt' "
    "AND content->'receipt'->>'id' = :cycle AND coalesce(content->>'reminder', '0') = :reminder"
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What there is to say, before it is known by which channel."""

    cycle: ResolutionCycle
    values: Mapping[str, str]
    templates: Sequence[ReceiptTemplate]
    reminder: bool

    def on(self, channel_type: str) -> Written:
        known = {"language": self.cycle.language, "channel_type": channel_type}
        own = receipt_words.choose(self.templates, **known, reminder=self.reminder)
        return receipt_words.write(own, self.values, **known, survey=self.cycle.survey_asked, reminder=self.reminder)

    def short(self) -> str:
        return receipt.short_text(language=self.cycle.language, url=self.values["link"], reminder=self.reminder)


async def language_for(session: AsyncSession, contact_language: str | None, problem: str) -> str:
    """The language of a receipt: see receipt_words.language_of."""
    ours = set((await session.exec(select(ReceiptTemplate.language))).all())
    return receipt_words.language_of(contact_language, problem, ours=ours)


async def send(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    *,
    agent: Agent | None,
    url: str,
    reminder: bool = False,
) -> Message:
    """By the matter's own channel, else by the next that carries it; where none does, it is stored as failed, which the
    desk sees. The caller holds the conversation."""
    letter = await _letter(session, conversation, cycle, url, reminder=reminder)
    own = await _by_own(session, conversation, letter)
    if own.why is None:
        return await _store(session, conversation, letter, own, agent)
    other = await _by_another(session, conversation, letter, passed={conversation.channel_id})
    if other is None:
        return await _store(session, conversation, letter, own, agent)
    return await _store(session, conversation, letter, other, agent, instead=own.why)


async def send_again(session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, url: str) -> bool:
    """After its channel said that it did not arrive (`unreached`): by the next one. False where none is left."""
    lost = await session.get(Message, cycle.unreached) if cycle.unreached is not None else None
    cycle.unreached = None
    session.add(cycle)
    if lost is None or lost.status != DeliveryStatus.FAILED:
        return False
    asked = str(lost.content.get("reminder", "0"))
    key = {"conversation": conversation.id, "cycle": str(cycle.id), "reminder": asked}
    tried = set((await session.execute(_TRIED, key)).scalars())
    letter = await _letter(session, conversation, cycle, url, reminder=asked != "0")
    other = await _by_another(session, conversation, letter, passed=tried)
    if other is None:
        return False
    await _store(session, conversation, letter, other, None, instead=lost.error_code or "failed", number=asked)
    return True


@dataclass(frozen=True, slots=True)
class _Choice:
    """A way, what is said on it, and `why` it cannot carry that now."""

    plan: Plan
    channel_type: str
    written: Written
    why: str | None = None


async def _letter(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, url: str, *, reminder: bool
) -> Letter:
    contact = await queries.contact_of(session, conversation)
    values = {
        "name": " ".join((contact.name or "").split()),
        "subject": conversation.subject or "",
        "problem": cycle.problem.strip(),
        "resolution": cycle.resolution.strip(),
        "commitment": cycle.commitment.strip(),
        "link": url,
    }
    return Letter(cycle, values, (await session.exec(select(ReceiptTemplate))).all(), reminder)


async def _by_own(session: AsyncSession, conversation: Conversation, letter: Letter) -> _Choice:
    way = await ways.find(session, conversation, claim=True)
    kind = (way.channel_type if way else None) or conversation.channel_type
    written = letter.on(kind)
    if way is None:
        plan = await plans.make(session, conversation, kind=MessageKind.RECEIPT, text=letter.short())
        return _Choice(plan, kind, written, plan.why_not.code if plan.why_not else None)
    return await _fitting(session, conversation, letter, way, kind)


async def _fitting(
    session: AsyncSession, conversation: Conversation, letter: Letter, way: Way, channel_type: str
) -> _Choice:
    """With all its words, or with few where the channel does not carry them."""
    full = letter.on(channel_type)
    known = await reach.of(session, conversation, channel_id=way.channel_id, identity_id=way.identity_id)
    few = Written(full.subject, letter.short(), full.question, full.yes, full.no)
    choice = _Choice(Plan(way), channel_type, full)
    for written in (full, few):
        try:
            needs = plans.fit(known.can, written.text)
        except Invalid as error:
            choice = _Choice(Plan(way, error), channel_type, written, error.code)
            continue
        menu = known.can.window_count is not None and len(written.text.encode()) > _BESIDE_MENU_BYTES
        why = reach.why_not(known, by_agent=False, template=False, needs=needs + int(menu))
        choice = _Choice(Plan(way, why), channel_type, written, why.code if why else None)
        if why is None:
            break
    if choice.why is None and (await session.execute(_IS_ILL, {"channel": way.channel_id})).scalar_one():
        return _Choice(choice.plan, channel_type, choice.written, _ILL)  # without another it waits there
    return choice


async def _by_another(
    session: AsyncSession, conversation: Conversation, letter: Letter, *, passed: Collection[UUID]
) -> _Choice | None:
    order = letter.cycle.policy.get("receipt_channels", policy.SHIPPED.receipt_channels)
    async for way in ways.others(session, conversation, order=order, passed=passed):
        assert way.channel_type is not None
        choice = await _fitting(session, conversation, letter, way, way.channel_type)
        if choice.why is None:
            return choice
    return None


async def _store(
    session: AsyncSession,
    conversation: Conversation,
    letter: Letter,
    choice: _Choice,
    agent: Agent | None,
    *,
    instead: str | None = None,
    number: str | None = None,
) -> Message:
    cycle, written, way = letter.cycle, choice.written, choice.plan.way
    if choice.plan.why_not is None and way is not None and way.identity_id is not None:
        cycle.reached_at = way.identity_id
        session.add(cycle)
    content: dict[str, Any] = {
        "receipt": shapes.receipt(cycle, letter.values["link"]),
        "question": written.question,
        "choices": [
            {"title": written.yes, "payload": payload_of(cycle.id, "confirmed"), "query": "outcome=confirmed"},
            {"title": written.no, "payload": payload_of(cycle.id, "rejected"), "query": "outcome=rejected"},
        ],
    }
    if letter.reminder:
        content["reminder"] = int(number) if number is not None else cycle.reminders
    if instead is not None:
        content["instead"] = {"channel_type": conversation.channel_type, "why": instead, "by": choice.channel_type}
    return await replies.send(
        session,
        conversation,
        author=agent,
        kind=MessageKind.RECEIPT,
        text=written.text,
        subject=written.subject,
        content=content,
        plan=choice.plan,
    )
