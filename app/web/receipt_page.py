"""`/f/{token}`: the feedback receipt, and the customer's answer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from app.conversations import feedback, recovering
from app.errors import AlreadyAnswered, Invalid, NotFound
from app.events import shapes
from app.feedback import collect
from app.feedback.receipt import link_of
from app.feedback.survey import RATINGS, Answer
from app.models import Conversation, ResolutionCycle, SurveyResponse
from app.models.words import ConversationStatus, CycleState
from app.web.answering import Context, body_of, document, language_of, page, reading, sends_json, subject_of, wants_json

_KEPT = ("outcome", *RATINGS, "comment", "anonymous")


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


async def show(context: Context, request: Request, token: str) -> Response:
    cycle_id = subject_of(context.vault, "feedback", token)
    async with reading(context.database) as session:
        seen = await _look(session, token, cycle_id)
    if wants_json(request):
        return document(_shape(context, seen))
    return _page(request, seen, values={**seen.said, **_preselected(request)})


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
            conversation, cycle = await feedback.answer_receipt(
                session, cycle_id=cycle_id, answer=said, via="api" if sends_json(request) else "page"
            )
            seen = await _seen(session, token, cycle, conversation)
    except AlreadyAnswered as problem:
        if wants_json(request):
            raise
        async with reading(context.database) as session:
            seen = await _look(session, token, cycle_id)
        notice = "is_superseded" if seen.cycle.state == CycleState.SUPERSEDED else "conflict"
        return _page(request, seen, values={**seen.said, **_typed(given)}, notice=notice, status=problem.status)
    if wants_json(request):
        return document(_shape(context, seen))
    reopened = said.outcome != "rejected" or seen.conversation.status != ConversationStatus.CLOSED
    thanks = said.outcome if said.outcome and reopened else "rating"
    return _page(request, seen, values=seen.said, notice=f"thanks_{thanks}")


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
    return _page(request, seen, values=_typed(given), errors=wordings, status=422)


def _wording(field: str, given: Mapping[str, Any]) -> str:
    """The key of the sentence that says what is wrong."""
    if field == "outcome":
        return "error_outcome_word" if given.get("outcome") else "error_outcome"
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
    rated = seen.response is not None
    return page(
        "receipt.html",
        language=language_of(request, seen.cycle.language),
        status=status,
        cycle=seen.cycle,
        token=seen.token,
        pending=seen.pending or bool(seen.remedies),
        remedies=seen.remedies,
        values={name: str(values.get(name, "")) for name in _KEPT},
        errors=errors or {},
        notice=notice or (None if seen.pending or seen.remedies else f"is_{seen.cycle.state}"),
        unfold=bool(errors) or status != 200 or not rated or bool(_preselected(request)),
    )
