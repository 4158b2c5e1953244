"""A question to the customer on its way: by the channel that carries it now, in the form that is best there.

Where a channel takes only texts that its provider has approved now, it goes as one of those. Where the matter's own channel
does not carry it at all, it goes by the next one on which the customer is known: each channel once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.receipts import About, Outcome, payload_of
from app.conversations import plans, replies, ways
from app.conversations.approved import Approved
from app.conversations.plans import Plan
from app.conversations.ways import Way
from app.delivery import reach, unreached
from app.delivery.reach import Reach
from app.errors import Invalid
from app.feedback import policy
from app.feedback.receipt_words import Written
from app.models import Agent, Conversation, Message, ResolutionCycle
from app.models.words import MessageKind

_ILL = "account-broken"
_BESIDE_MENU_BYTES = 1024
_IS_ILL = text(
    "SELECT EXISTS (SELECT 1 FROM channel_state WHERE channel_id = :channel AND state IN ('reauth', 'broken'))"
)


class Letter(Protocol):
    """What there is to say, before it is known by which channel. `about`: which question its buttons answer."""

    @property
    def cycle(self) -> ResolutionCycle: ...

    @property
    def about(self) -> About: ...

    def on(self, channel_type: str) -> Written: ...

    def short(self) -> str:
        """Where the channel does not carry all of it."""

    async def approved(self, session: AsyncSession, channel_id: UUID, channel_type: str) -> Approved | None: ...

    def kept(self) -> dict[str, Any]:
        """What its message is known by."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """A way, what is said on it, and `why` it cannot carry that now. With `approved` it is said in those words."""

    plan: Plan
    channel_type: str
    written: Written
    why: str | None = None
    approved: Approved | None = None


async def send(session: AsyncSession, conversation: Conversation, letter: Letter, *, agent: Agent | None) -> Message:
    """By the matter's own channel, else by the next that carries it; where none does, it is stored as failed, which the
    desk sees. The caller holds the conversation."""
    own = await _by_own(session, conversation, letter)
    if own.why is None:
        return await _store(session, conversation, letter, own, agent)
    other = await _by_another(session, conversation, letter, passed={conversation.channel_id})
    if other is None:
        return await _store(session, conversation, letter, own, agent)
    return await _store(session, conversation, letter, other, agent, instead=own.why)


async def send_again(
    session: AsyncSession, conversation: Conversation, letter: Letter, *, lost: Message, tried: Collection[UUID]
) -> bool:
    """After its channel said that it did not arrive: by the matter's own, where that takes a text that its provider has
    approved, else by the next one that was not `tried`. False where none is left."""
    if lost.error_code == reach.WINDOW_CLOSED and lost.channel_id == conversation.channel_id:
        own = await _by_own(session, conversation, letter)
        if own.approved is not None and own.why is None and "template" not in lost.content:
            await _store(session, conversation, letter, own, None)
            return True
    other = await _by_another(session, conversation, letter, passed=tried)
    if other is None:
        return False
    await _store(session, conversation, letter, other, None, instead=_why_lost(lost))
    return True


def _why_lost(lost: Message) -> str:
    return "template-refused" if lost.error_code == unreached.REFUSED else lost.error_code or "failed"


async def _by_own(session: AsyncSession, conversation: Conversation, letter: Letter) -> _Choice:
    way = await ways.find(session, conversation, claim=True)
    kind = (way.channel_type if way else None) or conversation.channel_type
    written = letter.on(kind)
    if way is None:
        plan = await plans.make(session, conversation, kind=MessageKind.RECEIPT, text=letter.short())
        return _Choice(plan, kind, written, plan.why_not.code if plan.why_not else None)
    return await _fitting(session, conversation, letter, way, kind)


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


async def _fitting(
    session: AsyncSession, conversation: Conversation, letter: Letter, way: Way, channel_type: str
) -> _Choice:
    """In its own words where the channel carries them, else in those that its provider has approved."""
    known = await reach.of(session, conversation, channel_id=way.channel_id, identity_id=way.identity_id)
    choice = _in_words(letter, known, way, channel_type)
    if choice.why == reach.WINDOW_CLOSED and reach.why_not(known, by_agent=False, template=True) is None:
        found = await letter.approved(session, way.channel_id, channel_type)
        if found is not None:
            choice = replace(choice, plan=Plan(way), why=None, approved=found)
    if choice.why is None and (await session.execute(_IS_ILL, {"channel": way.channel_id})).scalar_one():
        return replace(choice, why=_ILL)  # without another it waits there
    return choice


def _in_words(letter: Letter, known: Reach, way: Way, channel_type: str) -> _Choice:
    """With all of them, or with few where the channel does not carry them."""
    full = letter.on(channel_type)
    choice = _Choice(Plan(way), channel_type, full)
    for written in (full, replace(full, text=letter.short())):
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
    return choice


async def _store(
    session: AsyncSession,
    conversation: Conversation,
    letter: Letter,
    choice: _Choice,
    agent: Agent | None,
    *,
    instead: str | None = None,
) -> Message:
    cycle, way = letter.cycle, choice.plan.way
    if choice.plan.why_not is None and way is not None and way.identity_id is not None:
        cycle.reached_at = way.identity_id
        session.add(cycle)
    content: dict[str, Any] = {**letter.kept(), **_form(letter, choice)}
    if instead is not None:
        content["instead"] = {"channel_type": conversation.channel_type, "why": instead, "by": choice.channel_type}
    return await replies.send(
        session,
        conversation,
        author=agent,
        kind=MessageKind.RECEIPT,
        text=choice.approved.text if choice.approved is not None else choice.written.text,
        subject=choice.written.subject,
        content=content,
        plan=choice.plan,
    )


def _form(letter: Letter, choice: _Choice) -> dict[str, Any]:
    """What goes beside the text: buttons to answer by, or the approved text with its own."""
    if (found := choice.approved) is not None:
        buttons = [asdict(button) for button in found.template.buttons]
        named = {"name": found.template.name, "language": found.template.language}
        return {"template": {**named, "parameters": list(found.template.parameters)}, "buttons": buttons}
    titles: dict[Outcome, str] = {"confirmed": choice.written.yes, "rejected": choice.written.no}
    choices = [
        {"title": title, "payload": payload_of(letter.cycle.id, outcome, letter.about), "query": f"outcome={outcome}"}
        for outcome, title in titles.items()
    ]
    return {"question": choice.written.question, "choices": choices}
