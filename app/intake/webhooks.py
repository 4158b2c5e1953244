"""`/channels/{id}/webhook`: verify, read, store, and only then answer."""

from __future__ import annotations

import time
from functools import cache, partial
from uuid import UUID

from fastapi import APIRouter, Request, Response
from prometheus_client import Counter, Histogram

from app import log
from app.catalog import ChannelAccount
from app.channels.base import Answering, Call, Handshaking, Parsed, Reply
from app.channels.form import FormAdapter
from app.channels.mail import MailAdapter
from app.clock import now
from app.context import Context, context_of
from app.errors import MethodNotAllowed, NotFound, NotGenuine, TooLarge
from app.intake import calls_directing, mail_calls
from app.intake.reading import QUERY, bell_of, read

CALLS = Counter("roundtrip_webhook_calls_total", "Provider calls that were stored", ["channel_type"])
REFUSED = Counter("roundtrip_webhook_refused_total", "Provider calls that were not genuine", ["channel_type"])
SECONDS = Histogram("roundtrip_webhook_seconds", "From the call to its commit", ["channel_type"], buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2))  # fmt: skip
_KEPT_HEADERS = ("content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature")
_KEPT_QUERY = ("timestamp", "nonce", "encrypt_type", "msg_signature", "step", "rt_call", "call")
_ACCEPTED = Response(b'{"status":"stored"}', status_code=200, media_type="application/json")
_logger = log.get("webhooks")
router = APIRouter()


@router.post("/channels/{channel_id}/webhook", summary="A provider's call", response_class=Response)
async def receive(request: Request, channel_id: UUID) -> Response:
    """Takes the provider's own format. 2xx means stored; 401 not genuine; 5xx our fault, send it again."""
    return await take(context_of(request), request, channel_id)


@router.get("/channels/{channel_id}/webhook", summary="A provider's test of the address", response_class=Response)
async def greet(request: Request, channel_id: UUID) -> Response:
    """Answered in the provider's own way. 401 not genuine; 405 where the channel's type knows no such test."""
    context = context_of(request)
    account = await find(context, channel_id)
    if not isinstance(account.adapter, Handshaking):
        raise MethodNotAllowed("this channel's address takes POST only")
    try:
        return _given(account.adapter.handshake(account.config, await _call(request, context)))
    except NotGenuine:
        REFUSED.labels(account.type).inc()
        raise


async def take(context: Context, request: Request, channel_id: UUID) -> Response:
    """Answered after the commit. Raises NotGenuine, NotFound, TooLarge, Unavailable."""
    started = time.perf_counter()
    account = await find(context, channel_id)
    if account.type == FormAdapter.type:
        return await context.forms.take(request, account)
    if account.type == MailAdapter.type:
        return _given(await _mail(context, request, account))
    call = await _call(request, context)
    try:
        account.adapter.verify(account.config, call)
    except Exception:
        REFUSED.labels(account.type).inc()
        raise
    asked = calls_directing.asked_about(account, call)
    if asked is not None and (told := await calls_directing.repeated(context, account, call, asked)) is not None:
        return _given(told)
    parsed = read(account, call)
    await context.intake.store(
        account,
        transport="webhook",
        headers=_kept(call),
        body=call.body,
        parsed=parsed,
        bell=bell_of(account, call),
    )
    calls, seconds = _meters(account.type)
    calls.inc()
    seconds.observe(time.perf_counter() - started)
    if asked is not None:
        return _given(await calls_directing.direct(context, account, call, asked))
    return _answer(account, call, parsed) if _answers(type(account.adapter)) else _ACCEPTED


async def _mail(context: Context, request: Request, account: ChannelAccount) -> Reply:
    try:
        reply = await mail_calls.take(context, account, partial(_call, request, context), _kept)
    except NotGenuine:
        REFUSED.labels(account.type).inc()
        raise
    CALLS.labels(account.type).inc()
    return reply


def _answer(account: ChannelAccount, call: Call, parsed: Parsed) -> Response:
    """What the provider reads. The call is stored: a mistake of the adapter is no reason to have it sent again."""
    assert isinstance(account.adapter, Answering)
    try:
        return _given(account.adapter.answer(account.config, call, parsed))
    except Exception as error:
        _logger.error("adapter failed", channel_id=account.id, type=account.type, error=repr(error), exc_info=True)
        return _ACCEPTED


def _given(reply: Reply) -> Response:
    return Response(reply.body, status_code=reply.status, headers={"content-type": reply.media_type})


@cache
def _answers(adapter: type[object]) -> bool:
    """Looking a protocol up is too slow for every call."""
    return issubclass(adapter, Answering)


@cache
def _meters(channel_type: str) -> tuple[Counter, Histogram]:
    return CALLS.labels(channel_type), SECONDS.labels(channel_type)


async def find(context: Context, channel_id: UUID) -> ChannelAccount:
    """The channel, if it is active. Raises NotFound."""
    account = await context.catalog.channel(channel_id)
    if account is None:
        raise NotFound("there is no such channel")
    return account


async def _call(request: Request, context: Context, limit: int | None = None) -> Call:
    limit = limit or context.settings.body_limit
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"a call may have {limit} bytes")
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    path, query = request.scope["path"], request.scope["query_string"].decode("latin-1")
    return Call(
        method=request.method,
        url=f"{context.settings.base_url}{path}{'?' if query else ''}{query}",
        query=request.query_params if query else {},
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]},
        body=body,
        received_at=now(),
    )


def _kept(call: Call) -> dict[str, str]:
    """The headers that are worth keeping, without secrets; what a replay needs of the query beside them."""
    kept = {name: call.headers[name] for name in _KEPT_HEADERS if name in call.headers}
    return {**kept, **{f"{QUERY}{name}": call.query[name] for name in _KEPT_QUERY if name in call.query}}
