"""`/f/{token}`: the feedback receipt, and the customer's answer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import closing, feedback, recovering
from app.conversations.closing import SILENCE
from app.errors import AlreadyAnswered, ConversationClosed, Invalid, NotFound, Problem, TooManyRequests
from app.events import shapes
from app.feedback import collect
from app.feedback.receipt import link_of
from app.feedback.survey import RATINGS, Answer
from app.models import Conversation, ResolutionCycle, SurveyResponse
from app.models.words import ConversationStatus, CycleState
from app.web.answering import Context, body_of, document, language_of, page, reading, sends_json, subject_of, wants_json

_TELLING = ("is_superseded", "is_silence")
_KEPT = ("outcome", *RATINGS, "comment", "anonymous")
# How old the first answer is that finds no place any more, counted from the newest. The caller holds the conversation.
_CROWDED = text(
    "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM event WHERE conversation_id = :conversation "
    "AND type = 'feedback.received' AND payload->'cycle'->>'id' = :cycle "
    "AND created_at > now() - make_interval(secs => :window) ORDER BY id DESC OFFSET :limit LIMIT 1"
)
_CLOSED = (CycleState.CONFIRMED, CycleState.UNASKED)
_GOING_ON = frozenset(ConversationStatus) - {ConversationStatus.RESOLVED, ConversationStatus.CLOSED}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page shows of one resolution. `remedies`: what was done to make good, where we ask whether that helped."""

    token: str
    cycle: ResolutionCycle
    conversation: Conversation
    response: SurveyResponse | None
    remedies: Sequence[str] = ()

    @property
    def pending(self) -> bool:
        return self.cycle.state == CycleState.PENDING

    @property
    def question(self) -> str | None:
        """What we ask: `result`, whether it is solved; `remedy`, whether what was done to make good helped."""
        if self.remedies:
            return "remedy"
        return "result" if closing.waits(self.conversation, self.cycle) else None

    @property
    def closed_by_it(self) -> bool:
        """The matter is over, and nothing has come since."""
        return self.conversation.status == ConversationStatus.CLOSED and self.conversation.cycle == self.cycle.number

    @property
    def reopened_by_it(self) -> bool:
        """The matter goes on, and was not resolved anew since."""
        return self.conversation.status in _GOING_ON and self.conversation.cycle == self.cycle.number + 1

    @property
    def rates(self) -> bool:
        """Whether we ask for a rating; whoever has given one may change it."""
        return self.cycle.survey_asked or any(getattr(self.response, name, None) is not None for name in RATINGS)

    @property
    def standing(self) -> str | None:
        """The key of the words that say what became of it; None while it is asked about, unless that was in vain before."""
        if self.pending or self.remedies:
            return None
        if self.cycle.state in _CLOSED and not self.closed_by_it:
            return "is_superseded"
        return "is_silence" if self.cycle.decided_via == SILENCE else f"is_{self.cycle.state}"

    @property
    def said(self) -> dict[str, Any]:
        """What was said before. An anonymous rating is not shown again: the link also lies in the conversation, where
        the agents see it."""
        response = self.response
        if response is None:
            return {}
        if response.anonymous:
            return {"anonymous": "true"}
        given = {name: getattr(response, name) for name in (*RATINGS, "comment")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def filled_in(self) -> dict[str, Any]:
        """What the form begins with. To a new question belongs a new comment."""
        return {name: value for name, value in self.said.items() if name != "comment" or self.question != "remedy"}


async def show(context: Context, request: Request, token: str) -> Response:
    cycle_id = subject_of(context.vault, "feedback", token)
    async with reading(context.database) as session:
        seen = await _look(session, token, cycle_id)
    if wants_json(request):
        return document(_shape(context, seen))
    return _page(request, seen, values={**seen.filled_in, **_preselected(request)})


async def answer(context: Context, request: Request, token: str) -> Response:
    """Committed before it is answered. A refusal by a field or by the state shows the form with all that was typed."""
    cycle_id = subject_of(context.vault, "feedback", token)
    given = await body_of(request)
    try:
        said = Answer.model_validate(given)
    except ValidationError as error:
        return await _refuse(context, request, token, cycle_id, given, error)
    try:
        async with context.database.begin() as session:
            taken = await feedback.answer_receipt(
                session, cycle_id=cycle_id, answer=said, via="api" if sends_json(request) else "page"
            )
            await _require_calm(session, context, taken)
            seen = await _seen(session, token, taken.cycle, taken.conversation)
        taken.require()
    except (AlreadyAnswered, ConversationClosed, TooManyRequests) as problem:
        if wants_json(request):
            raise
        return await _not_taken(context, request, token, cycle_id, given, problem)
    if wants_json(request):
        return document(_shape(context, seen))
    return _page(request, seen, values=seen.filled_in, notice=_thanks(seen, said))


async def _require_calm(session: AsyncSession, context: Context, taken: feedback.Taken) -> None:
    """Every change is told to the desk and to partners. Raises TooManyRequests, and nothing of this one is kept; but whether
    it is solved can be said at any time."""
    if taken.decided:
        return
    window = context.settings.page_messages_window_s
    subject = {"conversation": taken.conversation.id, "cycle": str(taken.cycle.id)}
    asked = {**subject, "window": window, "limit": context.settings.page_messages}
    since = (await session.execute(_CROWDED, asked)).scalar_one_or_none()
    if since is not None:
        raise TooManyRequests("this was answered too often in a short time", retry_after=max(round(window - since), 1))


async def _not_taken(
    context: Context, request: Request, token: str, cycle_id: UUID, given: Mapping[str, Any], problem: Problem
) -> Response:
    """The page as it stands, with what was typed."""
    async with reading(context.database) as session:
        seen = await _look(session, token, cycle_id)
    often = isinstance(problem, TooManyRequests)
    notice = "too_often" if often else seen.standing if seen.standing in _TELLING else "conflict"
    response = _page(request, seen, values={**seen.said, **_typed(given)}, notice=notice, status=problem.status)
    if often:
        response.headers["Retry-After"] = str(problem.extra["retry_after"])
    return response


def _thanks(seen: Seen, said: Answer) -> str | None:
    """What came of the answer, as far as that still stands: it may be an old one that comes again."""
    if said.outcome is None:
        return "thanks_rating"
    if seen.question:
        return None
    if said.outcome == "confirmed":
        return "thanks_confirmed" if seen.closed_by_it else seen.standing
    if seen.closed_by_it:  # its window is over: what they said is kept, and nothing is promised
        return "thanks_rating"
    return "thanks_rejected" if seen.reopened_by_it else seen.standing


async def _look(session: AsyncSession, token: str, cycle_id: UUID) -> Seen:
    cycle = await session.get(ResolutionCycle, cycle_id)
    if cycle is None:
        raise NotFound("there is no such receipt")
    conversation = await session.get_one(Conversation, cycle.conversation_id)
    return await _seen(session, token, cycle, conversation)


async def _seen(session: AsyncSession, token: str, cycle: ResolutionCycle, conversation: Conversation) -> Seen:
    asked = await recovering.asked(session, conversation, cycle)
    response = await collect.response_of(session, cycle)
    return Seen(token, cycle, conversation, response, [task.text or "" for task in asked])


async def _refuse(
    context: Context, request: Request, token: str, cycle_id: UUID, given: Mapping[str, Any], error: ValidationError
) -> Response:
    errors = {str(item["loc"][0]): item["msg"].removeprefix("Value error, ") for item in error.errors()}
    if wants_json(request):
        field, detail = next(iter(errors.items()))
        listed = [{"field": name, "detail": message} for name, message in errors.items()]
        raise Invalid(f"{field}: {detail}", field=field, errors=listed)
    async with reading(context.database) as session:
        seen = await _look(session, token, cycle_id)
    wordings = {name: _wording(name, given) for name in errors}
    if seen.question is None and wordings.pop("outcome", ""):
        wordings = {"csat" if seen.rates else "comment": "error_nothing"} | wordings
    return _page(request, seen, values=_typed(given), errors=wordings, status=422)


def _wording(field: str, given: Mapping[str, Any]) -> str:
    """The key of the sentence that says what is wrong."""
    if field == "outcome":
        return "error_outcome_word" if given.get("outcome") or given.get("about") == "remedy" else "error_outcome"
    return f"error_{field}" if field in ("nps", "comment", "anonymous") else "error_stars"


def _typed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _KEPT if given.get(name) not in (None, "")}


