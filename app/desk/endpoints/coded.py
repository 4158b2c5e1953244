"""What rules, policies and our own words share: rows of the set-up, recorded by their code or by what names them instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar
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
Names: TypeAlias = Callable[[Any], dict[str, Any]]


def _code(row: Any) -> dict[str, Any]:
    return {"code": row.code}


async def listed(
    session: AsyncSession, table: Any, shape: type[Shown], paging: Paging, **wanted: str | bool | None
) -> Page[Shown]:
    """A page of them, oldest first: those whose columns have the values that are `wanted`; None is any."""
    statement = select(table)
    for name, value in wanted.items():
        if value is not None:
            statement = statement.where(col(getattr(table, name)) == value)
    rows, cursor = await page_of(session, statement, col(table.id), paging)
    return Page(items=[shape.model_validate(row) for row in rows], next_cursor=cursor)


async def created(
    session: AsyncSession, response: Response, principal: Principal, row: Any, event: str, *, names: Names = _code
) -> None:
    """Write a new one and its record, which `names` it."""
    await save(session, row)
    await record(session, principal, f"{event}.created", id=row.id, **names(row))
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
    check: Callable[[Row], Awaitable[object] | None] = lambda row: None,
    *,
    names: Names = _code,
) -> Row:
    """The row as it is now; `check` sees it as it is going to be. Raises NotFound, PreconditionFailed, and what `check` does."""
    row: Any = await locked(session, table, row_id, event.replace("_", " "))
    require_version(request, row)
    fields = change(row, given.given())
    if (looking := check(row)) is not None:
        await looking
    await save(session, row, new_version=True)
    await record(session, principal, f"{event}.updated", id=row.id, **names(row), changed=fields)
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


async def deleted(
    session: AsyncSession, principal: Principal, table: type[Row], row_id: UUID, event: str, *, names: Names
) -> None:
    """For good: nothing that happened names it."""
    row: Any = await locked(session, table, row_id, event.replace("_", " "))
    await session.delete(row)
    await record(session, principal, f"{event}.deleted", id=row.id, **names(row))
