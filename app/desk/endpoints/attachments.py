"""`/attachments`: files of messages, and files to send."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from sqlalchemy import ColumnElement, exists, false, or_, true, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.context import context_of
from app.desk.auth import CurrentPrincipal, Principal, visible_filter
from app.desk.endpoints.shared import ContextDep, DeskRoute, Shape
from app.edge import SessionDep
from app.errors import Invalid, NotFound
from app.ids import new_id
from app.models import Attachment, Conversation, Message

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}")
_OCTETS = "application/octet-stream"


class UploadRoute(DeskRoute):
    """Bodies as large as an attachment may be."""

    def limit_of(self, request: Request) -> int:
        return context_of(request).settings.attachment_limit


router = APIRouter(route_class=UploadRoute, tags=["attachments"])


class AttachmentShape(Shape):
    id: UUID
    name: str
    media_type: str
    size: int
    url: str


@router.post(
    "/attachments",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def upload(
    request: Request,
    session: SessionDep,
    context: ContextDep,
    _: CurrentPrincipal,
    name: Annotated[str, Query(min_length=1, max_length=255, description="the file's name")] = "file",
) -> AttachmentShape:
    """The body is the file, raw; Content-Type says what it is. Its id goes into the message that sends it."""
    data = await request.body()
    if not data:
        raise Invalid("an attachment has at least one byte", field="body")
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    row = Attachment(
        sha256=await context.files.put(data),
        size=len(data),
        media_type=given if _MEDIA_TYPE.fullmatch(given) else _OCTETS,
        name=_plain_name(name),
    )
    session.add(row)
    await session.flush()
    return AttachmentShape(
        id=row.id, name=row.name, media_type=row.media_type, size=row.size, url=f"/api/v1/attachments/{row.id}"
    )


@router.get("/attachments/{attachment_id}", response_class=Response, responses={200: {"content": {"*/*": {}}}})
async def download(
    attachment_id: UUID, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> FileResponse:
    """The bytes, to be saved and never run: whatever a customer sends, no browser opens it in our name."""
    found = await session.exec(select(Attachment).where(col(Attachment.id) == attachment_id, _seen_by(principal)))
    row = found.one_or_none()
    if row is None:
        raise NotFound("there is no such attachment")
    return FileResponse(
        context.files.open_path(row.sha256),
        media_type=row.media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(row.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, max-age=3600",
        },
    )


def _seen_by(principal: Principal, *, or_unsent: bool = False) -> ColumnElement[bool]:
    """Those of messages in conversations that they see; uploads that no message carries yet are nobody's to read."""
    if principal.senior:
        return true()
    in_sight = exists().where(
        col(Message.id) == col(Attachment.message_id),
        col(Conversation.id) == col(Message.conversation_id),
        visible_filter(principal),
    )
    return or_(in_sight, col(Attachment.message_id).is_(None) if or_unsent else false())


async def to_send(session: AsyncSession, principal: Principal, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Files as a message remembers them: fresh uploads, or files that the sender can see. Raises Invalid."""
    if not ids:
        return []
    found = await session.exec(
        select(Attachment).where(col(Attachment.id).in_(ids), _seen_by(principal, or_unsent=True))
    )
    rows = {row.id: row for row in found.all()}
    for number, wanted in enumerate(ids):
        if wanted not in rows:
            raise Invalid(f"there is no attachment {wanted}", field=f"attachments.{number}")
    return [await _remembered(session, rows[wanted]) for wanted in ids]


async def _remembered(session: AsyncSession, row: Attachment) -> dict[str, Any]:
    """A file that another message carries already is listed anew: each message shows its own to those who see it."""
    if row.message_id is not None:
        row = Attachment(**row.model_dump(include={"sha256", "size", "media_type", "name"}))
        session.add(row)
        await session.flush()
    kept = row.model_dump(include={"name", "media_type", "size", "sha256"})
    return {"id": str(row.id), **kept}


async def bind(session: AsyncSession, message: Message) -> None:
    """Its uploads belong to the message from now on: who sees it may read them."""
    ids = [UUID(item["id"]) for item in message.attachments]
    if ids:
        await session.execute(
            update(Attachment)
            .where(col(Attachment.id).in_(ids), col(Attachment.message_id).is_(None))
            .values(message_id=message.id)
        )


def _plain_name(name: str) -> str:
    """Without folders and control characters."""
    last = re.split(r"[\\/]", name)[-1]
    cleaned = "".join(letter for letter in last if letter.isprintable()).strip(" .")
    return cleaned or f"file-{new_id().hex[:8]}"
