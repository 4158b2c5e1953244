"""`/contacts`: the customers. An agent sees those of the conversations that they see."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import Field, model_validator
from sqlalchemy import ColumnElement, exists, or_, true
from sqlmodel import col, select

from app.conversations import consents, contacts
from app.desk.auth import CurrentPrincipal, Principal, Supervisor, visible_filter
from app.desk.endpoints.agents import Email
from app.desk.endpoints.canned import Language
from app.desk.endpoints.shared import (
    Body,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    api_router,
    change,
    not_null,
    page_of,
    record,
    require_version,
    save,
    tag,
)
from app.edge import SessionDep
from app.errors import Conflict, Invalid, NotFound
from app.models import Contact, ContactIdentity, Conversation

router = api_router("contacts")
Phone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z+*#() ./-]+$")]
Attributes = Annotated[dict[str, Any], Field(max_length=200)]


class NewContact(Body):
    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    language: Language | None = None
    tier: Name = "standard"
    attributes: Attributes = Field(default_factory=dict)


class ContactChange(Body):
    """`attributes` replaces what is there."""

    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    language: Language | None = None
    tier: Name | None = None
    attributes: Attributes | None = None

    _not_null = model_validator(mode="after")(not_null("tier", "attributes"))


class Merge(Body):
    """`into` is the contact that stays."""

    into: UUID


class ContactShape(Shape):
    id: UUID
    name: str | None
    email: str | None
    phone: str | None
    language: str | None
    tier: str
    attributes: dict[str, Any]
    version: int
    created_at: Moment
    updated_at: Moment


class IdentityShape(Shape):
    """The name a contact goes by on one channel."""

    id: UUID
    channel_id: UUID
    kind: str
    value: str
    created_at: Moment


class ConsentShape(Shape):
    """What was agreed to: for which purpose, in which version of which words, by which message."""

    id: UUID
    contact_id: UUID
    purpose: str
    version: str
    text: str
    digest: str
    channel_id: UUID | None
    message_id: UUID | None
    given_at: Moment
    withdrawn_at: Moment | None
    withdrawn_by: str | None


class ContactDetail(ContactShape):
    identities: list[IdentityShape]
    consents: list[ConsentShape]


def _seen_by(principal: Principal) -> ColumnElement[bool]:
    if principal.senior:
        return true()
    return exists().where(col(Conversation.contact_id) == col(Contact.id), visible_filter(principal))


async def visible_contact(
    session: SessionDep, principal: Principal, contact_id: UUID, *, lock: bool = False
) -> Contact:
    """Raises NotFound."""
    statement = select(Contact).where(col(Contact.id) == contact_id, _seen_by(principal))
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = (await session.exec(statement)).one_or_none()
    if row is None:
        raise NotFound("there is no such contact")
    return row


@router.post("/contacts", status_code=201)
async def create_contact(
    given: NewContact, response: Response, session: SessionDep, principal: Supervisor
) -> ContactShape:
    row = Contact(**given.model_dump())
    await save(session, row)
    await record(session, principal, "contact.created", id=row.id)
    tag(response, row)
    return ContactShape.model_validate(row)


@router.get("/contacts")
async def list_contacts(
    session: SessionDep,
    principal: CurrentPrincipal,
    paging: PagingDep,
    q: Annotated[str | None, Query(min_length=1, max_length=200, description="part of name, email or phone")] = None,
    email: Annotated[str | None, Query(max_length=320)] = None,
) -> Page[ContactShape]:
    """Newest first."""
    statement = select(Contact).where(_seen_by(principal), col(Contact.merged_into).is_(None))
    if q is not None:
        text = q.replace("\x00", "")
        fields = (Contact.name, Contact.email, Contact.phone)
        statement = statement.where(or_(*(col(field).icontains(text, autoescape=True) for field in fields)))
    if email is not None:
        statement = statement.where(col(Contact.email).ilike(email.replace("\x00", ""), escape="\\"))
    rows, cursor = await page_of(session, statement, col(Contact.id), paging, newest_first=True)
    return Page(items=[ContactShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/contacts/{contact_id}")
async def get_contact(
    contact_id: UUID, response: Response, session: SessionDep, principal: CurrentPrincipal
) -> ContactDetail:
    """With the identities by which they are known on each channel, and what they agreed to. One that was merged answers with the contact that it
    is part of now, which `Content-Location` names."""
    current = await session.get(Contact, contact_id)
    into = current.merged_into if current else None
    row = await visible_contact(session, principal, into or contact_id)
    if into is not None:
        response.headers["Content-Location"] = f"/api/v1/contacts/{into}"
    return await _detail(session, response, row)


async def _detail(session: SessionDep, response: Response, row: Contact) -> ContactDetail:
    found = await session.exec(
        select(ContactIdentity).where(col(ContactIdentity.contact_id) == row.id).order_by(col(ContactIdentity.id))
    )
    tag(response, row)
    identities = [IdentityShape.model_validate(identity) for identity in found.all()]
    agreed = [ConsentShape.model_validate(consent) for consent in await consents.of(session, row.id)]
    return ContactDetail(**ContactShape.model_validate(row).model_dump(), identities=identities, consents=agreed)


@router.post("/contacts/{contact_id}/merge")
async def merge_contact(
    contact_id: UUID, given: Merge, response: Response, session: SessionDep, principal: Supervisor
) -> ContactDetail:
    """They are one person: identities and conversations become those of `into`, which keeps what it has and takes name,
    email and the like where it has none. Merging again changes nothing. There is no way back."""
    for field, wanted in (("contact_id", contact_id), ("into", given.into)):
        if await session.get(Contact, wanted) is None:
            if field == "into":
                raise Invalid("there is no such contact", field=field)
            raise NotFound("there is no such contact")
    row = await contacts.merge(session, source=contact_id, target=given.into, actor=principal.actor)
    return await _detail(session, response, row)


@router.patch("/contacts/{contact_id}")
async def change_contact(
    contact_id: UUID,
    given: ContactChange,
    request: Request,
    response: Response,
    session: SessionDep,
    principal: CurrentPrincipal,
) -> ContactShape:
    """Another tier or risk counts at once for what waits."""
    boosting = bool(given.model_fields_set & {"tier", "attributes"})
    await visible_contact(session, principal, contact_id)
    held = await contacts.hold_waiting(session, contact_id) if boosting else []
    row = await visible_contact(session, principal, contact_id, lock=True)
    if row.merged_into is not None:
        raise Conflict("this contact was merged into another", merged_into=str(row.merged_into))
    require_version(request, row)
    changed = change(row, given.given())
    await save(session, row, new_version=True)
    if held:
        await contacts.boost_again(session, held)
    await record(session, principal, "contact.updated", id=row.id, changed=changed)
    tag(response, row)
    return ContactShape.model_validate(row)
