"""`/c/{token}`: where a matter stands, for its customer: no account, no names, never a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.clock import now
from app.conversations import queries
from app.events import shapes
from app.feedback.receipt import link_of
from app.models import Agent, Contact, Conversation, Message, ResolutionCycle, SlaClock
from app.models.words import AuthorType, ClockMetric, CycleState, Direction
from app.web import texts
from app.web.answering import Context, document, language_of, page, reading, subject_of, wants_json
from app.web.progress import Clock, Standing, standing

MESSAGES_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Receipt:
    cycle: ResolutionCycle
    url: str | None


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

    @property
    def to_confirm(self) -> Receipt | None:
        return next((item for item in self.receipts if item.cycle.state == CycleState.PENDING and item.url), None)


async def show(context: Context, request: Request, token: str) -> Response:
    conversation_id = subject_of(context.vault, "progress", token)
    at = now()
    async with reading(context.database) as session:
        conversation = await queries.get(session, conversation_id)
        matter = await _matter(context, session, conversation, at)
    if wants_json(request):
        return document(_shape(matter))
    language = language_of(request, matter.language)
    return page(
        "progress.html",
        language=language,
        matter=matter,
        token=token,
        how_far=lambda moment: texts.how_far(moment - at, language),
    )


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
    )


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


def _shape(matter: Matter) -> dict[str, Any]:
    english = texts.ENGLISH
    current = matter.standing
    return {
        "status": matter.conversation.status,
        "state": english[f"state_{current.state}"],
        "handled_by": english[f"who_{current.who}"] if current.who else None,
        "next": [{"what": item.key, "due_at": shapes.moment(item.at), "late": item.late} for item in current.promises],
        "messages": [_message_shape(line) for line in matter.lines],
        "receipts": [shapes.receipt(item.cycle, item.url or "") for item in matter.receipts],
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
