"""The border of every HTTP call: correlation and metrics around it, one transaction and one answer inside it."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable, Coroutine
from contextvars import Token
from typing import Annotated, Any, ClassVar, Protocol, cast

import orjson
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from prometheus_client import Counter, Histogram
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import log, violations
from app.db import Database
from app.errors import IdempotencyMismatch, Invalid, PreconditionFailed, PreconditionRequired, TooLarge
from app.ids import new_id
from app.vault import Vault

REQUESTS = Counter("roundtrip_http_requests_total", "HTTP requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "roundtrip_http_seconds",
    "Seconds from a request's first byte to the end of its answer",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_GIVEN_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Correlation:
    """Pure ASGI, outermost. Names each call (`X-Request-Id` in, else our own; always out) and counts it.

    An error that nobody expected is answered here by the application's own handler for it (app.problems), so that its
    log line and its answer carry the id too. Sockets get one as well; their frames have their own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._meters: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        correlation = _given_id(scope) or new_id().hex
        token = log.correlation.set(correlation)
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send, correlation.encode("ascii"))
            else:
                await self._app(scope, receive, send)
        finally:
            _reset(token)

    async def _http(self, scope: Scope, receive: Receive, send: Send, correlation: bytes) -> None:
        started = time.perf_counter()
        status, complete = 0, False

        async def answer(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", correlation)]
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            handler = scope["app"].exception_handlers.get(Exception) if not status and "app" in scope else None
            if handler is not None:
                response = await handler(Request(scope), error)
                await response(scope, receive, answer)
            elif not complete:
                raise
        finally:
            self._count(scope, status or 500, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        key = (scope["method"], _route_of(scope), status)
        meters = self._meters.get(key)
        if meters is None:
            method = key[0] if key[0] in _METHODS else "other"
            meters = REQUESTS.labels(method, key[1], str(status)), SECONDS.labels(key[1])
            if key[0] in _METHODS:
                self._meters[key] = meters
        meters[0].inc()
        meters[1].observe(seconds)


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name in (b"x-request-id", b"x-correlation-id"):
            return value.decode("ascii") if _GIVEN_ID.fullmatch(value) else None
    return None


def _reset(token: Token[str | None]) -> None:
    try:
        log.correlation.reset(token)
    except ValueError:  # a socket's closing runs in another context than its opening
        log.correlation.set(None)


def _route_of(scope: Scope) -> str:
    """The path template, so that ids do not become labels. An included router keeps its prefix in FastAPI's scope."""
    included = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(included or scope.get("route"), "path_format", None)
    return template if isinstance(template, str) else "unmatched"


class EdgeContext(Protocol):
    """What the edge needs of `app.context.Context`."""

    @property
    def database(self) -> Database: ...
    @property
    def vault(self) -> Vault: ...


class Edge(APIRoute):
    """One transaction per request, committed before the answer leaves; rolled back by an error or a status from 400 on.

    A POST with an `Idempotency-Key` is done once: the answer is kept, sealed, by the same transaction.
    """

    body_limit: ClassVar[int] = 2_000_000

    def get_route_handler(self) -> Handler:
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await self._in_transaction(request, original)

        return handler

    def limit_of(self, request: Request) -> int:
        """Bytes that the body may have."""
        return self.body_limit

    async def prepare(self, request: Request) -> None:
        """Before the body is read and before a connection is taken: cheap refusals, warm caches."""

    async def admit(self, request: Request, session: AsyncSession) -> str:
        """Who calls, as one word: idempotency keys of different callers never meet. Raises Unauthorized."""
        given = request.headers.get("authorization", "")
        return hashlib.sha256(given.encode()).hexdigest() if given else "anonymous"

    async def _in_transaction(self, request: Request, original: Handler) -> Response:
        await self.prepare(request)
        body = b""
        if request.method not in ("GET", "HEAD"):
            body = await read_body(request, self.limit_of(request))
            request = Request(request.scope, _replay(body, request.receive))
        context = cast(EdgeContext, request.app.state.context)
        try:
            async with context.database.begin() as session:
                request.state.session = session
                principal = await self.admit(request, session)
                key = request.headers.get("idempotency-key") if request.method == "POST" else None
                if key is None:
                    response = await original(request)
                else:
                    once = Once(session, context.vault, principal, key, fingerprint(request, body))
                    response = await once.answer(lambda: original(request))
                if response.status_code >= 400:
                    raise _Refused(response)
                return response
        except _Refused as refused:
            return refused.response
        except violations.DATABASE_ERRORS as error:
            problem = violations.named(error)
            if problem is None:
                raise
            raise problem from error


class _Refused(Exception):
    """Carries an answer out of a transaction that must not be committed."""

    def __init__(self, response: Response) -> None:
        self.response = response


def _session(request: Request) -> AsyncSession:
    session: AsyncSession = request.state.session
    return session


SessionDep = Annotated[AsyncSession, Depends(_session)]


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be over `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body may have {limit} bytes", limit=limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body may have {limit} bytes", limit=limit)
        parts.append(part)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def fingerprint(request: Request, body: bytes) -> str:
    """What the caller asked for: method, path with query, body."""
    asked = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(asked.encode() + body).hexdigest()


_CLAIM = text(
    "INSERT INTO idempotency_key(principal, key, fingerprint) VALUES (:principal, :key, :fingerprint) "
    "ON CONFLICT DO NOTHING RETURNING 1"
)
_KNOWN = text("SELECT fingerprint, status, answer FROM idempotency_key WHERE principal = :principal AND key = :key")
_KEEP = text(
    "UPDATE idempotency_key SET status = :status, answer = :answer WHERE principal = :principal AND key = :key"
)
_FORGET = text("DELETE FROM idempotency_key WHERE created_at < now() - make_interval(hours => :hours)")
_KEPT_HEADERS = ("content-type", "etag", "location")


class Once:
    """One use of an Idempotency-Key. A second use at the same time waits for the first one's commit on the unique index."""

    def __init__(self, session: AsyncSession, vault: Vault, principal: str, key: str, fingerprint: str) -> None:
        if not _GIVEN_KEY.fullmatch(key):
            raise Invalid("1 to 255 visible ASCII characters", field="Idempotency-Key")
        self._session, self._vault, self._fingerprint = session, vault, fingerprint
        self._name = {"principal": principal, "key": key}

    async def answer(self, work: Callable[[], Coroutine[Any, Any, Response]]) -> Response:
        """Do the work, or give the answer it got before. Raises IdempotencyMismatch."""
        claimed = await self._session.execute(_CLAIM, {**self._name, "fingerprint": self._fingerprint})
        if claimed.first() is None:
            return await self._known()
        response = await work()
        if response.status_code < 400:
            sealed = self._vault.seal(_pack(response))
            await self._session.execute(_KEEP, {**self._name, "status": response.status_code, "answer": sealed})
        return response

    async def _known(self) -> Response:
        row = (await self._session.execute(_KNOWN, self._name)).one()
        if row.fingerprint != self._fingerprint:
            raise IdempotencyMismatch(field="Idempotency-Key")
        kept = orjson.loads(self._vault.open(row.answer))
        headers = {**kept["headers"], "Idempotent-Replayed": "true"}
        return Response(base64.b64decode(kept["body"]), status_code=row.status, headers=headers)


def _pack(response: Response) -> str:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return orjson.dumps({"headers": headers, "body": base64.b64encode(bytes(response.body)).decode()}).decode()


async def forget_keys(session: AsyncSession, *, hours: int = 24) -> None:
    """Idempotency keys older than this are free again."""
    await session.execute(_FORGET, {"hours": hours})


def etag(version: int) -> str:
    return f'"{version}"'


def require_match(request: Request, version: int) -> None:
    """An update names the version it was made from. Raises PreconditionRequired, PreconditionFailed."""
    given = request.headers.get("if-match")
    if given is None:
        raise PreconditionRequired(field="If-Match")
    accepted = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    if "*" not in accepted and etag(version) not in accepted:
        raise PreconditionFailed(field="If-Match", version=version)
