"""`/receipt-templates`: what receipts and reminders say, in languages of our own and instead of the shipped words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.channels.registry import ADAPTERS
from app.desk.auth import Admin, Supervisor
from app.desk.endpoints import coded, receipt_approval
from app.desk.endpoints.receipt_approval import ProviderTemplatePreview
from app.desk.endpoints.shared import (
    Body,
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
from app.feedback import receipt_approved, receipt_words
from app.feedback.receipt_approved import ProviderTemplate
from app.models import ReceiptTemplate
from app.models.words import ReceiptKind

router = api_router("receipt templates")
_WHAT = "receipt_template"
_TAG = r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{2,8}){0,3}$"
Language = Annotated[str, StringConstraints(strip_whitespace=True, pattern=_TAG)]
Words = Annotated[Text, Field(min_length=1, max_length=8_000), AfterValidator(not_blank)]
Subject = Annotated[Text, Field(min_length=1, max_length=200)]
Title = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=20, pattern=r"^[^\r\n]+$")]


class NewReceiptTemplate(Body):
    """`text` may have {name}, {subject}, {problem}, {resolution}, {commitment} and must have {link}; `subject` (of a mail)
    {name} and {subject}. `channel_type` null: on all channels without words of their own. `yes` and `no` are what the
    buttons say, where the channel has them: 20 characters at most. `provider_template` goes instead where the channel takes
    nothing else any more."""

    language: Language
    channel_type: Name | None = None
    kind: ReceiptKind = ReceiptKind.RECEIPT
    subject: Subject | None = None
    text: Words
    yes: Title | None = None
    no: Title | None = None
    provider_template: ProviderTemplate | None = None


class ReceiptTemplateChange(Body):
    subject: Subject | None = None
    text: Words | None = None
    yes: Title | None = None
    no: Title | None = None
    provider_template: ProviderTemplate | None = None

    _not_null = model_validator(mode="after")(not_null("text"))


class ReceiptTemplateShape(Shape):
    id: UUID
    language: str
    channel_type: str | None
    kind: ReceiptKind
    subject: str | None
    text: str
    yes: str | None
    no: str | None
    provider_template: ProviderTemplate | None
    version: int
    created_at: Moment
    updated_at: Moment


class ReceiptPreviewAsked(Body):
    """Of the words that a customer would get in this language on this channel; with `text` (and the rest), of those. With
    `provider_template`, of that one."""

    language: Language = "en"
    channel_type: Name = "email"
    kind: ReceiptKind = ReceiptKind.RECEIPT
    subject: Subject | None = None
    text: Words | None = None
    yes: Title | None = None
    no: Title | None = None
    provider_template: ProviderTemplate | None = None


class ReceiptPreview(Shape):
    """`template_id` null: the words are the shipped ones, or those that were given. `language` is the one they are in.
    `provider_template` is what goes instead where the channel takes nothing else."""

    template_id: UUID | None
    language: str
    subject: str
    text: str
    question: str
    yes: str
    no: str
    provider_template: ProviderTemplatePreview | None


_SAMPLE = {
    "name": "Ada",
    "subject": "A scratched door",
    "problem": "The door came scratched.",
    "resolution": "A new door is on its way.",
    "commitment": "We call you when it has arrived.",
    "link": "https://example.org/f/sample",
}


def _names(row: ReceiptTemplate) -> dict[str, str]:
    return {"code": row.language}


def _channel_type(given: str | None) -> None:
    if given is not None and given not in ADAPTERS:
        raise Invalid("there is no such channel type", field="channel_type")


@router.post("/receipt-templates", status_code=201)
async def create_receipt_template(
    given: NewReceiptTemplate, response: Response, session: SessionDep, principal: Admin
) -> ReceiptTemplateShape:
    _channel_type(given.channel_type)
    receipt_words.check(subject=given.subject, text=given.text)
    if given.provider_template is not None:
        await receipt_approval.check(session, given.channel_type, given.provider_template, _SAMPLE)
    row = ReceiptTemplate(**{**given.model_dump(), "language": receipt_words.tag(given.language)})
    await coded.created(session, response, principal, row, _WHAT, names=_names)
    return ReceiptTemplateShape.model_validate(row)


@router.get("/receipt-templates")
async def list_receipt_templates(
    session: SessionDep, _: Supervisor, paging: PagingDep, language: str | None = None
) -> Page[ReceiptTemplateShape]:
    spoken = receipt_words.tag(language) if language is not None else None
    return await coded.listed(session, ReceiptTemplate, ReceiptTemplateShape, paging, language=spoken)


@router.post("/receipt-templates/preview")
async def preview_receipt_template(given: ReceiptPreviewAsked, session: SessionDep, _: Supervisor) -> ReceiptPreview:
    _channel_type(given.channel_type)
    known = (await session.exec(select(ReceiptTemplate))).all()
    reminder = given.kind is ReceiptKind.REMINDER
    if given.text is not None:
        receipt_words.check(subject=given.subject, text=given.text)
        language = receipt_words.tag(given.language)
        row: ReceiptTemplate | None = ReceiptTemplate(**given.model_dump(exclude={"provider_template"}))
    else:
        ours = {item.language for item in known}
        language = receipt_words.language_of(given.language, "", ours=ours)
        row = receipt_words.choose(known, language=language, channel_type=given.channel_type, reminder=reminder)
    written = receipt_words.write(row, _SAMPLE, language=language, channel_type=given.channel_type, reminder=reminder)
    return ReceiptPreview(
        template_id=row.id if row is not None and given.text is None else None,
        language=language,
        subject=written.subject,
        text=written.text,
        question=written.question,
        yes=written.yes,
        no=written.no,
        provider_template=await _by_template(session, given, known, language),
    )


async def _by_template(
    session: AsyncSession, given: ReceiptPreviewAsked, known: Sequence[ReceiptTemplate], language: str
) -> ProviderTemplatePreview | None:
    """Of the one that is only tried, which is refused by name, else of the first of the kept ones that could go out."""
    if given.provider_template is not None:
        return await receipt_approval.check(session, given.channel_type, given.provider_template, _SAMPLE)
    reminder = given.kind is ReceiptKind.REMINDER
    place = {"language": language, "channel_type": given.channel_type}
    for each in receipt_approved.fitting(known, **place, reminder=reminder):
        with suppress(Invalid):
            return await receipt_approval.check(session, given.channel_type, each, _SAMPLE)
    return None


@router.get("/receipt-templates/{template_id}")
async def get_receipt_template(
    template_id: UUID, response: Response, session: SessionDep, _: Supervisor
) -> ReceiptTemplateShape:
    row = await one(session, ReceiptTemplate, template_id, _WHAT.replace("_", " "))
    tag(response, row)
    return ReceiptTemplateShape.model_validate(row)


@router.patch("/receipt-templates/{template_id}")
async def change_receipt_template(
    template_id: UUID,
    given: ReceiptTemplateChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: Admin,
) -> ReceiptTemplateShape:
    """For receipts that go out from now on."""

    async def check(row: ReceiptTemplate) -> None:
        receipt_words.check(subject=row.subject, text=row.text)
        if given.provider_template is not None:
            await receipt_approval.check(session, row.channel_type, given.provider_template, _SAMPLE)

    row = await coded.changed(
        session, request, response, principal, ReceiptTemplate, template_id, given, _WHAT, check, names=_names
    )
    return ReceiptTemplateShape.model_validate(row)


@router.delete("/receipt-templates/{template_id}", status_code=204)
async def delete_receipt_template(template_id: UUID, session: SessionDep, principal: Admin) -> None:
    """Then the shipped words count again, where there are any in this language; else English."""
    await coded.deleted(session, principal, ReceiptTemplate, template_id, _WHAT, names=_names)
