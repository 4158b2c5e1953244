"""What rules, graded responses and closing policies share: rows with a code, which are switched off instead of deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from fastapi import Request, Response
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.desk.auth import Principal
from app.desk.endpoints.shared import (
    Body,
    Page,
    Paging,
    Shape,
    change,
    locked,
    page_of,
    record,
    require_version,
    save,
    tag,
)

Row = TypeVar("Row", bound=SQLModel)
Shown = TypeVar("Shown", bound=Shape)


async def listed(
    session: AsyncSession, table: Any, shape: type[Shown], paging: Paging, *, active: bool | None, code: str | None
) -> Page[Shown]:
    """A page of them, oldest first."""
    statement = select(table)
    if active is not None:
        statement = statement.where(col(table.active) == active)
    if code is not None:
        statement = statement.where(col(table.code) == code)
    rows, cursor = await page_of(session, statement, col(table.id), paging)
    return Page(items=[shape.model_validate(row) for row in rows], next_cursor=cursor)


async def created(session: AsyncSession, response: Response, principal: Principal, row: Any, event: str) -> None:
    """Write a new one and its record."""
    await save(session, row)
    await record(session, principal, f"{event}.created", id=row.id, code=row.code)
    tag(response, row)


async def changed(
    session: AsyncSession,
    request: Request,
    response: Response,
    principal: Principal,
    table: type[Row],
    row_id: UUID,
    given: Body,
    event: str,
    check: Callable[[Row], None] = lambda row: None,
) -> Row:
    """The row as it is now; `check` sees it as it is going to be. Raises NotFound, PreconditionFailed, and what `check` does."""
    row: Any = await locked(session, table, row_id, event.replace("_", " "))
    require_version(request, row)
    names = change(row, given.given())
    check(row)
    await save(session, row, new_version=True)
    await record(session, principal, f"{event}.updated", id=row.id, code=row.code, changed=names)
    tag(response, row)
    found: Row = row
    return found


async def deactivated(session: AsyncSession, principal: Principal, table: type[Row], row_id: UUID, event: str) -> bool:
    """Whether it was active. The row stays: past results name it, and a shipped one does not come back by itself."""
    row: Any = await locked(session, table, row_id, event.replace("_", " "))
    if not change(row, {"active": False}):
        return False
    await save(session, row, new_version=True)
    await record(session, principal, f"{event}.deactivated", id=row.id, code=row.code)
    return True
