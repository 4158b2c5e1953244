"""`/files/{token}`: one file of a conversation, for its customer: no account, no other file."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Response
from fastapi.responses import FileResponse

from app.errors import NotFound
from app.models import Attachment
from app.web.answering import Context, private, reading, subject_of

_POLICY = "sandbox; default-src 'none'"


async def send(context: Context, token: str) -> Response:
    """The bytes, to be saved and never run: no browser opens them in our name. Raises NotFound, Gone."""
    attachment_id = subject_of(context.vault, "file", token)
    async with reading(context.database) as session:
        row = await session.get(Attachment, attachment_id)
    if row is None:
        raise NotFound("this file is not here any more")
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(row.name, safe='')}"}
    response = FileResponse(context.files.open_path(row.sha256), media_type=row.media_type, headers=named)
    return private(response, policy=_POLICY)
