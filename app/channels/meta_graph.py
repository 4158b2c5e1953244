"""Meta's Graph API as we call it: JSON and files out, media in, and what its error codes mean for a message."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import SecretStr

from app import clock
from app.channels import provider
from app.channels.base import OutboundFile, RefusalReason, SendError, SendFailure, Sent
from app.channels.hiding import hide
from app.channels.provider import FetchError
from app.channels.text import clean

_PATIENCE_S = 8.0
_MEDIA_HOSTS = ("fbcdn.net", "fbsbx.com", "cdninstagram.com", "facebook.com", "instagram.com", "whatsapp.net")
# Graph quotes the token that it refuses.
_TOKEN = re.compile(r"\b(?:EAA|IGA|IGQ)[\w-]{8,}")

# Whoever has the address of a medium may read it for days.
hide(
    r"(https?://[^\s?\"']*\.(?:fbcdn\.net|fbsbx\.com|cdninstagram\.com)/[^\s?\"']*)\?[^\s\"']*",
    by=r"\1?<signed>",
)


@dataclass(frozen=True, slots=True)
class Codes:
    """What an error means: `(code, subcode)` first, then `code`; `waits_s` where Meta has a rule and sends no header.

    What is about `only_this` recipient makes no one else wait; `refusals` are told of the recipient from then on.
    """

    failures: Mapping[int | tuple[int, int], SendFailure]
    waits_s: Mapping[int, float]
    only_this: Collection[int] = ()
    refusals: Mapping[int | tuple[int, int], RefusalReason] = field(default_factory=dict)

    def failure(self, code: int, subcode: int) -> SendFailure | None:
        return self.failures.get((code, subcode)) or self.failures.get(code)

    def refusal(self, code: int, subcode: int) -> RefusalReason | None:
        return self.refusals.get((code, subcode)) or self.refusals.get(code)


# Codes that the Graph API has in common; channels.md 3.2 and 3.3.
COMMON: dict[int | tuple[int, int], SendFailure] = {
    **dict.fromkeys((1, 2, 4, 17, 32, 341, 613, 80006, 80007), SendFailure.RETRY),
    **dict.fromkeys((0, 102, 190), SendFailure.REAUTH),
    **dict.fromkeys((3, 10, 33, 368, (100, 33), *range(200, 300)), SendFailure.CONFIG),
    100: SendFailure.PERMANENT,
}


@dataclass(frozen=True, slots=True)
class Graph:
    """One account at the Graph API. `base` ends with the version."""

    base: str
    token: SecretStr
    codes: Codes

    async def post(self, http: httpx.AsyncClient, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A call that must not be made twice. Raises SendError."""
        return await self._call(http, "POST", path, idempotent=False, content=orjson.dumps(payload))

    async def get(self, http: httpx.AsyncClient, path: str) -> dict[str, Any]:
        """Raises SendError."""
        return await self._call(http, "GET", path, idempotent=True)

    async def upload(
        self, http: httpx.AsyncClient, path: str, form: Mapping[str, str], field: str, file: OutboundFile
    ) -> dict[str, Any]:
        """A file that waits there for the message that names it; a second upload harms nobody. Raises SendError."""
        parts = {field: (file.name, file.data, file.media_type)}
        return await self._call(http, "POST", path, idempotent=True, data=dict(form), files=parts)

    async def _call(
        self, http: httpx.AsyncClient, method: str, path: str, *, idempotent: bool, **given: Any
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token.get_secret_value()}"}
        if "content" in given:
            headers["content-type"] = "application/json"
        try:
            response = await http.request(
                method, f"{self.base}/{path}", headers=headers, follow_redirects=False, **given
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            provider.fail_on(error, idempotent=idempotent)
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            answer = None
        if response.is_success and isinstance(answer, dict) and "error" not in answer:
            return answer
        raise self._refusal(response, answer, idempotent=idempotent)

    def _refusal(self, response: httpx.Response, answer: Any, *, idempotent: bool) -> SendError:
        error = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict):
            error = {}
        code, subcode = _number(error.get("code")), _number(error.get("error_subcode"))
        if response.is_success and not error:
            unclear = SendFailure.RETRY if idempotent else SendFailure.UNKNOWN
            return SendError(unclear, f"an answer that is not Meta's (status {response.status_code})")
        failure = self.codes.failure(code, subcode) if isinstance(error.get("code"), int) else None
        if failure is None:
            failure = provider.by_status(response.status_code, transient=error.get("is_transient") is True)
        wish = provider.retry_after(response.headers.get("retry-after"), at=clock.now())
        wait_s = self.codes.waits_s.get(code) if wish is None else wish
        detail = f"Meta answered {response.status_code}{self._said(error, code, subcode)}"
        return SendError(
            failure,
            detail,
            retry_after_s=wait_s if failure is SendFailure.RETRY else None,
            only_this=code in self.codes.only_this,
            refusal=self.codes.refusal(code, subcode) if failure is SendFailure.RECIPIENT else None,
        )

    def _said(self, error: Mapping[str, Any], code: int, subcode: int) -> str:
        if not error:
            return ""
        data = error.get("error_data")
        details = data.get("details") if isinstance(data, dict) else None
        said = [text for text in (error.get("message"), details) if isinstance(text, str) and text]
        number = f"{code}/{subcode}" if subcode else str(code)
        return f", error {number}: {self.hide(' - '.join(dict.fromkeys(said)))[:300]}"

    def hide(self, said: str) -> str:
        """Without tokens, ours or half of ours."""
        return clean(_TOKEN.sub("<token>", said.replace(self.token.get_secret_value(), "<token>")))

    async def media_url(self, http: httpx.AsyncClient, path: str, *, limit: int) -> str:
        """Where a medium lies for the next minutes. Raises FetchError."""
        try:
            answer = await self.get(http, path)
        except SendError as error:
            # A refused token may be renewed while the file still lies there.
            raise FetchError(error.detail, retry=error.failure in (SendFailure.RETRY, SendFailure.REAUTH)) from None
        url, size = answer.get("url"), answer.get("file_size")
        if not isinstance(url, str):
            raise FetchError("Meta does not say where the file is", retry=False)
        if _number(size) > limit:
            raise FetchError(f"the file has more than {limit} bytes", retry=False)
        return url

    async def download(self, http: httpx.AsyncClient, url: str, *, limit: int, signed: bool) -> bytes:
        """At most `limit` bytes from Meta's own hosts; `signed` sends our token along. Raises FetchError."""
        self._check_host(url)
        headers = {"authorization": f"Bearer {self.token.get_secret_value()}"} if signed else {}
        try:
            async with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
                if not response.is_success:
                    retry = response.status_code >= 500 or response.status_code in (408, 429)
                    raise FetchError(f"the file's server answered {response.status_code}", retry=retry)
                return await provider.content(response, limit=limit)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(f"the file could not be fetched ({type(error).__name__})", retry=True) from None

    def _check_host(self, url: str) -> None:
        try:
            parts, own = urlsplit(url), urlsplit(self.base)
            host = parts.hostname or ""
        except ValueError:
            raise FetchError("the file's address cannot be read", retry=False) from None
        metas = parts.scheme == "https" and any(host == name or host.endswith("." + name) for name in _MEDIA_HOSTS)
        if not metas and (parts.scheme, host) != (own.scheme, own.hostname):
            raise FetchError("the file does not lie at Meta", retry=False)


