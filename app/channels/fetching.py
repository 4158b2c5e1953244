"""Files that a provider gives only to whoever shows a credential: from its own hosts, within a size, never elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from app.channels import provider
from app.channels.hiding import hide
from app.channels.provider import FetchError

_HOPS = 4

# Whoever has a signed address may read the file.
hide(
    r"(https?://[^\s?\"']*\.(?:amazonaws\.com|twiliocdn\.com|cloudfront\.net)[^\s?\"']*)\?[^\s\"']*",
    by=r"\1?<signed>",
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a provider's files lie. `hosts` (and all below them, by https) get the `headers`; `passed_to` are hosts that it
    may send us on to, which get nothing. `base` is the configured address, trusted as it is."""

    base: str
    hosts: Sequence[str]
    headers: Mapping[str, str] = field(repr=False)
    passed_to: Sequence[str] = ()

    def headers_for(self, url: str) -> Mapping[str, str]:
        """Raises FetchError for an address that is not the provider's."""
        try:
            parts, base = urlsplit(url), urlsplit(self.base)
            own = _place(parts) == _place(base)
        except ValueError:
            raise FetchError("the file's address cannot be read", retry=False) from None
        if own or (parts.scheme == "https" and _is_below(parts.hostname, self.hosts)):
            return self.headers
        if parts.scheme == "https" and _is_below(parts.hostname, self.passed_to):
            return {}
        raise FetchError("the file does not lie at the provider", retry=False)


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port


def _is_below(host: str | None, names: Sequence[str]) -> bool:
    return host is not None and any(host == name or host.endswith("." + name) for name in names)


async def download(http: httpx.AsyncClient, source: Source, url: str, *, limit: int, page: bool = True) -> bytes:
    """At most `limit` bytes. An HTML answer is refused unless `page`. Raises FetchError, which never names the URL."""
    try:
        for _ in range(_HOPS):
            headers = source.headers_for(url)
            async with http.stream("GET", url, headers=dict(headers), follow_redirects=False) as response:
                if not response.is_redirect:
                    return await _read(response, limit, page=page)
                url = urljoin(url, response.headers["location"])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        lost = not isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL)
        raise FetchError(f"the file could not be fetched ({type(error).__name__})", retry=lost) from None
    raise FetchError("the file's server sends us round in circles", retry=False)


async def _read(response: httpx.Response, limit: int, *, page: bool) -> bytes:
    status = response.status_code
    if status == 202:
        raise FetchError("the file is still being prepared", retry=True)
    if not response.is_success:
        # A refused credential may be renewed while the file still lies there.
        retry = status >= 500 or status in (401, 408, 429)
        raise FetchError(f"the file's server answered {status}", retry=retry)
    if not page and response.headers.get("content-type", "").startswith("text/html"):
        raise FetchError("the file's server gave a page instead of the file", retry=False)
    return await provider.content(response, limit=limit)
