"""`/canned-replies`: what agents say often, by shortcut and language."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, StringConstraints, model_validator
from sqlmodel import col, select

from app.desk.auth import Admin, CurrentPrincipal
from app.desk.endpoints.shared import (
    Body,
    Moment,
    Page,
    PagingDep,
    Shape,
    Text,
    api_router,
    change,
    locked,
    not_blank,
    not_null,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.models import CannedReply

router = api_router("canned replies")
_WHAT = "canned reply"


Shortcut = Annotated[str, StringConstraints(strip_whitespace=True, max_length=50, pattern=r"^[^\s\x00-\x1f]+$")]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*$")]
Reply = Annotated[Text, AfterValidator(not_blank)]


class NewReply(Body):
    shortcut: Shortcut
    language: Language = "en"
    text: Reply


class ReplyChange(Body):
    shortcut: Shortcut | None = None
    language: Language | None = None
    text: Reply | None = None

    _not_null = model_validator(mode="after")(not_null("shortcut", "language", "text"))


class ReplyShape(Shape):
    id: UUID
    shortcut: str
    language: str
    text: str
    version: int
    created_at: Moment
    updated_at: Moment


@router.post("/canned-replies", status_code=201)
async def create_canned_reply(given: NewReply, response: Response, session: SessionDep, principal: Admin) -> ReplyShape:
    row = CannedReply(**given.model_dump())
    await save(session, row)
    await record(session, principal, "canned_reply.created", id=row.id, shortcut=row.shortcut)
    tag(response, row)
    return ReplyShape.model_validate(row)


@router.get("/canned-replies")
async def list_canned_replies(
    session: SessionDep,
    _: CurrentPrincipal,
    paging: PagingDep,
    language: str | None = None,
    shortcut: str | None = None,
) -> Page[ReplyShape]:
    """For every agent."""
    statement = select(CannedReply)
    if language is not None:
        statement = statement.where(col(CannedReply.language) == language)
    if shortcut is not None:
        statement = statement.where(col(CannedReply.shortcut) == shortcut)
    rows, cursor = await page_of(session, statement, col(CannedReply.id), paging)
    return Page(items=[ReplyShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/canned-replies/{reply_id}")
async def get_canned_reply(reply_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal) -> ReplyShape:
    row = await one(session, CannedReply, reply_id, _WHAT)
    tag(response, row)
    return ReplyShape.model_validate(row)


@router.patch("/canned-replies/{reply_id}")
async def change_canned_reply(
    reply_id: UUID,
    given: ReplyChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
) -> ReplyShape:
    row = await locked(session, CannedReply, reply_id, _WHAT)
    require_version(request, row)
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    await record(session, principal, "canned_reply.updated", id=row.id, changed=changed)
    tag(response, row)
    return ReplyShape.model_validate(row)


@router.delete("/canned-replies/{reply_id}", status_code=204)
async def delete_canned_reply(reply_id: UUID, session: SessionDep, principal: Admin) -> None:
    row = await locked(session, CannedReply, reply_id, _WHAT)
    await session.delete(row)
    await record(session, principal, "canned_reply.deleted", id=reply_id, shortcut=row.shortcut)
