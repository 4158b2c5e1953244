"""`/c/{token}`: where a matter stands, for its customer: no account, no names, never a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import queries
from app.conversations.closing import SILENCE
from app.conversations.writing_in import WrittenIn
from app.errors import Conflict, Invalid, Problem, TooManyRequests
from app.events import shapes
from app.feedback.receipt import Language, link_of
from app.ids import new_id
from app.models import Agent, Channel, Contact, Conversation, Message, ResolutionCycle, SlaClock
from app.models.words import AuthorType, ClockMetric, CycleState, Direction
from app.web import texts
from app.web.answering import (
    Context,
    body_of,
    document,
    language_of,
    page,
    private,
    reading,
    subject_of,
    wants_json,
)
from app.web.progress import Clock, Standing, standing

MESSAGES_SHOWN = 200
_SENT = ("here", "followed", "elsewhere")
# Only what was opened from this very page: another matter of the same address may be somebody else's.
_FOLLOWED_BY = text(
    "SELECT n.id FROM conversation n JOIN message f ON f.conversation_id = n.id AND f.seq = 1 "
    "WHERE n.contact_id = :contact AND n.channel_id = :channel AND n.id <> :id AND f.content->>'page' = :page "
    "ORDER BY n.created_at DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """`verdict`: what the customer said of it, or that they said nothing."""

    cycle: ResolutionCycle
    url: str | None

    @property
    def verdict(self) -> str:
        return "silence" if self.cycle.decided_via == SILENCE else self.cycle.state


@dataclass(frozen=True, slots=True)
class Line:
    """One message as the page shows it; a receipt is shown in its three parts instead of as text."""

    message: Message
    who: str
    receipt: Receipt | None
    files: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Matter:
    conversation: Conversation
    language: str | None
    standing: Standing
    lines: Sequence[Line]
    receipts: Sequence[Receipt]
    shortened: bool
    takes_messages: bool
    followed_by: UUID | None

    @property
    def to_confirm(self) -> Receipt | None:
        return next((item for item in self.receipts if item.cycle.state == CycleState.PENDING and item.url), None)


async def show(context: Context, request: Request, token: str) -> Response:
    conversation_id = subject_of(context.vault, "progress", token)
    at = now()
    matter = await _read(context, conversation_id, at)
    if wants_json(request):
        return document(_shape(context, matter))
    sent = request.query_params.get("sent")
    return _page(context, request, token, matter, at, sent=sent if sent in _SENT else None)


async def write(context: Context, request: Request, token: str) -> Response:
    """A message of the customer, stored before it is answered. What is wrong is shown with what they have written."""
    conversation_id = subject_of(context.vault, "progress", token)
    given = await body_of(request)
    written, key = "", ""
    try:
        written, key = _text_of(given, "text"), _text_of(given, "id")[:100] or new_id().hex
        taken = await context.page_messages.take(conversation_id, text=written, key=key)
    except (Invalid, Conflict, TooManyRequests) as problem:
        if wants_json(request):
            raise
        at = now()
        matter = await _read(context, conversation_id, at)
        response = _page(context, request, token, matter, at, written=written, key=key or None, problem=problem)
        if (wait := problem.extra.get("retry_after")) is not None:
            response.headers["Retry-After"] = str(max(int(wait), 1))
        return response
    return _thanks(context, request, token, conversation_id, taken)


def _text_of(given: Mapping[str, Any], name: str) -> str:
    """Raises Invalid for what is no text."""
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Invalid("must be a text", field=name)
    return value or ""


def _thanks(context: Context, request: Request, token: str, conversation_id: UUID, taken: WrittenIn) -> Response:
    """To the page that has the message now; but to no page that somebody else may have opened."""
    link = context.progress_link(taken.conversation_id) if taken.opened else None
    same = taken.conversation_id == conversation_id
    if wants_json(request):
        where = "here" if same else "followed" if taken.opened else "elsewhere"
        return document({"status": "stored", "where": where, "progress_url": link})
    onto = link.rsplit("/", 1)[1] if link else token
    sent = "here" if same else "followed" if taken.opened else "elsewhere"
    language = request.query_params.get("lang")
    wished = f"&lang={language}" if language in texts.TABLES else ""
    return private(RedirectResponse(f"{onto}?sent={sent}{wished}", 303))


async def _read(context: Context, conversation_id: UUID, at: datetime) -> Matter:
    async with reading(context.database) as session:
        conversation = await queries.get(session, conversation_id)
        return await _matter(context, session, conversation, at)


def _page(
    context: Context,
    request: Request,
    token: str,
    matter: Matter,
    at: datetime,
    *,
    sent: str | None = None,
    written: str = "",
    key: str | None = None,
    problem: Problem | None = None,
) -> Response:
    language, limit = language_of(request, matter.language), context.settings.page_text_limit
    return page(
        "progress.html",
        language=language,
        status=problem.status if problem else 200,
        matter=matter,
        token=token,
        how_far=lambda moment: texts.how_far(moment - at, language),
        sent=sent,
        written=written,
        key=key or new_id().hex,
        limit=limit,
        error=_wording(problem, limit, language) if problem else None,
        followed_by=context.progress_link(matter.followed_by).rsplit("/", 1)[1] if matter.followed_by else None,
    )


def _wording(problem: Problem, limit: int, language: Language) -> str:
    table = texts.TABLES[language]
    if isinstance(problem, TooManyRequests):
        minutes = max(round(float(problem.extra.get("retry_after", 60)) / 60), 1)
        return table["error_text_often"].format(minutes=minutes)
    if isinstance(problem, Conflict):
        return table["error_text_shut"]
    return table["error_text_long" if "limit" in problem.extra else "error_text_missing"].format(limit=limit)


async def _matter(context: Context, session: AsyncSession, conversation: Conversation, at: datetime) -> Matter:
    contact = await session.get_one(Contact, conversation.contact_id)
    handler = await session.get(Agent, conversation.assignee_id) if conversation.assignee_id else None
    cycles = (
        await session.exec(
            select(ResolutionCycle)
            .where(col(ResolutionCycle.conversation_id) == conversation.id)
            .order_by(col(ResolutionCycle.number))
        )
    ).all()
    receipts = [Receipt(cycle, _link(context, cycle, at)) for cycle in cycles]
    messages = await _messages(session, conversation)
    channel = await session.get_one(Channel, conversation.channel_id)
    return Matter(
        conversation=conversation,
        language=contact.language or (cycles[-1].language if cycles else None),
        standing=standing(
            status=conversation.status,
            handler_role=handler.role if handler else None,
            owned=conversation.owner_id is not None,
            clocks=await _clocks(session, conversation),
            snoozed_until=conversation.snoozed_until,
            at=at,
        ),
        lines=[_line(context, message, receipts) for message in messages],
        receipts=receipts,
        shortened=bool(messages) and messages[0].seq > 1 and len(messages) == MESSAGES_SHOWN,
        takes_messages=channel.active,
        followed_by=await _followed_by(session, conversation),
    )


async def _followed_by(session: AsyncSession, conversation: Conversation) -> UUID | None:
    """The matter that a message from this page has opened."""
    asked = {
        "contact": conversation.contact_id,
        "channel": conversation.channel_id,
        "id": conversation.id,
        "page": str(conversation.id),
    }
    found: UUID | None = (await session.execute(_FOLLOWED_BY, asked)).scalar_one_or_none()
    return found


async def _messages(session: AsyncSession, conversation: Conversation) -> list[Message]:
    """The newest, oldest first; notes are never even read."""
    found = await session.exec(
        select(Message)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.direction).in_((Direction.INBOUND, Direction.OUTBOUND)),
        )
        .order_by(col(Message.seq).desc())
        .limit(MESSAGES_SHOWN)
    )
    return list(reversed(found.all()))


async def _clocks(session: AsyncSession, conversation: Conversation) -> list[Clock]:
    found = await session.exec(
        select(SlaClock).where(
            col(SlaClock.conversation_id) == conversation.id,
            col(SlaClock.cycle) == conversation.cycle,
            col(SlaClock.metric).in_((ClockMetric.FIRST_RESPONSE, ClockMetric.RESOLUTION)),
        )
    )
    return [Clock(row.metric, row.state, row.due_at) for row in found.all()]


def _link(context: Context, cycle: ResolutionCycle, at: datetime) -> str | None:
    """The receipt's page, as long as the link that was sent is good for."""
    until = cycle.created_at + timedelta(days=context.settings.receipt_valid_days)
    left = int((until - at).total_seconds())
    if left <= 0:
        return None
    return link_of(context.settings.base_url, context.vault.sign("feedback", cycle.id, valid_s=left))


