"""How the pages are answered: language, HTML or JSON, headers, bounded bodies, files of our own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson
from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.exceptions import HTTPException
from starlette.types import Message

from app.catalog import CatalogCache
from app.clock import rfc3339
from app.conversations.writing_in import WrittenIn
from app.db import Database
from app.errors import BadRequest, Gone, NotFound, Problem, TooLarge
from app.feedback.receipt import Language, known_language
from app.settings import Settings
from app.vault import BadToken, ExpiredToken, Vault
from app.web import texts

HERE = Path(__file__).parent
BODY_LIMIT = 100_000

_SHUT = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; style-src 'self'"
PAGE_POLICY = _SHUT
SCRIPT_POLICY = f"{_SHUT}; script-src 'self'; connect-src 'self' ws: wss:"

_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}


class Files(Protocol):
    """Where the bytes of attachments lie."""

    def open_path(self, sha256: str) -> Path: ...


class PageMessages(Protocol):
    """Takes what a customer writes on the page of their matter."""

    async def take(self, conversation_id: UUID, *, text: str, key: str) -> WrittenIn: ...


class Context(Protocol):
    """What the pages need of the process that serves them."""

    @property
    def page_messages(self) -> PageMessages: ...

    @property
    def files(self) -> Files: ...

    def file_link(self, attachment_id: UUID) -> str: ...

    def progress_link(self, conversation_id: UUID) -> str: ...

    @property
    def catalog(self) -> CatalogCache: ...

    @property
    def database(self) -> Database: ...

    @property
    def vault(self) -> Vault: ...

    @property
    def settings(self) -> Settings: ...


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of ours, kept in memory; `digest` changes with its content."""

    body: bytes
    media_type: str
    digest: str


def _load_assets() -> dict[str, Asset]:
    found = {}
    for path in sorted((HERE / "static").iterdir()):
        if media_type := _MEDIA_TYPES.get(path.suffix):
            body = path.read_bytes()
            found[path.name] = Asset(body, media_type, hashlib.sha256(body).hexdigest()[:16])
    return found


ASSETS: Mapping[str, Asset] = _load_assets()

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["rfc3339"] = rfc3339
_templates.filters["tongue"] = texts.tongue
_templates.globals["asset"] = lambda name: f"static/{name}?v={ASSETS[name].digest}"


def page(
    template: str, *, language: Language = "en", status: int = 200, policy: str = PAGE_POLICY, **values: Any
) -> Response:
    """A rendered template with the headers that keep its address and its content private."""
    html = _templates.get_template(template).render(lang=language, t=texts.TABLES[language], when=texts.when, **values)
    return private(HTMLResponse(html, status), policy=policy)


def document(value: Mapping[str, Any], status: int = 200) -> Response:
    """The same as JSON."""
    return private(Response(orjson.dumps(value), status, media_type="application/json"))


def private(response: Response, *, policy: str = PAGE_POLICY) -> Response:
    response.headers.update(
        {
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "X-Robots-Tag": "noindex, nofollow",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
    )
    return response


def wants_json(request: Request) -> bool:
    """A browser always says text/html; a client that sent JSON and says nothing gets JSON."""
    accept = request.headers.get("accept", "")
    if "text/html" in accept:
        return False
    return "json" in accept or sends_json(request)


def sends_json(request: Request) -> bool:
    return "json" in request.headers.get("content-type", "")


def language_of(request: Request, known: str | None) -> Language:
    """`?lang=`, else the language known of the customer, else the first of Accept-Language that we have."""
    wished = known_language(request.query_params.get("lang")) or known_language(known)
    if wished is not None:
        return wished
    for item in request.headers.get("accept-language", "").split(","):
        tag = item.split(";")[0].strip().lower()
        if tag[:2] in ("zh", "en"):
            return "zh" if tag[:2] == "zh" else "en"
    return "en"


def subject_of(vault: Vault, purpose: str, token: str) -> UUID:
    """What a link is about. Raises NotFound for a forged one, Gone for an old one."""
    try:
        return vault.verify(purpose, token)
    except ExpiredToken:
        raise Gone("this link has expired") from None
    except BadToken:
        raise NotFound("this link is not one of ours") from None


async def body_of(request: Request) -> dict[str, Any]:
    """A form or a JSON object; of a field that comes twice the last counts. Raises BadRequest or TooLarge."""
    bounded = Request(request.scope, _bounded(request))
    if sends_json(request):
        try:
            value = orjson.loads(await bounded.body())
        except orjson.JSONDecodeError:
            raise BadRequest("the body is not JSON") from None
        if not isinstance(value, dict):
            raise BadRequest("the body is not a JSON object")
        return value
    try:
        async with bounded.form(max_files=0, max_fields=100) as form:
            return {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except HTTPException as error:
        raise BadRequest(f"the form cannot be read: {error.detail}") from None


def _bounded(request: Request) -> Callable[[], Coroutine[Any, Any, Message]]:
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > BODY_LIMIT:
            raise TooLarge(f"an answer has at most {BODY_LIMIT} bytes")
        return message

    return receive


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncSession]:
    """A transaction in which the database itself refuses every change."""
    async with database.begin() as session:
        await (await session.connection()).execute(text("SET TRANSACTION READ ONLY"))
        yield session


class PageRoute(APIRoute):
    """Shows a refusal as a page to people; programs get it from the one renderer of problems."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                if wants_json(request):
                    raise
                return explanation(request, problem)

        return handle_or_explain


_KINDS = {401: "foreign", 404: "unknown", 410: "expired", 413: "large", 429: "often", 503: "busy"}


def explanation(request: Request, problem: Problem, *, root: str = "..") -> Response:
    """A refusal as a page. `root` leads from the address of the page to ours."""
    kind = _KINDS.get(problem.status, "refused")
    return page("refused.html", language=language_of(request, None), status=problem.status, kind=kind, root=root)


def asset_response(request: Request, name: str) -> Response:
    """A file of ours. Addresses in our pages carry the digest and may be kept for ever; others are asked again."""
    asset = ASSETS.get(name)
    if asset is None:
        raise NotFound
    etag = f'"{asset.digest}"'
    kept = (
        "public, max-age=31536000, immutable"
        if request.query_params.get("v") == asset.digest
        else "public, max-age=300"
    )
    headers = {
        "ETag": etag,
        "Cache-Control": kept,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
