"""`/announcement-texts`: the operator's own words for notices, by language and type of channel."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.channels.registry import ADAPTERS
from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded
from app.desk.endpoints.shared import (
    Body,
    ContextDep,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    Text,
    api_router,
    not_blank,
    not_null,
    one,
    tag,
)
from app.edge import SessionDep
from app.errors import Invalid
from app.feedback import notices
from app.models import AnnouncementText
from app.models.progress import Announced

router = api_router("announcements")
_WHAT = "announcement_text"
Language = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35, to_lower=True)
]
Words = Annotated[Text, Field(min_length=1, max_length=4_000), AfterValidator(not_blank)]
Subject = Annotated[Text, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]*$"), AfterValidator(not_blank)]


class NewAnnouncementText(Body):
    """Instead of the shipped words. Placeholders: `{greeting}`, `{name}`, `{link}`, `{subject}`, `{handler}` (who has it, as
    a role). Without `channel_type` for all types; without `subject` the shipped one, where the channel has subjects.
    """

    what: Announced
    language: Language
    channel_type: Name | None = None
    subject: Subject | None = None
    text: Words


class AnnouncementTextChange(Body):
    subject: Subject | None = None
    text: Words | None = None

    _not_null = model_validator(mode="after")(not_null("text"))


class AnnouncementTextShape(Shape):
    id: UUID
    what: Announced
    language: str
    channel_type: str | None
    subject: str | None
    text: str
    version: int
    created_at: Moment
    updated_at: Moment


def _names(row: AnnouncementText) -> dict[str, str]:
    return {"what": row.what}


def _check(row: AnnouncementText) -> None:
    """Raises Invalid."""
    if row.channel_type is not None and row.channel_type not in ADAPTERS:
        raise Invalid("there is no such type of channel", field="channel_type")
    notices.check(row.text, field="text", needs_link=row.what == Announced.ACKNOWLEDGED)
    if row.subject is not None:
        notices.check(row.subject, field="subject")


@router.post("/announcement-texts", status_code=201)
async def create_announcement_text(
    given: NewAnnouncementText, response: Response, session: SessionDep, principal: Admin, context: ContextDep
) -> AnnouncementTextShape:
    row = AnnouncementText(**{**given.model_dump(), "language": given.language.replace("_", "-")})
    _check(row)
    await coded.created(session, response, principal, row, _WHAT, names=_names)
    await context.catalog.changed(session)
    return AnnouncementTextShape.model_validate(row)


@router.get("/announcement-texts")
async def list_announcement_texts(
    session: SessionDep, _: Supervisor, paging: PagingDep, what: Announced | None = None
) -> Page[AnnouncementTextShape]:
    return await coded.listed(session, AnnouncementText, AnnouncementTextShape, paging, what=what)


@router.get("/announcement-texts/{text_id}")
async def get_announcement_text(
    text_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> AnnouncementTextShape:
    row = await one(session, AnnouncementText, text_id, _WHAT.replace("_", " "))
    tag(response, row)
    return AnnouncementTextShape.model_validate(row)


@router.patch("/announcement-texts/{text_id}")
async def change_announcement_text(
    text_id: UUID,
    given: AnnouncementTextChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
    context: ContextDep,
) -> AnnouncementTextShape:
    row = await coded.changed(
        session, request, response, principal, AnnouncementText, text_id, given, _WHAT, _check, names=_names
    )
    await context.catalog.changed(session)
    return AnnouncementTextShape.model_validate(row)


@router.delete("/announcement-texts/{text_id}", status_code=204)
async def delete_announcement_text(text_id: UUID, session: SessionDep, principal: Admin, context: ContextDep) -> None:
    """The shipped words are used again."""
    await coded.deleted(session, principal, AnnouncementText, text_id, _WHAT, names=_names)
    await context.catalog.changed(session)
