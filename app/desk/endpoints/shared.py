"""What every call of `/api/v1` shares: its route, its field types, pages, versions and the record of changes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)
from sqlalchemy import tuple_
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from app.catalog import Catalog
from app.channels.text import blank
from app.clock import rfc3339
from app.context import Context, context_of
from app.db import database_now
from app.desk import auth
from app.desk.auth import Principal
from app.edge import Edge, etag, require_match
from app.errors import Invalid, NotFound
from app.events import log as events

Row = TypeVar("Row", bound=SQLModel)
Item = TypeVar("Item")
_TEXT_LIMIT = 100_000
_NUL = "must not contain the character NUL"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _header(name: str, description: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }


_HEADERS = {
    "POST": _header("Idempotency-Key", "the same key and body again get the stored answer", required=False),
    "PATCH": _header("If-Match", "the ETag of the version that this change was made from", required=True),
}


class DeskRoute(Edge):
    """Authenticates before anything else is looked at; the catalog is fresh before a connection is taken."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Documents the headers that the method takes."""
        headers = [header for method, header in _HEADERS.items() if method in (options.get("methods") or ())]
        if headers:
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = {**extra, "parameters": [*extra.get("parameters", ()), *headers]}
        super().__init__(path, endpoint, **options)
        self._known = _query_names(self.dependant)

    async def prepare(self, request: Request) -> None:
        auth.bearer_token(request.headers.get("authorization"))
        request.state.catalog = await context_of(request).catalog.current()

    async def admit(self, request: Request, session: AsyncSession) -> str:
        token = auth.bearer_token(request.headers.get("authorization"))
        principal = await auth.authenticate(session, token)
        request.state.principal = principal
        for name, value in (*request.path_params.items(), *request.query_params.multi_items()):
            _require_storable(value, name)
        if request.method == "GET":
            self._require_known(request)
        return str(principal.token_id)

    def _require_known(self, request: Request) -> None:
        """A filter that we do not know would silently filter nothing. Raises Invalid naming it."""
        for name in request.query_params:
            if name not in self._known:
                raise Invalid("there is no such parameter", field=name[:100])


def _require_storable(value: str, name: str) -> None:
    """No column takes a NUL. Raises Invalid naming the parameter."""
    if "\x00" in value:
        raise Invalid(_NUL, field=name[:100])


def _query_names(dependant: Dependant) -> frozenset[str]:
    """Of a call, and of what it depends on."""
    own = (field.alias for field in dependant.query_params)
    return frozenset(own).union(*map(_query_names, dependant.dependencies))


def api_router(tag: str) -> APIRouter:
    return APIRouter(route_class=DeskRoute, tags=[tag])


def _context(request: Request) -> Context:
    return context_of(request)


def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.state.catalog
    return catalog


ContextDep = Annotated[Context, Depends(_context)]
CatalogDep = Annotated[Catalog, Depends(_catalog)]


class Body(BaseModel):
    """A request: what we do not know is an error, and errors do not repeat what was given. No text in it has a NUL."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        if _has_nul(value):
            raise ValueError(_NUL)
        return value

    def given(self) -> dict[str, Any]:
        """The fields that the caller sent, for a PATCH."""
        return self.model_dump(exclude_unset=True)


class Shape(BaseModel):
    """An answer."""

    model_config = ConfigDict(from_attributes=True)


def _has_nul(value: Any) -> bool:
    """In a text, or in one of a list or an object. What is a body itself has looked at its own."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(map(_has_nul, value)) or any(map(_has_nul, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and any(map(_has_nul, value))


def _in_our_years(value: date) -> date:
    if not _EARLIEST.year <= value.year < _LATEST.year:
        raise ValueError(f"must be a day of the years {_EARLIEST.year} to {_LATEST.year - 1}")
    return value


def _in_our_times(value: datetime) -> datetime:
    """Others are slips, and the edges of the calendar are in no year once they are put in UTC."""
    if not _EARLIEST <= value < _LATEST:
        raise ValueError(f"must be a time of the years {_EARLIEST.year} to {_LATEST.year - 1}")
    return value


def not_blank(value: str) -> str:
    """For a text that has to say something; its limits stand before it, so that they speak of characters."""
    if blank(value):
        raise ValueError("must not be empty")
    return value