def _preselected(request: Request) -> dict[str, Any]:
    """A link may carry an answer (`?csat=5`); it fills the form and does nothing else. Wrong values are left out."""
    chosen: dict[str, Any] = {}
    for name, value in request.query_params.items():
        try:
            chosen |= Answer.model_validate({name: value}).model_dump(exclude_none=True)
        except ValidationError:
            continue
    return {name: value for name, value in chosen.items() if name != "comment"}


def _shape(context: Context, seen: Seen) -> dict[str, Any]:
    return {
        **shapes.receipt(seen.cycle, link_of(context.settings.base_url, seen.token)),
        "conversation_status": seen.conversation.status,
        "decided_at": shapes.moment(seen.cycle.decided_at),
        "ratings": {name: seen.said.get(name) for name in RATINGS},
        "comment": seen.said.get("comment"),
        "anonymous": bool(seen.response and seen.response.anonymous),
        "question": seen.question,
        "remedies": list(seen.remedies),
    }


def _page(
    request: Request,
    seen: Seen,
    *,
    values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    notice: str | None = None,
    status: int = 200,
) -> Response:
    errors = errors or {}
    given = any(name in values or name in errors for name in (*RATINGS, "anonymous"))
    answered = seen.response is not None and status == 200
    return page(
        "receipt.html",
        language=language_of(request, seen.cycle.language),
        status=status,
        cycle=seen.cycle,
        token=seen.token,
        question=seen.question,
        remedies=seen.remedies,
        kept_anonymous=seen.response is not None and seen.response.anonymous,
        rates=seen.rates or given,
        values={name: str(values.get(name, "")) for name in _KEPT},
        errors=errors,
        notice=notice or seen.standing,
        just_answered=request.method == "POST",
        unfold=bool(errors) or not answered or bool(_preselected(request)),
    )
