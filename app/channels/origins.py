"""Which sites a channel lets in by its list of origins (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_Site = tuple[str, str, int | None]


def is_listed(allowed: Iterable[str], origin: str | None, *, own: str) -> bool:
    """Whether a page at `origin` may use the channel: an empty list, or `*`, lets everybody in, and our `own` pages may.

    Only browsers send an origin, so None is let in: the list keeps other sites out, it proves nothing. Scheme, host and
    port count; a page without an address (`null`) is on no list.
    """
    listed = list(allowed)
    if origin is None or not listed or "*" in listed:
        return True
    site = _site(origin)
    return site is not None and site in {_site(entry) for entry in (*listed, own)}


def _site(url: str) -> _Site | None:
    if url == "null":
        return None
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        return None
    return (scheme, parts.hostname.lower(), port or _PORTS.get(scheme)) if parts.hostname else None
