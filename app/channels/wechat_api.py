"""The HTTP side that WeChat and WeCom have in common: one token per account, and calls that fail with `errcode`."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import httpx
import orjson
from pydantic import SecretStr

from app import clock
from app.channels import provider
from app.channels.base import RefusalReason, SendError, SendFailure
from app.channels.hiding import hide
from app.channels.text import JSONDecodeError, clean, loads

T = TypeVar("T")

_STALE = frozenset({40001, 40014, 41001, 42001})  # the token is not, or no longer, good: get another, once
_EARLY_S = 300.0  # the old token still works while the provider makes the next one
_PATIENCE_S = 8.0

hide(r"\b(access_token|corpsecret|secret)=[^&\s\"']+", by=r"\1=<secret>")


@dataclass(frozen=True, slots=True)
class Codes:
    """What an `errcode` means, how long to wait where the provider has a rule and says nothing, and what is told of the
    recipient from then on."""

    failures: Mapping[int, SendFailure]
    waits_s: Mapping[int, float] = field(default_factory=dict)
    refusals: Mapping[int, RefusalReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenCall:
    """How a token is asked for: the same one comes back to every process until it is renewed."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Api:
    """One account. `owner` is its AppID, or its CorpID."""

    base: str
    owner: str
    secret: SecretStr
    token_call: TokenCall
    codes: Codes


@dataclass(frozen=True, slots=True)
class _Token:
    """`good_until` it is used, until `ends` it works; both of the monotonic clock."""

    value: str
    good_until: float
    ends: float


class Refused(SendError):
    """The provider's own no: nothing was done."""

    def __init__(
        self,
        code: int,
        failure: SendFailure,
        detail: str,
        *,
        retry_after_s: float | None,
        refusal: RefusalReason | None = None,
    ) -> None:
        super().__init__(failure, detail, retry_after_s=retry_after_s, refusal=refusal)
        self.code = code


_Key = tuple[str, str, str]
_tokens: dict[_Key, _Token] = {}
_asking: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, asyncio.Task[_Token]]] = WeakKeyDictionary()


def _key(api: Api) -> _Key:
    return api.base, api.owner, hashlib.sha256(api.secret.get_secret_value().encode("utf-8", "replace")).hexdigest()


async def token(api: Api, http: httpx.AsyncClient, *, not_this: str | None = None) -> str:
    """A token from memory, or a fresh one; whoever comes meanwhile waits for the same answer. Raises SendError.

    `not_this` was refused: one that somebody else has got since then will do.
    """
    key = _key(api)
    known = _tokens.get(key)
    if known is not None and known.value != not_this and monotonic() < known.good_until:
        return known.value
    running = _asking.setdefault(asyncio.get_running_loop(), {})
    task = running.get(key)
    if task is None:
        task = running[key] = asyncio.create_task(_ask(api, http), name="wechat token")
        task.add_done_callback(lambda done: _asked(running, key, done))
    try:
        return (await asyncio.shield(task)).value
    except SendError as error:
        if known is not None and known.value != not_this and monotonic() < known.ends:
            return known.value
        raise _again(error) from None


def _asked(running: dict[_Key, asyncio.Task[_Token]], key: _Key, task: asyncio.Task[_Token]) -> None:
    running.pop(key, None)
    if not task.cancelled() and task.exception() is None:
        _tokens[key] = task.result()


def _again(error: SendError) -> SendError:
    """The same for somebody else: an exception that is raised twice would mix up their stories."""
    if isinstance(error, Refused):
        return Refused(error.code, error.failure, error.detail, retry_after_s=error.retry_after_s)
    return SendError(error.failure, error.detail, retry_after_s=error.retry_after_s)


async def _ask(api: Api, http: httpx.AsyncClient) -> _Token:
    asked = api.token_call
    content = orjson.dumps(asked.json) if asked.json is not None else None
    asked_at = monotonic()
    answer = await request(api, http, asked.method, asked.path, params=asked.params, content=content, idempotent=True)
    value, lifetime = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(value, str) or not value:
        raise SendError(SendFailure.RETRY, "the provider gave no access token")
    lifetime_s = float(lifetime) if isinstance(lifetime, int) and lifetime > 0 else 0.0
    ends = asked_at + lifetime_s
    return _Token(value, ends - min(_EARLY_S, lifetime_s / 2), ends)


