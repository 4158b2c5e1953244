"""`/inbound-journal`: every genuine call from outside, raw; what could not be understood can be tried again."""

from __future__ import annotations

import base64
from uuid import UUID

from fastapi import Request
from sqlmodel import col, select

from app.desk.auth import Admin
from app.desk.endpoints.shared import (
    ContextDep,
    Moment,
    Page,
    PagingDep,
    Shape,
    api_router,
    one,
    page_of,
    record,
)
from app.edge import SessionDep
from app.errors import Conflict
from app.models import InboundJournal
from app.models.words import JournalStatus

router = api_router("inbound journal")
_WHAT = "journal row"
_HIDDEN = ("secret", "token", "authorization", "cookie", "password", "api-key")


class JournalShape(Shape):
    """`error` says, per item, what could not be understood."""

    id: UUID
    channel_id: UUID
    transport: str
    status: JournalStatus
    error: str | None
    correlation_id: str | None
    received_at: Moment


class JournalDetail(JournalShape):
    """`body` is base64 of the raw bytes. Headers that carry a secret are shown as `***`."""

    headers: dict[str, str]
    body: str


class Replayed(Shape):
    """`messages` are those of the call: new ones, and those that were stored before."""

    id: UUID
    status: JournalStatus
    error: str | None
    messages: list[UUID]


@router.get("/inbound-journal")
async def list_journal(
    session: SessionDep,
    _: Admin,
    paging: PagingDep,
    status: JournalStatus | None = None,
    channel_id: UUID | None = None,
) -> Page[JournalShape]:
    """Newest first, without the bodies."""
    statement = select(InboundJournal)
    if status is not None:
        statement = statement.where(col(InboundJournal.status) == status)
    if channel_id is not None:
        statement = statement.where(col(InboundJournal.channel_id) == channel_id)
    rows, cursor = await page_of(session, statement, col(InboundJournal.id), paging, newest_first=True)
    return Page(items=[JournalShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/inbound-journal/{journal_id}")
async def get_journal(journal_id: UUID, session: SessionDep, _: Admin) -> JournalDetail:
    row = await one(session, InboundJournal, journal_id, _WHAT)
    headers = {
        name: "***" if any(word in name.lower() for word in _HIDDEN) else str(value)
        for name, value in row.headers.items()
    }
    shape = JournalShape.model_validate(row)
    return JournalDetail(**shape.model_dump(), headers=headers, body=base64.b64encode(row.body).decode())


@router.post("/inbound-journal/{journal_id}/replay")
async def replay_journal(
    journal_id: UUID, request: Request, session: SessionDep, context: ContextDep, principal: Admin
) -> Replayed:
    """Read the call again with today's code. What is stored already stays one message, so this is always safe."""
    known = await one(session, InboundJournal, journal_id, _WHAT)
    if known.status == JournalStatus.TRAPPED:
        raise Conflict("a submission that was trapped is restored: POST /channels/{id}/trapped/{trapped_id}/restore")
    stored = await context.intake.replay(journal_id)
    row = await session.get_one(InboundJournal, journal_id, populate_existing=True)
    await record(session, principal, "inbound_journal.replayed", id=row.id, messages=len(stored))
    return Replayed(
        id=row.id, status=JournalStatus(row.status), error=row.error, messages=[item.message_id for item in stored]
    )
