"""`/m/{token}`: one file of ours, for the provider that sends it on: short-lived, good for this file alone."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from app.errors import NotFound
from app.models import Attachment
from app.web.answering import PageRoute, context_of, private, reading, subject_of

PURPOSE = "media"
_POLICY = "sandbox; default-src 'none'"

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.api_route("/m/{token}", methods=["GET", "HEAD"])
async def send_media(request: Request, token: str) -> Response:
    """The bytes as they are. A browser that comes by shows them in a sandbox, or not at all. Raises NotFound, Gone."""
    context = context_of(request)
    attachment_id = subject_of(context.vault, PURPOSE, token)
    async with reading(context.database) as session:
        row = await session.get(Attachment, attachment_id)
    if row is None:
        raise NotFound("this file is not here any more")
    named = {"Content-Disposition": f"inline; filename*=UTF-8''{quote(row.name, safe='')}"}
    response = FileResponse(context.files.open_path(row.sha256), media_type=row.media_type, headers=named)
    return private(response, policy=_POLICY)
