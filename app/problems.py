"""Every refusal as application/problem+json (RFC 9457): `{type, title, status, code, detail, ...}`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app import log, violations
from app.errors import BadRequest, Invalid, Problem, sentence

MEDIA_TYPE = "application/problem+json"
_CORE = frozenset({"type", "title", "status", "code", "detail"})
_CODES = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    429: "rate-limited",
    503: "unavailable",
}
_CLIENT_LEFT = 499
_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
_logger = log.get("problems")


def install(app: FastAPI) -> None:
    """Render everything that can go wrong, what nobody expected included."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in violations.DATABASE_ERRORS:
        app.add_exception_handler(kind, _on_database)
    app.add_exception_handler(ClientDisconnect, _on_left)
    app.add_exception_handler(Exception, _on_unexpected)


def render(problem: Problem) -> Response:
    """The answer that a problem is. Extras of the problem stand beside the standard members."""
    return _answer(problem.status, problem.code, problem.detail, problem.extra)


def unexpected(request: Request, error: Exception) -> Response:
    """The answer to an error that is our mistake: the log has the whole of it, the caller only the correlation id."""
    _logger.error("unexpected error", method=request.method, path=request.url.path, error=repr(error), exc_info=error)
    return _answer(
        500, "internal-error", "Something went wrong on our side.", {"correlation_id": log.correlation.get()}
    )


def from_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic found, each with the field it is about; given values are never repeated."""
    if any(item["type"] == "json_invalid" for item in errors):
        return BadRequest("The body is not valid JSON.")
    listed = [{"field": field_name(item["loc"]), "detail": sentence(item["msg"])} for item in errors]
    first = listed[0]
    return Invalid(f"{first['field']}: {first['detail']}", field=first["field"], errors=listed)


def field_name(location: Sequence[int | str]) -> str:
    """`("body", "files", 0, "id")` is `files.0.id`; the body as a whole is `body`."""
    parts = [str(part) for part in location if part != "[key]"]
    if len(parts) > 1 and parts[0] in _PLACES:
        parts = parts[1:]
    return ".".join(parts)


def _answer(
    status: int, code: str, detail: str, extra: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    body = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "code": code,
        "detail": detail,
        **{name: value for name, value in extra.items() if name not in _CORE},
    }
    sent = dict(headers or {})
    if extra.get("retry_after") is not None:
        sent["Retry-After"] = str(max(math.ceil(extra["retry_after"]), 1))
    if status == 401:
        sent.setdefault("WWW-Authenticate", "Bearer")
    return Response(orjson.dumps(body, default=str), status_code=status, headers=sent, media_type=MEDIA_TYPE)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return render(error)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return render(from_validation(error.errors()))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, f"http-{error.status_code}")
    return _answer(error.status_code, code, f"{error.detail}.", {}, error.headers)


async def _on_database(request: Request, error: Exception) -> Response:
    problem = violations.named(error)
    if problem is None:
        return unexpected(request, error)
    _logger.warning("refused by the database", code=problem.code, error=str(error).partition("\n")[0])
    return render(problem)


async def _on_unexpected(request: Request, error: Exception) -> Response:
    return unexpected(request, error)


async def _on_left(request: Request, error: Exception) -> Response:
    """Nobody reads this answer; the metrics count it."""
    return Response(status_code=_CLIENT_LEFT)
