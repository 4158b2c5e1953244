"""The customer's answer to a receipt: what they said is kept, and the matter is closed or goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, queries, recovering
from app.errors import AlreadyAnswered, ConversationClosed, NotFound
from app.feedback import collect, recovery
from app.feedback.survey import Answer
from app.models import Conversation, RecoveryTask, ResolutionCycle
from app.models.words import CycleState, RecoveryState


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an answer. `decided`: its outcome was the first to a question of ours. `refused`: a "not solved" after
    silence that came too late to reopen the matter; all else that was said is kept, so whoever tells the customer raises it
    after the commit."""

    conversation: Conversation
    cycle: ResolutionCycle
    decided: bool = False
    refused: ConversationClosed | None = None

    def require(self) -> None:
        """Raises ConversationClosed."""
        if self.refused is not None:
            raise self.refused


async def answer_receipt(session: AsyncSession, *, cycle_id: UUID, answer: Answer, via: str) -> Taken:
    """Record `answer`; the first outcome settles the cycle. `via` says where it came from: page, api, widget.

    Silence is no answer: after it, the first outcome still counts.

    A low rating opens a recovery task. Where we have asked whether a recovery helped, the outcome is the answer to that.
    The same outcome again is fine, and ratings may follow later. An answer that says which question it is `about` settles
    no other one, however late it comes again. Raises NotFound; AlreadyAnswered for an outcome that contradicts the settled
    one, or that comes after the matter was taken up again.
    """
    found = await session.exec(select(ResolutionCycle.conversation_id).where(col(ResolutionCycle.id) == cycle_id))
    conversation_id = found.one_or_none()
    if conversation_id is None:
        raise NotFound("there is no such receipt")
    conversation = await queries.lock(session, conversation_id)
    cycle = await session.get_one(ResolutionCycle, cycle_id, populate_existing=True)
    asked = await _asked(session, conversation, cycle, answer)
    waits = cycle.state == CycleState.PENDING
    late = not waits and not asked and answer.about != "remedy" and closing.unheard(conversation, cycle)
    if answer.outcome is not None and not (waits or late or asked):
        settled = await _settled(session, cycle, answer)
        if answer.outcome != settled:
            raise AlreadyAnswered(state=settled)
    refused = await _too_late(session, conversation) if late and answer.outcome == "rejected" else None
    counts = (waits or late) and refused is None
    said = answer if counts else answer.model_copy(update={"outcome": None})
    await collect.record(session, conversation, cycle=cycle, answer=said)
    if said.outcome is not None:
        settle = closing.confirm if said.outcome == "confirmed" else closing.reject
        await settle(session, conversation, cycle, via=via)
    elif asked and answer.outcome is not None:
        await recovering.answered(session, conversation, asked, outcome=answer.outcome, via=via)
    if answer.ratings:
        await recovering.consider(session, conversation, cycle)
    decided = answer.outcome is not None and (counts or bool(asked))
    return Taken(conversation, cycle, decided, refused)


async def _asked(
    session: AsyncSession, conversation: Conversation, cycle: ResolutionCycle, answer: Answer
) -> Sequence[RecoveryTask]:
    """What was made good, where the answer says whether that helped."""
    if answer.outcome is None or cycle.state == CycleState.PENDING or answer.about == "result":
        return ()
    return await recovering.asked(session, conversation, cycle)


async def _too_late(session: AsyncSession, conversation: Conversation) -> ConversationClosed | None:
    try:
        await closing.require_window(session, conversation)
    except ConversationClosed as problem:
        return problem
    return None


async def _settled(session: AsyncSession, cycle: ResolutionCycle, answer: Answer) -> str:
    """What is known already of the question that the answer is about."""
    word = await recovery.last_word(session, cycle.conversation_id) if answer.about == "remedy" else None
    if word is None:
        return cycle.state
    return CycleState.CONFIRMED if word is RecoveryState.CONFIRMED else CycleState.REJECTED
