"""Something was made good, and the customer of a closed matter is asked whether that helped: the same ways as a receipt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.receipts import About
from app.clock import now
from app.conversations import carrying, queries
from app.conversations.approved import Approved
from app.feedback import collect, recovery_words
from app.feedback.receipt_words import Written
from app.models import Conversation, Message, RecoveryTask, ResolutionCycle
from app.models.words import ConversationStatus, DeliveryStatus, RecoveryCause, RecoveryState

_TRIED = text(
    "SELECT channel_id FROM message WHERE conversation_id = :conversation AND kind = 'receipt' "
    "AND content->'recovery'->>'task_id' = :task AND content->'recovery'->>'version' = :version"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A carrying.Letter. `cycle` is the matter's newest: its page has the question, too. `version` is the task's when it was
    done: what is done once more is asked about once more, by all ways."""

    cycle: ResolutionCycle
    task: RecoveryTask
    version: int
    name: str | None
    subject: str | None
    url: str
    about: About = "remedy"

    def on(self, channel_type: str) -> Written:
        return recovery_words.write(
            language=self.cycle.language,
            channel_type=channel_type,
            text=self.task.text or "",
            url=self.url,
            name=self.name,
            subject=self.subject,
            amount=self.task.amount,
            currency=self.task.currency,
        )

    def short(self) -> str:
        return recovery_words.short_text(language=self.cycle.language, url=self.url)

    async def approved(self, session: AsyncSession, channel_id: UUID, channel_type: str) -> Approved | None:
        return None

    def kept(self) -> dict[str, Any]:
        known = {"task_id": str(self.task.id), "version": self.version, "cycle_id": str(self.cycle.id)}
        return {"recovery": {**known, "remedy": self.task.remedy}}


async def ask(
    session: AsyncSession, conversation: Conversation, task: RecoveryTask, *, link: Callable[[UUID], str]
) -> None:
    """Who rated us anonymously is not asked: the question would tell the agents of the matter."""
    cycle = await queries.newest_cycle(session, conversation)
    if cycle is None or await _anonymous(session, task):
        return
    letter = await _letter(session, conversation, cycle, task, task.version, link(cycle.id))
    message = await carrying.send(session, conversation, letter, agent=None)
    if message.status != DeliveryStatus.FAILED:
        task.asked_at = now()
        session.add(task)


async def ask_again(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, *, lost: Message, url: str
) -> bool:
    """After its channel said that the question did not arrive, and while there is no answer: by the next one. Where none is
    left nobody was asked."""
    task = await session.get(RecoveryTask, UUID(lost.content["recovery"]["task_id"]), populate_existing=True)
    over = conversation.status != ConversationStatus.CLOSED or cycle.number != conversation.cycle
    if over or task is None or task.state != RecoveryState.DONE or task.asked_at is None:
        return False
    version = int(lost.content["recovery"]["version"])
    key = {"conversation": conversation.id, "task": str(task.id), "version": str(version)}
    tried = set((await session.execute(_TRIED, key)).scalars())
    letter = await _letter(session, conversation, cycle, task, version, url)
    if await carrying.send_again(session, conversation, letter, lost=lost, tried=tried):
        return True
    task.asked_at = None
    session.add(task)
    return False


async def _letter(
    session: AsyncSession,
    conversation: Conversation,
    cycle: ResolutionCycle,
    task: RecoveryTask,
    version: int,
    url: str,
) -> Question:
    contact = await queries.contact_of(session, conversation)
    return Question(cycle, task, version, contact.name, conversation.subject, url)


async def _anonymous(session: AsyncSession, task: RecoveryTask) -> bool:
    if task.cause != RecoveryCause.LOW_SCORE or task.cycle_id is None:
        return False
    cycle = await session.get_one(ResolutionCycle, task.cycle_id)
    response = await collect.response_of(session, cycle)
    return response is not None and response.anonymous
