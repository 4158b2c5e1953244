"""What a provider's HTTP answer means for a message: one reading for every adapter that sends by HTTP."""

import asyncio
import contextlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx

from app.channels.base import SendError, SendFailure
from app.channels.text import clean

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_WRONG_URL = (httpx.UnsupportedProtocol, httpx.InvalidURL)
_EXCERPT = 500
_EXCERPT_WAIT_S = 5
_LONGEST_WAIT_S = 86_400.0


def fail_on(error: Exception, *, idempotent: bool) -> NoReturn:
    """Raise SendError for an exception of httpx. Names only its class: the URL may hold a secret."""
    what = type(error).__name__
    if isinstance(error, _WRONG_URL):
        raise SendError(SendFailure.CONFIG, f"the URL cannot be called ({what})") from None
    if idempotent or isinstance(error, _NOT_SENT):
        raise SendError(SendFailure.RETRY, f"the provider could not be reached ({what})") from None
    raise SendError(SendFailure.UNKNOWN, f"no answer after the request was sent ({what})") from None


def by_status(status: int, *, transient: bool = False) -> SendFailure:
    """What an HTTP status means where the answer itself says nothing more."""
    if transient or status in (408, 429) or status >= 500:
        return SendFailure.RETRY
    if status == 401:
        return SendFailure.REAUTH
    if 300 <= status < 400 or status in (403, 404):
        return SendFailure.CONFIG
    return SendFailure.PERMANENT


def retry_after(value: str | None, *, at: datetime) -> float | None:
    """Seconds from a Retry-After header (a number or a date), 0 to a day; None when there is none."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - at).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT_S) if seconds == seconds else None


class FetchError(Exception):
    """A file could not be fetched. `retry`: later it may work."""

    def __init__(self, detail: str, *, retry: bool) -> None:
        super().__init__(detail)
        self.detail, self.retry = detail, retry


async def download(http: httpx.AsyncClient, url: str, *, limit: int) -> bytes:
    """At most `limit` bytes. Raises FetchError, which does not name the URL, because it may hold a secret."""
    try:
        async with http.stream("GET", url, follow_redirects=False) as response:
            if not response.is_success:
                retry = response.status_code >= 500 or response.status_code in (408, 429)
                raise FetchError(f"the file's server answered {response.status_code}", retry=retry)
            return await content(response, limit=limit)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if getattr(error, "permanent", False):
            raise FetchError(str(error), retry=False) from None
        retry = not isinstance(error, _WRONG_URL)
        raise FetchError(f"the file could not be fetched ({type(error).__name__})", retry=retry) from None


async def content(response: httpx.Response, *, limit: int) -> bytes:
    """The body of a streamed answer; one with more bytes is left unread. Raises FetchError."""
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) > limit:
            raise FetchError(f"the file has more than {limit} bytes", retry=False)
    return bytes(read)


async def excerpt(response: httpx.Response) -> str:
    """The first 500 characters of a streamed answer, for people; the rest is never read."""
    read = bytearray()
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_EXCERPT_WAIT_S):
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) >= _EXCERPT:
                    break
    return clean(bytes(read[:_EXCERPT]).decode(errors="replace")).strip()
