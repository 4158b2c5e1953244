"""The feedback receipt, written in the customer's language and handed over to whoever carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.receipts import About
from app.conversations import approved, carrying, queries
from app.conversations.approved import Approved
from app.events import shapes
from app.feedback import receipt, receipt_approved, receipt_words
from app.feedback.receipt_words import Written
from app.models import Agent, Conversation, Message, ReceiptTemplate, ResolutionCycle

_TRIED = text(
    "SELECT channel_id FROM message WHERE conversation_id = :conversation AND kind = 'receipt' "
    "AND content->'receipt'->>'id' = :cycle AND coalesce(content->>'reminder', '0') = :reminder"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A carrying.Letter. `reminder` counts how often it is asked about again; 0: for the first time."""

    cycle: ResolutionCycle
    values: Mapping[str, str]
    templates: Sequence[ReceiptTemplate]
    reminder: int
    about: About = "result"

    def on(self, channel_type: str) -> Written:
        known = {"language": self.cycle.language, "channel_type": channel_type}
        again = self.reminder > 0
        own = receipt_words.choose(self.templates, **known, reminder=again)
        return receipt_words.write(own, self.values, **known, survey=self.cycle.survey_asked, reminder=again)

    def short(self) -> str:
        return receipt.short_text(language=self.cycle.language, url=self.values["link"], reminder=self.reminder > 0)

    async def approved(self, session: AsyncSession, channel_id: UUID, channel_type: str) -> Approved | None:
        known = {"language": self.cycle.language, "channel_type": channel_type}
        given = receipt_approved.fitting(self.templates, **known, reminder=self.reminder > 0)
        return await approved.first(session, channel_id, given, self.values, cycle_id=self.cycle.id)

    def kept(self) -> dict[str, Any]:
        again = {"reminder": self.reminder} if self.reminder else {}
        return {"receipt": shapes.receipt(self.cycle, self.values["link"]), **again}


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
    """As carrying.send does it. The caller holds the conversation."""
    letter = await _letter(session, conversation, cycle, url, reminder=cycle.reminders if reminder else 0)
    return await carrying.send(session, conversation, letter, agent=agent)


async def send_again(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, lost: Message, url: str
) -> bool:
    """As carrying.send_again does it."""
    reminder = int(lost.content.get("reminder", 0))
    key = {"conversation": conversation.id, "cycle": str(cycle.id), "reminder": str(reminder)}
    tried = set((await session.execute(_TRIED, key)).scalars())
    letter = await _letter(session, conversation, cycle, url, reminder=reminder)
    return await carrying.send_again(session, conversation, letter, lost=lost, tried=tried)


async def _letter(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, url: str, *, reminder: int
) -> Receipt:
    contact = await queries.contact_of(session, conversation)
    values = {
        "name": " ".join((contact.name or "").split()),
        "subject": conversation.subject or "",
        "problem": cycle.problem.strip(),
        "resolution": cycle.resolution.strip(),
        "commitment": cycle.commitment.strip(),
        "link": url,
    }
    return Receipt(cycle, values, (await session.exec(select(ReceiptTemplate))).all(), reminder)