def _line(context: Context, message: Message, receipts: Sequence[Receipt]) -> Line:
    who = {AuthorType.CONTACT: "you", AuthorType.AGENT: "service"}.get(AuthorType(message.author_type), "automatic")
    receipt = next((item for item in receipts if item.cycle.message_id == message.id), None)
    return Line(message, who, receipt, [_file(context, item) for item in message.attachments])


def _file(context: Context, item: Mapping[str, Any]) -> dict[str, Any]:
    """Its address is None while it is not stored here."""
    url = context.file_link(UUID(item["id"])) if item.get("sha256") else None
    return {"name": item["name"], "media_type": item["media_type"], "size": item["size"], "url": url}


def _shape(context: Context, matter: Matter) -> dict[str, Any]:
    english = texts.ENGLISH
    current = matter.standing
    return {
        "status": matter.conversation.status,
        "state": english[f"state_{current.state}"],
        "handled_by": english[f"who_{current.who}"] if current.who else None,
        "next": [{"what": item.key, "due_at": shapes.moment(item.at), "late": item.late} for item in current.promises],
        "messages": [_message_shape(line) for line in matter.lines],
        "receipts": [shapes.receipt(item.cycle, item.url or "") for item in matter.receipts],
        "takes_messages": matter.takes_messages,
        "followed_by": context.progress_link(matter.followed_by) if matter.followed_by else None,
    }


def _message_shape(line: Line) -> dict[str, Any]:
    message = line.message
    return {
        "seq": message.seq,
        "direction": message.direction,
        "kind": message.kind,
        "from": {"you": "customer", "service": "service"}.get(line.who, "system"),
        "text": message.text,
        "attachments": line.files,
        "created_at": shapes.moment(message.created_at),
    }
