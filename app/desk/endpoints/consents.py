"""`/contacts/{id}/consents`: what a customer agreed to, and that they do not any more."""

from __future__ import annotations

from uuid import UUID

from app.conversations import consents
from app.desk.auth import CurrentPrincipal
from app.desk.endpoints.contacts import ConsentShape, visible_contact
from app.desk.endpoints.shared import Page, api_router, record
from app.edge import SessionDep

router = api_router("contacts")


@router.get("/contacts/{contact_id}/consents")
async def list_consents(contact_id: UUID, session: SessionDep, principal: CurrentPrincipal) -> Page[ConsentShape]:
    """All of them, the newest first, those that were withdrawn too."""
    contact = await visible_contact(session, principal, contact_id)
    rows = await consents.of(session, contact.id)
    return Page(items=[ConsentShape.model_validate(row) for row in rows])


@router.post("/contacts/{contact_id}/consents/{consent_id}/withdraw")
async def withdraw_consent(
    contact_id: UUID, consent_id: UUID, session: SessionDep, principal: CurrentPrincipal
) -> ConsentShape:
    """From now on it does not hold; that it was given stays on record. Again changes nothing."""
    contact = await visible_contact(session, principal, contact_id)
    by = principal.agent.name if principal.agent else principal.kind
    row = await consents.withdraw(session, contact.id, consent_id, by=by)
    await record(session, principal, "consent.withdrawn", id=row.id, contact_id=contact.id, purpose=row.purpose)
    return ConsentShape.model_validate(row)
