"""`/complaints`: the register with its filters, its statistics, and the table to take away."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import true
from sqlmodel import col

from app.channels.text import blank
from app.complaints import register
from app.complaints.register import Filter, Row
from app.desk.auth import CurrentPrincipal, Supervisor, visible_filter
from app.desk.endpoints.complaint_shapes import ComplaintShape
from app.desk.endpoints.shared import ContextDep, GivenMoment, Page, PagingDep, Shape, api_router, cursor_of
from app.edge import SessionDep
from app.errors import Invalid
from app.models import Complaint
from app.models.words import ComplaintProgress, ComplaintType, Severity

router = api_router("complaints")
By = Literal["type", "severity", "progress", "product", "channel", "agent", "month"]
_MOST = 1_000
_COLUMNS = (
    "number", "registered_at", "type", "severity", "progress", "product", "channel_type", "anonymous", "complainant",
    "subject", "what", "demands", "result", "occurred_at", "owner_id", "conversation_id",
)  # fmt: skip
_FORMULA = frozenset("=+-@\t\r\n")


def _wanted(
    type: ComplaintType | None = None,
    severity: Severity | None = None,
    progress: ComplaintProgress | None = None,
    product: Annotated[str | None, Query(max_length=200)] = None,
    channel_type: Annotated[str | None, Query(max_length=50)] = None,
    agent_id: Annotated[UUID | None, Query(description="who owns the matter, else who has it")] = None,
    since: Annotated[GivenMoment | None, Query(alias="from", description="registered then or later")] = None,
    until: Annotated[GivenMoment | None, Query(alias="to", description="registered before")] = None,
    q: Annotated[str | None, Query(max_length=200, description="a part of its texts or subject")] = None,
) -> Filter:
    if since is not None and until is not None and since > until:
        raise Invalid("must not be after `to`", field="from")
    return Filter(type, severity, progress, product, channel_type, agent_id, since, until, q, true())


FilterDep = Annotated[Filter, Depends(_wanted)]


class Count(Shape):
    """`value` is null where nothing is known; an agent is `{id, name}`."""

    value: Any
    complaints: int
    closed: int


class Statistics(Shape):
    by: By
    total: int
    items: list[Count]


@router.get("/complaints")
async def list_complaints(
    session: SessionDep, principal: CurrentPrincipal, paging: PagingDep, wanted: FilterDep
) -> Page[ComplaintShape]:
    """Newest first: those whose conversation is yours to see. An anonymous one names nobody."""
    mine = Filter(**{**_fields(wanted), "visible": visible_filter(principal)})
    statement = register.find(mine).order_by(col(Complaint.number).desc()).limit(paging.limit + 1)
    before = paging.after_number()
    if before is not None:
        statement = statement.where(col(Complaint.number) < before)
    rows = (await session.exec(statement)).all()
    page = rows[: paging.limit]
    cursor = cursor_of(page[-1][0].number) if len(rows) > paging.limit else None
    return Page(items=[ComplaintShape.of(*row) for row in page], next_cursor=cursor)


@router.get("/complaints/statistics")
async def complaint_statistics(session: SessionDep, _: Supervisor, wanted: FilterDep, by: By = "type") -> Statistics:
    """How many, and how many of them are closed; the most frequent first, months in their order."""
    counted = await register.statistics(session, wanted, by=by, limit=_MOST)
    if by == "agent":
        names = await register.agents_named(session, [value for value, _, _ in counted if value])
        shown = [
            (value and {"id": str(value), "name": names.get(value)}, count, done) for value, count, done in counted
        ]
    else:
        shown = counted
    items = [Count(value=value, complaints=count, closed=done) for value, count, done in shown]
    return Statistics(by=by, total=sum(item.complaints for item in items), items=items)


@router.get("/complaints/export", response_class=StreamingResponse)
async def export_complaints(
    request: Request,
    context: ContextDep,
    _: Supervisor,
    wanted: FilterDep,
    format: Annotated[Literal["csv", "jsonl"], Field()] = "csv",
) -> StreamingResponse:
    """All of them by number, as a table or as a JSON object per line. A cell never starts a formula."""
    pages = register.pages(context.database, wanted)
    name = f"complaints.{format}"
    body, media_type = (
        (_csv(pages), "text/csv; charset=utf-8") if format == "csv" else (_jsonl(pages), "application/jsonl")
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(body, media_type=media_type, headers=headers)


def _fields(wanted: Filter) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in Filter.__dataclass_fields__}


async def _jsonl(pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    async for rows in pages:
        lines = (orjson.dumps(ComplaintShape.of(*row).model_dump(mode="json")) for row in rows)
        yield b"".join(line + b"\n" for line in lines)


async def _csv(pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    """UTF-8 with a byte order mark, without which spreadsheets take Chinese for something else."""
    yield "\ufeff".encode() + _line(_COLUMNS)
    async for rows in pages:
        yield b"".join(_line([_cell(_column(row, name)) for name in _COLUMNS]) for row in rows)


def _column(row: Row, name: str) -> Any:
    shape = ComplaintShape.of(*row).model_dump(mode="json")
    if name == "complainant":
        return (shape["complainant"] or {}).get("name")
    return shape[name]


def _cell(value: Any) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    shown = "" if value is None else str(value)
    return f"'{shown}" if _is_formula(shown) else shown


def _is_formula(shown: str) -> bool:
    """Spreadsheets look past what nobody sees, and take signs of full width for the narrow ones."""
    if shown[:1] in _FORMULA:
        return True
    seen = next((char for char in shown if not blank(char)), "")
    return unicodedata.normalize("NFKC", seen)[:1] in _FORMULA


def _line(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()