def graph(api_base: str, api_version: str, token: SecretStr, codes: Codes) -> Graph:
    return Graph(f"{api_base.rstrip('/')}/{api_version}", token, codes)


async def in_order(steps: Sequence[Callable[[], Awaitable[str | None]]]) -> Sent:
    """Send the parts of one message; the last one's id counts. Raises SendError.

    What went out cannot be taken back, and a retry would send it twice: once there is something out, a person decides.
    """
    last: str | None = None
    for number, step in enumerate(steps):
        try:
            last = await (_patiently(step) if number else step())
        except SendError as error:
            if number == 0:
                raise
            detail = f"{number} of {len(steps)} parts were sent, then: {error.detail}"
            raise SendError(SendFailure.UNKNOWN, detail) from None
    return Sent(provider_message_id=last)


async def _patiently(step: Callable[[], Awaitable[str | None]]) -> str | None:
    """A short wait that Meta asks for is worth it, because half a message is out."""
    try:
        return await step()
    except SendError as error:
        if error.failure is not SendFailure.RETRY or error.retry_after_s is None or error.retry_after_s > _PATIENCE_S:
            raise
        await asyncio.sleep(error.retry_after_s)
    return await step()


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


async def check(graph: Graph, http: httpx.AsyncClient, account_id: str) -> None:
    """Whether the token opens the account. Raises SendError."""
    await graph.get(http, f"{account_id}?fields=id")