Text = Annotated[str, StringConstraints(max_length=_TEXT_LIMIT)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Words = Annotated[list[Name], Field(max_length=100)]
Small = Annotated[int, Field(ge=0, le=1_000_000)]
GivenMoment = Annotated[AwareDatetime, AfterValidator(_in_our_times)]
"""A time that a caller gives; `Moment` is one that we tell."""
GivenDay = Annotated[date, AfterValidator(_in_our_years)]
Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def not_null(*names: str) -> Callable[[Any], Any]:
    """A PATCH may leave these out but not set them to null."""

    def check(value: Any) -> Any:
        for name in names:
            if name in value.model_fields_set and getattr(value, name) is None:
                raise Invalid("must not be null", field=name)
        return value

    return check


class Page(Shape, Generic[Item]):
    """A part of a list. `next_cursor` is null at its end."""

    items: list[Item]
    next_cursor: str | None = None


class Paging(BaseModel):
    """Where a list goes on, and how far."""

    limit: int
    cursor: str | None

    def after(self) -> UUID | None:
        """The id of the last item that was seen. Raises Invalid for a cursor that is not ours."""
        raw = self._opened()
        try:
            return UUID(bytes=raw) if raw is not None else None
        except ValueError:
            raise Invalid("this is not a cursor of this list", field="cursor") from None

    def after_number(self) -> int | None:
        """The same for lists that are counted."""
        raw = self._opened()
        if raw is not None and len(raw) != 8:
            raise Invalid("this is not a cursor of this list", field="cursor")
        return int.from_bytes(raw, "big") if raw is not None else None

    def after_place(self) -> tuple[int, UUID] | None:
        """The same for lists in the order of a number and an id."""
        raw = self._opened()
        if raw is not None and len(raw) != 24:
            raise Invalid("this is not a cursor of this list", field="cursor")
        return (int.from_bytes(raw[:8], "big", signed=True), UUID(bytes=raw[8:])) if raw is not None else None

    def _opened(self) -> bytes | None:
        if self.cursor is None:
            return None
        try:
            padded = self.cursor + "=" * (-len(self.cursor) % 4)
            return base64.b64decode(padded, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("this is not a cursor of this list", field="cursor") from None


def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="items per page")] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="the `next_cursor` of the page before")] = None,
) -> Paging:
    return Paging(limit=limit, cursor=cursor)


PagingDep = Annotated[Paging, Depends(_paging)]


def cursor_of(last: UUID | int | tuple[int, UUID]) -> str:
    if isinstance(last, tuple):
        raw = last[0].to_bytes(8, "big", signed=True) + last[1].bytes
    else:
        raw = last.bytes if isinstance(last, UUID) else last.to_bytes(8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


async def page_of(
    session: AsyncSession, statement: SelectOfScalar[Row], key: Any, paging: Paging, *, newest_first: bool = False
) -> tuple[Sequence[Row], str | None]:
    """One page of rows ordered by `key`, a UUID column, and the cursor of the next."""
    after = paging.after()
    if after is not None:
        statement = statement.where(key < after if newest_first else key > after)
    ordered = statement.order_by(key.desc() if newest_first else key.asc()).limit(paging.limit + 1)
    rows = (await session.exec(ordered)).all()
    page = rows[: paging.limit]
    return page, cursor_of(getattr(page[-1], key.key)) if len(rows) > paging.limit else None


async def page_in_time(
    session: AsyncSession, statement: SelectOfScalar[Row], at: Any, id: Any, paging: Paging
) -> tuple[Sequence[Row], str | None]:
    """One page of rows ordered by the moment `at` and then by `id`, two columns, and the cursor of the next."""
    after = paging.after_place()
    if after is not None:
        statement = statement.where(tuple_(at, id) > (_EPOCH + timedelta(microseconds=after[0]), after[1]))
    rows = (await session.exec(statement.order_by(at, id).limit(paging.limit + 1))).all()
    page = rows[: paging.limit]
    if len(rows) <= paging.limit:
        return page, None
    micros = (getattr(page[-1], at.key) - _EPOCH) // timedelta(microseconds=1)
    return page, cursor_of((micros, getattr(page[-1], id.key)))


async def locked(session: AsyncSession, table: type[Row], id: Any, what: str) -> Row:
    """The row, held until the end of the transaction; others may still refer to it. Raises NotFound."""
    row = await session.get(table, id, with_for_update={"key_share": True}, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no such {what}")
    return row


async def one(session: AsyncSession, table: type[Row], id: Any, what: str) -> Row:
    """Raises NotFound."""
    row = await session.get(table, id)
    if row is None:
        raise NotFound(f"there is no such {what}")
    return row


async def all_of(session: AsyncSession, table: type[Row], column: Any, ids: Iterable[UUID], field: str) -> list[Row]:
    """Raises Invalid when one of `ids` is not there."""
    wanted = set(ids)
    rows = (await session.exec(select(table).where(col(column).in_(wanted)))).all()
    if len(rows) < len(wanted):
        missing = wanted - {getattr(row, column.key) for row in rows}
        raise Invalid(f"there is no {', '.join(sorted(map(str, missing)))}", field=field)
    return list(rows)


def change(row: Any, given: dict[str, Any]) -> list[str]:
    """Set what differs and return its names."""
    changed = [name for name, value in given.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, given[name])
    return changed


async def save(session: AsyncSession, row: Any, *, new_version: bool = False) -> None:
    """Write it now, so that a constraint speaks before we answer, and read back what the database set."""
    if new_version:
        row.version += 1
        if hasattr(row, "updated_at"):
            row.updated_at = database_now()
    session.add(row)
    await session.flush()
    await session.refresh(row)


async def record(session: AsyncSession, principal: Principal, type: str, /, **payload: Any) -> None:
    """Every change of the set-up is in the event log; values of secrets never are."""
    await session.flush()
    await events.audit(session, type, payload, actor=principal.actor)


def require_version(request: Request, row: Any) -> None:
    """Raises PreconditionRequired, PreconditionFailed."""
    require_match(request, row.version)


def tag(response: Response, row: Any) -> None:
    """The version goes out as ETag, for the next If-Match."""
    response.headers["ETag"] = etag(row.version)
