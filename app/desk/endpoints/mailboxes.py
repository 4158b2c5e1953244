"""`/channels/{id}/mailbox` and `/channels/{id}/parked`: how the reading of a mailbox stands, and what it could not take in."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response
from sqlalchemy import func
from sqlmodel import col, select

from app.clock import now
from app.desk.auth import Admin
from app.desk.endpoints.shared import (
    ContextDep,
    Moment,
    Page,
    PagingDep,
    Shape,
    api_router,
    locked,
    one,
    page_of,
    record,
)
from app.edge import SessionDep
from app.errors import Conflict, NotFound
from app.models import Channel, Mailbox, ParkedMail
from app.models.mailboxes import MailboxState, ParkedState

router = api_router("mailboxes")


class MailboxShape(Shape):
    """`state`: new (not read yet), reading, watching, unreachable, refused. `detail` is what the server said, `attempts` how
    often it failed in a row, `due_at` when it is tried next. Every mail up to `last_uid` was taken in or parked."""

    channel_id: UUID
    source: str
    state: MailboxState
    detail: str | None
    state_at: Moment
    attempts: int
    due_at: Moment
    uid_validity: int | None
    last_uid: int
    parked: int


class ParkedShape(Shape):
    """`whole` is false where only the header was kept. `uid_validity` and `uid` say where the mail lies in the mailbox."""

    id: UUID
    channel_id: UUID
    uid_validity: int
    uid: int
    size: int
    whole: bool
    reason: str
    state: ParkedState
    parked_at: Moment
    settled_at: Moment | None


@router.get("/channels/{channel_id}/mailbox")
async def get_mailbox(channel_id: UUID, session: SessionDep, _: Admin) -> MailboxShape:
    """How the reading of the channel's mailbox (its `imap_url`) stands."""
    await one(session, Channel, channel_id, "channel")
    row = await session.get(Mailbox, channel_id)
    if row is None:
        raise NotFound("this channel's mailbox is not read")
    waiting = (
        select(func.count())
        .select_from(ParkedMail)
        .where(col(ParkedMail.channel_id) == channel_id, col(ParkedMail.state) == ParkedState.PARKED)
    )
    return MailboxShape(
        **row.model_dump(exclude={"lease", "lease_until", "since"}), parked=(await session.exec(waiting)).one()
    )


@router.get("/channels/{channel_id}/parked")
async def list_parked(
    channel_id: UUID, session: SessionDep, _: Admin, paging: PagingDep, state: ParkedState = ParkedState.PARKED
) -> Page[ParkedShape]:
    """Mails that could not be taken in, newest first, without their bytes."""
    await one(session, Channel, channel_id, "channel")
    statement = select(ParkedMail).where(col(ParkedMail.channel_id) == channel_id, col(ParkedMail.state) == state)
    rows, cursor = await page_of(session, statement, col(ParkedMail.id), paging, newest_first=True)
    return Page(items=[ParkedShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/channels/{channel_id}/parked/{parked_id}/raw", response_class=Response)
async def get_parked_raw(channel_id: UUID, parked_id: UUID, session: SessionDep, _: Admin) -> Response:
    """The bytes that were kept, as a file."""
    row = await one(session, ParkedMail, parked_id, "parked mail")
    if row.channel_id != channel_id:
        raise NotFound("there is no such parked mail")
    headers = {"content-disposition": f'attachment; filename="{row.id}.eml"', "x-content-type-options": "nosniff"}
    return Response(row.raw, media_type="application/octet-stream", headers=headers)


@router.post("/channels/{channel_id}/parked/{parked_id}/retry")
async def retry_parked(
    channel_id: UUID, parked_id: UUID, session: SessionDep, context: ContextDep, principal: Admin
) -> ParkedShape:
    """Take the mail in with today's code. 409 with the reason when it still cannot be read, or only its header was kept."""
    row = await one(session, ParkedMail, parked_id, "parked mail")
    if row.channel_id != channel_id:
        raise NotFound("there is no such parked mail")
    await context.intake.take_parked(channel_id, parked_id)
    await session.refresh(row)
    await record(session, principal, "parked_mail.retried", id=row.id, channel_id=channel_id)
    return ParkedShape.model_validate(row)


@router.post("/channels/{channel_id}/parked/{parked_id}/discard")
async def discard_parked(channel_id: UUID, parked_id: UUID, session: SessionDep, principal: Admin) -> ParkedShape:
    """It stays on record and is listed no more."""
    row = await locked(session, ParkedMail, parked_id, "parked mail")
    if row.channel_id != channel_id:
        raise NotFound("there is no such parked mail")
    if row.state != ParkedState.PARKED:
        raise Conflict(f"it is {row.state} already")
    row.state, row.settled_at = ParkedState.DISCARDED, now()
    session.add(row)
    await record(session, principal, "parked_mail.discarded", id=row.id, channel_id=channel_id)
    return ParkedShape.model_validate(row)