async def check(api: Api, http: httpx.AsyncClient) -> None:
    """Whether the credentials get a token, asked afresh. Raises SendError."""
    _tokens[_key(api)] = await _ask(api, http)


async def post(
    api: Api, http: httpx.AsyncClient, path: str, payload: Mapping[str, Any], *, idempotent: bool
) -> dict[str, Any]:
    """A call with a token; a stale one is renewed once. Raises SendError. Chinese goes out as it is, not as \\u escapes."""
    content = orjson.dumps(payload)
    return await with_token(
        api, http, lambda good: request(api, http, "POST", path, good, content=content, idempotent=idempotent)
    )


async def with_token(api: Api, http: httpx.AsyncClient, call: Callable[[str], Awaitable[T]]) -> T:
    """`call` with a token, and once more with a new one when that was refused. Raises SendError."""
    good = await token(api, http)
    try:
        return await call(good)
    except Refused as error:
        if error.code not in _STALE:
            raise
    return await call(await token(api, http, not_this=good))


async def request(
    api: Api,
    http: httpx.AsyncClient,
    method: str,
    path: str,
    access_token: str | None = None,
    *,
    idempotent: bool,
    params: Mapping[str, str] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """The answer's object when its errcode is 0 or absent. Raises SendError."""
    query = dict(params or {}) | ({"access_token": access_token} if access_token else {})
    headers = {"content-type": "application/json"} if given.get("content") is not None else {}
    try:
        response = await http.request(
            method, f"{api.base.rstrip('/')}/{path}", params=query, headers=headers, follow_redirects=False, **given
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        provider.fail_on(error, idempotent=idempotent)
    try:
        answer = loads(response.content)
    except JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and response.is_success and _code(answer) == 0:
        return answer
    raise failure(api, response, answer, access_token, idempotent=idempotent)


def _code(answer: object) -> int | None:
    """None for what is no answer of theirs."""
    code = answer.get("errcode", 0) if isinstance(answer, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def failure(
    api: Api, response: httpx.Response, answer: Any, access_token: str | None, *, idempotent: bool
) -> SendError:
    """What an answer that is no success means; its words without our secrets."""
    wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
    code = _code(answer)
    if code:
        means = api.codes.failures.get(code, SendFailure.PERMANENT)
        wait_s = api.codes.waits_s.get(code) if wish is None else wish
        said = str(answer.get("errmsg") or "no reason")
        for secret in (access_token, api.secret.get_secret_value()):
            said = said.replace(secret, "<secret>") if secret else said
        reason = api.codes.refusals.get(code)
        return Refused(code, means, f"errcode {code}: {clean(said, 300)}", retry_after_s=wait_s, refusal=reason)
    status = response.status_code
    detail = f"an answer that is not WeChat's (status {status})"
    if response.is_success:
        return SendError(SendFailure.RETRY if idempotent else SendFailure.UNKNOWN, detail)
    if status in (408, 429) or status >= 500:
        return SendError(SendFailure.RETRY, detail, retry_after_s=wish)
    if 300 <= status < 400 or status in (403, 404):
        return SendError(SendFailure.CONFIG, f"api_base answered {status}")
    return SendError(SendFailure.PERMANENT, detail)


async def in_order(steps: Sequence[Callable[[], Awaitable[T]]], *, idempotent: bool) -> list[T]:
    """Send the parts of one message. Raises SendError.

    What went out cannot be taken back. Where the parts carry ids of ours a retry is harmless; elsewhere a person decides.
    """
    done: list[T] = []
    for step in steps:
        try:
            done.append(await (_patiently(step) if done else step()))
        except SendError as error:
            if not done or (idempotent and error.failure is SendFailure.RETRY):
                raise
            detail = f"{len(done)} of {len(steps)} parts were sent, then: {error.detail}"
            raise SendError(SendFailure.UNKNOWN, detail) from None
    return done


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """A short wait that the provider asks for is worth it, because half a message is out."""
    try:
        return await step()
    except SendError as error:
        if error.failure is not SendFailure.RETRY or error.retry_after_s is None or error.retry_after_s > _PATIENCE_S:
            raise
        await asyncio.sleep(error.retry_after_s)
    return await step()
