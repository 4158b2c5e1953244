"""`/channels/{id}/trapped`: submissions of a form that were taken for a robot's, and the way back for those that were not."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlmodel import col, select

from app.catalog import ChannelAccount
from app.channels import form_read
from app.channels.base import Call, Unparseable
from app.channels.form_config import FormConfig
from app.context import Context
from app.desk.auth import Supervisor
from app.desk.endpoints.shared import ContextDep, Moment, Page, PagingDep, Shape, api_router, page_of, record
from app.edge import SessionDep
from app.errors import NotFound
from app.models import InboundJournal
from app.models.words import JournalStatus

router = api_router("channels")


class TrappedShape(Shape):
    """`reason` is why it was not believed; `fields` are what stood in the form, `files` the names of what came with it."""

    id: UUID
    channel_id: UUID
    reason: str | None
    fields: Annotated[dict[str, str], Field(description="by the names of the form's fields")]
    files: list[str]
    received_at: Moment


class RestoredShape(Shape):
    id: UUID
    conversation_id: UUID
    message_id: UUID


@router.get("/channels/{channel_id}/trapped")
async def list_trapped(
    channel_id: UUID, session: SessionDep, context: ContextDep, _: Supervisor, paging: PagingDep
) -> Page[TrappedShape]:
    """Newest first, without those that were restored."""
    account = await _form(context, channel_id)
    statement = select(InboundJournal).where(
        col(InboundJournal.channel_id) == channel_id, col(InboundJournal.status) == JournalStatus.TRAPPED
    )
    rows, cursor = await page_of(session, statement, col(InboundJournal.id), paging, newest_first=True)
    return Page(items=[_shape(account, row) for row in rows], next_cursor=cursor)


@router.post("/channels/{channel_id}/trapped/{trapped_id}/restore")
async def restore_trapped(
    channel_id: UUID, trapped_id: UUID, session: SessionDep, context: ContextDep, principal: Supervisor
) -> RestoredShape:
    """A person wrote it: it is stored as it would have been, classified and routed from now on."""
    kept = await context.forms.restore(await _form(context, channel_id), trapped_id)
    await record(session, principal, "form.restored", id=trapped_id, channel_id=channel_id, message_id=kept.message_id)
    return RestoredShape(id=trapped_id, conversation_id=kept.conversation_id, message_id=kept.message_id)


async def _form(context: Context, channel_id: UUID) -> ChannelAccount:
    """Raises NotFound."""
    account = await context.catalog.channel(channel_id)
    if account is None or not isinstance(account.config, FormConfig):
        raise NotFound("there is no such form, or it is not active")
    return account


def _shape(account: ChannelAccount, row: InboundJournal) -> TrappedShape:
    assert isinstance(account.config, FormConfig), "it was looked up as one"
    headers = {str(name): str(value) for name, value in row.headers.items()}
    try:
        read = form_read.read(account.config, Call("POST", "", {}, headers, row.body, row.received_at))
    except Unparseable:
        read = form_read.Submission({})
    return TrappedShape(
        id=row.id,
        channel_id=row.channel_id,
        reason=row.error,
        fields={**read.more, **read.values},
        files=[upload.name for _, upload in read.files],
        received_at=row.received_at,
    )
