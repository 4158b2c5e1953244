"""The customer's answer to a receipt: what they said is kept, and the matter is closed or goes on."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, queries, recovering
from app.errors import AlreadyAnswered, NotFound
from app.feedback import collect, recovery
from app.feedback.survey import Answer
from app.models import Conversation, ResolutionCycle
from app.models.words import CycleState, RecoveryState


async def answer_receipt(
    session: AsyncSession, *, cycle_id: UUID, answer: Answer, via: str
) -> tuple[Conversation, ResolutionCycle]:
    """Record `answer`; the first outcome settles the cycle. `via` says where it came from: page, api, widget.

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
    pending = cycle.state == CycleState.PENDING
    later = answer.outcome is not None and not pending
    asked = await recovering.asked(session, conversation, cycle) if later and answer.about != "result" else ()
    if later and not asked:
        settled = await _settled(session, cycle, answer)
        if answer.outcome != settled:
            raise AlreadyAnswered(state=settled)
    said = answer.model_copy(update={"outcome": None}) if later else answer
    await collect.record(session, conversation, cycle=cycle, answer=said)
    if pending and answer.outcome == "confirmed":
        await closing.confirm(session, conversation, cycle, via=via)
    elif pending and answer.outcome == "rejected":
        await closing.reject(session, conversation, cycle, via=via)
    elif asked and answer.outcome is not None:
        await recovering.answered(session, conversation, asked, outcome=answer.outcome, via=via)
    if answer.ratings:
        await recovering.consider(session, conversation, cycle)
    return conversation, cycle


async def _settled(session: AsyncSession, cycle: ResolutionCycle, answer: Answer) -> str:
    """What is known already of the question that the answer is about."""
    word = await recovery.last_word(session, cycle.conversation_id) if answer.about == "remedy" else None
    if word is None:
        return cycle.state
    return CycleState.CONFIRMED if word is RecoveryState.CONFIRMED else CycleState.REJECTED
