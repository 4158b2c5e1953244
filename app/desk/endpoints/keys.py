"""`/api-keys`: tokens for other systems."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlmodel import col, select

from app.db import database_now
from app.desk.auth import Admin
from app.desk.endpoints.shared import (
    Body,
    Moment,
    Name,
    Page,
    PagingDep,
    Shape,
    api_router,
    locked,
    page_of,
    record,
    save,
)
from app.edge import SessionDep
from app.errors import NotFound
from app.ids import new_token, token_hash
from app.models import ApiToken
from app.models.words import Role, TokenKind

router = api_router("api keys")


class NewKey(Body):
    """A key sees every conversation; only `admin` may change the set-up."""

    name: Name
    role: Literal[Role.SUPERVISOR, Role.ADMIN] = Role.ADMIN


class KeyShape(Shape):
    id: UUID
    name: str
    role: Role
    created_at: Moment
    revoked_at: Moment | None


class KeyWithSecret(KeyShape):
    """`key` is shown this once; only its digest is stored."""

    key: str


@router.post("/api-keys", status_code=201)
async def create_key(given: NewKey, session: SessionDep, principal: Admin) -> KeyWithSecret:
    key = new_token("api")
    row = ApiToken(kind=TokenKind.API, name=given.name, role=given.role, digest=token_hash(key))
    await save(session, row)
    await record(session, principal, "api_key.created", id=row.id, name=row.name, role=row.role)
    return KeyWithSecret(**KeyShape.model_validate(row).model_dump(), key=key)


@router.get("/api-keys")
async def list_keys(session: SessionDep, _: Admin, paging: PagingDep) -> Page[KeyShape]:
    """Revoked ones included: they are part of the record."""
    statement = select(ApiToken).where(col(ApiToken.kind) == TokenKind.API)
    rows, cursor = await page_of(session, statement, col(ApiToken.id), paging)
    return Page(items=[KeyShape.model_validate(row) for row in rows], next_cursor=cursor)


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_key(key_id: UUID, session: SessionDep, principal: Admin) -> None:
    """It opens nothing from the moment this is answered."""
    row = await locked(session, ApiToken, key_id, "API key")
    if row.kind != TokenKind.API:
        raise NotFound("there is no such API key")
    if row.revoked_at is None:
        row.revoked_at = database_now()
        await save(session, row)
        await record(session, principal, "api_key.revoked", id=row.id)
