"""`/channels/{id}/templates`: the texts that a channel's provider approved."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, model_validator
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.delivery import templates
from app.delivery.templates import TemplateLanguage, TemplateName
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
    not_null,
    one,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import NotFound
from app.models import Channel, MessageTemplate
from app.models.words import TemplateStatus

router = api_router("channels")
_WHAT = "template"
BodyText = Annotated[Text, Field(min_length=1, max_length=4_096)]


class NewTemplate(Body):
    """`name` and `language` as the provider has them; the parameters in `body` are {{1}}, {{2}}, ..."""

    name: TemplateName
    language: TemplateLanguage
    body: BodyText
    status: TemplateStatus = TemplateStatus.APPROVED


class TemplateChange(Body):
    body: BodyText | None = None
    status: TemplateStatus | None = None

    _not_null = model_validator(mode="after")(not_null("body", "status"))


class MessageTemplateShape(Shape):
    """`parameters`: how many it takes."""

    id: UUID
    channel_id: UUID
    name: str
    language: str
    body: str
    parameters: int
    status: TemplateStatus
    version: int
    created_at: Moment
    updated_at: Moment


def _shape(row: MessageTemplate) -> MessageTemplateShape:
    return MessageTemplateShape(**row.model_dump(), parameters=templates.parameters_of(row.body))


@router.get("/channels/{channel_id}/templates")
async def list_templates(
    channel_id: UUID,
    session: SessionDep,
    _: CurrentPrincipal,
    paging: PagingDep,
    status: TemplateStatus | None = None,
    language: str | None = None,
) -> Page[MessageTemplateShape]:
    """For agents too: what they can send once the window is closed."""
    await one(session, Channel, channel_id, "channel")
    statement = select(MessageTemplate).where(col(MessageTemplate.channel_id) == channel_id)
    if status is not None:
        statement = statement.where(col(MessageTemplate.status) == status)
    if language is not None:
        statement = statement.where(col(MessageTemplate.language) == language)
    rows, cursor = await page_of(session, statement, col(MessageTemplate.id), paging)
    return Page(items=[_shape(row) for row in rows], next_cursor=cursor)


@router.post("/channels/{channel_id}/templates", status_code=201)
async def create_template(
    channel_id: UUID, given: NewTemplate, response: Response, session: SessionDep, principal: Admin
) -> MessageTemplateShape:
    await one(session, Channel, channel_id, "channel")
    templates.parameters_of(given.body)
    row = MessageTemplate(channel_id=channel_id, **given.model_dump())
    await save(session, row)
    await record(session, principal, "template.created", id=row.id, name=row.name, language=row.language)
    tag(response, row)
    return _shape(row)


@router.get("/channels/{channel_id}/templates/{template_id}")
async def get_template(
    channel_id: UUID, template_id: UUID, response: Response, session: SessionDep, _: CurrentPrincipal
) -> MessageTemplateShape:
    row = _of(await one(session, MessageTemplate, template_id, _WHAT), channel_id)
    tag(response, row)
    return _shape(row)


@router.patch("/channels/{channel_id}/templates/{template_id}")
async def change_template(
    channel_id: UUID,
    template_id: UUID,
    given: TemplateChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
) -> MessageTemplateShape:
    """What was sent by it keeps the text that it had."""
    row = await _held(session, channel_id, template_id)
    require_version(request, row)
    if given.body is not None:
        templates.parameters_of(given.body)
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    await record(session, principal, "template.updated", id=row.id, changed=changed)
    tag(response, row)
    return _shape(row)


@router.delete("/channels/{channel_id}/templates/{template_id}", status_code=204)
async def delete_template(channel_id: UUID, template_id: UUID, session: SessionDep, principal: Admin) -> None:
    row = await _held(session, channel_id, template_id)
    await session.delete(row)
    await record(session, principal, "template.deleted", id=row.id, name=row.name, language=row.language)


async def _held(session: AsyncSession, channel_id: UUID, template_id: UUID) -> MessageTemplate:
    return _of(await locked(session, MessageTemplate, template_id, _WHAT), channel_id)


def _of(row: MessageTemplate, channel_id: UUID) -> MessageTemplate:
    if row.channel_id != channel_id:
        raise NotFound(f"there is no such {_WHAT}")
    return row
