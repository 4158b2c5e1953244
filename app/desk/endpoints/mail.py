"""A mail as it came: what its header says, and its HTML made safe to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Response
from fastapi.responses import HTMLResponse
from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels import mail_safe
from app.channels.base import InboundFile
from app.desk.auth import CurrentPrincipal, Principal, visible
from app.desk.endpoints.shared import ContextDep, Shape, api_router
from app.edge import SessionDep
from app.errors import NotFound
from app.models import Message
from app.models.words import Direction

router = api_router("conversations")
Seq = Annotated[int, Path(ge=1, le=2_147_483_647)]
_IMAGE_LIMIT = 5_000_000


class PersonShape(Shape):
    email: str
    name: str | None = None


class AuthenticationShape(Shape):
    """What our own mail server found out. `unverified`: whoever sent it may not be who it says."""

    verdict: str = Field(description="verified, unverified, or unknown when no trusted server looked at it")
    by: str | None = None
    spf: str | None = None
    dkim: str | None = None
    dmarc: str | None = None
    arc: str | None = None


class ThreadingShape(Shape):
    """`rule`: token, in_reply_to, references, thread_index, subject, last, sender (their open conversation) or new.

    `participant` is `new` when the sender did not take part before. `follows` is a conversation that the mail names and
    could not join, found `by` a rule, because it is `closed` or its sender is a `stranger` there (`why`).
    """

    rule: str | None = None
    participant: str | None = None
    follows: UUID | None = None
    by: str | None = None
    why: str | None = None


class MailShape(Shape):
    """`full_text` is everything, with quotes and signature. `automatic` says by which sign nobody wrote it by hand."""

    to: list[PersonShape]
    cc: list[PersonShape]
    reply_to: list[PersonShape]
    full_text: str
    automatic: str | None
    automatic_kind: str | None
    authentication: AuthenticationShape
    threading: ThreadingShape
    calendar: dict[str, Any] | None = Field(description="the invitation, or the answer to one; docs/email-reading.md")
    problems: list[str]
    html_url: str | None


@router.get("/conversations/{conversation_id}/messages/{seq}/mail")
async def get_mail(conversation_id: UUID, seq: Seq, session: SessionDep, principal: CurrentPrincipal) -> MailShape:
    """What is known of a customer's mail besides its words."""
    row = await _mail(session, principal, conversation_id, seq)
    kept = row.content
    here = f"/api/v1/conversations/{conversation_id}/messages/{seq}"
    return MailShape(
        **{name: [PersonShape(**each) for each in kept.get(name, ())] for name in ("to", "cc", "reply_to")},
        full_text=kept.get("full_text", row.text),
        automatic=str(kept["automatic"]) if kept.get("automatic") else None,
        automatic_kind=kept.get("automatic_kind"),
        authentication=AuthenticationShape(**kept.get("authentication", {"verdict": "unknown"})),
        threading=ThreadingShape(**kept.get("threading", {})),
        calendar=kept.get("calendar"),
        problems=kept.get("problems", []),
        html_url=f"{here}/html" if kept.get("html") else None,
    )


@router.get(
    "/conversations/{conversation_id}/messages/{seq}/html",
    response_class=HTMLResponse,
    responses={200: {"content": {"text/html": {}}}},
)
async def get_html(
    conversation_id: UUID, seq: Seq, session: SessionDep, context: ContextDep, principal: CurrentPrincipal
) -> Response:
    """The mail's HTML as a page that runs nothing and fetches nothing: show it in a frame with `sandbox`.

    Pictures of the mail itself are in it. `X-Blocked-Remote` counts what lies elsewhere and was left out, `X-Blocked-Active`
    scripts, forms and their like.
    """
    row = await _mail(session, principal, conversation_id, seq)
    source = row.content.get("html")
    if not source or row.content.get("deleted"):
        raise NotFound("this mail has no HTML")
    safe = await asyncio.to_thread(_made_safe, source, row.attachments, context.files.open_path)
    return HTMLResponse(
        safe.html,
        headers={
            "Content-Security-Policy": mail_safe.CSP,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "private, no-store",
            "X-Blocked-Remote": str(safe.remote),
            "X-Blocked-Active": str(safe.active),
        },
    )


async def _mail(session: AsyncSession, principal: Principal, conversation_id: UUID, seq: int) -> Message:
    conversation = await visible(session, principal, conversation_id)
    found = await session.exec(
        select(Message).where(
            col(Message.conversation_id) == conversation.id,
            col(Message.seq) == seq,
            col(Message.direction) == Direction.INBOUND,
        )
    )
    row = found.one_or_none()
    # Mails that were stored before their threading was kept are mails all the same.
    if row is None or not ("threading" in row.content or conversation.channel_type == "email"):
        raise NotFound("there is no mail of a customer at this place")
    return row


def _made_safe(
    source: str, attachments: Sequence[dict[str, Any]], open_path: Callable[[str], FilePath]
) -> mail_safe.Safe:
    """With the pictures that the mail shows: none are read for one that shows none."""
    images: dict[str, InboundFile] = {}
    if "cid:" not in source.lower():
        return mail_safe.sanitise(source, images)
    for item in attachments:
        cid, sha256 = item.get("content_id"), item.get("sha256")
        if not cid or not sha256 or (item.get("size") or 0) > _IMAGE_LIMIT:
            continue
        try:
            data = open_path(sha256).read_bytes()
        except (NotFound, OSError):
            continue
        images[cid] = InboundFile(item["name"], item["media_type"], data, cid)
    return mail_safe.sanitise(source, images)
