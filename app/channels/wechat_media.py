"""Media of WeChat and WeCom: uploaded before they are sent, fetched after they came."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from app.channels import provider
from app.channels.base import OutboundFile, SendError, SendFailure
from app.channels.provider import FetchError
from app.channels.text import JSONDecodeError, loads
from app.channels.wechat_api import Api, failure, request, with_token

_ANSWER_LIMIT = 65_536
_MEDIA_HOSTS = ("qq.com", "qpic.cn", "wechat.com")
_LATER = (SendFailure.RETRY, SendFailure.REAUTH, SendFailure.QUOTA, SendFailure.CONFIG)


async def upload(api: Api, http: httpx.AsyncClient, kind: str, file: OutboundFile) -> str:
    """The media id of a file, for three days; a second upload harms nobody. Raises SendError."""
    parts = {"media": (file.name, file.data, file.media_type)}
    answer = await with_token(
        api,
        http,
        lambda good: request(
            api, http, "POST", "cgi-bin/media/upload", good, params={"type": kind}, files=parts, idempotent=True
        ),
    )
    media_id = answer.get("media_id")
    if not isinstance(media_id, str) or not media_id:
        raise SendError(SendFailure.RETRY, "the provider gave no media id")
    return media_id


async def fetch(api: Api, http: httpx.AsyncClient, media_id: object, *, limit: int) -> bytes:
    """At most `limit` bytes of what a customer sent; it lies there for three days. Raises FetchError."""
    if not isinstance(media_id, str) or not media_id:
        raise FetchError("the file has no media id", retry=False)
    try:
        return await with_token(api, http, lambda good: _download(api, http, media_id, good, limit=limit))
    except SendError as error:
        raise FetchError(error.detail, retry=error.failure in _LATER) from None


async def _download(api: Api, http: httpx.AsyncClient, media_id: str, good: str, *, limit: int) -> bytes:
    """Raises FetchError; SendError for what the provider says in JSON, which is a refusal or the address of a video."""
    url = f"{api.base.rstrip('/')}/cgi-bin/media/get"
    try:
        async with http.stream(
            "GET", url, params={"access_token": good, "media_id": media_id}, follow_redirects=False
        ) as response:
            most = max(limit, _ANSWER_LIMIT) if _is_said(response) else limit
            read = await provider.content(response, limit=most)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(f"the file could not be fetched ({type(error).__name__})", retry=True) from None
    answer = _said(read) if _is_said(response) else None
    if answer is None and response.is_success:
        if len(read) > limit:
            raise FetchError(f"the file has more than {limit} bytes", retry=False)
        return read
    video = answer.get("video_url") if answer and response.is_success else None
    if isinstance(video, str):
        return await provider.download(http, _at_wechat(api, video), limit=limit)
    raise failure(api, response, answer, good, idempotent=True)


def _is_said(response: httpx.Response) -> bool:
    """Whether the answer may be words about the file and not the file: files come with a name."""
    words = response.headers.get("content-type", "").startswith(("application/json", "text/"))
    return (words and "content-disposition" not in response.headers) or not response.is_success


def _said(raw: bytes) -> dict[str, Any] | None:
    try:
        answer = loads(raw)
    except JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) and ("errcode" in answer or "video_url" in answer) else None


def _at_wechat(api: Api, url: str) -> str:
    try:
        parts, own = urlsplit(url), urlsplit(api.base)
        host = parts.hostname or ""
    except ValueError:
        raise FetchError("the file's address cannot be read", retry=False) from None
    theirs = any(host == name or host.endswith("." + name) for name in _MEDIA_HOSTS)
    if parts.scheme not in ("http", "https") or not (theirs or parts.netloc == own.netloc):
        raise FetchError("the file does not lie at WeChat", retry=False)
    return url
